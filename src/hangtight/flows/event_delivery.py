"""Events on their way to whoever listens. A listener that fails, or is slow, never hurts the run.

One that is a plain function is called in a thread of its own, one that is async in a task of its own, each in order.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from hangtight.drivers import clock
from hangtight.flows.events import Event, EventType
from hangtight.flows.journalling import keep

if TYPE_CHECKING:
    from hangtight.flows.events import Listener
    from hangtight.flows.port import RunSpec

LOG = logging.getLogger("hangtight.flows")
MOST_WAITING: Final = 10_000
"""Events that a slow listener may fall behind; then it misses heartbeats and progress, and nothing else."""
TO_MISS: Final = (EventType.HEARTBEAT, EventType.PROGRESS)
PATIENCE: Final = 0.25  # seconds that the end of a run waits for listeners
COURIER = "hangtight-events"
LATE: set[asyncio.Task[None]] = set()
"""Those that still bring events of runs that have ended."""


Adds = Callable[[EventType, str, Mapping[str, Any]], Mapping[str, Any]]


class Courier(Protocol):
    """Brings events to one listener."""

    def bring(self, event: Event) -> None:
        """Soon; returns at once."""

    async def drain(self, limit: float) -> None:
        """Wait until all were brought, at most so long."""

    def close(self) -> None:
        """What waits is still brought, and nothing after it."""


class Teller:
    """Tells the events of one run."""

    def __init__(self, spec: RunSpec, listeners: Iterable[Listener]) -> None:
        self._run, self._flow = spec.id, spec.flow
        self.adds: Adds = _nothing
        """Told first, and gives what is told with it besides."""
        self._couriers: list[Courier] = [ByTask(one) if _is_async(one) else ByThread(one) for one in listeners]

    def __call__(
        self, kind: EventType, step: str = "", payload: str = "", told: Mapping[str, Any] | None = None
    ) -> None:
        event = Event(kind, self._run, self._flow, clock.wall(), step, payload, self.adds(kind, step, told or {}))
        keep(event)
        for courier in self._couriers:
            courier.bring(event)

    async def close(self) -> None:
        """The last event was told."""
        try:
            for courier in self._couriers:
                await courier.drain(PATIENCE)
        finally:
            for courier in self._couriers:
                courier.close()


def _nothing(kind: EventType, step: str, told: Mapping[str, Any]) -> Mapping[str, Any]:
    return told


def _is_async(listener: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(listener) or inspect.iscoroutinefunction(getattr(listener, "__call__", None))  # noqa: B004


def _missed(waiting: int, event: Event) -> bool:
    return waiting >= MOST_WAITING and event.type in TO_MISS


class ByThread:
    """For a plain function; its thread lives from the first event to the end of the run."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._changed = threading.Condition()
        self._waiting: deque[Event] = deque()
        self._busy = self._over = False
        self._thread: threading.Thread | None = None

    def bring(self, event: Event) -> None:
        with self._changed:
            if _missed(len(self._waiting), event):
                return
            self._waiting.append(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=COURIER, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._over)
                if not self._waiting:
                    return
                event, self._busy = self._waiting.popleft(), True
            try:
                self._listener(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is not the run's
                _complain(error)

    @property
    def _idle(self) -> bool:
        return not (self._waiting or self._busy)

    async def drain(self, limit: float) -> None:
        with self._changed:
            if self._idle:
                return

        def wait() -> None:
            with self._changed:
                self._changed.wait_for(lambda: self._idle, limit)

        await asyncio.to_thread(wait)

    def close(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()


class ByTask:
    """For an async function; its task lives while there is something to bring."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._waiting: deque[Event] = deque()
        self._task: asyncio.Task[None] | None = None

    def bring(self, event: Event) -> None:
        if _missed(len(self._waiting), event):
            return
        self._waiting.append(event)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            try:
                answer = self._listener(event)
                if inspect.isawaitable(answer):
                    await answer
            except Exception as error:  # noqa: BLE001 - whatever it is, it is not the run's
                _complain(error)

    async def drain(self, limit: float) -> None:
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=limit)

    def close(self) -> None:
        """Its task goes on until all is brought; it holds itself until then."""
        if self._task is not None and not self._task.done():
            LATE.add(self._task)
            self._task.add_done_callback(LATE.discard)


def _complain(error: Exception) -> None:
    LOG.warning("a listener to the events of a run raised %s: %s", type(error).__name__, error)
