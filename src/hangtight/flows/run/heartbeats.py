"""Signs of life of a step in which a model works: once each interval, from a task of their own, until it ends."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

from hangtight.drivers import clock
from hangtight.drivers.handover import WITNESS

if TYPE_CHECKING:
    from hangtight.core.generation import Generation
    from hangtight.drivers.session import Session


LOOK_EVERY: Final = 0.25  # seconds
LOOK_AT_LEAST: Final = 1.0


def waiting_on(model: str, elapsed: float) -> str:
    """The words of a heartbeat.

    >>> waiting_on("qwen3-coder:latest", 45.0)
    'Still waiting on qwen3-coder:latest... 45s elapsed'
    """
    return f"Still waiting on {model}... {elapsed:.0f}s elapsed"


@asynccontextmanager
async def looked_at(look: Callable[[], bool]) -> AsyncIterator[None]:
    """While the block runs it is looked at, four times a second as long as there is something new to be seen.

    Less often while there is not. Whatever the block waits for, and however it ends. Where a look fails, the block is
    ended with that error.
    """
    block, is_over = asyncio.current_task(), False
    assert block is not None, "a block runs in a task"
    failed: list[BaseException] = []

    def ended(looking: asyncio.Task[None]) -> None:
        error = None if looking.cancelled() else looking.exception()
        if error is not None and not is_over:
            failed.append(error)
            block.cancel()

    looking = asyncio.get_running_loop().create_task(_look(look))
    looking.add_done_callback(ended)
    try:
        yield
    except BaseException:
        if failed and block.uncancel() == 0:
            raise failed[0] from None
        raise
    finally:
        is_over = True
        looking.cancel()


async def _look(look: Callable[[], bool]) -> None:
    pause = LOOK_EVERY
    while True:
        await asyncio.sleep(pause)
        pause = LOOK_EVERY if look() else min(2 * pause, LOOK_AT_LEAST)


@contextmanager
def with_generations(
    interval: float | None, tell: Callable[[Session, float], object]
) -> Iterator[Sequence[Generation]]:
    """While a generation runs that begins in the block, `tell` is called each `interval` with the seconds that it took.

    In whatever thread it runs, silent or streaming; the calls are made on the loop. Yields all that have begun.
    """
    begun: list[Generation] = []
    loop, ticking = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    over = False

    def start(generation: weakref.ref[Session]) -> None:
        if interval and not over:
            task = loop.create_task(_beat(interval, generation, tell))
            ticking.add(task)
            task.add_done_callback(ticking.discard)

    def witness(session: Session) -> None:
        begun.append(session.machine)
        if clock.loop_here() is loop:
            start(weakref.ref(session))
        elif not loop.is_closed():
            loop.call_soon_threadsafe(start, weakref.ref(session))

    token = WITNESS.set(witness)
    try:
        yield begun
    finally:
        over = True
        WITNESS.reset(token)
        for task in ticking:
            task.cancel()


async def _beat(interval: float, generation: weakref.ref[Session], tell: Callable[[Session, float], object]) -> None:
    """For one generation, which must not be kept alive by this. Of two around one another one is told."""

    def elapsed() -> float | None:
        session = generation()
        return None if session is None or session.machine.outcome is not None else session.elapsed

    def told(since: float) -> None:
        session = generation()
        if session is not None and not session.stands_aside:
            tell(session, since)

    await _tick(interval, elapsed, told)


async def _tick(interval: float, elapsed: Callable[[], float | None], tell: Callable[[float], object]) -> None:
    """At each multiple of the interval, until there is no time that has elapsed."""
    beats = 0
    while (since := elapsed()) is not None:
        beats = max(beats, int(since / interval)) + 1  # a machine that slept has missed some
        await asyncio.sleep(max(0.0, beats * interval - since))
        if (since := elapsed()) is not None:
            tell(since)
