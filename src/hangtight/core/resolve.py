"""From what every layer said to the clocks of one call: one pure function for every room.

Highest first: call > step > run > mode > model > environment > file > default. Then what was not given follows
what was; a mode or a budget scales and cuts; and the allowances come on top, never past what a parent has left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from hangtight.core.clocks import capped, clocks_of, cut_clocks
from hangtight.core.limits import (
    AUTO,
    FIRST_TOKEN_IN_A_MODE,
    IDLE_IN_A_MODE,
    NAMES,
    Limits,
    Setting,
    checked,
    length,
)
from hangtight.core.time import FOREVER, plain
from hangtight.core.timers import Clocks

if TYPE_CHECKING:
    from hangtight.core.pace import Learned

EXTENSION_OF_A_MODE = 2.0
DEFAULTS: Final = Limits()
NOTHING_LEARNED: Final[Mapping[str, Learned]] = {}


class Rank(IntEnum):
    """Who wins."""

    DEFAULT = 0
    FILE = 1
    ENVIRONMENT = 2
    MODEL = 3
    MODE = 4
    RUN = 5
    STEP = 6
    CALL = 7


@dataclass(frozen=True, slots=True)
class Layer:
    """What one place says about the limits."""

    rank: Rank
    source: str
    """How people know the place: `the call`, `mode deep`, `hangtight.yaml:14`."""
    values: Mapping[str, Setting] = field(default_factory=dict)
    change: str = ""
    """The line to change there, with `{name}` and `{value}`; without one, the line of the door is shown."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where exactly each of them stands, where that is known better: `hangtight.yaml:14`."""
    cuts: bool = False
    """Its numbers only ever shorten what the others say."""


