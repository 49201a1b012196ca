"""The asyncio driver: one lazily re-armed alarm per generation, armed around the await, never around the yield."""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import TYPE_CHECKING, Any

from hangtight.core.facts import Cancelled, Content, Finished, Left, Slept
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.orders import Cancel, CancelAgain, Excused, Moved
from hangtight.core.time import Instant
from hangtight.drivers.handover import HANDED, handing
from hangtight.errors import HangtightError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType
    from typing import Self

    from hangtight.core.orders import Order
    from hangtight.drivers.session import Session


PATIENCE = 0.05  # an alarm later than this says that we slept; and how long we then look once more
HOPS = 2  # turns of the loop in which a token that arrived with the alarm may still win
LONGEST_NAP = 5.0  # so that no more than this of a sleep of ours can pass unseen between two alarms
SOONEST = 0.001


def running_loop() -> asyncio.AbstractEventLoop:
    """The loop we run on. Refuses trio by name."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        if "trio" in sys.modules:
            raise HangtightError(
                "hangtight.watch runs on asyncio and uvloop, and this is trio (or no loop at all): "
                "use the synchronous form in a thread, or run under asyncio"
            ) from None
        raise


class Alarm:
    """The one timer of a generation. It rings early and often rather than be moved for each token."""

    __slots__ = ("base", "breaks_off_always", "clock", "due", "handle", "loop", "ours", "session", "task", "tellings")

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        self.session = session
        self.loop = loop
        self.clock = session.clock
        self.task = asyncio.current_task()
        self.base = 0
        """How many cancellations by others the task had when we first cancelled it."""
        self.ours = 0
        self.breaks_off_always = False
        """The task stands in our await also while its reader has the token: it pours, and waits for the end alone."""
        self.tellings: set[asyncio.Task[object]] = set()
        self.handle: asyncio.TimerHandle | None = None
        self.due = Instant(0.0)
        self.arm(self.clock())

    def resume(self) -> None:
        """Others have kept these clocks for a while; now we do again."""
        self.task = asyncio.current_task()
        self.arm(self.clock())

    def rearm(self) -> None:
        """It may have to ring sooner now. While it looks again, it is not disturbed: what was due then is past."""
        now = self.clock()
        if self.handle is not None and self.session.machine.armed_until(now) < self.due:
            self.handle.cancel()
            self.arm(now)

    def arm(self, now: Instant, *, soonest: float = SOONEST) -> None:
        wanted = min(self.session.machine.armed_until(now), now + LONGEST_NAP)
        self.due = Instant(max(wanted, now + soonest))
        self.handle = self.loop.call_later(self.due - now, self.ring)

    def ring(self) -> None:
        now = self.clock()
        if (late := now - self.due) > PATIENCE:
            self.session.note(Slept(late))
            # Due even so: it was silent long enough while we were awake, also on a loop that is always late.
            if self.session.machine.next_wakeup() > now - SOONEST:
                self.arm(now, soonest=PATIENCE)
                return
        if self.session.machine.next_wakeup() <= now:
            self.look_again(HOPS)
        else:
            self.arm(now)

    def look_again(self, hops: int) -> None:
        """Something is due. What has arrived with it is let through first."""
        if hops:
            self.handle = self.loop.call_soon(self.look_again, hops - 1)  # type: ignore[assignment]
            return
        now = self.clock()
        for order in self.session.wake(now):
            self.obey(order)
        self.arm(now)

    def obey(self, order: Order) -> None:
        match order:
            case Heartbeat():
                self.tell(order)
            case Cancel():
                self.session.rang = order
                self.break_off()
            case CancelAgain():
                self.break_off()
            case Excused() | Moved():
                pass

    def break_off(self) -> None:
        """Cancel the task, if it stands in our await; while its reader has the token it is not ours to touch."""
        if (self.session.machine.waiting or self.breaks_off_always) and self.task is not None:
            if not self.ours:
                self.base = self.task.cancelling()
            self.ours += 1
            self.task.cancel()

    def take_back(self) -> bool:
        """Undo our cancellations and nobody else's. True if the cancellation that arrived was ours alone."""
        ours, self.ours = self.ours, 0
        if not ours or self.task is None:
            return False
        for _ in range(ours):
            self.task.uncancel()
        return self.task.cancelling() <= self.base

    def tell(self, heartbeat: Heartbeat) -> None:
        """Tell the listener. A listener that fails or is slow is its own problem, never the generation's."""
        listener = self.session.on_heartbeat
        if listener is None or self.tellings:
            return
        try:
            answer = listener(heartbeat)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not the generation's
            self.complain(error)
            return
        if inspect.iscoroutine(answer):
            telling: asyncio.Task[object] = self.loop.create_task(answer)
            self.tellings.add(telling)
            telling.add_done_callback(self.told)

    def told(self, telling: asyncio.Task[object]) -> None:
        self.tellings.discard(telling)
        if not telling.cancelled() and (error := telling.exception()):
            self.complain(error)

    def complain(self, error: BaseException) -> None:
        self.loop.call_exception_handler({"message": "on_heartbeat of hangtight raised", "exception": error})

    def stop(self) -> None:
        self.task = None  # its frames lead back to us
        if self.handle is not None:
            self.handle.cancel()
        for telling in self.tellings:
            telling.cancel()


