"""The limits of one generation: their names, their defaults, and what may be written for them.

Lengths are configured here; `generation` turns them into instants. `None` means no limit.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum, StrEnum
from math import isfinite
from typing import Any, cast

from hangtight.core.time import FOREVER, Seconds
from hangtight.errors import SettingsError

FIRST_TOKEN_SHARE = 0.3  # of what a call with a mode or inside a budget may take in all
IDLE_SHARE = 0.2
FIRST_TOKEN_IN_A_MODE = 30.0  # stands where no layer gave a number
IDLE_IN_A_MODE = 15.0


class Limit(StrEnum):
    """What can be broken. The wider promise comes first, because declaration order breaks ties."""

    TOTAL = "total"
    QUEUE = "queue"
    LOAD = "load"
    UNSTREAMED = "unstreamed"
    THINKING = "thinking"
    FIRST_TOKEN = "first_token"
    IDLE = "idle"
    CANCEL = "cancel"


BOUNDED = ("first_token", "idle", "total", "extend_to", "queue", "load", "thinking", "unstreamed")
"""The names of those that bound how long a call takes."""


class Unset(Enum):
    """The type of `UNSET`, which says that a caller gave nothing (`None` says: no limit)."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "unset"


UNSET = Unset.UNSET


class Auto(Enum):
    """The type of `AUTO`, which says that a limit is to be learned."""

    AUTO = "auto"

    def __repr__(self) -> str:
        return "auto"


AUTO = Auto.AUTO
LEARNABLE = ("first_token", "idle", "total")
Setting = float | Auto | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a call, in seconds; `None` is no limit. The defaults are the time contract's.

    >>> Limits(first_token=30, idle=15, total=120).within(45)
    Limits(first_token=13.5, idle=9.0, total=45)
    """

    first_token: float | None = 45
    idle: float | None = 45
    total: float | None = 600
    extend_to: float | None = cast("float | None", UNSET)
    """Follows `total` where it is not given."""
    heartbeat: float | None = 15
    queue: float | None = 300
    load: float | None = 300
    thinking: float | None = 300
    unstreamed: float | None = 300
    cancel: float | None = 5
    cold: float | None = 60

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            value = self.total if value is UNSET else checked(field.name, value)
            object.__setattr__(self, field.name, value)

    def within(self, remaining: float | None) -> Limits:
        """These limits inside a parent that has `remaining` seconds left (None: that has no limit).

        They only ever get shorter.
        """
        if checked("remaining", remaining) is None or remaining is None:
            return self
        return self.inside(remaining)

    def inside(self, remaining: float) -> Limits:
        """`within` for a parent that is known to be one; its length may be for ever."""
        effective = _least(self.total, remaining)
        return self.scaled_to(None if effective == FOREVER else effective).cut_to(remaining)

    def scaled_to(self, effective: float | None) -> Limits:
        """These limits for a call that may take `effective` seconds in all: the rule of modes and budgets."""
        if effective is None:
            return self
        return replace(
            self,
            first_token=_least(self.first_token, FIRST_TOKEN_SHARE * effective),
            idle=_least(self.idle, IDLE_SHARE * effective),
            total=effective,
            extend_to=None if self.extend_to is None else max(effective, self.extend_to),
        )

    def cut_to(self, remaining: float) -> Limits:
        """Nothing here outlives what remains."""
        if remaining == FOREVER:
            return self
        return replace(self, **{name: _least(getattr(self, name), remaining) for name in BOUNDED})

    def __repr__(self) -> str:
        """The three numbers that most people ever meet, and whatever differs from the defaults."""
        usual = {field.name: field.default for field in fields(self)} | {"extend_to": self.total}
        always = ("first_token", "idle", "total")
        shown = [name for name in usual if name in always or getattr(self, name) != usual[name]]
        return f"Limits({', '.join(f'{name}={getattr(self, name)}' for name in shown)})"


NAMES = tuple(field.name for field in fields(Limits))


def checked(name: str, value: Any) -> float | None:
    """`value` if it may stand for the setting `name`; else a SettingsError that says what would be right."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(name, value, "a number of seconds, or None for no limit")
    if name == "heartbeat" and value == 0:
        return None
    if not _is_finite(value):
        raise SettingsError(name, value, "a finite number of seconds; None is how to say no limit")
    if value <= 0:
        raise SettingsError(name, value, "more than 0 seconds, or None for no limit")
    return value


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # a whole number that no clock can count to
        return False


def length(value: float | None) -> Seconds:
    """A setting as the machines count it: `None` is for ever."""
    return FOREVER if value is None else Seconds(float(value))


def _least(value: float | None, bound: float) -> float:
    return bound if value is None else min(value, bound)
