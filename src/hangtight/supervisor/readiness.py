"""Whether a server that was started answers yet, and whether it gets on with loading.

What counts as progress of a load, in a server's answer or in a line of its log: a per cent that is higher than any
before, `3/8` of something with more done than before, a line that speaks of loading and is another one than the line
before, a dot more in a row of dots (llama.cpp writes one for each per cent). Any other answer or line is contact: it
shows that somebody is there, and no more.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangtight.drivers import http11

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FIRST_WAIT, LONGEST_WAIT = 0.004, 0.05
"""Half of the longest is what a swap loses by asking, however long the load was; so often costs 1 % of a core."""
PROBE = 5.0
"""One probe may take so long: a server that loads may answer late, but one that never answers must be asked again."""
READ_LIMIT = 64 * 1024
READY = 200
LONGEST_LINE = 1024
MOST_LINES = 64
"""The last of one piece: a load that is so loud shows its progress in them, too, and nobody waits for the rest."""
MOST_BYTES = MOST_LINES * LONGEST_LINE

PER_CENT = re.compile(r"(\d{1,3}(?:\.\d+)?)\s?%")
FRACTION = re.compile(r'"(?:progress|percent|percentage)"\s*:\s*(\d+(?:\.\d+)?)')
OF = re.compile(r"\b(\d{1,5})\s?/\s?(\d{1,5})\b")
LOADING = re.compile(r"load|warm|shard|captur", re.IGNORECASE)
DOTS = re.compile(r"\.{3,}$|^\.+$")


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer that is not yet 200."""

    status: int
    progress: bool
    """The load got on since the last answer, as far as the server tells."""


def nobody_cares(heard: Heard) -> None:
    """That the server is loading is not of interest."""


class Loading:
    """Tells progress of a load in text, piece by piece. One for a start: a new load begins at nothing."""

    def __init__(self) -> None:
        self._line = ""
        self._before = ""
        self._furthest = -1.0
        self._done: dict[int, int] = {}

    def heard(self, data: bytes) -> bool:
        """What came in the log. Whether it shows progress."""
        *lines, self._line = re.split(r"[\r\n]+", self._line + data[-MOST_BYTES:].decode("utf-8", "replace"))
        self._line = self._line[-LONGEST_LINE:]
        shown = [self._shows(line[-LONGEST_LINE:]) for line in (*lines[-MOST_LINES:], self._line) if line]
        return any(shown)

    def _shows(self, line: str) -> bool:
        if line == self._before:
            return False
        self._before = line
        if measured := PER_CENT.findall(line) or FRACTION.findall(line):
            return self._further(float(measured[-1]))
        if counted := OF.findall(line):
            done, whole = (int(number) for number in counted[-1])
            before, self._done[whole] = self._done.get(whole, -1), max(done, self._done.get(whole, -1))
            return done > before
        return bool(LOADING.search(line) or DOTS.search(line))

    def _further(self, measured: float) -> bool:
        before, self._furthest = self._furthest, max(measured, self._furthest)
        return measured > before


async def healthy(
    url: str | None,
    *,
    headers: Mapping[str, str] | None = None,
    on_heard: Callable[[Heard], object] = nobody_cares,
    probe: float = PROBE,
) -> None:
    """Returns when the address answers 200; without one, at once. Waits for ever: who calls it decides how long."""
    if url is None:
        return
    loading, wait = Loading(), FIRST_WAIT
    while True:
        status, body = await probed(url, headers=headers, seconds=probe)
        if status == READY:
            return
        if status:
            on_heard(Heard(status, loading.heard(body + b"\n")))
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)


async def probed(url: str, *, headers: Mapping[str, str] | None = None, seconds: float = PROBE) -> tuple[int, bytes]:
    """One look: the status and the beginning of the body. 0 where nobody answers, or not in time, or no HTTP."""
    try:
        async with asyncio.timeout(seconds), http11.request("GET", url, headers=headers) as response:
            if response.status == READY:
                return READY, b""  # the body of a 200 is nobody's business, and may never end
            return response.status, await response.read(READ_LIMIT)
    except http11.BodyTooLarge:
        return response.status, b""
    except OSError:  # TimeoutError is one
        return 0, b""


async def somebody_listens(host: str, port: int, seconds: float = 0.5) -> bool:
    """Whether a port is taken already: a server that was started there would fail, and a stranger be taken for it."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.transport.abort()
    return True
