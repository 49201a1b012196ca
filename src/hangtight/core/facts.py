"""What can happen to a generation. A driver learns it from the world and records it, with the instant."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hangtight.intent.findings import Finding


@dataclass(frozen=True, slots=True)
class Queued:
    """The request is accepted and stands in line for a slot."""

    place: int | None = None
    """In the line, where it is known; 1 is the next to go."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A slot was given; the request is sent."""


@dataclass(frozen=True, slots=True)
class Resident:
    """The server says that the model is in memory: a silence now is not a load."""


@dataclass(frozen=True, slots=True)
class Absent:
    """The server says that the model is not in memory: it loads first."""


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """The server shows that it is getting on with the load, or a process talks before its first output."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is in memory now."""


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """The server shows that it is getting on with the prompt."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The head of the answer shows that it comes in one piece."""


@dataclass(frozen=True, slots=True)
class Content:
    """Progress: text of the answer."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Progress: text of the model's thinking."""


@dataclass(frozen=True, slots=True)
class Calling:
    """Progress: arguments of a tool call."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Bytes without content: a ping, a comment, an empty delta, a part of a piece."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody waits for the next piece."""


@dataclass(frozen=True, slots=True)
class Handed:
    """A piece without content was handed over; until the next `Asked` nobody waits."""


@dataclass(frozen=True, slots=True)
class Paused:
    """The caller waits on something that is not the model: a tool, a person, a child."""

    owner: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """One of the pauses ended."""

    owner: str


@dataclass(frozen=True, slots=True)
class Slept:
    """Our alarm came late by so much: we slept (blocked loop, stopped process), not the model."""

    late: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The model said that it is done (a finish reason)."""


class End(Enum):
    """How a source ended, for one that gave no finish reason."""

    WHOLE = "there is no way for this source to say more"
    MARKED = "with the end mark of its dialect"
    CUT = "without the end mark of its dialect"


@dataclass(frozen=True, slots=True)
class Closed:
    """The source ended, or the end that we asked for is confirmed."""

    end: End = End.WHOLE


@dataclass(frozen=True, slots=True)
class Broke:
    """The source raised an error that is not ours."""


@dataclass(frozen=True, slots=True)
class Left:
    """The caller does not want the rest: it left the loop, or an error in its own body did."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked us to stop: a task was cancelled, Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Advised:
    """What the text so far says about the deadline."""

    finding: Finding
    shorten: bool = False
    """Half of what remains is enough for what may be stuck."""


Progress = Content | Reasoning | Calling
Fact = (
    Queued
    | Admitted
    | Resident
    | Absent
    | LoadProgress
    | Ready
    | PrefillProgress
    | Whole
    | Content
    | Reasoning
    | Calling
    | Contact
    | Asked
    | Handed
    | Paused
    | Resumed
    | Slept
    | Finished
    | Closed
    | Broke
    | Left
    | Cancelled
    | Advised
)
