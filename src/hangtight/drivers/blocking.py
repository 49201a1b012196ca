"""The synchronous driver. The caller's own thread reads what it can; a watchdog wakes it when an alarm rings.

Three ways to read, the cheapest that can be woken: an SDK's stream over a socket that can be shut down and a
source that can break itself off are read in the caller's thread; anything else in a helper thread that can be
left behind.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hangtight.core.facts import Cancelled, Content, Left
from hangtight.drivers.handover import handing
from hangtight.drivers.helper import Helper, Rang
from hangtight.drivers.sources import Origin, shut
from hangtight.drivers.watchdog import COURIERS, WATCHDOGS, Ticket, complain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Self

    from hangtight.drivers.session import Session


CLOSER = "hangtight-closer"


@runtime_checkable
class BreaksOff(Protocol):
    """A source of ours that can be woken from another thread."""

    def break_off(self) -> None: ...


class Life:
    """From the first clock to the closed source: who reads it, how that read is broken off, what its end was."""

    __slots__ = ("__weakref__", "helper", "origin", "session", "source", "ticket")

    def __init__(self, session: Session, source: Any) -> None:
        self.session = session
        self.source = source
        self.origin: Origin | None = None
        self.helper: Helper | None = None
        self.ticket = Ticket(self)
        session.hand, session.nudge = (self.ticket.withdraw, self.ticket.resume), self.ticket.resume

    def __enter__(self) -> Self:
        WATCHDOGS.add(self.ticket)
        if self.session.on_heartbeat is not None:
            COURIERS.hire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """True where the end is for `verdict` to judge: the source's own end, or one that we made."""
        try:
            return self._judge(error)
        finally:
            WATCHDOGS.remove(self.ticket)
            if self.session.on_heartbeat is not None:
                COURIERS.dismiss()
            self.close()

    def _judge(self, error: BaseException | None) -> bool:
        match error:
            case None | StopIteration() | End() | Rang():
                return True
            case GeneratorExit():
                self.session.note(Left())
                return False
            case KeyboardInterrupt():
                self.session.note(Cancelled())
                return False
            case _:
                return self.session.judge(error)

    def open(self, opening: Callable[[], Any] | None) -> Callable[[], Any]:
        """Open the source if it is not, and return what reads its next chunk."""
        if opening is not None:
            self.helper = Helper()
            self.source = self.helper.call(opening)
        if hasattr(self.source, "__aiter__") and not hasattr(self.source, "__iter__"):
            kind = type(self.source).__qualname__
            raise TypeError(f"a synchronous loop cannot read the asynchronous {kind}: use `async for`")
        step: Callable[[], Any] = iter(self.source).__next__
        self.origin = self.session.opened(self.source)
        if self.session.stands_aside or self.origin.reads_a_socket or isinstance(self.source, BreaksOff):
            self.release()
            return step
        helper = self.helper = self.helper or Helper()
        return lambda: helper.call(lambda: _next(step))

    def release(self) -> None:
        """The helper has opened the stream and is not needed to read it."""
        if self.helper is not None:
            self.helper.end()
            self.helper = None

    def break_off(self) -> None:
        """Called by the watchdog."""
        if self.helper is not None:
            self.helper.call_back()
        elif isinstance(self.source, BreaksOff):
            self.source.break_off()
        elif self.origin is not None and self.origin.socket is not None:
            shut(self.origin.socket)

    def close(self) -> None:
        """End the thread, close the source, and with that the generation."""
        if self.helper is not None:
            self.session.left_running = not self.helper.end()
        try:
            if not self.session.left_running:
                self._close_source()
        finally:
            self.session.close()

    def _close_source(self) -> None:
        """A source that cannot close must not hide how it ended; after a timeout `cancel` bounds how long it takes."""
        closing = getattr(self.source, "close", None)
        if closing is None:
            return
        if self.session.rang is None:
            _quietly(closing)
            return
        thread = threading.Thread(target=_quietly, args=(closing,), name=CLOSER, daemon=True)
        thread.start()
        thread.join(self.session.resolved.limits.cancel)
        self.session.left_running = thread.is_alive()


def _quietly(closing: Callable[[], Any]) -> None:
    try:
        closing()
    except Exception:  # noqa: BLE001 - shown as a thread's error would be
        complain()


class End(Exception):
    """StopIteration may not travel through a thread's answer into a generator."""


def _next(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except StopIteration:
        raise End from None


def flow(opening: Callable[[], Any] | None, source: Any, session: Session) -> Generator[Any]:
    """Hand on each chunk when it is there, and keep the clocks; the source is closed at any end."""
    machine, now, keep = session.machine, session.clock, session.texts(Content).append
    with Life(session, source) as reading:
        with handing(session):
            step = reading.open(opening)
        reader = session.reader
        while True:
            chunk = step()
            if session.stands_aside:
                yield chunk
                continue
            if reader is not None and reader.type is type(chunk):
                kind, text, finished = reader.read(chunk)
            else:
                kind, text, finished = session.kind_of(chunk)
                reader = session.reader
            if kind is machine.lane and kind is not None and not finished:
                at = now()
                if at - machine.since > machine.longest:  # noqa: PLR1730 - the call of max() costs as much as the rest
                    machine.longest = at - machine.since
                machine.since, machine.waiting, machine.tokens = at, False, machine.tokens + 1
                keep(text)
                if machine.tokens >= session.look_at:
                    session.look()
            else:
                keep = session.receive(kind, text, finished)
            yield chunk
            if kind is machine.lane and kind is not None:
                machine.since = now()
                machine.waiting = True
            elif session.rang is not None:
                break
            else:
                session.ask()
    session.settle()
