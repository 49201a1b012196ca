"""Work that is waited for no longer than it may take, whatever it does: what does not end then is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final

from hangtight.core.time import FOREVER
from hangtight.drivers import clock

LANDING = 0.01
"""Seconds in which what keeps a clock of its own may end by it, with the text so far, before it is cancelled."""
LEAVING = 0.005
"""And how long what was cancelled, because its time is over, is waited for."""
UNWINDING = 0.5
"""And how long, where somebody asked us to stop: that has to come true within a second."""
THREAD = "hangtight-step"
TOO_LATE: Final = 0.05
"""Seconds after the end of its time in which a result still counts: a loop is never quite on time."""
ENDS: ContextVar[float] = ContextVar("ENDS", default=FOREVER)
"""When the time of the work around is over, on the clock of its loop."""


class Late(Exception):
    """The time is over. `left` says that it still runs: it was cancelled, and does not heed it."""

    def __init__(self, *, left: bool) -> None:
        super().__init__()
        self.left = left


class Leftovers:
    """What was left behind and still runs."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()

    def add(self, task: asyncio.Task[Any]) -> None:
        if not task.done():
            self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: nobody else asks

    async def settle(self, limit: float) -> bool:
        """End what is left; False where something does not. A process that was asked to end is killed now.

        What was left on another loop is told, and not waited for.
        """
        here = asyncio.get_running_loop()
        for task in list(self.tasks):
            loop = task.get_loop()
            if loop is here:
                task.cancel()
            elif loop.is_closed():
                self.tasks.discard(task)
            else:
                loop.call_soon_threadsafe(task.cancel)
        mine = {task for task in self.tasks if task.get_loop() is here}
        if mine:
            await asyncio.wait(mine, timeout=limit)
        return not any(task.get_loop() is here for task in self.tasks)


async def bounded(
    work: Coroutine[Any, Any, Any], limit: float | None, leftovers: Leftovers, *, landing: float = LANDING
) -> Any:
    """The result of this work. Raises Late when the time is over, and never much after it."""
    token = ENDS.set(FOREVER if limit is None else clock.here().now() + max(0.0, limit) + landing)
    task = asyncio.ensure_future(work)
    ENDS.reset(token)
    try:
        done, _ = await asyncio.wait({task}, timeout=None if limit is None else max(0.0, limit) + landing)
        if done:
            return task.result()
        task.cancel()
        await asyncio.wait({task}, timeout=LEAVING)
    except asyncio.CancelledError:
        await _stop(task, leftovers)
        raise
    if task.done() and not task.cancelled():
        return task.result()  # it ended at the very end, one way or the other
    leftovers.add(task)
    raise Late(left=not task.done())


def check_in_time() -> None:
    """Raises Late where the work that has just ended took longer than it had: it held the loop, so no alarm rang."""
    if clock.here().now() > ENDS.get() + TOO_LATE:
        raise Late(left=False)


async def _stop(task: asyncio.Task[Any], leftovers: Leftovers) -> None:
    task.cancel()
    try:
        await asyncio.wait({task}, timeout=UNWINDING)
    finally:
        leftovers.add(task)


async def in_thread(call: Callable[[], Any]) -> Any:
    """The result of a blocking call, made in a thread of its own. Who walks away leaves it behind.

    Not in the loop's pool: at its end a program would wait for a thread there that never ends.
    """
    loop = asyncio.get_running_loop()
    if getattr(loop, "virtual", False):  # it sees no threads but those that it hands out
        return await asyncio.to_thread(call)
    answer: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    def run() -> None:
        result, error = _outcome(call)
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop has ended since
            return

    threading.Thread(target=context.run, args=(run,), name=THREAD, daemon=True).start()
    return await answer


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except StopIteration as odd:  # may not travel through a future
        error = RuntimeError("the function of a step raised StopIteration")
        error.__cause__ = odd
        return None, error
    except BaseException as error:  # noqa: BLE001 - handed to the waiting step whole, whatever it is
        return None, error
