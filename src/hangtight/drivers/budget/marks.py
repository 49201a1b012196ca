"""The alarm that tells a step to wrap up: a timer of the running loop, or the watchdog thread where there is none."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

from hangtight.core.time import NEVER, Instant
from hangtight.drivers import clock
from hangtight.drivers.watchdog import COURIERS, LONGEST_NAP, WATCHDOGS

if TYPE_CHECKING:
    import asyncio

    from hangtight.core.budget import Budget

Tell = Callable[[str], object]


class Marks:
    """Rings when a step of this budget has used what was allotted to it."""

    def __init__(self, machine: Budget, now: Callable[[], Instant], lock: Lock, tell: Tell) -> None:
        self.machine = machine
        self.now = now
        self.lock = lock
        self.tell = tell
        self.due = NEVER
        """For the watchdog."""
        self._tellings: set[asyncio.Task[Any]] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._over = False
        self._loop = clock.loop_here()
        if self._loop is None:
            COURIERS.hire()

    def changed(self) -> None:
        """The task goes on differently: look anew when the next mark is due."""
        if self._over:
            return
        if self._loop is None:
            WATCHDOGS.add(self)
            return
        if clock.loop_here() is not self._loop:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self.changed)
            return
        if self._handle is not None:
            self._handle.cancel()
        at = self._next()
        self._handle = None if at == NEVER else self._loop.call_later(max(0.0, at - self.now()), self._ring)

    def _next(self) -> Instant:
        with self.lock:
            return self.machine.next_wakeup(self.now())

    def arm(self, now: Instant) -> None:
        """For the watchdog, whose clock is ours where no loop runs."""
        self.due = min(self._next(), Instant(now + LONGEST_NAP))

    def ring(self, now: Instant) -> None:
        """Called by the watchdog."""
        for step in self._due():
            COURIERS.send(self.tell, step)
        self.arm(now)

    def _ring(self) -> None:
        loop = self._loop
        assert loop is not None, "a loop's timer rang"
        for step in self._due():
            try:
                answer = self.tell(step)
            except Exception as error:  # noqa: BLE001 - a hook that fails is its own problem, never the task's
                loop.call_exception_handler({"message": "on_wrap_up of hangtight raised", "exception": error})
                continue
            if inspect.iscoroutine(answer):
                telling: asyncio.Task[Any] = loop.create_task(answer)
                self._tellings.add(telling)
                telling.add_done_callback(self._tellings.discard)
        self.changed()

    def _due(self) -> list[str]:
        with self.lock:
            return [order.step for order in self.machine.wake(self.now())]

    def stop(self) -> None:
        self._over = True
        if self._loop is None:
            WATCHDOGS.remove(self)
            COURIERS.dismiss()
        elif self._handle is not None:
            self._handle.cancel()
