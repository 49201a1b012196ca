"""One model server: the machine of its process, and the only hand that touches that process.

Facts go through one inbox, whoever brings them, and are recorded one after the other; what the machine orders is done
at once where that takes no time, else by a task, whose end is the next fact.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from hangtight.core.process.facts import (
    Ending,
    Entered,
    Fact,
    Left,
    LoadProgress,
    Renewed,
    SleepDone,
    SleepFailed,
    Slept,
    WakeDone,
    WakeFailed,
)
from hangtight.core.process.machine import Process
from hangtight.core.process.orders import (
    BreakOff,
    CutOff,
    FellBack,
    Kill,
    Open,
    Order,
    Probe,
    ProbeNoMore,
    RunSleep,
    RunWake,
    Start,
    Stop,
    Tell,
    TurnAway,
)
from hangtight.core.process.phases import Phase
from hangtight.core.process.terms import Terms
from hangtight.core.time import FOREVER, NEVER, Instant, Seconds, after, between
from hangtight.supervisor.hands import Hands
from hangtight.supervisor.waiting import Held, Refused, Waiting

if TYPE_CHECKING:
    from hangtight.rules.running import Running
    from hangtight.supervisor.yard import Yard

NOT_RUN = "it is not run any more"
LATE = 0.05  # seconds: an alarm later than this says that we stood still, and not the model
CATCH_UP = 1.0  # seconds in which what happened meanwhile is heard, before anything is judged


class ModelServer:
    """One model that is run."""

    def __init__(self, running: Running, yard: Yard) -> None:
        self.running = running
        self.machine = Process(terms_of(running), yard.now())
        self.waiting: dict[asyncio.Future[Held], Waiting] = {}
        """Who waits until it is ready."""
        self.leases: set[Held] = set()
        self._fell_back: dict[str, tuple[Instant, str]] = {}
        """When the last sleep, and the last wake, came to something else, and why."""
        self._tries = ""
        self._yard = yard
        self._inbox: deque[Fact] = deque()
        self._busy = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: Instant = NEVER
        self._not_before: Instant = yard.now()
        """Nothing is judged earlier: we stood still, and are catching up."""
        self._hands = Hands(running, yard, self.note, self._gets_on)
        self._watchers: list[asyncio.Future[None]] = []

    @property
    def name(self) -> str:
        return self.running.name

    # -- requests -----------------------------------------------------------------------------------------------

    def lease(self, who: Waiting) -> Held | None:
        """At once, where it is ready."""
        if not self.machine.admits:
            return None
        held = Held(self, who)
        self.leases.add(held)
        self.note(Entered(Seconds(held.patience)))
        return held

    def queue(self, who: Waiting) -> asyncio.Future[Held]:
        """Wait until it is ready. Somebody else sees to it that it will be."""
        future: asyncio.Future[Held] = self._yard.loop.create_future()
        self.waiting[future] = who
        return future

    async def entered(self, future: asyncio.Future[Held]) -> Held:
        """When who queues is let in. Raises Refused."""
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().end()  # it was let in at the very moment at which it left
            raise
        finally:
            self.waiting.pop(future, None)

    def left(self, held: Held, end: Ending) -> None:
        """A request gives back its place."""
        if held in self.leases:
            self.leases.discard(held)
            self._hear()
            longest = max((other.patience for other in self.leases), default=0.0)
            self.note(Left(end, Seconds(longest)))

    def refusal(self) -> tuple[str, float] | None:
        """Why who wants it would be turned away at once, and for how long."""
        failures, now = self.machine.failures, self._yard.now()
        pauses = self.machine.phase is Phase.FAILED and failures.left(now) > 0
        return (failures.why, failures.left(now)) if pauses else None

    # -- the machine --------------------------------------------------------------------------------------------

    def note(self, fact: Fact) -> None:
        """Something happened. What it leads to is under way when this returns."""
        self._inbox.append(fact)
        if not self._busy:
            self._work(())

    def _ring(self) -> None:
        now, due = self._yard.now(), self._alarm_at
        self._alarm, self._alarm_at = None, NEVER
        self._hear()
        late = between(due, now)
        if late > LATE and due > self._not_before:  # a loop that is always late comes to a judgement, too
            orders = self.machine.record(Slept(late), now)
            self._not_before = after(now, Seconds(CATCH_UP))
            self._work(orders)
        else:
            self._work(self.machine.wake(now))

    def _hear(self) -> None:
        """When a token last came, and what its check answered. Asked for where that matters, not told for each."""
        self.machine.heard = self._hands.heard
        progress = self._yard.progress(self.name)
        if progress is not None:
            self.machine.progressed(progress)

    def _work(self, orders: tuple[Order, ...]) -> None:
        self._busy = True
        try:
            for order in orders:
                self._obey(order)
            while self._inbox:
                for order in self.machine.record(self._inbox.popleft(), self._yard.now()):
                    self._obey(order)
        finally:
            self._busy = False
        self._arm()
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)
        self._yard.changed(self)

    async def is_quiet_for_long(self, since: Instant) -> bool:
        """Comes back when no token came for `hang` seconds from then on; False: in this life it will not be said."""
        machine, life = self.machine, self.machine.rests_so_far
        while self.running.hang is not None and machine.rests_so_far == life:
            self._hear()
            due = after(max(since, machine.progress_at or since), Seconds(self.running.hang))
            if due <= self._yard.now():
                return True
            await asyncio.sleep(due - self._yard.now())
            if (late := between(due, self._yard.now())) > LATE:
                since = after(since, late)
                await asyncio.sleep(CATCH_UP)
        return False

    def fell_back(self, what: str, since: Instant) -> str:
        """Why a `sleep` or a `wake` since then came to something else; empty if none did. Several may ask."""
        at, why = self._fell_back.get(what, (since, ""))
        return why if at >= since else ""

    async def until(self, *phases: Phase) -> Phase:
        """It has come to rest in one of these, if only for a moment: in which."""
        machine, before = self.machine, self.machine.rests_so_far
        while machine.phase not in phases:
            if machine.rests_so_far > before and machine.rested in phases:
                return machine.rested  # and somebody has woken or started it since
            watcher = self._yard.loop.create_future()
            self._watchers.append(watcher)
            await watcher
        return machine.phase

    def renew(self, running: Running) -> None:
        """It is run in another way from now on. What runs already goes on; only its clocks change."""
        self.running = self._hands.running = running
        self.note(Renewed(terms_of(running)))

    def _arm(self) -> None:
        """An alarm that rings too early is harmless, so it is only ever moved forward."""
        at = max(self.machine.next_wakeup(), self._not_before)
        if self._alarm is not None and self._alarm_at <= at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now = self._yard.now()
        self._alarm_at = max(at, now)
        if at != NEVER:
            self._alarm = self._yard.loop.call_later(self._alarm_at - now, self._ring)

    def _obey(self, order: Order) -> None:
        match order:
            case Start():
                self._hands.start()
            case Probe():
                self._hands.probe()
            case ProbeNoMore():
                self._hands.probe_no_more()
            case RunSleep():
                self._tries = "sleep"
                self._hands.run(self.running.sleep_command, SleepDone(), SleepFailed)
            case RunWake():
                self._tries = "wake"
                self._hands.run(self.running.wake_command, WakeDone(), WakeFailed)
            case BreakOff():
                self._hands.run_no_more()
            case Stop():
                self._hands.stop()
            case Kill():
                self._hands.kill()
            case Open():
                self._open()
            case CutOff(why):
                for held in list(self.leases):
                    held.who.cut(f"{self.name}: {why}")
            case TurnAway(why, retry_after):
                self.turn_away(why, retry_after)
            case FellBack(error):
                self._fell_back[self._tries] = self._yard.now(), error
            case Tell(level, words):
                self._yard.say(self.name, level, words)

    def _open(self) -> None:
        for future, who in list(self.waiting.items()):
            if not future.done() and (held := self.lease(who)) is not None:
                future.set_result(held)
        self._yard.answered(self)

    def turn_away(self, why: str, retry_after: float) -> None:
        """Who waits is refused, each with an error of his own: it will bear what became of his request."""
        for future in list(self.waiting):
            if not future.done():
                future.set_exception(Refused(f"{self.name}: {why}", retry_after))
        self._yard.answered(self)

    # -- what it says -------------------------------------------------------------------------------------------

    def _gets_on(self) -> None:
        if self.machine.phase is not Phase.STARTING:
            return
        self.note(LoadProgress())
        for who in list(self.waiting.values()):
            who.loading()

    # -- the end of all -----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Nothing of ours is left. Whoever calls this has seen to it that the process is gone."""
        if self._alarm is not None:
            self._alarm.cancel()
        await self._hands.close()
        self.turn_away(NOT_RUN, FOREVER)


def terms_of(running: Running) -> Terms:
    """The lengths of a file as the clocks of the machine."""
    return Terms(
        start=Seconds(running.start),
        stall=None if running.stall is None else Seconds(running.stall),
        sleep=Seconds(running.sleep),
        wake=Seconds(running.wake),
        stop=Seconds(running.stop),
        drain=Seconds(running.drain),
        ttl=FOREVER if running.ttl is None else Seconds(running.ttl),
        hang=FOREVER if running.hang is None else Seconds(running.hang),
        can_sleep=running.sleeps,
        has_stop=bool(running.stop_command),
    )
