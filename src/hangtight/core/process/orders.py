"""What the machine of a process wants done. The driver obeys them in their order; the machine never acts itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hangtight.core.time import Seconds


class Level(StrEnum):
    """As they stand in the log."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Start:
    """Spawn it. Answered by `Spawned` or `SpawnFailed`."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask its check endpoint, again and again, until it answers (`Healthy`) or `ProbeNoMore` comes."""


@dataclass(frozen=True, slots=True)
class ProbeNoMore:
    """The check endpoint says nothing of interest from now on: a busy server that misses a probe is not ill."""


@dataclass(frozen=True, slots=True)
class RunSleep:
    """Run the sleep command. Answered by `SleepDone` or `SleepFailed`."""


@dataclass(frozen=True, slots=True)
class RunWake:
    """Run the wake command. Answered by `WakeDone` or `WakeFailed`."""


@dataclass(frozen=True, slots=True)
class BreakOff:
    """End the command that runs. It need not answer any more."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask the tree to end. Answered by `Gone`."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End whatever is there of the tree, also if it was never seen to start. Answered by `Gone` or `Stubborn`."""


@dataclass(frozen=True, slots=True)
class Open:
    """Who waits may go in: `Entered` is recorded for each of them before the machine is woken again."""


@dataclass(frozen=True, slots=True)
class CutOff:
    """End the requests that still run; each gives its place back later."""

    why: str
    """What each of them is told."""


@dataclass(frozen=True, slots=True)
class TurnAway:
    """Who waits is refused."""

    why: str
    retry_after: Seconds


@dataclass(frozen=True, slots=True)
class FellBack:
    """Who waits for this sleep or wake is told why it did not come to that. Requests wait on."""

    error: str


@dataclass(frozen=True, slots=True)
class Tell:
    """A line for the log."""

    level: Level
    words: str


Order = (
    Start
    | Probe
    | ProbeNoMore
    | RunSleep
    | RunWake
    | BreakOff
    | Stop
    | Kill
    | Open
    | CutOff
    | TurnAway
    | FellBack
    | Tell
)
