"""How far a run is, and when it will probably end. Pure: events with their instant go in, numbers come out.

The per cent never fall. The end that is predicted may move back, but from one telling to the next no further than the
range that was told; where that time is over already, it is told anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hangtight.flows.events import EventType
from hangtight.flows.forecast.pacing import Left, Usual, left_of

if TYPE_CHECKING:
    from hangtight.flows.definition.steps import Kind

NO_LIMIT: Final = 300.0  # seconds that count for a step without a limit, where nothing is known of it
NEARLY: Final = 0.99
"""Of a step that still runs there is never more."""
WHOLE: Final = 100.0
BELOW_WHOLE: Final = 99.9
DONE: Final = "finished"
NOTHING: Final = Usual(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A step, as far as progress goes."""

    name: str
    kind: Kind
    needs: tuple[str, ...] = ()
    limit: float | None = None
    says_it: bool = True
    """The limit is the step's own: it tells how long it may be beside the others."""
    weight: float = 1.0
    usual: Usual = NOTHING

    @property
    def nominal(self) -> float:
        """What it counts where nothing is known of any step."""
        return self.weight * (self.limit or NO_LIMIT)


@dataclass(slots=True)
class Standing:
    """How a step stands."""

    plan: Planned
    counts: float
    """Of the whole."""
    began: float | None = None
    over: bool = False
    """It has ended, in whatever way."""
    done: bool = False
    tokens: int = 0
    kept: float = 0.0
    """How much of it was done in a life before: the pieces that are in the record."""

    @property
    def runs(self) -> bool:
        return self.began is not None and not self.over

    def elapsed(self, now: float) -> float:
        return 0.0 if self.began is None else max(0.0, now - self.began)


class Foreseen(NamedTuple):
    """How far it is."""

    percent: float
    left: float | None
    """Seconds; None where nothing is known of some step."""
    low: float
    high: float | None
    """None where there is no bound."""

    def told(self) -> dict[str, Any]:
        """As events have it."""
        if self.left is None and self.high is None:
            return {"percent": self.percent}
        known = {"left": self.left, "left_low": self.low, "left_high": self.high}
        return {"percent": self.percent, **{name: value for name, value in known.items() if value is not None}}


@dataclass(slots=True)
class Kin:
    """How long steps of one kind took, against what they count."""

    seconds: float = 0.0
    nominal: float = 0.0

    def add(self, seconds: float, nominal: float) -> None:
        self.seconds += seconds
        self.nominal += nominal

    def like(self, nominal: float) -> Usual:
        return Usual.like(self.seconds / self.nominal * nominal) if self.nominal and self.seconds else NOTHING


