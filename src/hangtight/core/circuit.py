"""The circuit of one upstream model: after enough marks nobody is sent there for a while. Pure, like all of the core.

Closed, every request passes. Open, none does. When its time is over one request goes ahead, the probe, and what comes
of it closes the circuit or opens it for twice as long. What counts is who was sent since the circuit last changed: a
request that began before it opened tells of a time that was judged already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hangtight.core.attempts import Fault
from hangtight.core.deadline import LEAST
from hangtight.core.layers import Rank, Value
from hangtight.core.limits import Limit, length
from hangtight.core.orders import Broken
from hangtight.core.time import Instant, Seconds, after, between

SERVER_FAILED = 500  # the first status that speaks of the server and not of the request
MOST_ENDS = 256  # that one window keeps: on a busy model the share is that of the newest ones
NOTHING_SAID: Final[Mapping[str, Value]] = MappingProxyType({})


class State(StrEnum):
    CLOSED = "closed"
    """Requests pass."""
    OPEN = "open"
    """None passes, until the time is over: the next one is the probe."""
    PROBING = "probing"
    """The probe is on its way, and nobody else."""


class Change(StrEnum):
    """What the journal is told."""

    OPENED = "opened"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fuse:
    """What opens a circuit, and for how long."""

    in_a_row: int = 5
    share: float = 0.5
    """Of the requests that ended in the last `window` seconds, if there were `least`."""
    least: int = 10
    window: Seconds = Seconds(60.0)
    first: Seconds = Seconds(15.0)
    longest: Seconds = Seconds(300.0)


@dataclass(frozen=True, slots=True)
class Permit:
    """One request may go. It is shown again when that request ends."""

    era: int
    """Since which change of the circuit: one that is older counts no more."""
    probes: bool = False


class Circuit:
    """Each permit that `admit` gave is shown once to `ended` or `gave_up`; one shown too late changes nothing.

    `fuse` may be replaced at any time; the length of an opening that runs stays as it is.
    """

    __slots__ = ("_bad", "_ends", "_era", "_over_at", "_row", "fuse", "lasts", "opened_at", "state")

    def __init__(self, fuse: Fuse | None = None) -> None:
        self.fuse = fuse or Fuse()
        self.state = State.CLOSED
        self.opened_at: Instant | None = None
        """Since when nobody was served; bad probes leave it where it is."""
        self.lasts = Seconds(0.0)
        """How long it is open this time."""
        self._over_at = Instant(0.0)
        self._era = 0
        self._row = 0
        self._ends: deque[tuple[Instant, bool]] = deque()
        """The newest, at most `MOST_ENDS` of them: when, and whether it was good."""
        self._bad = 0

    def admits(self, now: Instant) -> bool:
        """Whether a request that asked now would go. Only a question."""
        return self.state is State.CLOSED or (self.state is State.OPEN and now >= self._over_at)

    def admit(self, now: Instant) -> Permit | None:
        """One goes now; None where it may not. Of an open circuit whose time is over exactly one gets a permit."""
        if not self.admits(now):
            return None
        if self.state is State.OPEN:
            self.state = State.PROBING
        return Permit(self._era, probes=self.state is State.PROBING)

    def retry_after(self, now: Instant) -> Seconds:
        """When it is worth asking again. How long a probe takes nobody knows: then as long as a first opening."""
        match self.state:
            case State.CLOSED:
                return Seconds(0.0)
            case State.OPEN:
                return between(now, self._over_at)
            case State.PROBING:  # pragma: no branch - mypy holds that there is no other
                return self.fuse.first

    def ended(self, permit: Permit, *, good: bool, now: Instant) -> Change | None:
        """It ended in a way that tells of the server: with an answer, or with a mark. Returns what that changed."""
        if permit.era != self._era:
            return None
        if self.state is State.PROBING:
            twice = Seconds(min(2 * self.lasts, self.fuse.longest))
            return self._close() if good else self._open(twice, now)
        self._count(good, now)
        if good or not self._is_too_much():
            return None
        self.opened_at = now
        return self._open(self.fuse.first, now)

    def gave_up(self, permit: Permit) -> None:
        """It ended and told nothing: its client left, its limit was short, it was refused. A probe frees its place."""
        if permit.era == self._era and self.state is State.PROBING:
            self.state = State.OPEN
            self._era += 1

    def spoke(self, permit: Permit) -> Change | None:
        """Its first progress came: the others need not wait until a probe has finished its answer.

        How it ends is told all the same, and then counts like that of any other.
        """
        probes = permit.era == self._era and self.state is State.PROBING
        return self._close() if probes else None

    def _count(self, good: bool, now: Instant) -> None:
        self._row = 0 if good else self._row + 1
        self._ends.append((now, good))
        self._bad += not good
        while len(self._ends) > MOST_ENDS or between(self._ends[0][0], now) > self.fuse.window:
            _, was_good = self._ends.popleft()
            self._bad -= not was_good

    def _is_too_much(self) -> bool:
        ends = len(self._ends)
        return self._row >= self.fuse.in_a_row or (ends >= self.fuse.least and self._bad >= self.fuse.share * ends)

    def _open(self, lasts: Seconds, now: Instant) -> Change:
        self.state, self.lasts, self._over_at = State.OPEN, lasts, after(now, lasts)
        self._era += 1  # who was sent before has had its say
        return Change.OPENED

    def _close(self) -> Change:
        self.state, self.lasts, self.opened_at = State.CLOSED, Seconds(0.0), None
        self._row = self._bad = 0
        self._ends.clear()
        return Change.CLOSED


def is_mark(
    fault: Fault,
    *,
    status: int | None = None,
    broken: Broken | None = None,
    values: Mapping[str, Value] = NOTHING_SAID,
    house: Mapping[str, Value] | None = None,
) -> bool:
    """Whether a failure speaks against the server.

    `status` is that of its refusal, `broken` the limit that rang, `values` what was resolved for the call. A connection
    that fails is a mark, and so is a 5xx; never a 4xx. A timeout is one only by a number that was meant for every
    call: that of a file, a mode, a model, a default, or one that was learned. Where the caller named the mode, `house`
    is what would hold without: what that mode made another number is the caller's. An end for what the text said has
    no limit and is none.
    """
    match fault:
        case Fault.TIMEOUT:
            return broken is not None and _is_of_the_house(broken, values, house or values)
        case Fault.SERVER:
            return status is None or status >= SERVER_FAILED
        case Fault.REQUEST:  # pragma: no branch - mypy holds that there is no other
            return False


def _is_of_the_house(broken: Broken, values: Mapping[str, Value], house: Mapping[str, Value]) -> bool:
    value, total = values[broken.limit], values["total"]
    if value.value != house[broken.limit].value:
        return False
    if broken.limit is Limit.QUEUE or _is_for_one_call(value):  # who never left our queue tells of no server
        return False
    if _is_for_one_call(total) and value.source == total.source:  # a share of a total that was this caller's
        return False
    return broken.waited + LEAST >= length(value.value)  # shorter: the attempts before left no more


def _is_for_one_call(value: Value) -> bool:
    """A call, a header, a budget or a parent said it; a run and a step are parents."""
    return value.rank >= Rank.RUN
