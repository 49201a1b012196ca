"""Those who watch a gateway in a test: a request that stays open, and a listener at /hangtight/events."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.gateway.kit import PATIENCE, Served


class Asked:
    """A streamed chat in a thread of its own, open until its answer ends or the block does."""

    def __init__(self, served: Served, model: str, **headers: str) -> None:
        where = urlsplit(served.url)
        self.model = model
        self.id = ""
        self.status = 0
        self.body = b""
        self._sock: socket.socket | None = None
        self._connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)
        self._sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self._asked = {"model": model, "stream": True, "messages": [{"role": "user", "content": "a secret prompt"}]}
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.leave()
        self._thread.join(PATIENCE)
        self._connection.close()

    def _ask(self) -> None:
        with suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            body = json.dumps(self._asked)
            self._connection.request(
                "POST", "/v1/chat/completions", body, {"content-type": "application/json"} | self._sent
            )
            self._sock = self._connection.sock
            with self._connection.getresponse() as response:
                self.status = response.status
                while piece := response.read1():
                    self.body += piece

    def leave(self) -> None:
        """Hang up."""
        if self._sock is not None:
            with suppress(OSError):
                self._sock.shutdown(2)

    def ended(self) -> bytes:
        """All that came, when no more comes."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it does not end"
        return self.body


class Listening:
    """Reads the events of a gateway in a thread; `.events` are those that came, as pairs of name and JSON text."""

    def __init__(self, served: Served, query: str = "", **headers: str) -> None:
        where = urlsplit(served.url)
        self.raw = b""
        self._connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)
        self._connection.request("GET", f"/hangtight/events{query}", headers=headers)
        self._sock = self._connection.sock
        self.response = self._connection.getresponse()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: b"\n\n" in self.raw)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with suppress(OSError):
            self._sock.shutdown(2)
        self._thread.join(PATIENCE)
        self.response.close()
        self._connection.close()

    def _listen(self) -> None:
        with suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
            while piece := self.response.read1():
                self.raw += piece

    @property
    def blocks(self) -> list[bytes]:
        """The events as they came, to the byte."""
        return [block + b"\n\n" for block in self.raw.split(b"\n\n")[:-1] if block.startswith(b"event: ")]

    @property
    def events(self) -> list[tuple[str, Any]]:
        found = []
        for block in self.blocks:
            name, _, data = block.decode().removeprefix("event: ").partition("\ndata: ")
            found.append((name, json.loads(data)))
        return found

    def named(self, *names: str) -> list[Any]:
        """What the events of these names told."""
        return [told for name, told in self.events if name in names]

    def until(self, *names: str, count: int = 1) -> list[Any]:
        """The same, once there are so many."""
        until(lambda: len(self.named(*names)) >= count)
        return self.named(*names)

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()


def until(holds: Callable[[], object]) -> None:
    """Wait until this holds; a bound for what hangs, never a measurement."""
    last = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < last, "it never came to that"
        time.sleep(0.01)


def in_flight(served: Served, model: str) -> dict[str, Any]:
    """The one request for this model, once its server gave as much as it will."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [each for each in served.get("/hangtight/generations")["generations"] if each["asked"] == model]
        return bool(found)

    until(there)
    return found[0]
