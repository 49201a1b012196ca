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


@dataclass(slots=True, kw_only=True)
class Clocks:
    """The lengths that one generation really runs on: resolved, cut to the parent, allowances included.

    Nobody changes one. It is not frozen because each call inside a budget makes its own, which freezing makes dear.
    """

    total: Seconds = Seconds(600.0)
    total_from: TotalFrom = TotalFrom.CALL
    extend_to: Seconds = Seconds(0.0)
    """How far `total` may be moved up for a model that is getting on; below `total` it is not moved."""
    ceiling: Seconds = FOREVER
    """What a parent has left: no allowance reaches past it."""
    cold: Seconds = Seconds(0.0)
    """How much of `first_token` is there because the model may have to load."""
    late: Seconds = Seconds(0.0)
    """How late `total` may start for the same reason."""
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
            case Phase.CANCELLING | Phase.ENDED:  # pragma: no branch - mypy holds that there is no other
                return None

    def patience(self, phase: Phase) -> Seconds:
        """How long a silence may last in this phase."""
        silence = self.silence(phase)
        return FOREVER if silence is None else silence[1]

    def allowed(self, phase: Phase) -> Seconds:
        """How much of that is there because the model may have to load."""
        return self.cold if phase is Phase.WAITING and not self.reasons else Seconds(0.0)

    @property
    def shortest(self) -> Seconds:
        """No fact can start a clock that rings sooner than this, as long as the generation is to go on.

        `cancel` is left out: who ends a generation closes its source then and there.
        """
        plain = Seconds(self.first_token - self.cold)
        silences = (self.queue, self.load, plain, self.unstreamed, self.thinking, self.idle)
        return min(*silences, self.total if self.total_from is not TotalFrom.CALL else FOREVER)

    def warmed(self) -> Clocks:
        """The same for a model that is in memory: nothing is allowed for a load, and `total` runs."""
        if not self.cold and not self.late and self.total_from is TotalFrom.CALL:
            return self
        return replace(self._without_cold(), total_from=TotalFrom.CALL)

    def loading(self) -> Clocks:
        """The same while the model is known to load: `load` counts now, and a `total` that has not begun waits."""
        begun = self.total_from is TotalFrom.CALL
        return replace(self._without_cold(), total_from=TotalFrom.CALL if begun else TotalFrom.READY)

    def _without_cold(self) -> Clocks:
        plain = Seconds(self.first_token - self.cold)
        return replace(self, first_token=plain, cold=Seconds(0.0), late=Seconds(0.0))
