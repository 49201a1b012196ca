"""From what every layer said to the clocks of one call: one pure function for every room.

Highest first: call > step > run > mode > model > environment > file > default. Then what was not given follows
what was; a mode or a budget scales and cuts; and the allowances come on top, never past what a parent has left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hangtight.core.clocks import capped, clocks_of, cut_clocks
from hangtight.core.layers import Layer, Rank, Resolved, Situation, Value
from hangtight.core.limits import (
    AUTO,
    FIRST_TOKEN_IN_A_MODE,
    IDLE_IN_A_MODE,
    NAMES,
    Limits,
    checked,
    length,
)
from hangtight.core.time import FOREVER, plain
from hangtight.core.timers import Clocks

if TYPE_CHECKING:
    from hangtight.core.pace import Learned

DEFAULTS: Final = Limits()
NOTHING_LEARNED: Final[Mapping[str, Learned]] = {}


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
        in_person = follower == "extend_to" and (led.rank >= Rank.RUN or own.rank is Rank.DEFAULT)
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
