"""Macros and ports: what a name stands for, in which order, and what is refused."""

from __future__ import annotations

import json
import shlex
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtight.rules.commands import words_of
from hangtight.rules.errors import Problem
from hangtight.rules.loading import check
from hangtight.rules.macros import DEEPEST, MOST_CHARACTERS, RESERVED, Macros, Room, Scalar, as_text
from hangtight.rules.running import Running
from tests.rules import kit
from tests.rules.kit import Place

PORTS = "models: {b: {cmd: 'b ${PORT}'}, a: {cmd: 'a ${PORT}'}, c: {cmd: c, proxy: 'http://c'}, B: {cmd: 'B ${PORT}'}}"


def run(place: Place, text: str, name: str = "m") -> Running:
    place.write("hangtight.yaml", text)
    running = place.load().running(name)
    assert running is not None
    return running


def refused(place: Place, text: str) -> Problem:
    place.write("hangtight.yaml", text)
    (problem,) = place.problems()
    return problem


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_macro_of_the_model_goes_before_that_of_the_file_also_inside_a_macro_of_the_file(place: Place) -> None:
    text = (
        "macros: {context: 1, serve: 'serve -c ${context} ${PORT}'}\n"
        "models: {m: {macros: {context: 2}, cmd: '${serve}'}, n: {cmd: '${serve}'}}"
    )
    assert run(place, text).command == ("serve", "-c", "2", "5800")
    assert run(place, text, "n").command == ("serve", "-c", "1", "5801")


def test_a_macro_may_use_those_above_it(place: Place) -> None:
    text = "macros: {a: x, b: '${a}y', c: '${b}${a}'}\nmodels: {m: {macros: {d: '${c}z'}, cmd: 's ${d} ${PORT}'}}"
    assert run(place, text).command == ("s", "xyxz", "5800")


def test_a_number_and_a_truth_are_written_as_in_the_file(place: Place) -> None:
    text = "macros: {a: 1, b: 0.5, c: true}\nmodels: {m: {cmd: 's ${a} ${b} ${c} ${PORT}'}}"
    assert run(place, text).command == ("s", "1", "0.5", "true", "5800")


def test_a_number_alone_stays_a_number(place: Place) -> None:
    text = "macros: {t: 90, h: true}\nmodels: {m: {cmd: 's ${PORT}', ttl: '${t}', metadata: {a: '${h}', b: 'x${t}'}}}"
    assert run(place, text).ttl == 90
    assert place.load().serving("m").metadata == {"a": True, "b": "x90"}


def test_what_a_macro_brings_is_not_read_again(place: Place) -> None:
    place.environment["A"] = "${env.B} ${PORT}"
    assert run(place, "models: {m: {cmd: 's ${PORT}', env: ['V=${env.A}']}}").env == (("V", "${env.B} ${PORT}"),)


def test_braces_that_are_no_macro_are_left_to_whoever_reads_the_command(place: Place) -> None:
    text = "models: {m: {cmd: \"sh -c 'echo ${A:-3} ${} $A {a}' ${PORT}\"}}"
    assert run(place, text).command == ("sh", "-c", "echo ${A:-3} ${} $A {a}", "5800")


def test_keys_that_are_not_about_running_keep_what_looks_like_a_macro(place: Place) -> None:
    place.write("hangtight.yaml", "models: {m: {fallback: ['${a}'], aliases: ['${b}']}}")
    assert place.load().fallback(None, "m") == ("${a}",)


