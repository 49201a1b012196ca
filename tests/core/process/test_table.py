"""The table of what may follow what: each legal fact and each alarm moves as it says, each other fact is refused."""

from __future__ import annotations

from collections import defaultdict
from typing import get_args

import pytest

from hangtight.core.process.facts import (
    Adopted,
    Entered,
    Exited,
    Fact,
    Gone,
    Healthy,
    Hung,
    Left,
    LoadProgress,
    Progressed,
    PutAway,
    Renewed,
    Rest,
    SleepDone,
    SleepFailed,
    Slept,
    Spawned,
    SpawnFailed,
    Stubborn,
    WakeDone,
    WakeFailed,
    Wanted,
    Why,
)
from hangtight.core.process.machine import Process
from hangtight.core.process.phases import LEGAL, RINGS, IllegalFact, Phase
from hangtight.core.process.terms import Clock, Terms
from hangtight.core.time import NEVER, Instant, Seconds
from tests.core.process.world import twin

TERMS = Terms(can_sleep=True, stall=Seconds(20), ttl=Seconds(30))
LAZY = Terms(ttl=Seconds(30))
TERMS_OF = {"it sleeps": TERMS, "it cannot": LAZY}

UP: tuple[Fact, ...] = (Wanted(), Spawned(1), Healthy())
BUSY = (*UP, Entered())
TO_SLEEP, TO_STOP = PutAway(Rest.SLEEP, Why.SWAP), PutAway(Rest.STOP, Why.SWAP)
URGENT = PutAway(Rest.SLEEP, Why.SWAP, urgent=True)
SHUTDOWN = PutAway(Rest.STOP, Why.SHUTDOWN)

HISTORIES: tuple[tuple[Fact, ...], ...] = (
    (),
    (SHUTDOWN,),
    (*UP, SHUTDOWN, Gone()),
    (Wanted(),),
    (Wanted(), Spawned(1)),
    (Wanted(), Spawned(1), TO_SLEEP),
    UP,
    BUSY,
    (Wanted(), Spawned(1), TO_SLEEP, Healthy()),
    (Wanted(), Spawned(1), TO_SLEEP, Healthy(), Entered()),
    (*BUSY, TO_SLEEP),
    (*BUSY, TO_STOP),
    (*BUSY, Entered(), TO_SLEEP),
    (*BUSY, PutAway(Rest.SLEEP, Why.TTL)),
    (*UP, TO_SLEEP),
    (*BUSY, URGENT),
    (*UP, TO_SLEEP, Wanted()),
    (*BUSY, URGENT, SleepDone()),
    (*UP, TO_SLEEP, SleepDone()),
    (*BUSY, URGENT, SleepDone(), Wanted()),
    (*UP, TO_STOP),
    (*UP, TO_STOP, Wanted()),
    (*BUSY, Exited("exit code 1")),
    (*UP, TO_STOP, PutAway(Rest.STOP, Why.SWAP, urgent=True)),
    (Wanted(), PutAway(Rest.STOP, Why.OPERATOR)),
    (Wanted(), PutAway(Rest.STOP, Why.RELOAD)),
    (Wanted(), Exited("exit code 1")),
    (Wanted(), Exited("exit code 1"), Stubborn("pid 1")),
    (Wanted(), SpawnFailed("no")),
    (*BUSY, Exited("exit code 1"), Gone()),
    (*UP, TO_STOP, Stubborn("pid 1")),
    (*UP, TO_STOP, Stubborn("pid 1"), SHUTDOWN, Stubborn("pid 1")),
)

SAMPLES: tuple[Fact, ...] = (
    Wanted(),
    Wanted(insists=True),
    Adopted(2),
    Spawned(3),
    SpawnFailed("no"),
    LoadProgress(),
    Healthy(),
    Exited("exit code 2"),
    Entered(),
    Left(),
    Progressed(),
    *(PutAway(to, why, urgent) for to in Rest for why in Why for urgent in (False, True)),
    SleepDone(),
    SleepFailed("no"),
    WakeDone(),
    WakeFailed("no"),
    Gone(),
    Stubborn("pid 1"),
    Hung("it goes on"),
    Renewed(LAZY),
    Slept(Seconds(3.0)),
)


def lived(history: tuple[Fact, ...], terms: Terms) -> Process | None:
    """A process after this; None where it cannot happen under these terms."""
    process = Process(terms, Instant(0))
    try:
        for fact in history:
            process.record(fact, Instant(1))
    except IllegalFact:
        return None
    return process


def lives() -> list[Process]:
    made = (lived(history, terms) for history in HISTORIES for terms in TERMS_OF.values())
    return [process for process in made if process is not None]


def test_every_fact_stands_in_the_samples_and_every_phase_is_reached() -> None:
    assert {type(fact) for fact in SAMPLES} == set(get_args(Fact))
    assert {process.phase for process in lives()} == set(Phase) == set(LEGAL) == set(RINGS)


@pytest.mark.parametrize("phase", Phase)
def test_a_legal_fact_leads_where_the_table_says_and_nowhere_else(phase: Phase) -> None:
    seen: dict[type[Fact], set[Phase]] = defaultdict(set)
    for before in lives():
        for fact in SAMPLES:
            if before.phase is not phase or type(fact) not in LEGAL[phase] or before._is_impossible(fact):
                continue
            for now in (1.5, 1000.0):
                process = twin(before)
                process.record(fact, Instant(now))
                seen[type(fact)].add(process.phase)
    for kind, allowed in LEGAL[phase].items():
        if kind is not Left or Left in seen:  # in some phases nobody can be inside
            assert seen[kind] == set(allowed), kind.__name__


@pytest.mark.parametrize("phase", Phase)
def test_every_other_fact_is_refused_and_changes_nothing(phase: Phase) -> None:
    for before in lives():
        for fact in SAMPLES:
            if before.phase is phase and type(fact) not in LEGAL[phase]:
                process = twin(before)
                with pytest.raises(
                    IllegalFact, match=f"{type(fact).__name__} cannot happen to a process that is {phase}"
                ):
                    process.record(fact, Instant(2))
                assert process.snapshot(Instant(2)) == before.snapshot(Instant(2))


@pytest.mark.parametrize("phase", Phase)
def test_an_alarm_leads_where_the_table_says_and_nowhere_else(phase: Phase) -> None:
    seen: dict[Clock, set[Phase]] = defaultdict(set)
    for process in lives():
        clock, at = process.alarm()
        if process.phase is phase and clock is not None and at != NEVER:
            process.wake(at)
            seen[clock].add(process.phase)
        elif process.phase is phase:
            assert process.wake(Instant(1e6)) == ()
    assert seen == {clock: set(allowed) for clock, allowed in RINGS[phase].items()}
