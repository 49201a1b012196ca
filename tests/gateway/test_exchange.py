"""One request to its end: what the client gets before, in place of and behind the answer, and at what speed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.gateway.behind import (
    ANSWERED,
    CHUNKED,
    FINISHED,
    HOST,
    LAST,
    PATIENCE,
    Before,
    Behind,
    Got,
    Serve,
    Talk,
    answer,
    before,
    behind,
    chat,
    chunk,
    dechunked,
    got,
    piece,
    post,
    until,
)
from tests.gateway.kit import Served

pytestmark = pytest.mark.real
SIGNS = "proxy_silence: 0.2\nheartbeat: 0.1\n"
LIMITS = "limits: {{first_token: {first_token}, idle: {idle}, total: 30, cold: null}}\ncircuit: false\n"
MODELS = 'models: {{"*": {{proxy: "{url}"}}}}\n'
SIGN = b": hangtight: still waiting\n\n"
Main = Callable[[Before, Behind], Awaitable[None]]


def run(
    folder: Path,
    serve: Serve,
    main: Main,
    *,
    more: str = "",
    first_token: float = 9,
    idle: float = 9,
    patience: float = 30,
) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE), behind(serve) as server:
            said = (more + LIMITS + MODELS).format(url=server.url, first_token=first_token, idle=idle)
            async with before(folder, said, patience) as ours:
                await main(ours, server)

    asyncio.run(bounded())


def saying(*steps: bytes | float) -> Serve:
    """Says this and waits so many seconds between; then it is silent for as long as anybody listens."""

    async def serve(talk: Talk) -> None:
        while True:
            await talk.request()
            for step in steps:
                if isinstance(step, bytes):
                    talk.say(step)
                else:
                    await asyncio.sleep(step)
            if LAST not in steps and ANSWERED not in steps:
                await talk.gone()
                return

    return serve


# -- before the answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [[], [CHUNKED], [CHUNKED, chunk(b": ping\n\n"), chunk(piece(""))]])
@pytest.mark.parametrize("stream", [True, False])
def test_a_timeout_before_the_first_content_is_a_504_whatever_came_before_it(
    tmp_path: Path, head: list[bytes], stream: bool
) -> None:
    async def main(ours: Before, server: Behind) -> None:
        found = await ours.chat(stream=stream)
        assert (found.status, found.error["code"], found.error["type"]) == (504, "first_token", "timeout")
        assert found.headers["x-should-retry"] == "false"
        assert found.headers["content-type"] == "application/json"
        await server.talks[0].left.wait()

    run(tmp_path, saying(*head), main, first_token=0.15)


def test_the_first_sign_says_200_and_a_timeout_after_it_is_the_last_event(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind) -> None:
        found = await ours.chat(stream=True)
        assert found.status == 200
        assert found.headers["content-type"].startswith("text/event-stream")
        assert found.body.startswith(SIGN)
        assert found.error["code"] == "first_token"
        assert b"[DONE]" not in found.body

    run(tmp_path, saying(), main, more=SIGNS, first_token=2)


@pytest.mark.parametrize("late", [answer(b'{"error": {"message": "no"}}', 500), answer(b'{"a": 1}'), b""])
def test_what_is_no_stream_after_the_first_sign_is_an_error_event(tmp_path: Path, late: bytes) -> None:
    signed = asyncio.Event()

    async def serve(talk: Talk) -> None:
        await talk.request()
        await signed.wait()
        talk.say(late)

    async def main(ours: Before, server: Behind) -> None:
        reader, writer = await ours.open(chat(stream=True))
        begun = await reader.readuntil(SIGN)
        signed.set()
        body = begun.partition(b"\r\n\r\n")[2] + await reader.readuntil(LAST)
        writer.close()
        found = Got(int(begun.split()[1]), {}, dechunked(body))
        assert (found.status, found.body[: len(SIGN)]) == (200, SIGN)
        assert found.error["message"]
        assert b"[DONE]" not in found.body

    run(tmp_path, serve, main, more=SIGNS)


def test_signs_stand_only_between_events_and_no_byte_of_the_answer_is_lost(tmp_path: Path) -> None:
    half = len(piece("hello")) // 2
    steps = (
        *(CHUNKED, chunk(piece("a")), 0.3, chunk(piece("hello")[:half]), 0.3, chunk(piece("hello")[half:])),
        *(0.3, chunk(FINISHED), LAST),
    )

    async def main(ours: Before, server: Behind) -> None:
        found = await ours.chat(stream=True)
        assert found.body.count(SIGN) >= 4
        assert found.body.replace(SIGN, b"") == piece("a") + piece("hello") + FINISHED

    run(tmp_path, saying(*steps), main, more=SIGNS)


def test_an_unstreamed_answer_gets_no_sign_unless_it_is_asked_for(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind) -> None:
        found = await ours.chat()
        assert found.body.startswith(b"{")
        assert found.json["choices"][0]["message"]["content"] == "hello"

    run(tmp_path, saying(0.5, ANSWERED), main, more=SIGNS)


def test_white_space_before_an_unstreamed_answer_leaves_it_readable(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind) -> None:
        found = await ours.chat()
        assert found.body[:1].isspace()
        assert found.json["choices"][0]["message"]["content"] == "hello"

    run(tmp_path, saying(0.5, ANSWERED), main, more=SIGNS + "routes: {{/v1/chat/completions: white-space}}\n")


# -- the end of it --------------------------------------------------------------------------------------------


def test_a_stream_that_goes_silent_ends_with_an_event_of_ours_behind_all_that_came(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind) -> None:
        found = await ours.chat(stream=True)
        assert found.body.startswith(piece("a") + piece("b"))
        assert found.error["code"] == "idle"
        assert (await ours.chat()).status == 504

    run(tmp_path, saying(CHUNKED, chunk(piece("a")), chunk(piece("b")), chunk(b"data: ha")), main, idle=0.15)


@pytest.mark.parametrize(
    "cut", [CHUNKED + chunk(piece("a")), CHUNKED + chunk(piece("a")) + b"zz\r\n", CHUNKED + chunk(piece("a")) + LAST]
)
def test_an_answer_that_breaks_off_is_an_error_and_never_a_success(tmp_path: Path, cut: bytes) -> None:
    async def serve(talk: Talk) -> None:
        await talk.request()
        talk.say(cut)

    async def main(ours: Before, server: Behind) -> None:
        found = await ours.chat(stream=True)
        assert found.body.startswith(piece("a"))
        assert found.error["message"]
        assert b"[DONE]" not in found.body
        whole = await ours.chat()
        assert whole.status >= 500
        assert whole.error["message"]

    run(tmp_path, serve, main)


def test_a_client_that_leaves_ends_the_generation_at_once(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind) -> None:
        for stream in (True, False):
            reader, writer = await ours.open(chat(stream=stream))
            if stream:
                await reader.readuntil(b"data: ")
            else:
                await until(lambda: len(server.talks) == 2)
            writer.close()
            await server.talks[-1].left.wait()
        await until(lambda: not ours.gateway.state.exchanges)

    run(tmp_path, saying(CHUNKED, chunk(piece("a"))), main)


def test_what_is_not_ours_passes_with_its_status_and_headers_but_for_those_of_the_connection(tmp_path: Path) -> None:
    said = answer(b"\0\xff" * 50_000, 207, b"x-own: 1", b"connection: keep-alive", b"keep-alive: timeout=5")

    async def main(ours: Before, server: Behind) -> None:
        found = await ours.ask(post("/v1/audio/speech", b'{"model": "m"}'))
        assert (found.status, found.body, found.headers["x-own"]) == (207, b"\0\xff" * 50_000, "1")
        assert "keep-alive" not in found.headers
        assert found.headers["x-hangtight-model"] == "m"

    run(tmp_path, saying(said), main)


def test_a_question_for_a_head_has_no_body_and_leaves_the_connection_in_order(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind) -> None:
        request = post("/v1/files/x?model=m", b"", method="HEAD")
        reader, writer = await ours.open(request + request)
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"content-length: 5" in head.lower()
        writer.close()

    async def serve(talk: Talk) -> None:
        await talk.request()
        talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        await talk.gone()

    run(tmp_path, serve, main)


# -- a client that is slow ------------------------------------------------------------------------------------

MANY = 60_000
TOKEN = chunk(piece("x" * 200))
WHOLE = piece("x" * 200) * MANY + FINISHED


class Fast:
    """Says as much as anybody takes, and counts it."""

    said = 0

    async def __call__(self, talk: Talk) -> None:
        head, _ = await talk.request()
        if not head.startswith(b"POST "):
            return  # the gateway looks at what its server does
        talk.say(CHUNKED)
        for number in range(MANY):
            talk.say(TOKEN)
            self.said = number
            await talk.writer.drain()
        talk.say(chunk(FINISHED) + LAST)
        await talk.gone()

    async def stands(self) -> int:
        """How much was said when nothing more is taken: in none of many looks, for the machine may be busy."""
        before, same = -1, 0
        while same < 10:
            before, same = self.said, same + 1 if before == self.said else 0
            await asyncio.sleep(0.05)
        return before


async def slowly(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """A kilobyte each tenth of a second."""
    read = b""
    for _ in range(round(seconds / 0.1)):
        read += await reader.read(1024)
        await asyncio.sleep(0.1)
    return read


@pytest.mark.timeout(180)
def test_a_slow_client_slows_its_server_down_fills_no_memory_is_no_silence_and_gets_every_byte(tmp_path: Path) -> None:
    async def main() -> None:
        fast = Fast()
        async with asyncio.timeout(3 * PATIENCE), behind(fast) as server:
            said = (LIMITS + MODELS).format(url=server.url, first_token=9, idle=1)
            with serving(await asyncio.to_thread(Served(tmp_path, said, "--drain", "0.2").__enter__)) as served:
                process = psutil.Process(served.process.pid)
                ours = Before(None, int(served.url.rpartition(":")[2]))  # type: ignore[arg-type]
                reader, writer = await ours.open(chat(stream=True), window=4096)
                read = await slowly(reader, 0.3)
                before = process.memory_info().rss
                stood = await fast.stands()
                read += await slowly(reader, 3)  # three times its `idle`
                assert fast.said - stood < 2000
                assert fast.said < MANY / 2  # the kernel keeps some megabytes on the way
                assert process.memory_info().rss - before < 8_000_000
                assert served.get("/hangtight/generations")
                reader._limit = 1_000_000  # type: ignore[attr-defined]
                while not read.endswith(LAST):
                    read += await reader.read(1_000_000)
                writer.close()
        assert dechunked_fast(read.partition(b"\r\n\r\n")[2]) == WHOLE

    asyncio.run(main())


@contextmanager
def serving(begun: Served) -> Iterator[Served]:
    try:
        yield begun
    finally:
        begun.__exit__(None, None, None)


def dechunked_fast(wire: bytes) -> bytes:
    """Many chunks; `dechunked` copies all that is left for each of them."""
    pieces, at = [], 0
    while at < len(wire):
        end = wire.index(b"\r\n", at)
        size = int(wire[at:end], 16)
        pieces.append(wire[end + 2 : end + 2 + size])
        at = end + 4 + size
    return b"".join(pieces)


def test_a_client_that_reads_nothing_for_a_while_is_not_taken_for_a_silent_model(tmp_path: Path) -> None:
    fast = Fast()

    async def main(ours: Before, server: Behind) -> None:
        reader, writer = await ours.open(chat(stream=True), window=4096)
        stood = await fast.stands()
        await asyncio.sleep(2)
        assert fast.said == stood
        (exchange,) = ours.gateway.state.exchanges.values()
        assert exchange.reading is not None
        assert exchange.reading.session.machine.outcome is None
        assert exchange.outlet._size < 1_000_000
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await until(lambda: not ours.gateway.state.exchanges)

    run(tmp_path, fast, main, idle=1)


def test_the_rest_of_a_slow_answer_that_is_whole_is_read_at_leisure(tmp_path: Path) -> None:
    """The server has said all, long before the client has read it: no limit rings for what waits here."""
    large = piece("x" * 60_000)
    wire = CHUNKED + chunk(large) * 3 + chunk(FINISHED) + LAST

    async def main(ours: Before, server: Behind) -> None:
        reader, writer = await ours.open(chat(stream=True), window=4096)
        await asyncio.sleep(2)
        found = await got(reader)
        assert found.body == large * 3 + FINISHED
        writer.close()

    run(tmp_path, saying(wire), main, idle=1)


FILE = post("/v1/files/x?model=m", b"", method="GET")
LENGTH = 50_000_000


class File:
    """A large answer that is passed on as it is."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.said = 0

    async def __call__(self, talk: Talk) -> None:
        await talk.request()
        talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % LENGTH)
        try:
            for _ in range(LENGTH // 100_000):
                talk.say(b"x" * 100_000)
                self.said += 100_000
                await talk.writer.drain()
        except ConnectionError:
            self.left.set()


def test_a_limit_rings_for_a_file_that_its_client_does_not_read_and_its_server_is_left_at_once(tmp_path: Path) -> None:
    serve = File()

    async def main(ours: Before, server: Behind) -> None:
        request = FILE.replace(HOST, HOST + b"x-hangtight-total: 0.5\r\nx-hangtight-idle: 0.2\r\n")
        reader, writer = await ours.open(request, window=4096)
        await serve.left.wait()  # and not only with the patience for who reads nothing, which is longer than this test
        await until(lambda: not ours.gateway.state.exchanges)
        assert len(await reader.read()) < LENGTH
        writer.close()

    run(tmp_path, serve, main)


def test_a_client_that_is_cut_off_for_reading_nothing_of_a_file_leaves_its_server(tmp_path: Path) -> None:
    serve = File()

    async def main(ours: Before, server: Behind) -> None:
        _, writer = await ours.open(FILE, window=4096)
        await serve.left.wait()
        await until(lambda: not ours.gateway.state.exchanges)
        assert serve.said < LENGTH
        writer.close()

    run(tmp_path, serve, main, patience=0.3)


def test_a_file_that_is_read_slowly_is_whole_and_no_silence_of_its_server(tmp_path: Path) -> None:
    async def main(ours: Before, server: Behind) -> None:
        reader, writer = await ours.open(FILE, window=4096)
        await asyncio.sleep(2)
        reader._limit = 1_000_000  # type: ignore[attr-defined]
        assert len((await got(reader)).body) == LENGTH
        writer.close()

    run(tmp_path, File(), main, idle=1)


def test_chunks_and_json_of_the_helpers_are_what_they_seem() -> None:
    assert dechunked(chunk(b"a") + chunk(b"bc")) == dechunked_fast(chunk(b"a") + chunk(b"bc")) == b"abc"
    assert json.loads(piece("a")[6:])["choices"][0]["delta"] == {"content": "a"}
