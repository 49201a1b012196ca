"""Waiting for a socket in the caller's own thread: each read ends at the next alarm, and the alarm rings right there.

Put beneath the pool of httpcore as its network backend, which that library offers for this. No thread is needed,
because nothing else ever has to wake a reader: it wakes by itself when there is something to do.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from hangtight.core.facts import Slept
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.orders import Cancel
from hangtight.core.time import NEVER, Instant
from hangtight.core.timers import Timer
from hangtight.drivers.helper import Rang
from hangtight.drivers.watchdog import COURIERS, LONGEST_NAP, PATIENCE, SOONEST

if TYPE_CHECKING:
    from hangtight.drivers.http.memory import Look
    from hangtight.drivers.session import Session

T = TypeVar("T")

LOOKS = 2  # reads in which a token that arrived with the alarm may still win


class Here(threading.local):
    """Whose socket this thread waits for."""

    vigil: Vigil | Moment | None = None


HERE = Here()


class Vigil:
    """The clocks of one generation, kept by the thread that waits for it."""

    __slots__ = ("due", "look", "looks", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.due = Instant(0.0)
        self.looks = LOOKS
        if session.on_heartbeat is not None:
            COURIERS.hire()
        self.look: Look | None = None
        """Of a call that may have to wait for a load."""

    def until_it_is_there(self, read: Callable[[float], T], timed_out: type[Exception]) -> T:
        """What `read(seconds)` gives; asked again after each alarm that is not the end. Raises Rang for the end."""
        session, machine = self.session, self.session.machine
        soonest = SOONEST
        while True:
            now = session.clock()
            if machine.next_wakeup() > now:
                self.looks = LOOKS
            elif not self.looks:  # pings, or a token a millisecond: the socket never times out, but a limit does
                self.ring(now)
            else:
                self.looks -= 1
            self.due = Instant(max(min(machine.armed_until(now), now + LONGEST_NAP), now + soonest))
            try:
                return read(self.due - now)
            except timed_out:
                soonest = SOONEST
            now = session.clock()
            if (late := now - self.due) > PATIENCE:
                session.note(Slept(late))
                # Due even so: it was silent long enough while we were awake, also on a machine that is always late.
                if machine.next_wakeup() > now - SOONEST:
                    soonest = PATIENCE
                    continue
            if machine.next_wakeup() <= now:
                try:
                    return read(SOONEST)  # what has arrived together with the alarm is let through first
                except timed_out:
                    self.ring(session.clock())

    def looked(self, main: socket.socket, nap: float) -> bool:
        """Look after the model's load while its answer is waited for. False where there is no answer yet."""
        if self.look is None:
            return True
        if self.session.machine.first_at is not None:
            self.look_away()
            return True
        return self.look.wait(main, nap, self.session.clock())

    def close(self) -> None:
        if self.session.on_heartbeat is not None:
            COURIERS.dismiss()
        self.look_away()

    def look_away(self) -> None:
        if self.look is not None:
            self.look.close()
            self.look = None

    def once(self, work: Callable[[float | None], T], timed_out: type[Exception], given: float | None = None) -> T:
        """What `work(seconds)` gives, where it cannot be asked again: to connect, to send. Heartbeats wait for it."""
        machine = self.session.machine
        ends = min(machine.due(Timer.TOTAL), machine.due(Timer.SILENCE))
        if ends == NEVER:
            return work(given)
        left = max(SOONEST, ends - self.session.clock())
        if given is not None and given < left:
            return work(given)
        try:
            return work(left)
        except timed_out:
            self.ring(max(ends, self.session.clock()))
            raise

    def ring(self, now: Instant) -> None:
        """Obey what is due, one order after the other."""
        session = self.session
        while session.machine.next_wakeup() <= now and session.rang is None:
            for order in session.wake(now):
                match order:
                    case Cancel():
                        session.rang = order
                    case Heartbeat():
                        self._tell(order)
                    case _:
                        pass
        if session.rang is not None:
            raise Rang

    def _tell(self, heartbeat: Heartbeat) -> None:
        """A listener that fails, or that is slow, is its own problem: it is told from a thread that lives for that."""
        if self.session.on_heartbeat is not None:
            COURIERS.send(self.session.on_heartbeat, heartbeat)


class Moment:
    """A wait that is given up after so many seconds, whatever it is for."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def until_it_is_there(self, read: Callable[[float], T], timed_out: type[Exception]) -> T:
        return read(self.seconds)

    def looked(self, main: socket.socket, nap: float) -> bool:
        return True

    def once(self, work: Callable[[float | None], T], timed_out: type[Exception], given: float | None = None) -> T:
        return work(self.seconds)


def watch_over(pool: Any, core: Any) -> None:
    """Put our backend beneath the pool of a transport of httpx or httpx2."""
    pool._network_backend = backend_kind(core)(pool._network_backend)


def _addresses(host: str, port: int) -> list[str]:
    """The name itself, unless it has several addresses: each of them may be silent, and all share what is left."""
    if HERE.vigil is None:
        return [host]
    with suppress(OSError):
        found = list(
            dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        )
        return found if len(found) > 1 else [host]
    return [host]


def connecting(core: Any, work: Callable[[float | None], Any], timeout: float | None) -> Any:
    vigil = HERE.vigil
    return work(timeout) if vigil is None else vigil.once(work, core.ConnectTimeout, timeout)


@cache
def stream_kind(core: Any) -> Callable[[Any], Any]:
    """A connection, of this httpcore's own base class."""

    class Stream(core.NetworkStream):  # type: ignore[misc]
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            vigil, read = HERE.vigil, self.inner.read
            if vigil is None:
                given: bytes = read(max_bytes, timeout)
                return given

            def look_and_read(nap: float) -> bytes:
                if not vigil.looked(self.inner.get_extra_info("socket"), nap):
                    raise core.ReadTimeout
                there: bytes = read(max_bytes, nap)
                return there

            found: bytes = vigil.until_it_is_there(look_and_read, core.ReadTimeout)
            return found

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            vigil = HERE.vigil
            if vigil is None:
                self.inner.write(buffer, timeout)
            else:
                vigil.once(lambda left: self.inner.write(buffer, left), core.WriteTimeout, timeout)

        def close(self) -> None:
            self.inner.close()

        def start_tls(self, ssl_context: Any, server_hostname: Any = None, timeout: float | None = None) -> Stream:
            start = self.inner.start_tls
            return Stream(connecting(core, lambda left: start(ssl_context, server_hostname, left), timeout))

        def get_extra_info(self, info: str) -> Any:
            return self.inner.get_extra_info(info)

    return Stream


@cache
def backend_kind(core: Any) -> Callable[[Any], Any]:
    """What opens connections, of this httpcore's own base class."""
    stream = stream_kind(core)

    class Backend(core.NetworkBackend):  # type: ignore[misc]
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def connect_tcp(self, host: str, port: int, timeout: float | None = None, *more: Any, **named: Any) -> Any:
            connect = self.inner.connect_tcp

            def opened(address: str, timeout: float | None) -> Any:
                return stream(connecting(core, lambda left: connect(address, port, left, *more, **named), timeout))

            *others, last = _addresses(host, port)
            for address in others:
                with suppress(core.ConnectError, core.ConnectTimeout):
                    return opened(address, timeout)
            return opened(last, timeout)

        def connect_unix_socket(self, path: str, timeout: float | None = None, *more: Any, **named: Any) -> Any:
            connect = self.inner.connect_unix_socket
            return stream(connecting(core, lambda left: connect(path, left, *more, **named), timeout))

        def sleep(self, seconds: float) -> None:
            self.inner.sleep(seconds)

    return Backend
