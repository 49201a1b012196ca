"""What each watched stream keeps in memory, beyond the stream itself."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import hangtight
from benchmarks.row import Row

STREAMS = 10_000


async def endless() -> AsyncIterator[str]:
    while True:
        yield "token"


async def kept(watched: bool) -> float:
    """KB per stream that has given its first token."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    streams: list[Any] = []
    for _ in range(STREAMS):
        stream = aiter(hangtight.watch(endless())) if watched else endless()
        await anext(stream)
        streams.append(stream)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] - before
    for stream in streams:
        await stream.aclose()
    return size / STREAMS / 1024


async def measured() -> float:
    tracemalloc.start()
    bare = await kept(watched=False)
    return await kept(watched=True) - bare


def rows() -> list[Row]:
    return [Row("each of 10,000 watched streams keeps", asyncio.run(measured()), "KB", 5)]
