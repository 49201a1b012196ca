"""What is held against a process: not our own sleep, not for ever a patient request. And a stop by a command alone."""

from __future__ import annotations

import pytest

from hangtight.core.process.facts import (
    Ending,
    Entered,
    Exited,
    Fact,
    Gone,
    Healthy,
    Left,
    Progressed,
    PutAway,
    Rest,
    Slept,
    Spawned,
    Stubborn,
    Wanted,
    Why,
)
from hangtight.core.process.machine import Process
from hangtight.core.process.orders import Kill, Level, Stop, Tell
from hangtight.core.process.phases import Phase
from hangtight.core.process.terms import Clock, Terms
from hangtight.core.time import FOREVER, NEVER, Instant, Seconds

UP: tuple[Fact, ...] = (Wanted(), Spawned(1), Healthy())
SHUTDOWN = PutAway(Rest.STOP, Why.SHUTDOWN, urgent=True)


def at(seconds: float) -> Instant:
    return Instant(seconds)


def lived(terms: Terms, *facts: Fact) -> Process:
    process = Process(terms, at(0))
    for fact in facts:
        process.record(fact, at(0))
    return process


# -- we stood still -------------------------------------------------------------------------------------------

TO_SLEEP, TO_STOP = PutAway(Rest.SLEEP, Why.SWAP), PutAway(Rest.STOP, Why.SWAP)
CLOCKED = {
    Clock.START: (Wanted(), Spawned(1)),
    Clock.TTL: UP,
    Clock.HANG: (*UP, Entered()),
    Clock.DRAIN: (*UP, Entered(), TO_SLEEP),
    Clock.SLEEP: (*UP, TO_SLEEP),
    Clock.STOP: (*UP, TO_STOP),
    Clock.KILL: (*UP, TO_STOP, PutAway(Rest.STOP, Why.SWAP, urgent=True)),
}


@pytest.mark.parametrize("clock", CLOCKED)
def test_every_clock_is_put_back_by_as_long_as_we_stood_still(clock: Clock) -> None:
    process = lived(Terms(can_sleep=True, ttl=Seconds(60)), *CLOCKED[clock])
    rings, due = process.alarm()
    assert rings is clock
    late = at(due + 30)
    [told] = process.record(Slept(Seconds(30)), late)
    assert told == Tell(Level.INFO, "hangtight stood still for 30.0s: its clocks are put back by that")
    assert process.alarm() == (clock, late)


def test_a_stall_is_put_back_too() -> None:
    process = lived(Terms(stall=Seconds(10)), Wanted(), Spawned(1))
    process.record(Slept(Seconds(30)), at(40))
    assert process.alarm() == (Clock.STALL, at(40))


def test_nothing_is_put_back_further_than_to_now_and_nothing_is_told_of_what_was_not_due() -> None:
    process = lived(Terms(ttl=Seconds(60)), *UP)
    assert process.record(Slept(Seconds(30)), at(10)) == ()
    assert process.alarm() == (Clock.TTL, at(70))


def test_what_rests_has_no_clock_to_be_put_back() -> None:
    process = lived(Terms())
    assert process.record(Slept(Seconds(30)), at(100)) == ()
    assert process.snapshot(at(100)).lasts == 100


def test_a_silence_from_before_counts_on_and_one_with_a_token_in_it_does_not() -> None:
    process = lived(Terms(hang=Seconds(50)), *UP, Entered())
    process.record(Left(Ending.SILENT), at(20))
    process.record(Entered(), at(100))
    process.record(Slept(Seconds(7)), at(137))
    assert process.alarm() == (Clock.HANG, at(137))
    process.record(Progressed(), at(140))
    process.record(Slept(Seconds(3)), at(150))
    assert process.alarm() == (Clock.HANG, at(193))


# -- a patient request ----------------------------------------------------------------------------------------


def test_a_patient_request_holds_the_clock_only_as_long_as_it_is_inside() -> None:
    process = lived(Terms(hang=Seconds(50)), *UP, Entered(FOREVER), Entered())
    assert process.next_wakeup() == NEVER
    process.record(Left(patience=Seconds(0)), at(1000))
    assert process.alarm() == (Clock.HANG, at(1050)), "who stays may have come at this very moment"
    process.record(Entered(), at(1010))
    process.record(Left(), at(1020))
    assert process.alarm() == (Clock.HANG, at(1050)), "and what comes and goes behind it moves nothing"


def test_who_leaves_behind_another_that_is_as_patient_changes_nothing() -> None:
    process = lived(Terms(hang=Seconds(50)), *UP, Entered(Seconds(200)), Entered(Seconds(200)))
    process.record(Left(patience=Seconds(200)), at(100))
    assert process.alarm() == (Clock.HANG, at(200))


def test_a_little_less_patience_takes_no_silence_back() -> None:
    process = lived(Terms(hang=Seconds(50)), *UP, Entered(Seconds(40)), Entered(Seconds(20)))
    process.record(Left(Ending.SILENT, Seconds(20)), at(40))
    assert process.alarm() == (Clock.HANG, at(50))


# -- a command that stops it ----------------------------------------------------------------------------------

DOCKED = Terms(has_stop=True, stop=Seconds(10), hang=Seconds(50))


def orders(process: Process, fact: Fact, now: float) -> list[object]:
    return [order for order in process.record(fact, at(now)) if isinstance(order, Stop | Kill)]


def test_one_that_exits_by_itself_is_stopped_by_its_command_and_killed_when_that_takes_too_long() -> None:
    process = lived(DOCKED, *UP)
    assert orders(process, Exited("exit code 1"), 5) == [Stop()]
    assert process.alarm() == (Clock.STOP, at(15))
    assert process.wake(at(15))[-1] == Kill()
    process.record(Stubborn("port 5800 still answers"), at(16))
    assert process.lingers
    assert orders(process, Wanted(insists=True), 17) == [Stop()], "and the next who wants it has it tried once more"
    process.record(Gone(), at(18))
    assert process.phase is Phase.STARTING


def test_without_a_command_it_is_killed_as_before() -> None:
    assert orders(lived(Terms(), *UP), Exited("exit code 1"), 5) == [Kill()]


def test_one_that_hangs_is_stopped_by_its_command_also_where_somebody_waits() -> None:
    process = lived(DOCKED, *UP, Entered(), PutAway(Rest.STOP, Why.SWAP), Wanted())
    process.leaving = PutAway(Rest.STOP, Why.HUNG)
    assert orders(process, Left(), 5) == [Stop()]


def test_the_end_of_all_waits_for_the_command_and_who_says_so_once_more_does_not() -> None:
    process = lived(DOCKED, *UP, PutAway(Rest.STOP, Why.SWAP))
    assert orders(process, SHUTDOWN, 1) == []
    assert orders(process, SHUTDOWN, 2) == [Kill()]


def test_what_was_put_away_in_vain_is_stopped_by_its_command_again() -> None:
    process = lived(DOCKED, *UP, Exited("exit code 1"), Stubborn("port 5800 still answers"))
    assert orders(process, PutAway(Rest.STOP, Why.OPERATOR), 1) == [Stop()]
