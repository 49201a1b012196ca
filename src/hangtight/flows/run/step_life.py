"""One step from its begin to its end: its attempts within its time, and all that is told of them."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from hangtight.core.attempts import Fault
from hangtight.core.time import FOREVER, spoken
from hangtight.drivers import clock
from hangtight.drivers.budget.shares import current
from hangtight.drivers.faults import fault_of
from hangtight.drivers.given import AROUND
from hangtight.errors import BackendError, BudgetSpent, GenerationTimeout, SettingsError
from hangtight.flows.definition.steps import Kind
from hangtight.flows.events import EventType
from hangtight.flows.run.time_limit import LANDING, Late, Leftovers, bounded
from hangtight.flows.run.workspace import well_formed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.core.time import Instant
    from hangtight.drivers.budget.task import Budget
    from hangtight.flows.port import RunSpec, Steps
    from hangtight.flows.run.attempt import Doing
    from hangtight.flows.run.clocks import Clock

PAUSE: Final = 1.0  # seconds before a second attempt, and twice as long before each one after it
LONGEST_PAUSE: Final = 30.0
RECORDED: Final = {"outcome": "finished", "recorded": True, "elapsed": 0.0}
"""Of a step that was done in a life before."""
TOO_SHORT: Final = 0.05  # seconds: with less left nothing is worth another attempt


class Working:
    """A step that is done."""

    def __init__(self, doing: Doing, clock: Clock, budget: Budget | None, leftovers: Leftovers) -> None:
        self._doing, self._clock = doing, clock
        self._budget, self._leftovers = budget, leftovers
        self._name = doing.name
        self._attempts = 0
        self._more: dict[str, Any] = {}
        """Of its end."""
        self._now = clock_here()
        self._began = self._now()
        self._begun = False
        self._took: float | None = None
        """Seconds until it had put something out: to have it recorded is none of its time."""

    async def through(self, steps: Steps) -> Any:
        """What the step has put out, now or in a life before: it is in the record, and then in its place, before
        anybody is told. Raises why it is not."""
        try:
            value = await steps(self._name, self._work)
            await self._doing.place(value, recorded=not self._begun)
        except asyncio.CancelledError:
            if self._begun and (how := self._doing.stopped()):
                self._end(how, f"{how} after {spoken(self._elapsed)}")
            raise
        except Exception as error:
            if await self._doing.hold.ours():
                self._failed(error)
            raise
        if self._begun:
            self._end("finished")
        else:
            with self._share():  # it has had it
                self._doing.tell(EventType.STEP_FINISHED, self._name, told=RECORDED)
        return value

    async def _work(self) -> Any:
        self._now = clock_here()
        self._began, self._begun = self._now(), True
        limit = self._clock.limit
        self._tell(EventType.STEP_STARTED, {"model": self._doing.step.model, "timeout": limit, **self._allotted()})
        with self._share():
            value = await self._tries()
        self._took = self._elapsed
        return value

    def _share(self) -> AbstractContextManager[object]:
        return nullcontext() if self._budget is None else self._budget.step(self._doing.step.name)

    def _allotted(self) -> dict[str, float]:
        """What the budget of the run gives the step as it begins."""
        if self._budget is None:
            return {}
        return share_of(self._doing.spec, self._budget.allotted(self._doing.step.name))

    async def _tries(self) -> Any:
        pause = PAUSE
        while True:
            self._attempts += 1
            began = self._now()
            try:
                return await self._once()
            except Exception as error:
                wait = max(pause, getattr(error, "retry_after", None) or 0.0)
                if not self._again(error, wait):
                    raise
                told = {"attempt": self._attempts, "error": said(error, self._now() - began), "after": wait}
                self._tell(EventType.RETRIED, told)
            await asyncio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _once(self) -> Any:
        around = current()
        if around is not None:
            around.admit()
        left = self._clock.left(self._began, self._now())
        landing = 0.0 if self._doing.step.kind is Kind.TOOL else LANDING
        try:
            return await bounded(self._attempt(), None if left == FOREVER else left, self._leftovers, landing=landing)
        except Late as late:
            raise self._late(left=late.left) from None

    async def _attempt(self) -> Any:
        """In a task of its own, so that what is given for its calls holds nowhere else."""
        AROUND.set(self._clock.places(self._began, self._now()))
        return await self._doing.attempt()

    def _late(self, *, left: bool) -> Exception:
        """Whose time is over: that of the step, or that of the whole run."""
        around, limit = current(), self._clock.limit
        spent = limit is None or self._elapsed < limit - TOO_SHORT
        if around is not None and spent:
            return around.budget.spent(around, 0.0, 0.0)
        return self._clock.late(self._elapsed, left=left)

    def _again(self, error: Exception, wait: float) -> bool:
        """Whether the step is done once more after this."""
        if self._attempts > self._doing.step.retries or not is_worth_it(error, self._doing.step.kind):
            return False
        return self._clock.left(self._began, self._now()) > wait + TOO_SHORT

    # -- what is told -----------------------------------------------------------------------------------------

    @property
    def _elapsed(self) -> float:
        return self._now() - self._began if self._took is None else self._took

    def _failed(self, error: Exception) -> None:
        elapsed = self._elapsed
        with suppress(Exception):
            if not getattr(error, "elapsed", 0.0):
                error.elapsed = elapsed  # type: ignore[attr-defined]
        timed_out = isinstance(error, GenerationTimeout | BudgetSpent)
        if timed_out:
            left = getattr(error, "left_running", False)
            told = {"limit": getattr(error, "limit", "budget"), "error": said(error, elapsed), "left_running": left}
            self._tell(EventType.TIMED_OUT, told)
        self._end("timeout" if timed_out else "failed", said(error, elapsed))

    def _end(self, outcome: str, error: str = "") -> None:
        doing = self._doing
        told: dict[str, Any] = {"outcome": outcome, "attempt": self._attempts, "tokens": doing.tokens, **self._more}
        if doing.model:
            told["model"] = doing.model
        if error:
            told["error"] = error
            with suppress(OSError, SettingsError):  # the disk, or the place of the file, may be what is wrong
                doing.draft.failed(error)
        self._tell(EventType.STEP_FINISHED, told)

    def _tell(self, kind: EventType, told: dict[str, Any]) -> None:
        payload = str(told.get("error", "")).partition("\n")[0]
        self._doing.tell(kind, self._name, payload, {"elapsed": self._elapsed, **told})


def share_of(run: RunSpec, seconds: float) -> dict[str, float]:
    """What a step is given, as it is told: seconds, and the part of the run's whole time."""
    whole = max((run.deadline or 0.0) - run.began, seconds)
    return {"allotted": round(seconds, 3), "share": round(seconds / whole, 4) if whole else 0.0}


def clock_here() -> Callable[[], Instant]:
    """The clock of the loop that runs here."""
    return clock.here().now


def is_worth_it(error: Exception, kind: Kind) -> bool:
    """Whether the same may go well another time: not where it is refused, or where nothing of it can be meant."""
    if isinstance(error, BudgetSpent | SettingsError):
        return False
    fault = fault_of(error)
    if fault is None:
        return kind is Kind.PYTHON
    return fault is not Fault.REQUEST


def said(error: BaseException, elapsed: float) -> str:
    """An error in words, with the elapsed time."""
    if isinstance(error, GenerationTimeout):
        return f"{type(error).__name__}: {error}"
    text = well_formed(str(error))
    if not isinstance(error, BudgetSpent | BackendError):
        text = f"{type(error).__name__}: {text}"
    first, _, rest = text.partition("\n")
    took = f"after {spoken(elapsed)}"
    first = first if took in first else f"{first} ({took})"
    return f"{first}\n{rest}" if rest else first
