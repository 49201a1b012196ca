"""The sign of life that goes out while a generation runs, silent or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangtight.core.time import counted, spoken

if TYPE_CHECKING:
    from hangtight.core.limits import Limit
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


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """An order: tell whoever listens. `str()` is a line for people."""

    now: Snapshot
    model: str = "the model"

    @property
    def elapsed(self) -> float:
        return self.now.elapsed

    def __str__(self) -> str:
        line = f"Still waiting on {self.model}... {self.elapsed:.0f}s elapsed"
        if self.now.tokens:
            line += f", {counted(self.now.tokens)}"
        if self.now.in_contact:
            line += f" (pings, no content for {spoken(self.now.silence)})"
        return line
