"""What the model servers say, the last of it: a ring of bytes for each, one for all, and readers that follow them.

A reader keeps no queue, only how far it has read. So one that is slow costs nothing: what the ring has dropped by the
time it comes back is lost to it, and it is told how much that was.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KIB = 1024
LIMIT = 100 * KIB
PIECE = 16 * KIB
LONGEST_LINE = 4 * KIB


class Log:
    """The last bytes that were written. Belongs to one event loop."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.end = 0
        """How many bytes were ever written."""
        self._closed = False
        self._readers = 0
        self._news = asyncio.Event()

    @property
    def start(self) -> int:
        """The place of the oldest byte that is still here."""
        return self.end - len(self._kept)

    def write(self, data: bytes) -> None:
        self._kept += data[-self._limit :]
        self.end += len(data)
        if len(self._kept) > self._limit:
            del self._kept[: -self._limit]
        self._wake()

    def close(self) -> None:
        """Nothing more comes: who follows it gets the rest, and is done."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        """An event that stays set would wake a reader that has read all; each piece of news is an event of its own."""
        if self._readers:
            self._news.set()
            self._news = asyncio.Event()

    def text(self) -> str:
        """All that is here. The first line may be cut."""
        return self._kept.decode("utf-8", "replace")

    async def follow(self, *, history: bool = True) -> AsyncIterator[bytes]:
        """What is here, unless only news is wanted, and then what comes, until the log is closed."""
        place = self.start if history else self.end
        self._readers += 1
        try:
            while True:
                if place < self.start:
                    yield f"\n[{self.start - place} bytes lost: this reader was too slow]\n".encode()
                    place = max(place, self.start)
                elif place < self.end:
                    at = place - self.start
                    piece = bytes(self._kept[at : at + PIECE])
                    place += len(piece)
                    yield piece
                elif self._closed:
                    return
                else:
                    await self._news.wait()
        finally:
            self._readers -= 1


class Logs:
    """A log for each model, and one for all of them, in which lines are not mixed."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self.all = Log(limit)
        self._of: dict[str, Log] = {}
        self._lines: dict[str, bytes] = {}
        """The beginning of a line that has no end yet."""

    def of(self, model: str) -> Log:
        """There is one as soon as somebody asks."""
        if model not in self._of:
            self._of[model] = Log(self._limit)
        return self._of[model]

    def write(self, model: str, data: bytes) -> None:
        self.of(model).write(data)
        begun = self._lines.pop(model, b"") + data
        whole, _, rest = begun.rpartition(b"\n")
        if len(rest) > LONGEST_LINE:
            whole, rest = begun, b""
        if rest:
            self._lines[model] = rest
        if len(rest) < len(begun):
            self.all.write(whole + b"\n")

    def ended(self, model: str) -> None:
        """The process has said all: what has no end of line will get none."""
        if rest := self._lines.pop(model, b""):
            self.all.write(rest + b"\n")

    def drop(self, model: str) -> None:
        """There is no such model any more."""
        self.ended(model)
        if log := self._of.pop(model, None):
            log.close()

    def close(self) -> None:
        for log in (self.all, *self._of.values()):
            log.close()
