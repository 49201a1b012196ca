"""What a stream of a client library tells about itself before its first chunk: model, host, socket."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

EXTENSION = "hangtight"
"""Under this name a response that came through a client of ours carries its session."""
READERS = ("socket", "ssl", "httpcore", "httpcore2")
"""The modules that stand innermost in a thread that is blocked in reading a socket."""


class Origin:
    """Where a stream comes from, as far as it can be told."""

    __slots__ = ("host", "model", "response", "session", "socket")

    def __init__(self, source: object) -> None:
        self.response: Any = getattr(source, "response", None)
        self.model: str | None = None
        self.host: str = ""
        self.socket: socket.socket | None = None
        self.session: Any = None
        """Of a client of ours, which keeps the clocks of this stream already."""
        if self.response is not None and hasattr(self.response, "extensions"):
            self._read_response()

    def _read_response(self) -> None:
        """An open stream of an SDK on httpx or httpx2: `stream.response` is public in all of them."""
        request = getattr(self.response, "request", None)
        url = getattr(request, "url", None)
        self.host = f"{getattr(url, 'host', '')}:{getattr(url, 'port', '')}"
        self.model = _model_in(getattr(request, "_content", None))
        self.session = self.response.extensions.get(EXTENSION)
        network = self.response.extensions.get("network_stream")
        shared = self.response.extensions.get("http_version") == b"HTTP/2"
        if network is not None and not shared and hasattr(network, "get_extra_info"):
            found = network.get_extra_info("socket")
            self.socket = found if isinstance(found, socket.socket) else None

    @property
    def reads_a_socket(self) -> bool:
        """The caller's own thread can read this source: a watchdog knows how to wake it."""
        return self.socket is not None


def _model_in(body: object) -> str | None:
    if not isinstance(body, bytes):
        return None
    try:
        asked = json.loads(body)
    except ValueError:
        return None
    return _as_name(asked.get("model")) if isinstance(asked, dict) else None


def _as_name(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def socket_read_by(thread: int) -> socket.socket | None:
    """The socket that this thread is blocked in reading, if that can be told for certain and it is nobody else's too.

    Only the frames of the libraries that read sockets are asked: a socket that other code merely knows may be
    anybody's. A connection of HTTP/2 carries the streams of others.
    """
    frame = sys._current_frames().get(thread)
    if frame is None or _library(frame) not in READERS:
        return None
    found = None
    while frame is not None:
        if ".http2" in frame.f_globals.get("__name__", ""):
            return None
        if found is None and _library(frame) in READERS:
            found = _socket_in(frame.f_locals)
        frame = frame.f_back
    return found


def _library(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]


def _socket_in(told: Mapping[str, Any]) -> socket.socket | None:
    reader = told.get("self", told.get("sock"))
    found = reader if isinstance(reader, socket.socket) else getattr(reader, "_sock", None)
    return found if isinstance(found, socket.socket) else None


def shut(sock: socket.socket) -> bool:
    """Wake whoever reads this socket: closing it would not, and an SSL object must not be touched from outside."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return False
    return True
