"""Several models for one call: who is tried next, and within what. Pure, like all machines of the core.

One deadline over all of them: a fallback gets what is left of `total`, never more. Once a token was delivered
nobody else is asked, because an answer comes from one model. After a timeout the same model is not asked again. Who is
known to take longer than what is left is not asked at all; and while the first is silent, the time of a lighter one
that would fit is kept free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hangtight.core.time import FOREVER, Instant, Seconds, after, between, spoken

KEPT_MORE = 0.1  # of the time that a model is predicted to take: to stop the one before it takes time too
KEPT_AT_LEAST = 0.5  # seconds


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


def _unknown(model: str) -> float | None:
    """Nothing was learned about any model."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """One that was not asked, because it would not have finished."""

    model: str
    predicted: float
    left: float

    def __str__(self) -> str:
        return f"{self.model} was not asked: it takes about {spoken(self.predicted)}, and {spoken(self.left)} are left"


@dataclass(frozen=True, slots=True)
class Kept:
    """So much is kept free for this model, should the first one stay silent."""

    model: str
    seconds: float


class Attempts:
    """The chain of one call: the model that was asked for, and those that stand in for it."""

    __slots__ = ("_at", "_kept_for", "_predict", "_silent", "born", "delivered", "models", "told", "unfit")

    def __init__(self, models: Sequence[str], now: Instant, predict: Callable[[str], float | None] = _unknown) -> None:
        self.models = tuple(models)
        self.born = now
        self._predict = predict
        """How many seconds a model will take; None where that is not known."""
        self.unfit: tuple[Unfit, ...] = ()
        self._kept_for: str | None = None
        """It is asked even if to stop the first one took more of its time than was thought."""
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

    def has_another(self, now: Instant, total: Seconds) -> bool:
        """Another model would be asked, if this one failed now."""
        left = between(now, after(self.born, total))
        if not left or not self.may_change:
            return False
        return any(model == self._kept_for or not self._is_unfit(model, left) for model in self.models[self._at + 1 :])

    def skip_unfit(self, left: Seconds) -> None:
        """Begin with the first that is not known to take longer than this; with the first of all if none is."""
        fitting = [at for at in range(self._at, len(self.models)) if not self._is_unfit(self.models[at], left)]
        if not fitting or self.told:
            return
        for model in self.models[self._at : fitting[0]]:
            self._pass_over(model, left)
        self._at = fitting[0]

    def _is_unfit(self, model: str, left: Seconds) -> bool:
        predicted = self._predict(model)
        return predicted is not None and predicted > left

    def _pass_over(self, model: str, left: Seconds) -> None:
        self.unfit = (*self.unfit, Unfit(model, self._predict(model) or 0.0, left))

    def kept(self, left: Seconds) -> Kept | None:
        """What to keep free, of so much time that is left, while the model whose turn it is stays silent."""
        if left == FOREVER:
            return None
        for model in self.models[self._at + 1 :]:
            predicted = self._predict(model)
            if predicted is None:
                return None  # who may be as fast as one likes needs nothing kept
            seconds = predicted + max(KEPT_AT_LEAST, KEPT_MORE * predicted)
            if seconds < left:
                self._kept_for = model
                return Kept(model, seconds)
        return None

    def failed(self, attempt: Attempt, now: Instant, total: Seconds) -> Try | None:
        """Who is asked now, with `total` for the whole call; None where the failure is the caller's to know."""
        self.told = (*self.told, attempt)
        if attempt.fault is Fault.TIMEOUT:
            self._silent.add(attempt.model)
        left = between(now, after(self.born, total))
        if self.delivered or attempt.fault is Fault.REQUEST or not left:
            return None
        for at in range(self._at + 1, len(self.models)):
            model = self.models[at]
            if model != self._kept_for and self._is_unfit(model, left):
                self._pass_over(model, left)
            elif model not in self._silent:
                self._at = at
                return Try(model, left)
        return None
