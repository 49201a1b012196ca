import asyncio
import contextlib
import itertools
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtight.drivers.http11 import (
    HEAD_LIMIT,
    Address,
    BodyTooLarge,
    BrokenBody,
    BrokenHead,
    ConnectFailed,
    HTTPError,
    Response,
    request,
)
from hangtight.testing.loop import JumpingLoop, jumping

CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Id: 1\r\nx-id: 2\r\n\r\n"
    b'5;name="a;b"\r\nhello\r\n7 \r\n, world\r\n0\r\nX-Trailer: t\r\n\r\n'
)
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nhello, world"


class Server:
    """Reads one request per connection, then sends exactly the given pieces, a virtual second apart."""

    def __init__(self, pieces: list[bytes], *, stays: bool = False) -> None:
        self.pieces = pieces
        self.stays = stays
        self.asked = b""
        self.left = asyncio.Event()
        self.url = ""
        self.reads_body = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.asked += await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", self.asked)
            if length and self.reads_body:
                self.asked += await reader.readexactly(int(length[1]))
            for piece in self.pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(1)
            if self.stays:
                assert await reader.read() == b""
        writer.transport.abort()
        self.left.set()


@contextlib.asynccontextmanager
async def serving(*pieces: bytes, stays: bool = False, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(list(pieces), stays=stays)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1?a=b"
    try:
        yield server
        async with asyncio.timeout(600):
            await server.left.wait()
    finally:
        listening.close()
        await listening.wait_closed()


async def ask(*pieces: bytes, method: str = "GET", stays: bool = False) -> tuple[Response, bytes]:
    async with serving(*pieces, stays=stays) as server, request(method, server.url) as response:
        return response, await response.read()


async def failing(expected: type[HTTPError], *pieces: bytes) -> str:
    async with serving(*pieces) as server:
        with pytest.raises(expected) as caught:
            async with request("GET", server.url) as response:
                await response.read()
        assert server.url.split("/")[2] in str(caught.value)
        return str(caught.value)


@pytest.mark.parametrize("answer", [CHUNKED, COUNTED, UNTIL_CLOSE, CHUNKED.replace(b"\r\n", b"\n")])
def test_an_answer_is_understood_byte_by_byte(answer: bytes) -> None:
    response, body = jumping(ask(*(bytes([byte]) for byte in answer)))
    assert (response.status, response.reason, body) == (200, "OK", b"hello, world")


@pytest.mark.parametrize("answer", [CHUNKED, COUNTED, UNTIL_CLOSE])
def test_an_answer_is_understood_however_it_is_cut_in_two(answer: bytes) -> None:
    async def scenario() -> None:
        for cut in range(1, len(answer)):
            assert (await ask(answer[:cut], answer[cut:]))[1] == b"hello, world"

    jumping(scenario())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.data())
def test_any_body_in_any_chunks_in_any_pieces_arrives_as_it_is(chunks: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n" + sent
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=5)) | {0, len(whole)})
    pieces = [whole[a:b] for a, b in itertools.pairwise(cuts)]
    assert jumping(ask(*pieces))[1] == b"".join(chunks)


@pytest.mark.parametrize(
    ("head", "pieces"),
    [
        (b"Transfer-Encoding: chunked", [b"3\r\none", b"\r\n3\r\ntw", b"o\r\n0\r\n\r\n"]),
        (b"Content-Length: 5", [b"on", b"e", b"tw"]),
        (b"Server: x", [b"on", b"e", b"tw"]),
    ],
)
def test_pieces_are_handed_out_at_the_instant_at_which_they_arrive(head: bytes, pieces: list[bytes]) -> None:
    async def scenario() -> list[float]:
        start = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n"
        async with serving(start, *pieces) as server, request("GET", server.url) as response:
            return [JumpingLoop.here().time() async for _ in response]

    assert jumping(scenario()) == [1.0, 2.0, 3.0]


def test_a_chunked_body_is_complete_with_its_last_chunk_even_if_the_trailers_never_come() -> None:
    cut = CHUNKED.removesuffix(b"X-Trailer: t\r\n\r\n")
    assert jumping(ask(cut, stays=True))[1] == b"hello, world"


@pytest.mark.parametrize("answer", [CHUNKED, COUNTED])
def test_a_complete_body_does_not_wait_for_the_server_to_leave(answer: bytes) -> None:
    assert jumping(ask(answer, stays=True))[1] == b"hello, world"


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304\r\nContent-Length: 12\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0, 0\r\n\r\n"),
    ],
)
def test_answers_without_a_body_end_at_once(method: str, head: bytes) -> None:
    assert jumping(ask(head, method=method, stays=True))[1] == b""


