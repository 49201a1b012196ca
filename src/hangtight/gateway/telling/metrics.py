"""What Prometheus is told at `/metrics`: how long models take, what was cut short, who waits.

It is fed once for a generation, or for a decision about it, never for a token. Where a label could be made up by a
stranger it is bounded: models have to be known first, and of anything else only the first few have names of their own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from hangtight import __version__
from hangtight.core.circuit import State
from hangtight.core.limits import Limit
from hangtight.errors import HangtightError
from hangtight.gateway.telling.flow_metrics import OfFlows
from hangtight.gateway.telling.labels import BUCKETS, OTHER, Labels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry, Counter, Gauge

    from hangtight.core.phases import Outcome
    from hangtight.drivers.session import Session

HOW_TO_GET_IT = "pip install 'hangtight[gateway]'"
MOST_MODELS = 200
MOST_OTHERS = 32  # routes, reasons, kinds of heartbeats: the gateway itself names them, and has fewer
MOST_TOKENS = 10**9  # a server may say anything, and what is no number for Prometheus must not end in an error
PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text"


class Page(NamedTuple):
    """The answer to whoever scrapes."""

    content_type: str
    body: bytes


class Metrics:
    """The numbers of one gateway. Several in one process do not meet: each has a registry of its own.

    `models` are those that are configured. It is fed by one thread; any thread may read the page.
    """

    def __init__(self, models: Iterable[str] = ()) -> None:
        try:
            from prometheus_client import CollectorRegistry, Info, ProcessCollector
        except ImportError as missing:
            raise HangtightError(f"counting for /metrics needs {missing.name}: {HOW_TO_GET_IT}") from None
        self._registry = CollectorRegistry()
        self._instruments = Instruments(self._registry)
        Info("hangtight_build", "What is running here.", registry=self._registry).info({"version": __version__})
        ProcessCollector(registry=self._registry)
        self._models, self._reasons = Labels(MOST_MODELS), Labels(MOST_OTHERS)
        self._of: dict[str, OfModel] = {}
        self.flows = OfFlows(self._registry)
        self.knows(models)

    def knows(self, models: Iterable[str]) -> None:
        """These exist: they are configured, or an upstream lists them. Where it is full, they count as `other`."""
        for model in models:
            self._models.add(model)

    def of(self, model: str) -> OfModel:
        """The numbers of this model; those of all that are not known are kept together."""
        label = self._models.of(model)
        found = self._of.get(label)
        if found is None:
            found = self._of[label] = OfModel(self._instruments, label)
        return found

    def refused(self, reason: str) -> None:
        """A request was turned away: no key, a strange host, a queue that is full, an open circuit."""
        self._instruments.refused.labels(self._reasons.add(reason)).inc()

    def render(self, accept: str = "") -> Page:
        """The page, in the older format where the newer one is not asked for by name."""
        if OPENMETRICS in accept:
            from prometheus_client.openmetrics import exposition

            body = exposition.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return Page(exposition.CONTENT_TYPE_LATEST, body)
        from prometheus_client import generate_latest

        return Page(PLAIN, generate_latest(self._registry))


class Instruments:
    """What is counted and measured, under which names."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        count, stand = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        length = partial(Histogram, registry=registry, buckets=BUCKETS)
        model = ["model"]
        self.first = length("hangtight_first_token_seconds", "From the request to the first token.", model)
        self.gap = length("hangtight_gap_seconds", "The longest gap between two tokens of a generation.", model)
        self.whole = length("hangtight_generation_seconds", "How long a generation took, however it ended.", model)
        self.queue = length("hangtight_queue_seconds", "How long a request stood in line.", model)
        self.ends = count("hangtight_generations", "Generations that ended, and how.", ["model", "route", "outcome"])
        self.timeouts = count("hangtight_timeouts", "Generations that broke a limit, and which.", ["model", "limit"])
        self.tokens = count("hangtight_tokens", "Pieces with content that models sent.", model)
        self.usage = count("hangtight_usage_tokens", "Tokens as the servers count them.", ["model", "part"])
        self.heartbeats = count("hangtight_heartbeats", "Signs of life sent to clients.", ["model", "kind"])
        self.moves = count("hangtight_deadline_moves", "Deadlines that the text has moved.", ["model", "direction"])
        self.fallbacks = count("hangtight_fallbacks", "Generations in place of a model that failed.", model)
        self.left = count("hangtight_left_running", "Generations that went on though they were cancelled.", model)
        self.opened = count("hangtight_circuit_opened", "How often the circuit opened.", model)
        self.refused = count("hangtight_refused", "Requests that were turned away.", ["reason"])
        self.in_flight = stand("hangtight_in_flight", "Generations that run now.", model)
        self.waiting = stand("hangtight_queue_waiting", "Requests that stand in line now.", model)
        self.circuit = stand("hangtight_circuit", "1 for the state that the circuit is in.", ["model", "state"])
        phase = ["model", "phase"]
        self.phase = stand("hangtight_model_phase", "1 for the phase that a server of ours is in.", phase)
        self.phases = count("hangtight_model_phases", "How often a server of ours came into a phase.", phase)
        self.kinds, self.routes = Labels(MOST_OTHERS), Labels(MOST_OTHERS)


