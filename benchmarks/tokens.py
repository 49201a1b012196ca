"""What `watch` adds to each chunk, against `asyncio.timeout` around each `anext`, in the same run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import openai

import hangtight
from benchmarks.row import Row

CHUNKS = 20_000
ROUNDS = 9
MICRO = 1e6


async def source(count: int) -> AsyncIterator[str]:
    for _ in range(count):
        yield "token"


async def with_timeouts(stream: AsyncIterator[str]) -> AsyncIterator[str]:
    """What people write today, and it still cannot tell content from pings."""
    while True:
        try:
            async with asyncio.timeout(45):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        yield chunk


async def cost(make: Callable[[], Any]) -> float:
    """Microseconds of CPU per chunk."""
    start = time.process_time()
    async for _ in make():
        pass
    return (time.process_time() - start) / CHUNKS * MICRO


async def asynchronous() -> tuple[float, float]:
    """What watch adds, and what asyncio.timeout adds: the least of several rounds of each."""
    bare: list[float] = []
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        bare.append(await cost(lambda: source(CHUNKS)))
        ours.append(await cost(lambda: hangtight.watch(source(CHUNKS))))
        theirs.append(await cost(lambda: with_timeouts(source(CHUNKS))))
    return min(ours) - min(bare), min(theirs) - min(bare)


class Lines:
    """A synchronous stream of an SDK as far as `watch` can see: a response over a socket that can be shut down."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response

    def __iter__(self) -> Iterator[str]:
        for _ in range(CHUNKS):
            yield "token"

    def close(self) -> None:
        self.response.close()


def synchronous(url: str) -> float:
    """What watch adds to each chunk of a stream that is read in the caller's own thread."""
    bare: list[float] = []
    ours: list[float] = []
    with httpx2.Client() as client:
        for _ in range(ROUNDS):
            for figures, wrap in ((bare, lambda stream: stream), (ours, hangtight.watch)):
                with client.stream("GET", f"{url}/health") as response:
                    start = time.process_time()
                    for _ in wrap(Lines(response)):
                        pass
                    figures.append((time.process_time() - start) / CHUNKS * MICRO)
    return min(ours) - min(bare)


def through_openai(url: str) -> tuple[float, float]:
    """Per chunk of a real client over a real socket: without and with watch."""
    client = openai.OpenAI(api_key="none", base_url=f"{url}/v1")
    model = "bench,tokens=3000,rate=1000000"
    bare: list[float] = []
    ours: list[float] = []
    for _ in range(3):
        for figures, wrap in ((bare, lambda stream: stream), (ours, hangtight.watch)):
            stream = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "x"}], stream=True
            )
            start = time.thread_time()
            count = sum(1 for _ in wrap(stream))
            figures.append((time.thread_time() - start) / count * MICRO)
    client.close()
    return min(bare), min(ours)


def rows() -> list[Row]:
    from hangtight.testing.lab import Lab

    ours, theirs = asyncio.run(asynchronous())
    with Lab() as lab:
        sync = synchronous(lab.url)
        bare, watched = through_openai(lab.url)
    return [
        Row("watch, per str chunk, async", ours, "µs", 2),
        Row("asyncio.timeout around each anext, per chunk", theirs, "µs", float("inf")),
        Row("watch over asyncio.timeout", ours / theirs, "x", 0.25),
        Row("watch, per str chunk, sync over an SDK stream", sync, "µs", 2),
        Row("a chunk through the openai client, watched over bare", watched / bare, "x", 1.5),
    ]
