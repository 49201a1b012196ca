"""Several models for one call: who is tried next, and within what. Pure, like all machines of the core.

One deadline over all of them: a fallback gets what is left of `total`, never more. Once a token was delivered
nobody else is asked, because an answer comes from one model. After a timeout the same model is not asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hangtight.core.time import Instant, Seconds, after, between, spoken


class Fault(StrEnum):
    """Why an attempt failed, as far as it matters for the next one."""

    TIMEOUT = "timeout"
    """A limit was broken: the same model would only do it again."""
    SERVER = "server"
    """No connection, an overload, an error of the server: another model may be luckier, even the same one."""
    REQUEST = "request"
    """The request itself is refused: nobody would take it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One that failed."""

    model: str
    fault: Fault
    reason: str
    """One line: what was broken, or what the server said."""
    elapsed: float
    limit: str = ""
    """The limit that was broken, after a timeout."""
    tokens: int = 0

    def __str__(self) -> str:
        return f"{self.model} failed after {spoken(self.elapsed)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Try:
    """Ask this one, for at most so long."""

    model: str
    left: Seconds


class Attempts:
    """The chain of one call: the model that was asked for, and those that stand in for it."""

    __slots__ = ("_at", "_silent", "born", "delivered", "models", "told")

    def __init__(self, models: Sequence[str], now: Instant) -> None:
        self.models = tuple(models)
        self.born = now
        self.delivered = False
        """The caller has a token: from now on there is no other model for this call."""
        self.told: tuple[Attempt, ...] = ()
        self._at = 0
        self._silent: set[str] = set()

    @property
    def model(self) -> str:
        """The one that is being asked."""
        return self.models[self._at]

    @property
    def may_change(self) -> bool:
        """Another model may still take over: nothing of this one's answer should be handed on that is not a token."""
        return not self.delivered and self._at + 1 < len(self.models)

    def failed(self, attempt: Attempt, now: Instant, total: Seconds) -> Try | None:
        """Who is asked now, with `total` for the whole call; None where the failure is the caller's to know."""
        self.told = (*self.told, attempt)
        if attempt.fault is Fault.TIMEOUT:
            self._silent.add(attempt.model)
        left = between(now, after(self.born, total))
        if self.delivered or attempt.fault is Fault.REQUEST or not left:
            return None
        for at in range(self._at + 1, len(self.models)):
            if self.models[at] not in self._silent:
                self._at = at
                return Try(self.models[at], left)
        return None
