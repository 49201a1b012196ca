"""The lives of the steps of a run: each from its begin to its end, or to where its process was lost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hangtight.journal.entries import Happening

INTERRUPTED = "interrupted"
BEGINS = (Happening.RUN_STARTED, Happening.RUN_RESUMED)


class Noted(Protocol):
    """An event, as it is kept."""

    @property
    def at(self) -> float: ...
    @property
    def kind(self) -> str: ...
    @property
    def step(self) -> str: ...
    @property
    def told(self) -> Any: ...


@dataclass(slots=True)
class StepLife:
    """One time that a step was begun. A run that goes on begins the steps anew that it had not finished."""

    step: str
    began: float
    ended: float | None = None
    """Of one that was interrupted, the last instant at which anything was heard of its run."""
    outcome: str | None = None
    """None while it runs; `interrupted` where its process was lost, and another life followed."""
    attempts: int = 1
    heartbeats: int = 0


def lives_of(events: Iterable[Noted]) -> tuple[StepLife, ...]:
    """In the order in which they began. Events come in the order of their instants."""
    lives: list[StepLife] = []
    running: dict[str, StepLife] = {}
    heard = 0.0
    for event in events:
        if event.kind in BEGINS:
            for life in running.values():
                life.ended, life.outcome = heard, INTERRUPTED
            running.clear()
        elif event.step:
            _hear(event, heard, running, lives)
        heard = event.at
    return tuple(lives)


def _hear(event: Noted, heard: float, running: dict[str, StepLife], lives: list[StepLife]) -> None:
    told: Mapping[str, Any] = event.told if isinstance(event.told, Mapping) else {}
    life = running.get(event.step)
    if event.kind == Happening.STEP_STARTED:
        if life is not None:
            life.ended, life.outcome = heard, INTERRUPTED
        running[event.step] = begun = StepLife(event.step, event.at)
        lives.append(begun)
    elif life is None:
        return
    elif event.kind == Happening.RETRIED:
        life.attempts += 1
    elif event.kind == Happening.HEARTBEAT:
        life.heartbeats += 1
    elif event.kind == Happening.STEP_FINISHED:
        life.ended, life.outcome = event.at, str(told.get("outcome") or "")
        del running[event.step]
