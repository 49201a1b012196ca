"""Is the model in memory? Ollama can be asked, beside a request: what it says are facts, never a condition.

What its answer is worth, read in its scheduler: a model is listed from the *start* of its load, and until its first
request has ended, the list makes up a new expiry at each look. So a model that is not listed is absent; one that is
listed with the same expiry twice is in memory; one whose expiry moves may still be loading, and nothing is said.
Newer versions answer only when the load is over; then we merely learn it late.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from hangtight.core.facts import Absent, Fact, LoadProgress, Ready, Resident
from hangtight.drivers.http11 import HTTPError
from hangtight.drivers.servers import OK, STANDS_IN, get_json

LOOK_EVERY = 1.0
CONNECT = 2.0

Note = Callable[[Fact], object]


class Unclear(Exception):
    """The answer has a shape that we do not know: it says nothing, now or later."""


@asynccontextmanager
async def watched_memory(url: str, model: str, note: Note) -> AsyncIterator[None]:
    """While the block runs, ask this Ollama about the model, and note what that shows."""
    asking = asyncio.create_task(ask_on(url, model, note))
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.wait({asking})


async def ask_on(url: str, model: str, note: Note) -> None:
    seen = Seen(note)
    with suppress(HTTPError, Unclear):
        while True:
            status, listed = await get_json(f"{url}/api/ps", CONNECT)
            if status != OK:
                return
            seen.look(expiry_of(model, listed))
            await asyncio.sleep(LOOK_EVERY)


class Seen:
    """What the looks so far have shown."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._last: str | None = None
        self._said: bool | None = None
        """What was noted last: absent (False), in memory (True), or nothing yet."""

    def look(self, expiry: str | None) -> None:
        """One look: the model's expiry, None where it is not listed."""
        if expiry is None:
            if self._said is not False:
                self._said = False
                self._note(Absent())
        elif self._last is None:
            if self._said is False:
                self._note(LoadProgress())
        elif expiry == self._last and self._said is not True:
            self._note(Resident() if self._said is None else Ready())
            self._said = True
        self._last = expiry


def expiry_of(model: str, listed: Any) -> str | None:
    """When this model leaves memory, as it is written; None where it is not in there."""
    entries = listed.get("models") if isinstance(listed, dict) else None
    if not isinstance(entries, list) or STANDS_IN in listed:
        raise Unclear
    wanted = _full(model)
    for entry in entries:
        if not isinstance(entry, dict):
            raise Unclear
        if wanted in {_full(name) for key in ("name", "model") if isinstance(name := entry.get(key), str)}:
            return str(entry.get("expires_at"))
    return None


def _full(name: str) -> str:
    """Ollama's names, as they can be compared: in small letters, and with the tag that goes without saying."""
    last = name.rpartition("/")[2]
    return (name if ":" in last else f"{name}:latest").lower()
