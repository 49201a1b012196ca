"""One generation: facts in, orders out, one next wake-up. Pure: the driver brings the instants and obeys.

The table in `phases` says what may happen; the effects are here. A driver's loop is always the same:
obey the orders, arm one alarm at `armed_until`, wait, record what came or `wake` when the alarm rings.

The fast lane: while `lane` is the kind of progress that comes in (`Content` while streaming, `Reasoning`
while thinking), a driver may write `since, waiting, tokens` itself instead of recording the progress, and
`since, waiting` instead of recording the `Asked` that follows it. A property test holds that the two agree.
"""

from __future__ import annotations

from typing import assert_never

from hangtight.core.facts import (
    Absent,
    Admitted,
    Asked,
    Broke,
    Cancelled,
    Closed,
    Contact,
    Content,
    End,
    Fact,
    Finished,
    Handed,
    Left,
    LoadProgress,
    Paused,
    PrefillProgress,
    Queued,
    Ready,
    Reasoning,
    Resident,
    Resumed,
    Slept,
)
from hangtight.core.heartbeat import Heartbeat, Snapshot
from hangtight.core.limits import Limit
from hangtight.core.orders import Broken, Cancel, CancelAgain, Excused, Order
from hangtight.core.pauses import Pauses
from hangtight.core.phases import LEGAL, IllegalFact, Outcome, Phase
from hangtight.core.time import NEVER, Instant, Seconds, after, between
from hangtight.core.timers import Clocks, Timer, TotalFrom

LIVE_AFTER_START = (Phase.LOADING, Phase.WAITING)
NOTHING: tuple[Order, ...] = ()


