"""What a process is at one moment, and the steps that every change of it is made of. `machine` says when."""

from __future__ import annotations

from hangtight.core.process import words
from hangtight.core.process.alarms import alarm_of
from hangtight.core.process.facts import Ending, PutAway
from hangtight.core.process.failures import Failures
from hangtight.core.process.orders import BreakOff, Kill, Open, Order, ProbeNoMore, Stop, TurnAway
from hangtight.core.process.phases import RESTING, Phase
from hangtight.core.process.snapshot import Snapshot, snapshot_of
from hangtight.core.process.terms import Clock, Terms
from hangtight.core.time import Instant, Seconds, after, between

Orders = tuple[Order, ...]
NOTHING: Orders = ()


class Life:
    """The state, and what may be asked of it. Only the machine changes it."""

    __slots__ = (
        "busy_at",
        "closed",
        "commands",
        "failures",
        "heard",
        "idle_at",
        "killed",
        "leaving",
        "lingers",
        "loaded_at",
        "patience",
        "phase",
        "pid",
        "probes",
        "progress_at",
        "quiet_for",
        "ready_at",
        "rested",
        "rests_so_far",
        "running",
        "silent",
        "since",
        "spawned_at",
        "terms",
        "wanted",
    )

    def __init__(self, terms: Terms, now: Instant) -> None:
        self.terms = terms
        self.phase = Phase.STOPPED
        self.since = now
        """When this phase began; in the end of a process, when it was asked or killed."""
        self.rested, self.rests_so_far = Phase.STOPPED, 0
        """Where it came to rest last, and how often it did: where somebody waits for it a rest is over at once."""
        self.pid: int | None = None
        """Of what may still run. None: nothing was seen to run."""
        self.failures = Failures()
        self.heard = ""
        """What its check answered last, for who wants to know why it did not start."""
        self.leaving: PutAway | None = None
        """Somebody wants it gone, and it is not time yet."""
        self.wanted = False
        """Somebody waits and was not answered yet."""
        self.running = 0
        """Requests inside."""
        self.patience = Seconds(0.0)
        """The longest silence that one of them is ready to bear."""
        self.silent = False
        """One of those that were inside together has ended because nothing came."""
        self.quiet_for = Seconds(0.0)
        """How long such requests were inside since the last token, before those that are inside now."""
        self.spawned_at = self.loaded_at = self.busy_at = self.idle_at = now
        self.ready_at: Instant | None = None
        """When it became ready in this life for the first time, or woke."""
        self.progress_at: Instant | None = None
        self.closed = False
        """We shut down: it never starts again."""
        self.lingers = False
        """It was killed, and something of it is still there."""
        self.probes = self.commands = self.killed = False

    @property
    def admits(self) -> bool:
        """A request may enter. While it does not, the request waits: record `Wanted`."""
        return self.phase is Phase.READY

    @property
    def rests(self) -> bool:
        """Its place is free for another model."""
        return self.phase in RESTING and not self.lingers

    def progressed(self, now: Instant) -> None:
        """`record(Progressed())` without its ceremony, for each token."""
        self.progress_at = now

    def alarm(self) -> tuple[Clock | None, Instant]:
        """The clock that would ring next, and when; no clock while it rests."""
        return alarm_of(self)

    def next_wakeup(self) -> Instant:
        """The instant at which `wake` has something to say, if nothing happens before."""
        return alarm_of(self)[1]

    def snapshot(self, now: Instant) -> Snapshot:
        return snapshot_of(self, now)

    @property
    def quiet_since(self) -> Instant:
        """Of those that are inside: since when no token came."""
        return self.busy_at if self.progress_at is None else max(self.progress_at, self.busy_at)

    @property
    def quiet_before(self) -> Seconds:
        """What counts of `quiet_for`: nothing, where a token has come since."""
        return Seconds(0.0) if self.quiet_since > self.busy_at else self.quiet_for

    # -- steps ------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, now: Instant) -> None:
        self.phase, self.since = phase, now
        if phase in RESTING:
            self.rested = phase
            self.rests_so_far += 1

    def _enters(self, patience: Seconds, now: Instant) -> None:
        if not self.running:
            self.busy_at, self.patience, self.silent = now, patience, False
        self.patience = max(self.patience, patience)
        self.running += 1

    def _leaves(self, end: Ending, patience: Seconds, now: Instant) -> None:
        """Who was silent for too long adds to the silence of the process; who merely left tells nothing."""
        self.running -= 1
        if end is Ending.WELL:
            self.progress_at = now
        if self.running and patience < self.patience:
            if self.patience > self.terms.hang:  # his silence said nothing, and those that stay may have just come
                self.quiet_for, self.busy_at = Seconds(0.0), now
            self.patience = patience
        self.silent = self.silent or end is Ending.SILENT
        if not self.running:
            self.idle_at = now
            self.quiet_for = Seconds(self.quiet_before + (between(self.quiet_since, now) if self.silent else 0.0))

    def _slept(self, late: Seconds, now: Instant) -> Orders:
        """No clock has run while we stood still: what we have not heard yet may say that all is well."""
        clock, at = alarm_of(self)
        if clock is None:
            return NOTHING
        self.quiet_for, self.busy_at = self.quiet_before, self.quiet_since
        for name in ("since", "spawned_at", "loaded_at", "busy_at", "idle_at"):
            setattr(self, name, min(now, after(getattr(self, name), late)))
        return (words.stood_still(late),) if at <= now else NOTHING

    def _open(self) -> Orders:
        waited, self.wanted = self.wanted, False
        return (Open(),) if waited else NOTHING

    def _turn_away(self, why: str, retry_after: Seconds) -> Orders:
        waited, self.wanted = self.wanted, False
        return (TurnAway(why, retry_after),) if waited else NOTHING

    def _call_off(self) -> Orders:
        """Whatever was going on to make it ready, or to put it to sleep, is of no interest any more."""
        probe: Orders = (ProbeNoMore(),) if self.probes else NOTHING
        command: Orders = (BreakOff(),) if self.commands else NOTHING
        self.probes = self.commands = False
        return (*probe, *command)

    def _stop(self, now: Instant, why: str = "") -> Orders:
        """Ask it to end. What is still being spawned is asked as soon as it runs."""
        self._enter(Phase.STOPPING, now)
        self.killed = False
        return NOTHING if self.pid is None else (words.stopping(why, self.terms.stop), Stop())

    def _end(self, now: Instant, why: str = "") -> Orders:
        """It need not be asked, but what only its own command reaches would outlive a kill."""
        if not self.terms.has_stop:
            return self._kill(now)
        self._enter(Phase.STOPPING, now)
        self.killed = False
        return words.stopping(why, self.terms.stop), Stop()

    def _kill(self, now: Instant) -> Orders:
        self._enter(Phase.STOPPING, now)
        self.killed = True
        return (Kill(),)

    def _blame(self, why: str, now: Instant) -> Orders:
        """It ends for this, and nobody may start it for a while."""
        lasted = self.ready_at is not None and between(self.ready_at, now) >= self.terms.longest_pause
        if lasted and not self.failures.pending:
            self.failures.forgive()
        self.failures.blame(why, self.terms, had_worked=self.ready_at is not None)
        kept = self.failures.pause
        return (words.kept_waiting(self.failures.row, kept),) if kept else NOTHING