def test_headers_are_found_in_any_case_joined_and_unfolded() -> None:
    head = (
        b"HTTP/1.1 503 Not \xe9 now\r\nX-One: a\r\nx-ONE:b \r\nFolded: a\r\n\t b\r\nEmpty:\r\nContent-Length: 0\r\n\r\n"
    )
    response, _ = jumping(ask(head))
    assert (response.status, response.reason) == (503, "Not é now")
    assert dict(response.headers) == {"x-one": "a, b", "folded": "a b", "empty": "", "content-length": "0"}
    assert response.headers["X-oNe"] == "a, b"
    assert response.headers.get("missing") is None


@pytest.mark.parametrize("answer", [CHUNKED, COUNTED])
def test_a_cut_at_any_byte_is_an_error_and_never_a_shorter_answer(answer: bytes) -> None:
    end = answer.index(b"\r\n0\r\n") + 5 if b"chunked" in answer else len(answer)
    head = answer.rindex(b"\r\n\r\n", 0, end) + 4

    async def scenario() -> None:
        for cut in range(end - (answer is CHUNKED)):
            await failing(BrokenHead if cut < head else BrokenBody, answer[:cut])

    jumping(scenario())


def test_what_is_missing_is_said() -> None:
    assert "12 bytes were announced, 4 came" in jumping(failing(BrokenBody, COUNTED[:-8]))


