"""Requests over real sockets: connections that are kept, that break, that are never made. None is left behind."""

from __future__ import annotations

import asyncio
import gc
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import which
from typing import Any

import psutil
import pytest

from hangtight.core.time import Instant
from hangtight.drivers import clock
from hangtight.drivers.http11 import Address, BrokenBody, BrokenHead, ConnectFailed
from hangtight.gateway.upstream import pool as module
from hangtight.gateway.upstream.connection import Incoming
from hangtight.gateway.upstream.pool import KEPT_FOR, Outgoing, Upstream, head_of
from hangtight.testing.lab import Lab
from tests.gateway.behind import CHUNKED, LAST, PATIENCE, Behind, Serve, Talk, answer, behind, chunk

pytestmark = pytest.mark.real
LARGE = b"x" * 8_000_000


async def whole(incoming: Incoming) -> tuple[int, bytes]:
    body = b"".join([piece async for piece in incoming])
    return incoming.head.result().status, body


async def told(upstream: Upstream, asked: Outgoing) -> tuple[int, bytes]:
    return await whole(await upstream.send(asked))


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run this; afterwards as many descriptors are open as before."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await main()

    before = psutil.Process().num_fds()
    asyncio.run(bounded())
    assert psutil.Process().num_fds() <= before


@asynccontextmanager
async def between(serve: Serve, **options: Any) -> AsyncIterator[tuple[Upstream, Behind]]:
    """Our side, and a server."""
    async with behind(serve, **options) as server:
        upstream = Upstream()
        try:
            yield upstream, server
        finally:
            upstream.close()
            await asyncio.sleep(0)


async def polite(talk: Talk) -> None:
    while True:
        _, body = await talk.request()
        talk.say(answer(b"%d:" % talk.number + body))


# -- kept connections -----------------------------------------------------------------------------------------


def test_one_connection_serves_one_request_after_the_other_and_two_serve_two_at_once() -> None:
    async def main() -> None:
        async with between(polite) as (upstream, server):
            for text in (b"a", b"b", b"c"):
                assert await told(upstream, server.asked(body=text)) == (200, b"0:" + text)
            both = await asyncio.gather(*(told(upstream, server.asked(body=text)) for text in (b"d", b"e")))
            assert sorted(said for _, said in both) == [b"0:d", b"1:e"]
            assert len(server.talks) == 2

    run(main)


def test_an_answer_without_a_body_and_one_to_head_leave_the_next_request_alone() -> None:
    async def serve(talk: Talk) -> None:
        while True:
            head, _ = await talk.request()
            if head.startswith(b"HEAD"):
                talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            else:
                talk.say(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def main() -> None:
        async with between(serve) as (upstream, server):
            for method in ("HEAD", "DELETE", "HEAD", "DELETE", "DELETE"):
                status, body = await told(upstream, server.asked(method, b"", bodiless=method == "HEAD"))
                assert (status, body) == (204 if method == "DELETE" else 200, b"")

    run(main)


def closing(late: Callable[[Talk, int], bytes]) -> Serve:
    """Answers once; on the second request of a connection it says this, and hangs up."""

    async def serve(talk: Talk) -> None:
        for turn in range(2):
            _, body = await talk.request()
            said = answer(body) if turn == 0 else late(talk, turn)
            talk.say(said)
            if turn:
                return

    return serve


def test_a_used_connection_that_ends_just_when_we_write_is_replaced_once() -> None:
    async def main() -> None:
        async with between(closing(lambda talk, turn: b"")) as (upstream, server):
            for text in (b"a", b"b", b"c"):  # each second use finds its connection closed, and the request is sent anew
                assert await told(upstream, server.asked(body=text)) == (200, text)
            assert len(server.talks) == 3

    run(main)


def test_a_new_connection_that_ends_without_an_answer_is_not_tried_again() -> None:
    async def serve(talk: Talk) -> None:
        await talk.request()

    async def main() -> None:
        async with between(serve) as (upstream, server):
            with pytest.raises(BrokenHead):
                await told(upstream, server.asked())
            assert len(server.talks) == 1

    run(main)


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\n", b"garbage\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_who_began_to_answer_on_a_used_connection_is_not_asked_again(said: bytes) -> None:
    async def main() -> None:
        async with between(closing(lambda talk, turn: said)) as (upstream, server):
            await told(upstream, server.asked())
            with pytest.raises(BrokenHead):
                await told(upstream, server.asked())
            assert len(server.talks) == 1

    run(main)


def test_who_thought_about_a_request_before_the_connection_ended_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "JUST_NOW", -1.0)

    async def main() -> None:
        async with between(closing(lambda talk, turn: b"")) as (upstream, server):
            await told(upstream, server.asked())
            with pytest.raises(BrokenHead):
                await told(upstream, server.asked())

    run(main)


