"""Clients that are slow, endless or talk rubbish, over real sockets. Instants are only compared with other instants."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtight.gateway.door.protocol import LOG, MOST_AHEAD, MOST_WAITING
from hangtight.gateway.door.serving import run
from tests.gateway.doors import BYE, HEAD, HELLO, App, answer, exchanged, opened, read_all, status

T = TypeVar("T")
SOON = 0.1
"""A patience that a test can wait for."""
POST = b"POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
CHUNKED = b"POST /p HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def _nothing_unhandled(caplog: pytest.LogCaptureFixture) -> Any:
    """Whatever a client does, it is no error of ours."""
    with caplog.at_level(logging.WARNING):
        yield
    assert [record.getMessage() for record in caplog.records] == []


def played(play: Coroutine[Any, Any, T]) -> T:
    async def with_a_listening_loop() -> T:
        def heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            logging.getLogger("loop").error("%s", context)

        asyncio.get_running_loop().set_exception_handler(heard)
        return await play

    return run(with_a_listening_loop())


async def between(early: float, late: float, awaited: Awaitable[T]) -> T:
    """What comes once a bare timer of `early` seconds has rung, and before one of `late` seconds has."""
    first, second = (asyncio.ensure_future(asyncio.sleep(seconds)) for seconds in (early, late))
    try:
        result = await awaited
        assert first.done()
        assert not second.done()
        return result
    finally:
        first.cancel()
        second.cancel()


# Slow clients


def test_a_head_that_does_not_get_ready_is_answered_with_408_once_its_time_is_over() -> None:
    async def play() -> bytes:
        async with opened(App(), SOON) as (_, port):
            return await between(0.8 * SOON, 50 * SOON, exchanged(port, b"GET / HT"))

    answered = played(play())
    assert status(answered) == 408
    assert b"x-should-retry: false" in answered
    assert "timeout" in json.loads(answered.partition(b"\r\n\r\n")[2])["error"]["message"]


def test_one_byte_now_and_then_buys_no_time() -> None:
    async def dribble(port: int, start: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        reading = asyncio.ensure_future(read_all(reader))
        while not reading.done():
            writer.write(b"a")
            await asyncio.sleep(SOON / 10)
        writer.close()
        return reading.result()

    async def play() -> list[int]:
        async with opened(App(), SOON) as (_, port):
            head = await between(0.8 * SOON, 50 * SOON, dribble(port, b"GET / HTTP/1.1\r\nx: "))
            after = await between(0.8 * SOON, 50 * SOON, dribble(port, HELLO + b"GET / HTTP/1.1\r\nx: "))
            body = await between(5 * SOON, 100 * SOON, dribble(port, POST.replace(b"100", b"99999")))
            return [status(head), status(after), status(body)]

    assert played(play()) == [408, 408, 408]


def test_a_connection_that_says_nothing_or_only_line_breaks_is_closed() -> None:
    async def play() -> tuple[bytes, int]:
        async with opened(App(), SOON) as (_, port):
            silent = await between(0.8 * SOON, 50 * SOON, exchanged(port))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HELLO)
            await reader.readuntil(b"\r\n\r\n0")
            writer.write(b"\r\n")
            answered = await between(0.8 * SOON, 50 * SOON, read_all(reader))
            writer.close()
            return silent, status(answered)

    assert played(play()) == (b"", 408)


@pytest.mark.parametrize(
    "start", [POST + b"abc", CHUNKED + b"5\r\nab", CHUNKED + b"1;extension=", CHUNKED + b"0\r\nx: "]
)
def test_a_body_that_stops_is_answered_with_408_and_the_app_learns_that_nobody_waits(start: bytes) -> None:
    async def play() -> tuple[bytes, list[str]]:
        app = App()
        async with opened(app, SOON) as (_, port):
            return await between(0.8 * SOON, 50 * SOON, exchanged(port, start)), app.left

    answered, left = played(play())
    assert status(answered) == 408
    assert left == ["/p"]


def test_a_body_that_goes_on_may_take_longer_than_one_piece_may() -> None:
    async def play() -> bytes:
        async with opened(App(), 4 * SOON) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(BYE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 12\r\n\r\n"))
            for _ in range(12):
                await asyncio.sleep(SOON / 2)
                writer.write(b"a")
            answered = await read_all(reader)
            writer.close()
            return answered

    assert played(play()).endswith(b"\r\n\r\n12")


def test_an_app_that_does_not_read_is_not_charged_to_the_client() -> None:
    async def play() -> bytes:
        app = App()
        async with opened(app, SOON) as (_, port):
            head = b"POST /deaf HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9000000\r\n\r\n"
            asking = asyncio.ensure_future(exchanged(port, head, b"a" * 9_000_000))
            await asyncio.sleep(3 * SOON)
            app.go.set()
            return await asking

    assert played(play()).endswith(b"9000000")


def test_a_stream_and_a_rest_between_requests_have_no_limit_here() -> None:
    async def play() -> bytes:
        app = App()
        async with opened(app, SOON) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(SLOW)
            await asyncio.sleep(3 * SOON)
            app.go.set()
            await reader.readuntil(b"0\r\n\r\n")
            await asyncio.sleep(3 * SOON)
            writer.write(BYE)
            answered = await read_all(reader)
            writer.close()
            return answered

    assert status(played(play())) == 200


def test_a_client_that_does_not_read_the_end_of_an_answer_is_cut_off() -> None:
    async def play() -> None:
        async with opened(App(), SOON) as (door, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(BYE.replace(b"/bye", b"/large"))
            await between(0.8 * SOON, 50 * SOON, emptied(door))
            writer.transport.abort()

    async def emptied(door: Any) -> None:
        await asyncio.sleep(SOON / 2)
        assert door.doorway.connections
        await door.doorway.emptied()

    played(play())


# Large ones


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * HEAD + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * 8192,
    ],
    ids=["path", "one of 100 KB", "many", "without end"],
)
def test_a_head_that_is_too_large_is_answered_with_431_and_reaches_no_app(head: bytes) -> None:
    async def play() -> tuple[int, int]:
        app = App()
        async with opened(app) as (_, port):
            return status(await exchanged(port, head)), len(app.seen)

    assert played(play()) == (431, 0)


def test_lines_behind_a_chunked_body_become_no_headers_and_have_the_same_bound() -> None:
    async def play() -> tuple[bytes, int, list[bytes]]:
        app = App()
        async with opened(app) as (_, port):
            fine = await exchanged(
                port, CHUNKED.replace(b"Host", b"Connection: close\r\nHost") + b"0\r\nx-api-key: k\r\n\r\n"
            )
            large = await exchanged(port, CHUNKED + b"0\r\n" + b"x: y\r\n" * 10_000)
            return fine, status(large), [name for name, _ in app.seen[0]["headers"]]

    fine, large, names = played(play())
    assert (status(fine), large) == (200, 431)
    assert b"x-api-key" not in names


def test_a_body_that_nobody_wants_is_thrown_away_so_that_the_client_can_read_why() -> None:
    async def play() -> list[bytes]:
        async with opened(App(), SOON) as (_, port):
            head = POST.replace(b"/p", b"/early").replace(b"100", b"3000000")
            whole = await exchanged(port, head, b"a" * 3_000_000, BYE)
            stuck = await between(0.8 * SOON, 50 * SOON, exchanged(port, head, b"a"))
            return [whole, stuck]

    whole, stuck = played(play())
    assert whole.startswith(b"HTTP/1.1 413 ")
    assert status(whole) == 200
    assert status(stuck) == 413


def test_after_an_early_answer_a_connection_does_not_stay_for_ever() -> None:
    async def play() -> int:
        async with opened(App(), SOON) as (_, port):
            return status(await exchanged(port, POST.replace(b"/p", b"/early"), b"a" * 50, b"a" * 50))

    assert played(play()) == 413


# Rubbish


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00" * 500,
        b"hello\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET http://a HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na\x00b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"1\r\nabc",
        CHUNKED + b"ffffffffffffffffff\r\n",
        CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + b"abc",
    ],
)
def test_what_is_not_http_is_answered_with_400_and_the_connection_is_closed(rubbish: bytes) -> None:
    async def play() -> int:
        async with opened(App()) as (_, port):
            return status(await exchanged(port, rubbish))

    assert played(play()) == 400


def test_rubbish_behind_a_request_waits_until_that_is_answered() -> None:
    async def play() -> bytes:
        app = App()
        async with opened(app) as (_, port):
            asking = asyncio.ensure_future(exchanged(port, SLOW, b"\x00rubbish"))
            await asyncio.sleep(SOON)
            assert not asking.done()
            app.go.set()
            return await asking

    answered = played(play())
    assert answered.index(b"ended") < answered.index(b"HTTP/1.1 400")


def test_a_broken_body_behind_a_request_waits_too_and_its_own_request_is_never_begun() -> None:
    async def play() -> tuple[bytes, list[str]]:
        app = App()
        async with opened(app) as (_, port):
            asking = asyncio.ensure_future(exchanged(port, SLOW + CHUNKED + b"zz\r\n"))
            await asyncio.sleep(SOON)
            app.go.set()
            return await asking, [scope["path"] for scope in app.seen]

    answered, seen = played(play())
    assert answered.index(b"ended") < answered.index(b"HTTP/1.1 400")
    assert seen == ["/slow"]


def test_a_client_that_leaves_has_left_all_that_it_asked_for() -> None:
    async def play() -> list[str]:
        app = App()
        async with opened(app) as (door, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(SLOW)
            await reader.readuntil(b"begun")
            writer.write(b"GET / HT")
            writer.close()
            await door.doorway.emptied()
            return app.left

    assert played(play()) == ["/slow"]


def test_some_requests_may_wait_behind_another_and_not_any_number() -> None:
    async def play() -> tuple[int, bytes]:
        app = App()
        async with opened(app) as (_, port):
            few = await exchanged(port, HELLO * (MOST_WAITING - 2) + BYE)
            many = asyncio.ensure_future(exchanged(port, SLOW + HELLO * 5000))
            await asyncio.sleep(SOON)
            app.go.set()
            return few.count(b"HTTP/1.1 200"), await many

    few, many = played(play())
    assert few == MOST_WAITING - 1
    assert many.count(b"HTTP/1.1 200") <= MOST_WAITING + 1
    assert status(many) == 400


def test_who_asks_for_another_protocol_is_answered_in_this_one_and_loses_no_body() -> None:
    wish = b"POST /p HTTP/1.1\r\nHost: a\r\nConnection: %s, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    stays = wish % b"Upgrade" + b"Content-Length: 3\r\n\r\nabc"
    goes = wish % b"close, Upgrade" + b"Transfer-Encoding: chunked\r\n\r\n"

    async def play() -> tuple[bytes, list[dict[bytes, bytes]]]:
        app = App()
        async with opened(app) as (_, port):
            answered = await exchanged(port, stays, goes, b"2\r\nab\r\n0\r\n\r\n")
            return answered, [dict(scope["headers"]) for scope in app.seen]

    answered, seen = played(play())
    assert answered.count(b"HTTP/1.1 200") == 2
    assert b"\r\n\r\n3HTTP/1.1" in answered
    assert answered.endswith(b"\r\n\r\n2")
    assert not any(b"upgrade" in headers for headers in seen)


def test_who_asks_for_a_websocket_is_told_that_there_is_none() -> None:
    wish = b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"

    async def play() -> tuple[bytes, int]:
        app = App()
        async with opened(app) as (_, port):
            answered = await exchanged(port, HELLO, wish + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a\r\n\r\n")
            return answered, len(app.seen)

    answered, asked = played(play())
    assert (status(answered), asked) == (501, 1)
    assert b"no_websockets" in answered


def test_many_wishes_on_one_connection_are_too_many_requests() -> None:
    async def play() -> bytes:
        async with opened(App()) as (_, port):
            return await exchanged(port, HELLO.replace(b"Host", b"Connection: upgrade\r\nUpgrade: h2c\r\nHost") * 3000)

    answered = played(play())
    assert status(answered) == 400
    assert answered.count(b"HTTP/1.1 200") <= 2 * MOST_WAITING


@settings(max_examples=150)
@given(
    st.lists(
        st.sampled_from([HELLO, POST, CHUNKED, b"5\r\nhello\r\n", b"0\r\n\r\n", b"\r\n", b"GET ", b"x: y\r\n", b"\x00"])
        | st.binary(max_size=30),
        max_size=8,
    )
)
def test_whatever_bytes_come_nothing_is_unhandled_and_the_connection_ends(pieces: list[bytes]) -> None:
    async def play() -> None:
        async with opened(App()) as (_, port):
            async with asyncio.timeout(20):
                await exchanged(port, *pieces, ends=True)

    played(play())


# What the app is told


def test_the_app_may_see_whether_its_client_reads_and_that_nobody_is_between_them() -> None:
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        ours = scope["extensions"]["hangtight"]
        told.append((ours["direct"], ours["flow"].write_paused))
        with pytest.raises(StopIteration):  # completes at once, without a task
            send({"type": "http.response.start", "status": 200, "headers": []}).send(None)
        sending = send({"type": "http.response.body", "body": b"x" * 20_000_000, "more_body": True})
        with pytest.raises(StopIteration):
            sending.send(None)
        told.append(ours["flow"].write_paused)
        await ours["flow"].drain()
        await send({"type": "http.response.body"})

    async def play() -> int:
        async with opened(app) as (_, port):
            return len(await exchanged(port, BYE))

    assert played(play()) > 20_000_000
    assert told == [(True, False), True]


def test_the_app_is_told_that_its_client_leaves_without_asking_and_once() -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert not (await receive())["more_body"]
        left = asyncio.Event()

        def leave() -> None:
            told.append(scope["path"])
            left.set()

        scope["extensions"]["hangtight"]["leaving"](leave)
        if scope["path"] == "/bye":
            await answer(send, b"told")
        else:
            await left.wait()

    async def play() -> None:
        async with opened(app) as (_, port):
            await exchanged(port, BYE)  # leaves when it has its answer
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HELLO)
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.close()
            await writer.wait_closed()
            while not told:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert not await reader.read()

    played(play())
    assert told == ["/hello"]


class Watchful:
    """Answers `/slow` when it is let go, and wants to be told when its client leaves."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.left = asyncio.Event()
        self.seen: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        if scope["path"] == "/slow":
            going = asyncio.ensure_future(self.go.wait())
            leaving = asyncio.ensure_future(self.left.wait())
            scope["extensions"]["hangtight"]["leaving"](self.left.set)
            self.begun.set()
            await asyncio.wait([going, leaving], return_when=asyncio.FIRST_COMPLETED)
            going.cancel()
            leaving.cancel()
        self.seen.append(size)
        await answer(send, b"%d" % size)


