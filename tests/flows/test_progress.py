"""How far a run is, and when it will end: by arithmetic on instants, by events in any order, and in real runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hangtight
from hangtight.core.pace import Observation, Paces
from hangtight.drivers.standing import STANDING
from hangtight.flows import Engine, Event, EventType, Flow, Kind, Step, generate
from hangtight.flows.forecast import foreseeing
from hangtight.flows.forecast.foreseeing import Histories, usual_of
from hangtight.flows.forecast.pacing import Usual, left_of
from hangtight.flows.forecast.progress import Foreseen, Planned, Progress
from hangtight.journal.reading import Reading
from hangtight.journal.run_sums import StepTook
from tests.flows.models import CODER, ran

ROUNDING = 0.11


def planned(name: str, *lengths: float, tokens: int = 0, **about: Any) -> Planned:
    return Planned(
        name=name, usual=Usual.of((length, tokens) for length in lengths), **{"kind": Kind.GENERATE, **about}
    )


class Run:
    """A run that is told by hand."""

    def __init__(self, *plans: Planned, left: float | None = None) -> None:
        self.progress = Progress.of(plans)
        self.hear(EventType.RUN_STARTED, "", 0, left=left)

    def hear(self, kind: EventType, step: str, now: float, **told: Any) -> Foreseen:
        self.progress.hear(kind, step, told, now)
        return self.progress.foreseen(now)

    def start(self, step: str, now: float) -> Foreseen:
        return self.hear(EventType.STEP_STARTED, step, now)

    def finish(self, step: str, now: float, outcome: str = "finished") -> Foreseen:
        return self.hear(EventType.STEP_FINISHED, step, now, outcome=outcome)

    def look(self, now: float) -> Foreseen:
        return self.progress.foreseen(now)


# -- one step ---------------------------------------------------------------------------------------------------------


def test_what_a_step_still_takes_is_what_those_took_that_were_longer_than_it_is_now() -> None:
    before = Usual.of([(10.0, 0)] * 10 + [(100.0, 0)] * 5)
    assert left_of(before, elapsed=0, tokens=0).usual == 10
    assert left_of(before, elapsed=20, tokens=0).usual == 80


def test_what_takes_longer_than_all_before_it_is_not_said_to_end_at_once() -> None:
    left = left_of(Usual.of([(10.0, 0)] * 20), elapsed=100, tokens=0, limit=110)
    assert left.usual == 10
    assert (left.least, left.most) == (0, 10)


def test_a_model_that_is_slow_today_is_believed_more_with_each_token() -> None:
    before = Usual.of([(100.0, 1000)] * 20)
    half = left_of(before, elapsed=100, tokens=500)
    most = left_of(before, elapsed=180, tokens=900)
    assert half.usual == pytest.approx(62.5)
    assert most.usual == pytest.approx(18.1, abs=0.1)
    assert half.least < 62.5 < half.most


def test_of_a_step_that_was_never_seen_only_its_limit_is_known() -> None:
    assert left_of(Usual(()), elapsed=100, tokens=7, limit=300) == (None, 0, 200)


# -- a run ------------------------------------------------------------------------------------------------------------


def test_without_history_steps_count_by_their_limits_and_weights() -> None:
    run = Run(planned("a", limit=300), planned("b", limit=900, needs=("a",)), planned("c", limit=300, weight=2))
    assert run.look(0) == Foreseen(0, None, 0, 1200)
    run.start("a", 0)
    assert run.finish("a", 10).percent == pytest.approx(100 * 300 / 1800, abs=0.1)


def test_steps_without_limit_or_weight_count_the_same() -> None:
    run = Run(*(planned(name) for name in "abcd"))
    assert run.finish("a", 1).percent == 25
    assert run.finish("b", 2).percent == 50


def test_when_one_step_has_ended_those_of_its_kind_are_foreseen_by_it() -> None:
    run = Run(planned("plan", limit=300), planned("code", limit=1800, needs=("plan",)))
    run.start("plan", 0)
    assert run.look(10).left is None
    now = run.finish("plan", 30)
    assert (now.left, now.low, now.high) == (180, 45, 720)
    other = Run(planned("check", limit=300, kind=Kind.TOOL), planned("code", limit=1800, needs=("check",)))
    other.start("check", 0)
    assert other.finish("check", 0.01).left is None


def test_steps_count_by_what_they_took_before() -> None:
    run = Run(planned("plan", *[10.0] * 20, limit=300), planned("code", *[90.0] * 20, limit=300, needs=("plan",)))
    run.start("plan", 0)
    assert run.look(5) == Foreseen(5, 95, 95, 95)
    run.finish("plan", 20)
    assert run.start("code", 20) == Foreseen(10, 90, 90, 90)
    assert run.look(65).percent == 55


def test_steps_side_by_side_end_with_the_longest_way() -> None:
    run = Run(
        planned("a", *[10.0] * 20), planned("b", *[50.0] * 20), planned("c", *[20.0] * 20, needs=("a",)),
        planned("d", *[5.0] * 20, needs=("b", "c")),
    )  # fmt: skip
    assert run.look(0).left == 55


def test_no_end_is_foreseen_behind_the_deadline_of_the_run() -> None:
    run = Run(planned("a", *[100.0] * 20), left=60)
    assert run.look(10) == Foreseen(0, 50, 50, 50)


def test_a_run_that_has_failed_is_as_far_as_it_came_and_has_no_end_before_it() -> None:
    run = Run(planned("a", *[10.0] * 20), planned("b", *[10.0] * 20, needs=("a",)))
    run.finish("a", 10)
    run.start("b", 10)
    run.finish("b", 15, outcome="failed")
    assert run.hear(EventType.RUN_FINISHED, "", 15, outcome="failed").told() == {"percent": 50}


def test_the_end_moves_back_no_further_than_was_said() -> None:
    run = Run(planned("a", *[100.0] * 20, tokens=1000))
    run.start("a", 0)
    said = run.look(20)
    slow = run.hear(EventType.PROGRESS, "a", 30, tokens=10)
    assert 30 + slow.left <= 20 + said.high + ROUNDING  # type: ignore[operator]


kinds = st.sampled_from([
    EventType.STEP_STARTED, EventType.PROGRESS, EventType.HEARTBEAT, EventType.RETRIED, EventType.EXTENDED,
    EventType.STEP_FINISHED, EventType.RUN_STARTED,
])  # fmt: skip
seconds = st.floats(0, 500, allow_nan=False)
events = st.lists(
    st.tuples(
        kinds,
        st.sampled_from(["a", "b", "c", "nobody"]),
        st.floats(-10, 200, allow_nan=False),
        st.integers(0, 3000),
        st.sampled_from(["finished", "failed"]),
    ),
    max_size=40,
)


@st.composite
def plans(draw: st.DrawFn) -> list[Planned]:
    return [
        Planned(
            name=name,
            kind=draw(st.sampled_from(list(Kind))),
            needs=draw(st.sampled_from([(), ("a",)])) if name != "a" else (),
            limit=draw(st.none() | st.floats(0.1, 3000)),
            weight=draw(st.floats(0.1, 10)),
            usual=Usual.of(draw(st.lists(st.tuples(seconds, st.integers(0, 2000)), max_size=25))),
        )
        for name in "abc"
    ]


@given(plans(), events)
def test_whatever_is_heard_it_never_runs_backwards_by_more_than_it_says(plan: list[Planned], heard: Any) -> None:
    run, now, before, bound = Run(*plan), 0.0, 0.0, float("inf")
    for kind, step, later, tokens, outcome in heard:
        now += max(0.0, later)
        told = run.hear(kind, step, now + min(0.0, later), tokens=tokens, outcome=outcome)
        assert before <= told.percent <= 100
        assert (told.percent == 100) == all(one.done for one in run.progress.steps.values())
        before = told.percent
        if told.left is not None:
            assert told.low <= told.left + ROUNDING
            assert told.high is None or told.left <= told.high + ROUNDING
            if now <= bound:
                assert now + told.left <= bound + ROUNDING
        bound = float("inf") if told.high is None else now + told.high
    assert run.hear(EventType.RUN_FINISHED, "", now, outcome="finished") == Foreseen(100, 0, 0, 0)


# -- what is known ----------------------------------------------------------------------------------------------------


def test_the_same_model_says_more_than_another_one() -> None:
    step = generate("code", "x", model="quick")
    seen = [StepTook(100.0, 50, "slow"), StepTook(10.0, 40, "quick")]
    assert usual_of(step, seen).lengths == (10.0,)
    other = usual_of(step, seen[:1])
    assert other.lengths == (100.0,)
    assert other.margin > usual_of(step, seen).margin


def test_of_a_step_that_is_new_other_calls_of_its_model_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Paces()
    known.fill(Observation("quick", "", 0, 1.0, 1.0, float(took), 9, "finished", "") for took in range(10, 30))
    monkeypatch.setattr(foreseeing, "paces", lambda: known)
    usual = usual_of(generate("code", "x", model="quick"), [StepTook(100.0, 50, "slow")])
    assert usual.seconds == pytest.approx(20, abs=1)
    assert usual.lengths[0] == 10
    assert usual.lengths[-1] >= 29
    assert usual_of(generate("code", "x", model="new"), []).seconds is None


def test_of_runs_that_begin_together_only_one_asks_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    asked, go = [], threading.Event()

    def slowly(url: str, flow: str) -> Any:
        asked.append(flow)
        go.wait(10)
        return {"a": [StepTook(1.0, 0, "")]}

    monkeypatch.setattr(foreseeing, "read", slowly)
    histories, given_, every = Histories(), [], threading.Semaphore(0)

    def take(history: Any) -> None:
        given_.append(history)
        every.release()

    for _ in range(3):
        histories.ask("url", "f", take)
    go.set()
    for _ in range(3):
        assert every.acquire(timeout=10)
    histories.ask("url", "f", take)
    assert asked == ["f"]
    assert [list(each) for each in given_] == [["a"]] * 4


# -- runs -------------------------------------------------------------------------------------------------------------


def test_the_events_of_a_run_say_how_far_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def wait() -> str:
        await asyncio.sleep(10)
        return "x"

    flow = Flow(
        "f",
        [generate("plan", "x", model=CODER, timeout=100), Step("wait", Kind.PYTHON, function=wait, after=("plan",))],
    )
    told = ran(monkeypatch, tmp_path, flow, {CODER: ["a", 20.0, "b", 20.0]})
    shown = [(event.type, event.told["percent"]) for event in told.events if "percent" in event.told]
    percents = [percent for _, percent in shown]
    assert percents == sorted(percents)
    assert {kind for kind, _ in shown} == {
        EventType.PROGRESS, EventType.HEARTBEAT, EventType.STEP_FINISHED, EventType.RUN_FINISHED,
    }  # fmt: skip
    assert shown[-1] == (EventType.RUN_FINISHED, 100)
    assert percents[-2] == 100
    assert told.events[-1].told["left"] == 0


def test_a_run_of_many_steps_is_looked_at_four_times_a_second_and_at_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def quick() -> str:
        return ""

    flow = Flow("f", [Step(f"s{at}", Kind.PYTHON, function=quick) for at in range(foreseeing.MANY + 1)])
    told = ran(monkeypatch, tmp_path, flow)
    assert len([event for event in told.events if "percent" in event.told]) < 10
    assert told.events[-1].told["percent"] == 100


@pytest.mark.real
def test_the_second_run_is_foreseen_by_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait() -> str:
        await asyncio.sleep(0.5)
        return ""

    def last(events: list[Event], step: str) -> Any:
        return next(each.told for each in events if each.step == step and each.type is EventType.STEP_FINISHED)

    flow = Flow("twice", [Step("a", Kind.PYTHON, function=wait), Step("b", Kind.PYTHON, function=wait, after=("a",))])
    hangtight.configure(journal=tmp_path / "journal.db")
    for run in ("first", "second"):
        events: list[Event] = []
        monkeypatch.setattr(foreseeing, "HISTORIES", Histories())
        with Engine(tmp_path, on_event=events.append) as engine:
            engine.run(flow)
        if run == "second":
            assert last(events, "a")["percent"] == pytest.approx(50, abs=10)
            assert last(events, "a")["left"] == pytest.approx(0.5, abs=0.3)
        assert last(events, "b")["percent"] == 100
        keeping = STANDING.recorder()
        assert keeping is not None
        assert keeping.flush(10)
    took = Reading(str(tmp_path / "journal.db")).steps_took("twice")
    assert {name: len(each) for name, each in took.items()} == {"a": 2, "b": 2}
    assert all(each.seconds == pytest.approx(0.5, abs=0.3) for each in took["a"])


# -- what is not known ------------------------------------------------------------------------------------------------


def test_a_step_of_which_nothing_is_known_counts_as_much_as_the_others() -> None:
    quick = planned("quick", 20.0, limit=30)
    run = Run(quick, planned("command", kind=Kind.TOOL, limit=300, says_it=False, needs=("quick",)))
    run.start("quick", 0)
    assert run.finish("quick", 20).percent == 50
    run = Run(planned("short", limit=10), planned("command", kind=Kind.TOOL, limit=300, says_it=False))
    assert run.finish("short", 1).percent == 50


def test_pieces_that_the_record_has_count_from_the_begin_of_another_life() -> None:
    run = Run(planned("book", 90.0), planned("end", 90.0, needs=("book",)))
    run.start("book", 0)
    for piece in (1, 2):
        run.hear(EventType.STEP_FINISHED, f"book/{piece}", 0.1, outcome="finished", recorded=True, piece=piece, of=3)
    far = run.look(0.2)
    assert far.percent == pytest.approx(100 / 3, abs=0.5)
    assert far.left == pytest.approx(30 + 90, abs=1)
