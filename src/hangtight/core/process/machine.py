"""The life of one model process: facts in, orders out, one next wake-up. Pure: the driver brings the instants.

The table in `phases` says what may follow what; the effects are here. A driver's loop is always the same: obey the
orders, arm one alarm at `next_wakeup`, wait, record what came or `wake` when the alarm rings. One driver per process.

The clocks are the process's own. A caller that gives up leaves a load or a wake running, so nothing here knows callers:
`wanted` says that somebody waits, and every `Wanted` is followed by `Open` or `TurnAway`, now or later.
"""

from __future__ import annotations

from dataclasses import replace

from hangtight.core.process import words
from hangtight.core.process.alarms import alarm_of
from hangtight.core.process.facts import (
    Adopted,
    Ending,
    Entered,
    Exited,
    Fact,
    Gone,
    Healthy,
    Hung,
    Left,
    LoadProgress,
    Progressed,
    PutAway,
    Renewed,
    Rest,
    SleepDone,
    SleepFailed,
    Slept,
    Spawned,
    SpawnFailed,
    Stubborn,
    WakeDone,
    WakeFailed,
    Wanted,
    Why,
)
from hangtight.core.process.life import NOTHING, Life, Orders
from hangtight.core.process.orders import (
    CutOff,
    FellBack,
    Level,
    Probe,
    RunSleep,
    RunWake,
    Start,
    Tell,
)
from hangtight.core.process.phases import LEGAL, RESTING, RINGS, IllegalFact, Phase
from hangtight.core.process.terms import Clock
from hangtight.core.time import Instant, Seconds, between

IDLE = {rest: PutAway(rest, Why.TTL) for rest in Rest}
HUNG = PutAway(Rest.STOP, Why.HUNG)


