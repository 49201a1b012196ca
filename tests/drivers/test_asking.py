"""Our own client under the time contract, on virtual time: loads, refusals, residency, and what the lab cannot do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

import hangtight
from hangtight.core.facts import End, Fact
from hangtight.dialects.chat import Shape
from hangtight.drivers.asking import Asking, watched
from hangtight.drivers.servers import Server
from hangtight.testing import jumping

OPENAI, OLLAMA = Shape.OPENAI, Shape.OLLAMA


def server_at(url: str, shape: Shape) -> Server:
    return Server(url if shape is Shape.OLLAMA else f"{url}/v1", shape)


class Scripted:
    """A server that gives its answers in turn: pieces of bytes, each after so many virtual seconds."""

    def __init__(self, *answers: list[tuple[float, bytes]]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.memory: Callable[[float], bytes] | None = None
        self.open: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(asyncio.create_task(self.answer(reader, writer)))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError):
                await self.answer_to((await reader.readuntil(b"\r\n\r\n")).decode(), reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def answer_to(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if head.startswith("GET"):
            body = self.memory(asyncio.get_running_loop().time()) if self.memory else b"{}"
            writer.write(whole(200, body))
        else:
            length = int(head.lower().partition("content-length: ")[2].split()[0])
            self.asked.append(json.loads(await reader.readexactly(length)))
            for delay, data in self.answers.pop(0):
                await asyncio.sleep(delay)
                writer.write(data)


@asynccontextmanager
async def scripted(*answers: list[tuple[float, bytes]]) -> AsyncIterator[tuple[Scripted, str]]:
    server = Scripted(*answers)
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    async with listening:
        yield server, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        await asyncio.sleep(1)  # virtual: who has just connected is let in
        listening.close()
        while left := [answering for answering in server.open if not answering.done()]:
            for answering in left:
                answering.cancel()
            await asyncio.wait(left)


def whole(status: int, body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status} Status\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def head(kind: str = "text/event-stream") -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n".encode()


def event(text: str = "", reason: str | None = None) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def line(text: str = "", **more: Any) -> bytes:
    return json.dumps({"message": {"role": "assistant", "content": text}, "done": False, **more}).encode() + b"\n"


DONE = b"data: [DONE]\n\n"
GOOD = [(0.0, head()), (1.0, event("hello")), (1.0, event(reason="stop")), (0.0, DONE)]
LOADING = [(0.0, whole(503, b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'))]


@dataclass
class Read:
    """How a scripted answer ended, in virtual time."""

    asking: Asking
    reading: hangtight.Watch[Any]
    facts: list[str]
    error: Exception | None
    at: float


async def read(url: str, shape: Shape, *, think: bool = False, **limits: Any) -> Read:
    asking = Asking(server_at(url, shape), "qwen3", "Hi", think=think)
    facts: list[str] = []
    attach = asking.attach

    def listening(note: Callable[[Fact], object]) -> None:
        def both(fact: Fact) -> None:
            facts.append(type(fact).__name__)
            note(fact)

        attach(both)

    asking.attach = listening  # type: ignore[method-assign]
    reading = watched(asking, **limits)
    error: Exception | None = None
    try:
        async for _ in reading:
            pass
    except Exception as raised:
        error = raised
    return Read(asking, reading, facts, error, asyncio.get_running_loop().time())


def played(*answers: list[tuple[float, bytes]], shape: Shape = OPENAI, **limits: Any) -> Read:
    async def main() -> Read:
        async with scripted(*answers) as (_, url):
            return await read(url, shape, **limits)

    return jumping(main())


def test_a_server_that_loads_is_asked_each_second_until_it_is_ready() -> None:
    ended = played(*[LOADING] * 200, GOOD)
    assert (ended.error, ended.reading.partial, ended.reading.outcome) == (None, "hello", "finished")
    assert ended.facts.count("Absent") == ended.facts.count("Ready") == 1
    assert ended.at == pytest.approx(202, abs=1)


def test_a_server_that_never_gets_ready_breaks_the_limit_of_loads() -> None:
    ended = played(*[LOADING] * 400)
    assert isinstance(ended.error, hangtight.LoadTimeout)
    assert ended.at == pytest.approx(300, abs=1)


def test_a_server_that_does_not_know_our_fields_is_asked_again_without_them() -> None:
    async def main() -> None:
        refusal = [(0.0, whole(422, b'{"detail":[{"type":"extra_forbidden","loc":["body","return_progress"]}]}'))]
        other = [(0.0, whole(400, b'{"error":{"message":"Unrecognized request argument: stream_options"}}'))]
        async with scripted(refusal, other, GOOD) as (server, url):
            ended = await read(url, OPENAI)
            assert ended.reading.partial == "hello"
            assert [sorted(asked) for asked in server.asked] == [
                ["messages", "model", "return_progress", "stream", "stream_options"],
                ["messages", "model", "stream", "stream_options"],
                ["messages", "model", "stream"],
            ]

    jumping(main())


def test_an_answer_in_one_piece_is_taken_as_it_is() -> None:
    body = {
        "choices": [{"message": {"content": "all of it"}, "finish_reason": "stop"}],
        "usage": {"completion_tokens": 3},
    }
    ended = played([(5.0, whole(200, json.dumps(body).encode()))])
    assert (ended.reading.partial, ended.reading.outcome, ended.asking.tokens) == ("all of it", "finished", 3)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([(0.0, whole(200, b"<html>", "text/html"))], "web page"),
        ([(0.0, whole(200, b'{"ok":true}'))], "no chat"),
        ([(0.0, whole(200, b'{"error":"no slot"}'))], "no slot"),
        ([(0.0, whole(502, b"<html>Bad Gateway</html>", "text/html"))], "refused with 502: Status"),
        ([(0.0, b"SSH-2.0-OpenSSH\r\n\r\n")], "HTTP/1.x"),
        ([(0.0, b"")], "without an answer"),
        ([(0.0, head()), (0.0, b"data: [1, 2]\n\n")], "no object"),
        ([(0.0, head()), (0.0, b'event: error\ndata: {"message": "no slot"}\n\n')], "no slot"),
    ],
)
def test_what_is_no_answer_is_said_plainly(answer: list[tuple[float, bytes]], says: str) -> None:
    error = played(answer).error
    assert isinstance(error, hangtight.BackendError)
    assert says in str(error)


def test_nobody_there_is_an_error_at_once() -> None:
    async def main() -> Read:
        return await read("http://127.0.0.1:1", OPENAI)

    ended = jumping(main())
    assert isinstance(ended.error, hangtight.BackendError)
    assert "127.0.0.1:1" in str(ended.error)


def test_news_before_the_first_piece_do_not_spoil_how_pieces_are_read() -> None:
    news = (0.0, b'data: {"type":"ping"}\n\n')
    ended = played([(0.0, head()), news, (1.0, event()), (0.0, event("hello")), (0.0, DONE)])
    assert (ended.reading.partial, ended.reading.tokens, ended.reading.outcome) == ("hello", 1, "unfinished")


@pytest.mark.parametrize(("lacks", "outcome"), [(2, "finished"), (9, "truncated")])
def test_a_last_event_without_its_end_counts_where_it_is_whole(lacks: int, outcome: str) -> None:
    last = event(reason="stop")[:-lacks]
    assert played([(0.0, head()), (1.0, event("hello")), (0.0, last)]).reading.outcome == outcome


def test_a_stream_without_a_word_is_no_success() -> None:
    ended = played([(0.0, head()), (1.0, b": ping\n\n")])
    assert isinstance(ended.error, hangtight.Truncated)
    assert played([(0.0, head()), (1.0, DONE)]).reading.outcome == "unfinished"


def test_a_connection_that_breaks_after_the_finish_reason_took_nothing_away() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    said = event("hello", "stop")
    ended = played([(0.0, chunked + b"%x\r\n%s\r\n" % (len(said), said))])
    assert (ended.error, ended.reading.outcome, bool(ended.asking.cut)) == (None, "finished", True)


def memory(*names: str, expiry: str = "2030-01-01T00:00:00Z") -> bytes:
    return json.dumps({"models": [{"name": f"{name}:latest", "expires_at": expiry} for name in names]}).encode()


def asked_about(listed: Callable[[float], bytes], *answer: tuple[float, bytes], **limits: Any) -> Read:
    async def main() -> Read:
        async with scripted(list(answer)) as (server, url):
            server.memory = listed
            return await read(url, OLLAMA, **limits)

    return jumping(main())


LAST = line(done=True, done_reason="stop", eval_count=7)


def test_a_load_that_can_be_seen_takes_its_time() -> None:
    ended = asked_about(
        lambda now: memory("qwen3") if now > 220 else memory(),
        (250.0, head("application/x-ndjson")),
        (0.0, line("hello")),
        (0.0, LAST),
    )
    assert (ended.reading.partial, ended.reading.outcome, ended.asking.tokens) == ("hello", "finished", 7)
    assert [fact for fact in ended.facts if fact != "Contact"] == ["Absent", "LoadProgress", "Ready"]


def test_a_model_whose_load_has_only_begun_is_not_taken_for_a_warm_one() -> None:
    ended = asked_about(
        lambda now: memory("qwen3", expiry=f"expires at {now + 300}"),
        (100.0, head("application/x-ndjson")),
        (0.0, line("hello")),
        (0.0, LAST),
    )
    assert ended.reading.outcome == "finished"


def test_a_warm_model_that_is_silent_for_45_seconds_is_stuck() -> None:
    ended = asked_about(lambda now: memory("qwen3"), (1000.0, b""))
    assert isinstance(ended.error, hangtight.FirstTokenTimeout)
    assert ended.at == pytest.approx(45, abs=0.1)


def test_a_server_that_cannot_say_what_is_loaded_leaves_the_allowance_for_a_load() -> None:
    ended = asked_about(lambda now: b'{"loaded": 1}', (1000.0, b""))
    assert isinstance(ended.error, hangtight.FirstTokenTimeout)
    assert ended.at == pytest.approx(105, abs=0.1)


def test_asking_for_reasoning_is_said_to_ollama_and_allowed_its_time() -> None:
    async def main() -> None:
        answer = [(200.0, head("application/x-ndjson")), (0.0, line("hello")), (0.0, LAST)]
        async with scripted(answer) as (server, url):
            server.memory = lambda now: memory("qwen3")
            ended = await read(url, OLLAMA, think=True)
            assert ended.reading.outcome == "finished"
            assert server.asked[0]["think"] is True

    jumping(main())


def test_a_long_prompt_is_allowed_its_time() -> None:
    server = Server("http://127.0.0.1:9/v1", OPENAI)
    reading = watched(Asking(server, "m", "x" * 4 * 5000))
    cold, warm = (reading._terms.resolved(known, heard=False) for known in (None, True))
    assert float(cold.clocks.first_token) == 45 + 60 + 100
    assert float(warm.clocks.first_token) == 45 + 100
    assert reading.limits.first_token == 45


def test_the_end_of_a_stream_is_cut_until_its_mark_was_seen() -> None:
    assert Asking(Server("http://h/v1", OPENAI), "m", "Hi").end() is End.CUT
