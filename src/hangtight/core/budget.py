"""One deadline over a whole task, shared out to its steps. Pure, like all machines of the core.

What a step is allotted is soft: it says when to wrap up. What is hard is the end of the task: a call in a step may take
what the task has left, less the minimums of the steps to come, less the reserve.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from hangtight.core.time import NEVER, Instant, Seconds, after, between

CRITICAL_SHARE = 0.4  # of the task, for its critical steps together


class Priority(IntEnum):
    """Who gets the time that others save first; who gives last when time is short."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is asked for one step of a task."""

    weight: float = 1.0
    """Its share among the steps of its kind, critical or not."""
    minimum: float = 0.0
    """Seconds that are kept for it whatever the steps before it do."""
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Begun:
    """A step began. One that ended may begin again."""

    step: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A step ended; what it did not use is for the others."""

    step: str


@dataclass(frozen=True, slots=True)
class Halted:
    """A person is waited for: the time of the task stands still."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The person is back."""


@dataclass(frozen=True, slots=True)
class WrapUp:
    """An order: tell the step that it has used what was allotted to it."""

    step: str


Fact = Begun | Ended | Halted | Resumed


class Allotment:
    """What a step that runs was given, and since when."""

    __slots__ = ("began", "length", "runs", "told")

    def __init__(self, began: Instant, length: Seconds) -> None:
        self.began = began
        self.length = length
        self.runs = 1
        """How often it has begun without having ended: it may run beside itself."""
        self.told = False

    def held(self, now: Instant) -> float:
        return max(0.0, self.length - (now - self.began))


class Budget:
    """The time of one task, which began at `now`; instants are on a clock that stands while it is halted."""

    __slots__ = (
        "_halted",
        "_halted_at",
        "_lost",
        "began",
        "ends",
        "kept",
        "parts",
        "reserve",
        "running",
        "to_come",
        "used",
    )

    def __init__(self, total: Seconds, parts: Mapping[str, Part], now: Instant, *, reserve: Seconds) -> None:
        self.began = now
        self.ends = after(now, total)
        """On the clock of the task."""
        self.reserve = reserve
        """Kept at the end for what the caller does without a model."""
        self.parts = dict(parts)
        self.running: dict[str, Allotment] = {}
        self.used: dict[str, float] = {}
        """How long each step has run, without the run that it is in."""
        self._halted = 0
        self._halted_at = now
        self._lost = 0.0
        """How long persons were waited for."""
        self.to_come: dict[str, float] = shared_out(max(0.0, total - reserve), self.parts)
        """What each step that has not begun is allotted, as of the last fact."""
        self.kept = self._minimums()
        """What is kept for them."""

    # -- facts ------------------------------------------------------------------------------------------------

    def record(self, fact: Fact, now: Instant) -> None:
        at = self._at(now)
        match fact:
            case Begun(step):
                self._begin(step, at)
            case Ended(step):
                self._end(step, at)
            case Halted():
                self._halted_at = self._halted_at if self._halted else now
                self._halted += 1
            case Resumed():  # pragma: no branch - mypy holds that there is no other
                self._resume(now)

    def _resume(self, now: Instant) -> None:
        """Of several persons the last one counts."""
        self._halted -= 1
        if not self._halted:
            self._lost += between(self._halted_at, now)

    def _minimums(self) -> float:
        return sum(self.parts[name].minimum for name in self.to_come)

    def _begin(self, step: str, at: Instant) -> None:
        if step in self.running:
            self.running[step].runs += 1
            return
        pool = self._settle(at)
        if step in self.to_come:
            allotted = self.to_come.pop(step)
        else:  # again, or without having been announced: it stands in for a share with those that are to come
            part = self.parts.get(step, Part())
            shares = shared_out(pool, {**{name: self.parts[name] for name in self.to_come}, step: part})
            allotted = shares.pop(step)
            self.to_come = shares
        self.running[step] = Allotment(at, Seconds(allotted))
        self.kept = self._minimums()

    def _end(self, step: str, at: Instant) -> None:
        allotment = self.running[step]
        allotment.runs -= 1
        if not allotment.runs:
            del self.running[step]
            self.used[step] = self.used.get(step, 0.0) + (at - allotment.began)
            self._settle(at)

    def _settle(self, at: Instant) -> float:
        """Share out what was saved, or take back what was overdrawn. Returns what is there for the steps to come."""
        free = max(0.0, self.ends - self.reserve - at)
        pool = max(0.0, free - sum(allotment.held(at) for allotment in self.running.values()))
        change = pool - sum(self.to_come.values())
        if change < 0:
            self.to_come = shortened(self.to_come, self.parts, -change)
        elif change > 0:
            pool -= self._give(change)
        return pool

    def _give(self, saved: float) -> float:
        """To the most important of the steps that remain. Returns what went to steps that run."""
        remain = {*self.to_come, *self.running}
        first = max((self._part(name).priority for name in remain), default=None)
        getting = {name: self._part(name).weight for name in remain if self._part(name).priority == first}
        weight, given = sum(getting.values()), 0.0
        for name, own in getting.items():
            share = saved * own / weight
            if name in self.to_come:
                self.to_come[name] += share
            else:
                self.running[name].length = Seconds(self.running[name].length + share)
                given += share
        return given

    def _part(self, name: str) -> Part:
        return self.parts.get(name, Part())

    @property
    def halted(self) -> bool:
        """A person is waited for."""
        return bool(self._halted)

    # -- time -------------------------------------------------------------------------------------------------

    def _at(self, now: Instant) -> Instant:
        """`now` on the clock of the task."""
        return Instant((self._halted_at if self._halted else now) - self._lost)

    def elapsed(self, now: Instant) -> float:
        return between(self.began, self._at(now))

    def remaining(self, now: Instant) -> float:
        """What is left of the whole task, its reserve included."""
        return between(self._at(now), self.ends)

    def exhausted(self, now: Instant) -> bool:
        """Nothing is left for another call."""
        return self.remaining(now) <= self.reserve

    def left_for(self, step: str | None, now: Instant) -> float:
        """How long a call in this step (None: outside of any) may take."""
        kept = self.kept - self.parts[step].minimum if step in self.to_come and step is not None else self.kept
        left = self.ends - self._at(now) - self.reserve - kept
        return left if left > 0 else 0.0

    def needed(self, step: str | None, now: Instant) -> float:
        """What is still missing of the minimum of this step: with less a call in it is not begun."""
        if step is None:
            return 0.0
        return max(0.0, self._part(step).minimum - self.spent(step, now))

    def spent(self, step: str, now: Instant) -> float:
        """How long this step has run."""
        running = self.running.get(step)
        return self.used.get(step, 0.0) + (self._at(now) - running.began if running else 0.0)

    def allotted(self, step: str, now: Instant) -> float:
        """What this step is given in all: as it runs, or as it would be if it began now. Never more than there is."""
        at = self._at(now)
        running = self.running.get(step)
        if running is not None:
            return min(running.length, between(running.began, self.ends))
        if step not in self.to_come:
            return self.used.get(step, 0.0)
        ahead = self._copied()
        ahead._settle(at)
        return ahead.to_come[step]

    def allotted_left(self, step: str, now: Instant) -> float:
        """What a step that runs has left of it; one that does not run has all."""
        running = self.running.get(step)
        if running is None:
            return self.allotted(step, now)
        left = running.length - (self._at(now) - running.began)
        return left if left > 0.0 else 0.0

    def _copied(self) -> Budget:
        other = Budget.__new__(Budget)
        for name in Budget.__slots__:
            setattr(other, name, getattr(self, name))
        other.to_come = dict(self.to_come)
        other.running = {}
        for step, allotment in self.running.items():
            other.running[step] = Allotment(allotment.began, allotment.length)
        return other

    def should_wrap_up(self, step: str, now: Instant) -> bool:
        """It has used what was allotted to it."""
        running = self.running.get(step)
        return running is not None and self._at(now) >= after(running.began, running.length)

    def next_wakeup(self, now: Instant) -> Instant:
        """When a step that runs has used what was allotted to it, if nothing happens before."""
        if self._halted:
            return NEVER
        marks = (after(one.began, one.length) for one in self.running.values() if not one.told)
        return Instant(min(marks, default=NEVER) + self._lost)

    def wake(self, now: Instant) -> tuple[WrapUp, ...]:
        """Who shall be told now. Being early is harmless."""
        orders = []
        for step, running in self.running.items():
            if not running.told and self.should_wrap_up(step, now):
                running.told = True
                orders.append(WrapUp(step))
        return tuple(orders)