def test_who_speaks_on_an_idle_connection_or_closes_it_costs_the_next_request_nothing() -> None:
    async def serve(talk: Talk) -> None:
        _, body = await talk.request()
        talk.say(answer(body))
        await talk.writer.drain()
        if talk.number % 2:
            talk.say(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
            await talk.gone()

    async def main() -> None:
        async with between(serve) as (upstream, server):
            for turn in range(6):
                assert await told(upstream, server.asked(body=b"%d" % turn)) == (200, b"%d" % turn)
                await asyncio.sleep(0.01)  # it is said or closed meanwhile, or else in the middle of the next
            assert len(server.talks) == 6

    run(main)


def test_a_connection_that_waited_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with between(polite) as (upstream, server):
            await told(upstream, server.asked())
            now = clock.now()
            monkeypatch.setattr(clock, "now", lambda: Instant(now + KEPT_FOR + 0.5))
            assert await told(upstream, server.asked(body=b"x")) == (200, b"1:x")

    run(main)


def test_connections_that_nobody_uses_are_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_EVERY", 0.02)
    monkeypatch.setattr(module, "KEPT_FOR", 0.05)

    async def serve(talk: Talk) -> None:
        await talk.request()
        talk.say(answer(b""))
        await talk.gone()
        closed.set()

    async def main() -> None:
        async with between(serve) as (upstream, server):
            await told(upstream, server.asked())
            await closed.wait()
            assert not upstream._idle

    closed = asyncio.Event()
    run(main)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # a loop that was closed over a socket
def test_a_connection_of_another_loop_is_let_go(closed: bool) -> None:
    upstream, loops = Upstream(), [asyncio.new_event_loop() for _ in range(2)]
    with Lab() as lab:
        asked = asked_of(int(lab.url.rpartition(":")[2]))
        for loop in loops:
            assert loop.run_until_complete(asyncio.wait_for(told(upstream, asked), PATIENCE))[0] == 404
            assert [each.loop for waiting in upstream._idle.values() for each in waiting] == [loop]
            if closed and loop is loops[0]:
                loop.close()
        loops[1].run_until_complete(closing_of(upstream))
        if not closed:
            loops[0].run_until_complete(asyncio.sleep(0.01))
    for loop in loops:
        loop.close()
    gc.collect()


async def closing_of(upstream: Upstream) -> None:
    upstream.close()
    await asyncio.sleep(0.01)


# -- long bodies ----------------------------------------------------------------------------------------------


def test_a_long_body_arrives_whole_and_whoever_wants_to_know_is_told_of_each_piece() -> None:
    async def serve(talk: Talk) -> None:
        _, body = await talk.request()
        talk.say(answer(b"%d" % len(body)))
        await talk.gone()

    async def main() -> None:
        async with between(serve) as (upstream, server):
            pieces: list[None] = []
            asked = server.asked(body=LARGE, taken=lambda: pieces.append(None))
            assert await told(upstream, asked) == (200, b"%d" % len(LARGE))
            assert len(pieces) == -(-len(LARGE) // module.PIECE)

    run(main)


@pytest.mark.parametrize("stays", [False, True])
def test_an_early_answer_ends_the_sending_even_if_the_server_takes_no_more(stays: bool) -> None:
    async def serve(talk: Talk) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        talk.say(answer(b"too large", 413))
        if stays:
            await done.wait()

    async def main() -> None:
        async with between(serve, limit=4096) as (upstream, server):
            assert await told(upstream, server.asked(body=LARGE)) == (413, b"too large")
            done.set()

    done = asyncio.Event()
    run(main)


def test_a_reader_that_is_slow_slows_the_server_down_and_gets_every_byte() -> None:
    sent = 0

    async def serve(talk: Talk) -> None:
        nonlocal sent
        await talk.request()
        talk.say(CHUNKED)
        while sent < 20_000_000:
            talk.say(chunk(b"x" * 50_000))
            sent += 50_000
            await talk.writer.drain()
        talk.say(LAST)
        await talk.gone()

    async def main() -> None:
        async with between(serve) as (upstream, server):
            incoming = await upstream.send(server.asked())
            before, same = -1, 0
            while same < 10:  # until it stands still, in none of many looks
                before, same = sent, same + 1 if sent == before else 0
                await asyncio.sleep(0.05)
            assert sent < 19_000_000
            assert incoming._size < 1_000_000
            assert await whole(incoming) == (200, b"x" * 20_000_000)

    run(main)


# -- connecting -----------------------------------------------------------------------------------------------


def asked_of(port: int, *, tls: bool = False, host: str = "127.0.0.1", connect: float | None = 5.0) -> Outgoing:
    address = Address(tls, host, port, "/")
    return Outgoing(address, head_of("POST", address, [], 2), b"{}", connect)


def test_a_port_where_nobody_listens_is_told_with_its_address() -> None:
    async def main() -> None:
        async with behind(polite) as server:
            port = server.port
        with pytest.raises(ConnectFailed, match=f"no connection to 127.0.0.1:{port}"):
            await Upstream().send(asked_of(port))

    run(main)


def test_a_server_that_does_not_take_connections_is_a_timeout_of_connecting() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def never(*_: Any, **__: Any) -> Any:
            await loop.create_future()

        loop.create_connection = never  # type: ignore[method-assign]
        with pytest.raises(ConnectFailed, match=r"connecting timed out after 0\.05s"):
            await Upstream().send(asked_of(9, connect=0.05))

    run(main)


def test_who_leaves_while_the_server_thinks_leaves_nothing_behind() -> None:
    async def serve(talk: Talk) -> None:
        await talk.request()
        heard.set()
        await talk.gone()
        left.set()

    async def main() -> None:
        async with between(serve) as (upstream, server):
            asking = asyncio.ensure_future(upstream.send(server.asked()))
            await heard.wait()
            asking.cancel()
            await left.wait()

    heard, left = asyncio.Event(), asyncio.Event()
    run(main)


def test_a_body_that_breaks_off_is_an_error_and_its_connection_is_gone() -> None:
    async def serve(talk: Talk) -> None:
        await talk.request()
        talk.say(CHUNKED + chunk(b"hello") + b"a\r\nhalf")

    async def main() -> None:
        async with between(serve) as (upstream, server):
            with pytest.raises(BrokenBody, match=f"127.0.0.1:{server.port}: closed the connection inside"):
                await told(upstream, server.asked())

    run(main)


# -- TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost, signed by itself."""
    openssl = which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    made = tmp_path_factory.mktemp("tls") / "both.pem"
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -out {made} -keyout {made}.key"
    command += " -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(command.split(), check=True, capture_output=True)
    made.write_bytes(made.read_bytes() + made.with_name("both.pem.key").read_bytes())
    return made


def test_tls_works_where_the_certificate_is_trusted_and_is_an_error_where_it_is_not(certificate: Path) -> None:
    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        async with between(polite, ssl=context) as (stranger, server):
            with pytest.raises(ConnectFailed, match="certificate"):
                await stranger.send(asked_of(server.port, tls=True, host="localhost"))
            friend = Upstream(tls=ssl.create_default_context(cafile=str(certificate)))
            for _ in range(2):
                assert (await told(friend, asked_of(server.port, tls=True, host="localhost")))[0] == 200
            friend.close()
            await asyncio.sleep(0.05)

    run(main)


# -- what is written ------------------------------------------------------------------------------------------


def test_a_header_that_would_become_another_one_is_left_out() -> None:
    bad = [b"a\r\nx: y", b"a\nx: y", b"a\rx", b"a\0"]
    fields = [(b"x-bad", value) for value in bad]
    head = head_of("GET", Address(False, "h", 8080, "/p?q"), [*fields, (b"x-good", b"\xe9")], None)
    assert head == b"GET /p?q HTTP/1.1\r\nhost: h:8080\r\nx-good: \xe9\r\n\r\n"
