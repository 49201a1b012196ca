"""A server that says what a gateway says, of a scene that no test could wait for: a crowd, a busy day.

It serves the real files of the page under the real policy. What it says has the shape of the gateway's own answers.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from hangtight.gateway.telling.flight import FIELDS
from hangtight.gateway.telling.ui import FOLDER, POLICY, TYPES

Members = dict[str, Any]
HEARTBEAT = 15.0  # seconds
PHASES = ("streaming", "thinking", "waiting", "loading", "queued")


def iso(ago: float = 0.0) -> str:
    return datetime.fromtimestamp(time.time() - ago, UTC).isoformat(timespec="milliseconds")


def row(name: str, model: str, phase: str, elapsed: float, **more: Any) -> Members:
    """One in flight, as a flight event tells of it."""
    return dict.fromkeys(FIELDS) | {
        "id": name, "model": model, "run": "", "step": "", "mode": "deep", "phase": phase, "elapsed": elapsed,
        "tokens": 0, "silence": 0.2, "in_contact": False, "limit": "idle", "rings_in": 45.0, "total": 120.0,
        "cancellable": True, **more,
    }  # fmt: skip


def crowd(size: int) -> Callable[[float], list[Members]]:
    """So many, each in some phase, all of them getting on."""

    def rows(since: float) -> list[Members]:
        told = []
        for number in range(size):
            phase = PHASES[(number + int(since / 3 + number / 7)) % len(PHASES)]
            silent = phase == "streaming" and number % 11 == 0
            told.append(
                row(
                    f"{number:012x}",
                    f"model-{number % 23}",
                    phase,
                    since + number % 97,
                    run=f"run-{number % 5}",
                    tokens=int(since * 20) + number,
                    silence=since % 40 if silent else 0.1,
                    rings_in=max(0.0, 45 - since % 40) if silent else 45.0,
                )
            )
        return told

    return rows


@dataclass
class Scene:
    """What is said. `rows` are those in flight, so many seconds after the beginning; `pages` the other answers."""

    rows: Callable[[float], list[Members]] = lambda since: []
    pages: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    told: tuple[tuple[str, Members], ...] = ()
    """Events besides, once."""
    before: float = 0.0
    """So many seconds are told at once, as if this listener had been there."""

    def page(self, path: str) -> Any:
        said = {
            "/hangtight/generations": {"generations": [], "finished": []},
            "/hangtight/receipt": {"words": "Today: no answer yet."},
            "/hangtight/models": {"models": []},
            "/hangtight/runs": {"runs": []},
            "/hangtight/training": {"cards": []},
            "/health": {"status": "ok", "version": "0", "models": {}},
            **self.pages,
        }
        return said.get(path)


class StandIn:
    """Serves a scene for the length of the block; `.url` is the page, `.asked` the requests that came."""

    def __init__(self, scene: Scene, port: int = 0) -> None:
        self.asked: list[str] = []
        self.is_silent = False
        """It holds the connections, and says nothing."""
        self.listening = 0
        self.began = time.monotonic()
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self, scene))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/ui/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def rest(self, seconds: float) -> None:
        self._over.wait(seconds)


class Handler(BaseHTTPRequestHandler):
    """Answers as the gateway would in this scene."""

    stand_in: StandIn
    scene: Scene

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.stand_in.asked.append(f"GET {self.path}")
        if path.startswith("/ui/"):
            self._file(path.removeprefix("/ui/") or "index.html")
        elif self.scene.key and self.headers.get("authorization") != f"Bearer {self.scene.key}":
            self._say(401, {"error": {"message": "a key is needed"}})
        elif path == "/hangtight/events":
            self._events()
        else:
            said = self.scene.page(path)
            self._say(404 if said is None else 200, said or {"error": {"message": f"nothing is known of {path}"}})

    def do_DELETE(self) -> None:
        self.stand_in.asked.append(f"DELETE {self.path}")
        self._say(200, {"id": self.path.rpartition("/")[2], "model": "m", "at_server": None})

    def _file(self, name: str) -> None:
        file = FOLDER / name
        self._say(200, file.read_bytes(), TYPES[file.suffix[1:]]) if file.is_file() else self._say(404, {})

    def _say(self, status: int, said: Any, kind: bytes = b"application/json") -> None:
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", kind.decode())
        self.send_header("content-length", str(len(body)))
        self.send_header("content-security-policy", POLICY.decode())
        self.end_headers()
        self.wfile.write(body)

    def _events(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.stand_in.listening += 1
        with suppress(OSError):  # it has left
            self._tell(self.scene)
        self.stand_in.listening -= 1
        self.close_connection = True

    def _tell(self, scene: Scene) -> None:
        beaten: dict[str, int] = {}
        since = time.monotonic() - self.stand_in.began
        for second in range(-int(self.scene.before), 0):
            self._flight(self.scene.rows(since + second), beaten)
        for name, said in self.scene.told:
            self._event(name, said)
        while not self.stand_in.is_over:
            if not self.stand_in.is_silent:
                self._flight(self.scene.rows(time.monotonic() - self.stand_in.began), beaten)
            self.stand_in.rest(0.5)

    def _flight(self, rows: list[Members], beaten: dict[str, int]) -> None:
        self._event("flight", {"at": 0, "fields": FIELDS, "rows": [[each[key] for key in FIELDS] for each in rows]})
        for each in rows:
            count = int(each["elapsed"] / HEARTBEAT)
            if self.scene.before and count > beaten.get(each["id"], 0):
                self._event("heartbeat", each)
            beaten[each["id"]] = count

    def _event(self, name: str, told: Members) -> None:
        self.wfile.write(f"event: {name}\ndata: {json.dumps(told)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - it overrides
        """Says nothing."""


def _handler(stand_in: StandIn, scene: Scene) -> type[Handler]:
    return type("HandlerOfThis", (Handler,), {"stand_in": stand_in, "scene": scene})
