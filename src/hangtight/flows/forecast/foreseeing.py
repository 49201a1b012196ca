"""Adds to what is told of a run how far it is: by the steps of earlier runs that the journal knows, and by the models.

Nothing waits for the journal. What was told before it has answered has no per cent in it, and where it does not answer
in time the run goes without.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hangtight.core.limits import Limit, Unset
from hangtight.drivers import clock
from hangtight.drivers.standing import paces, recorder
from hangtight.flows.definition.steps import Kind
from hangtight.flows.events import EventType
from hangtight.flows.forecast.pacing import KIN, OTHERS, Usual
from hangtight.flows.forecast.progress import Planned, Progress
from hangtight.flows.run.clocks import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.flows.definition.steps import Flow, Step
    from hangtight.flows.port import RunSpec
    from hangtight.journal.run_sums import StepTook

    History = Mapping[str, list[StepTook]]
    Taken = Callable[[History], object]

TOLD_WITH: Final = (EventType.PROGRESS, EventType.HEARTBEAT, EventType.STEP_FINISHED, EventType.RUN_FINISHED)
PATIENCE: Final = 2.0  # seconds for the journal; a prediction that changes in the middle of a run is of no use
FRESH: Final = 30.0  # seconds in which what is known of a flow is not asked for again
REMEMBERED: Final = 100
"""Flows."""
SAMPLES: Final = 5
"""Calls of a model that say how long one takes."""
MANY: Final = 100
EVERY: Final = 0.25  # seconds between two looks at a run of many steps: each look goes through all of them
THREAD: Final = "hangtight-history"


class Histories:
    """What the journal knows of flows: asked for once for all runs that begin together, in a thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, History]] = {}
        self._waiting: dict[tuple[str, str], list[Taken]] = {}

    def ask(self, url: str, flow: str, take: Taken) -> None:
        """`take` is called here and now, or later in a thread."""
        key = (url, flow)
        with self._lock:
            at, history = self._known.get(key, (0.0, {}))
            fresh = key in self._known and clock.now() - at < FRESH
            if not fresh:
                waiting = self._waiting.setdefault(key, [])
                waiting.append(take)
                if len(waiting) == 1:
                    threading.Thread(target=self._read, args=key, name=THREAD, daemon=True).start()
        if fresh:
            take(history)

    def _read(self, url: str, flow: str) -> None:
        history: History = {}
        try:
            history = read(url, flow)
        finally:
            with self._lock:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[url, flow] = (clock.now(), history)
                waiting = self._waiting.pop((url, flow))
            for take in waiting:
                take(history)


HISTORIES: Final = Histories()


def read(url: str, flow: str) -> History:
    """Nothing, where the journal cannot be read."""
    from hangtight.journal.reading import JournalError, Reading

    try:
        return Reading(url).steps_took(flow)
    except (JournalError, ImportError):
        return {}


class Foreseeing:
    """Of one life of a run, on its loop."""

    def __init__(self, spec: RunSpec, flow: Flow) -> None:
        self._spec, self._flow = spec, flow
        self._now = clock.here().now
        self._progress: Progress | None = None
        self._heard: list[tuple[EventType, str, Mapping[str, Any], float]] = []
        self._late: asyncio.TimerHandle | None = None
        self._looked = 0.0
        self._last: dict[str, Any] = {}
        keeping = recorder()
        if keeping is None:
            self._take({})
            return
        loop = asyncio.get_running_loop()
        self._late = loop.call_later(PATIENCE, self._take, {})
        HISTORIES.ask(keeping.url, flow.name, partial(_bring, loop, self._take))

    def _take(self, history: History) -> None:
        """Once; what was heard until now is caught up with."""
        if self._progress is not None:
            return
        if self._late is not None:
            self._late.cancel()
        self._progress = Progress.of(planned(self._flow, self._spec, history))
        for each in self._heard:
            self._progress.hear(*each)
        self._heard.clear()

    def __call__(self, kind: EventType, step: str, told: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is told, with how far the run is where that is known."""
        now, progress = self._now(), self._progress
        if progress is None:
            self._heard.append((kind, step, told, now))
            return told
        progress.hear(kind, step, told, now)
        if kind not in TOLD_WITH:
            return told
        if len(progress.steps) <= MANY or kind is EventType.RUN_FINISHED or now - self._looked >= EVERY:
            self._looked, self._last = now, progress.foreseen(now).told()
            return {**told, **self._last}
        return told

    def close(self) -> None:
        if self._late is not None:
            self._late.cancel()


def _bring(loop: asyncio.AbstractEventLoop, take: Taken, history: History) -> None:
    with suppress(RuntimeError):  # the loop has ended, and nobody looks any more
        loop.call_soon_threadsafe(take, history)


def planned(flow: Flow, spec: RunSpec, history: History) -> Iterable[Planned]:
    """The steps, with what is known of each."""
    for step in flow.steps.values():
        limit = Clock.of(step, flow, spec).limit
        usual = usual_of(step, history.get(step.name, ()))
        about: dict[str, Any] = {"name": step.name, "kind": step.kind, "needs": step.needs, "weight": step.weight}
        yield Planned(**about, limit=limit, says_it=not isinstance(step.timeout, Unset), usual=usual)


def usual_of(step: Step, seen: Iterable[StepTook]) -> Usual:
    """By the same step with the same model; else by other calls of the model; else by the step with another model."""
    seen = tuple(seen)
    same = [each for each in seen if not step.model or each.model == step.model]
    if same:
        return Usual.of((each.seconds, each.tokens) for each in same)
    if step.kind is Kind.GENERATE and step.model and (usual := _of_the_model(step)) is not None:
        return usual
    return Usual.of(((each.seconds, each.tokens) for each in seen), OTHERS)


def _of_the_model(step: Step) -> Usual | None:
    learner, model, mode = paces(), step.model or "", step.mode or ""
    found = learner.predicted(model, mode, 0, samples=SAMPLES)
    if found is None or found.pooled:
        return None
    longest = learner.learned(Limit.TOTAL, model, mode, 0, {}, samples=SAMPLES)
    most = KIN * found.seconds if longest is None or longest.pooled else max(found.seconds, longest.value)
    return Usual((found.least, found.seconds, most))
