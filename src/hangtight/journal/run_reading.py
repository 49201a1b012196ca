"""What the journal knows about runs of workflows: how they stand, their steps, and what happened in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, select

from hangtight.journal.run_lives import StepLife, lives_of
from hangtight.journal.run_rows import Shares, far_in
from hangtight.journal.tables import run_events, run_steps, runs

MOST_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. `outcome` is None while it runs, and where its process was killed until it goes on."""

    id: str
    flow: str
    source: str
    workspace: str
    began: float
    deadline: float | None
    ended: float | None
    elapsed: float | None
    outcome: str | None
    at_step: str
    """Where it ended early."""
    error: str
    steps: tuple[str, ...]
    """All of its flow, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """One step of a run, as it stands: what it did in the lives before its last one is in the events alone."""

    step: str
    began: float | None
    ended: float | None
    elapsed: float | None
    timeout: float | None
    outcome: str | None
    attempts: int
    model: str
    tokens: int
    broken_limit: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """What happened."""

    at: float
    kind: str
    step: str
    payload: str
    told: Any


@dataclass(frozen=True, slots=True)
class ToldRun:
    """All about one run."""

    run: Run
    steps: tuple[RunStep, ...]
    events: tuple[RunEvent, ...]

    @property
    def lives(self) -> tuple[StepLife, ...]:
        """Each time that a step was begun: a run that goes on after a crash begins some of them anew."""
        return lives_of(self.events)

    @property
    def all_steps(self) -> list[dict[str, Any]]:
        """Those to come, too; each with what the budget of the run gives it."""
        shares = Shares()
        for event in self.events:
            shares.hear(event.kind, event.step, event.told)
        return shares.with_all({step.step: asdict(step) for step in self.steps})

    @property
    def far(self) -> dict[str, Any]:
        """How far it is, as of the last event that told it: `percent`, `left`, ..., `as_of`."""
        return next((far for event in reversed(self.events) if (far := far_in(event.told, event.at))), {})


def runs_in(connection: Connection, since: float | None, flow: str | None, limit: int) -> list[Run]:
    """Newest first."""
    wanted = select(runs).order_by(runs.c.began.desc(), runs.c.id).limit(limit)
    if since is not None:
        wanted = wanted.where(runs.c.began >= since)
    if flow is not None:
        wanted = wanted.where(runs.c.flow == flow)
    return [_run(row) for row in connection.execute(wanted).mappings()]


def ids_like(connection: Connection, prefix: str) -> Sequence[str]:
    """Of the runs whose ids begin so, newest first; one that is meant as a whole, alone."""
    own = runs.c
    alike = select(own.id).where(own.id.startswith(prefix, autoescape=True)).order_by(own.began.desc())
    ids = list(connection.execute(alike.limit(MOST_NAMED)).scalars())
    if prefix in ids or connection.execute(select(own.id).where(own.id == prefix)).first():
        return [prefix]
    return ids


def run_in(connection: Connection, key: str) -> ToldRun:
    row = connection.execute(select(runs).where(runs.c.id == key)).mappings().one()
    steps = select(*(column for column in run_steps.c if column.name != "run")).where(run_steps.c.run == key)
    noted = run_events.c
    events = select(noted.at, noted.kind, noted.step, noted.payload, noted.told).where(noted.run == key)
    run = _run(row)
    order = {step: at for at, step in enumerate(run.steps)}
    found = [RunStep(**each) for each in connection.execute(steps).mappings()]
    found.sort(key=lambda each: (order.get(each.step, len(order)), each.began or 0.0))
    told = connection.execute(events.order_by(noted.at, noted.id)).mappings()
    return ToldRun(run, tuple(found), tuple(RunEvent(**{**each, "told": _value(each["told"])}) for each in told))


def _run(row: Any) -> Run:
    steps = _value(row["steps"])
    return Run(**{**row, "steps": tuple(map(str, steps)) if isinstance(steps, list) else ()})


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
