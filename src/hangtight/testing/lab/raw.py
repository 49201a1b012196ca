"""A client that sees the bytes, and can leave in the middle of them."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

PATIENCE = 10.0
"""The longest that a test waits for a byte; it bounds a failure, nothing is measured with it."""

READ_SIZE = 64 * 1024


class Raw:
    """One connection to a server. `seen` is every byte that came, framing and all."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port), PATIENCE)
        self.seen = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.leave()

    def ask(self, path: str, **body: Any) -> Self:
        """POST this as JSON."""
        data = json.dumps(body).encode()
        return self.send(
            b"POST %s HTTP/1.1\r\nHost: lab\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(data), data)
        )

    def get(self, path: str) -> Self:
        return self.send(b"GET %s HTTP/1.1\r\nHost: lab\r\n\r\n" % path.encode())

    def send(self, data: bytes) -> Self:
        self._socket.sendall(data)
        return self

    def finish_sending(self) -> None:
        """Close only the sending half, as a client does that has nothing more to say."""
        self._socket.shutdown(socket.SHUT_WR)

    def until(self, mark: bytes | Callable[[bytes], bool]) -> bytes:
        """Read until what was seen holds the mark; an EOFError when the server closes before that."""
        found = mark if callable(mark) else (lambda seen: mark in seen)
        while not found(self.seen):
            if not self._read():
                raise EOFError(f"the server closed after {self.seen[-200:]!r}")
        return self.seen

    def rest(self) -> bytes:
        """Read until the server closes the connection; a ConnectionResetError where it resets it."""
        while self._read():
            pass
        return self.seen

    def is_quiet(self) -> bool:
        """Whether there is nothing to be read at this moment, not even the end of the connection."""
        return not select.select([self._socket], [], [], 0)[0]

    def leave(self) -> None:
        self._socket.close()

    @property
    def status(self) -> int:
        """The status of the first answer."""
        return int(self.until(b"\r\n\r\n").split(b" ", 2)[1])

    @property
    def head(self) -> str:
        """The head of the first answer, in small letters."""
        return self.until(b"\r\n\r\n").partition(b"\r\n\r\n")[0].decode("latin-1").lower()

    @property
    def body(self) -> bytes:
        """What has come of the first answer's body, without framing; `is_whole` tells whether that is all."""
        return self._unframed()[0]

    @property
    def is_whole(self) -> bool:
        return self._unframed()[1]

    def whole(self) -> bytes:
        """Read to the end of the first answer's body, and return it."""
        self.until(lambda _: b"\r\n\r\n" in self.seen and self.is_whole)
        return self.body

    def _unframed(self) -> tuple[bytes, bool]:
        head, _, framed = self.seen.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
                return framed[:length], len(framed) >= length
        return unchunked(framed)

    def _read(self) -> bool:
        data = self._socket.recv(READ_SIZE)
        self.seen += data
        return bool(data)


def unchunked(framed: bytes) -> tuple[bytes, bool]:
    """The content of a chunked body as far as it came, and whether its end came too."""
    content = b""
    while b"\r\n" in framed:
        size, _, framed = framed.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return content, True
        content += framed[:length]
        framed = framed[length + 2 :]
    return content, False
