"""The body of a run: each step as soon as those it needs have ended, side by side, under the deadline of the run."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from hangtight.core.time import FOREVER
from hangtight.drivers import clock
from hangtight.drivers.budget.task import Budget
from hangtight.errors import BudgetSpent, GenerationTimeout
from hangtight.flows.events import EventType
from hangtight.flows.forecast.foreseeing import Foreseeing
from hangtight.flows.port import Ended
from hangtight.flows.run.attempt import Doing
from hangtight.flows.run.clocks import Clock
from hangtight.flows.run.pieces import InPieces
from hangtight.flows.run.step_life import Working, said, share_of
from hangtight.flows.run.time_limit import LANDING, LEAVING, UNWINDING, Leftovers
from hangtight.flows.run.wording import as_it_is, longer_run
from hangtight.flows.run.workspace import Workspace

if TYPE_CHECKING:
    from hangtight.flows.definition.steps import Flow, Step
    from hangtight.flows.event_delivery import Teller
    from hangtight.flows.port import RunSpec, Steps

FINISHED, FAILED, TIMEOUT, CANCELLED = "finished", "failed", "timeout", "cancelled"
AT_ONCE: Final = 10
AFTER_STEPS: Final = LANDING + 2 * LEAVING
"""Seconds after the deadline of a run in which its steps end by themselves, each with its own error."""


class Running:
    """One run, here and now: its first life, or another one."""

    def __init__(self, spec: RunSpec, flow: Flow, steps: Steps, tell: Teller, leftovers: Leftovers) -> None:
        self.spec, self.flow = spec, flow
        self.outputs: dict[str, Any] = {}
        """By step, of those that have ended well."""
        self.error: BaseException | None = None
        """Why it ended early."""
        self._steps, self._tell, self._leftovers = steps, tell, leftovers
        self._hold = steps.hold
        self._is_stopped = False
        self._workspace = Workspace(spec.workspace, self._hold.sure)
        self._budget: Budget | None = None
        self._at = ""
        self._now = clock.here().now
        self._began = self._now()
        wall = clock.wall()
        self._before = max(0.0, wall - spec.began) if spec.began else 0.0
        """Seconds before this life of it."""
        self._ends = FOREVER if spec.deadline is None else self._began + spec.deadline - wall

    async def go(self) -> Ended:
        """To its end. Told to stop it stops its steps, and lets the cancellation pass."""
        self._tell.adds = foreseeing = Foreseeing(self.spec, self.flow)
        try:
            return await self._go()
        finally:
            foreseeing.close()

    async def _go(self) -> Ended:
        told = {"elapsed": self.elapsed, "steps": list(self.flow.steps), "left": self._left_told()}
        told |= {"source": self.spec.source, "workspace": self.spec.workspace}
        if self._left() > 0 and (budget := self._made()) is not None:
            told["shares"] = {name: share_of(self.spec, seconds) for name, seconds in budget.planned().items()}
        self._tell(EventType.RUN_RESUMED if self._steps.resumed else EventType.RUN_STARTED, told=told)
        try:
            ended = await self._to_its_end()
        except asyncio.CancelledError as stop:
            self.error = stop
            if how := self._hold.stopped():
                self._finished(Ended(how, how, self._at, self.elapsed))
            raise
        if ended.outcome == FINISHED or await self._hold.ours():
            self._finished(ended)
        return ended

    def _finished(self, ended: Ended) -> None:
        told = {"outcome": ended.outcome, "elapsed": ended.elapsed}
        if ended.error:
            told |= {"error": ended.error, "step": ended.step}
        self._tell(EventType.RUN_FINISHED, payload=ended.error.partition("\n")[0], told=told)

    async def _to_its_end(self) -> Ended:
        try:
            if self._left() <= 0:
                raise BudgetSpent
            with self._inside():
                await self._all()
        except Exception as error:  # noqa: BLE001 - whatever a step raises is how the run ended
            self.error = error
            return self._ended(error)
        return Ended(FINISHED, elapsed=self.elapsed)

    def _ended(self, error: Exception) -> Ended:
        if self._left() <= 0:
            return Ended(TIMEOUT, BudgetSpent.TEXT, self._at, self.elapsed)
        outcome = TIMEOUT if isinstance(error, GenerationTimeout | BudgetSpent) else FAILED
        return Ended(outcome, said(error, self.elapsed), self._at, self.elapsed)

    # -- time -------------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        return self._before + self._now() - self._began

    def _left(self) -> float:
        return self._ends - self._now()

    def _left_told(self) -> float | None:
        return None if self._ends == FOREVER else round(self._left(), 3)

    def _inside(self) -> AbstractContextManager[object]:
        return nullcontext() if self._budget is None else self._budget

    def _made(self) -> Budget | None:
        """Only a limit for the whole run makes a budget, which the steps share."""
        if self._ends == FOREVER:
            return None
        left = self._left()
        kept = sum(step.minimum for step in self.flow.steps.values())
        part = min(1.0, left / kept) if kept else 1.0  # of a run that is resumed less may be left than was kept
        shares = {step.name: _share(step, part) for step in self.flow.steps.values()}
        self._budget = Budget(
            max(left, sum(share["minimum"] for share in shares.values())), steps=shares, name=self.spec.id
        )
        self._budget.change = as_it_is(longer_run(self.spec))
        return self._budget

    # -- steps ------------------------------------------------------------------------------------------------

    async def _all(self) -> None:
        """Each step is begun by the last of those it needs; nothing here grows with how many there are."""
        missing = {name: len(step.needs) for name, step in self.flow.steps.items()}
        users: dict[str, list[str]] = {name: [] for name in missing}
        for name, step in self.flow.steps.items():
            for need in step.needs:
                users[need].append(name)
        running: dict[asyncio.Task[Any], str] = {}
        ended: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()

        def begin(name: str) -> None:
            task = asyncio.ensure_future(self._one(self.flow.steps[name]))
            running[task] = name
            task.add_done_callback(ended.put_nowait)

        try:
            for count, name in enumerate([name for name, count in missing.items() if not count], 1):
                begin(name)
                if not count % AT_ONCE:
                    await asyncio.sleep(0)  # a thousand steps that begin in one turn hold up everybody else
            while running:
                task = await self._next(ended, running)
                name = running.pop(task)
                self._take(task, name)
                for user in users[name]:
                    missing[user] -= 1
                    if not missing[user]:
                        begin(user)
        except asyncio.CancelledError:
            self._is_stopped = True
            raise
        finally:
            await self._stop(running)

    async def _next(self, ended: asyncio.Queue[asyncio.Task[Any]], running: dict[asyncio.Task[Any], str]) -> Any:
        """The next step that has ended. Each has a clock of its own: this one is for what does not heed it."""
        limit = None if self._ends == FOREVER else max(0.0, self._left()) + AFTER_STEPS
        try:
            async with asyncio.timeout(limit) as scope:
                return await ended.get()
        except TimeoutError:
            if not scope.expired():
                raise
            self._at = ", ".join(running.values())
            raise BudgetSpent from None

    def _take(self, task: asyncio.Task[Any], name: str) -> None:
        self._at = name
        if task.cancelled():
            raise asyncio.CancelledError
        self.outputs[name] = task.result()
        self._at = ""

    async def _one(self, step: Step) -> Any:
        """What the step puts out, now or in a life before."""
        needed = {name: self.outputs[name] for name in step.needs}
        doing = Doing(self.spec, step, self._workspace, self._tell, needed, self.flow.steps)
        doing.hold, doing.stopped = self._hold, self._stopped
        own = Clock.of(step, self.flow, self.spec)
        doing.line = own.line
        given = (doing, own, self._budget, self._leftovers)
        working = Working(*given) if step.split is None else InPieces(*given, self._steps)
        return await working.through(self._steps)

    def _stopped(self) -> str:
        """What a cancelled step is told as: it may also be that only another one has failed."""
        how = self._hold.stopped()
        return how if self._is_stopped or not how else CANCELLED

    async def _stop(self, running: dict[asyncio.Task[Any], str]) -> None:
        """The others do not go on. At the deadline they end by themselves, and nobody waits for more than that."""
        if not running:
            return
        left = self._left()
        if left <= 0:
            await asyncio.wait(running, timeout=LANDING)
        for task in running:
            task.cancel()
            self._leftovers.add(task)
        await asyncio.wait(running, timeout=min(max(left, LEAVING), UNWINDING + LEAVING))


def _share(step: Step, part: float) -> dict[str, Any]:
    share: dict[str, Any] = {"weight": step.weight, "minimum": step.minimum * part}
    return {**share, "priority": "critical"} if step.critical else share
