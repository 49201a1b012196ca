"""What was given for a call, and where: at the call itself, in its headers, by `limits()` around it, at its client.

Nearest first, these places become the layers of one resolution.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypedDict

from hangtight.core.limits import checked
from hangtight.core.resolve import MODES, Layer, Rank, Resolved, Situation, mode_layer, resolve
from hangtight.core.telling import Door
from hangtight.core.time import FOREVER
from hangtight.errors import SettingsError

if TYPE_CHECKING:
    from typing import Unpack

    from hangtight.core.heartbeat import Heartbeat

ROUND_PROMPTS_TO = 50  # tokens: a second of reading nearby

Listener = Callable[["Heartbeat"], object]


class LimitArgs(TypedDict, total=False):
    """What may be given for one call, in seconds; `None` is no limit."""

    first_token: float | None
    idle: float | None
    total: float | None
    heartbeat: float | None
    load: float | None
    thinking: float | None
    unstreamed: float | None
    cancel: float | None
    cold: float | None


@dataclass(frozen=True, slots=True)
class Given:
    """What one place gave for a call."""

    source: str = "the call"
    values: tuple[tuple[str, float | None], ...] = ()
    mode: str | None = None
    change: str = ""
    cuts: bool = False

    def __bool__(self) -> bool:
        return bool(self.values) or self.mode is not None


def given(limits: Mapping[str, Any], mode: str | None = None, *, source: str = "the call", change: str = "") -> Given:
    """Limits and a mode as somebody wrote them. Refuses what cannot be meant."""
    values = tuple((name, _known(name, value)) for name, value in limits.items())
    if mode is not None and mode not in MODES:
        raise SettingsError("mode", mode, f"one of {', '.join(MODES)}")
    return Given(source, values, mode, change)


def _known(name: str, value: Any) -> float | None:
    names = list(LimitArgs.__annotations__)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(name, value, f"one of the limits {', '.join(names)}{hint}")
    return checked(name, value)


class Terms:
    """What holds for a call, and the line by which to ask for more. May be shared by many generations."""

    __slots__ = ("_resolved", "door", "layers", "places", "situation")

    def __init__(self, places: tuple[Given, ...], *, door: Door, situation: Situation | None = None) -> None:
        self.places = places
        """The nearest first."""
        self.layers = _layers(places)
        self.door = door
        self.situation = situation or Situation()
        self._resolved: dict[tuple[bool | None, bool], Resolved] = {}

    def resolved(self, warm: bool | None, heard: bool) -> Resolved:
        """The limits and clocks for a model in this state. Without a listener there is no heartbeat to wake for."""
        key = (warm, heard)
        if key not in self._resolved:
            situation = self.situation
            if situation.warm is None:
                situation = replace(situation, warm=warm)
            resolved = resolve(self.layers, situation)
            if not heard:
                resolved = replace(resolved, clocks=replace(resolved.clocks, heartbeat=FOREVER))
            self._resolved[key] = resolved
        return self._resolved[key]

    def within(self, left: float) -> Terms:
        """The same for an attempt that has so many seconds left of the call."""
        left = left if self.situation.left is None else min(left, self.situation.left)
        return Terms(self.places, door=self.door, situation=replace(self.situation, left=left))

    def on_top_of(self, others: Terms) -> Terms:
        """The same where something else was given farther away, and more is known of the situation."""
        situation = replace(others.situation, left=self.situation.left)
        return Terms((*self.places, *others.places), door=self.door, situation=situation)


def terms_of(*places: Given, door: Door, situation: Situation | None = None) -> Terms:
    """The terms of a call to which these places gave something, the nearest first."""
    return _terms(places, door, situation or Situation())


def rounded(tokens: int) -> int:
    """About the length of a prompt, so that calls that are nearly equal share their terms."""
    return tokens // ROUND_PROMPTS_TO * ROUND_PROMPTS_TO


@lru_cache(maxsize=256, typed=True)
def _terms(places: tuple[Given, ...], door: Door, situation: Situation) -> Terms:
    return Terms(places, door=door, situation=situation)


def _layers(places: tuple[Given, ...]) -> tuple[Layer, ...]:
    layers = [
        Layer(Rank.CALL, place.source, dict(place.values), place.change, place.cuts) for place in places if place.values
    ]
    mode = next((place.mode for place in places if place.mode is not None), None)
    return (*layers, mode_layer(mode)) if mode is not None else tuple(layers)


# -- around the call --------------------------------------------------------------------------------------------------

AROUND: ContextVar[tuple[Given, ...]] = ContextVar("hangtight-limits", default=())
"""What `limits()` gave, the innermost first."""


@contextmanager
def limits(*, mode: str | None = None, **limits: Unpack[LimitArgs]) -> Iterator[None]:
    """Inside the block these limits hold for each call that gives none of its own: our clients', and `watch`.

    >>> with limits(idle=60, total=1200):
    ...     pass
    """
    place = given(limits, mode, source="hangtight.limits", change="hangtight.limits({name}={value})")
    token = AROUND.set((place, *AROUND.get()))
    try:
        yield
    finally:
        AROUND.reset(token)
