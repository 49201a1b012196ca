"""W3C trace context, carried upstream, and a span for each generation where OpenTelemetry is set up.

Nothing of OpenTelemetry is imported here: who sets up a provider has imported it, and until then looking for it in
the loaded modules is all it costs. Names are those of the conventions for generative AI (2026: `gen_ai.provider.name`;
`gen_ai.system` is their older word for it). Neither prompts nor answers are told.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hangtight import __version__
from hangtight.core.phases import Outcome
from hangtight.drivers import clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.trace import Span, Tracer

    from hangtight.core.orders import Moved
    from hangtight.drivers.session import Session

Header = tuple[bytes, bytes]
TRACEPARENT, TRACESTATE = b"traceparent", b"tracestate"
PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
STATE = re.compile(r"[\x20-\x7e\t]+")
LONGEST_STATE = 512  # characters; what every participant has to carry at least
FIRST_VERSION, NO_VERSION = b"00", b"ff"
KNOWN_FLAGS = 0b11  # sampled; the id is random
API = "opentelemetry.trace"
NANOSECONDS = 1e9
LONGEST_NAME = 200  # characters of a model's name, which may be made up
LONGEST_REASON = 40  # one word of a server
MOST_TOKENS = 10**9  # so may what a server has counted, and exporters know 64 bits only
ANTHROPIC, OLLAMA, OPENAI = "anthropic", "ollama", "openai"
WITHOUT_TURNS = ("openai-completions", "ollama-generate")
"""The dialects that are asked for text and not for a turn of a chat."""
ERRORS: Final = {
    Outcome.TIMEOUT: "timeout",
    Outcome.LOOPING: "looping",
    Outcome.TRUNCATED: "truncated",
}
"""Who leaves, or cancels, has got what it wanted."""


class Place(NamedTuple):
    """Where in whose trace a request belongs."""

    trace: str
    span: str
    """Of whoever asks."""
    flags: int = 0
    state: str = ""
    """What others keep in it; none of our concern."""

    def headers(self) -> tuple[Header, ...]:
        """How it travels."""
        parent = (TRACEPARENT, f"00-{self.trace}-{self.span}-{self.flags:02x}".encode())
        return (parent, (TRACESTATE, self.state.encode())) if self.state else (parent,)


def place_in(headers: Iterable[Header]) -> Place | None:
    """What the headers of a request say, with names in lower case. None without a word that can be understood."""
    parent: bytes | None = None
    states: list[bytes] = []
    for name, value in headers:
        if name == TRACEPARENT:
            if parent is not None:  # of two nobody knows which is meant
                return None
            parent = value
        elif name == TRACESTATE:
            states.append(value)
    if parent is None:
        return None
    found = PARENT.fullmatch(parent.strip())
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    understood = version != NO_VERSION and (more is None or version != FIRST_VERSION)
    if not understood or not trace.strip(b"0") or not span.strip(b"0"):
        return None
    return Place(trace.decode(), span.decode(), int(flags, 16) & KNOWN_FLAGS, _state(states))


def _state(values: list[bytes]) -> str:
    """As it came, or as many whole members of it as have room."""
    text = b",".join(values).decode("latin-1").strip()
    if not STATE.fullmatch(text):
        return ""
    return text if len(text) <= LONGEST_STATE else text[: LONGEST_STATE + 1].rpartition(",")[0]


class Traced:
    """A generation of which nobody keeps a span: what its client says of its trace goes upstream as it came.

    `headers` are what takes the place of that.
    """

    __slots__ = ("headers",)

    def __init__(self, headers: tuple[Header, ...] = ()) -> None:
        self.headers = headers

    def moved(self, order: Moved) -> None:
        """The text has moved the deadline."""

    def left_running(self) -> None:
        """Its server was seen to go on with it after it was cancelled."""

    def ended(self, session: Session, *, finish_reasons: Sequence[str] = (), answered_by: str = "") -> None:
        """The source is closed. `answered_by` is the model as the answer itself names it, where that is known."""

    def close(self) -> None:
        """Nothing more will be said about it; it ended when it did. To say it twice changes nothing."""


UNTRACED: Final = Traced()


class About(NamedTuple):
    """What is known about a generation when it begins."""

    dialect: str
    model: str
    host: str = ""
    """`127.0.0.1:11434`."""
    streamed: bool = False
    """Its client has asked for a stream."""

    @property
    def operation(self) -> str:
        return "text_completion" if self.dialect in WITHOUT_TURNS else "chat"

    def attributes(self) -> dict[str, Any]:
        """In the words of the conventions."""
        family = self.dialect.partition("-")[0]
        told: dict[str, Any] = {
            "gen_ai.operation.name": self.operation,
            "gen_ai.provider.name": family if family in (ANTHROPIC, OLLAMA) else OPENAI,
        }
        if self.model:
            told["gen_ai.request.model"] = self.model[:LONGEST_NAME]
        if self.streamed:
            told["gen_ai.request.stream"] = True
        address, _, port = self.host.rpartition(":")
        if address:
            told["server.address"] = address.strip("[]")
            if port.isdecimal():
                told["server.port"] = int(port)
        elif self.host:
            told["server.address"] = self.host
        return told


class Tracing:
    """Begins the span of each generation, where somebody keeps spans. Call it in the context of the request."""

    __slots__ = ("_provider", "_tracer")

    def __init__(self) -> None:
        self._provider: object = None
        self._tracer: Tracer | None = None

    def begin(self, headers: Iterable[Header], about: About) -> Traced:
        """A generation begins, for a request with these headers."""
        api = sys.modules.get(API)
        if api is None or (tracer := self._tracer_of(api)) is None:
            return UNTRACED
        place = place_in(headers)
        context = None  # the current one
        if place is not None and not api.get_current_span().get_span_context().is_valid:
            context = api.set_span_in_context(api.NonRecordingSpan(_remote(api, place)))
        name = f"{about.operation} {about.model[:LONGEST_NAME]}".strip()
        kind = api.SpanKind.CLIENT
        return Spanned(tracer.start_span(name, context, kind=kind, attributes=about.attributes()), about)

    def _tracer_of(self, api: Any) -> Tracer | None:
        """Ours, of the provider that stands now; None where there is none but the one that does nothing."""
        provider = api.get_tracer_provider()
        if provider is not self._provider:
            self._provider, self._tracer = provider, None
            if not isinstance(provider, api.ProxyTracerProvider | api.NoOpTracerProvider):
                self._tracer = provider.get_tracer("hangtight", __version__)
        return self._tracer


def _remote(api: Any, place: Place) -> Any:
    """The same place in the words of OpenTelemetry."""
    return api.SpanContext(
        int(place.trace, 16),
        int(place.span, 16),
        is_remote=True,
        trace_flags=api.TraceFlags(place.flags),
        trace_state=api.TraceState.from_header([place.state]) if place.state else None,
    )


class Spanned(Traced):
    """A generation with a span."""

    __slots__ = ("_about", "_ended_at", "_span")

    def __init__(self, span: Span, about: About) -> None:
        self._span, self._about = span, about
        self._ended_at: int | None = None
        at = span.get_span_context()
        state = at.trace_state.to_header()
        super().__init__(Place(f"{at.trace_id:032x}", f"{at.span_id:016x}", at.trace_flags, state).headers())

    def moved(self, order: Moved) -> None:
        way = "extended" if order.after > order.before else "shortened"
        self._span.add_event(
            f"hangtight.{way}",
            {"hangtight.before": order.before, "hangtight.after": order.after, "hangtight.why": order.why.kind},
        )

    def left_running(self) -> None:
        self._span.add_event("hangtight.left_running")

    def ended(self, session: Session, *, finish_reasons: Sequence[str] = (), answered_by: str = "") -> None:
        span = self._span
        if span.is_recording():
            span.set_attributes(_numbers(session, self._about))
            if finish_reasons or session.machine.outcome is not Outcome.FINISHED:
                reasons = [reason[:LONGEST_REASON] for reason in finish_reasons]
                span.set_attribute("gen_ai.response.finish_reasons", reasons or ["error"])
            if answered_by:
                span.set_attribute("gen_ai.response.model", answered_by[:LONGEST_NAME])
            if error := error_of(session):
                self._failed(session, error)
        self._ended_at = int(clock.wall() * NANOSECONDS)

    def close(self) -> None:
        if self._span.is_recording():
            self._span.end(self._ended_at)

    def _failed(self, session: Session, error: str) -> None:
        api: Any = sys.modules[API]
        self._span.set_attribute("error.type", error)
        broken, ended_at = session.machine.broken, session.machine.ended_at
        if broken is None or ended_at is None:
            self._span.set_status(api.StatusCode.ERROR)
            return
        limit = broken.limit.value
        at = clock.wall() - (session.clock() - ended_at)  # it was cancelled since, which may have taken a while
        source = session.resolved.values[limit].source
        told: dict[str, Any] = {"hangtight.limit": limit, "hangtight.waited": broken.waited, "hangtight.source": source}
        self._span.add_event("hangtight.timeout", told, int(at * NANOSECONDS))
        self._span.set_status(api.StatusCode.ERROR, f"timeout: {limit}")


def error_of(session: Session) -> str:
    """What kind of error it ended with: an HTTP status, the name of an exception, or one of ours; empty for none."""
    outcome = session.machine.outcome
    if outcome is Outcome.FAILED:
        name, _, status = session.failure.rpartition(" ")
        return (status if status.isdecimal() else name or status) or "_OTHER"
    return ERRORS.get(outcome, "") if outcome is not None else ""


def _numbers(session: Session, about: About) -> dict[str, Any]:
    """What was counted and measured."""
    machine, usage = session.machine, session.usage
    told: dict[str, Any] = {"hangtight.tokens": machine.tokens}
    if machine.outcome is not None:
        told["hangtight.outcome"] = machine.outcome.value
    if session.record is not None:
        told["hangtight.id"] = session.record.id  # for `hangtight log`
    if about.streamed and machine.first_at is not None:
        told["gen_ai.response.time_to_first_chunk"] = max(0.0, machine.first_at - machine.born)
    if usage is not None and usage.prompt is not None:
        told["gen_ai.usage.input_tokens"] = min(usage.prompt, MOST_TOKENS)
    if usage is not None and usage.answer is not None:
        told["gen_ai.usage.output_tokens"] = min(usage.answer, MOST_TOKENS)
    return told