def shared_out(pool: float, parts: Mapping[str, Part]) -> dict[str, float]:
    """The shares of these steps in so many seconds: never more than there are, and each its minimum where that fits."""
    critical = {name: part for name, part in parts.items() if part.priority is Priority.CRITICAL}
    others = {name: part for name, part in parts.items() if name not in critical}
    for_critical = CRITICAL_SHARE if critical and others else float(bool(critical))
    shares = _by_weight(for_critical * pool, critical) | _by_weight((1 - for_critical) * pool, others)
    missing = sum(max(0.0, parts[name].minimum - share) for name, share in shares.items())
    raised = {name: max(share, parts[name].minimum) for name, share in shares.items()}
    return shortened(raised, parts, missing, in_turn=False)


def shortened(
    shares: Mapping[str, float], parts: Mapping[str, Part], missing: float, *, in_turn: bool = True
) -> dict[str, float]:
    """These shares with so much less in all: the least important give first, each down to its minimum.

    Where even that is not enough all minimums shrink alike. Not `in_turn`: all give alike from the start.
    """
    left = dict(shares)
    groups: Iterable[Iterable[str]] = [left]
    if in_turn:
        groups = [[name for name in left if parts[name].priority is priority] for priority in Priority]
    for group in groups:
        slack = {name: max(0.0, left[name] - parts[name].minimum) for name in group}
        missing = _take(left, slack, missing)
    _take(left, dict(left), missing)
    return left


def _take(left: dict[str, float], slack: Mapping[str, float], missing: float) -> float:
    """Take from each in proportion to what it can give. Returns what is missing still."""
    there = sum(slack.values())
    if missing <= 0 or there <= 0:
        return missing
    part = min(1.0, missing / there)
    for name, can_give in slack.items():
        left[name] = max(0.0, left[name] - part * can_give)
    return max(0.0, missing - there)


def _by_weight(pool: float, parts: Mapping[str, Part]) -> dict[str, float]:
    weight = sum(part.weight for part in parts.values())
    return {name: pool * part.weight / weight for name, part in parts.items()}
