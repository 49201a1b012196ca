"""The phases of one process, and where each fact and each alarm may lead: the specification and the check.

Several phases stand behind a fact where it depends: on who waits, on how many requests run, on what was asked for.
"""

from __future__ import annotations

from enum import StrEnum

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
    SleepDone,
    SleepFailed,
    Slept,
    Spawned,
    SpawnFailed,
    Stubborn,
    WakeDone,
    WakeFailed,
    Wanted,
)
from hangtight.core.process.terms import Clock


class Phase(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    SLEEPING = "sleeping"
    """On its way to sleep."""
    ASLEEP = "asleep"
    WAKING = "waking"
    STOPPING = "stopping"
    FAILED = "failed"


STOPPED, STARTING, READY, DRAINING, SLEEPING, ASLEEP, WAKING, STOPPING, FAILED = Phase

RESTING = (STOPPED, ASLEEP, FAILED)
"""Its place is free, and it stays like this until somebody wants something."""

Row = dict[type[Fact], tuple[Phase, ...]]


def _always(phase: Phase) -> Row:
    """What may come at any time: requests end late, the gateway finds out late, output is read late."""
    return dict.fromkeys((Left, Progressed, LoadProgress, Hung, Renewed, Slept, Wanted, PutAway), (phase,))


def _living(phase: Phase) -> Row:
    """A process is there: it can end by itself, and a probe may have been on its way."""
    return _always(phase) | {Exited: (STOPPING,), Healthy: (phase,)}


LEGAL: dict[Phase, Row] = {
    STOPPED: _always(STOPPED) | {Wanted: (STOPPED, STARTING), Adopted: (STARTING,)},
    STARTING: _living(STARTING)
    | {
        Spawned: (STARTING,),
        SpawnFailed: (FAILED,),
        Healthy: (READY,),
        PutAway: (STARTING, STOPPING),
    },
    READY: _living(READY)
    | {
        Entered: (READY,),
        PutAway: (DRAINING, SLEEPING, STOPPING),
        Hung: (DRAINING, STOPPING),
    },
    DRAINING: _living(DRAINING)
    | {
        Wanted: (DRAINING, READY),
        Left: (DRAINING, SLEEPING, STOPPING),
        PutAway: (DRAINING, SLEEPING, STOPPING),
    },
    SLEEPING: _living(SLEEPING)
    | {
        SleepDone: (ASLEEP, WAKING),
        SleepFailed: (STOPPING,),
        PutAway: (SLEEPING, STOPPING),
    },
    ASLEEP: _living(ASLEEP) | {Wanted: (WAKING,), PutAway: (ASLEEP, STOPPING)},
    WAKING: _living(WAKING)
    | {
        WakeDone: (READY,),
        WakeFailed: (STOPPING,),
        PutAway: (WAKING, STOPPING),
    },
    # It may have been spawned, and a command may have ended, at the moment when we asked for the end.
    STOPPING: _living(STOPPING)
    | dict.fromkeys((Spawned, SleepDone, SleepFailed, WakeDone, WakeFailed), (STOPPING,))
    | dict.fromkeys((Gone, SpawnFailed), (STOPPED, STARTING, FAILED))
    | {Stubborn: (FAILED,)},
    # What outlived its kill may still show up, or go.
    FAILED: _always(FAILED)
    | dict.fromkeys((Gone, SpawnFailed, Exited, Stubborn), (FAILED,))
    | {
        Spawned: (STOPPING,),
        Wanted: (FAILED, STARTING, STOPPING),
        PutAway: (FAILED, STOPPED, STOPPING),
    },
}

RINGS: dict[Phase, dict[Clock, tuple[Phase, ...]]] = {
    STOPPED: {},
    STARTING: {Clock.START: (STOPPING,), Clock.STALL: (STOPPING,)},
    READY: {
        Clock.LEAVE: (DRAINING, SLEEPING, STOPPING),
        Clock.HANG: (STOPPING,),
        Clock.TTL: (SLEEPING, STOPPING),
    },
    DRAINING: {Clock.DRAIN: (SLEEPING, STOPPING)},
    SLEEPING: {Clock.SLEEP: (STOPPING,)},
    ASLEEP: {},
    WAKING: {Clock.WAKE: (STOPPING,)},
    STOPPING: {Clock.STOP: (STOPPING,), Clock.KILL: (FAILED,)},
    FAILED: {},
}


class IllegalFact(Exception):
    """A driver recorded what cannot happen in this phase: a bug of ours, never of a model server."""

    def __init__(self, phase: Phase, fact: Fact) -> None:
        super().__init__(f"{type(fact).__name__} cannot happen to a process that is {phase}")