LARGE = b"POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    "behind",
    [HELLO, HELLO * 3, BYE[:20], POST, POST + b"a" * 90, POST + b"a" * 100 + HELLO, LARGE % 900_000 + b"a" * 800_000],
    ids=["one", "some", "half a head", "no body", "half a body", "two", "much of a body"],
)
@pytest.mark.parametrize("later", [True, False])
def test_a_client_is_seen_to_leave_whatever_it_has_asked_behind_its_request(behind: bytes, later: bool) -> None:
    async def play() -> None:
        app = Watchful()
        async with asyncio.timeout(10), opened(app) as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(SLOW if later else SLOW + behind)
            await app.begun.wait()
            writer.write(behind if later else b"")
            await writer.drain()
            writer.close()
            await app.left.wait()
            with suppress(ConnectionError):
                await writer.wait_closed()

    played(play())


def test_a_body_behind_a_generation_waits_and_one_too_large_to_wait_is_refused_after_the_answer() -> None:
    async def play(size: int) -> tuple[bytes, list[int]]:
        app = Watchful()
        async with asyncio.timeout(10), opened(app) as (_, port):
            asking = asyncio.ensure_future(exchanged(port, SLOW, LARGE % size, b"a" * size, BYE))
            await app.begun.wait()
            await asyncio.sleep(SOON)
            app.go.set()
            return await asking, app.seen

    fine, seen = played(play(MOST_AHEAD - 1))
    assert (fine.count(b"HTTP/1.1 200"), seen) == (3, [0, MOST_AHEAD - 1, 0])
    large, seen = played(play(20 * MOST_AHEAD))
    assert (large.count(b"HTTP/1.1 200"), status(large), seen) == (1, 413, [0])


