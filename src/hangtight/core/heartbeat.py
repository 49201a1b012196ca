"""The sign of life that goes out while a generation runs, silent or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangtight.core.limits import Limit
from hangtight.core.time import FOREVER, NEVER, Instant, between, counted, spoken
from hangtight.core.timers import Timer
from hangtight.intent.findings import Act

if TYPE_CHECKING:
    from hangtight.core.generation import Generation
    from hangtight.core.orders import Moved
    from hangtight.core.phases import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """How a generation stood at one instant. For people to look at: nothing is decided by it."""

    phase: Phase
    elapsed: float
    tokens: int
    silence: float
    """Seconds without content for which somebody has been waiting."""
    in_contact: bool
    """Bytes came since the last content: it pings."""
    first_token: float | None
    """Seconds from the start to the first content."""
    nearest: Limit | None
    """The limit that would ring first, if nothing came from now on."""
    rings_in: float | None
    doing: str = ""
    """What the model is at, where its text is read along: `coding`, `stuck`."""
    seen: str = ""
    """Why it may be stuck, without a word of its text."""
    total: float | None = None
    """How long the whole call may take, as it stands now; None for no limit."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """An order: tell whoever listens. `str()` is a line for people."""

    now: Snapshot
    model: str = "the model"
    moved: Moved | None = None
    """By what the text says the deadline was moved since the last one."""

    @property
    def elapsed(self) -> float:
        return self.now.elapsed

    def __str__(self) -> str:
        line = f"Still waiting on {self.model}... {self.elapsed:.0f}s elapsed"
        if self.now.tokens:
            line += f", {counted(self.now.tokens)}"
        if self.now.in_contact:
            line += f" (pings, no content for {spoken(self.now.silence)})"
        if self.moved is not None:
            line += f", {self.moved}"
        if self.now.seen:
            line += f", it may be stuck: {self.now.seen}"
        return line


def snapshot_of(generation: Generation, now: Instant) -> Snapshot:
    """How this generation stands."""
    nearest = min((Timer.TOTAL, Timer.SILENCE), key=generation.due)
    at = generation.due(nearest)
    silence = generation.clocks.silence(generation.phase)
    limit = silence[0] if nearest is Timer.SILENCE and silence else Limit.TOTAL
    total = generation.deadline.length(generation.clocks)
    first, until = generation.first_at, now if generation.ended_at is None else generation.ended_at
    return Snapshot(
        phase=generation.phase,
        elapsed=generation.earlier + between(generation.born, until),
        tokens=generation.tokens,
        silence=between(generation.since, generation.quiet_until(until)),
        in_contact=generation.contact_at is not None and generation.contact_at > generation.since,
        first_token=None if first is None else generation.earlier + between(generation.born, first),
        nearest=None if at == NEVER else limit,
        rings_in=None if at == NEVER else between(now, at),
        seen=str(generation.deadline.advice) if generation.deadline.advice.act is Act.HOLD else "",
        doing=generation.deadline.advice.doing or "",
        total=None if total == FOREVER else total,
    )
