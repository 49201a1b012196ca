"""Which clock of a process rings next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hangtight.core.process.phases import Phase
from hangtight.core.process.terms import Clock
from hangtight.core.time import NEVER, Instant, Seconds, after

if TYPE_CHECKING:
    from hangtight.core.process.life import Life

Alarm = tuple[Clock | None, Instant]


def alarm_of(process: Life) -> Alarm:
    """The clock that would ring next, and when. No clock: it rests."""
    terms, since = process.terms, process.since
    match process.phase:
        case Phase.STARTING:
            return _of_a_start(process)
        case Phase.READY:
            return _of_a_ready_one(process)
        case Phase.DRAINING:
            return Clock.DRAIN, after(since, terms.drain)
        case Phase.SLEEPING:
            return Clock.SLEEP, after(since, terms.sleep)
        case Phase.WAKING:
            return Clock.WAKE, after(since, terms.wake)
        case Phase.STOPPING if process.killed:
            return Clock.KILL, after(since, terms.kill)
        case Phase.STOPPING:
            return Clock.STOP, after(since, terms.stop)
        case Phase.STOPPED | Phase.ASLEEP | Phase.FAILED:  # pragma: no branch - mypy holds that there is no other
            return None, NEVER


def _of_a_start(process: Life) -> Alarm:
    ceiling = after(process.spawned_at, process.terms.start)
    if process.terms.stall is None:
        return Clock.START, ceiling
    stall = after(process.loaded_at, process.terms.stall)
    return (Clock.STALL, stall) if stall < ceiling else (Clock.START, ceiling)


def _of_a_ready_one(process: Life) -> Alarm:
    if process.leaving is not None:
        return Clock.LEAVE, process.since
    if not process.running:
        return Clock.TTL, after(process.idle_at, process.terms.ttl)
    hang = max(process.terms.hang, process.patience)
    return Clock.HANG, after(process.quiet_since, Seconds(hang - process.quiet_before))
