"""The one thread that rings for synchronous streams: it sleeps to the nearest alarm and breaks the read.

There is one per process, made when the first synchronous stream is watched. It never runs the caller's code:
heartbeats go through a courier thread that lives only while somebody listens, so that a listener that blocks
cannot stop the clocks of others.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hangtight.core.facts import Slept
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.orders import Cancel, CancelAgain
from hangtight.core.time import NEVER, Instant
from hangtight.drivers import clock

if TYPE_CHECKING:
    from hangtight.core.orders import Order
    from hangtight.drivers.session import Session

T = TypeVar("T")

PATIENCE = 0.05  # an alarm later than this says that we slept; and how long we then look once more
RETRY = 0.05  # how soon to try again to wake a reader that did not wake
LONGEST_NAP = 5.0  # so that no more than this of a sleep of ours can pass unseen between two alarms
SOONEST = 0.001
WATCHDOG = "hangtight-watchdog"
COURIER = "hangtight-heartbeat"


class Cared(Protocol):
    """What the watchdog takes care of."""

    session: Session

    def break_off(self) -> None:
        """Wake the reader, from any thread; asked again and again until it has woken."""


class Rings(Protocol):
    """What the watchdog thread rings for."""

    due: Instant

    def arm(self, now: Instant) -> None:
        """Say in `due` when to ring next."""

    def ring(self, now: Instant) -> None:
        """It is due; or it was, a moment ago."""


class Ticket:
    """One synchronous generation in the care of the watchdog, which must not keep alive what nobody reads any more."""

    __slots__ = ("due", "life")

    def __init__(self, life: Cared) -> None:
        self.life = weakref.ref(life)
        self.due = Instant(0.0)

    def arm(self, now: Instant, soonest: float = SOONEST) -> None:
        life = self.life()
        if life is None:
            self.due = NEVER
            return
        machine = life.session.machine
        if life.session.rang is not None and machine.waiting:
            self.due = Instant(now + RETRY)
            return
        self.due = Instant(min(max(machine.armed_until(now), now + soonest), now + LONGEST_NAP))

    def withdraw(self) -> None:
        """Somebody else keeps these clocks now."""
        WATCHDOGS.remove(self)

    def resume(self) -> None:
        """Somebody else has kept these clocks for a while; now they are ours again."""
        if self.life() is not None:
            WATCHDOGS.add(self)

    def ring(self, now: Instant) -> None:
        life = self.life()
        if life is None:
            WATCHDOGS.remove(self)
            return
        session = life.session
        if session.rang is not None and session.machine.waiting:
            life.break_off()
        elif (late := now - self.due) > PATIENCE:
            session.note(Slept(late))
            # Due even so: it was silent long enough while we were awake, also on a machine that is always late.
            if session.machine.next_wakeup() > now - SOONEST:
                self.arm(now, soonest=PATIENCE)
                return
        for order in session.wake(now):
            _obey(order, life)
        self.arm(now)


def _obey(order: Order, life: Cared) -> None:
    match order:
        case Cancel():
            life.session.rang = order
            if life.session.machine.waiting:
                life.break_off()
        case Heartbeat():
            listener = life.session.on_heartbeat
            if listener is not None:
                COURIERS.send(listener, order)
        case CancelAgain() | _:
            pass


class Watchdog:
    """Tickets by their due instants. A scan, not a heap: a process has few threads that read streams."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Also after a fork: the child has neither our thread nor our tickets."""
        self._tickets: set[Rings] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._next = NEVER

    def add(self, ticket: Rings) -> None:
        ticket.arm(clock.now())
        with self._changed:
            self._tickets.add(ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=WATCHDOG, daemon=True)
                self._thread.start()
            if ticket.due < self._next:
                self._changed.notify()

    def remove(self, ticket: Rings) -> None:
        with self._changed:
            self._tickets.discard(ticket)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._next = min((ticket.due for ticket in self._tickets), default=NEVER)
                nap = self._next - clock.now()
                if nap > 0:
                    self._changed.wait(None if nap == NEVER else nap)
                now = clock.now()
                ringing = [ticket for ticket in self._tickets if ticket.due <= now]
            for ticket in ringing:
                try:
                    ticket.ring(now)
                except Exception:  # noqa: BLE001 - one generation must not stop the clocks of all others
                    self.remove(ticket)
                    complain()


class Couriers:
    """Brings heartbeats and the like to listeners, in order, from a thread that ends when nobody listens any more."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._listening = 0
        self._post: SimpleQueue[tuple[Callable[[Any], object], Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def hire(self) -> None:
        with self._lock:
            self._listening += 1
            if self._thread is None:
                self._post = SimpleQueue()
                self._thread = threading.Thread(target=self._run, args=(self._post,), name=COURIER, daemon=True)
                self._thread.start()

    def dismiss(self) -> None:
        """The last one out ends the thread, and waits for a listener that is just being told, but not for ever."""
        with self._lock:
            self._listening -= 1
            if self._listening or self._thread is None:
                return
            thread, self._thread = self._thread, None
            self._post.put(None)
        if thread is not threading.current_thread():
            thread.join(PATIENCE)

    def send(self, listener: Callable[[T], object], told: T) -> None:
        self._post.put((listener, told))

    @staticmethod
    def _run(post: SimpleQueue[tuple[Callable[[Any], object], Any] | None]) -> None:
        while (item := post.get()) is not None:
            listener, told = item
            try:
                listener(told)
            except Exception:  # noqa: BLE001 - whatever it is, it is not the generation's
                complain()


def complain() -> None:
    """A listener's error is shown as a thread's would be, and stops nothing."""
    import sys

    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


WATCHDOGS = Watchdog()
COURIERS = Couriers()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WATCHDOGS.reset)
    os.register_at_fork(after_in_child=COURIERS.reset)