@pytest.mark.parametrize(
    ("text", "line", "key", "found"),
    [
        ("models:\n m: {cmd: 'a ${PORT} ${nobody}'}", 2, "models.m.cmd", "${nobody}"),
        ("models:\n m: {cmd: 'a ${PORT}', env: [A=b, 'C=${nobody}']}", 2, "models.m.env", "${nobody}"),
        ("macros:\n a: ${nobody}\nmodels: {m: {cmd: 's ${PORT} ${a}'}}", 2, "macros.a", "${nobody}"),
        ("macros:\n a: ${b}\n b: c\nmodels: {m: {cmd: 's ${PORT} ${a}'}}", 2, "macros.a", "${b}"),
        ("macros:\n a: ${a}\nmodels: {m: {cmd: 's ${PORT}'}}", 2, "macros.a", "${a}"),
        ("models:\n m: {macros: {a: '${b}', b: c}, cmd: 's ${PORT}'}", 2, "models.m.macros.a", "${b}"),
        (
            "macros: {a: x, b: '${a}'}\nmodels:\n m: {macros: {a: '${b}'}, cmd: 's ${PORT} ${b}'}",
            3, "models.m.macros.a", "${b}",
        ),
        ("models:\n m: {cmd: 's ${PORT} ${env.GONE}'}", 2, "models.m.cmd", "${env.GONE}"),
        ("models:\n m: {cmd: 's ${PORT} ${env.}'}", 2, "models.m.cmd", "${env.}"),
        ("models:\n m: {cmd: 's ${PORT} ${PID}'}", 2, "models.m.cmd", "${PID}"),
        ("models:\n m: {cmd: 's', proxy: 'http://a:${PORT}'}", 2, "models.m.proxy", "${PORT}"),
        ("models:\n m: {cmd: 's', proxy: 'http://a', cmdStop: 'a ${PORT}'}", 2, "models.m.cmdStop", "${PORT}"),
        ("models:\n m: {proxy: 'http://a:${PORT}'}", 2, "models.m.proxy", "${PORT}"),
        ("models:\n m: {cmd: 's --port 9000'}", 2, "models.m.cmd", "s --port 9000"),
        ("models:\n 'm*': {ttl: '${PORT}'}", 2, "models.m*.ttl", "${PORT}"),
        ("models:\n 'm*': {description: '${MODEL_ID}'}", 2, "models.m*.description", "${MODEL_ID}"),
        ("startPort: 65534\n" + PORTS, 1, "startPort", 65534),
    ],
)  # fmt: skip
def test_a_macro_that_stands_for_nothing_is_refused_with_file_line_and_key(
    place: Place, text: str, line: int, key: str, found: object
) -> None:
    problem = refused(place, text)
    assert (problem.file, problem.line, problem.key, problem.found) == ("hangtight.yaml", line, key, found)


def test_a_variable_that_is_not_set_is_told_once_where_the_macro_stands(place: Place) -> None:
    text = "macros:\n a: ${env.GONE}\nmodels:\n" + "".join(f" m{n}: {{cmd: 's ${{PORT}} ${{a}}'}}\n" for n in range(9))
    assert (refused(place, text).line, refused(place, text).key) == (2, "macros.a")


def test_a_file_is_checked_where_its_variables_are_not(place: Place) -> None:
    place.write("hangtight.yaml", "models: {m: {cmd: '${env.GONE} ${PORT}', proxy: 'http://${env.HOST}:${PORT}'}}")
    running = check(Path("hangtight.yaml"), folder=place.folder, home=place.home).running("m")
    assert running is not None
    assert running.command == ("${env.GONE}", "5800")


def test_the_number_of_the_process_is_left_to_who_stops_it(place: Place) -> None:
    text = "macros: {k: 'kill ${PID}'}\nmodels: {m: {cmd: 's ${PORT}', cmdStop: '${k} ${MODEL_ID}'}}"
    assert run(place, text).stop_command == ("kill", "${PID}", "m")


# -- ports ------------------------------------------------------------------------------------------------------------


def test_ports_are_given_upwards_in_the_order_of_the_names_to_those_that_use_one(place: Place) -> None:
    place.write("hangtight.yaml", f"startPort: 7000\n{PORTS}")
    settings = place.load()
    assert [settings.proxy(name) for name in ("B", "a", "b", "c")] == [
        *(f"http://localhost:{port}" for port in (7000, 7001, 7002)), "http://c",
    ]  # fmt: skip


def test_the_last_port_may_be_used(place: Place) -> None:
    assert run(place, "startPort: 65535\nmodels: {m: {cmd: 'a ${PORT}'}}").command == ("a", "65535")


# -- what must not happen ---------------------------------------------------------------------------------------------


def test_macros_of_macros_do_not_fill_the_memory(place: Place) -> None:
    lines = ["macros:", ' a0: "' + "x" * 100 + '"', *(f" a{n}: ${{a{n - 1}}}${{a{n - 1}}}" for n in range(1, 35))]
    problem = refused(place, "\n".join([*lines, "models: {m: {cmd: 's ${PORT} ${a34}'}}"]))
    assert str(MOST_CHARACTERS) in problem.wanted