def test_who_asks_to_be_told_when_the_client_has_left_already_is_told_at_once() -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope["extensions"]["hangtight"]["leaving"](partial(told.append, "left"))

    async def play() -> None:
        async with opened(app) as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HELLO)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            while not told:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    played(play())
    assert told == ["left"]


def test_every_answer_has_a_date_and_none_says_which_server_it_is() -> None:
    async def play() -> bytes:
        async with opened(App()) as (_, port):
            return (await exchanged(port, BYE)).lower()

    answered = played(play())
    assert b"\r\ndate: " in answered
    assert b"\r\nserver:" not in answered


def test_an_error_of_the_app_is_logged_and_a_request_that_we_cancelled_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(LOG, "handlers", [handler])
    monkeypatch.setattr(LOG, "propagate", False)

    begun = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/bye":
            raise ZeroDivisionError
        begun.set()
        await asyncio.sleep(3600)

    async def play() -> int:
        async with opened(app) as (door, port):
            broken = status(await exchanged(port, BYE))
            waiting = asyncio.ensure_future(exchanged(port, HELLO))
            await begun.wait()
            door.shut()
            await waiting
            return broken

    assert played(play()) == 500
    assert said == ["Exception in ASGI application\n"]


def test_the_answers_of_the_app_pass_unchanged() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"\x00\r\n\r\n" * 1000)

    async def play() -> bytes:
        async with opened(app) as (_, port):
            return await exchanged(port, BYE)

    assert played(play()).partition(b"\r\n\r\n")[2] == b"\x00\r\n\r\n" * 1000
