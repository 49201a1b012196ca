"""A small HTTP/1.1 client for the library's own use: one request per connection, body bytes as soon as they arrive.

It has no clock of its own beside the one for connecting; whoever reads decides how long. What it leaves out, on
purpose: redirects, compression (it asks for `identity`), kept connections, proxies, cookies.

    HTTPError                 also OSError
    |- ConnectFailed          no connection: name look-up, TCP, TLS, or the time limit for all three
    |- BrokenHead             no answer, or one whose head is not HTTP/1.x that we understand
    |- BrokenBody             the body ended before its end, or its framing is nonsense
    `- BodyTooLarge           `read()` met more than it was allowed to keep

A mistake of the caller (a bad address, a line break in a header) is a ValueError before anything is sent.
"""

import asyncio
import re
import ssl
import string
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import cache
from typing import NamedTuple, Protocol, Self
from urllib.parse import quote, urlsplit

HEAD_LIMIT = 64 * 1024  # of one head, and of one line between two chunks; nginx and h11 allow about a quarter of it
PIECE_LIMIT = 64 * 1024  # of one piece of the body: what a StreamReader keeps before it stops reading
READ_LIMIT = 16 * 1024 * 1024  # of a body that is wanted whole: many times the longest answer of a model

DEFAULT_PORTS = {"http": 80, "https": 443}
OURS = frozenset({"connection", "content-length", "transfer-encoding"})  # who sets these by hand breaks the framing

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: (.*))?")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\0\r]*)")
CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(?:;.*)?")


class HTTPError(OSError):
    """The exchange failed; the message names the server."""


class ConnectFailed(HTTPError):
    """There is no connection."""


class BrokenHead(HTTPError):
    """The connection ended before the answer's head did, or the head is nonsense."""


class BrokenBody(HTTPError):
    """The body ended before its end; what came until then was handed out."""


class BodyTooLarge(HTTPError):
    """There is more than the caller wants to keep."""


class Headers(Mapping[str, str]):
    """Names in any case; fields that came more than once are joined by a comma."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: dict[str, str] = {}
        for name, value in fields:
            known = self._fields.get(name.lower())
            self._fields[name.lower()] = value if known is None else f"{known}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({list(self._fields)})"  # values may be secrets


class Address(NamedTuple):
    """Where a URL points, taken apart and checked."""

    tls: bool
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises ValueError that says what is wrong, without repeating what may be a password."""
        # Before urlsplit, which drops line breaks without a word.
        if any(char <= " " or char == "\x7f" for char in url):
            raise ValueError("a URL holds no spaces, line breaks or control characters")
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS:
            raise ValueError(f"the scheme of a URL is http or https, not {parts.scheme!r}")
        if "@" in parts.netloc:
            raise ValueError("a URL holds no user name or password; send an Authorization header instead")
        if not parts.hostname:
            raise ValueError(f"no host in the URL {url!r}")
        port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
        target = quote(parts.path or "/", safe=string.punctuation)
        query = f"?{quote(parts.query, safe=string.punctuation)}" if parts.query else ""
        return cls(parts.scheme == "https", _ascii(parts.hostname), port, target + query)

    @property
    def authority(self) -> str:
        """Host and port as they are written in messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def host_header(self) -> str:
        """Host and, where it is not the default one, port."""
        default = DEFAULT_PORTS["https" if self.tls else "http"]
        return self.authority.removesuffix(f":{default}") if self.port == default else self.authority


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    connect_timeout: float | None = None,
    tls: ssl.SSLContext | None = None,
) -> AbstractAsyncContextManager["Response"]:
    """Send one request: `async with request(...) as response`, where the head has arrived and the body has not.

    The connection lives as long as the block; leaving it early, by an error or by cancellation, closes the socket at
    once. `connect_timeout` covers name look-up, TCP and TLS; None is no limit. `tls` stands in for the system's trust.
    """
    address = Address.parse(url)
    return _exchange(address, method, _message(address, method, headers or {}, body), connect_timeout, tls)


class Response:
    """An answer whose body is still arriving; `async for piece in response` waits for the next bytes, never for more.

    A reader that was cancelled while it waited loses nothing: the next one gets the piece.
    """

    def __init__(self, status: int, reason: str, headers: Headers, body: "Body", server: str) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self._body = body
        self._server = server
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._closed:
            raise RuntimeError("a response is read inside of its own `async with` block")
        try:
            piece = await self._body.piece()
        except BrokenBody as broken:
            raise BrokenBody(f"{self._server}: {broken}") from broken.__cause__
        except OSError as error:
            raise BrokenBody(f"{self._server}: the connection broke while its answer arrived: {error}") from error
        if not piece:
            raise StopAsyncIteration
        return piece

    async def read(self, limit: int = READ_LIMIT) -> bytes:
        """The rest of the body; more than `limit` bytes raise BodyTooLarge."""
        kept = bytearray()
        async for piece in self:
            kept += piece
            if len(kept) > limit:
                raise BodyTooLarge(f"{self._server}: the body is larger than {limit} bytes")
        return bytes(kept)


class Body(Protocol):
    """One way to tell where a body ends."""

    async def piece(self) -> bytes:
        """The next bytes, as soon as there are any; empty once the body is complete."""


class Counted:
    """Content-Length, or no body at all, which is a length of zero."""

    def __init__(self, reader: asyncio.StreamReader, length: int) -> None:
        self._reader = reader
        self._length = length
        self._left = length

    async def piece(self) -> bytes:
        if not self._left:
            return b""
        piece = await self._reader.read(min(self._left, PIECE_LIMIT))
        if not piece:
            raise BrokenBody(f"{self._length} bytes were announced, {self._length - self._left} came")
        self._left -= len(piece)
        return piece


class UntilClose:
    """Neither a length nor chunks: the end is where the connection ends, and a cut cannot be told from it."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def piece(self) -> bytes:
        return await self._reader.read(PIECE_LIMIT)


