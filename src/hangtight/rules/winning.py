"""Values that can never win: written down, and overruled in every mode for every call that gives none of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hangtight.core.layers import Layer, Rank, Resolved
from hangtight.core.limits import AUTO, Setting, length
from hangtight.core.resolve import resolve
from hangtight.core.time import plain
from hangtight.rules.settings import Settings

MOST_MODELS = 200  # each is resolved in every mode; nobody reads a longer list
GIVEN: Mapping[str, Mapping[str, Setting]] = {
    "first_token": {"total": None, "idle": 0.001},
    "idle": {"total": None},
}
"""What a call would have to give for the share of a mode, or what follows, not to overrule this limit."""


class Case(NamedTuple):
    """A call that may come."""

    mode: str | None
    layers: tuple[Layer, ...]

    def resolved(self, given: Mapping[str, Setting] | None = None) -> Resolved:
        return resolve((Layer(Rank.CALL, "the call", given), *self.layers) if given else self.layers)

    def told(self, name: str) -> str:
        value = self.resolved().values[name]
        where = f"in mode {self.mode} it is" if self.mode else "it is"
        return f"{where} {_said(value.value)} ({value.source})"


def losers(settings: Settings) -> Iterable[str]:
    """A remark for each value that no call can get. Asks the resolution itself, so it cannot be of another opinion."""
    modes: list[str | None] = sorted(settings.modes, key=lambda mode: mode != settings.default_mode)
    if settings.default_mode is None:
        modes = [None, *modes]
    everywhere = [case for mode in modes for case in _cases(settings, mode, "")]
    for layer in settings.below:
        yield from _never(layer, everywhere)
    for name in list(settings.models)[:MOST_MODELS]:
        there = [case for mode in modes for case in _cases(settings, mode, name.replace("*", "x"))]
        for layer in settings.models[name].layers:
            yield from _never(layer, there)
    for name, mode in settings.modes.items():
        for layer in mode.layers:
            yield from _never(layer, _cases(settings, name, ""))


def _cases(settings: Settings, mode: str | None, model: str) -> list[Case]:
    return [Case(mode, settings.layers(mode, model, in_step)) for in_step in (False, True)]


def _never(layer: Layer, cases: list[Case]) -> Iterable[str]:
    for name, place in layer.sources.items():
        said = layer.values[name]
        if said is AUTO or any(_wins(case.resolved(), name, said, place) for case in cases):
            if name == "extend_to":
                yield from _too_short(place, said, cases)
            continue
        given = GIVEN.get(name)
        rarely = given is not None and any(_wins(case.resolved(given), name, said, place) for case in cases)
        when = (
            f"holds only for calls that give {' and '.join(given)} themselves" if rarely and given else "can never win"
        )
        yield f"{place}: {name} = {_said(said)} {when}: {cases[0].told(name)}"


def _too_short(place: str, said: Setting, cases: list[Case]) -> Iterable[str]:
    """An extension that ends before what it extends. One to the very same length says that there shall be none."""
    won = [each for each in (case.resolved() for case in cases) if _wins(each, "extend_to", said, place)]
    if all(length(each.limits.extend_to) < length(each.limits.total) for each in won):
        total = won[0].values["total"]
        yield f"{place}: extend_to = {_said(said)} extends nothing: total is {_said(total.value)} ({total.source})"


def _wins(resolved: Resolved, name: str, said: Setting, place: str) -> bool:
    value = resolved.values[name]
    return value.value == said and value.source == place


def _said(value: Setting) -> str:
    return "none" if value is None else plain(value) if isinstance(value, float | int) else "auto"
