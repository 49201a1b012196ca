"""A run of a workflow on a time line: a bar for each step, and a line for all that happened. Pure: text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hangtight.cli.journals import UNKNOWN_TIME, local
from hangtight.cli.plots import track
from hangtight.cli.printing import DIM, GREEN, PLAIN, RED, YELLOW, Cell, Column, line_of, table
from hangtight.cli.telling import how_far
from hangtight.core.time import plain, spoken
from hangtight.journal.entries import Happening
from hangtight.journal.run_lives import INTERRUPTED

if TYPE_CHECKING:
    from hangtight.journal.run_lives import StepLife
    from hangtight.journal.run_reading import RunEvent, RunStep, ToldRun

BAR = 24
LINE, CUT_OFF, BEAT = "━", "╌", "╸"
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
    end, lives = _end(told), told.lives
    rows = [_row(step, [life for life in lives if life.step == step.step], told, end) for step in told.steps]
    started = {step.step for step in told.steps}
    rows += [[Cell(name), *(Cell("") for _ in COLUMNS[1:])] for name in told.run.steps if name not in started]
    yield from table(COLUMNS, rows, room=room, colours=colours)
    yield ""
    cut_off = sorted((life for life in lives if life.outcome == INTERRUPTED), key=lambda life: life.ended or 0.0)
    for event in told.events:
        while cut_off and (cut_off[0].ended or 0.0) < event.at:
            yield _interrupted(cut_off.pop(0), told.run.began, colours)
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


def _row(step: RunStep, lives: list[StepLife], told: ToldRun, end: float) -> list[Cell]:
    outcome = step.outcome or "running"
    colour = GREEN if outcome == FINISHED else YELLOW if step.outcome is None else RED
    limit = f" {step.broken_limit}" if step.broken_limit else ""
    attempts = max(step.attempts, sum(life.attempts for life in lives))
    return [
        Cell(step.step),
        Cell(_bar(step, lives, told, end), colour),
        Cell(outcome + limit, colour),
        Cell("" if step.elapsed is None else spoken(step.elapsed)),
        Cell("" if step.timeout is None else plain(step.timeout)),
        Cell(str(attempts or "")),
        Cell(str(step.tokens or "")),
        Cell(step.model, DIM),
    ]


def _bar(step: RunStep, lives: list[StepLife], told: ToldRun, end: float) -> str:
    """When it ran, of the time from the begin of the run to its end: thin where that was in a life before its last
    one, a shorter stroke where a heartbeat went out."""
    zero = told.run.began
    if step.began is None:
        return ""
    before = [(life.began, life.ended, CUT_OFF) for life in lives[:-1]]
    strokes = [
        (began - zero, (end if ended is None else ended) - zero, stroke)
        for began, ended, stroke in [*before, (step.began, step.ended, LINE)]
    ]
    beats = [
        (event.at - zero, BEAT)
        for event in told.events
        if event.step == step.step and event.kind == Happening.HEARTBEAT
    ]
    return track(end - zero, strokes, beats, BAR)


def _interrupted(life: StepLife, began: float, colours: bool) -> str:
    text = line_of(f"{life.step}  {INTERRUPTED}: the last that was heard before the run went on")
    return _at(life.ended or began, began, f"{YELLOW}{text}{PLAIN}" if colours else text)


def _at(when: float, began: float, text: str) -> str:
    return f"{f'+{when - began:.1f}s':<9} {text}"


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
    if told.get("recorded"):
        words = "in a life before"
    text = line_of("  ".join(filter(None, (event.step, kind, words))))
    return _at(event.at, began, f"{colour}{text}{PLAIN}" if colours and colour else text)