class Chunked:
    """Transfer-Encoding: chunked. Every await leaves a state from which a later call goes on."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._left = 0
        self._after_data = False
        self._done = False
        self._came = 0

    async def piece(self) -> bytes:
        if not self._left and not self._done:
            await self._next_chunk()
        # After the empty chunk the body is complete: whoever waited for the trailers too, which nobody reads, would
        # lose a whole answer to a server that hangs there.
        if self._done:
            return b""
        piece = await self._reader.read(min(self._left, PIECE_LIMIT))
        if not piece:
            raise BrokenBody(f"cut inside of a chunk that has {self._left} bytes more, {self._came} came in all")
        self._left -= len(piece)
        self._came += len(piece)
        self._after_data = not self._left
        return piece

    async def _next_chunk(self) -> None:
        # Only now: the bytes of a chunk are handed out before the line break behind them has arrived.
        if self._after_data:
            if line := await self._line():
                raise BrokenBody(f"a chunk is longer than announced, it goes on with {line[:40]!r}")
            self._after_data = False
        line = await self._line()
        size = CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise BrokenBody(f"expected the size of a chunk, got {line[:40]!r}")
        self._left = int(size[1], 16)
        self._done = not self._left

    async def _line(self) -> bytes:
        try:
            return _stripped(await self._reader.readuntil(b"\n"))
        except asyncio.IncompleteReadError as error:
            raise BrokenBody(f"cut before the last chunk, {self._came} bytes came in all") from error
        except asyncio.LimitOverrunError as error:
            raise BrokenBody(f"the line before a chunk is larger than {HEAD_LIMIT} bytes") from error


@asynccontextmanager
async def _exchange(
    address: Address, method: str, message: bytes, connect_timeout: float | None, tls: ssl.SSLContext | None
) -> AsyncIterator[Response]:
    reader, writer = await _connect(address, connect_timeout, tls)
    response = None
    try:
        # Without drain: a server may answer (413, 401) without reading all of a body, which is in memory anyway.
        writer.write(message)
        response = await _answer(reader, method, address.authority)
        yield response
    finally:
        if response is not None:
            response._closed = True
        # abort, not close: that one would first send what is left of the request, and wait for TLS to say goodbye.
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def _connect(
    address: Address, seconds: float | None, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = (tls or _system_tls()) if address.tls else None
    try:
        async with asyncio.timeout(seconds) as limit:
            return await asyncio.open_connection(address.host, address.port, ssl=context, limit=HEAD_LIMIT)
    except OSError as error:
        why = f"connecting timed out after {seconds}s" if limit.expired() else str(error) or type(error).__name__
        raise ConnectFailed(f"no connection to {address.authority}: {why}") from error


@cache
def _system_tls() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads hundreds of certificates: once


def _message(address: Address, method: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """The whole request; refuses what would become another header or another request."""
    if not TOKEN.fullmatch(method) or method.upper() == "CONNECT":
        raise ValueError(f"not a method: {method!r}")
    for name, value in headers.items():
        if not TOKEN.fullmatch(name) or name.lower() in OURS:
            raise ValueError(f"not a header to set: {name!r}")
        if any(char in value for char in "\r\n\0"):
            raise ValueError(f"a line break or NUL in the value of the header {name!r}")  # the value may be a secret
    fields = Headers([("Host", address.host_header), ("Accept-Encoding", "identity"), ("Accept", "*/*")])
    given = {name.lower() for name in headers}
    lines = {name: value for name, value in fields.items() if name not in given} | {**headers, "connection": "close"}
    if body is not None:
        lines["content-length"] = str(len(body))
    text = "\r\n".join([f"{method} {address.target} HTTP/1.1", *(f"{n}: {v}" for n, v in lines.items()), "", ""])
    try:
        return text.encode("latin-1") + (body or b"")
    except UnicodeEncodeError:
        raise ValueError("a header holds characters outside of latin-1") from None


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")  # what getaddrinfo does too, with worse messages
    except UnicodeError as error:
        raise ValueError(f"not the name of a host: {host!r}") from error


async def _answer(reader: asyncio.StreamReader, method: str, server: str) -> Response:
    """The head of the final answer; informational ones before it are skipped."""
    try:
        status, reason, headers = await _head(reader)
        while status < 200 and status != 101:
            status, reason, headers = await _head(reader)
        if status == 101:
            raise BrokenHead("switches to another protocol, which nobody asked for")
        return Response(status, reason, headers, _framing(reader, method, status, headers), server)
    except BrokenHead as broken:
        raise BrokenHead(f"{server}: {broken}") from broken.__cause__
    except OSError as error:
        raise BrokenHead(
            f"{server}: the connection broke before the head of the answer was complete: {error}"
        ) from error


async def _head(reader: asyncio.StreamReader) -> tuple[int, str, Headers]:
    lines = await _head_lines(reader)
    status = STATUS_LINE.fullmatch(lines[0])
    if status is None:
        raise BrokenHead(f"expected the first line of an HTTP/1.x answer, got {lines[0][:80]!r}")
    fields = [FIELD.fullmatch(line) for line in lines[1:]]
    for line, field in zip(lines[1:], fields, strict=True):
        if field is None:
            raise BrokenHead(f"expected a header, got {line[:80]!r}")
    pairs = [(field[1].decode("latin-1"), field[2].decode("latin-1").rstrip(" \t")) for field in fields if field]
    return int(status[1]), (status[2] or b"").decode("latin-1"), Headers(pairs)


async def _head_lines(reader: asyncio.StreamReader) -> list[bytes]:
    """Up to the empty line; a line that begins with a space continues the one before it."""
    lines: list[bytes] = []
    size = 0
    try:
        while True:
            raw = await reader.readuntil(b"\n")
            size += len(raw)
            if size > HEAD_LIMIT:
                raise BrokenHead(f"the head of the answer is larger than {HEAD_LIMIT} bytes")
            line = _stripped(raw)
            if not line and lines:
                return lines
            if len(lines) > 1 and line[:1] in {b" ", b"\t"}:
                lines[-1] += b" " + line.strip(b" \t")
            else:
                lines.append(line)
    except asyncio.LimitOverrunError as error:
        raise BrokenHead(f"the head of the answer is larger than {HEAD_LIMIT} bytes") from error
    except asyncio.IncompleteReadError as error:
        size += len(error.partial)
        came = f"after {size} bytes of the answer's head" if size else "without an answer"
        raise BrokenHead(f"closed the connection {came}") from error


def _framing(reader: asyncio.StreamReader, method: str, status: int, headers: Headers) -> Body:
    """Where the body ends (RFC 9112, section 6.3)."""
    if method.upper() == "HEAD" or status in {204, 304}:
        return Counted(reader, 0)
    coding = headers.get("transfer-encoding", "").lower()
    if coding == "chunked":
        return Chunked(reader)
    if coding:
        raise BrokenHead(f"sends its body as {coding!r}, which nobody asked for")
    lengths = {part.strip() for part in headers.get("content-length", "").split(",")} - {""}
    if not lengths:
        return UntilClose(reader)
    length = lengths.pop()
    if lengths or not length.isascii() or not length.isdigit():
        raise BrokenHead(f"announces a body of {headers['content-length'][:80]!r} bytes")
    return Counted(reader, int(length))


def _stripped(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")
