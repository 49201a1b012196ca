"""A run of a workflow on a time line: a bar for each step, and a line for all that happened. Pure: text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hangtight.cli.journals import UNKNOWN_TIME, local
from hangtight.cli.printing import DIM, GREEN, PLAIN, RED, YELLOW, Cell, Column, line_of, table
from hangtight.cli.telling import how_far
from hangtight.core.time import plain, spoken
from hangtight.journal.entries import Happening

if TYPE_CHECKING:
    from hangtight.journal.run_reading import RunEvent, RunStep, ToldRun

BAR = 24
LINE, NOTHING, BEAT = "━", " ", "╸"
COLUMNS = (
    Column("step", least=4),
    Column("when"),
    Column("outcome", least=8),
    Column("took", right=True),
    Column("of", right=True),
    Column("tries", right=True),
    Column("tokens", right=True),
    Column("model", least=6),
)
FINISHED = "finished"
COLOURS: Mapping[str, str] = {
    Happening.HEARTBEAT: DIM,
    Happening.TIMED_OUT: RED,
    Happening.RETRIED: YELLOW,
    "extended": GREEN,
}


def told_about(about: Mapping[str, Any], told: ToldRun | None, *, room: int, colours: bool) -> Iterator[str]:
    """A head, a table of the steps, and what happened."""
    yield from map(line_of, _head(about))
    if told is None:
        yield "the journal knows nothing of its steps"
        return
    yield ""
    end = _end(told)
    rows = [_row(step, told, end) for step in told.steps]
    started = {step.step for step in told.steps}
    rows += [[Cell(name), *(Cell("") for _ in COLUMNS[1:])] for name in told.run.steps if name not in started]
    yield from table(COLUMNS, rows, room=room, colours=colours)
    yield ""
    for event in told.events:
        yield _line(event, told.run.began, colours)
    if about.get("outcome") is None:
        yield f"no end is known: it is {about.get('status') or 'running, or its process was killed'}"


def _head(about: Mapping[str, Any]) -> Iterator[str]:
    when = local(float(about["began"]))
    time = UNKNOWN_TIME if when is None else when.isoformat(sep=" ", timespec="seconds")
    took = f" after {spoken(about['elapsed'])}" if about.get("elapsed") is not None else ""
    at = f" at {about['at_step']}" if about.get("at_step") else ""
    stands = about.get("outcome") or about.get("status") or "running, or lost"
    yield f"{about['id']}  {about['flow']}  {time}  {stands}{took}{at}"
    parts = [f"{name} {about[name]}" for name in ("source", "workspace") if about.get(name)]
    if about.get("deadline") is not None:
        parts.append(f"{spoken(float(about['deadline']) - float(about['began']))} for the whole run")
    if parts:
        yield ", ".join(parts)
    if about.get("outcome") != FINISHED and (far := how_far(about)):
        yield f"{far}, as of +{about['as_of'] - about['began']:.1f}s"


def _end(told: ToldRun) -> float:
    """The last that is known."""
    known = [told.run.ended, *(step.ended for step in told.steps), *(event.at for event in told.events)]
    return max((at for at in known if at is not None), default=told.run.began)


def _row(step: RunStep, told: ToldRun, end: float) -> list[Cell]:
    outcome = step.outcome or "running"
    colour = GREEN if outcome == FINISHED else YELLOW if step.outcome is None else RED
    limit = f" {step.broken_limit}" if step.broken_limit else ""
    return [
        Cell(step.step),
        Cell(_bar(step, told, end), colour),
        Cell(outcome + limit, colour),
        Cell("" if step.elapsed is None else spoken(step.elapsed)),
        Cell("" if step.timeout is None else plain(step.timeout)),
        Cell(str(step.attempts or "")),
        Cell(str(step.tokens or "")),
        Cell(step.model, DIM),
    ]


def _bar(step: RunStep, told: ToldRun, end: float) -> str:
    """When it ran, of the time from the begin of the run to its end; a shorter stroke where a heartbeat went out."""
    span = end - told.run.began
    if step.began is None or span <= 0:
        return ""

    def at(when: float) -> int:
        return max(0, min(BAR - 1, int(BAR * (when - told.run.began) / span)))

    cells = [NOTHING] * BAR
    for cell in range(at(step.began), at(step.ended if step.ended is not None else end) + 1):
        cells[cell] = LINE
    for event in told.events:
        if event.step == step.step and event.kind == Happening.HEARTBEAT and event.at >= step.began:
            cells[at(event.at)] = BEAT
    return "".join(cells)


def _line(event: RunEvent, began: float, colours: bool) -> str:
    told = event.told if isinstance(event.told, dict) else {}
    outcome = told.get("outcome")
    kind = "heartbeat" if event.kind == Happening.HEARTBEAT else event.kind.replace("_", " ")
    colour = COLOURS.get(event.kind, "")
    if isinstance(outcome, str):
        kind = f"run {outcome}" if not event.step else outcome
        colour = "" if outcome == FINISHED else RED
    took = told.get("elapsed")
    words = event.payload or (f"after {spoken(took)}" if isinstance(took, int | float) and outcome else "")
    text = line_of("  ".join(filter(None, (event.step, kind, words))))
    return f"{f'+{event.at - began:.1f}s':<9} {f'{colour}{text}{PLAIN}' if colours and colour else text}"
