"""A step whose long answer is written in pieces: a plan, then one generation after the other, each kept by itself.

The time of the step is for all of them: each has its share of what is left, and what one saves is for the others. A
piece that times out costs that piece, which is marked; any other failure is that of the step.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hangtight.core.time import FOREVER
from hangtight.errors import BackendError, GenerationTimeout
from hangtight.flows.events import EventType
from hangtight.flows.run.attempt import Part, Tell
from hangtight.flows.run.splitting import (
    Plan,
    Split,
    asks_for_a_piece,
    asks_for_the_plan,
    content_of,
    joined,
    plan_in,
)
from hangtight.flows.run.step_life import Working
from hangtight.flows.run.workspace import Draft

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hangtight.drivers.budget.task import Budget
    from hangtight.flows.port import Steps
    from hangtight.flows.run.attempt import Doing
    from hangtight.flows.run.clocks import Clock
    from hangtight.flows.run.time_limit import Leftovers

PLAN: Final = "plan"
PLANNING: Final = 0.25  # of the step's time: without a plan there is nothing, but the pieces are what it is for
JOINING: Final = (
    0.01  # of what is left is no piece's, so that the last one ends by its own clock, and not with the step
)
MOST_JOINING: Final = 1.0


class InPieces(Working):
    """Such a step. `steps` keeps what each piece has put out: one that is whole is never written twice."""

    def __init__(self, doing: Doing, clock: Clock, budget: Budget | None, leftovers: Leftovers, steps: Steps) -> None:
        super().__init__(doing, clock, budget, leftovers)
        self._steps = steps
        self._split = Split(**(doing.step.split or {}))
        self._texts: dict[int, str] = {}
        self._missing: dict[int, str] = {}

    async def _tries(self) -> str:
        """Each piece has retries of its own, the step none."""
        self._attempts = 1
        plan = await self._plan()
        error: GenerationTimeout | None = None
        for at in range(len(plan.pieces)):
            try:
                self._texts[at] = await self._piece(plan, at)
            except GenerationTimeout as late:
                error = error or late
                self._missing[at] = str(late).partition("\n")[0]
                if not self._split.files and self._doing.answer is not None:
                    self._texts[at] = self._doing.answer.partial
            self._doing.draft.update(self._so_far(plan))
        missing = [*(plan.pieces[at].name for at in self._missing), *plan.left_out]
        self._more = {"pieces": len(plan.pieces), **({"missing": missing} if missing else {})}
        if error is not None and (self._split.whole or len(self._missing) == len(plan.pieces)):
            raise error
        if missing and self._split.whole:
            raise BackendError(f"{missing[0]} was planned and is missing: {plan.left_out[missing[0]]}")
        return self._so_far(plan)

    def _so_far(self, plan: Plan) -> str:
        return joined(self._split, plan, self._texts, self._missing) if self._texts or self._missing else ""

    async def _plan(self) -> Plan:
        asks = partial(asks_for_the_plan, split=self._split)
        part = Part(PLAN, Within(self._doing.draft), asks, lambda answer: plan_in(answer, self._split).plain)
        return Plan.of(await self._one(part, {}, PLANNING))

    async def _piece(self, plan: Plan, at: int) -> str:
        doing, of, name = self._doing, len(plan.pieces), plan.pieces[at].name
        asks = partial(asks_for_a_piece, split=self._split, plan=plan, at=at)
        told = {"piece": at + 1, "of": of, "name": name}
        if not self._split.files:
            part = Part(str(at + 1), Within(doing.draft, self._so_far(plan)), asks)
            return str(await self._one(part, told, 1 / (of - at)))
        file = Draft(doing.workspace, f"{doing.step.name}/{name}")
        part = Part(str(at + 1), file, asks, partial(content_of, name=name))
        text = str(await self._one(part, told, 1 / (of - at)))
        if not file.path.exists():  # it was written in a life before, and somewhere else
            file.finish(text)
        return text

    async def _one(self, part: Part, told: Mapping[str, Any], share: float) -> Any:
        """What this part has put out, now or in a life before."""
        doing = replace(self._doing, piece=part, tell=self._telling(told), tokens=0, answer=None)
        clock = self._clock.share(doing.name, self._limit(share))
        try:
            return await Working(doing, clock, None, self._leftovers).through(self._steps)
        finally:
            self._doing.answer = doing.answer or self._doing.answer
            self._doing.tokens += doing.tokens

    def _limit(self, share: float) -> float | None:
        left = self._clock.left(self._began, self._now())
        return None if left == FOREVER else share * max(0.0, left - min(MOST_JOINING, JOINING * left))

    def _telling(self, more: Mapping[str, Any]) -> Tell:
        tell = self._doing.tell

        def told_more(
            kind: EventType, step: str = "", payload: str = "", told: Mapping[str, Any] | None = None
        ) -> None:
            told = {**(told or {}), **more}
            tell(kind, step, payload, told)
            if kind is EventType.PROGRESS:  # for whoever follows the step as a whole
                tokens = self._doing.tokens + told.get("tokens", 0)
                tell(kind, self._name, payload, {**told, "elapsed": self._elapsed, "tokens": tokens})

        return told_more


class Within(Draft):
    """The text of one piece, behind those before it, in the draft of the whole."""

    def __init__(self, whole: Draft, before: str = "") -> None:
        self._whole = whole
        self._before = before and before + "\n"

    def update(self, text: str) -> None:
        self._whole.update(self._before + text)

    def begin(self) -> None:
        if self._before:
            self.update("")
        else:
            self._whole.begin()

    def finish(self, text: str) -> None:
        self.update(text)

    def failed(self, reason: str) -> None:
        """It is the whole that has a file for reasons."""
