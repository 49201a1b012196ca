"""Scenarios as tables: what a model does, under which limits, and how and when it must end.

>>> load = Scenario("load 35 s, then tokens", (Silence(35), Tokens(200)))
>>> played = play(load)
>>> played.outcome.value, played.at
('finished', 235.0)
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hangtight.drivers import warmth
from hangtight.drivers.watch import watch
from hangtight.testing.loop import jumping
from hangtight.testing.scripted import ScriptedModel, Silence, Step, Tokens

__all__ = ["Played", "Scenario", "Silence", "Tokens", "play"]

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hangtight.core.heartbeat import Heartbeat
    from hangtight.core.phases import Outcome


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of a table. `limits` are the arguments of `watch`; `warm`: the model gave tokens just before."""

    name: str
    steps: tuple[Step, ...]
    limits: Mapping[str, Any] = field(default_factory=dict)
    model: str = "scripted"
    warm: bool = False
    reader_takes: float = 0.0
    """Seconds that the reader keeps each piece before it asks for the next."""


@dataclass(frozen=True, slots=True)
class Played:
    """How it ended, in virtual time from the start of the call."""

    outcome: Outcome | None
    at: float
    tokens: int
    partial: str
    error: Exception | None
    heartbeats: tuple[Heartbeat, ...]
    closed: bool


def play(scenario: Scenario) -> Played:
    """Play a scenario on a loop of its own, in no time."""
    return jumping(_play(scenario))


async def _play(scenario: Scenario) -> Played:
    loop = asyncio.get_running_loop()
    if scenario.warm:
        await _warm_up(scenario.model)
    model = ScriptedModel(*scenario.steps)
    beats: list[Heartbeat] = []
    error: Exception | None = None
    watched = watch(model, model=scenario.model, on_heartbeat=beats.append, **scenario.limits)
    start = loop.time()
    try:
        async for _ in watched:
            await asyncio.sleep(scenario.reader_takes)
    except Exception as raised:  # noqa: BLE001 - the error is the result
        error = raised
    at = round(loop.time() - start, 6)
    warmth.forget()
    return Played(watched.outcome, at, watched.tokens, watched.partial, error, tuple(beats), model.closed)


async def _warm_up(model: str) -> None:
    async for _ in watch(ScriptedModel(Tokens(1)), model=model):
        pass
