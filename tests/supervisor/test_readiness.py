"""A server is ready when it answers 200; until then what it says is looked through for progress of its load."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from hangtight.supervisor import readiness
from hangtight.supervisor.readiness import Heard, Loading, healthy, probed, somebody_listens
from tests.supervisor.kit import run

LOADING = b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'


def answer(status: int, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@asynccontextmanager
async def server(*answers: bytes | None, port: int = 0) -> AsyncIterator[tuple[int, Callable[[], int]]]:
    """Gives these answers in turn, the last one from then on; None is silence."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        with suppress(asyncio.IncompleteReadError):  # who asked may be gone before he has asked
            await reader.readuntil(b"\r\n\r\n")
        given = answers[min(asked, len(answers) - 1)]
        asked += 1
        if given is None:
            await reader.read()
        else:
            writer.write(given)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", port)
    async with listening:
        yield listening.sockets[0].getsockname()[1], lambda: asked


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_is_ready_with_the_first_200_and_what_it_said_before_is_told() -> None:
    async def scene() -> None:
        heard: list[Heard] = []
        told = [answer(503, b'{"progress": 0.2}'), answer(503, b'{"progress": 0.2}'), answer(503, b'{"progress": 0.4}')]
        async with server(answer(404), answer(503, LOADING), *told, answer(200)) as (port, asked):
            await healthy(f"http://127.0.0.1:{port}/health", on_heard=heard.append)
        assert [(one.status, one.progress) for one in heard] == [
            (404, False), (503, True), (503, True), (503, False), (503, True),
        ]  # fmt: skip
        assert asked() == 6

    run(scene())


def test_it_is_waited_for_until_somebody_listens() -> None:
    async def scene() -> None:
        port = free_port()
        waits = asyncio.create_task(healthy(f"http://127.0.0.1:{port}/"))
        await asyncio.sleep(0.05)
        assert not waits.done()
        async with server(answer(200), port=port):
            await waits

    run(scene())


def test_without_an_address_it_is_ready_at_once() -> None:
    run(healthy(None))


def test_a_server_that_never_answers_is_asked_again() -> None:
    async def scene() -> None:
        async with server(None, None, answer(200)) as (port, asked):
            await healthy(f"http://127.0.0.1:{port}/", probe=0.05)
        assert asked() == 3

    run(scene())


@pytest.mark.parametrize(
    "given",
    [b"SSH-2.0-OpenSSH\r\n\r\n", b"", b"HTTP/1.1 503 X\r\nContent-Length: 99\r\n\r\nshort"],
    ids=["other", "none", "cut"],
)
def test_rubbish_is_no_answer(given: bytes) -> None:
    async def scene() -> None:
        async with server(given) as (port, _):
            assert await probed(f"http://127.0.0.1:{port}/") == (0, b"")

    run(scene())


def test_a_body_that_is_too_long_is_still_an_answer_and_that_of_a_200_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "READ_LIMIT", 10)

    async def scene() -> None:
        endless = b"HTTP/1.1 200 X\r\n\r\nand so on"
        async with server(answer(500, b"x" * 11), endless) as (port, _):
            assert await probed(f"http://127.0.0.1:{port}/") == (500, b"")
            assert await probed(f"http://127.0.0.1:{port}/") == (200, b"")

    run(scene())


def test_a_port_that_is_taken_is_seen() -> None:
    async def scene() -> None:
        async with server(None) as (port, _):
            assert await somebody_listens("127.0.0.1", port)
        assert not await somebody_listens("127.0.0.1", free_port())

    run(scene())


@pytest.mark.parametrize(
    ("pieces", "progress"),
    [
        ([b"llama_model_loader: loaded meta data with 30 key-value pairs\n"], [True]),
        ([b"load_tensors: offloading 32 layers\n", b"load_tensors: offloading 32 layers\n"], [True, False]),
        ([b"..", b"..", b".\n"], [True, True, True]),
        ([b"\rLoading: 10%", b"\rLoading: 12.5%", b"\rLoading: 12.5%", b"\rLoading: 9%"], [True, True, False, False]),
        ([b"shards 1/8\n", b"shards 1/8 \n", b"shards 2/8\n"], [True, False, True]),
        ([b"INFO 127.0.0.1 GET /health\n", b"waiting for the GPU\n"], [False, False]),
        ([b"\xff\xfe\x00", b"x" * 100_000, b"\n"], [False, False, False]),
        ([b'"progress": 1.2.3 x\n', b'"progress": 1.2\n', b'"progress": 1.5.\n'], [True, False, True]),
        ([b"loading 1\n" + b"nothing\nelse\n" * 32, b"loading 1\n" + b"nothing\n" * 32], [False, True]),
        ([b"99 %\n" + b"x" * 70_000 + b"\n"], [False]),
    ],
)  # fmt: skip
def test_progress_of_a_load_is_what_says_so(pieces: list[bytes], progress: list[bool]) -> None:
    loading = Loading()
    assert [loading.heard(piece) for piece in pieces] == progress
