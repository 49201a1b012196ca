"""One generation: facts in, orders out, one next wake-up. Pure: the driver brings the instants and obeys.

The table in `phases` says what may happen; the effects are here. A driver's loop is always the same:
obey the orders, arm one alarm at `armed_until`, wait, record what came or `wake` when the alarm rings.

The fast lane: while `lane` is the kind of progress that comes in (`Content` while streaming, `Reasoning`
while thinking), a driver may write `longest, since, waiting, tokens` itself instead of recording the progress, and
`since, waiting` instead of recording the `Asked` that follows it. A property test holds that the two agree.
"""

from __future__ import annotations

from dataclasses import replace

from hangtight.core.deadline import Deadline
from hangtight.core.facts import (
    Absent,
    Admitted,
    Advised,
    Asked,
    Broke,
    Calling,
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
    Progress,
    Queued,
    Ready,
    Reasoning,
    Resident,
    Resumed,
    Slept,
    Whole,
)
from hangtight.core.heartbeat import Heartbeat, Snapshot, snapshot_of
from hangtight.core.limits import Limit
from hangtight.core.orders import Broken, Cancel, CancelAgain, Excused, Order
from hangtight.core.phases import LEGAL, IllegalFact, Outcome, Phase
from hangtight.core.silence import Silence
from hangtight.core.time import FOREVER, NEVER, Instant, Seconds, after
from hangtight.core.timers import Clocks, Timer, TotalFrom
from hangtight.intent.findings import Act, Finding

NOTHING: tuple[Order, ...] = ()
TOTAL, SILENCE, CANCEL, HEARTBEAT = Timer


