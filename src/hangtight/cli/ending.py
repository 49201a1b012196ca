"""How a command ends that has done work of others: what of it does not end is left behind, and the process goes."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from hangtight.cli.journals import leave_journal

T = TypeVar("T")
PATIENCE: Final = 1.0
"""Seconds for what is left on the loop. Whoever began it has been patient with it before."""
PATIENCE_AT_EXIT: Final = 5.0
"""Seconds in which the process may end by itself; the journal wants two of them."""
LEFT: Final[list[object]] = []
"""Loops on which something does not end. They are kept: what is thrown away is complained about."""


def run(work: Coroutine[Any, Any, T], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """As `asyncio.run`, which would wait for ever for a task that heeds no cancellation, or a thread of the loop.

    The process ends well after it only by way of `leave`.
    """
    runner = asyncio.Runner(loop_factory=loop_factory)
    LEFT.append(runner)
    try:
        return runner.run(work)
    finally:
        if runner.run(_settled()):
            runner.close()
            LEFT.remove(runner)


async def _settled() -> bool:
    """Whether all has ended that was on this loop, generators and threads too."""
    loop = asyncio.get_running_loop()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    left.add(loop.create_task(_let_go(loop)))
    return not (await asyncio.wait(left, timeout=PATIENCE))[1]


async def _let_go(loop: asyncio.AbstractEventLoop) -> None:
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


def leave(code: int) -> int:
    """The same code, for a process that ends now, in any case: at once, where a loop is left; else its threads have a
    moment."""
    leave_journal()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if LEFT:
        os._exit(code)
    threading.Thread(target=_go, args=(code,), name="hangtight-ending", daemon=True).start()
    return code


def _go(code: int) -> None:
    """Python waits for all threads of pools, and for others that are no daemons: also for those that a step left."""
    threading.Event().wait(PATIENCE_AT_EXIT)
    os._exit(code)
