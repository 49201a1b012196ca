"""From what every layer said to the clocks of one call: one pure function for every room.

Highest first: call > step > run > mode > model > environment > file > default. Then what was not given follows
what was; a mode or a budget scales and cuts; and the allowances come on top, never past what a parent has left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from hangtight.core.limits import (
    FIRST_TOKEN_IN_A_MODE,
    IDLE_IN_A_MODE,
    NAMES,
    Limits,
    length,
)
from hangtight.core.time import FOREVER, Seconds, plain
from hangtight.core.timers import Clocks, TotalFrom

TOKENS_PER_SECOND_NEARBY = 50.0
TOKENS_PER_SECOND_FAR = 500.0
PREFILL_SHARE_OF_TOTAL = 0.5  # a prompt may lengthen first_token to at most half of total
EXTENSION_OF_A_MODE = 2.0
UNSTREAMED_FOREIGN = Seconds(600.0)


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
    values: Mapping[str, float | None] = field(default_factory=dict)
    change: str = ""
    """The line to change there, with `{name}` and `{value}`; without one, the line of the door is shown."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known about a call before it starts."""

    remaining: float | None = None
    """What a budget or another parent has left."""
    parent: str = "the budget"
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


@dataclass(frozen=True, slots=True)
class Resolved:
    """The limits as they were meant, where each came from, and the clocks that they become."""

    limits: Limits
    values: Mapping[str, Value]
    clocks: Clocks
    absent: bool = False
    """The model is known not to be in memory: the call starts in `load`."""


MODES: Mapping[str, float] = {"fast": 30.0, "deep": 120.0, "search": 60.0}


def mode_layer(name: str) -> Layer:
    """The layer of a mode as shipped. Raises KeyError for a name that is none."""
    total = MODES[name]
    return Layer(Rank.MODE, f"mode {name}", {"total": total, "extend_to": EXTENSION_OF_A_MODE * total})


def resolve(layers: Iterable[Layer], situation: Situation | None = None) -> Resolved:
    situation = situation or Situation()
    ordered = sorted(layers, key=lambda layer: layer.rank, reverse=True)
    cutting = [layer for layer in ordered if layer.cuts]
    ordered = [layer for layer in ordered if not layer.cuts]
    values = {name: _highest(name, ordered) for name in NAMES}
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
    return Resolved(limits, values, _clocks(limits, values, situation), absent=situation.warm is False)


def _highest(name: str, ordered: Sequence[Layer]) -> Value:
    for above, layer in enumerate(ordered):
        if name in layer.values:
            return Value(layer.values[name], layer.rank, layer.source, layer.change, above)
    return Value(getattr(Limits(), name), Rank.DEFAULT, "default", above=len(ordered))


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
            values[name] = replace(values[name], value=alone[name], source=values["total"].source)
    if remaining is None:
        return
    inside = Limits(**_numbers(values)).within(remaining)
    for name, value in values.items():
        number = getattr(inside, name)
        if number != value.value:
            values[name] = Value(number, Rank.CALL, f"{situation.parent}: {_said(remaining)}s remain")


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
        if most is not None and (value is None or most < value):
            values[name] = Value(most, layer.rank, layer.source, layer.change)


def _scaled(values: Mapping[str, Value], numbers: Mapping[str, Any]) -> dict[str, float | None]:
    scaled = Limits(**numbers).scaled_to(values["total"].value)
    return {"first_token": scaled.first_token, "idle": scaled.idle}


def _numbers(values: Mapping[str, Value]) -> dict[str, float | None]:
    return {name: value.value for name, value in values.items()}


def _clocks(limits: Limits, values: Mapping[str, Value], situation: Situation) -> Clocks:
    cold = _cold(limits, situation)
    first = length(limits.first_token)
    cold_first = Seconds(0.0)
    if _may_wait_longer(values["first_token"]):
        first = _with_prefill(first, length(limits.total), situation)
        cold_first = cold
    total_from = TotalFrom.CALL
    if values["total"].rank is not Rank.CALL:
        if situation.warm is False:
            total_from = TotalFrom.READY
        elif cold:
            total_from = TotalFrom.FIRST_PROGRESS
    unlimited = not situation.generates and values["total"].rank is not Rank.CALL
    return Clocks(
        total=FOREVER if unlimited else length(limits.total),
        total_from=total_from,
        ceiling=min(length(situation.remaining), length(situation.left)),
        cold=cold_first,
        late=cold,
        first_token=Seconds(first + cold_first),
        reasons=situation.reasons,
        idle=length(limits.idle),
        thinking=length(limits.thinking),
        queue=length(limits.queue),
        load=length(limits.load),
        unstreamed=_unstreamed(limits, values, situation),
        cancel=length(limits.cancel),
        heartbeat=length(limits.heartbeat),
    )


def _unstreamed(limits: Limits, values: Mapping[str, Value], situation: Situation) -> Seconds:
    """Files, pictures and embeddings have the time that the SDKs give them, unless somebody gave another."""
    usual = values["unstreamed"].rank is Rank.DEFAULT and not situation.generates
    return UNSTREAMED_FOREIGN if usual else length(limits.unstreamed)


def _cold(limits: Limits, situation: Situation) -> Seconds:
    """The allowance for a load that nobody can see; `cold=None` switches it off, like a model known to be warm."""
    return Seconds(float(limits.cold or 0)) if situation.warm is None else Seconds(0.0)


def _may_wait_longer(first: Value) -> bool:
    """A number that somebody gave in person is meant; one that only follows another is not."""
    return first.rank is not Rank.CALL or first.follows


def _with_prefill(first: Seconds, total: Seconds, situation: Situation) -> Seconds:
    usual = TOKENS_PER_SECOND_NEARBY if situation.nearby else TOKENS_PER_SECOND_FAR
    reading = situation.prompt_tokens / (situation.pace or usual)
    return Seconds(max(first, min(first + reading, PREFILL_SHARE_OF_TOTAL * total)))


def _said(value: float | None) -> str:
    return "none" if value is None else plain(value)