class Generation(Silence):
    """The clocks of one generation. `phase` is where it starts: `QUEUED`, `LOADING`, `WAITING`, `UNSTREAMED`."""

    __slots__ = (
        "beat_at",
        "born",
        "broken",
        "cancel_at",
        "cancels",
        "clocks",
        "contact_at",
        "deadline",
        "earlier",
        "ended_at",
        "first_at",
        "flows",
        "given_back",
        "lane",
        "looped",
        "model",
        "outcome",
        "phase",
        "soonest_at",
        "tokens",
    )

    def __init__(self, clocks: Clocks, now: Instant, *, phase: Phase = Phase.WAITING, model: str = "the model") -> None:
        super().__init__(now)
        self.clocks = clocks
        self.phase = phase
        self.model = model
        self.born = now
        self.earlier = Seconds(0.0)
        """How long the attempts before this one took: people are told of the whole call."""
        self.lane: type[Progress] | None = None
        self.flows: type[Progress] = Content
        """What kind of progress came last."""
        self.tokens = 0
        self.contact_at: Instant | None = None
        self.first_at: Instant | None = None
        self.ended_at: Instant | None = None
        """The instant of the verdict; the source may take a little longer to close."""
        self.given_back = Seconds(0.0)
        """How long persons have stopped `total`."""
        self.outcome: Outcome | None = None
        self.broken: Broken | None = None
        self.looped: Finding | None = None
        """Why we ended it, if that was for what it said."""
        self.cancels = 0
        self.cancel_at: Instant = NEVER
        self.beat_at = after(now, clocks.heartbeat)
        self.soonest_at = now
        """When one may go out before its time."""
        self.deadline = Deadline(clocks, now)

    # -- facts ------------------------------------------------------------------------------------------------

    def record(self, fact: Fact, now: Instant) -> tuple[Order, ...]:
        """What happened, and when. Raises IllegalFact for what the table does not allow."""
        try:
            phase = LEGAL[self.phase][type(fact)]
        except KeyError:
            raise IllegalFact(self.phase, fact) from None
        before, self.phase = self.phase, phase
        orders = self._effect(fact, before, now)
        self._set_lane()
        return orders

    def asked(self, now: Instant) -> None:
        """`record(Asked())` without its ceremony; it is legal as long as the generation has not ended."""
        if not self.waiting:
            self.waiting = True
            self._count_on(now)

    def heard(self, now: Instant) -> None:
        """`record(Contact())` and `record(Handed())` in one, without ceremony."""
        self.contact_at = now
        self._halt(now)
        self.waiting = False

    def _effect(self, fact: Fact, before: Phase, now: Instant) -> tuple[Order, ...]:
        match fact:
            case Content() | Reasoning() | Calling():
                self._progress(now)
                self.flows = type(fact)
            case Advised(finding, shorten):
                return self._advised(finding, shorten, now)
            case Asked():
                self.asked(now)
            case Contact():
                self.contact_at = now
            case Handed():
                self._halt(now)
                self.waiting = False
            case Absent() | Queued() | Admitted() | PrefillProgress() | LoadProgress() | Ready() | Resident() | Whole():
                self._server_said(fact, before, now)
            case Finished():
                if before is not Phase.CLOSING:
                    self.since = now
                    self._loaded(now)
            case Paused(owner):
                self._halt(now)
                self.pauses.begin(owner, now)
            case Resumed(owner):
                self.given_back = Seconds(self.given_back + self.pauses.end(owner, now))
                if self.waiting:
                    self._count_on(now)
            case Slept(late):
                self._slept(Seconds(late), now)
                return (Excused(Seconds(late)),)
            case Closed(end):
                self._end(self._outcome_of(end, before), now)
            case Broke():
                self._end(Outcome.FAILED, now)
            case Left():
                self._stop(Outcome.FINISHED if before is Phase.CLOSING else Outcome.LEFT, now)
            case Cancelled():  # pragma: no branch - mypy holds that there is no other
                self._stop(Outcome.CANCELLED, now)
        return NOTHING

    def _progress(self, now: Instant) -> None:
        if self.first_at is not None:
            self.longest = max(self.longest, self.quiet_until(now) - self.since)
        self.since, self.waiting = now, False
        self.tokens += 1
        if self.first_at is None:
            self.first_at = now
            self._loaded(now)

    def _server_said(self, fact: Fact, before: Phase, now: Instant) -> None:
        """Signs from the server itself. One that it merely repeats is contact: asking often keeps nothing alive."""
        self.contact_at = now
        working = isinstance(fact, LoadProgress | PrefillProgress) and before in (Phase.LOADING, Phase.WAITING)
        if working or self.phase is not before:
            self.since = now
        match fact:
            case Absent() if self.phase is Phase.LOADING:
                self._await_load()
            case Ready():
                if before is Phase.WAITING and self.clocks.cold:
                    self.since = now
                self._loaded(now)
            case Resident() if self.clocks.total_from is not TotalFrom.READY:
                self._forget_the_load(now)
            case Resident():
                self._loaded(now)
            case _ if before is Phase.LOADING and self.phase is Phase.WAITING:
                self._loaded(now)
            case _:
                pass

    def _await_load(self) -> None:
        """A load that can be seen needs no allowance; a `total` that nobody gave in person starts after it."""
        self.clocks = self.clocks.loading()
        if self.clocks.total_from is TotalFrom.READY:
            self.deadline.restart(self.clocks)

    def _loaded(self, now: Instant) -> None:
        """The model is in memory, or answers, which shows it. A `total` that waited for this starts."""
        if self.clocks.total_from is TotalFrom.FIRST_PROGRESS:
            self.deadline.start(min(self._stood_still(now), after(self.born, self.clocks.late)))
        elif self.clocks.total_from is TotalFrom.READY:
            self.deadline.start(self._stood_still(now))
        self.clocks = self.clocks.warmed()

    def _forget_the_load(self, now: Instant) -> None:
        """The model is in memory, so nothing has to be allowed for a load.

        News that come only after the limit itself do not show that the silence before them was not a load.
        """
        allowed, self.clocks = self.clocks, self.clocks.warmed()
        quiet = self.quiet_until(now) - self.since
        if self.phase is Phase.WAITING and not allowed.reasons and quiet >= self.clocks.first_token:
            self.since = Instant(self.since + min(quiet, allowed.cold))
        at = self.deadline.from_the_call(self.clocks)
        if allowed.total_from is TotalFrom.FIRST_PROGRESS and at > self._stood_still(now):
            self.deadline.start(self.born)

    # -- time -------------------------------------------------------------------------------------------------

    def date_back(self, born: Instant) -> None:
        """The call began earlier than its request was sent: `total` counts from then."""
        self.born = self.deadline.born = born
        self.deadline.restart(self.clocks)

    def renew(self, clocks: Clocks, now: Instant) -> None:
        """Other lengths hold from now on, as if they had from the start; a heartbeat counts from now."""
        self.clocks = clocks if self.first_at is None else clocks.warmed()
        self.deadline.restart(self.clocks)
        self.beat_at = after(now, clocks.heartbeat)

    def next_wakeup(self) -> Instant:
        """The instant at which `wake` has something to say, if nothing happens before."""
        return min(self.due(TOTAL), self.due(SILENCE), self.due(CANCEL), self.due(HEARTBEAT))

    def armed_until(self, now: Instant) -> Instant:
        """Where to put the alarm so that no later fact can ever ask for an earlier one."""
        if self.outcome is not None:
            return self.next_wakeup()
        return min(self.next_wakeup(), after(now, self.clocks.shortest), self._uncovered(now))

    def _uncovered(self, now: Instant) -> Instant:
        """The first alarm that one fact could uncover: clocks that stand still now, or run on an allowance."""
        stood = Seconds(self.given_back + self.pauses.by_person_until(now))
        since = Instant(self.since + (now - self.quiet_until(now)))
        rings = after(since, self.clocks.patience(self.phase))
        allowed = [Instant(rings - self.clocks.allowed(self.phase))]
        if self.clocks.total_from is TotalFrom.FIRST_PROGRESS:
            allowed.append(after(self.deadline.from_the_call(self.clocks), stood))
        return min(after(self.deadline.at(self.clocks), stood), rings, *(at for at in allowed if at > now))

    def due(self, timer: Timer) -> Instant:
        if self.phase is Phase.ENDED:
            return NEVER
        if self.phase is Phase.CANCELLING:
            return self.cancel_at if timer is Timer.CANCEL else NEVER
        match timer:
            case Timer.TOTAL:
                return NEVER if self.pauses.by_person else after(self.deadline.at(self.clocks), self.given_back)
            case Timer.SILENCE:
                return self._silence_at()
            case Timer.HEARTBEAT:
                return self.beat_at
            case Timer.CANCEL:  # pragma: no branch - mypy holds that there is no other
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
                return self._total_rings(now)
            case Timer.SILENCE:
                silence = self.clocks.silence(self.phase)
                assert silence is not None, "a phase without a silence limit has no such alarm"
                return self._break(Broken(*silence), now)
            case Timer.HEARTBEAT:
                following = after(self.beat_at, self.clocks.heartbeat)
                self.beat_at = following if following > now else after(now, self.clocks.heartbeat)
                return (Heartbeat(self.snapshot(now), self.model, self.deadline.tell()),)
            case Timer.CANCEL:  # pragma: no branch - mypy holds that there is no other
                self.cancels += 1
                self.cancel_at = after(now, self.clocks.cancel)
                return (CancelAgain(self.cancels),)

    def _break(self, broken: Broken | Finding, now: Instant) -> tuple[Order, ...]:
        """A limit is broken, unless the model had said that it was done: then only its last word is missing."""
        if self.phase is Phase.CLOSING:
            self._stop(Outcome.FINISHED, now)
        elif isinstance(broken, Finding):
            self._stop(Outcome.LOOPING, now)
            self.looped = broken
        else:
            self._stop(Outcome.TIMEOUT, now)
            self.broken = broken
        self._set_lane()
        return (Cancel(self.broken, self.looped),)

    def tell_soon(self, now: Instant) -> None:
        """The next heartbeat goes out at once, where there are any; not more often than they come anyway."""
        if self.clocks.heartbeat != FOREVER and now >= self.soonest_at:
            self.beat_at = min(self.beat_at, now)
            self.soonest_at = after(now, self.clocks.heartbeat)

    def extend_at_most(self, more: float) -> None:
        """`total` may be moved up by no more than this from where it is: what lies behind that is meant for others."""
        most = Seconds(self.deadline.length(self.clocks) + more)
        if most < self.clocks.extend_to:
            self.clocks = replace(self.clocks, extend_to=most)

    # -- what the text says -----------------------------------------------------------------------------------

    def _total_rings(self, now: Instant) -> tuple[Order, ...]:
        """A model that is getting on has more time, as far as it may."""
        moves = () if self.phase is Phase.CLOSING else self.deadline.extend(self.clocks, self._stood_still(now))
        if self.due(TOTAL) > now:
            return moves
        return (*moves, *self._break(Broken(Limit.TOTAL, self.deadline.length(self.clocks)), now))

    def _advised(self, finding: Finding, shorten: bool, now: Instant) -> tuple[Order, ...]:
        """Suspicion takes back what was given; only a loop that is seen ends anything."""
        suspect = self.deadline.advised(finding)
        if self.outcome is not None:
            return NOTHING
        if finding.act is Act.CUT:
            return self._break(finding, now)
        if suspect:
            return self.deadline.hold(self.clocks, self._stood_still(now), shorten=shorten)
        return self.deadline.recover(self.clocks) if finding.act is Act.EXTEND else NOTHING

    # -- ends -------------------------------------------------------------------------------------------------

    def _stop(self, outcome: Outcome, now: Instant) -> None:
        """Ask for the end. The first verdict stands, whatever the end then looks like."""
        if self.outcome is None:
            self.outcome = outcome
            self.phase, self.ended_at = Phase.CANCELLING, now
            self.cancel_at = after(now, self.clocks.cancel)

    def follow(self, other: Generation) -> None:
        """Take the verdict of a generation that was ours, in other hands."""
        self.outcome, self.broken, self.looped = other.outcome, other.broken, other.looped

    def _end(self, outcome: Outcome, now: Instant) -> None:
        self.outcome = self.outcome or outcome
        self.ended_at = now if self.ended_at is None else self.ended_at
        self._halt(self.ended_at)
        self.phase, self.waiting = Phase.ENDED, False

    def _outcome_of(self, end: End, before: Phase) -> Outcome:
        if before is Phase.CLOSING or end is End.WHOLE:
            return Outcome.FINISHED
        return Outcome.UNFINISHED if end is End.MARKED else Outcome.TRUNCATED

    # -- helpers ----------------------------------------------------------------------------------------------

    def _set_lane(self) -> None:
        steady = self.outcome is None and not self.pauses and self.phase in (Phase.STREAMING, Phase.THINKING)
        self.lane = self.flows if steady else None

    def _stood_still(self, now: Instant) -> Instant:
        """`now` on the clock of `total`, which stands while a person is waited for."""
        return Instant(now - self.given_back - self.pauses.by_person_until(now))

    def _silence_at(self) -> Instant:
        return after(self.since, self.clocks.patience(self.phase)) if self._counts() else NEVER

    def snapshot(self, now: Instant) -> Snapshot:
        return snapshot_of(self, now)
