"""Whose trace a generation belongs to, what goes upstream with it, and what its span says."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as holds_for
from hypothesis import strategies as some
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import hangtight
from hangtight.core.orders import Moved
from hangtight.core.time import Seconds
from hangtight.dialects.reading import Usage
from hangtight.dialects.wire import LAST_EVENT
from hangtight.drivers.session import Session
from hangtight.gateway.telling.tracing import UNTRACED, About, Place, Traced, Tracing, place_in
from hangtight.intent.findings import Act, Channel, Finding, Rule
from hangtight.testing import jumping
from hangtight.testing.lab import Lab
from hangtight.testing.scripted import Fails, Hang, NoReason, ScriptedModel, Silence, Tokens
from tests.gateway.behind import (
    CHUNKED,
    LAST,
    PATIENCE,
    Talk,
    answer,
    before,
    behind,
    chat,
    chunk,
    piece,
    until,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01".encode()
STATE = b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
CAME = [(b"host", b"here"), (b"traceparent", PARENT), (b"tracestate", STATE)]
CHAT = About("openai-chat", "qwen3", "127.0.0.1:8080", streamed=True)


def played(*steps: Any, **limits: Any) -> Session:
    """A real session that went through this, on a clock that jumps."""

    async def main() -> Session:
        watching = hangtight.watch(ScriptedModel(*steps), model="qwen3", **{"cold": None, **limits})
        with suppress(Exception):
            async for _ in watching:
                pass
        assert watching._session is not None
        return watching._session

    return jumping(main())


def over(traced: Traced, session: Session, **more: Any) -> None:
    """It has ended, and nobody looks whether its server goes on."""
    traced.ended(session, **more)
    traced.close()


def parsed(*values: bytes, state: tuple[bytes, ...] = ()) -> Place | None:
    headers = [(b"traceparent", value) for value in values]
    return place_in([*headers, *((b"tracestate", value) for value in state)])


# -- what comes in --------------------------------------------------------------------------------------------


def test_a_place_is_read_from_the_headers() -> None:
    assert place_in(CAME) == Place(TRACE, SPAN, 1, STATE.decode())


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"hello",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + b"0",
        PARENT + b"-more",
        b"ff" + PARENT[2:],
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        PARENT.replace(b"-", b"_"),
    ],
)
def test_what_cannot_be_understood_is_nobodys_trace(wrong: bytes) -> None:
    assert parsed(wrong) is None


def test_of_two_parents_none_is_taken() -> None:
    assert parsed(PARENT, PARENT) is None


def test_a_later_version_is_read_as_far_as_we_know_it() -> None:
    assert parsed(b"01" + PARENT[2:] + b"-what-comes-then") == Place(TRACE, SPAN, 1)


def test_flags_that_nobody_has_defined_are_not_carried_on() -> None:
    place = parsed(PARENT[:-2] + b"ff")
    assert place is not None
    assert place.flags == 3


def test_the_state_may_come_in_several_headers() -> None:
    place = parsed(PARENT, state=(b"a=1", b"b=2"))
    assert place is not None
    assert place.state == "a=1,b=2"


def test_a_state_that_is_too_long_loses_whole_members_from_its_end() -> None:
    place = parsed(PARENT, state=(",".join(f"key{count}=value" for count in range(100)).encode(),))
    assert place is not None
    assert len(place.state) <= 512
    assert all(member.endswith("=value") for member in place.state.split(","))


@holds_for(some.binary(max_size=80), some.binary(max_size=1200))
def test_nothing_that_comes_in_breaks_it_or_gets_out_as_a_header_that_is_none(parent: bytes, state: bytes) -> None:
    assert parsed(parent) is None or parent.strip()[:2] != b"ff"
    place = parsed(PARENT, state=(state,))
    assert place is not None
    for name, value in place.headers():
        assert name in (b"traceparent", b"tracestate")
        assert len(value) <= 512
        assert not set(value) & {0, 10, 13}


@holds_for(some.integers(1, 2**128 - 1), some.integers(1, 2**64 - 1), some.integers(0, 3))
def test_a_place_survives_its_headers(trace_id: int, span_id: int, flags: int) -> None:
    place = Place(f"{trace_id:032x}", f"{span_id:016x}", flags, "a=1")
    assert place_in(place.headers()) == place


# -- where nobody keeps spans ---------------------------------------------------------------------------------


@pytest.fixture
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")


@pytest.mark.usefixtures("_nobody")
@pytest.mark.parametrize("headers", [CAME, [], [(b"traceparent", b"nonsense"), (b"tracestate", STATE)]])
def test_without_opentelemetry_nothing_takes_the_place_of_what_came(headers: list[tuple[bytes, bytes]]) -> None:
    """A span that nobody exports would be a parent that nobody finds."""
    assert Tracing().begin(headers, CHAT) is UNTRACED
    assert UNTRACED.headers == ()


def test_a_provider_that_does_nothing_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in (trace.ProxyTracerProvider(), trace.NoOpTracerProvider()):
        monkeypatch.setattr(trace, "get_tracer_provider", lambda provider=provider: provider)
        assert Tracing().begin(CAME, CHAT) is UNTRACED


def test_opentelemetry_is_not_loaded_by_us() -> None:
    script = (
        "import sys; from hangtight.gateway.telling.tracing import About, Tracing\n"
        "Tracing().begin([], About('openai-chat', 'm'))\n"
        "print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert told.strip() == "False"


# -- where somebody does --------------------------------------------------------------------------------------


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Set up for one test only: the real one is set once for a process."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


def told(spans: InMemorySpanExporter) -> Mapping[str, Any]:
    return only(spans).attributes or {}


def test_a_generation_is_a_span_in_the_words_of_the_conventions(spans: InMemorySpanExporter) -> None:
    session = played(Silence(3), Tokens(5))
    session.usage = Usage(12, 34)
    over(Tracing().begin(CAME, CHAT), session, finish_reasons=("stop",), answered_by="qwen3-8b")
    span = only(spans)
    assert span.name == "chat qwen3"
    assert span.kind is trace.SpanKind.CLIENT
    assert span.status.status_code is trace.StatusCode.UNSET
    assert told(spans) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "qwen3",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "qwen3-8b",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": pytest.approx(4),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 34,
        "server.address": "127.0.0.1",
        "server.port": 8080,
        "hangtight.outcome": "finished",
        "hangtight.tokens": 5,
    }


@pytest.mark.parametrize(
    ("dialect", "operation", "provider"),
    [
        ("openai-chat", "chat", "openai"),
        ("openai-responses", "chat", "openai"),
        ("openai-completions", "text_completion", "openai"),
        ("anthropic", "chat", "anthropic"),
        ("ollama-chat", "chat", "ollama"),
        ("ollama-generate", "text_completion", "ollama"),
    ],
)
def test_operation_and_provider_follow_from_the_dialect(dialect: str, operation: str, provider: str) -> None:
    attributes = About(dialect, "m").attributes()
    assert attributes["gen_ai.operation.name"] == operation
    assert attributes["gen_ai.provider.name"] == provider
    assert "gen_ai.request.stream" not in attributes


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("here:80", "here", 80),
        ("[::1]:80", "::1", 80),
        ("::1:80", "::1", 80),
        ("here:", "here", None),
        ("here", "here", None),
        ("", None, None),
    ],
)
def test_the_server_is_told_with_its_port(host: str, address: str | None, port: int | None) -> None:
    attributes = About("openai-chat", "m", host).attributes()
    assert (attributes.get("server.address"), attributes.get("server.port")) == (address, port)


def test_the_span_is_a_child_of_the_caller_and_the_upstream_is_a_child_of_the_span(spans: InMemorySpanExporter) -> None:
    traced = Tracing().begin(CAME, CHAT)
    over(traced, played(Tokens(1)))
    span, place = only(spans), place_in(traced.headers)
    assert span.parent is not None
    assert span.context is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, SPAN)
    assert place == Place(TRACE, f"{span.context.span_id:016x}", span.context.trace_flags, STATE.decode())


def test_without_a_caller_the_span_begins_a_trace(spans: InMemorySpanExporter) -> None:
    traced = Tracing().begin([], CHAT)
    over(traced, played(Tokens(1)))
    span, place = only(spans), place_in(traced.headers)
    assert span.parent is None
    assert place is not None
    assert span.context is not None
    assert place.trace == f"{span.context.trace_id:032x}"


def test_a_span_of_the_app_around_it_is_nearer_than_the_caller(spans: InMemorySpanExporter) -> None:
    with trace.get_tracer_provider().get_tracer("an app").start_as_current_span("POST /v1") as around:
        over(Tracing().begin(CAME, CHAT), played(Tokens(1)))
    ours = spans.get_finished_spans()[0]
    assert ours.parent is not None
    assert ours.parent.span_id == around.get_span_context().span_id


def test_what_the_caller_does_not_want_sampled_is_not(spans: InMemorySpanExporter) -> None:
    traced = Tracing().begin([(b"traceparent", PARENT[:-2] + b"00")], CHAT)
    over(traced, played(Tokens(1)))
    assert not spans.get_finished_spans()
    place = place_in(traced.headers)
    assert place is not None
    assert (place.trace, place.flags & 1) == (TRACE, 0)


def test_where_nothing_is_sampled_nothing_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: TracerProvider(sampler=ALWAYS_OFF))
    traced = Tracing().begin(CAME, CHAT)
    traced.left_running()
    over(traced, played(Hang(), first_token=30))
    assert place_in(traced.headers) is not None


def test_a_timeout_is_an_error_with_its_limit_and_where_that_came_from(spans: InMemorySpanExporter) -> None:
    over(Tracing().begin(CAME, CHAT), played(Tokens(3), Hang(), idle=20))
    span = only(spans)
    assert span.status.status_code is trace.StatusCode.ERROR
    assert told(spans)["error.type"] == "timeout"
    assert told(spans)["gen_ai.response.finish_reasons"] == ("error",)
    (event,) = span.events
    assert event.name == "hangtight.timeout"
    attributes = event.attributes or {}
    assert attributes["hangtight.limit"] == "idle"
    assert attributes["hangtight.waited"] == 20
    assert attributes["hangtight.source"] == "the call"


@pytest.mark.parametrize(
    ("steps", "outcome", "error"),
    [
        ((Tokens(2), Fails(OSError("the key is sk-1"))), "failed", "OSError"),
        ((Tokens(2), NoReason()), "unfinished", None),
    ],
)
def test_other_ends_are_told_by_their_kind_and_never_in_anybodys_words(
    steps: tuple[Any, ...], outcome: str, error: str | None, spans: InMemorySpanExporter
) -> None:
    over(Tracing().begin(CAME, CHAT), played(*steps))
    assert told(spans)["hangtight.outcome"] == outcome
    assert told(spans).get("error.type") == error
    assert told(spans)["gen_ai.response.finish_reasons"] == ("error",)
    assert "sk-1" not in only(spans).to_json()


@pytest.mark.parametrize(("failure", "error"), [("HTTP 503", "503"), ("BackendError 500", "500"), ("", "_OTHER")])
def test_a_refusal_is_told_by_its_status(failure: str, error: str, spans: InMemorySpanExporter) -> None:
    session = played(Fails(OSError()))
    session.failure = failure
    over(Tracing().begin(CAME, CHAT), session)
    assert told(spans)["error.type"] == error


def test_what_was_decided_meanwhile_stands_on_the_span(spans: InMemorySpanExporter) -> None:
    why = Finding(act=Act.EXTEND, rule=Rule.PHASE, channel=Channel.ANSWER)
    traced = Tracing().begin(CAME, CHAT)
    traced.moved(Moved(Seconds(120), Seconds(180), why))
    traced.moved(Moved(Seconds(180), Seconds(120), why))
    traced.left_running()
    over(traced, played(Tokens(1)))
    assert [event.name for event in only(spans).events] == [
        "hangtight.extended",
        "hangtight.shortened",
        "hangtight.left_running",
    ]
    assert only(spans).events[0].attributes == {
        "hangtight.before": 120,
        "hangtight.after": 180,
        "hangtight.why": why.kind,
    }


def test_neither_prompt_nor_answer_is_on_the_span(spans: InMemorySpanExporter) -> None:
    over(Tracing().begin(CAME, CHAT), played(Tokens(3, text="a word of the answer")))
    assert "a word of the answer" not in only(spans).to_json()


def test_a_span_that_is_closed_late_ends_when_its_generation_did(spans: InMemorySpanExporter) -> None:
    traced = Tracing().begin(CAME, CHAT)
    traced.ended(played(Tokens(1)))
    assert not spans.get_finished_spans()
    traced.left_running()
    traced.close()
    traced.close()
    span = only(spans)
    assert span.end_time is not None
    assert span.end_time <= span.events[0].timestamp


# -- of a request through a gateway ---------------------------------------------------------------------------


class Desk:
    """A server that answers, or begins and says no more; then `busy` is what it counts as open, where that is asked."""

    def __init__(self, *, busy: int | None = None) -> None:
        self.heads: list[bytes] = []
        self.busy = busy

    async def __call__(self, talk: Talk) -> None:
        head, _ = await talk.request()
        if head.startswith(b"GET /lab/counts "):
            talk.say(answer(json.dumps({"m": {"open": self.busy}}).encode()))
        elif head.startswith(b"GET "):
            talk.say(answer(b"{}", 404))
        elif self.busy is None:
            self.heads.append(head)
            talk.say(CHUNKED + chunk(piece("hello")) + chunk(piece("", finish_reason="stop") + LAST_EVENT) + LAST)
        else:
            talk.say(CHUNKED + chunk(piece("one")))
            await talk.gone()


async def asked_of(desk: Desk, folder: Path, settings: str, *requests: bytes) -> None:
    async with asyncio.timeout(PATIENCE), behind(desk) as server, before(folder, settings % server.url) as ours:
        for request in requests:
            await ours.ask(request)


@pytest.mark.parametrize("stream", [True, False])
def test_the_span_of_a_request_names_who_answered_and_why_that_ended(
    spans: InMemorySpanExporter, tmp_path: Path, stream: bool
) -> None:
    desk = Desk()
    request = chat(stream=stream, headers={"traceparent": PARENT.decode(), "tracestate": STATE.decode()})
    asyncio.run(asked_of(desk, tmp_path, "models: {m: {proxy: %s}}", request))
    span = only(spans)
    assert told(spans)["gen_ai.response.finish_reasons"] == ("stop",)
    assert told(spans)["gen_ai.response.model"] == "m"
    assert span.parent is not None
    assert span.context is not None
    assert f"{span.parent.span_id:016x}" == SPAN
    upstream = f"traceparent: 00-{TRACE}-{span.context.span_id:016x}-01".encode()
    assert upstream in desk.heads[0].lower().split(b"\r\n")
    assert desk.heads[0].lower().count(b"traceparent:") == 1


@pytest.mark.usefixtures("_nobody")
def test_where_nobody_keeps_spans_a_trace_goes_upstream_as_it_came(tmp_path: Path) -> None:
    desk, headers = Desk(), {"traceparent": PARENT.decode(), "tracestate": STATE.decode()}
    asyncio.run(asked_of(desk, tmp_path, "models: {m: {proxy: %s}}", chat(headers=headers)))
    lines = desk.heads[0].split(b"\r\n")
    assert [line for line in lines if line.startswith(b"trace")] == [b"traceparent: " + PARENT, b"tracestate: " + STATE]


@pytest.mark.parametrize("busy", [0, 1])
def test_a_server_that_goes_on_after_a_timeout_stands_on_the_span(
    spans: InMemorySpanExporter, tmp_path: Path, busy: int
) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(PATIENCE),
            behind(Desk(busy=busy)) as server,
            before(tmp_path, settings % server.url) as ours,
        ):
            await ours.chat(stream=True)
            await until(lambda: bool(spans.get_finished_spans()))

    settings = "limits: {idle: 0.2, cancel: 0.3}\nmodels: {m: {proxy: %s}}"
    asyncio.run(main())
    names = [event.name for event in only(spans).events]
    assert names == (["hangtight.timeout", "hangtight.left_running"] if busy else ["hangtight.timeout"])


def test_a_deadline_that_the_text_has_moved_stands_on_the_span(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    async def main(lab: Lab) -> None:
        async with asyncio.timeout(PATIENCE), before(tmp_path, settings % lab.url) as ours:
            await ours.chat("healthy-code,tokens=150,rate=100", headers={"x-hangtight-mode": "brisk"})

    settings = 'limits: {cold: null}\nmodes: {brisk: {total: 1, extend_to: 8}}\nmodels: {"*": {proxy: %s}}'
    with Lab() as lab:
        asyncio.run(main(lab))
    assert "hangtight.extended" in [event.name for event in only(spans).events]
