"""What a stream of a client library tells about itself before its first chunk: model, host, socket."""

from __future__ import annotations

import json
import socket
import sys
from types import GeneratorType
from typing import Any

OLLAMA = "ollama"
READS_FOR_OTHERS = ("socket", "ssl")  # a thread that stands in these was called by whoever knows the socket


class Origin:
    """Where a stream comes from, as far as it can be told."""

    __slots__ = ("host", "is_ollama", "model", "response", "socket")

    def __init__(self, source: object) -> None:
        self.response: Any = getattr(source, "response", None)
        self.model: str | None = None
        self.host: str = ""
        self.socket: socket.socket | None = None
        self.is_ollama = False
        if self.response is not None and hasattr(self.response, "extensions"):
            self._read_response()
        elif isinstance(source, GeneratorType):
            self._read_ollama(source)

    def _read_response(self) -> None:
        """An open stream of an SDK on httpx or httpx2: `stream.response` is public in all of them."""
        request = getattr(self.response, "request", None)
        url = getattr(request, "url", None)
        self.host = f"{getattr(url, 'host', '')}:{getattr(url, 'port', '')}"
        self.model = _model_in(getattr(request, "_content", None))
        network = self.response.extensions.get("network_stream")
        shared = self.response.extensions.get("http_version") == b"HTTP/2"
        if network is not None and not shared and hasattr(network, "get_extra_info"):
            found = network.get_extra_info("socket")
            self.socket = found if isinstance(found, socket.socket) else None

    def _read_ollama(self, source: GeneratorType[Any, Any, Any]) -> None:
        """ollama's client hands out a generator that has not even sent its request."""
        frame = source.gi_frame
        if frame is None or frame.f_globals.get("__name__", "").partition(".")[0] != OLLAMA:
            return
        told = frame.f_locals
        client = getattr(told.get("self"), "_client", None)
        self.host = str(getattr(client, "base_url", ""))
        self.model = _as_name(told.get("kwargs", {}).get("json", {}).get("model"))
        transport = type(getattr(client, "_transport", None))
        self.is_ollama = f"{transport.__module__}.{transport.__qualname__}".startswith("httpx._transports.default.HTTP")

    @property
    def reads_a_socket(self) -> bool:
        """The caller's own thread can read this source: a watchdog knows how to wake it."""
        return self.socket is not None or self.is_ollama


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
    """The socket in which this thread is blocked: the one that the function it stands in right now knows.

    Functions further out may know sockets too, but nothing says that they are read at this moment.
    """
    frame = sys._current_frames().get(thread)
    while frame is not None:
        for value in list(frame.f_locals.values()):
            found = value if isinstance(value, socket.socket) else getattr(value, "_sock", None)
            if isinstance(found, socket.socket):
                return found
        if frame.f_globals.get("__name__") not in READS_FOR_OTHERS:
            return None
        frame = frame.f_back
    return None


def shut(sock: socket.socket) -> bool:
    """Wake whoever reads this socket: closing it would not, and an SSL object must not be touched from outside."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return False
    return True
