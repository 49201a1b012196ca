"""What a machine wants done. The driver obeys; the machine never acts itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangtight.core.heartbeat import Heartbeat
from hangtight.core.time import plain

if TYPE_CHECKING:
    from hangtight.core.limits import Limit
    from hangtight.core.time import Seconds
    from hangtight.intent.findings import Finding


@dataclass(frozen=True, slots=True)
class Broken:
    """The verdict: this limit was broken, after so many seconds (allowances included)."""

    limit: Limit
    waited: Seconds


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the source: a limit is broken, or it repeats itself. Neither, where a complete answer merely did not end."""

    broken: Broken | None
    looped: Finding | None = None


@dataclass(frozen=True, slots=True)
class CancelAgain:
    """The source was told to stop and has not; use more force."""

    asked: int


@dataclass(frozen=True, slots=True)
class Excused:
    """For the journal: so much lateness of ours was charged to no silence limit."""

    late: Seconds


@dataclass(frozen=True, slots=True)
class Moved:
    """For people and the journal: what the text says has moved the end of `total`."""

    before: Seconds
    after: Seconds
    """How long `total` is from now on."""
    why: Finding

    def __str__(self) -> str:
        return f"deadline {plain(self.before)} s -> {plain(self.after)} s: {self.why.kind}"


Order = Heartbeat | Cancel | CancelAgain | Excused | Moved
