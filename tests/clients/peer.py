"""An HTTP server on loopback that says what a test wants, and keeps what it was asked."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: tuple[str, int]
    at: float


@dataclass(frozen=True)
class Said:
    """One answer: a whole body, or pieces that are sent one by one, each in its own chunk."""

    body: bytes = b""
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    pieces: tuple[bytes, ...] = ()
    after: float = 0.0
    """Seconds before it is said; less where the peer is closed."""


def sse(*data: str) -> tuple[bytes, ...]:
    return tuple(f"data: {one}\n\n".encode() for one in data)


def chat_chunk(text: str, finish: str | None = None) -> str:
    ending = f'"{finish}"' if finish else "null"
    return (
        '{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
        f'"delta":{{"role":"assistant","content":"{text}"}},"finish_reason":{ending}}}]}}'
    )


HELLO = Said(
    kind="text/event-stream", pieces=sse(chat_chunk("hel"), chat_chunk("lo"), chat_chunk("", "stop"), "[DONE]")
)


class Peer:
    """An HTTP server on loopback that answers each request with the next of what it was given; the last one stays."""

    def __init__(self, *answers: Said) -> None:
        self.asked: list[Asked] = []
        self.answers = list(answers)
        self.closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="peer")
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self) -> Said:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Speaking(BaseHTTPRequestHandler):
    """Reads whole requests, and says what it is told to."""

    protocol_version = "HTTP/1.1"
    timeout = 2.0

    def read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def say(self, said: Said) -> None:
        self.send_response(said.status)
        self.send_header("content-type", said.kind)
        for name, value in said.headers.items():
            self.send_header(name, value)
        if not said.pieces:
            self.send_header("content-length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body)
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in said.pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server has
        """A test says nothing."""


def _handler(peer: Peer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Speaking):
        def handle_any(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(
                self.command, self.path, headers, self.read_body(headers), self.client_address, time.monotonic()
            )
            peer.asked.append(asked)
            said = peer.answer()
            if said.after and peer.closed.wait(said.after):
                self.close_connection = True
                return
            try:
                self.say(said)
            except ConnectionError:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

    return Handler