@dataclass(slots=True)
class Progress:
    """Of one life of a run. The steps stand behind those that they need."""

    steps: dict[str, Standing]
    kin: dict[Kind, Kin]
    _latest: float = 0.0
    _percent: float = 0.0
    _bound: float = inf
    """The instant that the end was said not to pass."""
    _deadline: float = inf
    _ended: str = ""
    _whole: float = field(init=False)
    _done: float = 0.0
    _running: dict[str, Standing] = field(default_factory=dict)

    @classmethod
    def of(cls, plans: Iterable[Planned]) -> Progress:
        plans = tuple(plans)
        kin: dict[Kind, Kin] = {}
        for plan in plans:
            if (seconds := plan.usual.seconds) is not None:
                kin.setdefault(plan.kind, Kin()).add(seconds, plan.nominal)
        return cls({name: Standing(plan, counts) for name, plan, counts in _counted(plans)}, kin)

    def __post_init__(self) -> None:
        self._whole = sum(step.counts for step in self.steps.values())

    # -- what is heard ----------------------------------------------------------------------------------------

    def hear(self, kind: EventType, step: str, told: Mapping[str, Any], now: float) -> None:
        """Events of steps that are not known say nothing, and one that comes late is as if it came now."""
        now = self._latest = max(now, self._latest)
        match kind:
            case EventType.RUN_STARTED | EventType.RUN_RESUMED:
                left = told.get("left")
                self._deadline = inf if left is None else now + left
            case EventType.RUN_FINISHED:
                self._ended = str(told.get("outcome"))
            case _ if step in self.steps:
                self._hear(self.steps[step], kind, told, now)
            case EventType.STEP_FINISHED if told.get("recorded") and (of := told.get("of")):
                whole = self.steps.get(step.partition("/")[0])
                if whole is not None:
                    whole.kept = min(NEARLY, whole.kept + 1 / of)
            case _:
                pass

    def _hear(self, step: Standing, kind: EventType, told: Mapping[str, Any], now: float) -> None:
        if step.done:
            return
        match kind:
            case EventType.STEP_STARTED:
                step.began, step.over, step.tokens, step.kept = now, False, 0, 0.0
                self._running[step.plan.name] = step
            case EventType.PROGRESS | EventType.HEARTBEAT:
                step.tokens = int(told.get("tokens") or 0)
            case EventType.RETRIED:
                step.tokens = 0
            case EventType.STEP_FINISHED:
                self._over(step, told, now)
            case _:
                pass

    def _over(self, step: Standing, told: Mapping[str, Any], now: float) -> None:
        step.over = True
        self._running.pop(step.plan.name, None)
        step.done = told.get("outcome") == DONE
        if not step.done:
            return
        self._done += step.counts
        if step.began is not None and not step.plan.usual.lengths:
            self.kin.setdefault(step.plan.kind, Kin()).add(step.elapsed(now), step.plan.nominal)

    # -- what is told -----------------------------------------------------------------------------------------

    def foreseen(self, now: float) -> Foreseen:
        """How far it is now. What is told is remembered: it is what later tellings keep to."""
        now = self._latest = max(now, self._latest)
        if self._ended == DONE or all(step.done for step in self.steps.values()):
            self._percent = WHOLE
            return Foreseen(WHOLE, 0.0, 0.0, 0.0)
        part = self._done + sum(step.counts * self._part(step, now) for step in self._running.values())
        percent = WHOLE * part / self._whole if self._whole else 0.0
        self._percent = max(self._percent, min(round(percent, 1), BELOW_WHOLE))
        if self._ended:
            return Foreseen(self._percent, None, 0.0, None)
        return self._kept(self._way(now), now)

    def _part(self, step: Standing, now: float) -> float:
        """How much of a step that runs is done."""
        elapsed, left = step.elapsed(now), self._left(step, now)
        usual = left.usual
        if usual is None:
            usual = max(0.0, (step.plan.limit or elapsed + NO_LIMIT) - elapsed)
        now_done = elapsed / (elapsed + usual) if elapsed else 0.0
        return min(NEARLY, step.kept + (1 - step.kept) * now_done)

    def _left(self, step: Standing, now: float) -> Left:
        plan = step.plan
        usual = plan.usual
        if not usual.lengths and plan.kind in self.kin:
            usual = self.kin[plan.kind].like(plan.nominal)
        left = left_of(usual, elapsed=step.elapsed(now), tokens=step.tokens, limit=plan.limit)
        if not step.kept:
            return left
        share = 1 - step.kept
        return Left(None if left.usual is None else share * left.usual, share * left.least, left.most)

    def _way(self, now: float) -> Left:
        """Through the steps that remain: the longest way, for what does not wait runs side by side."""
        ends: dict[str, tuple[float, float, float]] = {}
        known = True
        for name, step in self.steps.items():
            if step.done:
                ends[name] = (0.0, 0.0, 0.0)
                continue
            left = self._left(step, now)
            known = known and left.usual is not None
            before = [ends[need] for need in step.plan.needs if need in ends]
            usual, least, most = (max((each[which] for each in before), default=0.0) for which in range(3))
            ends[name] = (usual + (left.usual or 0.0), least + left.least, most + left.most)
        usual, least, most = (max(each[which] for each in ends.values()) for which in range(3))
        bound = max(0.0, self._deadline - now)
        return Left(min(usual, bound) if known else None, min(least, bound), min(most, bound))

    def _kept(self, way: Left, now: float) -> Foreseen:
        """What was said before holds, as long as it can."""
        usual, least, most = way
        if usual is not None:
            if now <= self._bound:
                usual = min(usual, self._bound - now)
            least, most = min(least, usual), max(most, usual)
        self._bound = now + most
        high = round(most, 1) if isfinite(most) else None
        return Foreseen(self._percent, None if usual is None else round(usual, 1), round(least, 1), high)


def _counted(plans: Iterable[Planned]) -> Iterator[tuple[str, Planned, float]]:
    """Seconds, where any step is known; else what its limit and its weight say. A limit that is only the usual one
    says nothing: such a step is as long as the others are."""
    plans = tuple(plans)
    known = [(plan, seconds) for plan in plans if (seconds := plan.usual.seconds) is not None]
    by_limit = Kin()
    for plan, seconds in known:
        if plan.says_it:
            by_limit.add(seconds, plan.nominal)
    said = [plan.nominal / plan.weight for plan in plans if plan.says_it]
    middle = _middle([seconds / plan.weight for plan, seconds in known]) or _middle(said) or NO_LIMIT
    for plan in plans:
        counts = plan.usual.seconds
        if counts is None and not plan.says_it:
            counts = middle * plan.weight
        elif counts is None:
            counts = by_limit.like(plan.nominal).seconds if known else plan.nominal
        yield plan.name, plan, middle * plan.weight if counts is None else counts


def _middle(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0.0