@dataclass(frozen=True, slots=True)
class Value:
    """One resolved number, and who said it."""

    value: float | None
    rank: Rank
    source: str
    change: str = ""
    above: int = 0
    """How many places stand above the one that said it: two at one rank are not the same place."""
    follows: bool = False
    """Nobody said it: it is what another number asks for."""

    @property
    def in_person(self) -> bool:
        """The call, a header, a budget or a parent gave it: it is meant as it stands."""
        return self.rank is Rank.CALL

    @property
    def is_default(self) -> bool:
        return self.rank is Rank.DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known about a call before it starts."""

    remaining: float | None = None
    """What a budget or another parent has left."""
    parent: str = "the budget"
    change: str = ""
    """The line to change at that parent."""
    left: float | None = None
    """What the attempts before this one have left of `total`."""
    prompt_tokens: int = 0
    nearby: bool = True
    """The server stands at a loopback or private address."""
    pace: float | None = None
    """Prompt tokens per second that this model is known for."""
    warm: bool | None = None
    """In memory, or not, or not to be known."""
    reasons: bool = False
    generates: bool = True
    """False for what passes through without being a generation: only a `total` given in person holds for it."""


class Resolved:
    """The limits as they were meant, where each came from, and the clocks that they become."""

    __slots__ = ("_limits", "_values", "absent", "clocks")

    def __init__(
        self, limits: Limits | None, values: Mapping[str, Value] | None, clocks: Clocks, *, absent: bool = False
    ) -> None:
        self._limits = limits
        self._values = values
        self.clocks = clocks
        self.absent = absent
        """The model is known not to be in memory: the call starts in `load`."""

    @property
    def limits(self) -> Limits:
        assert self._limits is not None, "what is resolved has limits"
        return self._limits

    @property
    def values(self) -> Mapping[str, Value]:
        assert self._values is not None, "what is resolved knows its values"
        return self._values

    def unheard(self) -> Resolved:
        """The same where nobody listens: there is no heartbeat to wake for."""
        clocks = replace(self.clocks, heartbeat=FOREVER)
        return Resolved(self._limits, self._values, clocks, absent=self.absent)


MODES: Mapping[str, float] = {"fast": 30.0, "deep": 120.0, "search": 60.0}


def mode_layer(name: str) -> Layer:
    """The layer of a mode as shipped. Raises KeyError for a name that is none."""
    total = MODES[name]
    return Layer(Rank.MODE, f"mode {name}", {"total": total, "extend_to": EXTENSION_OF_A_MODE * total})


def resolve(
    layers: Iterable[Layer], situation: Situation | None = None, learned: Mapping[str, Learned] = NOTHING_LEARNED
) -> Resolved:
    """The limits and clocks of a call of which these layers, in whatever order, say something."""
    situation = situation or Situation()
    ordered = sorted(layers, key=lambda layer: layer.rank, reverse=True)
    cutting = [layer for layer in ordered if layer.cuts]
    ordered = [layer for layer in ordered if not layer.cuts]
    values = {name: _highest(name, ordered, learned) for name in NAMES}
    scaled = situation.remaining is not None or any(layer.rank is Rank.MODE for layer in ordered)
    situation = _after_other_attempts(situation, scaled)
    if scaled:
        _use_defaults_of_modes(values, next((layer.source for layer in ordered if layer.rank is Rank.MODE), None))
    _follow(values)
    if scaled:
        _scale(values, situation)
    for layer in cutting:
        _cut(values, layer)
    limits = Limits(**{name: value.value for name, value in values.items()})
    return Resolved(limits, values, clocks_of(limits, values, situation), absent=situation.warm is False)


def _highest(name: str, ordered: Sequence[Layer], learned: Mapping[str, Learned]) -> Value:
    for above, layer in enumerate(ordered):
        if name not in layer.values:
            continue
        value, source = layer.values[name], layer.sources.get(name, layer.source)
        if value is not AUTO:
            return Value(value, layer.rank, source, layer.change, above)
        if name in learned:  # else the next place is asked: nothing is known yet
            found = learned[name]
            told = f"auto at {source}, learned from {found.samples:,} calls ({found.level})"
            return Value(found.value, min(layer.rank, Rank.STEP), told, layer.change, above)
    return Value(getattr(DEFAULTS, name), Rank.DEFAULT, "default", above=len(ordered))


def _use_defaults_of_modes(values: dict[str, Value], mode: str | None) -> None:
    for name, number in (("first_token", FIRST_TOKEN_IN_A_MODE), ("idle", IDLE_IN_A_MODE)):
        if values[name].rank is Rank.DEFAULT:
            values[name] = replace(values[name], value=number, source=mode or values[name].source)


def _follow(values: dict[str, Value]) -> None:
    """`first_token` is at least `idle`, `extend_to` at least `total`, unless said in the same or a higher place."""
    for follower, leader in (("first_token", "idle"), ("extend_to", "total")):
        own, led = values[follower], values[leader]
        if own.above <= led.above:
            continue
        in_person = follower == "extend_to" and led.rank is Rank.CALL
        if in_person or length(own.value) < length(led.value):
            source = f"follows {leader}={_said(led.value)} ({led.source})"
            values[follower] = Value(led.value, led.rank, source, led.change, led.above, follows=True)


def _scale(values: dict[str, Value], situation: Situation) -> None:
    """The rule of modes and budgets. What the call itself gave is cut by a budget only, not by a mode."""
    remaining = situation.remaining
    alone = _scaled(values, _numbers(values))
    for name in ("first_token", "idle"):
        if values[name].rank is not Rank.CALL and alone[name] != values[name].value:
            # A longer number there would be scaled too: what helps is one that is given in person.
            values[name] = replace(values[name], value=alone[name], source=values["total"].source, change="")
    if remaining is None:
        return
    if remaining != FOREVER:
        checked("remaining", remaining)
    inside = Limits(**_numbers(values)).inside(remaining)
    for name, value in values.items():
        number = getattr(inside, name)
        if number != value.value:
            told = f"{situation.parent}: {_said(remaining)}s remain"
            cut = Value(number, Rank.CALL, told, situation.change)
            # What a share of the time comes to was given by nobody: a load may still take what remains.
            values[name] = replace(cut, rank=value.rank, follows=value.follows) if name == "first_token" else cut


def _after_other_attempts(situation: Situation, scaled: bool) -> Situation:
    """With a mode or inside a budget what an earlier attempt has left is shared out anew; else it is only the end."""
    if situation.left is None or not scaled:
        return situation
    if situation.remaining is not None and situation.remaining <= situation.left:
        return situation
    return replace(situation, remaining=situation.left, parent="the attempts before")


def _cut(values: dict[str, Value], layer: Layer) -> None:
    for name, most in layer.values.items():
        value = values[name].value
        if most is not None and most is not AUTO and (value is None or most < value):
            values[name] = Value(most, layer.rank, layer.sources.get(name, layer.source), layer.change)


def _scaled(values: Mapping[str, Value], numbers: Mapping[str, Any]) -> dict[str, float | None]:
    scaled = Limits(**numbers).scaled_to(values["total"].value)
    return {"first_token": scaled.first_token, "idle": scaled.idle}


def _numbers(values: Mapping[str, Value]) -> dict[str, float | None]:
    return {name: value.value for name, value in values.items()}


def _said(value: float | None) -> str:
    return "none" if value is None else plain(value)


class Inside(Resolved):
    """The same inside a parent that has so much left: the clocks at once, the words for people on demand."""

    __slots__ = ("_anew", "_full")

    def __init__(self, whole: Resolved, clocks: Clocks, anew: Callable[[], Resolved]) -> None:
        self.clocks, self.absent = clocks, whole.absent
        self._anew = anew
        self._full: Resolved | None = None

    @property
    def full(self) -> Resolved:
        self._full = self._full or self._anew()
        return self._full

    @property
    def limits(self) -> Limits:
        return self.full.limits

    @property
    def values(self) -> Mapping[str, Value]:
        return self.full.values


def inside(whole: Resolved, situation: Situation, remaining: float, anew: Callable[[], Resolved]) -> Resolved:
    """What was resolved for a parent with endless time, where it has so much left; `anew` resolves it in full."""
    return Inside(whole, cut_clocks(whole, situation, remaining), anew)


def keeping_free(whole: Resolved, most: float, told: str, change: str) -> Resolved:
    """The same where the first token may take no longer, because what comes after is kept for somebody else."""
    clocks = capped(whole.clocks, most)

    def anew() -> Resolved:
        values = dict(whole.values)
        for name, longest in (("first_token", whole.clocks.first_token), ("load", whole.clocks.load)):
            if longest > most or (name == "first_token" and whole.clocks.reasons and not clocks.reasons):
                values[name] = Value(most, Rank.CALL, told, change)
        return Resolved(Limits(**_numbers(values)), values, clocks, absent=whole.absent)

    return Inside(whole, clocks, anew)