class OfModel:
    """The numbers of one model.

    Whoever begins a generation keeps this until its end: a model that becomes known meanwhile has another one, and
    what was begun there must not end here.
    """

    __slots__ = (
        "_beats",
        "_circuit",
        "_circuit_at",
        "_ends",
        "_first",
        "_gap",
        "_in_flight",
        "_instruments",
        "_model",
        "_phase",
        "_queue",
        "_stand_in_line",
        "_timeouts",
        "_tokens",
        "_usage",
        "_waiting",
        "_whole",
    )

    def __init__(self, instruments: Instruments, model: str) -> None:
        self._instruments, self._model = instruments, model
        self._first, self._gap = instruments.first.labels(model), instruments.gap.labels(model)
        self._whole, self._queue = instruments.whole.labels(model), instruments.queue.labels(model)
        self._tokens = instruments.tokens.labels(model)
        self._usage = instruments.usage.labels(model, "prompt"), instruments.usage.labels(model, "answer")
        self._in_flight, self._waiting = instruments.in_flight.labels(model), instruments.waiting.labels(model)
        # All of them from the start, as 0: an alert on an increase does not see the first of a series that is new.
        self._timeouts = {limit: instruments.timeouts.labels(model, limit.value) for limit in Limit}
        self._ends: dict[tuple[str, Outcome | None], Counter] = {}
        self._beats: dict[str, Counter] = {}
        self._circuit: Gauge | None = None
        self._circuit_at: State | None = None
        self._phase: Gauge | None = None
        self._stand_in_line = -1

    def began(self) -> None:
        """A generation runs."""
        self._in_flight.inc()

    def ended(self, session: Session, route: str) -> None:
        """Its source is closed, however it came to that."""
        self._in_flight.dec()
        machine = session.machine
        (self._ends.get((route, machine.outcome)) or self._end(route, machine.outcome)).inc()
        if machine.ended_at is not None:
            self._whole.observe(max(0.0, machine.ended_at - machine.born))
        if machine.first_at is not None:
            self._first.observe(max(0.0, machine.first_at - machine.born))
            self._tokens.inc(machine.tokens)
            if machine.tokens > 1:
                self._gap.observe(machine.longest)
        if machine.broken is not None:
            self._timeouts[machine.broken.limit].inc()
        if session.usage is not None:
            for counter, tokens in zip(self._usage, session.usage, strict=True):
                counter.inc(min(tokens or 0, MOST_TOKENS))

    def _end(self, route: str, outcome: Outcome | None) -> Counter:
        """Kept by what was asked for, so that nothing has to be looked up where it is well known."""
        label = self._instruments.routes.add(route)
        counter = self._instruments.ends.labels(self._model, label, "" if outcome is None else outcome.value)
        if label == route:
            self._ends[route, outcome] = counter
        return counter

    def heartbeat(self, kind: str) -> None:
        """A sign of life went to the client, in this form."""
        counter = self._beats.get(kind)
        if counter is None:
            label = self._instruments.kinds.add(kind)
            counter = self._instruments.heartbeats.labels(self._model, label)
            if label != OTHER:
                self._beats[kind] = counter
        counter.inc()

    def extended(self) -> None:
        """The text has moved a deadline up."""
        self._instruments.moves.labels(self._model, "extended").inc()

    def shortened(self) -> None:
        """The text has moved a deadline back."""
        self._instruments.moves.labels(self._model, "shortened").inc()

    def queued(self, waiting: int) -> None:
        """So many stand in line now."""
        if waiting != self._stand_in_line:
            self._stand_in_line = waiting
            self._waiting.set(waiting)

    def queue_time(self, seconds: float) -> None:
        """One stood in line for so long; given a slot or not."""
        self._queue.observe(max(0.0, seconds))

    def circuit(self, state: State | None) -> None:
        """The circuit is in this state now; None where there is none any more."""
        if state is self._circuit_at:
            return
        if self._circuit is not None:
            self._circuit.set(0)
        self._circuit_at, self._circuit = state, None
        if state is None:
            return
        self._circuit = self._instruments.circuit.labels(self._model, state.value)
        self._circuit.set(1)
        if state is State.OPEN:
            self._instruments.opened.labels(self._model).inc()

    def stands(self, phase: str) -> None:
        """We run its server, which is in this phase now."""
        if self._phase is not None:
            self._phase.set(0)
        self._phase = self._instruments.phase.labels(self._model, phase)
        self._phase.set(1)

    def came_into(self, phase: str) -> None:
        """The same, as news: a start, a sleep, a wake, a stop, a failure."""
        self.stands(phase)
        self._instruments.phases.labels(self._model, phase).inc()

    def fell_back(self) -> None:
        """It is asked in place of one that failed."""
        self._instruments.fallbacks.labels(self._model).inc()

    def left_running(self) -> None:
        """It was cancelled, and its server was seen to go on with it."""
        self._instruments.left.labels(self._model).inc()
