"""What a client gets, and what the machine counts, is the same whichever way the bytes of a stream take through us."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as searching
from hypothesis import strategies as some

import hangtight
from hangtight.gateway.app import Gateway
from hangtight.gateway.readings import GatewayReading
from hangtight.gateway.upstream.connection import Incoming
from hangtight.gateway.upstream.pool import Outgoing
from tests.gateway.behind import CHUNKED, LAST, Line, cuttings, dechunked

PATHS = ["/v1/chat/completions", "/v1/messages", "/api/chat"]
TEXTS = ["a", " the", "日本", 'say "x"', "line\n", "\\", "", "0", "data: ", "ü" * 30]


def event(path: str, text: str, kind: str = "content") -> bytes:
    """One piece of text, as this API says it; `kind` is `content` or `reasoning_content`."""
    if path == "/v1/messages":
        delta = {"type": "text_delta", "text": text}
        if kind != "content":
            delta = {"type": "thinking_delta", "thinking": text}
        told: dict[str, Any] = {"type": "content_block_delta", "index": 0, "delta": delta}
        return f"event: content_block_delta\ndata: {json.dumps(told, ensure_ascii=False)}\n\n".encode()
    if path == "/api/chat":
        key = "content" if kind == "content" else "thinking"
        message = {"role": "assistant", "content": "", key: text}
        return json.dumps({"model": "m", "message": message, "done": False}, ensure_ascii=False).encode() + b"\n"
    choice = {"index": 0, "delta": {kind: text}, "finish_reason": None}
    told = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(told, ensure_ascii=False)}\n\n".encode()


def end(path: str) -> bytes:
    if path == "/v1/messages":
        stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
        last = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
        return f"event: message_delta\ndata: {json.dumps(stop)}\n\n".encode() + last
    if path == "/api/chat":
        done = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
        return json.dumps(done).encode() + b"\n"
    return b'data: {"id": "c-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


@dataclass
class Poured:
    """One answer, poured."""

    body: bytes
    tokens: int
    parts: str
    thoughts: str
    outcome: str
    framed: int
    """Chunks that went past everything."""


class Wire:
    """In place of the upstream: one line, whose server says these pieces, one in each turn of the loop."""

    def __init__(self, gateway: Gateway, pieces: list[bytes], *, lines: bool) -> None:
        self.gateway = gateway
        self.pieces = pieces
        self.lines = lines
        self.reading: GatewayReading | None = None

    async def send(self, asked: Outgoing) -> Incoming:
        (lane,) = self.gateway.state.lanes.all()
        (self.reading,) = lane.readings
        self.reading.session.look_at = 10**9  # else what was thought is gone when it was read
        self.reading.session.parts = []  # a gateway keeps none
        assert self.reading.session.attention is not None
        self.attention = self.reading.session.attention
        line = Line()
        incoming = line.ask()
        line.say([CHUNKED.replace(b"text/event-stream", b"application/x-ndjson") if self.lines else CHUNKED])
        self.said = asyncio.ensure_future(self._say(line))
        return incoming

    async def _say(self, line: Line) -> None:
        for piece in self.pieces:
            await asyncio.sleep(0)
            line.say([piece])

    async def nowhere(self, asked: Outgoing) -> Incoming:
        raise OSError("over")

    def close(self) -> None:
        """Nothing is open."""


def poured(path: str, pieces: list[bytes], *, framed: bool, streamed: bool = True) -> Poured:
    out: list[bytes] = []
    quick: list[bytes] = []
    kept: dict[str, Any] = {}

    def past(chunk: bytes) -> bool:
        quick.append(chunk)
        out.append(dechunked(chunk))
        return True

    async def main() -> None:
        gateway = Gateway()
        wire = Wire(gateway, pieces, lines=path == "/api/chat")
        gateway.state.upstream = wire  # type: ignore[assignment]
        body = json.dumps({"model": "m", "messages": [], "stream": streamed}).encode()
        came: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not came:
                await asyncio.Event().wait()
            return came.pop()

        async def send(message: MutableMapping[str, Any]) -> None:
            out.append(message.get("body", b""))

        scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"", "server": ("127.0.0.1", 1),
            "client": ("127.0.0.1", 2), "headers": [(b"host", b"localhost"), (b"x-hangtight-intent", b"on")],
            "extensions": {"hangtight": {"direct": True, "framed": past if framed else None}},
        }  # fmt: skip
        await gateway(scope, receive, send)
        await wire.said
        assert wire.reading is not None
        session = wire.reading.session
        kept.update(tokens=session.machine.tokens, outcome=str(session.machine.outcome))
        kept.update(parts="".join(session.parts), thoughts="".join(wire.attention.thoughts))
        await gateway.shutdown()

    asyncio.run(main())
    return Poured(b"".join(out), framed=len(quick), **kept)


@pytest.fixture(autouse=True)
def configured(tmp_path: Path) -> None:
    settings = tmp_path / "hangtight.yaml"
    settings.write_text('models:\n  m: {proxy: "http://127.0.0.1:9", limits: {first_token: null, idle: null}}\n')
    hangtight.configure(settings, "off")


SAID = some.tuples(some.sampled_from(["content", "content", "content", "reasoning_content"]), some.sampled_from(TEXTS))


@some.composite
def streams(draw: some.DrawFn, path: str) -> tuple[bytes, list[bytes]]:
    """The whole of a stream, and the chunks in which a server writes it."""
    events = [event(path, text, kind) for kind, text in draw(some.lists(SAID, max_size=20))]
    for at in draw(some.lists(some.integers(0, len(events)), max_size=2)):
        events.insert(at, b"\n" if path == "/api/chat" else b": ping\n\n")
    body = b"".join([*events, end(path)])
    wire: list[bytes] = []
    rest = [*events, end(path)]
    while rest:
        many = draw(some.sampled_from([1, 1, 1, 1, 2, 3]))
        data, rest = b"".join(rest[:many]), rest[many:]
        for piece in cuttings(data, draw(some.sampled_from([[], [], [], [], [7], [20, 30]]))):
            size = draw(some.sampled_from([b"%x", b"%x", b"%x", b"%X", b"00%x", b"%x;a=b"])) % len(piece)
            wire.append(b"%b\r\n%b\r\n" % (size, piece))
    return body, wire


@pytest.mark.parametrize("path", PATHS)
@searching(max_examples=150)
@given(some.data(), some.lists(some.integers(0, 10_000), max_size=12))
def test_the_quick_way_and_the_long_one_give_and_count_the_same(
    path: str, data: some.DataObject, places: list[int]
) -> None:
    body, wire = data.draw(streams(path))
    cut = data.draw(some.booleans())
    pieces = [*cuttings(b"".join([*wire, LAST]), places)] if cut else [*wire, LAST]
    quick, full = poured(path, pieces, framed=True), poured(path, pieces, framed=False)
    assert quick.body == full.body == body
    assert full.framed == 0
    quick.framed = 0
    assert quick == full


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("first", ["reasoning_content", "content"])
def test_each_text_is_kept_with_its_own_kind_and_most_of_them_go_the_quick_way(path: str, first: str) -> None:
    second = "content" if first == "reasoning_content" else "reasoning_content"
    said = [(kind, f"{kind[0]}{number} ") for kind in (first, second, first) for number in range(6)]
    events = [event(path, text, kind) for kind, text in said]
    wire = [b"%x\r\n%b\r\n" % (len(each), each) for each in [*events, end(path)]]
    found = poured(path, [*wire, LAST], framed=True)
    assert found.parts == "".join(text for kind, text in said if kind == "content")
    assert found.thoughts == "".join(text for kind, text in said if kind != "content")
    assert found.tokens == len(said)
    assert found.framed >= len(said) // 2


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
@searching(max_examples=80)
@given(some.data(), some.lists(some.integers(0, 10_000), max_size=12))
def test_what_is_put_together_is_the_same_however_it_came(path: str, data: some.DataObject, places: list[int]) -> None:
    body, wire = data.draw(streams(path))
    whole = b"%x\r\n%b\r\n" % (len(body), body)
    in_one = poured(path, [whole + LAST], framed=False, streamed=False)
    for pieces in ([*wire, LAST], cuttings(b"".join([*wire, LAST]), places)):
        assert poured(path, pieces, framed=True, streamed=False) == in_one


@pytest.mark.parametrize("first", ["reasoning_content", "content"])
def test_what_goes_the_quick_way_is_put_together_with_its_own_kind(first: str) -> None:
    path = "/v1/chat/completions"
    second = "content" if first == "reasoning_content" else "reasoning_content"
    said = [(kind, f"{kind[0]}{number} ") for kind in (first, second, first) for number in range(6)]
    events = [event(path, text, kind) for kind, text in said]
    wire = [b"%x\r\n%b\r\n" % (len(each), each) for each in [*events, end(path)]]
    found = poured(path, [*wire, LAST], framed=True, streamed=False)
    message = json.loads(found.body)["choices"][0]["message"]
    for key, texts in (("content", found.parts), ("reasoning_content", found.thoughts)):
        assert message[key] == texts == "".join(text for kind, text in said if kind == key)
    assert found.tokens == len(said)
