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
from hangtight.testing.lab.healthy import said_of_code

CHUNKS = 20_000
ROUNDS = 9
MICRO = 1e6
LETTERS = 5
TEXT = "".join(map(said_of_code, range(CHUNKS)))
WORDS = [TEXT[LETTERS * at : LETTERS * at + LETTERS] for at in range(CHUNKS)]
"""Healthy text in tokens of a usual size: what it says is read along where a mode sets the total."""


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


async def spoken() -> AsyncIterator[str]:
    for word in WORDS:
        yield word


async def reading_along() -> float:
    """What is added where the text moves the deadline, to a watch that does not look at it."""
    off: list[float] = []
    on: list[float] = []
    for _ in range(ROUNDS):
        off.append(await cost(lambda: hangtight.watch(spoken(), mode="deep", intent=False)))
        on.append(await cost(lambda: hangtight.watch(spoken(), mode="deep")))
    return min(on) - min(off)


class Lines:
    """A synchronous stream of an SDK as far as `watch` can see: a response over a socket that can be shut down."""

    def __init__(self, response: httpx2.Response, words: list[str] | None = None) -> None:
        self.response = response
        self.words = words or ["token"] * CHUNKS

    def __iter__(self) -> Iterator[str]:
        yield from self.words

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


def reading_along_in_a_thread(url: str) -> float:
    """The same for a stream that is read in the caller's own thread."""
    off: list[float] = []
    on: list[float] = []
    with httpx2.Client() as client:
        for _ in range(ROUNDS):
            for figures, intent in ((off, False), (on, True)):
                with client.stream("GET", f"{url}/health") as response:
                    start = time.process_time()
                    for _ in hangtight.watch(Lines(response, WORDS), mode="deep", intent=intent):
                        pass
                    figures.append((time.process_time() - start) / CHUNKS * MICRO)
    return min(on) - min(off)


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
    read = asyncio.run(reading_along())
    with Lab() as lab:
        sync = synchronous(lab.url)
        read_sync = reading_along_in_a_thread(lab.url)
        bare, watched = through_openai(lab.url)
    return [
        Row("watch, per str chunk, async", ours, "µs", 2),
        Row("asyncio.timeout around each anext, per chunk", theirs, "µs", float("inf")),
        Row("watch over asyncio.timeout", ours / theirs, "x", 0.25),
        Row("watch, per str chunk, sync over an SDK stream", sync, "µs", 2),
        Row(f"reading along (intent), per chunk of {LETTERS} characters, async", read, "µs", 0.2 * LETTERS),
        Row("reading along (intent), per chunk, sync over an SDK stream", read_sync, "µs", 0.2 * LETTERS),
        Row("a chunk through the openai client, watched over bare", watched / bare, "x", 1.5),
    ]
