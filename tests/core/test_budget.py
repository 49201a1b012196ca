"""The budget machine: arithmetic on instants, and the laws that no history may break."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.core.budget import (
    Begun,
    Budget,
    Ended,
    Halted,
    Part,
    Priority,
    Resumed,
    WrapUp,
    shared_out,
    shortened,
)
from hangtight.core.time import NEVER, Instant, Seconds

CRITICAL = Part(priority=Priority.CRITICAL)
SOON = 1e-6


def at(seconds: float) -> Instant:
    return Instant(1000.0 + seconds)


def budget(total: float, parts: dict[str, Part] | None = None, reserve: float = 0.0) -> Budget:
    return Budget(Seconds(total), parts or {}, at(0), reserve=Seconds(reserve))


def allotted(task: Budget, now: float) -> dict[str, float]:
    return {name: round(task.allotted(name, at(now)), 6) for name in task.parts}


def three(**settings: Any) -> Budget:
    return budget(120, {"analyze": Part(), "plan": Part(), "generate": CRITICAL}, **settings)


def test_critical_steps_get_forty_percent_together_and_the_rest_goes_by_weight() -> None:
    assert allotted(three(), 0) == {"analyze": 36, "plan": 36, "generate": 48}
    both = budget(100, {"a": CRITICAL, "b": CRITICAL, "c": Part(weight=1), "d": Part(weight=2)})
    assert allotted(both, 0) == {"a": 20, "b": 20, "c": 20, "d": 40}


def test_without_critical_steps_or_with_nothing_else_all_of_it_is_shared_out() -> None:
    assert allotted(budget(90, {"a": Part(), "b": Part(weight=2)}), 0) == {"a": 30, "b": 60}
    assert allotted(budget(90, {"a": CRITICAL, "b": CRITICAL}), 0) == {"a": 45, "b": 45}


def test_the_reserve_is_shared_out_to_nobody_and_is_no_time_for_calls() -> None:
    task = three(reserve=20)
    assert sum(allotted(task, 0).values()) == 100
    assert task.remaining(at(0)) == 120
    assert task.left_for(None, at(0)) == 100
    assert not task.exhausted(at(99))
    assert task.exhausted(at(100))


def test_saved_time_goes_to_the_critical_step_first() -> None:
    task = three()
    task.record(Begun("analyze"), at(0))
    task.record(Ended("analyze"), at(6))
    assert allotted(task, 6) == {"analyze": 6, "plan": 36, "generate": 78}


def test_without_a_critical_step_it_goes_to_the_high_ones_then_to_the_normal_ones() -> None:
    parts = {"a": Part(), "low": Part(priority=Priority.LOW), "high": Part(priority=Priority.HIGH)}
    task = budget(90, parts)
    task.record(Begun("a"), at(0))
    task.record(Ended("a"), at(10))
    assert allotted(task, 10) == {"a": 10, "low": 30, "high": 50}
    task.record(Begun("high"), at(10))
    task.record(Ended("high"), at(10))
    assert allotted(task, 10) == {"a": 10, "low": 80, "high": 0}


def test_overdrawn_time_is_taken_from_the_least_important_first_down_to_its_minimum() -> None:
    parts = {"a": Part(), "low": Part(priority=Priority.LOW, minimum=20), "high": Part(priority=Priority.HIGH)}
    task = budget(90, parts)
    task.record(Begun("a"), at(0))
    task.record(Ended("a"), at(45))
    assert allotted(task, 45) == {"a": 45, "low": 20, "high": 25}


def test_time_that_passes_between_steps_is_taken_from_those_to_come() -> None:
    task = budget(60, {"a": Part(), "b": Part()})
    assert allotted(task, 20) == {"a": 20, "b": 20}
    assert allotted(task, 60) == {"a": 0, "b": 0}


def test_a_minimum_is_given_where_it_fits_and_all_shrink_alike_where_it_does_not() -> None:
    assert allotted(budget(100, {"a": Part(), "b": Part(minimum=80)}), 0) == {"a": 20, "b": 80}
    assert shared_out(50, {"a": Part(minimum=40), "b": Part(minimum=60)}) == pytest.approx({"a": 20, "b": 30})


def test_the_minimums_of_the_steps_to_come_are_out_of_reach() -> None:
    task = budget(100, {"a": Part(), "b": Part(minimum=30), "c": Part(minimum=20)}, reserve=10)
    assert task.left_for(None, at(0)) == 40
    assert task.left_for("b", at(0)) == 70
    task.record(Begun("b"), at(0))
    assert task.left_for("b", at(5)) == 65
    task.record(Ended("b"), at(25))
    assert task.left_for("a", at(25)) == 45


def test_a_step_that_cannot_have_its_minimum_says_so() -> None:
    task = budget(100, {"a": Part(), "b": Part(minimum=30)})
    assert task.needed(None, at(0)) == 0
    task.record(Begun("b"), at(80))
    assert task.needed("b", at(80)) == 30
    assert task.needed("b", at(95)) == 15
    assert task.left_for("b", at(95)) == 5


def test_a_step_is_told_once_when_it_has_used_what_it_was_given() -> None:
    task = three()
    assert task.next_wakeup(at(0)) == NEVER
    task.record(Begun("plan"), at(0))
    assert task.next_wakeup(at(0)) == at(36)
    assert not task.should_wrap_up("plan", at(35))
    assert task.wake(at(35)) == ()
    assert task.should_wrap_up("plan", at(36))
    assert task.wake(at(36)) == (WrapUp("plan"),)
    assert task.wake(at(37)) == ()
    assert task.next_wakeup(at(37)) == NEVER
    assert not task.should_wrap_up("analyze", at(37))


def test_a_step_that_runs_gets_what_is_saved_beside_it() -> None:
    task = budget(100, {"a": Part(), "b": Part()})
    task.record(Begun("a"), at(0))
    task.record(Begun("b"), at(0))
    task.record(Ended("a"), at(10))
    assert task.allotted("b", at(10)) == 100, "it began at 0, and may go on to the end"
    assert task.next_wakeup(at(10)) == at(100)


def test_a_step_may_run_beside_itself_and_again() -> None:
    task = budget(100, {"a": Part(), "b": Part()})
    task.record(Begun("a"), at(0))
    task.record(Begun("a"), at(5))
    task.record(Ended("a"), at(10))
    assert task.spent("a", at(20)) == 20
    task.record(Ended("a"), at(20))
    assert allotted(task, 20) == {"a": 20, "b": 80}
    task.record(Begun("a"), at(20))
    assert allotted(task, 20) == {"a": 40, "b": 40}
    assert task.spent("a", at(30)) == 30


def test_a_step_that_nobody_announced_has_what_there_is() -> None:
    task = budget(100)
    task.record(Begun("any"), at(10))
    assert task.allotted("any", at(10)) == 90
    task.record(Ended("any"), at(50))
    assert task.allotted("any", at(50)) == 40
    assert task.allotted("other", at(50)) == 0


def test_what_is_allotted_never_reaches_past_the_end() -> None:
    task = budget(100, {"a": Part()}, reserve=50)
    task.record(Begun("a"), at(80))
    assert task.allotted("a", at(80)) == 0


def test_a_person_stops_the_clock_of_the_task() -> None:
    task = three()
    task.record(Begun("analyze"), at(0))
    task.record(Halted(), at(10))
    task.record(Halted(), at(20))
    assert task.halted
    assert task.next_wakeup(at(30)) == NEVER
    assert task.remaining(at(500)) == 110
    task.record(Resumed(), at(400))
    task.record(Resumed(), at(510))
    assert task.remaining(at(510)) == 110
    assert task.elapsed(at(510)) == 10
    assert task.spent("analyze", at(510)) == 10
    assert task.next_wakeup(at(510)) == at(536)
    assert not task.should_wrap_up("analyze", at(535))


def test_what_is_left_of_an_allotment_runs_down_only_while_the_step_runs() -> None:
    task = budget(100, {"a": Part(), "b": Part()})
    assert task.allotted_left("a", at(10)) == 45
    task.record(Begun("a"), at(0))
    assert [task.allotted_left("a", at(now)) for now in (0, 20, 80)] == [50, 30, 0]


def test_asking_what_is_allotted_changes_nothing() -> None:
    task = budget(60, {"a": Part(), "b": Part(priority=Priority.LOW)})
    task.record(Begun("a"), at(0))
    for now in (50, 40, 10):
        task.allotted("b", at(now))
    assert task.allotted("b", at(10)) == 30


# -- laws -----------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c", "d")
lengths = st.sampled_from((0.0, 0.25, 1.0, 3.5, 10.0, 40.0))
parts = st.builds(
    Part,
    weight=st.sampled_from((0.5, 1.0, 3.0)),
    minimum=st.sampled_from((0.0, 0.0, 2.0, 15.0)),
    priority=st.sampled_from(Priority),
)
histories = st.lists(st.tuples(st.sampled_from(("begin", "end", "halt", "resume")), st.sampled_from(NAMES), lengths))


@given(st.dictionaries(st.sampled_from(NAMES), parts), st.sampled_from((10.0, 60.0, 120.0)), lengths, histories)
def test_a_budget_never_hands_out_more_than_it_has(
    announced: dict[str, Part], total: float, reserve: float, history: list[tuple[str, str, float]]
) -> None:
    task, now, halts = budget(total, announced, min(reserve, total)), 0.0, 0
    lived = 0.0
    for what, step, passes in history:
        now += passes
        lived += passes if not halts else 0.0
        if what == "begin":
            task.record(Begun(step), at(now))
        elif what == "end" and step in task.running:
            task.record(Ended(step), at(now))
        elif what == "halt":
            task.record(Halted(), at(now))
            halts += 1
        elif what == "resume" and halts:
            task.record(Resumed(), at(now))
            halts -= 1
        moment = at(now)
        left = task.remaining(moment)
        assert left == pytest.approx(max(0.0, total - lived), abs=SOON)
        to_come = sum(task.allotted(name, moment) for name in task.to_come)
        held = sum(max(0.0, task.allotted(name, moment) - run_of(task, name, now)) for name in task.running)
        assert to_come >= 0
        assert to_come + held <= left + SOON
        for name in (*NAMES, None):
            assert 0 <= task.left_for(name, moment) <= left + SOON
        assert task.next_wakeup(moment) == NEVER or not task.halted


def run_of(task: Budget, name: str, now: float) -> float:
    """How long the run lasts in which this step is."""
    return task.spent(name, at(now)) - task.used.get(name, 0.0)


@given(st.dictionaries(st.sampled_from(NAMES), parts, min_size=1), st.sampled_from((0.0, 5.0, 60.0)))
def test_shares_add_up_to_what_there_is_and_reach_each_minimum_that_fits(wanted: dict[str, Part], pool: float) -> None:
    shares = shared_out(pool, wanted)
    assert sum(shares.values()) == pytest.approx(pool, abs=SOON)
    if sum(part.minimum for part in wanted.values()) <= pool:
        assert all(share >= wanted[name].minimum - SOON for name, share in shares.items())


@given(st.dictionaries(st.sampled_from(NAMES), parts, min_size=1), lengths, lengths)
def test_what_is_taken_is_taken_once_and_nobody_owes(wanted: dict[str, Part], each: float, missing: float) -> None:
    shares = dict.fromkeys(wanted, each)
    left = shortened(shares, wanted, missing)
    assert all(share >= 0 for share in left.values())
    assert sum(left.values()) == pytest.approx(max(0.0, sum(shares.values()) - missing), abs=SOON)
