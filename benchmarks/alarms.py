"""How late the alarms of many streams ring: 10,000 of them go silent, one after the other over ten seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import hangtight
from benchmarks.row import Row

STREAMS = 10_000
IDLE = 5.0
SPREAD = 10.0
MILLI = 1e3


async def silent(started: list[float]) -> AsyncIterator[str]:
    yield "token"
    started.append(time.monotonic())
    await asyncio.sleep(3600)


async def one(idle: float) -> float:
    started: list[float] = []
    try:
        async for _ in hangtight.watch(silent(started), idle=idle):
            pass
    except hangtight.IdleTimeout:
        return time.monotonic() - started[0] - idle
    raise AssertionError("a silent stream must ring")


async def lateness() -> list[float]:
    """All are started first; then one rings each few hundred microseconds."""
    return sorted(await asyncio.gather(*(one(IDLE + index / STREAMS * SPREAD) for index in range(STREAMS))))


def rows() -> list[Row]:
    late = asyncio.run(lateness())
    p99 = late[int(len(late) * 0.99)]
    return [Row("10,000 watched streams go silent: alarm late, p99", p99 * MILLI, "ms", 20)]
