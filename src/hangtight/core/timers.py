"""Every reason to wake, and which limit counts the silence of which phase."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from hangtight.core.limits import Limit
from hangtight.core.phases import Phase
from hangtight.core.time import FOREVER, Seconds


class Timer(Enum):
    """The wider promise first: of two that ring at one instant, the first is the one that is told."""

    TOTAL = "the call as a whole"
    SILENCE = "no progress while somebody waits"
    CANCEL = "asked to stop, not confirmed"
    HEARTBEAT = "time for a sign of life"


class TotalFrom(Enum):
    """What starts `total`."""

    CALL = "the call"
    READY = "the model is loaded, or its first progress"
    FIRST_PROGRESS = "the first progress, at most the cold allowance late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The lengths that one generation really runs on: resolved, cut to the parent, allowances included."""

    total: Seconds = Seconds(600.0)
    total_from: TotalFrom = TotalFrom.CALL
    ceiling: Seconds = FOREVER
    """What a parent has left: no allowance reaches past it."""
    cold: Seconds = Seconds(0.0)
    """How much of `first_token` is there because the model may have to load."""
    first_token: Seconds = Seconds(45.0)
    reasons: bool = False
    """The request asks for reasoning: `thinking` stands in for `first_token`."""
    idle: Seconds = Seconds(45.0)
    thinking: Seconds = Seconds(300.0)
    queue: Seconds = Seconds(300.0)
    load: Seconds = Seconds(300.0)
    unstreamed: Seconds = Seconds(300.0)
    cancel: Seconds = Seconds(5.0)
    heartbeat: Seconds = FOREVER

    def silence(self, phase: Phase) -> tuple[Limit, Seconds] | None:
        """The limit on silence in this phase, and its length; None where silence is no fault."""
        match phase:
            case Phase.QUEUED:
                return Limit.QUEUE, self.queue
            case Phase.LOADING:
                return Limit.LOAD, self.load
            case Phase.WAITING if self.reasons:
                return Limit.THINKING, self.thinking
            case Phase.WAITING:
                return Limit.FIRST_TOKEN, self.first_token
            case Phase.UNSTREAMED:
                return Limit.UNSTREAMED, self.unstreamed
            case Phase.THINKING:
                return Limit.THINKING, self.thinking
            case Phase.STREAMING | Phase.CLOSING:
                return Limit.IDLE, self.idle
            case Phase.CANCELLING | Phase.ENDED:
                return None

    @property
    def shortest_silence(self) -> Seconds:
        """No fact can start a silence that rings sooner than this."""
        return min(self.queue, self.load, self.first_token, self.unstreamed, self.thinking, self.idle)

    def warmed(self) -> Clocks:
        """The same without what was allowed for a load that is not needed."""
        return replace(self._without_cold(), total_from=TotalFrom.CALL)

    def loading(self) -> Clocks:
        """The same while the model is known to load: `load` counts now, and `total` starts after it."""
        return replace(self._without_cold(), total_from=TotalFrom.READY)

    def started(self) -> Clocks:
        """The same once `total` runs."""
        return replace(self, total_from=TotalFrom.CALL)

    def _without_cold(self) -> Clocks:
        return replace(self, first_token=Seconds(self.first_token - self.cold), cold=Seconds(0.0))
