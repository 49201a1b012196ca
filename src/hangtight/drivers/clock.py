"""The one file that reads a clock or spends time."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from hangtight.core.time import Instant

now = cast("Callable[[], Instant]", time.monotonic)
"""The monotonic clock itself, not a wrapper: it is read twice for each token."""

sleep = time.sleep

wall = time.time
"""What people call the time: for the journal alone, never for an interval."""


def clock_of(loop: AbstractEventLoop) -> Callable[[], Instant]:
    """The clock to read under this loop: the loop's own where time is virtual, else the monotonic one.

    Not always `loop.time()`: uvloop caches it for a whole turn of the loop, in which a blocked callback
    may have spent a minute that nobody would see.
    """
    return cast("Callable[[], Instant]", loop.time) if getattr(loop, "virtual", False) else now


def place_of(loop: AbstractEventLoop) -> object:
    """Whose instants this loop's are: a virtual loop's mean nothing elsewhere."""
    return loop if getattr(loop, "virtual", False) else None


class Timepiece(NamedTuple):
    """A clock, and whose it is."""

    now: Callable[[], Instant]
    place: Any = None


OURS = Timepiece(now)


def here() -> Timepiece:
    """The clock of the code that asks: a virtual loop's own under it, else the monotonic one."""
    loop = loop_here()
    return OURS if loop is None else timepiece_of(loop)


def loop_here() -> AbstractEventLoop | None:
    """The loop that runs in this thread, if one does; asyncio is not loaded to learn that none can."""
    asyncio = sys.modules.get("asyncio")
    running = getattr(asyncio, "_get_running_loop", None)  # another thread may be in the middle of importing it
    loop: AbstractEventLoop | None = running() if running is not None else None
    return loop


def timepiece_of(loop: AbstractEventLoop) -> Timepiece:
    return Timepiece(clock_of(loop), place_of(loop))
