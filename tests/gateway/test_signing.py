"""Where signs of life stand, and where none can: an answer that its server compressed, or that is no stream."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from hangtight.core.signs import span_of
from hangtight.gateway.calls import read_timeout
from tests.gateway.behind import (
    CHUNKED,
    FINISHED,
    LAST,
    PATIENCE,
    Before,
    Serve,
    Talk,
    before,
    behind,
    chat,
    chunk,
    piece,
)

pytestmark = pytest.mark.real
SETTINGS = """
proxy_silence: 0.2
heartbeat: 0.1
limits: {{first_token: {first_token}, idle: {idle}, total: 30, cold: null}}
circuit: false
models: {{"*": {{proxy: "{url}", heartbeat_form: "{form}"}}}}
"""
PACKED = CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
REFUSAL = b"HTTP/1.1 400 No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
ANSWER = piece("one") + piece("two") + FINISHED
Main = Callable[[Before], Awaitable[None]]


def run(
    folder: Path, serve: Serve, main: Main, *, first_token: float = 9, idle: float = 9, form: str = "comment"
) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE), behind(serve) as server:
            said = SETTINGS.format(url=server.url, first_token=first_token, idle=idle, form=form)
            async with before(folder, said) as ours:
                await main(ours)

    asyncio.run(bounded())


def packing(*steps: bytes | float, late: float = 0) -> Serve:
    """Says these events compressed, each at once, and waits so many seconds between; then it is silent."""

    async def serve(talk: Talk) -> None:
        await talk.request()
        await asyncio.sleep(late)
        talk.say(PACKED)
        pack = zlib.compressobj(wbits=31)
        for step in steps:
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                talk.say(chunk(pack.compress(step) + pack.flush(zlib.Z_SYNC_FLUSH)))
        if FINISHED in steps:
            talk.say(chunk(pack.flush()) + LAST)
        await talk.gone()

    return serve


def unpacked(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(data)


# -- an answer that is compressed ----------------------------------------------------------------------------------


def test_what_is_compressed_all_the_same_passes_as_it_comes_and_no_sign_stands_in_it(tmp_path: Path) -> None:
    async def main(ours: Before) -> None:
        found = await ours.chat(stream=True)
        assert (found.status, found.headers["content-encoding"]) == (200, "gzip")
        assert unpacked(found.body) == ANSWER

    run(tmp_path, packing(piece("one"), 0.5, piece("two"), 0.5, FINISHED), main)


def test_an_event_that_is_compressed_is_not_kept_back_until_the_end(tmp_path: Path) -> None:
    async def main(ours: Before) -> None:
        reader, writer = await ours.open(chat(stream=True))
        await reader.readuntil(b"\r\n\r\n")
        assert unpacked(await _chunk(reader)) == piece("one")  # the server says nothing more
        writer.close()

    run(tmp_path, packing(piece("one")), main)


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readline(), 16)
    return (await reader.readexactly(size + 2))[:-2]


def test_an_error_of_ours_in_what_is_compressed_is_a_cut_and_nothing_stands_behind_it(tmp_path: Path) -> None:
    async def main(ours: Before) -> None:
        reader, writer = await ours.open(chat(stream=True))
        await reader.readuntil(b"\r\n\r\n")
        assert unpacked(await _chunk(reader)) == piece("one")
        with suppress(ConnectionResetError):
            assert await reader.read() == b""  # not even the end of the chunks
        writer.close()

    run(tmp_path, packing(piece("one")), main, idle=0.2)


def test_a_timeout_before_the_first_content_of_it_is_a_504(tmp_path: Path) -> None:
    async def main(ours: Before) -> None:
        found = await ours.chat(stream=True)
        assert (found.status, found.error["code"]) == (504, "first_token")

    run(tmp_path, packing(b": ping\n\n"), main, first_token=0.06)


def test_what_is_compressed_and_comes_behind_the_first_sign_is_an_error_event(tmp_path: Path) -> None:
    async def main(ours: Before) -> None:
        found = await ours.chat(stream=True)
        assert found.body.startswith(b": hangtight: still waiting\n\n")
        assert (found.error["code"], found.error["status"]) == ("upstream", 502)

    run(tmp_path, packing(piece("one"), FINISHED, late=0.4), main)


# -- an answer that is no stream -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [b"200 OK", b"400 No"])
def test_no_sign_stands_in_what_is_no_stream_and_comes_slowly(tmp_path: Path, status: bytes) -> None:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n" % status

    async def serve(talk: Talk) -> None:
        await talk.request()
        talk.say(head + chunk(b'{"error": {'))
        await asyncio.sleep(0.5)
        talk.say(chunk(b'"message": "no"}}') + LAST)
        await talk.gone()

    async def main(ours: Before) -> None:
        assert (await ours.chat(stream=True)).body == b'{"error": {"message": "no"}}'

    run(tmp_path, serve, main)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error": {"message": "too long", "type": "x"}}', "too long"),
        (b'{"error": "no such model"}', "no such model"),
        (b"<html>nginx</html>", "400"),
    ],
)
def test_a_refusal_behind_a_sign_is_told_in_the_servers_words_and_not_in_its_json(
    tmp_path: Path, body: bytes, told: str
) -> None:
    async def serve(talk: Talk) -> None:
        await talk.request()
        await asyncio.sleep(0.4)
        talk.say(REFUSAL % (len(body), body))
        await talk.gone()

    async def main(ours: Before) -> None:
        found = await ours.chat(stream=True)
        assert (found.status, found.error["status"]) == (200, 400)
        message = found.error["message"]
        assert told in message
        assert "{" not in message
        assert "<" not in message

    run(tmp_path, serve, main)


# -- when ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "span"), [(b"30", 25), (b"599", 594), (b"600", 595), (b"900", 895), (b"1800.0", 1795)]
)
def test_an_sdk_gets_its_first_sign_before_its_own_patience_ends_however_long_that_is(said: bytes, span: float) -> None:
    assert span_of(read_timeout({b"x-stainless-read-timeout": said}), None, says_nothing=False) == span


def test_a_whole_answer_behind_white_space_is_handed_on_also_where_the_server_does_not_stream(tmp_path: Path) -> None:
    body = b'{"choices": [{"message": {"content": "hello"}}]}'

    async def serve(talk: Talk) -> None:
        await talk.request()
        await asyncio.sleep(0.4)
        talk.say(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        await talk.gone()

    async def main(ours: Before) -> None:
        found = await ours.chat()
        assert (found.status, found.body.lstrip(), found.body[:1]) == (200, body, b" ")

    run(tmp_path, serve, main, form="white-space")