BAD_STARTS = [b"SSH-2.0-OpenSSH_9.6", b"", b"HTTP/2 200 OK", b"HTTP/1.1 99 Low", b"HTTP/1.1 101 Switching"]
BAD_FIELDS = [b"no colon", b"space : x", b"nul: a\0b", b"Content-Length: -1", b"Content-Length: 5, 6"]
BAD_FIELDS += [b"Transfer-Encoding: gzip, chunked", b"long: " + b"x" * HEAD_LIMIT, b"many: x\r\n" * (HEAD_LIMIT // 9)]


@pytest.mark.parametrize("line", [*BAD_STARTS, *BAD_FIELDS], ids=lambda line: repr(line[:40]))
def test_a_bad_head_is_an_error(line: bytes) -> None:
    jumping(failing(BrokenHead, (line if line in BAD_STARTS else b"HTTP/1.1 200 OK\r\n" + line) + b"\r\n\r\n"))


BAD_CHUNKS = [b"zz\r\n", b"-1\r\n", b"0x5\r\nhello", b"\r\n", b"5\r\nhelloworld\r\n"]
BAD_CHUNKS += [b"1" * 17 + b"\r\n", b"1" * HEAD_LIMIT]


@pytest.mark.parametrize("body", BAD_CHUNKS, ids=lambda body: repr(body[:40]))
def test_nonsense_between_chunks_is_an_error(body: bytes) -> None:
    jumping(failing(BrokenBody, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body))


def test_the_body_is_larger_than_the_reader_wants() -> None:
    async def scenario() -> None:
        async with serving(COUNTED) as server, request("GET", server.url) as response:
            with pytest.raises(BodyTooLarge, match="11"):
                await response.read(limit=11)

    jumping(scenario())


def test_the_request_is_sent_with_our_framing_and_the_callers_headers() -> None:
    async def scenario() -> list[str]:
        async with serving(COUNTED) as server:
            headers = {"authorization": "Bearer k", "ACCEPT": "text/event-stream"}
            async with request("POST", server.url, headers=headers, body=b"\r\n\0") as response:
                await response.read()
            assert server.asked.endswith(b"\r\n\r\n\r\n\0")
            return sorted(server.asked.decode().replace(server.url.split("/")[2], "HOST").split("\r\n")[:-3])

    assert jumping(scenario()) == [
        "ACCEPT: text/event-stream",
        "POST /v1?a=b HTTP/1.1",
        "accept-encoding: identity",
        "authorization: Bearer k",
        "connection: close",
        "content-length: 3",
        "host: HOST",
    ]


@pytest.mark.parametrize(
    ("url", "address", "host_header"),
    [
        ("http://Example.com", (False, "example.com", 80, "/"), "example.com"),
        ("HTTPS://example.com:443/a?b=c#d", (True, "example.com", 443, "/a?b=c"), "example.com"),
        ("https://example.com:80?x", (True, "example.com", 80, "/?x"), "example.com:80"),
        ("http://[::1]:8080/a%20b//c", (False, "::1", 8080, "/a%20b//c"), "[::1]:8080"),
        ("http://[::1]", (False, "::1", 80, "/"), "[::1]"),
        ("http://bücher.de/ü", (False, "xn--bcher-kva.de", 80, "/%C3%BC"), "xn--bcher-kva.de"),
    ],
)
def test_addresses_are_taken_apart(url: str, address: tuple[bool, str, int, str], host_header: str) -> None:
    assert Address.parse(url) == address
    assert Address.parse(url).host_header == host_header


BAD_URLS = "ftp://x localhost:11434 x/y http:// http:///a http://u:secret@x http://x:port http://x:70000 http://[::1 http://a..b"
BAD_ENDS = [" b", "\r\nEvil: 1", "\n", "\x7f", "\0", "\t"]


@pytest.mark.parametrize("url", [*BAD_URLS.split(), *("http://x/" + end for end in BAD_ENDS)])
def test_bad_addresses_are_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        request("GET", url)
    assert "secret" not in str(caught.value)


BAD_VALUES = ["a\r\nEvil: secret", "a\nsecret", "a\rsecret", "\0secret", "\N{SNOWMAN}secret"]
BAD_NAMES = ["x\r\nEvil", "", "a b", "ü", "Content-Length", "transfer-encoding", "Connection"]


@pytest.mark.parametrize(
    ("method", "headers"),
    [(method, {}) for method in ("", "GET /", "GET\r\nEvil: 1", "CONNECT")]
    + [("GET", {"x": value}) for value in BAD_VALUES]
    + [("GET", {name: "1"}) for name in BAD_NAMES],
)
def test_nobody_smuggles_another_header_or_request(method: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        request(method, "http://x", headers=headers)
    assert "secret" not in str(caught.value)


async def start_and_leave(url: str, how: str) -> None:
    async with request("GET", url) as response:
        if how == "error":
            raise LookupError
        async for _ in response:
            if how == "break":
                return
            await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("how", ["break", "error", "cancel while reading", "cancel while waiting for the head"])
def test_leaving_early_closes_the_socket_at_once_and_leaves_nothing(how: str) -> None:
    async def scenario() -> None:
        head = b"" if "head" in how else b"HTTP/1.1 200 OK\r\n\r\npiece"
        async with serving(head, stays=True) as server:
            task = asyncio.create_task(start_and_leave(server.url, how))
            await asyncio.sleep(10)
            task.cancel()
            [error] = await asyncio.gather(task, return_exceptions=True)
            assert type(error) is {"break": type(None), "error": LookupError}.get(how, asyncio.CancelledError)
            await server.left.wait()
            assert JumpingLoop.here().time() == 10.0

    jumping(scenario())


@pytest.mark.parametrize("answer", [CHUNKED, COUNTED])
def test_a_reader_whose_patience_ends_again_and_again_loses_nothing(answer: bytes) -> None:
    async def scenario() -> None:
        body, head = b"", answer.index(b"\r\n\r\n", 30) + 4
        pieces = [answer[:head], *(bytes([byte]) for byte in answer[head:])]
        async with serving(*pieces) as server, request("GET", server.url) as response:
            while len(body) < 12:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.4):
                        body += await anext(response)
            with pytest.raises(StopAsyncIteration):
                await anext(response)
        assert body == b"hello, world"

    jumping(scenario())


def test_a_response_is_not_read_after_its_block() -> None:
    async def scenario() -> None:
        response, _ = await ask(UNTIL_CLOSE)
        with pytest.raises(RuntimeError):
            await anext(response)

    jumping(scenario())


def test_a_server_may_answer_without_reading_a_large_body() -> None:
    async def scenario() -> int:
        async with serving(COUNTED.replace(b"200 OK", b"413 Too Large")) as server:
            server.reads_body = False
            async with request("POST", server.url, body=b"x" * 50_000_000) as response:
                assert await response.read() == b"hello, world"
                return response.status

    assert jumping(scenario()) == 413


@pytest.mark.parametrize(("sent", "expected"), [(b"", BrokenHead), (COUNTED[:-1], BrokenBody)])
def test_a_reset_connection_is_told_by_where_it_broke(sent: bytes, expected: type[HTTPError]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await asyncio.sleep(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async def scenario() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            with pytest.raises(expected, match=r"127\.0\.0\.1:\d+: the connection broke"):
                async with request("GET", "http://{}:{}".format(*server.sockets[0].getsockname())) as response:
                    await response.read()

    jumping(scenario())


def test_a_refused_connection_names_host_and_port() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(ConnectFailed, match=rf"127\.0\.0\.1:{port}"):
            await start_and_leave(f"http://127.0.0.1:{port}", "refused")

    jumping(scenario())


def test_the_time_limit_for_connecting_covers_tls_and_an_outer_one_keeps_its_name() -> None:
    async def connect(url: str, seconds: float | None) -> None:
        async with request("GET", url, connect_timeout=seconds):
            pass

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"https://127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(ConnectFailed, match="timed out after 5"):
                await connect(url, 5)
            assert JumpingLoop.here().time() == 5.0
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await connect(url, 5)

    jumping(scenario())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_https_checks_the_certificate(tmp_path: Path) -> None:
    key, crt = str(tmp_path / "key.pem"), str(tmp_path / "crt.pem")
    make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", key, "-out", crt], check=True, capture_output=True)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(crt, key)

    async def scenario() -> None:
        async with serving(CHUNKED, tls=theirs) as server:
            with pytest.raises(ConnectFailed, match="certificate"):
                await start_and_leave(server.url, "untrusted")
            async with request("GET", server.url, tls=ssl.create_default_context(cafile=crt)) as response:
                assert await response.read() == b"hello, world"

    jumping(scenario())