def test_a_chain_of_macros_without_end_is_refused(place: Place) -> None:
    lines = ["macros:", " a0: x", *(f" a{n}: ${{a{n - 1}}}" for n in range(1, 3000))]
    problem = refused(place, "\n".join([*lines, "models: {m: {cmd: 's ${PORT} ${a2999}'}}"]))
    assert str(DEEPEST) in problem.wanted


NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=3).filter(
    lambda name: name not in RESERVED
)
VALUES = st.text(string.ascii_letters + " $", max_size=6) | st.integers() | st.booleans()


@given(macros=st.dictionaries(NAMES, VALUES, max_size=5), data=st.data())
def test_each_name_becomes_its_value_and_all_else_stays(macros: dict[str, Scalar], data: st.DataObject) -> None:
    told: list[str] = []
    parts = data.draw(st.lists(st.text(string.ascii_letters + " \n", max_size=4) | st.sampled_from([*macros, ""])))
    named = [part in macros for part in parts]
    written = "".join(f"${{{part}}}" if is_one else part for part, is_one in zip(parts, named, strict=True))
    meant = "".join(as_text(macros[part]) if is_one else part for part, is_one in zip(parts, named, strict=True))
    filled = Macros(macros, {}, None).filled(written, lambda found, wanted, within: told.append(found))
    assert as_text(filled) == meant
    assert told == []


@given(
    macros=st.dictionaries(
        NAMES, st.lists(NAMES.map("${{{}}}".format) | st.text(max_size=3), max_size=4).map("".join), max_size=6
    ),
    text=st.lists(NAMES.map("${{{}}}".format) | st.text(max_size=3), max_size=4).map("".join),
)
def test_whatever_names_whatever_it_ends_and_what_is_wrong_is_told(macros: dict[str, str], text: str) -> None:
    told: list[str] = []
    macros_here = Macros(macros, {"PORT": 1}, lambda name: None, Room(200))
    filled = macros_here.filled(text, lambda found, wanted, within: told.append(found))
    assert len(as_text(filled)) <= 200 + len(text)
    known = {name for name in macros if not any(macros_here.uses(f"${{{name}}}", other) for other in told)}
    assert told or known == set(macros)


@given(
    words=st.lists(
        st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="#\\"), min_size=1), min_size=1
    )
)
@settings(max_examples=60)
def test_words_that_are_quoted_come_out_as_they_went_in(words: list[str]) -> None:
    assert words_of(" \\\n ".join(map(shlex.quote, words))) == tuple(words)


OF_A_MODEL = ["cmd", "cmdStop", "env", "proxy", "macros", "ttl", "metadata", "filters"]
ODD = st.recursive(
    st.none() | st.integers() | st.sampled_from(["${a}", "${PORT}", "x ${b}", "'", "# x", "${PID}"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner),
)


@given(model=st.dictionaries(st.sampled_from(OF_A_MODEL), ODD))
@settings(max_examples=150)
def test_whatever_a_model_says_settings_come_out_or_problems_with_lines(model: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = kit.place(Path(folder).resolve())
        place.write("hangtight.yaml", json.dumps({"macros": {"a": 3}, "models": {"m": model}}))
        for problem in place.problems():
            assert problem.line == 1
            assert problem.key


# -- a process for each request ---------------------------------------------------------------------------------------


def test_the_prompt_stays_in_the_command_of_a_process_until_there_is_a_request(place: Place) -> None:
    text = "macros: {ask: '-p ${PROMPT}'}\nmodels: {m: {kind: process, cmd: 'cli ${ask} --last=${MESSAGE}'}}"
    assert run(place, text).command == ("cli", "-p", "${PROMPT}", "--last=${MESSAGE}")


def test_a_server_has_no_prompt_in_its_command(place: Place) -> None:
    problem = refused(place, "models: {m: {cmd: 'cli ${PROMPT} ${PORT}'}}")
    assert problem.found == "${PROMPT}"
    assert "kind: process" in problem.wanted


def test_elsewhere_prompt_is_the_name_of_a_macro_like_any_other(place: Place) -> None:
    text = "macros: {PROMPT: hello}\nmodels: {m: {cmd: 'cli ${PROMPT} ${PORT}'}}"
    assert run(place, text).command == ("cli", "hello", "5800")
