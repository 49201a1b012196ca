"""How long the steps of workflows take, and how they end: of each step by its flow, and of whole runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, select

from hangtight.journal.entries import Happening
from hangtight.journal.tables import run_events, run_steps, runs
from hangtight.journal.tally import Quantiles

TIMEOUT, FINISHED = "timeout", "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStat:
    """Of one step, or of the runs of a flow: then `step` is empty."""

    flow: str
    step: str
    count: int
    outcomes: Mapping[str, int]
    timeouts: Mapping[str, int]
    """By the limit that was broken."""
    elapsed: Quantiles | None
    heartbeats: int


def flow_stats(connection: Connection, since: float | None) -> list[FlowStat]:
    """Of what began since and has ended. The runs of a flow first, then its steps."""
    begin = 0.0 if since is None else since
    found: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    own, its = runs.c, run_steps.c
    whole = select(own.flow, own.outcome, own.elapsed).where(own.began >= begin, own.outcome.is_not(None))
    for row in connection.execute(whole):
        found[row.flow, ""].append((row.outcome, row.elapsed, "total" if row.outcome == TIMEOUT else ""))
    steps = select(own.flow, its.step, its.outcome, its.elapsed, its.broken_limit).join_from(
        run_steps, runs, its.run == own.id
    )
    no_piece = its.step.not_like("%/%")  # a piece is a part of its step
    for step in connection.execute(steps.where(its.began >= begin, its.outcome.is_not(None), no_piece)):
        found[step.flow, step.step].append((step.outcome, step.elapsed, step.broken_limit))
    beats = _heartbeats(connection, begin)
    return [_stat(key, rows, beats) for key, rows in sorted(found.items())]


def _heartbeats(connection: Connection, begin: float) -> dict[tuple[str, str], int]:
    noted = run_events.c
    counted = select(runs.c.flow, noted.step, func.count()).join_from(run_events, runs, noted.run == runs.c.id)
    counted = counted.where(and_(noted.at >= begin, noted.kind == Happening.HEARTBEAT.value))
    return {
        (flow, step): int(count) for flow, step, count in connection.execute(counted.group_by(runs.c.flow, noted.step))
    }


@dataclass(frozen=True, slots=True)
class StepTook:
    """How long a step took once, and by whom it was done."""

    seconds: float
    tokens: int
    model: str


def steps_took(connection: Connection, flow: str, most: int) -> dict[str, list[StepTook]]:
    """The steps of the latest runs of this flow that ended well, by name."""
    own, its = runs.c, run_steps.c
    latest = select(own.id).where(own.flow == flow).order_by(own.began.desc()).limit(most)
    wanted = select(its.step, its.elapsed, its.tokens, its.model).where(its.run.in_(latest))
    found: defaultdict[str, list[StepTook]] = defaultdict(list)
    for row in connection.execute(wanted.where(its.outcome == FINISHED, its.elapsed.is_not(None))):
        found[row.step].append(StepTook(row.elapsed, row.tokens, row.model))
    return dict(found)


def _stat(key: tuple[str, str], rows: list[Any], beats: Mapping[tuple[str, str], int]) -> FlowStat:
    flow, step = key
    lengths = sorted(elapsed for _, elapsed, _ in rows if elapsed is not None)
    mine = beats.get(key, 0) if step else sum(count for (of, _), count in beats.items() if of == flow)
    return FlowStat(
        flow=flow,
        step=step,
        count=len(rows),
        outcomes=dict(Counter(outcome for outcome, _, _ in rows)),
        timeouts=dict(Counter(limit for outcome, _, limit in rows if outcome == TIMEOUT and limit)),
        elapsed=_quantiles(lengths) if lengths else None,
        heartbeats=mine,
    )


def _quantiles(lengths: list[float]) -> Quantiles:
    p50, p95, p99 = (lengths[min(len(lengths) - 1, int(len(lengths) * part))] for part in (0.5, 0.95, 0.99))
    return Quantiles(p50, p95, p99, len(lengths))
