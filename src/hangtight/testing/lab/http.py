"""As much of HTTP/1.1 as the lab needs, and full control over how an answer breaks off."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
"""Larger than any prompt a test sends; what is above would be a mistake or an attack."""

JSON = "application/json; charset=utf-8"
# an abortive close: unsent data is dropped and the peer gets a reset instead of an end
LINGER_NOT = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class HttpError(Exception):
    """A request that cannot be read; the connection is of no use after it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Request:
    """One whole request. `chunks` tells whether the client understands a chunked answer."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: str = ""
    body: bytes = b""
    keep: bool = True
    chunks: bool = True


class Reader(asyncio.StreamReader):
    """A stream reader that says at once when the client has left, also while nobody reads.

    A client that only closes its sending half counts as gone: no HTTP client does that and then waits for
    its answer.
    """

    def __init__(self) -> None:
        super().__init__(limit=MAX_HEAD)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request on this connection; None when the client has closed it, however far it got."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        line, headers = _head_of(head)
        method, target, version = line
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _read_body(reader, headers)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except asyncio.LimitOverrunError as wrong:
        raise HttpError(431, f"the head is longer than {MAX_HEAD} bytes") from wrong
    chunks = version == "HTTP/1.1"
    keep = chunks and headers.get("connection", "").lower() != "close"
    path, _, query = target.partition("?")
    return Request(method=method, path=path, query=query, headers=headers, body=body, keep=keep, chunks=chunks)


def _head_of(head: bytes) -> tuple[tuple[str, str, str], dict[str, str]]:
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise HttpError(400, f"not an HTTP/1.1 request line: {first!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise HttpError(400, f"not a header: {line!r}")
        headers[name.lower()] = value.strip()
    return (parts[0], parts[1], parts[2]), headers


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    length = headers.get("content-length", "0")
    return await reader.readexactly(_bounded(length, 10))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := _bounded((await reader.readuntil(b"\r\n")).split(b";")[0].strip().decode("latin-1"), 16):
        _bounded(str(len(body) + size), 10)
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers are of no interest
    return bytes(body)


def _bounded(digits: str, base: int) -> int:
    if not digits.isalnum() or len(digits) > 20:
        raise HttpError(400, f"not a length: {digits!r}")
    try:
        length = int(digits, base)
    except ValueError as wrong:
        raise HttpError(400, f"not a length: {digits!r}") from wrong
    if length > MAX_BODY:
        raise HttpError(413, f"the body is longer than {MAX_BODY} bytes")
    return length


class Reply:
    """The answer to one request: whole, in pieces, or broken off."""

    def __init__(self, writer: asyncio.StreamWriter, *, chunks: bool = True, keep: bool = True) -> None:
        self._writer = writer
        self._chunks = chunks
        self.keep = keep and chunks
        self.begun = False

    async def whole(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """An answer in one piece."""
        self.begun = True
        length = {"Content-Length": str(len(body)), "Content-Type": JSON}
        await self._write(self._head(status, length | dict(headers or {})) + body)

    async def begin(self, status: int, content_type: str) -> None:
        """The headers of an answer in pieces, and nothing else yet."""
        self.begun = True
        framing = {"Transfer-Encoding": "chunked"} if self._chunks else {}
        await self._write(self._head(status, {"Content-Type": content_type, "Cache-Control": "no-cache"} | framing))

    async def send(self, data: bytes) -> None:
        if data:  # an empty chunk would be the end
            await self._write(self._framed(data))

    async def end(self, data: bytes = b"") -> None:
        """The last piece and the end of the body, in one write: a client must not find one without the other."""
        await self._write((self._framed(data) if data else b"") + (b"0\r\n\r\n" if self._chunks else b""))

    def cut(self) -> None:
        """Close the connection where it is, in the middle of whatever was being sent."""
        self.keep = False
        self._writer.close()

    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        known = status in {known.value for known in HTTPStatus}
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase if known else 'Unknown'}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [] if self.keep else ["Connection: close"]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data) if self._chunks else data

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection the way a process that was killed does: the peer reads "connection reset"."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    writer.transport.abort()
