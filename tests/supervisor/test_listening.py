"""The port behind which models are processes: who gets an answer there, and what becomes of everybody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from hangtight.supervisor.listening import Listener
from hangtight.supervisor.prompts import Question
from hangtight.supervisor.speaking import Voice
from hangtight.supervisor.talker import Talker
from tests.supervisor.kit import run, until

ASKED = {"model": "a/b", "messages": [{"role": "user", "content": "Why?"}]}


class Echo:
    """Says what it is asked, when it is let go."""

    name = "a/b"

    def __init__(self) -> None:
        self.talks: list[int] = []
        self.go = asyncio.Event()
        self.go.set()

    async def answer(self, question: Question, voice: Voice) -> None:
        self.talks.append(7)
        try:
            await self.go.wait()
            await voice.say(question.prompt)
        finally:
            self.talks.pop()
        await voice.finish()


@contextmanager
def listening() -> Iterator[tuple[Listener, Echo]]:
    echo = Echo()
    yield Listener(lambda model: cast("Talker", echo) if model == echo.name else None), echo


async def said(url: str, head: str, body: bytes = b"") -> bytes:
    """All that comes back for this request until the connection ends."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        writer.write(head.encode() + b"\r\n\r\n" + body)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


def posted(path: str, body: bytes) -> str:
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}"


def during(work: Any) -> Any:
    """Runs it with a listener that has begun, and is closed at the end."""

    async def all_of_it() -> Any:
        with listening() as (listener, echo):
            await listener.begin()
            try:
                return await cast("Coroutine[Any, Any, Any]", work(listener, echo))
            finally:
                await listener.close()

    return run(all_of_it())


def test_a_model_whose_name_has_a_slash_is_asked_at_its_address() -> None:
    async def work(listener: Listener, echo: Echo) -> None:
        base, body = listener.base(echo.name), json.dumps(ASKED).encode()
        whole = await said(base, posted(f"{urlsplit(base).path}/v1/chat/completions", body), body)
        assert json.loads(whole.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"] == "Why?"

    during(work)


def test_a_stream_has_a_chunk_for_each_piece_and_an_end() -> None:
    async def work(listener: Listener, echo: Echo) -> None:
        base, body = listener.base(echo.name), json.dumps(ASKED | {"stream": True}).encode()
        streamed = await said(base, posted(f"{urlsplit(base).path}/v1/chat/completions", body), body)
        assert streamed.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert b'"finish_reason": "stop"' in streamed

    during(work)


@pytest.mark.parametrize("path", ["/guessed/a%2Fb/slots", "/", "/{secret}/a%2Fb/v1/embeddings"])
def test_what_is_not_there_is_not_found(path: str) -> None:
    async def work(listener: Listener, echo: Echo) -> None:
        base = listener.base(echo.name)
        wanted = path.format(secret=urlsplit(base).path.split("/")[1])
        assert (await said(base, f"GET {wanted} HTTP/1.1\r\nhost: x")).startswith(b"HTTP/1.1 404 ")

    during(work)


def test_a_model_that_is_no_process_any_more_is_not_there_for_now() -> None:
    async def work(listener: Listener, echo: Echo) -> None:
        base = listener.base("gone")
        answered = await said(base, f"GET {urlsplit(base).path}/slots HTTP/1.1\r\nhost: x")
        assert answered.startswith(b"HTTP/1.1 503 ")
        assert b"not_running" in answered

    during(work)


@pytest.mark.parametrize(
    "head",
    [
        "nonsense",
        "POST / HTTP/1.1\r\ncontent-length: -1",
        "POST / HTTP/1.1\r\ncontent-length: many",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked",
        "GET / HTTP/1.1\r\nx: " + "y" * 100_000,
    ],
)
def test_what_is_no_request_of_the_gateway_is_cut_off(head: str) -> None:
    async def work(listener: Listener, echo: Echo) -> None:
        assert await said(listener.base(echo.name), head) == b""

    during(work)


def test_what_runs_is_told_as_slots_until_who_asked_has_left() -> None:
    async def work(listener: Listener, echo: Echo) -> None:
        base, body = listener.base(echo.name), json.dumps(ASKED).encode()
        path = urlsplit(base).path
        echo.go.clear()
        asking = asyncio.ensure_future(said(base, posted(f"{path}/v1/chat/completions", body), body))

        async def busy() -> list[int]:
            slots = await said(base, f"GET {path}/slots HTTP/1.1\r\nhost: x")
            told = json.loads(slots.partition(b"\r\n\r\n")[2])
            assert [slot for slot in told if not slot["is_processing"]], "there is always room for one more"
            return [slot["id_task"] for slot in told if slot["is_processing"]]

        await until(lambda: bool(echo.talks))
        assert await busy() == [7]
        asking.cancel()
        await until(lambda: not echo.talks)
        assert await busy() == []

    during(work)


def test_who_asks_before_it_begins_waits_and_who_is_left_at_the_end_is_cut_off() -> None:
    async def work() -> None:
        with listening() as (listener, echo):
            base, body = listener.base(echo.name), json.dumps(ASKED).encode()
            head = posted(f"{urlsplit(base).path}/v1/chat/completions", body)
            early = asyncio.ensure_future(said(base, head, body))
            await listener.begin()
            assert b"Why?" in await early
            echo.go.clear()
            late = asyncio.ensure_future(said(base, head, body))
            await until(lambda: bool(echo.talks))
            await listener.close()
            assert await late == b""
            assert not echo.talks

    run(work())
