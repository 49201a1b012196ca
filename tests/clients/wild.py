"""A server on loopback that does with each connection what a test's function does, and the words of each API."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.clients.kit import ANTHROPIC, OLLAMA, OPENAI
from tests.clients.peer import Asked, chat_chunk, sse

LONG = 8.0
"""Seconds after which it gives up what would go on for ever: a call that it holds ends all the same, far too late."""
PIECE = 64 * 1024
EVENTS, LINES, JSON = "text/event-stream", "application/x-ndjson", "application/json"


@dataclass
class Line:
    """One request, and the connection on which it is answered."""

    server: Wild
    connection: socket.socket
    asked: Asked

    @property
    def model(self) -> str:
        return str(json.loads(self.asked.body)["model"])

    def head(self, kind: str | None = EVENTS, status: str = "200 OK", **headers: str) -> None:
        """The head of an answer in chunks."""
        lines = [f"HTTP/1.1 {status}", "transfer-encoding: chunked"]
        lines += [f"content-type: {kind}"] if kind is not None else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode())

    def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))

    def end(self) -> None:
        self.connection.sendall(b"0\r\n\r\n")

    def whole(self, body: bytes = b"{}", status: str = "200 OK", kind: str = JSON, **headers: str) -> None:
        self.head(kind, status, **headers)
        self.say(body)
        self.end()

    def hold(self, seconds: float = LONG) -> None:
        """Nothing, for so long; at the end of the test no longer."""
        self.server.closed.wait(seconds)

    def repeat(self, piece: bytes) -> None:
        """This piece again and again, until the client is gone."""
        ends = time.monotonic() + LONG
        while time.monotonic() < ends and not self.server.closed.wait(0.01):
            self.say(piece)


class Wild:
    """An HTTP server on loopback whose answers are up to a function."""

    def __init__(self, behave: Callable[[Line], None], *, reads_bodies: bool = True, buffer: int = 0) -> None:
        self.asked: list[Asked] = []
        self.closed = threading.Event()
        self._behave = behave
        self._reads_bodies = reads_bodies
        self._listener = socket.socket()
        if buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="wild")]

    def __enter__(self) -> Wild:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._threads[0].join()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        self._listener.close()

    @property
    def models(self) -> list[str]:
        """Whom it was asked for, in turn."""
        return [json.loads(asked.body)["model"] for asked in self.asked if asked.method == "POST"]

    def _accept(self) -> None:
        while not self.closed.is_set():
            connection, peer = self._listener.accept()
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection, peer), name="wild"))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        with connection, suppress(OSError):
            for asked in self._requests(connection, peer):
                self.asked.append(asked)
                self._behave(Line(self, connection, asked))

    def _requests(self, connection: socket.socket, peer: tuple[str, int]) -> Iterator[Asked]:
        while not self.closed.is_set():
            data = b""
            while b"\r\n\r\n" not in data:
                if not (more := connection.recv(PIECE)):
                    return
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            while self._reads_bodies and len(body) < int(headers.get("content-length", 0)):
                body += connection.recv(PIECE)
            method, path, _ = first.split(" ")
            yield Asked(method, path, headers, body, peer, time.monotonic())


# -- what the APIs say ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """How one API says hello."""

    kind: str
    hello: tuple[bytes, ...]
    """The text of an answer."""
    ending: tuple[bytes, ...]
    """The finish reason and the end mark."""
    ping: bytes
    error: tuple[bytes, ...]
    whole: dict[str, Any] = field(default_factory=dict)
    """The same answer, unstreamed."""


def _named(*chunks: dict[str, Any]) -> tuple[bytes, ...]:
    return tuple(f"event: {chunk['type']}\ndata: {json.dumps(chunk)}\n\n".encode() for chunk in chunks)


def _lines(*chunks: dict[str, Any]) -> tuple[bytes, ...]:
    return tuple(json.dumps(chunk).encode() + b"\n" for chunk in chunks)


USAGE = {"input_tokens": 1, "output_tokens": 1}
MESSAGE: dict[str, Any] = {"id": "1", "type": "message", "role": "assistant", "model": "m", "usage": USAGE}
MESSAGE |= {"stop_sequence": None}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
FINISHED = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}

WORDS = {
    OPENAI: Words(
        EVENTS,
        sse(chat_chunk("hello")),
        sse(chat_chunk("", "stop"), "[DONE]"),
        b": ping\n\n",
        sse('{"error":{"message":"boom","code":500}}'),
        {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [CHOICE]},
    ),
    ANTHROPIC: Words(
        EVENTS,
        _named(
            {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
            {"type": "content_block_stop", "index": 0},
        ),
        _named(
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": USAGE},
            {"type": "message_stop"},
        ),
        _named({"type": "ping"})[0],
        _named({"type": "error", "error": {"type": "overloaded_error", "message": "boom"}}),
        {**MESSAGE, "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"},
    ),
    OLLAMA: Words(
        LINES,
        _lines({"model": "m", "message": {"role": "assistant", "content": "hello"}, "done": False}),
        _lines(FINISHED),
        _lines(FINISHED)[0],
        _lines({"error": "boom"}),
        {**FINISHED, "message": {"role": "assistant", "content": "hello"}},
    ),
}


def hello(line: Line, sdk: str = OPENAI) -> None:
    """A whole good answer."""
    words = WORDS[sdk]
    line.head(words.kind)
    line.say(*words.hello, *words.ending)
    line.end()
