"""What it costs to know what a chunk means: as an SDK's object, as a dict, and as bytes from a socket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from unittest import mock

from anthropic.types import RawContentBlockDeltaEvent
from ollama import ChatResponse, GenerateResponse
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseTextDeltaEvent

from benchmarks.row import Row
from hangtight.dialects import quick
from hangtight.dialects.dialect import dialect_for
from hangtight.dialects.pieces import reader_for
from hangtight.dialects.wire import Wire

CHUNKS = 20_000
ROUNDS = 9
MICRO = 1e6


class Steady(NamedTuple):
    """The chunk that an API sends a thousand times, and how its client makes an object of it."""

    path: str
    made: Callable[..., Any]
    line: bytes


STEADY = (
    Steady(
        "/v1/chat/completions",
        ChatCompletionChunk.construct,
        b'{"id":"chatcmpl-abcdefgh12345678","object":"chat.completion.chunk","created":1760000000,'
        b'"model":"mistral-7b-instruct","system_fingerprint":null,"choices":[{"index":0,'
        b'"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}',
    ),
    Steady(
        "/v1/completions",
        Completion.construct,
        b'{"id":"cmpl-abcdefgh12345678","object":"text_completion","created":1760000000,'
        b'"model":"mistral-7b-instruct","choices":[{"index":0,"text":" token","logprobs":null,'
        b'"finish_reason":null,"stop_reason":null}],"usage":null}',
    ),
    Steady(
        "/v1/responses",
        ResponseTextDeltaEvent.construct,
        b'{"type":"response.output_text.delta","sequence_number":42,"item_id":"msg_0123456789abcdef0123456789",'
        b'"output_index":0,"content_index":0,"delta":" token","logprobs":[],"obfuscation":"a1b2c3d4e5f6"}',
    ),
    Steady(
        "/v1/messages",
        RawContentBlockDeltaEvent.construct,
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" token"}}',
    ),
    Steady(
        "/api/chat",
        ChatResponse,
        b'{"model":"mistral-7b","created_at":"2026-01-01T00:00:00.123456789Z",'
        b'"message":{"role":"assistant","content":" token"},"done":false}',
    ),
    Steady(
        "/api/generate",
        GenerateResponse,
        b'{"model":"mistral-7b","created_at":"2026-01-01T00:00:00.123456789Z","response":" token","done":false}',
    ),
)


def cost(call: Callable[[Any], object], argument: object) -> float:
    """Microseconds of CPU for one call: the least of several rounds."""
    figures = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(CHUNKS):
            call(argument)
        figures.append((time.process_time() - start) / CHUNKS * MICRO)
    return min(figures)


def on_wire(steady: Steady) -> bytes:
    """As one write of a server."""
    if steady.path.startswith("/api"):
        return steady.line + b"\n"
    named = "" if "completions" in steady.path else f"event: {json.loads(steady.line)['type']}\n"
    return named.encode() + b"data: " + steady.line + b"\n\n"


def from_bytes(steady: Steady) -> float:
    dialect = dialect_for(steady.path)
    assert dialect is not None
    reading = Wire(dialect)
    reading.feed(on_wire(steady))
    return cost(reading.feed, on_wire(steady))


def each(name: str, goal: float, measure: Callable[[Steady], float]) -> Iterable[Row]:
    for steady in STEADY:
        dialect = dialect_for(steady.path)
        assert dialect is not None
        yield Row(f"{name}: {dialect.name}", measure(steady), "µs", goal)


def from_object(steady: Steady) -> float:
    chunk = steady.made(**json.loads(steady.line))
    return cost(reader_for(chunk).read, chunk)


def from_dict(steady: Steady) -> float:
    chunk = json.loads(steady.line)
    return cost(reader_for(chunk).read, chunk)


def rows() -> list[Row]:
    found = [*each("a chunk of an SDK to its meaning", 2, from_object), *each("a dict", 2, from_dict)]
    if quick.msgspec() is not None:
        found += each("bytes, with msgspec", 2, from_bytes)
    with mock.patch.object(quick, "msgspec", return_value=None):
        return [*found, *each("bytes, without msgspec", 8, from_bytes)]
