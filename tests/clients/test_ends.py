"""Where an answer ends, and what comes behind its end: nobody is held, nothing is added, no alarm stays."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import hangtight
from hangtight.drivers.http import asyncs, attempt
from hangtight.testing.lab import Lab
from tests.clients.kit import (
    MESSAGES,
    OLLAMA,
    OPENAI,
    SDKS,
    BareTimer,
    How,
    async_client,
    in_use,
    nothing_left,
    one_lab,
    sync_client,
)
from tests.clients.peer import HELLO, Peer, Said, chat_chunk, sse
from tests.clients.wild import JSON, LONG, WORDS, Line, Wild

pytestmark = pytest.mark.real

SOON = 0.2
AT_ONCE = 0.5
"""Against a timer of so many seconds: far more than the last words of an answer, and far less than `LONG`."""
CHAT = {"model": "m", "messages": MESSAGES}
each_sdk = pytest.mark.parametrize("sdk", SDKS)
both_ways = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with one_lab() as lab:
        yield lab


@pytest.fixture(autouse=True)
def _clean(shared: Lab) -> Iterator[None]:
    with nothing_left(shared):
        yield


def once(sdk: str, **theirs: Any) -> dict[str, Any]:
    """What an SDK is told so that it does not try again by itself."""
    return theirs if sdk == OLLAMA else {"max_retries": 0, **theirs}


# -- behind the end ---------------------------------------------------------------------------------------------


@streamed_or_not
@both_ways
@each_sdk
def test_bytes_that_go_on_for_ever_after_the_end_mark_hold_nobody(sdk: str, asynchronous: bool, streamed: bool) -> None:
    words = WORDS[sdk]

    def never_closes(line: Line) -> None:
        line.head(words.kind)
        line.say(*words.hello, *words.ending)
        line.repeat(words.ping)

    with Wild(never_closes) as server:
        timer = BareTimer(AT_ONCE)
        seen = How(sdk, asynchronous, streamed).call(server.url, "m")
        assert (seen.error, seen.text) == (None, "hello")
        assert timer.lateness() < LONG / AT_ONCE / 2


@streamed_or_not
@both_ways
@each_sdk
def test_bytes_that_go_on_for_ever_after_an_error_event_hold_nobody(
    sdk: str, asynchronous: bool, streamed: bool
) -> None:
    words = WORDS[sdk]

    def never_closes(line: Line) -> None:
        line.head(words.kind)
        line.say(*words.error)
        line.repeat(words.ping)

    with Wild(never_closes) as server:
        timer = BareTimer(AT_ONCE)
        seen = How(sdk, asynchronous, streamed, theirs=once(sdk)).call(server.url, "m")
        assert "boom" in str(seen.error)
        assert not isinstance(seen.error, hangtight.HangtightError)
        assert timer.lateness() < LONG / AT_ONCE / 2


@streamed_or_not
@both_ways
@each_sdk
def test_an_answer_whose_connection_stays_open_ends_with_its_end_mark(
    sdk: str, asynchronous: bool, streamed: bool
) -> None:
    words = WORDS[sdk]

    def stays_open(line: Line) -> None:
        line.head(words.kind)
        line.say(*words.hello, *words.ending)
        line.hold()

    with Wild(stays_open) as server:
        timer = BareTimer(AT_ONCE)
        seen = How(sdk, asynchronous, streamed).call(server.url, "m")
        assert (seen.error, seen.text) == (None, "hello")
        assert timer.lateness() < LONG / AT_ONCE / 2


@streamed_or_not
@both_ways
def test_text_behind_the_end_mark_is_not_added(asynchronous: bool, streamed: bool) -> None:
    more = sse(chat_chunk("MORE"), chat_chunk("", "length"))
    with Peer(Said(kind=HELLO.kind, pieces=(b"".join((*HELLO.pieces, *more)),))) as peer:
        seen = How(OPENAI, asynchronous, streamed).call(peer.url, "m")
    assert (seen.error, seen.text) == (None, "hello")


# -- the reader in the middle -----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{**CHAT, "stream": True}, {**CHAT, "audio": {"voice": "a"}}, {"input": "x"}], ids=str)
def test_a_reader_that_is_busy_with_something_else_is_never_cancelled(body: dict[str, Any]) -> None:
    def in_two_pieces(line: Line) -> None:
        line.head(JSON)
        line.say(b'{"a":')
        line.hold(SOON / 4)
        line.say(b"1}")
        line.end()

    async def reads_in_pieces(url: str) -> list[str]:
        done: list[str] = []
        async with (
            hangtight.http.async_client(first_token=SOON, idle=SOON, unstreamed=SOON) as client,
            client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer,
        ):
            pieces = aiter(answer.aiter_bytes())
            done.append((await anext(pieces)).decode())
            await asyncio.sleep(3 * SOON)
            done.append("worked")
            try:
                done += [piece.decode() async for piece in pieces]
            except hangtight.TotalTimeout:
                done.append("late")
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return done

    with Wild(in_two_pieces) as server:
        done = asyncio.run(reads_in_pieces(server.url))
        assert done[:2] == ['{"a":', "worked"]
        assert done[2:] in (["1}"], ["late"])


def test_cancelled_in_the_last_words_of_an_answer_leaves_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (asyncs, attempt):
        monkeypatch.setattr(module, "LAST_WORDS", LONG)  # so that the cancelling hits them for sure
    words = WORDS[OPENAI]

    def stays_open(line: Line) -> None:
        line.head(words.kind)
        line.say(*words.hello, *words.ending)
        line.hold()

    async def cancelled(url: str) -> None:
        loop: Any = asyncio.get_running_loop()
        client = async_client(OPENAI, url, {"total": 2 * LONG})
        for call in (client.chat.completions.create(**CHAT), client.post("/chat/completions", cast_to=str, body=CHAT)):
            task = asyncio.create_task(call)
            await asyncio.sleep(SOON)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert in_use(client) == []
        assert [alarm for alarm in loop._scheduled if not alarm.cancelled()] == []
        await client.close()

    with Wild(stays_open) as server:
        asyncio.run(cancelled(server.url))


@pytest.mark.parametrize("status", ["200 OK", "429 Too Many Requests"])
def test_a_body_that_is_closed_before_it_is_read_gives_its_connection_back(status: str) -> None:
    def talks(line: Line) -> None:
        line.head(status=status)
        line.say(*WORDS[OPENAI].hello)
        line.hold()

    async def close_unread(url: str) -> list[Any]:
        async with hangtight.http.async_client() as client:
            async with client.stream("POST", f"{url}/v1/chat/completions", json={**CHAT, "stream": True}):
                pass
            return [connection for connection in client._transport.inner._pool.connections if not connection.is_idle()]

    with Wild(talks) as server:
        assert asyncio.run(close_unread(server.url)) == []
        with hangtight.http.client() as client:
            with client.stream("POST", f"{server.url}/v1/chat/completions", json={**CHAT, "stream": True}):
                pass
            assert client._transport.inner._pool.connections == []


# -- what an answer that was put together is still good for -----------------------------------------------------


def test_an_answer_that_was_put_together_has_its_raw_response_and_how_long_it_took() -> None:
    with Peer(HELLO) as peer, sync_client(OPENAI, peer.url, {}) as client:
        raw = client.chat.completions.with_raw_response.create(**CHAT)
        assert raw.parse().choices[0].message.content == "hello"
        assert raw.elapsed.total_seconds() > 0
        assert (raw.status_code, raw.headers["content-type"]) == (200, JSON)
        with client.chat.completions.with_streaming_response.create(**CHAT) as answer:
            assert b"hello" in b"".join(answer.iter_bytes())
        assert b'"stream":true' in peer.asked[0].body.replace(b" ", b"")


def test_an_answer_that_was_put_together_in_a_loop_has_them_too() -> None:
    async def ask(url: str) -> None:
        async with async_client(OPENAI, url, {}) as client:
            raw = await client.chat.completions.with_raw_response.create(**CHAT)
            assert raw.parse().choices[0].message.content == "hello"
            assert raw.elapsed.total_seconds() > 0
            async with client.chat.completions.with_streaming_response.create(**CHAT) as answer:
                assert b"hello" in b"".join([piece async for piece in answer.iter_bytes()])

    with Peer(HELLO) as peer:
        asyncio.run(ask(peer.url))


# -- the end of the interpreter ---------------------------------------------------------------------------------

HALF_READ = {
    "kept": ("words = iter(STREAM)\nnext(words)", 0),
    "left by exit": ("for _ in STREAM: raise SystemExit(3)", 3),
    "in a cycle": (
        "class Keeper: pass\nkeeper = Keeper()\nkeeper.words = (iter(STREAM), keeper)\nnext(keeper.words[0])",
        0,
    ),
}


@pytest.mark.parametrize("how", HALF_READ)
def test_the_interpreter_exits_while_a_stream_is_half_read(how: str) -> None:
    code, status = HALF_READ[how]

    def talks_once(line: Line) -> None:
        if line.asked.method == "GET":
            line.whole(status="404 Not Found")
            return
        line.head()
        line.say(*WORDS[OPENAI].hello)
        while line.connection.recv(1):
            pass

    with Wild(talks_once) as server:
        stream = f"hangtight.stream('x', model='m', url='{server.url}/v1', idle=300, first_token=300)"
        command = [sys.executable, "-c", "import hangtight\n" + code.replace("STREAM", stream)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert (ended.returncode, ended.stderr) == (status, "")
