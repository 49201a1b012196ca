"""What happens in a run, told while it happens. Who does not know a kind of event sees nothing new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """The kinds. The value of `HEARTBEAT` is a contract."""

    HEARTBEAT = "LLM_HEARTBEAT"
    """A generation runs, silent or not: once each interval, with the elapsed time."""
    RUN_STARTED = "run_started"
    RUN_RESUMED = "run_resumed"
    RUN_FINISHED = "run_finished"
    """However it ended: `outcome`."""
    STEP_STARTED = "step_started"
    PROGRESS = "progress"
    """Tokens so far, at most four times a second."""
    EXTENDED = "extended"
    """What the model writes has moved the deadline of its step."""
    TIMED_OUT = "timed_out"
    RETRIED = "retried"
    STEP_FINISHED = "step_finished"


@dataclass(frozen=True, slots=True)
class Event:
    """One of them. Every error in it carries the elapsed time."""

    type: EventType
    run: str
    flow: str
    at: float
    """Seconds since the epoch."""
    step: str = ""
    payload: str = ""
    """In words, for people: `Still waiting on qwen3-coder:latest... 45s elapsed`."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """`elapsed`, `model`, `tokens`, `outcome`, `error`, `attempt`, `limit`, ... whatever there is."""


Listener = Callable[[Event], object]


def plain(event: Event) -> dict[str, Any]:
    """As JSON has it, for those who read along elsewhere: what is told stands beside the rest."""
    about = {"type": event.type.value, "payload": event.payload, "run": event.run, "flow": event.flow, "at": event.at}
    step = {"step": event.step} if event.step else {}
    return {**about, **step, **{name: value for name, value in event.told.items() if name not in about}}
