"""The commands on a real terminal: what fits, what lives, what is left behind; and what a pipe gets in its place."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hangtight.cli.process import _fitted
from hangtight.testing.lab import Lab, text_of
from tests.cli.kit import HUNG, command, journal
from tests.cli.pane import Pane, needs_tmux
from tests.gateway.kit import Served, all_at
from tests.gateway.watching import Asked, until

pytestmark = [pytest.mark.real, needs_tmux]

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
WIDE = "通义千问模型的一个很长的名字"
SLOW = "qwen3-coder,tokens=9000,rate=20"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), all_at(lab.url), "--drain", "0.2") as served:
        yield served


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return journal(tmp_path_factory.mktemp("journal"))


def copied(url: str, folder: Path) -> str:
    """A short name for it, as people have."""
    shutil.copy(url, folder / "j.db")
    return "j.db"


# -- top --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80])
def test_top_lives_while_a_model_answers_and_leaves_the_terminal_as_it_was(
    columns: int, served: Served, tmp_path: Path
) -> None:
    mute = f"{WIDE},mute=3"
    with Asked(served, SLOW), Asked(served, mute), Pane(tmp_path, columns=columns) as pane:
        pane.type(f"hangtight top --url {served.url}; echo ended $?")
        until(lambda: "2 in flight" in pane.shown and "silent" in pane.shown)
        before = pane.shown
        until(lambda: "2 in flight" in pane.shown and pane.shown != before)
        assert "通义" in pane.shown
        assert pane.lines == pane.joined, "no line is wider than the terminal"
        assert COLOUR.search(pane.escapes)
        pane.interrupt()
        until(lambda: "ended 0" in pane.shown)
        assert pane.is_as_before
        assert sum("in flight" in line for line in pane.lines) == 1, "the table was drawn in one place"
        assert pane.done("echo typed")[-1] == "typed", "what is typed is seen again"


def test_top_on_80_columns_shows_which_one_hangs(served: Served, tmp_path: Path) -> None:
    models = ["qwen3-32b,tokens=9000,rate=20", "mute-one,mute=3", "one-that-pings,pings=3,every=0.5"]
    with ExitStack() as asked, Pane(tmp_path) as pane:
        for model in models:
            asked.enter_context(Asked(served, model))
        pane.type(f"hangtight top --url {served.url}")
        until(lambda: "pings only" in pane.shown and "silent" in pane.shown)
        healthy, mute, pings = (next(line for line in pane.lines if model[:18] in line) for model in models)
        assert "streaming" in healthy
        assert re.search(r" silent \d", mute)
        assert re.search(r" pings only \d", pings)
        assert re.search("\x1b\\[33msilent", pane.escapes)
        pane.interrupt()


def test_top_on_a_terminal_with_few_rows_shows_what_rings_first(served: Served, tmp_path: Path) -> None:
    models = [f"qwen3-{at},tokens=9000,rate=20" for at in range(6)]
    asked = [Asked(served, model) for model in models]
    try:
        for each in asked:
            each.__enter__()
        with Pane(tmp_path, rows=9) as pane:
            pane.type(f"hangtight top --url {served.url}")
            until(lambda: "more, whose alarms are further away" in pane.shown)
            assert "in flight" in pane.shown
            pane.interrupt()
    finally:
        for each in asked:
            each.__exit__(None, None, None)


# -- ask and run ------------------------------------------------------------------------------------------------------


def test_ask_has_a_line_about_its_time_below_the_answer_and_a_receipt_in_its_place(lab: Lab, tmp_path: Path) -> None:
    model = "lives,tokens=40,rate=20"
    with Pane(tmp_path) as pane:
        pane.type(f"hangtight ask Why --url {lab.url} --model {model}; echo ended $?")
        until(lambda: "rings in" in pane.shown)
        until(lambda: "ended 0" in pane.shown)
        assert "rings in" not in pane.shown
        assert pane.lines[-3].startswith("40 tokens in ")
        assert "".join(pane.joined[: pane.joined.index(pane.lines[-3])]) == text_of(model).rstrip()
        assert pane.is_as_before


def test_ask_that_is_interrupted_leaves_the_terminal_as_it_was(lab: Lab, tmp_path: Path) -> None:
    with Pane(tmp_path) as pane:
        pane.type(f"hangtight ask Why --url {lab.url} --model {SLOW}; echo ended $?")
        until(lambda: "rings in" in pane.shown)
        pane.interrupt()
        until(lambda: "ended 130" in pane.shown)
        assert "rings in" not in pane.shown
        assert pane.is_as_before


def test_ask_into_a_file_shows_the_line_on_stderr_and_leaves_the_answer_alone(lab: Lab, tmp_path: Path) -> None:
    model = "filed,tokens=40,rate=20"
    with Pane(tmp_path) as pane:
        pane.type(f"hangtight ask Why --url {lab.url} --model {model} > answer; echo ended $?")
        until(lambda: "rings in" in pane.shown)
        until(lambda: "ended 0" in pane.shown)
        assert pane.lines[0].startswith("40 tokens in ")
        assert pane.lines[1] == "ended 0"
    assert (tmp_path / "answer").read_text() == text_of(model) + "\n"


def test_ask_as_json_shows_the_line_until_there_is_the_object(lab: Lab, tmp_path: Path) -> None:
    with Pane(tmp_path, columns=200) as pane:
        pane.type(f"hangtight ask Why --json --url {lab.url} --model said,tokens=30,rate=20 | cat; echo ended $?")
        until(lambda: "rings in" in pane.shown)
        until(lambda: "ended 0" in pane.shown)
        assert pane.lines[0].startswith('{"answer": ')
        assert "rings in" not in pane.shown


def test_ask_into_a_pipe_says_nothing_beside_the_answer(lab: Lab, tmp_path: Path) -> None:
    with Pane(tmp_path) as pane:
        seen = pane.done(f"hangtight ask Why --url {lab.url} --model piped,tokens=6,rate=20 2>err | cat")
    assert " ".join(seen).startswith(text_of("tokens=6").rstrip())
    assert "\x1b" not in (tmp_path / "err").read_text()


def test_run_into_a_file_shows_the_line_between_what_the_process_says_on_stderr(tmp_path: Path) -> None:
    says = "echo first >&2; sleep 1.5; echo text; sleep 1.5; echo second >&2"
    with Pane(tmp_path) as pane:
        pane.type(f"hangtight run --model m -- sh -c '{says}' > out; echo ended $?")
        until(lambda: "rings in" in pane.shown)
        until(lambda: "ended 0" in pane.shown)
        assert pane.lines[:3] == ["first", "second", "ended 0"]
    assert (tmp_path / "out").read_text() == "text\n"


def test_run_that_is_interrupted_clears_its_line(tmp_path: Path) -> None:
    with Pane(tmp_path) as pane:
        pane.type("hangtight run --model m -- sleep 60 > out; echo ended $?")
        until(lambda: "rings in" in pane.shown)
        pane.interrupt()
        until(lambda: "ended 130" in pane.shown)
        assert "rings in" not in pane.shown
        assert pane.is_as_before


# -- what went wrong --------------------------------------------------------------------------------------------------


def test_a_message_is_broken_between_words_and_what_is_to_be_typed_stays_whole(tmp_path: Path) -> None:
    folder = tmp_path / ("a-long-name-of-a-folder-" * 3)
    folder.mkdir()
    (folder / "hangtight.yaml").write_text("")
    with Pane(tmp_path) as pane:
        pane.type(f"hangtight init --output {folder}/hangtight.yaml")
        until(lambda: "or to see it" in pane.shown)
        assert "  hangtight init --output FILE      or to see it: hangtight init --stdout" in pane.joined
    words = "one two three four five six seven eight nine ten eleven twelve"
    assert _fitted(f"{words} thirteen perhaps it is", 76) == [f"{words} thirteen", "  perhaps it is"]
    assert _fitted(f"to type it:  {'x ' * 50}", 79) == ["to type it:", f"  {'x ' * 50}"]


# -- log and stats ----------------------------------------------------------------------------------------------------

TOLD = [("log",), ("log", HUNG), ("stats",), ("stats", "--by", "model")]


@pytest.mark.parametrize("words", TOLD, ids=" ".join)
@pytest.mark.parametrize("columns", [40, 80])
def test_no_line_is_wider_than_the_terminal(words: tuple[str, ...], columns: int, url: str, tmp_path: Path) -> None:
    with Pane(tmp_path, columns=columns, rows=60) as pane:
        seen = pane.done(f"hangtight {' '.join(words)} --journal {copied(url, tmp_path)}")
        assert seen == pane.joined[: len(seen)]
        assert len(seen) > 2
        assert COLOUR.search(pane.escapes)


def test_on_a_terminal_there_are_plots(url: str, tmp_path: Path) -> None:
    with Pane(tmp_path, rows=40) as pane:
        there = copied(url, tmp_path)
        ribbon = next(line for line in pane.done(f"hangtight log {HUNG} --journal {there}") if line.startswith("0s "))
        assert ribbon.endswith("╌✗ 78.2s")
        assert "━" in ribbon
        stats = pane.done(f"hangtight stats --since 1d --by model --journal {there}")
        assert "████████████████████████████████████████  1 of 1, 100 %" in stats
        assert any(line.split() == ["qwen3:1.7b", "█", "23.8"] for line in stats)
        assert any(line.split() == ["idle", "1", "█" * 40] for line in stats)


@pytest.mark.parametrize("words", TOLD, ids=" ".join)
def test_without_colours_the_terminal_gets_none(words: tuple[str, ...], url: str, tmp_path: Path) -> None:
    with Pane(tmp_path, rows=60, NO_COLOR="1") as pane:
        pane.done(f"hangtight {' '.join(words)} --journal {copied(url, tmp_path)}")
        assert not COLOUR.search(pane.escapes)


@pytest.mark.parametrize("words", TOLD, ids=" ".join)
def test_a_dumb_terminal_and_a_pipe_get_the_words_alone(words: tuple[str, ...], url: str, tmp_path: Path) -> None:
    said = (*words, "--journal", url)
    piped = command(tmp_path, *said, NO_COLOR="", FORCE_COLOR="")
    assert not re.search("[\x1b█░━▁]", piped.stdout)
    assert command(tmp_path, *said, TERM="dumb", FORCE_COLOR="1").stdout == piped.stdout
    assert command(tmp_path, *said, NO_COLOR="1", FORCE_COLOR="1").stdout == piped.stdout
    assert COLOUR.search(command(tmp_path, *said, NO_COLOR="", FORCE_COLOR="1", TERM="xterm").stdout)


def test_an_output_that_cannot_write_the_plots_gets_them_in_ascii(url: str, tmp_path: Path) -> None:
    said = ("log", HUNG, "--journal", url)
    told = command(tmp_path, *said, NO_COLOR="", FORCE_COLOR="1", TERM="xterm", PYTHONIOENCODING="ascii").stdout
    ribbon = COLOUR.sub("", next(line for line in told.splitlines() if line.startswith("0s ")))
    assert ribbon.endswith("-x 78.2s")
    assert "?" not in ribbon
