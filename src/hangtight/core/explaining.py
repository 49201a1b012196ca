"""Why each limit is what it is: what every place said, what came of it, and what is allowed on top."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from hangtight.core.intents import RUNGS, Placed
from hangtight.core.layers import Layer, Resolved, Situation, Value
from hangtight.core.limits import AUTO, FIRST_TOKEN_SHARE, IDLE_SHARE, NAMES, Setting, length
from hangtight.core.pace import Learned
from hangtight.core.resolve import DEFAULTS, NOTHING_LEARNED
from hangtight.core.time import FOREVER, plain
from hangtight.core.timers import TotalFrom

DEFAULT = "default"
SHARES = {"first_token": FIRST_TOKEN_SHARE, "idle": IDLE_SHARE}


class Said(NamedTuple):
    """What one place says about a limit."""

    value: Setting
    source: str

    def __str__(self) -> str:
        return f"{number(self.value)} ({self.source})"


class Explained(NamedTuple):
    """One limit."""

    name: str
    value: float | None
    source: str
    overruled: tuple[Said, ...]
    """The highest first."""
    auto: bool = False
    """It is to be learned."""
    learned: Learned | None = None
    """What it was learned from; None while too little is known."""
    share: float = 0.0
    """It is this part of `total`, whose source it has."""

    @property
    def origin(self) -> str:
        """Its source, with the part of `total` that it is, where it is one."""
        return f"{self.share:.0%} of total ({self.source})".replace("%", " %", 1) if self.share else self.source


def explained(
    layers: Iterable[Layer], resolved: Resolved, learned: Mapping[str, Learned] = NOTHING_LEARNED
) -> tuple[Explained, ...]:
    """Each limit of what was resolved from these layers and this knowledge."""
    ordered = sorted((layer for layer in layers if not layer.cuts), key=lambda layer: layer.rank, reverse=True)
    told = (_explained(name, ordered, resolved.values[name], learned.get(name)) for name in NAMES)
    return tuple(each._replace(share=_share(each, resolved.values)) for each in told)


def _explained(name: str, ordered: Sequence[Layer], value: Value, learned: Learned | None) -> Explained:
    said = [
        Said(layer.values[name], layer.sources.get(name, layer.source)) for layer in ordered if name in layer.values
    ]
    auto = bool(said) and said[0].value is AUTO
    said.append(Said(getattr(DEFAULTS, name), DEFAULT))
    speaks = next(at for at, each in enumerate(said) if each.value is not AUTO or learned is not None)
    if _won(said[speaks], value):
        del said[speaks]
    return Explained(name, value.value, value.source, tuple(said), auto, learned if auto else None)


def _won(said: Said, value: Value) -> bool:
    """It is what holds now: nothing followed, scaled or cut it."""
    if said.value is AUTO:
        return value.source.startswith(f"auto at {said.source}, ")
    return (value.value, value.source) == said


def _share(each: Explained, values: Mapping[str, Value]) -> float:
    """What part of `total` it was cut to, if it was."""
    share, total = SHARES.get(each.name, 0.0), values["total"]
    is_one = total.value is not None and each.value == share * total.value and each.source == total.source
    return share if is_one else 0.0


def lines_of(told: Sequence[Explained]) -> Iterator[str]:
    """A line for each limit: its value and where that is from; what it overruled stands below."""
    names, values = [each.name for each in told], [number(each.value) for each in told]
    name, value = max(map(len, ("limit", *names))), max(map(len, ("value", *values)))
    yield f"{'limit':<{name}}  {'value':>{value}}  from"
    for each in told:
        yield f"{each.name:<{name}}  {number(each.value):>{value}}  {each.origin}"
        if each.overruled:
            yield f"{'':<{name}}  {'':>{value}}  over {', '.join(map(str, each.overruled))}"


def allowances(resolved: Resolved, situation: Situation) -> tuple[str, ...]:
    """What is on top of the limits, and what stands in for them, in sentences."""
    clocks, limits = resolved.clocks, resolved.limits
    told = []
    if clocks.cold:
        told.append(f"first_token gets {_spoken(clocks.cold)} more where the model may have to load (cold)")
    reading = 0.0 if limits.first_token is None else clocks.first_token - clocks.cold - limits.first_token
    if reading > 0:
        told.append(f"first_token gets {_spoken(reading)} more to read a prompt of {situation.prompt_tokens:,} tokens")
    if clocks.total_from is TotalFrom.READY:
        told.append("total starts when the model is loaded")
    if clocks.total_from is TotalFrom.FIRST_PROGRESS and clocks.total != FOREVER:
        told.append(f"total starts with the first piece, at most {_spoken(clocks.late)} late")
    if clocks.reasons:
        told.append(f"thinking ({number(limits.thinking)}) takes the place of first_token: the model reasons first")
    if length(situation.remaining) != FOREVER:
        told.append(f"nothing outlives {situation.parent}: {_spoken(clocks.ceiling)} remain")
    return tuple(told)


def intended(said: Placed, resolved: Resolved) -> str:
    """What intent may do to a call, and why, in a line."""
    intent, source = said
    if not intent.on:
        return f"intent: off ({source})"
    told = [f"intent: on ({source})", _extension(resolved)]
    if intent.shorten:
        told.append("halves what remains where the model is stuck")
    if intent.ladder != RUNGS:
        told.append(f"a loop: {', then '.join(intent.ladder) or 'nothing is done'}")
    return ", ".join(told)


def _extension(resolved: Resolved) -> str:
    total, most = resolved.limits.total, resolved.limits.extend_to
    if length(most) <= length(total):
        return "extends nothing"
    return f"extends total {number(total)} -> {number(most)}"


def _spoken(seconds: float) -> str:
    return f"{plain(round(seconds, 1))} s"


def number(value: Setting) -> str:
    """A limit as people write it."""
    if value is AUTO:
        return AUTO.value
    return "none" if value is None else plain(value)
