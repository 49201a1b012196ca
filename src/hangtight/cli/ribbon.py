"""One generation as a ribbon: which phase took how long, its heartbeats, where its deadline moved and what rang."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING, Any

from hangtight.cli.plots import track
from hangtight.cli.printing import BLUE, CYAN, DIM, GREEN, RED, YELLOW, folded, painted
from hangtight.core.phases import Phase
from hangtight.core.time import spoken
from hangtight.journal.entries import Kind

if TYPE_CHECKING:
    from hangtight.journal.reading import Decision, Told

QUEUED, LOADING, READING, THINKING, TEXT, SILENCE = "·", "▒", "░", "▓", "━", "╌"
BEAT, LATER, SOONER, RANG = "╸", "▲", "▼", "✗"
NAMES = {
    QUEUED: "queued",
    LOADING: "loading",
    READING: "before the first token",
    THINKING: "thinking",
    TEXT: "text",
    SILENCE: "silence",
    BEAT: "heartbeat",
    LATER: "deadline later",
    SOONER: "deadline sooner",
    RANG: "ended by us",
}
COLOURS = {QUEUED: DIM, LOADING: BLUE, READING: BLUE, THINKING: CYAN, TEXT: GREEN, BEAT: GREEN, LATER: GREEN} | {
    SILENCE: RED,
    RANG: RED,
    SOONER: YELLOW,
}
MARKS = {
    Kind.HEARTBEAT: BEAT,
    Kind.EXTENDED: LATER,
    Kind.SHORTENED: SOONER,
    Kind.RANG: RANG,
    Kind.LOOPED: RANG,
}
LEAST = 10  # cells; below that it says nothing


def ribbon(told: Told, room: int, *, colours: bool) -> list[str]:
    """The ribbon from the beginning to the end, and below it what its signs mean; nothing where nothing is known."""
    decisions = [each for each in told.decisions if isfinite(each.after)]
    end = told.row.elapsed
    if end is None:
        end = max((each.after for each in decisions), default=0.0)
    if not isfinite(end) or end <= 0:
        return []
    before, behind = "0s ", f" {spoken(end)}"
    cells = room - len(before) - len(behind)
    if cells < LEAST:
        return []
    marks = [(each.after, MARKS[Kind(each.kind)]) for each in decisions if each.kind in MARKS]
    line = track(end, _strokes(told, decisions, end), sorted(marks, key=lambda mark: mark[1] != BEAT), cells)
    meant = "  ".join(f"{sign} {NAMES[sign]}".replace(" ", "\xa0") for sign in NAMES if sign in line)
    legend = [each.replace("\xa0", " ") for each in folded(meant, room)]
    return [f"{before}{painted(line, COLOURS) if colours else line}{behind}", *legend]


def _strokes(told: Told, decisions: list[Decision], end: float) -> Iterator[tuple[float, float, str]]:
    first = told.row.first_token
    yield 0.0, end if first is None else first, READING
    if first is not None:
        yield first, end, TEXT
    yield from _between(decisions, Kind.QUEUED, Kind.ADMITTED, QUEUED)
    yield from _between(decisions, Kind.LOADING, Kind.READY, LOADING)
    before = first or 0.0
    for each in decisions:
        if each.kind == Kind.HEARTBEAT:
            if _member(each.told, "phase") == Phase.THINKING:
                yield before, each.after, THINKING
            before = each.after
        waited = _member(each.told, "waited")
        if each.kind == Kind.RANG and isinstance(waited, int | float) and isfinite(waited):
            yield each.after - waited, each.after, SILENCE


def _between(decisions: list[Decision], begin: Kind, end: Kind, stroke: str) -> Iterator[tuple[float, float, str]]:
    """From one decision to the other, where both are known."""
    since: float | None = None
    for each in decisions:
        if each.kind == begin:
            since = each.after
        elif each.kind == end and since is not None:
            yield since, each.after, stroke
            since = None


def _member(told: Any, name: str) -> Any:
    return told.get(name) if isinstance(told, dict) else None