class Process(Life):
    """The clocks of one process, which is stopped at first."""

    __slots__ = ()

    # -- facts ------------------------------------------------------------------------------------------------

    def record(self, fact: Fact, now: Instant) -> Orders:
        """What happened, and when. Raises IllegalFact for what the table does not allow."""
        allowed = LEGAL[self.phase].get(type(fact))
        if allowed is None or self._is_impossible(fact):
            raise IllegalFact(self.phase, fact)
        orders = self._effect(fact, now)
        assert self.phase in allowed, f"{type(fact).__name__} must not lead to {self.phase}"
        return orders

    def _is_impossible(self, fact: Fact) -> bool:
        """What no phase tells: nobody is inside who could leave, or it was spawned already."""
        if isinstance(fact, Left):
            return not self.running
        return isinstance(fact, Spawned | SpawnFailed) and self.pid is not None

    def _effect(self, fact: Fact, now: Instant) -> Orders:
        match fact:
            case Progressed():
                self.progressed(now)
            case Entered(patience):
                self._enters(patience, now)
            case Left(end, patience):
                return self._left(end, patience, now)
            case Slept(late):
                return self._slept(late, now)
            case Wanted(insists):
                return self._want(now, insists)
            case PutAway():
                return self._put_away(fact, now)
            case Hung(why):
                return self._found_hung(why, now)
            case Renewed(terms):
                self.terms = terms
            case LoadProgress():
                self.loaded_at = now
            case Adopted() | Spawned() | SpawnFailed() | Healthy():
                return self._of_a_start(fact, now)
            case SleepDone() | SleepFailed() | WakeDone() | WakeFailed():
                return self._of_a_command(fact, now)
            case Exited() | Gone() | Stubborn():  # pragma: no branch - mypy holds that there is no other
                return self._of_an_end(fact, now)
        return NOTHING

    # -- who wants it -----------------------------------------------------------------------------------------

    def _want(self, now: Instant, insists: bool = False) -> Orders:
        self.wanted = True
        if self.closed:
            return self._turn_away(words.SHUTTING_DOWN, self.terms.longest_pause)
        match self.phase:
            case Phase.STOPPED:
                return self._start(now)
            case Phase.FAILED:
                return self._try_again(now, insists)
            case Phase.ASLEEP:
                self._enter(Phase.WAKING, now)
                self.commands = True
                return words.waking(self.terms.wake), RunWake()
            case Phase.DRAINING if self.leaving is not None and self.leaving.why is Why.TTL:
                # Nobody had asked for its end: it was only thought that nobody would come. Everybody else who wants it
                # gone waits for its place, or has said so in person, and is obeyed.
                self.leaving = None
                self._enter(Phase.READY, now)
                return self._open()
            case Phase.READY:
                return self._open()
            case _:
                return NOTHING

    def _try_again(self, now: Instant, insists: bool) -> Orders:
        left = Seconds(0.0) if insists else self.failures.left(now)
        if left:
            return self._turn_away(self.failures.why, left)
        return self._end(now) if self.lingers else self._start(now)

    def _left(self, end: Ending, patience: Seconds, now: Instant) -> Orders:
        self._leaves(end, patience, now)
        return self._act(now) if not self.running and self.phase is Phase.DRAINING else NOTHING

    # -- start ------------------------------------------------------------------------------------------------

    def _start(self, now: Instant) -> Orders:
        self._begin_life(now)
        return words.starting(self.terms.start), Start()

    def _begin_life(self, now: Instant) -> None:
        self._enter(Phase.STARTING, now)
        self.failures.begun()
        self.spawned_at = self.loaded_at = now
        self.ready_at = self.progress_at = None
        self.heard = ""

    def _of_a_start(self, fact: Adopted | Spawned | SpawnFailed | Healthy, now: Instant) -> Orders:
        match fact:
            case Adopted(pid):
                self._begin_life(now)
                return self._spawned(pid, now)
            case Spawned(pid):
                return self._spawned(pid, now)
            case SpawnFailed(why) if self.phase is Phase.STARTING:
                reason = words.spawn_failed(why)
                told = (Tell(Level.ERROR, reason), *self._blame(reason, now))
                return (*told, *self._turn_away(reason, self.failures.pause), *self._rest(now))
            case SpawnFailed():
                return self._gone(now)
            case Healthy() if self.phase is Phase.STARTING:
                took = between(self.spawned_at, now)
                return (*self._call_off(), words.started(took), *self._ready(now))
            case Healthy():  # pragma: no branch - mypy holds that there is no other
                return NOTHING

    def _spawned(self, pid: int, now: Instant) -> Orders:
        self.pid = pid
        self.spawned_at = self.loaded_at = now
        match self.phase:
            case Phase.STARTING:
                self.probes = True
                return (Probe(),)
            case Phase.STOPPING if not self.killed:  # while it was being spawned somebody wanted its end
                return self._stop(now)
            case _:
                return self._end(now)

    def _ready(self, now: Instant) -> Orders:
        self._enter(Phase.READY, now)
        self.ready_at = self.busy_at = self.idle_at = now
        self.quiet_for = Seconds(0.0)
        return self._open()

    # -- who wants it gone ------------------------------------------------------------------------------------

    def _put_away(self, wish: PutAway, now: Instant) -> Orders:
        again, self.closed = self.closed, self.closed or wish.why is Why.SHUTDOWN
        if self.closed or not self.terms.can_sleep:
            wish = replace(wish, to=Rest.STOP)
        refused = NOTHING
        if wish.at_once and wish.why is not Why.RELOAD:  # after a reload it starts anew for who waits
            refused = self._turn_away(words.SHUTTING_DOWN if self.closed else words.TAKEN_AWAY, self.terms.first_pause)
        if self.phase is Phase.STOPPING and wish.urgent and not self.killed and (again or not self.terms.has_stop):
            return (*refused, *self._kill(now))
        return (*refused, *self._send_off(wish, now))

    def _send_off(self, wish: PutAway, now: Instant) -> Orders:
        stops = wish.to is Rest.STOP
        match self.phase:
            case Phase.READY:
                return self._leave(wish, now)
            case Phase.DRAINING | Phase.STARTING | Phase.WAKING:
                self._join(wish)
                return self._hurry(wish, now)
            case Phase.FAILED if stops:
                return self._clear(wish, now)
            case Phase.SLEEPING | Phase.ASLEEP | Phase.STOPPING:
                if self.wanted and not wish.at_once:  # it comes back, serves who waits, and goes then
                    self._join(wish)
                ends = stops and self.phase is not Phase.STOPPING
                return (*self._call_off(), *self._stop(now, wish.why)) if ends else NOTHING
            case _:
                return NOTHING

    def _join(self, wish: PutAway) -> None:
        self.leaving = wish if self.leaving is None else self.leaving.joined(wish)

    def _hurry(self, wish: PutAway, now: Instant) -> Orders:
        """Who is inside, or waits, is served before it goes, unless the wish is stronger than that."""
        if self.phase is Phase.DRAINING:
            return self._cut_and_act(words.cut_off(wish.why), now) if wish.urgent else NOTHING
        if not wish.at_once:
            return NOTHING
        self.leaving = None
        return (*self._call_off(), *self._stop(now, wish.why))

    def _clear(self, wish: PutAway, now: Instant) -> Orders:
        """One that failed: what is left of it goes. Who has looked at it, or at its settings, gives it a new try."""
        if wish.why in (Why.OPERATOR, Why.RELOAD):
            self.failures.forgive()
        if self.lingers:
            return self._end(now)
        if not self.failures.row:
            self._enter(Phase.STOPPED, now)
        return NOTHING

    def _leave(self, wish: PutAway, now: Instant) -> Orders:
        """From now on nobody enters; it acts when the last one has left."""
        self.leaving = wish
        if not self.running or wish.urgent:
            return self._cut_and_act(words.cut_off(wish.why), now)
        self._enter(Phase.DRAINING, now)
        return (words.draining(self.running, wish, self.terms.drain),)

    def _cut_and_act(self, why: str, now: Instant) -> Orders:
        return (*((CutOff(why),) if self.running else NOTHING), *self._act(now))

    def _act(self, now: Instant) -> Orders:
        wish, self.leaving = self.leaving, None
        assert wish is not None, "who acts was asked to"
        if not self.failures.pending:  # it worked until somebody wanted it gone
            self.failures.forgive()
        if wish.to is Rest.SLEEP:
            self._enter(Phase.SLEEPING, now)
            self.commands = True
            return words.going_to_sleep(self.terms.sleep), RunSleep()
        # What hangs seldom ends when it is asked: if somebody waits for the next life there is no time for that.
        return self._end(now, wish.why) if wish.why is Why.HUNG and self.wanted else self._stop(now, wish.why)

    def _found_hung(self, why: str, now: Instant) -> Orders:
        """It works in vain for somebody. What it does for others may be sound, and has until the drain clock rings."""
        if self.phase not in (Phase.READY, Phase.DRAINING):
            return NOTHING  # it is on its way out, or its next life has begun
        reason = words.found_hung(why)
        return (Tell(Level.ERROR, reason), *self._blame(reason, now), *self._send_off(HUNG, now))

    # -- sleep and wake ---------------------------------------------------------------------------------------

    def _of_a_command(self, fact: SleepDone | SleepFailed | WakeDone | WakeFailed, now: Instant) -> Orders:
        if self.phase is Phase.STOPPING:  # it was broken off, and ended at the same moment
            return NOTHING
        self.commands = False
        took = between(self.since, now)
        match fact:
            case SleepDone():
                self._enter(Phase.ASLEEP, now)
                return (words.slept(took), *self._come_back(now))
            case WakeDone():
                return (words.woken(took), *self._ready(now))
            case SleepFailed(why):
                return self._fell_back(words.sleep_failed(why), now)
            case WakeFailed(why):  # pragma: no branch - mypy holds that there is no other
                return self._fell_back(words.wake_failed(why), now)

    def _fell_back(self, told: words.Fallback, now: Instant) -> Orders:
        """Sleep becomes a stop, and a wake a restart, because somebody wants it: `_rest` starts it then."""
        line, error = told
        self.failures.why = error
        return (line, FellBack(error), *self._call_off(), *self._stop(now))

    # -- the end ----------------------------------------------------------------------------------------------

    def _of_an_end(self, fact: Exited | Gone | Stubborn, now: Instant) -> Orders:
        match fact:
            case Exited(why):
                return self._exited(why, now)
            case Gone():
                return self._gone(now)
            case Stubborn(left):  # pragma: no branch - mypy holds that there is no other
                return self._gave_up(left, now)

    def _exited(self, why: str, now: Instant) -> Orders:
        """Its children may have outlived it, and hold its memory and its port: they are ended before it is gone."""
        if self.phase in (Phase.STOPPING, Phase.FAILED):  # that was asked for; it is `Gone` that counts
            return NOTHING
        reason = words.exited(why, self.phase)
        self.pid, self.leaving = None, None
        told = (Tell(Level.ERROR, reason), *self._blame(reason, now))
        refused = self._turn_away(reason, self.failures.pause)
        return (*self._call_off(), *told, *refused, *self._end(now))

    def _gone(self, now: Instant) -> Orders:
        ran, self.pid, self.lingers = self.pid is not None, None, False
        if self.phase is Phase.FAILED:
            return NOTHING
        told = (words.gone(between(self.since, now), self.killed),) if ran else NOTHING
        return (*told, *self._rest(now))

    def _gave_up(self, left: str, now: Instant) -> Orders:
        """It survived its kill. Nothing is started beside it: the next who wants it has it killed once more."""
        if self.phase is Phase.FAILED:
            return NOTHING
        reason = words.stubborn(left)
        self.lingers, self.ready_at = True, None
        return (Tell(Level.ERROR, reason), *self._blame(reason, now), *self._rest(now))

    def _rest(self, now: Instant) -> Orders:
        failed = self.failures.rested(now)
        self._enter(Phase.FAILED if failed else Phase.STOPPED, now)
        return self._come_back(now)

    def _come_back(self, now: Instant) -> Orders:
        """It is away. If somebody waits it comes at once, and a wish to put it away holds: a swap comes to its end."""
        orders = self._want(now) if self.wanted else NOTHING
        if self.phase in RESTING:
            self.leaving = None
        return orders

    # -- time -------------------------------------------------------------------------------------------------

    def wake(self, now: Instant) -> Orders:
        """The alarm rang. Being early is harmless; what begins now has its whole time, however late that was."""
        clock, at = alarm_of(self)
        if clock is None or now < at:
            return NOTHING
        allowed = RINGS[self.phase][clock]
        orders = self._rings(clock, now)
        assert self.phase in allowed, f"{clock} must not lead to {self.phase}"
        return orders

    def _rings(self, clock: Clock, now: Instant) -> Orders:
        terms = self.terms
        match clock:
            case Clock.START | Clock.STALL:
                return self._start_failed(clock, now)
            case Clock.LEAVE:
                assert self.leaving is not None, "this clock runs while it is to leave"
                return self._leave(self.leaving, now)
            case Clock.HANG:
                reason = words.hung(self.running, terms.hang)
                self.leaving = HUNG
                return (Tell(Level.ERROR, reason), *self._blame(reason, now), *self._cut_and_act(reason, now))
            case Clock.TTL:
                told = words.idle(terms.ttl)
                return (told, *self._leave(IDLE[Rest.SLEEP if terms.can_sleep else Rest.STOP], now))
            case Clock.DRAIN:
                told = words.drain_timed_out(self.running, terms.drain)
                return (told, *self._cut_and_act(words.drained_in_vain(terms.drain), now))
            case Clock.SLEEP:
                return self._fell_back(words.sleep_timed_out(terms.sleep), now)
            case Clock.WAKE:
                return self._fell_back(words.wake_timed_out(terms.wake), now)
            case Clock.STOP:
                return (words.killing(terms.stop), *self._kill(now))
            case Clock.KILL:  # pragma: no branch - mypy holds that there is no other
                return self._gave_up(words.NOT_SEEN_TO_END, now)

    def _start_failed(self, clock: Clock, now: Instant) -> Orders:
        stall = self.terms.stall if clock is Clock.STALL else None
        heard = self.heard
        reason = words.start_timed_out(self.terms.start, heard) if stall is None else words.load_stuck(stall, heard)
        told = (Tell(Level.ERROR, reason), *self._blame(reason, now))
        refused = self._turn_away(reason, self.failures.pause)
        self.leaving = None
        return (*self._call_off(), *told, *refused, *self._stop(now))
