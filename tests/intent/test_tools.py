"""Calls of tools that come again: only the same results may end a generation."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.intent.findings import Act, Channel, Doing, Finding, Rule
from hangtight.intent.tools import UNKNOWN, WAITING, WORD, Tools

Calls = Iterable[tuple[str, object, object]]
READ: tuple[str, object, object] = ("read_file", {"path": "a.py"}, "import os")
GREP: tuple[str, object, object] = ("grep", {"pattern": "x"}, "")
EDIT: tuple[str, object, object] = ("edit", {"path": "a.py", "old": "x", "new": "y"}, "ok")


def after(calls: Calls) -> Finding | None:
    tools = Tools()
    for name, arguments, result in calls:
        tools.call(name, arguments, result)
    return tools.finding()


def acts(calls: Calls) -> list[Act]:
    """What is advised after each call."""
    tools, told = Tools(), []
    for name, arguments, result in calls:
        tools.call(name, arguments, result)
        found = tools.finding()
        told.append(found.act if found else Act.KEEP)
    return told


def first(act: Act, calls: Calls) -> int | None:
    """After how many calls this is advised."""
    told = acts(calls)
    return told.index(act) + 1 if act in told else None


def test_one_call_with_one_result_is_held_at_the_fourth_and_cut_at_the_sixth() -> None:
    calls = [READ] * 8
    assert acts(calls) == [Act.KEEP] * 3 + [Act.HOLD] * 2 + [Act.CUT] * 3
    assert after(calls[:6]) == Finding(
        act=Act.CUT,
        doing=Doing.STUCK,
        rule=Rule.TOOLS,
        channel=Channel.CALLS,
        offset=6,
        start=0,
        period=1,
        copies=6,
        unit="read_file",
        confidence=0.95,
    )


@pytest.mark.parametrize("period", [2, 3, 4, 5])
def test_a_cycle_is_held_at_the_third_copy_and_cut_at_the_fourth(period: int) -> None:
    unit = [READ, GREP, EDIT, ("ls", "{}", "a b"), ("cat", "{}", "c")][:period]
    calls = [("think", "{}", ""), *unit * 4]
    assert first(Act.HOLD, calls) == 1 + 3 * period
    assert first(Act.CUT, calls) == 1 + 4 * period
    found = after(calls)
    assert found is not None
    assert (found.start, found.period, found.copies, found.offset) == (1, period, 4, 1 + 4 * period)
    assert found.unit == ", ".join(name for name, _, _ in unit)


def test_a_cycle_of_six_is_no_finding() -> None:
    unit = [(name, "{}", "") for name in "abcdef"]
    assert after(unit * 20) is None


def test_a_copy_that_is_not_whole_does_not_count_and_does_not_end_the_cycle() -> None:
    found = after([READ, GREP] * 3 + [READ])
    assert found is not None
    assert (found.act, found.copies, found.start, found.offset, found.unit) == (Act.HOLD, 3, 0, 7, "read_file, grep")


def test_another_call_ends_the_repetition_and_nothing_is_remembered_of_it() -> None:
    assert after([*[READ] * 9, GREP]) is None
    assert acts([*[READ] * 5, GREP, *[READ] * 3]).count(Act.CUT) == 0


def test_edits_that_undo_each_other_are_a_loop_although_the_reads_between_differ() -> None:
    undo = ("edit", {"path": "a.py", "old": "y", "new": "x"}, "ok")
    assert first(Act.CUT, [EDIT, ("read_file", "{}", "y"), undo, ("read_file", "{}", "x")] * 4) == 16


def test_one_call_whose_results_only_alternate_is_never_cut() -> None:
    calls = [("run_tests", "{}", outcome) for outcome in ("1 failed", "passed") * 20]
    assert Act.CUT not in acts(calls)
    assert Act.HOLD in acts(calls)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": [1.0, {"c": 2, "d": null}]}', '{"b":[1,{"d":null,"c":2.0}],"a":1.0}'),
        ('{"a": 1}', {"a": 1.0}),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ("", "{}"),
        (None, {}),
        ("  ls -l\n", "ls -l"),
        ('{"a": 1', ' {"a": 1 '),
        ('{"a": "ü"}', '{"a": "\\u00fc"}'),
        (b'{"a": 1}', '{"a":1}'),
    ],
)
def test_the_same_arguments_may_be_written_in_many_ways(one: object, other: object) -> None:
    assert first(Act.CUT, [("tool", one, "r"), ("tool", other, "r")] * 3) == 6


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"offset": 40}', '{"offset": 80}'),
        ("ls -l", "ls  -l"),
        (object(), object()),
        ('{"t": "12:00:01"}', '{"t": "12:00:02"}'),
    ],
)
def test_other_arguments_are_another_call_and_nothing_in_them_is_folded(one: object, other: object) -> None:
    found = after([("tool", one, "r"), ("tool", other, "r")] * 2)
    assert found is None


def test_a_name_does_not_run_into_its_arguments() -> None:
    assert after([("read", "x{}", "r"), ("readx", "{}", "r")] * 2) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", None),
        ([], ""),
        ("text", [{"type": "text", "text": "text"}]),
        ([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}], "a"),
        (
            [{"type": "image", "source": {"data": "iVBO"}, "cache_control": {}}],
            [{"type": "image", "source": {"data": "iVBO"}}],
        ),
        ('{"a":1,"b":2}', {"b": 2, "a": 1}),
    ],
)
def test_the_same_result_may_come_in_many_ways(one: object, other: object) -> None:
    assert first(Act.CUT, [("tool", "{}", one), ("tool", "{}", other)] * 3) == 6


@pytest.mark.parametrize("result", ["", None, [], {}, 0, False])
def test_an_empty_result_is_a_result(result: object) -> None:
    assert first(Act.CUT, [("grep", "{}", result)] * 6) == 6


def test_the_same_calls_with_other_results_are_only_suspicious_and_late() -> None:
    calls = [("next_test", "{}", f"case {number}") for number in range(40)]
    calls = [("run", arguments, result) for _, arguments, result in calls]
    assert first(Act.HOLD, calls) == 8
    assert Act.CUT not in acts(calls)
    found = after(calls)
    assert found is not None
    assert (found.rule, found.copies) == (Rule.CALLS, 40)


def test_the_same_calls_with_results_that_nobody_reported_are_only_suspicious() -> None:
    assert first(Act.HOLD, [("run", "{}", UNKNOWN)] * 40) == 8
    assert first(Act.HOLD, [("run", "{}", UNKNOWN), ("edit", "{}", UNKNOWN)] * 40) == 12
    assert Act.CUT not in acts([("run", "{}", UNKNOWN)] * 40)


def test_a_result_that_cannot_be_compared_is_an_unknown_one() -> None:
    assert Act.CUT not in acts([("run", "{}", object())] * 20)


@pytest.mark.parametrize(
    "result",
    [
        "finished at 12:00:{0:02d} in {0}.5s",
        "at 2026-11-21T11:40:{0:02d}.123Z",
        "object at 0x7f00{0:08x}",
        "request 123e4567-e89b-12d3-a456-4266141740{0:02d}",
        "started, pid {0}",
        "took {0} ms",
        "time: 17000000{0:02d}",
    ],
)
def test_results_that_differ_only_in_times_and_numbers_of_processes_are_held_and_never_cut(result: str) -> None:
    calls = [("make", "{}", result.format(10 + number)) for number in range(30)]
    assert first(Act.HOLD, calls) == 5
    assert Act.CUT not in acts(calls)
    found = after(calls)
    assert found is not None
    assert found.rule is Rule.TOOLS


def test_numbers_that_tell_of_progress_are_not_folded() -> None:
    calls = [("make", "{}", f"{number} tests failed") for number in range(7)]
    assert Act.HOLD not in acts(calls)


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("CheckStatus", "{}", "42 %"),
        ("get_job", {"id": 7}, "?"),
        ("view_background_agent", {"id": "a"}, "no news"),
        ("BashOutput", {"bash_id": "1"}, ""),
        ("bash", {"command": "sleep 30; gh run view 17"}, "in_progress"),
        ("bash", {"command": "gh pr checks 12"}, "build: -"),
        ("shell", "tail -n 20 build.log", "compiling"),
        ("http", {"url": "http://localhost/health"}, "503"),
        ("query", {"id": 1}, "IN_PROGRESS"),
        ("query", {"id": 1}, {"state": "pending", "id": 1}),
        ("kubectl", "get pods", "web-0 not ready"),
        ("press_key", {"key": "Down"}, "ok"),
        ("browser_scroll", {"by": 3}, "ok"),
    ],
)
def test_waiting_for_something_is_never_cut_and_held_later(name: str, arguments: object, result: object) -> None:
    calls = [(name, arguments, result)] * 60
    assert Act.CUT not in acts(calls)
    assert first(Act.HOLD, calls) == 8


def test_a_cycle_in_which_one_call_waits_is_waiting() -> None:
    calls: list[tuple[str, object, object]] = [("sleep", {"seconds": 5}, ""), ("read_log", {}, "nothing new")]
    assert Act.CUT not in acts(calls * 20)
    assert first(Act.HOLD, calls * 20) == 12


def test_waiting_with_news_each_time_is_held_very_late() -> None:
    assert first(Act.HOLD, [("poll", "{}", f"{percent} %") for percent in range(40)]) == 16


@pytest.mark.parametrize("name", ["tailwind_docs", "restatus", "nextjs_docs", "blackjack", "waiter"])
def test_a_word_of_waiting_is_a_whole_word(name: str) -> None:
    assert first(Act.CUT, [(name, "{}", "r")] * 6) == 6


def test_a_long_result_is_no_state_of_something_whatever_words_are_in_it() -> None:
    assert first(Act.CUT, [("read_file", {"path": "a"}, "loading ... " * 50)] * 6) == 6


def test_a_failure_that_ends_with_exit_status_is_no_waiting() -> None:
    assert first(Act.CUT, [("bash", {"command": "make"}, "make: exit status 2")] * 6) == 6


# What users of other programs suffered from.


def test_reading_five_files_at_once_is_no_loop() -> None:
    assert after(("read_file", {"path": path}, path.upper()) for path in "abcdefghij") is None


def test_moving_many_files_one_after_the_other_is_no_loop() -> None:
    calls: list[tuple[str, object, object]] = []
    for number in range(30):
        calls.append(("search", {"pattern": f"Component{number}"}, "2 matches"))
        calls.append(("shell", {"command": f"git mv src/{number}.tsx ui/{number}.tsx"}, ""))
        calls.append(("search", {"pattern": f"from './{number}'"}, "2 matches"))
        calls.append(("edit", {"path": f"ui/{number}.tsx", "old": "./", "new": "../"}, "ok"))
    assert set(acts(calls)) == {Act.KEEP}


def test_building_again_after_each_edit_is_no_loop() -> None:
    calls: list[tuple[str, object, object]] = []
    for number in range(30):
        calls.append(("edit", {"path": "a.ts", "line": number}, "ok"))
        calls.append(("shell", {"command": "npm run build"}, "error TS2304"))
    assert set(acts(calls)) == {Act.KEEP}


def test_going_through_a_long_file_page_by_page_is_no_loop() -> None:
    calls = [("read_file", {"path": "a.rs", "offset": at, "limit": 40}, f"page {at}") for at in range(0, 4000, 40)]
    assert set(acts(calls)) == {Act.KEEP}


def test_a_tool_that_always_refuses_the_same_arguments_is_a_loop() -> None:
    refused = "params must have required property 'absolute_path'"
    assert first(Act.CUT, [("ReadFile", {"path": "a.md"}, refused)] * 9) == 6


def test_a_file_that_is_answered_with_unchanged_from_the_second_time_on_is_a_loop_from_there() -> None:
    found = after([READ, *[("read_file", {"path": "a.py"}, "unchanged since the last time")] * 6])
    assert found is not None
    assert (found.act, found.start, found.copies) == (Act.CUT, 1, 6)


def test_two_ranges_of_one_file_in_turn_are_a_loop() -> None:
    ranges = [("read_file", {"path": "out", "offset": at}, f"lines from {at}") for at in (0, 200)]
    assert first(Act.CUT, ranges * 5) == 8


def test_a_shared_list_that_others_change_is_no_loop() -> None:
    calls = [("task_list", "{}", f"{30 - number // 2} open") for number in range(60)]
    assert Act.CUT not in acts(calls)


# Laws.

names = st.sampled_from(["read", "grep", "poll", "run"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.tuples(names, values, values | st.just(UNKNOWN)), max_size=40))
def test_no_arguments_and_no_result_make_it_raise(calls: list[tuple[str, Any, Any]]) -> None:
    acts(calls)


@given(st.lists(st.tuples(names, st.sampled_from("ab"), st.sampled_from(["x", "y", UNKNOWN])), max_size=60))
def test_a_finding_is_what_stands_there(calls: list[tuple[str, str, Any]]) -> None:
    found = after(calls)
    if found is None:
        return
    assert found.offset == len(calls)
    assert 1 <= found.period <= 5
    assert found.copies == (found.offset - found.start) // found.period
    tail = calls[found.start :]
    depth = 3 if found.rule is Rule.TOOLS else 2
    assert all(a[:depth] == b[:depth] for a, b in zip(tail, tail[found.period :], strict=False))
    assert found.unit == ", ".join(name for name, _, _ in tail[: found.period])
    if found.act is Act.CUT:
        assert found.rule is Rule.TOOLS
        assert all(result is not UNKNOWN for _, _, result in tail)
        assert found.copies >= (6 if found.period == 1 else 4)
        assert all(name != "poll" for name, _, _ in tail)


@given(st.lists(st.tuples(names, st.sampled_from("ab"), st.integers()), max_size=60, unique_by=lambda call: call[2]))
def test_suspicion_alone_never_ends_a_generation(calls: list[tuple[str, str, int]]) -> None:
    assert Act.CUT not in acts(calls)


@given(values.filter(lambda value: WAITING.isdisjoint(WORD.findall(json.dumps(value).lower()))))
def test_json_as_text_and_as_values_are_the_same_arguments(value: Any) -> None:
    text = json.dumps({"a": value}, indent=3)
    assert first(Act.CUT, [("tool", text, "r"), ("tool", json.loads(text), "r")] * 3) == 6


def test_what_is_nested_without_end_is_compared_as_text_or_not_at_all() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert first(Act.CUT, [("tool", "[" * 3000, "[" * 3000)] * 6) == 6
    assert after([("tool", endless, endless)] * 20) is None


@pytest.mark.parametrize("result", ["1", "1:1", "1.", "1-", "1234-12-", "0x1", "a1b2c3d4-", "pid ", "12 "])
def test_no_result_takes_long_to_fold(result: str) -> None:
    long = (result * 8_000)[:7_990]
    calls = [("tool", "{}", f"{long} {number}") for number in range(7)]  # a quadratic search would take minutes
    assert after(calls) is None


def test_it_remembers_next_to_nothing() -> None:
    after([READ] * 9)  # what is loaded and cached once is no part of it
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tools = Tools()
    for number in range(300):
        tools.call(f"tool{number % 7}" * 100, {"text": "x" * 5000}, f"{number}" * 3000)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used < 8_000


def test_another_process_finds_the_same() -> None:
    script = (
        "from hangtight.intent.tools import Tools\n"
        "tools = Tools()\n"
        "for _ in range(4): tools.call('read', {'b': 1, 'a': 2.0}, 'x'); tools.call('grep', '{}', [])\n"
        "print([call.asked.hex() for call in tools._latest], tools.finding())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_a_tool_that_only_says_ok_is_waited_for_longer_and_never_cut() -> None:
    assert first(Act.CUT, [("move", '{"to": "north"}', "ok")] * 40) is None
    assert first(Act.HOLD, [("move", '{"to": "north"}', "OK")] * 40) == 8
