"""What the places say about the limits of a call, and what that comes to: the words in which `resolve` speaks.

Highest first: call > step > run > mode > model > environment > file > default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from hangtight.core.limits import Limits, Setting
from hangtight.core.time import FOREVER
from hangtight.core.timers import Clocks

EXTENSION_OF_A_MODE = 2.0


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
