"""How a process stood at one instant. For people to look at: nothing is decided by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangtight.core.time import NEVER, Instant, between

if TYPE_CHECKING:
    from hangtight.core.process.facts import Why
    from hangtight.core.process.life import Life
    from hangtight.core.process.phases import Phase
    from hangtight.core.process.terms import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Lengths are seconds until the instant that was looked at."""

    phase: Phase
    lasts: float
    """How long it has been in this phase."""
    pid: int | None
    running: int
    waited_for: bool
    """Somebody waits until it is ready."""
    leaving: Why | None
    """Who wants it gone, while it drains."""
    nearest: Clock | None
    """The clock that would ring next, if nothing came from now on."""
    rings_in: float | None
    failures: int
    """In a row."""
    pause: float
    """How long nobody may start it yet."""
    why: str
    """The last thing that went wrong."""
    quiet: float | None
    """Since its last token; None where none came in this life."""


def snapshot_of(process: Life, now: Instant) -> Snapshot:
    clock, at = process.alarm()
    rings = clock is not None and at != NEVER
    return Snapshot(
        phase=process.phase,
        lasts=between(process.since, now),
        pid=process.pid,
        running=process.running,
        waited_for=process.wanted,
        leaving=None if process.leaving is None else process.leaving.why,
        nearest=clock if rings else None,
        rings_in=between(now, at) if rings else None,
        failures=process.failures.row,
        pause=process.failures.left(now),
        why=process.failures.why,
        quiet=None if process.progress_at is None else between(process.progress_at, now),
    )
