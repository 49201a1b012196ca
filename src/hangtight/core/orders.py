"""What a machine wants done. The driver obeys; the machine never acts itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangtight.core.heartbeat import Heartbeat

if TYPE_CHECKING:
    from hangtight.core.limits import Limit
    from hangtight.core.time import Seconds


@dataclass(frozen=True, slots=True)
class Broken:
    """The verdict: this limit was broken, after so many seconds (allowances included)."""

    limit: Limit
    waited: Seconds


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the source. `broken` is None where the answer was complete and only its end did not come."""

    broken: Broken | None


@dataclass(frozen=True, slots=True)
class CancelAgain:
    """The source was told to stop and has not; use more force."""

    asked: int


@dataclass(frozen=True, slots=True)
class Excused:
    """For the journal: so much lateness of ours was charged to no silence limit."""

    late: Seconds


Order = Heartbeat | Cancel | CancelAgain | Excused
