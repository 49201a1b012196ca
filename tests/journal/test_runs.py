"""Runs of workflows in the journal: from their events to how they stand, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.flows.events import EventType
from hangtight.journal import tables
from hangtight.journal.entries import Entry, Happened, Happening
from hangtight.journal.reading import Ambiguous, Reading
from hangtight.journal.recording import Recorder
from hangtight.journal.run_rows import RunRows
from hangtight.journal.run_writing import write_runs
from hangtight.journal.store import Store
from tests.journal.kit import NOW, asked, keep_up, put, whole

Make = Callable[..., Recorder]
STEPS = ["plan", "code"]


def event(kind: str, after: float, of: str = "", run: str = "7f3a00000001", at: float = NOW, **told: Any) -> Entry:
    payload = told.pop("payload", "")
    return Happened(run, at + after, kind, "notes", of, payload, told)


def a_run(run: str = "7f3a00000001", at: float = NOW) -> list[Entry]:
    """Its second step is tried twice and times out."""
    said: Any = {"run": run, "at": at}
    return [
        event("run_started", 0, steps=STEPS, left=60.0, elapsed=0.0, **said),
        event("step_started", 0, "plan", model="qwen3", timeout=30.0, elapsed=0.0, **said),
        event("progress", 1, "plan", tokens=3, model="qwen3", elapsed=1.0, **said),
        event("step_finished", 5, "plan", outcome="finished", tokens=40, attempt=1, elapsed=5.0, **said),
        event("step_started", 5, "code", model="qwen3", timeout=40.0, elapsed=0.0, **said),
        event("retried", 6, "code", attempt=1, error="BackendError: gone", elapsed=1.0, **said),
        event("LLM_HEARTBEAT", 21, "code", payload="Still waiting on qwen3... 15s elapsed", tokens=7, **said),
        event("timed_out", 45, "code", limit="total", error="TotalTimeout: x", elapsed=40.0, **said),
        event("step_finished", 45, "code", outcome="timeout", attempt=2, error="TotalTimeout: x", elapsed=40.0, **said),
        event("run_finished", 45, outcome="timeout", step="code", error="TotalTimeout: x", elapsed=45.0, **said),
    ]


def test_the_words_are_those_of_workflows() -> None:
    assert {each.value for each in Happening} <= {each.value for each in EventType}


def test_a_run_is_told_with_its_steps_and_all_that_happened(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, a_run())
    assert recorder.flush(20), recorder.trouble
    told = Reading(url).find_run("7f3a")
    assert told is not None
    run = told.run
    assert (run.flow, run.outcome, run.at_step, run.elapsed) == ("notes", "timeout", "code", 45.0)
    assert (run.began, run.deadline, run.ended, run.steps) == (NOW, NOW + 60, NOW + 45, ("plan", "code"))
    plan, code = told.steps
    assert (plan.outcome, plan.tokens, plan.attempts, plan.model, plan.timeout) == ("finished", 40, 1, "qwen3", 30.0)
    assert (code.outcome, code.tokens, code.attempts, code.broken_limit) == ("timeout", 7, 2, "total")
    kinds = [each.kind for each in told.events]
    assert kinds == [each.kind for each in a_run() if isinstance(each, Happened) and each.kind != "progress"]
    assert told.events[5].payload == "Still waiting on qwen3... 15s elapsed"


def test_a_run_that_goes_on_stands_open_again_and_keeps_what_it_had(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, a_run())
    recorder.flush(20)
    put(
        recorder,
        [
            event("run_resumed", 100, steps=STEPS, left=None),
            event("step_finished", 100, "plan", outcome="finished", recorded=True, elapsed=0.0),
            event("step_started", 101, "code", model="qwen3", timeout=40.0),
        ],
    )
    assert recorder.flush(20)
    told = Reading(url).find_run("7f3a00000001")
    assert told is not None
    assert (told.run.outcome, told.run.error, told.run.began, told.run.deadline) == (None, "", NOW, None)
    plan, code = told.steps
    assert (plan.outcome, plan.elapsed, plan.tokens) == ("finished", 5.0, 40)
    assert (code.outcome, code.attempts, code.began, code.broken_limit) == (None, 1, NOW + 101, "")
    assert [(each.step, each.outcome, each.attempts, each.heartbeats) for each in told.lives] == [
        ("plan", "finished", 1, 0), ("code", "timeout", 2, 1), ("code", None, 1, 0),
    ]  # fmt: skip


def test_the_life_of_a_step_whose_process_was_lost_ends_where_it_was_heard_last(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, a_run()[:7])  # killed after the heartbeat at 21
    put(recorder, [event("run_resumed", 60, steps=STEPS), event("step_started", 60.5, "code", timeout=40.0)])
    put(recorder, [event("step_finished", 70, "code", outcome="finished", elapsed=9.5, attempt=1)])
    assert recorder.flush(20)
    told = Reading(url).find_run("7f3a00000001")
    assert told is not None
    _, lost, last = told.lives
    assert (lost.began, lost.ended, lost.outcome, lost.attempts) == (NOW + 5, NOW + 21, "interrupted", 2)
    assert (last.began, last.ended, last.outcome) == (NOW + 60.5, NOW + 70, "finished")


def test_what_is_written_twice_is_there_once(url: str) -> None:
    """As after a commit whose answer was lost."""
    rows = RunRows()
    for number, entry in enumerate(a_run()):
        assert isinstance(entry, Happened)
        rows.add(number, entry)
    store = Store(url)
    store.prepare()
    from sqlalchemy.dialects import postgresql, sqlite

    insert = sqlite.insert if store.is_sqlite else postgresql.insert
    for _ in range(2):
        with store.engine.begin() as connection:
            write_runs(connection, insert, rows)
    told = Reading(url).find_run("7f3a")
    assert told is not None
    assert (len(told.steps), len(told.events)) == (2, 9)


def test_runs_are_listed_newest_first_by_flow_and_by_when_they_began(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, a_run("aa", NOW) + a_run("ab", NOW + 100))
    put(recorder, [Happened("b%_", NOW + 50, "run_started", "other")])
    assert recorder.flush(20)
    reading = Reading(url)
    assert [each.id for each in reading.runs()] == ["ab", "b%_", "aa"]
    assert [each.id for each in reading.runs(NOW + 10, "notes")] == ["ab"]
    assert [each.id for each in reading.runs(limit=1)] == ["ab"]
    with pytest.raises(Ambiguous) as raised:
        reading.find_run("a")
    assert raised.value.ids == ("ab", "aa")
    assert reading.find_run("b%") is not None
    assert reading.find_run("%") is None
    assert reading.find_run(" ") is None


def test_old_runs_go_with_all_that_is_known_of_them(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, a_run("aa", NOW - 3000) + a_run("bb", NOW) + whole("cc", NOW))
    assert recorder.flush(20)
    keep_up(url, NOW + 100, keep=1000)
    assert [each.id for each in Reading(url).runs()] == ["bb"]
    left = asked(url, lambda connection: connection.execute(tables.run_events.select()).all())
    assert {row.run for row in left} == {"bb"}


def test_a_run_whose_beginning_is_lost_is_known_from_what_is_left(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, a_run()[3:])
    assert recorder.flush(20)
    told = Reading(url).find_run("7f3a")
    assert told is not None
    assert (told.run.began, told.run.outcome, told.run.flow) == (NOW + 5, "timeout", "notes")


ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)
KEYS = ("elapsed", "tokens", "model", "outcome", "error", "attempt", "limit", "timeout", "steps", "left", "recorded")


def test_runs_and_steps_are_summed_up_by_flow(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, a_run("aa") + a_run("bb", NOW + 100) + a_run("cc", NOW - 1000))
    assert recorder.flush(20)
    whole_runs, code, plan = Reading(url).flow_stats(NOW)
    assert (whole_runs.step, whole_runs.count, whole_runs.outcomes) == ("", 2, {"timeout": 2})
    assert (code.step, code.timeouts, code.heartbeats) == ("code", {"total": 2}, 2)
    assert plan.elapsed is not None
    assert (plan.step, plan.outcomes, plan.elapsed.p50, plan.heartbeats) == ("plan", {"finished": 2}, 5.0, 0)
    assert len(Reading(url).flow_stats()) == 3


def test_a_run_whose_first_life_is_lost_began_when_it_began(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, [event("run_resumed", 100, steps=STEPS, elapsed=40.0, left=20.0)])
    assert recorder.flush(20)
    (run,) = Reading(url).runs()
    assert (run.began, run.deadline) == (NOW + 60, NOW + 120)


@given(
    kind=st.sampled_from([*EventType, "of a later version"]),
    step=st.text(max_size=3),
    told=st.dictionaries(st.sampled_from(KEYS), ODD),
)
def test_whatever_an_event_says_becomes_rows(kind: str, step: str, told: dict[str, Any]) -> None:
    rows = RunRows()
    rows.add(1, Happened("r", NOW, kind, "f", step, "words", told))
    assert set(rows.runs) == {"r"}
    assert len(rows.steps) <= 1