class Life:
    """From the first clock to the closed source: what the end of the block was, and whose."""

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        self.session = session
        self.loop = loop
        self.source: Any = None
        self.alarm = Alarm(session, loop)
        session.hand, session.nudge = (self.alarm.stop, self.alarm.resume), self.alarm.rearm

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """True where the end is for `verdict` to judge: the source's own end, or one that we made."""
        try:
            return self._judge(error)
        finally:
            self.alarm.stop()
            await self._close()

    def _judge(self, error: BaseException | None) -> bool:
        ours = self.alarm.take_back()
        match error:
            case None | StopAsyncIteration():
                return True
            case GeneratorExit():
                self.session.note(Left())
                return False
            case asyncio.CancelledError():
                if not ours:
                    self.session.note(Cancelled())
                return ours
            case _:
                return self.session.judge(error)

    async def _close(self) -> None:
        """Close the source within the limit `cancel`, whatever it does; then the generation has ended."""
        try:
            async with asyncio.timeout(self.session.resolved.limits.cancel) as scope:
                await close(self.source)
        except TimeoutError:
            if not scope.expired():
                raise
            self.session.left_running = True
        except Exception as error:  # noqa: BLE001 - a source that cannot close must not hide how it ended
            told = {"message": "closing the source of a watched generation failed", "exception": error}
            self.loop.call_exception_handler(told)
        finally:
            self.session.close()


async def flow(opening: Callable[[], Any], session: Session, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Any]:
    """Open the source, hand on each chunk when it is there, and keep the clocks; the source is closed at any end."""
    machine, now, keep = session.machine, session.clock, session.texts(Content).append
    async with Life(session, loop) as life:
        life.source = await opened(opening, session)
        step, alarm, reader, lent = aiter(life.source).__anext__, life.alarm, session.reader, session.lent()
        while True:
            alarm.task = asyncio.current_task()
            token = HANDED.set(lent) if lent is not None else None
            try:
                chunk = await step()
            finally:
                if token is not None:
                    HANDED.reset(token)
            if session.stands_aside:
                yield chunk
                continue
            if reader is not None and reader.type is type(chunk):
                kind, text, finished = reader.read(chunk)
            else:
                (kind, text, finished), reader = session.kind_of(chunk), session.reader
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
                alarm.take_back()
            yield chunk
            if kind is machine.lane and kind is not None:
                machine.since, machine.waiting = now(), True
            elif session.rang is not None:
                break
            else:
                session.ask()
    session.settle()


async def whole(opening: Callable[[], Any], session: Session, loop: asyncio.AbstractEventLoop) -> Any:
    """Await one unstreamed answer under `unstreamed` and `total`."""
    async with Life(session, loop) as life:
        with handing(session):
            answer = opening()
            if inspect.isawaitable(answer):
                answer = await answer
        if hasattr(answer, "__aiter__"):
            life.source = answer
            raise TypeError("this call opened a stream: iterate over `hangtight.watch(...)` itself, without `await`")
        if session.deputy is None:
            session.note(Finished())
    session.settle()
    return answer


async def opened(opening: Callable[[], Any], session: Session) -> Any:
    """The stream itself, from whatever opens it. The clocks run meanwhile."""
    with handing(session):
        source = opening()
        if inspect.isawaitable(source):
            source = await source
    if not hasattr(source, "__aiter__"):
        kind = type(source).__qualname__
        if hasattr(source, "__iter__") and not isinstance(source, str | bytes | dict):
            raise TypeError(f"an asynchronous loop cannot read the synchronous {kind}: use `for`, not `async for`")
        raise TypeError(
            f"this call answered with a {kind}, not with a stream: use `await hangtight.watch(...)`, or stream=True"
        )
    session.opened(source)
    return source


async def close(source: Any) -> None:
    """Close a stream of any library, whatever it calls that."""
    for name in ("aclose", "close"):
        if (closing := getattr(source, name, None)) is not None:
            answer = closing()
            if inspect.isawaitable(answer):
                await answer
            return
