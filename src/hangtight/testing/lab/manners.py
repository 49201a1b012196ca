"""How the lab behaves as a process that is started, put to sleep, woken and stopped. Lengths are in seconds.

Each field is an option of `hangtight lab serve`: `load_time` is `--load-time`. What each does is told there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any, Self

MOST_CHILDREN = 64
HIGHEST_CODE = 255
EXIT_CODE = 1
"""The exit status of a server that ends by itself, where none is given: it failed."""


class MannersError(ValueError):
    """Options that no server can follow."""


class Group:
    """Options that belong together; every number among them is a length, a count or a size."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not (isfinite(value) and value >= 0):
                raise MannersError(f"{option(name)} cannot be {value}: it is 0 or more")


@dataclass(frozen=True, kw_only=True)
class Loading(Group):
    """Until it is ready."""

    load_time: float = 0.0
    load_progress: bool = False
    late_port: bool = False


@dataclass(frozen=True, kw_only=True)
class Sleeping(Group):
    """How it answers to being put to sleep and woken."""

    sleep_time: float = 0.0
    wake_time: float = 0.0
    sleep_fails: bool = False
    wake_fails: bool = False


@dataclass(frozen=True, kw_only=True)
class Hanging(Group):
    """What of a server that looks well no longer answers."""

    hangs_after: int | None = None
    closes_health: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ending(Group):
    """When it ends by itself, and whether it ends when it is asked to."""

    ignore_sigterm: bool = False
    exit_after: float | None = None
    exit_code: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exit_code is not None and self.exit_code > HIGHEST_CODE:
            raise MannersError(f"--exit-code cannot be {self.exit_code}: the highest is {HIGHEST_CODE}")

    @property
    def at_once(self) -> bool:
        """Whether it ends before it listens; so does one that has a status to end with and no time for it."""
        return self.exit_after == 0 or (self.exit_after is None and self.exit_code is not None)

    @property
    def code(self) -> int:
        return EXIT_CODE if self.exit_code is None else self.exit_code


@dataclass(frozen=True, kw_only=True)
class Company(Group):
    """What it starts and prints beside its work; `chatty` is in MB."""

    children: int = 0
    rubbish: bool = False
    chatty: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.children > MOST_CHILDREN:
            raise MannersError(f"--children cannot be {self.children}: the most is {MOST_CHILDREN}")


@dataclass(frozen=True, kw_only=True)
class Manners:
    """All of it. By default the server is ready at once, does what it is asked to, and stays."""

    loading: Loading = field(default_factory=Loading)
    sleeping: Sleeping = field(default_factory=Sleeping)
    hanging: Hanging = field(default_factory=Hanging)
    ending: Ending = field(default_factory=Ending)
    company: Company = field(default_factory=Company)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """The manners that options tell; what else there is among them is somebody else's."""
        return cls(
            **{
                name: group(**{known.name: options[known.name] for known in fields(group) if known.name in options})
                for name, group in GROUPS.items()
            }
        )


GROUPS: Mapping[str, Any] = {
    "loading": Loading,
    "sleeping": Sleeping,
    "hanging": Hanging,
    "ending": Ending,
    "company": Company,
}


def option(name: str) -> str:
    """How a field is written on a command line."""
    return "--" + name.replace("_", "-")