class Generation:
    """The clocks of one generation. `phase` is where it starts: `QUEUED`, `LOADING`, `WAITING`, `UNSTREAMED`."""

    __slots__ = (
        "beat_at",
        "born",
        "broken",
        "cancel_at",
        "cancels",
        "clocks",
        "contact_at",
        "ended_at",
        "first_at",
        "handed_at",
        "lane",
        "model",
        "outcome",
        "pauses",
        "phase",
        "since",
        "tokens",
        "total_at",
        "waiting",
    )

    def __init__(self, clocks: Clocks, now: Instant, *, phase: Phase = Phase.WAITING, model: str = "the model") -> None:
        self.clocks = clocks
        self.phase = phase
        self.model = model
        self.born = now
        self.lane: type[Content] | type[Reasoning] | None = None
        self.since = now
        """Silence counts from here."""
        self.waiting = False
        self.tokens = 0
        self.handed_at = now
        """When a piece without content last went to the reader, who holds it until the next Asked."""
        self.contact_at: Instant | None = None
        self.first_at: Instant | None = None
        self.ended_at: Instant | None = None
        """The instant of the verdict; the source may take a little longer to close."""
        self.pauses = Pauses()
        self.outcome: Outcome | None = None
        self.broken: Broken | None = None
        self.cancels = 0
        self.cancel_at: Instant = NEVER
        self.beat_at = after(now, clocks.heartbeat)
        self.total_at = self._first_total()

    # -- facts ------------------------------------------------------------------------------------------------

    def record(self, fact: Fact, now: Instant) -> tuple[Order, ...]:
        """What happened, and when. Raises IllegalFact for what the table does not allow."""
        try:
            phase = LEGAL[self.phase][type(fact)]
        except KeyError:
            raise IllegalFact(self.phase, fact) from None
        before, self.phase = self.phase, phase
        orders = self._effect(fact, before, now)
        self._open_lane()
        return orders

    def _effect(self, fact: Fact, before: Phase, now: Instant) -> tuple[Order, ...]:
        match fact:
            case Content() | Reasoning():
                self._progress(before, now)
            case Asked():
                self._ask(now)
            case Contact():
                self.contact_at = now
            case Handed():
                self.waiting, self.handed_at = False, now
            case Absent() | Queued() | Admitted() | PrefillProgress() | LoadProgress() | Ready() | Resident():
                self._server_said(fact, before, now)
            case Finished():
                self.since = now
            case Paused(owner):
                self.pauses.begin(owner, now)
            case Resumed(owner):
                self._resume(owner, now)
            case Slept(late):
                return self._excuse(Seconds(late), now)
            case Closed(end):
                self._end(self._outcome_of(end, before), now)
            case Broke():
                self._end(Outcome.FAILED, now)
            case Left():
                self._stop(Outcome.FINISHED if before is Phase.CLOSING else Outcome.LEFT, now)
            case Cancelled():
                self._stop(Outcome.CANCELLED, now)
            case _:
                assert_never(fact)
        return NOTHING

    def _progress(self, before: Phase, now: Instant) -> None:
        self.since, self.waiting = now, False
        self.tokens += 1
        if self.first_at is None:
            self.first_at = now
            if before not in (Phase.CANCELLING, Phase.CLOSING):
                self._start_total(now)

    def _ask(self, now: Instant) -> None:
        """The time in which nobody waited was no silence: it is taken out."""
        if not self.waiting:
            held_from = max(self.since, self.handed_at)
            self.since = Instant(self.since + (now - held_from))
            self.waiting = True

    def _server_said(self, fact: Fact, before: Phase, now: Instant) -> None:
        """Signs from the server itself: they restart a silence of its own phase, and nothing else."""
        self.contact_at = now
        if before in (Phase.QUEUED, *LIVE_AFTER_START) and not isinstance(fact, Resident):
            self.since = now
        if self.phase is Phase.LOADING and before is not Phase.LOADING:
            self._await_load()
        elif before is Phase.LOADING and self.phase is Phase.WAITING:
            self.since = now
            self._start_total(now)
        if isinstance(fact, Resident | Ready):
            self._drop_cold()

    def _drop_cold(self) -> None:
        """The model is known to be in memory: there is no load left to allow for."""
        if self.clocks.cold and self.first_at is None:
            self.clocks = self.clocks.warmed()
            self.total_at = min(self.total_at, self._capped(self.born))

    def _await_load(self) -> None:
        """A `total` that nobody asked for in person starts when the model is loaded."""
        if self.clocks.total_from is not TotalFrom.CALL:
            self.clocks = self.clocks.loading()
            self.total_at = after(self.born, self.clocks.ceiling)

    def _resume(self, owner: str, now: Instant) -> None:
        """A pause that is over was no silence; one that a person owned was not time of the call either."""
        ended = self.pauses.end(owner, now)
        self.since = Instant(min(now, self.since + ended.paused))
        self.handed_at = Instant(min(now, self.handed_at + ended.paused))
        self.total_at = Instant(self.total_at + ended.by_person)

    def _excuse(self, late: Seconds, now: Instant) -> tuple[Order, ...]:
        if self.waiting:
            self.since = Instant(min(now, self.since + late))
        return (Excused(late),)

    # -- time -------------------------------------------------------------------------------------------------

    def next_wakeup(self) -> Instant:
        """The instant at which `wake` has something to say, if nothing happens before."""
        return min(self.due(timer) for timer in Timer)

    def armed_until(self, now: Instant) -> Instant:
        """Where to put the alarm so that no later fact can ever ask for an earlier one."""
        return min(self.next_wakeup(), after(now, self.clocks.shortest_silence))

    def due(self, timer: Timer) -> Instant:
        if self.phase is Phase.ENDED:
            return NEVER
        if self.phase is Phase.CANCELLING:
            return self.cancel_at if timer is Timer.CANCEL else NEVER
        match timer:
            case Timer.TOTAL:
                return NEVER if self.pauses.by_person else self.total_at
            case Timer.SILENCE:
                return self._silence_at()
            case Timer.HEARTBEAT:
                return self.beat_at
            case Timer.CANCEL:
                return NEVER

    def wake(self, now: Instant) -> tuple[Order, ...]:
        """The alarm rang. Being early is harmless: then there is nothing to do."""
        for timer in Timer:
            if now >= self.due(timer):
                return self._rings(timer, now)
        return NOTHING

    def _rings(self, timer: Timer, now: Instant) -> tuple[Order, ...]:
        match timer:
            case Timer.TOTAL:
                return self._break(self._broken_total(), now)
            case Timer.SILENCE:
                silence = self.clocks.silence(self.phase)
                assert silence is not None, "a phase without a silence limit has no such alarm"
                return self._break(Broken(*silence), now)
            case Timer.HEARTBEAT:
                following = after(self.beat_at, self.clocks.heartbeat)
                self.beat_at = following if following > now else after(now, self.clocks.heartbeat)
                return (Heartbeat(self.snapshot(now), self.model),)
            case Timer.CANCEL:
                self.cancels += 1
                self.cancel_at = after(now, self.clocks.cancel)
                return (CancelAgain(self.cancels),)

    def _break(self, broken: Broken, now: Instant) -> tuple[Order, ...]:
        """A limit is broken, unless the model had said that it was done: then only its last word is missing."""
        complete = self.phase is Phase.CLOSING
        self._stop(Outcome.FINISHED if complete else Outcome.TIMEOUT, now)
        self.broken = None if complete else broken
        self._open_lane()
        return (Cancel(self.broken),)

    # -- ends -------------------------------------------------------------------------------------------------

    def _stop(self, outcome: Outcome, now: Instant) -> None:
        """Ask for the end. The first verdict stands, whatever the end then looks like."""
        if self.outcome is None:
            self.outcome = outcome
            self.phase, self.ended_at = Phase.CANCELLING, now
            self.cancel_at = after(now, self.clocks.cancel)

    def _end(self, outcome: Outcome, now: Instant) -> None:
        self.outcome = self.outcome or outcome
        self.phase, self.waiting = Phase.ENDED, False
        self.ended_at = now if self.ended_at is None else self.ended_at

    def _outcome_of(self, end: End, before: Phase) -> Outcome:
        if before is Phase.CLOSING or end is End.WHOLE:
            return Outcome.FINISHED
        return Outcome.UNFINISHED if end is End.MARKED else Outcome.TRUNCATED

    # -- helpers ----------------------------------------------------------------------------------------------

    def _open_lane(self) -> None:
        self.lane = None
        if self.outcome is None and not self.pauses:
            if self.phase is Phase.STREAMING:
                self.lane = Content
            elif self.phase is Phase.THINKING:
                self.lane = Reasoning

    def _first_total(self) -> Instant:
        match self.clocks.total_from:
            case TotalFrom.CALL:
                return self._capped(self.born)
            case TotalFrom.FIRST_PROGRESS:
                return self._capped(after(self.born, self.clocks.cold))
            case TotalFrom.READY:
                return after(self.born, self.clocks.ceiling)

    def _start_total(self, now: Instant) -> None:
        match self.clocks.total_from:
            case TotalFrom.CALL:
                return
            case TotalFrom.FIRST_PROGRESS:
                self.total_at = self._capped(Instant(min(now, self.born + self.clocks.cold)))
            case TotalFrom.READY:
                self.total_at = self._capped(now)
        self.clocks = self.clocks.started()

    def _capped(self, start: Instant) -> Instant:
        """`total` from this start, never past what a parent has left."""
        return min(after(start, self.clocks.total), after(self.born, self.clocks.ceiling))

    def _broken_total(self) -> Broken:
        return Broken(Limit.TOTAL, min(self.clocks.total, self.clocks.ceiling))

    def _silence_at(self) -> Instant:
        silence = self.clocks.silence(self.phase)
        if silence is None or not self.waiting or self.pauses:
            return NEVER
        return after(self.since, silence[1])

    # -- for people -------------------------------------------------------------------------------------------

    def snapshot(self, now: Instant) -> Snapshot:
        nearest = min((Timer.TOTAL, Timer.SILENCE), key=self.due)
        at = self.due(nearest)
        silence = self.clocks.silence(self.phase)
        limit = silence[0] if nearest is Timer.SILENCE and silence else Limit.TOTAL
        return Snapshot(
            phase=self.phase,
            elapsed=between(self.born, self.ended_at or now),
            tokens=self.tokens,
            silence=between(self.since, now) if self.waiting else 0.0,
            in_contact=self.contact_at is not None and self.contact_at > self.since,
            first_token=None if self.first_at is None else between(self.born, self.first_at),
            nearest=None if at == NEVER else limit,
            rings_in=None if at == NEVER else between(now, at),
        )
