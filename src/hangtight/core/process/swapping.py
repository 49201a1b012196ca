"""Which models must go before another may come: groups as llama-swap has them. Pure, and only a question.

In a group that swaps one member runs at a time. An exclusive group has the machine for itself: when a member of it
comes, the members of the other groups go, unless their group is persistent. A model in no group is in `DEFAULT`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from hangtight.core.process.facts import Rest
from hangtight.core.process.failures import LONG_AGO
from hangtight.core.process.phases import Phase
from hangtight.core.time import Instant

AWAY: Final = frozenset((Phase.STOPPED, Phase.ASLEEP, Phase.FAILED))
COMING: Final = frozenset((Phase.STARTING, Phase.WAKING, Phase.READY))


class Grouping(Protocol):
    """What is asked of a group, wherever it was read."""

    @property
    def name(self) -> str: ...
    @property
    def swap(self) -> bool: ...
    @property
    def exclusive(self) -> bool: ...
    @property
    def persistent(self) -> bool: ...
    @property
    def members(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    name: str
    swap: bool = True
    exclusive: bool = True
    persistent: bool = False
    members: tuple[str, ...] = ()


DEFAULT: Final[Grouping] = Group(name="(default)")


@dataclass(frozen=True, slots=True)
class Standing:
    """How one model stands, as far as a swap is concerned."""

    phase: Phase
    running: int = 0
    """Requests inside."""
    last_used: Instant = LONG_AGO
    can_sleep: bool = False
    lingers: bool = False
    """It was killed, and something of it is still there."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """This one goes first, in this way. One that is going already is named too: its place is not free yet."""

    model: str
    how: Rest


def by_member(groups: Iterable[Grouping]) -> dict[str, Grouping]:
    """Each member and its group. Made once when the settings are read."""
    return {member: group for group in groups for member in group.members}


def evictions(wanted: str, up: Mapping[str, Standing], groups: Mapping[str, Grouping]) -> tuple[Eviction, ...]:
    """Who must be out of the way before `wanted` may start or wake; `groups` is `by_member`.

    The idle ones first, and of them who was used longest ago: they are gone soonest and missed least. For one that
    is up, or on its way, nobody has to go: whoever was in its way has gone.
    """
    own = groups.get(wanted, DEFAULT)
    stands = up.get(wanted)
    if stands is not None and stands.phase in COMING:
        return ()
    in_the_way = [
        (model, standing)
        for model, standing in up.items()
        if not _is_away(standing) and model != wanted and conflict(own, groups.get(model, DEFAULT))
    ]
    in_the_way.sort(key=lambda pair: (pair[1].running > 0, pair[1].last_used))
    return tuple(Eviction(model, _how(standing)) for model, standing in in_the_way)


def _is_away(standing: Standing) -> bool:
    return standing.phase in AWAY and not standing.lingers


def conflict(own: Grouping, other: Grouping) -> bool:
    """Whether a member of the other one must go when one of its own comes."""
    if other is own or other.name == own.name:
        return own.swap
    return own.exclusive and not other.persistent


def _how(standing: Standing) -> Rest:
    sleeps = standing.can_sleep and standing.phase not in (Phase.STOPPING, Phase.FAILED)
    return Rest.SLEEP if sleeps else Rest.STOP
