"""What can happen to a model process. The driver learns it from the world and records it, with the instant."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hangtight.core.process.terms import Terms
from hangtight.core.time import Seconds


class Rest(StrEnum):
    """How a model can be out of the way."""

    SLEEP = "sleep"
    STOP = "stop"


class Why(StrEnum):
    """Who wants it gone."""

    TTL = "ttl"
    """Nobody: it was idle for long."""
    SWAP = "swap"
    """Another model needs its place."""
    OPERATOR = "operator"
    """Somebody said so in person."""
    RELOAD = "reload"
    """Its settings have changed: it starts anew with the next request."""
    HUNG = "hung"
    """It does not work any more."""
    SHUTDOWN = "shutdown"
    """We end. It never starts again."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Somebody wants it ready, and its place is free: what had to go for it has gone.

    Answered by `Open` or `TurnAway`, now or later. An operator insists: no pause after failures is waited for.
    """

    insists: bool = False


@dataclass(frozen=True, slots=True)
class Adopted:
    """One that runs already, from an earlier life of ours, is ours again."""

    pid: int


@dataclass(frozen=True, slots=True)
class Spawned:
    """The process runs."""

    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """It could not even be started, and nothing of it runs."""

    why: str


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """It shows that it is getting on with its load."""


@dataclass(frozen=True, slots=True)
class Healthy:
    """The check endpoint answered."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The process has ended; its children may still be there."""

    why: str
    """In words: `exit code 1`, `killed by SIGSEGV`."""


@dataclass(frozen=True, slots=True)
class Entered:
    """A request took its place. Only while `admits`."""

    patience: Seconds = Seconds(0.0)
    """The silence that it is ready to bear; `FOREVER` for one of which no token can be seen."""


class Ending(StrEnum):
    """What the end of a request says about the process."""

    WELL = "well"
    """It works: as good as a token."""
    SILENT = "silent"
    """It said nothing for longer than that request could bear."""
    OTHER = "other"
    """Nothing: the client has left, or was cut off."""


@dataclass(frozen=True, slots=True)
class Left:
    """A request gave its place back, however it ended."""

    end: Ending = Ending.OTHER
    patience: Seconds = Seconds(0.0)
    """The longest silence that one of those that stay is ready to bear."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """A token came from it, to anybody. `Process.progressed` is the same without the ceremony."""


@dataclass(frozen=True, slots=True)
class PutAway:
    """Somebody wants it gone. Urgent: no request in flight and no load is waited for."""

    to: Rest
    why: Why
    urgent: bool = False

    @property
    def at_once(self) -> bool:
        """A load or a wake that is going on is broken off. Else it goes when who waits for it has been served."""
        stops = self.to is Rest.STOP and self.why is Why.OPERATOR
        return self.urgent or stops or self.why in (Why.RELOAD, Why.SHUTDOWN)

    def joined(self, other: PutAway) -> PutAway:
        """Both wish it gone: a stop is more than a sleep, and who was to be obeyed stays so."""
        to = Rest.STOP if Rest.STOP in (self.to, other.to) else Rest.SLEEP
        keeps = self.why is Why.SHUTDOWN or other.why is Why.TTL
        return PutAway(to, self.why if keeps else other.why, self.urgent or other.urgent)


@dataclass(frozen=True, slots=True)
class SleepDone:
    """The sleep command ended well."""


@dataclass(frozen=True, slots=True)
class SleepFailed:
    why: str


@dataclass(frozen=True, slots=True)
class WakeDone:
    """The wake command ended well."""


@dataclass(frozen=True, slots=True)
class WakeFailed:
    why: str


@dataclass(frozen=True, slots=True)
class Gone:
    """Seen, not assumed: nothing of its tree is left."""


@dataclass(frozen=True, slots=True)
class Stubborn:
    """It was killed, and something is still there."""

    left: str
    """In words: which processes, or what memory."""


@dataclass(frozen=True, slots=True)
class Hung:
    """Somebody found that it goes on with what nobody waits for."""

    why: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """Other lengths hold from now on, as if they had from the start."""

    terms: Terms


@dataclass(frozen=True, slots=True)
class Slept:
    """Our alarm came late by so much: we stood still, and have not heard yet what happened meanwhile."""

    late: Seconds


Fact = (
    Wanted
    | Adopted
    | Spawned
    | SpawnFailed
    | LoadProgress
    | Healthy
    | Exited
    | Entered
    | Left
    | Progressed
    | PutAway
    | SleepDone
    | SleepFailed
    | WakeDone
    | WakeFailed
    | Gone
    | Stubborn
    | Hung
    | Renewed
    | Slept
)
