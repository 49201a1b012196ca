"""The clocks of one step: how long it may take, who says so, and what the calls of models in it are given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hangtight.core.limits import Limits, Unset
from hangtight.core.telling import LONGER
from hangtight.core.time import FOREVER, plain, spoken
from hangtight.drivers.budget.shares import current
from hangtight.drivers.given import AROUND, Given, given
from hangtight.drivers.standing import settings
from hangtight.drivers.whys import why_of_run, with_why
from hangtight.errors import TotalTimeout
from hangtight.flows.run import wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hangtight.core.time import Instant
    from hangtight.flows.definition.steps import Flow, Step
    from hangtight.flows.port import RunSpec

IDLE = "idle"
SOONEST = 0.001  # seconds: what a call gets that begins when the time of its step is just over


@dataclass(frozen=True, slots=True)
class Clock:
    """How long a step may take in all, its retries included."""

    step: Step
    run: RunSpec
    limit: float | None
    source: str
    change: str
    line: str
    """To change any limit of the step, as a template."""
    own: bool
    """The step says it itself; what is only the engine's never lengthens what a mode says."""
    part: str = ""
    """Of the step: one piece of those into which it is split."""

    @classmethod
    def of(cls, step: Step, flow: Flow, run: RunSpec) -> Clock:
        """The step's own timeout, else that of its flow, else the engine's."""
        line = wording.of_the_step(step, flow)
        if not isinstance(step.timeout, Unset):
            where, change = step.source or f"step {step.name}", line.replace("{name}", "timeout")
            set_at = wording.changed_here(run, step.name)
            if at := set_at.get("total") or set_at.get("timeout"):
                change = run.sets.replace("{name}", at)
                where = change.format(value=step.timeout)
            return cls(step, run, step.timeout, where, change, line, own=True)
        if not isinstance(flow.timeout, Unset):
            where, change = flow.source or f"flow {flow.name}", wording.of_the_flow(flow)
            if "timeout" in run.changes:
                change = run.sets.replace("{name}", "timeout")
                where = change.format(value=flow.timeout)
            return cls(step, run, flow.timeout, where, change, line, own=False)
        change = line.replace("{name}", "timeout") if wording.is_of_a_file(flow) else "Engine(timeout={value})"
        return cls(step, run, run.timeout, "the engine", change, line, own=False)

    def share(self, part: str, limit: float | None) -> Clock:
        """Of one generation of a step that has several. What there is to change is the time of the step."""
        shared = replace(self, part=part, limit=limit)
        if limit is None:
            return shared
        if self.limit is None:
            return replace(
                shared,
                source="its share of what the run has left",
                change=wording.as_it_is(wording.longer_run(self.run)),
            )
        longer = self.change.format(name="timeout", value=plain(LONGER * self.limit))
        source = f"its share of {spoken(self.limit)}, {self.source}"
        return replace(shared, source=source, change=wording.as_it_is(longer))

    def left(self, began: Instant, now: Instant) -> float:
        """Of this limit, and of the budget around."""
        own = FOREVER if self.limit is None else self.limit - (now - began)
        around = current()
        return own if around is None else min(own, around.left())

    def places(self, began: Instant, now: Instant) -> tuple[Given, ...]:
        """What the calls of models inside are given, the nearest first."""
        step = self.step
        source = step.source or f"step {step.name}"
        limits: dict[str, Any] = {**step.limits, "heartbeat": self.run.heartbeat}
        mine = given(limits, step.mode, source=source, change=self.line)
        left = None if self.limit is None else max(SOONEST, self.limit - (now - began))
        cuts = step.mode is not None and not self.own
        total = Given(self.source, (("total", left),), change=self.change, cuts=cuts)
        return (*self._set_here(), replace(mine, run=self.run.id, step=step.name), total, *AROUND.get(), *self._usual())

    def _set_here(self) -> Iterator[Given]:
        """What this run was given beside the flow: to change it there would be of no use."""
        for name, place in wording.changed_here(self.run, self.step.name).items():
            if name in self.step.limits:
                change = self.run.sets.replace("{name}", place)
                value = self.step.limits[name]
                yield Given(change.format(value=value), ((name, value),), change=change)

    def _usual(self) -> tuple[Given, ...]:
        """A budget that only the run has is no mode: where nobody says anything, silence is that of no mode, cut."""
        if self.run.deadline is None or self.step.mode is not None:
            return ()
        found = settings()
        if found.default_mode is not None:
            return ()
        said = {name for place in AROUND.get() for name, _ in place.values}
        said |= {name for layer in found.layers(None, self.step.model or "", True) for name in layer.values}
        if IDLE in said:
            return ()
        return (Given("default", ((IDLE, Limits().idle),)),)

    def late(self, elapsed: float, *, left: bool) -> TotalTimeout:
        """The error of a step that took too long, as a whole."""
        limit = self.limit or 0.0
        longer = self.change.format(name="timeout", value=plain(LONGER * limit))
        lines = (
            f"step {self.part or self.step.name} timed out ({spoken(limit)} total) after {spoken(elapsed)}",
            f"total = {plain(limit)} comes from {self.source}",
            with_why(f"to wait longer:  {longer}", why_of_run(self.run.id)),
        )
        error = TotalTimeout("\n".join(lines))
        error.limit, error.waited, error.elapsed, error.source = "total", limit, elapsed, self.source
        error.model, error.left_running = self.step.model or "", left
        if left:
            error.add_note("it could not be stopped and is left running (.left_running)")
        return error
