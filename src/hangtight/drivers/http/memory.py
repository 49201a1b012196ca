"""Beside a request to an Ollama: is its model in memory? Asked once the answer is not there at once.

What is found are facts for the clocks, as in `residency`. An asynchronous call asks in a task that lives until the
first token; a synchronous one asks from the thread that waits, over a second socket that never blocks it.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from hangtight.core.facts import Fact
from hangtight.core.time import NEVER, Instant
from hangtight.drivers.residency import LOOK_EVERY, Seen, Unclear, ask_on, expiry_of

if TYPE_CHECKING:
    from hangtight.drivers.http.call import Call

LOOK_AFTER = 0.5  # a model that answers sooner is there
API = "/api/"
ELSEWHERE = ("-cloud", ":cloud")  # Ollama's names for models that it only passes on: they are never in its memory
ANSWER_LIMIT = 1024 * 1024
PIECE = 65536

Note = Callable[[Fact], object]


class Wanted(NamedTuple):
    """A model that may have to load."""

    base: str
    """The address of the Ollama that has it."""
    model: str
    """As that one calls it."""


def wanted_by(call: Call) -> Wanted | None:
    """What the attempt whose turn it is wants of an Ollama; None where it asks none."""
    if call.asked.dialect is None or not call.asked.dialect.lines:
        return None
    url, model = call.goes_to
    if url.scheme != "http" or not model or model.endswith(ELSEWHERE):
        return None
    before, found, _ = str(url).rpartition(API)
    return Wanted(before, model) if found else None


class Looking:
    """The task of an asynchronous call."""

    __slots__ = ("_handle", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop, base: str, model: str, note: Note) -> None:
        self._task: asyncio.Task[None] | None = None
        self._handle = loop.call_later(LOOK_AFTER, self._start, base, model, note)

    def _start(self, base: str, model: str, note: Note) -> None:
        self._task = asyncio.get_running_loop().create_task(ask_on(base, model, note))

    async def stop(self) -> None:
        self._handle.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})


class Look:
    """The looks of a synchronous call: one small request after another, each moved on only when its socket is ready."""

    __slots__ = ("_address", "_answer", "_model", "_places", "_question", "_seen", "_side", "_unsent", "due")

    def __init__(self, base: str, model: str, note: Note, now: Instant) -> None:
        place = urlsplit(base)
        self._address = (place.hostname or "", place.port or 80)
        self._question = f"GET {place.path}/api/ps HTTP/1.0\r\nHost: {place.netloc}\r\n\r\n".encode("ascii", "replace")
        self._places: list[tuple[Any, Any]] | None = None
        """The addresses of that name which may still be the right one."""
        self._model = model
        self._seen = Seen(note)
        self._side: socket.socket | None = None
        self._unsent = b""
        self._answer = bytearray()
        self.due = Instant(now + LOOK_AFTER)

    def wait(self, main: socket.socket, seconds: float, now: Instant) -> bool:
        """Wait for the socket of the answer, and get on with the look meanwhile. True where the answer is there."""
        if self._side is None and self.due <= now:
            self._begin()
        side = self._side
        with selectors.DefaultSelector() as selector:
            selector.register(main, selectors.EVENT_READ)
            if side is not None:
                selector.register(side, selectors.EVENT_WRITE if self._unsent else selectors.EVENT_READ)
            else:
                seconds = min(seconds, self.due - now)
            ready = {key.fileobj for key, _ in selector.select(max(seconds, 0.0))}
        if side in ready:
            self._move_on(Instant(now + LOOK_EVERY))
        return main in ready

    def _begin(self) -> None:
        self._answer.clear()
        self._unsent = self._question
        self.due = NEVER
        try:
            if self._places is None:
                found = socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM)
                self._places = [(entry[0], entry[4]) for entry in found]
            family, place = self._places[0]
            self._side = socket.socket(family, socket.SOCK_STREAM)
            self._side.setblocking(False)
            self._side.connect_ex(place)
        except (OSError, IndexError):
            self.close()

    def _move_on(self, next_look: Instant) -> None:
        side = self._side
        assert side is not None, "only a look that began gets on"
        try:
            if self._unsent:
                self._unsent = self._unsent[side.send(self._unsent) :]
                return
            data = side.recv(PIECE)
            self._answer += data
            if data and len(self._answer) <= ANSWER_LIMIT:
                return
            self.close()
            self._seen.look(expiry_of(self._model, _listed(bytes(self._answer))))
            self.due = next_look
        except BlockingIOError:
            return
        except OSError:  # nobody listens there: the name may have another address
            self.close()
            self._places = (self._places or [])[1:]
            self.due = next_look if self._places else NEVER
        except (ValueError, RecursionError, Unclear):  # it says nothing, now or later
            self.close()

    def close(self) -> None:
        side, self._side = self._side, None
        if side is not None:
            side.close()


def _listed(answer: bytes) -> Any:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200" not in head.partition(b"\r\n")[0]:
        raise Unclear
    return json.loads(body)
