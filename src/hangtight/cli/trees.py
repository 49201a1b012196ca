"""A run of a workflow as a tree that lives: how each step stands, and how much of its time is gone. Pure: text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from hangtight.cli.plots import share
from hangtight.cli.printing import DIM, GREEN, PLAIN, RED, YELLOW, cut, line_of
from hangtight.cli.telling import WHOLE, how_far
from hangtight.core.time import counted
from hangtight.core.words import at_work, seconds
from hangtight.flows.events import EventType
from hangtight.journal.run_rows import far_in

if TYPE_CHECKING:
    from hangtight.flows.definition.steps import Flow
    from hangtight.flows.events import Event

BAR = 16
SOON = 0.9  # of its time is gone: worth a colour
WAITING, RUNNING, FINISHED, FAILED = "·", "▸", "✓", "✗"
COLOURS = {WAITING: DIM, RUNNING: YELLOW, FINISHED: GREEN, FAILED: RED}
ENDED_WELL = "finished"


@dataclass(slots=True)
class Twig:
    """One step, as it stands."""

    name: str
    began: float | None = None
    took: float | None = None
    timeout: float | None = None
    outcome: str = ""
    model: str = ""
    tokens: int = 0
    attempt: int = 1
    doing: str = ""

    @property
    def mark(self) -> str:
        if self.outcome:
            return FINISHED if self.outcome == ENDED_WELL else FAILED
        return WAITING if self.began is None else RUNNING

    def elapsed(self, now: float) -> float:
        if self.took is not None:
            return self.took
        return 0.0 if self.began is None else max(0.0, now - self.began)


class Tree:
    """What was heard of one run, and how that looks."""

    def __init__(self, flow: Flow) -> None:
        self.name = flow.name
        self.run = ""
        self.outcome = ""
        self.error = ""
        self.twigs = {name: Twig(name) for name in flow.steps}
        self._began: float | None = None
        self._elapsed = 0.0
        self._total: float | None = None
        self._far: dict[str, Any] = {}
        self._below = _below({name: step.needs for name, step in flow.steps.items()})

    # -- what is heard ----------------------------------------------------------------------------------------

    def hear(self, event: Event) -> None:
        told = event.told
        self._far = far_in(told, event.at) or self._far
        match event.type:
            case EventType.RUN_STARTED | EventType.RUN_RESUMED:
                before, left = _number(told.get("elapsed")) or 0.0, _number(told.get("left"))
                self.run, self._began = event.run, event.at - before
                self._total = None if left is None else before + left
            case EventType.RUN_FINISHED:
                self.outcome, self.error = str(told.get("outcome", "")), str(told.get("error", ""))
                self._elapsed = _number(told.get("elapsed")) or 0.0
            case _:
                if event.step in self.twigs:
                    _hear(self.twigs[event.step], event)

    # -- how it looks -----------------------------------------------------------------------------------------

    def lines(self, now: float, *, room: int, colours: bool) -> list[str]:
        """The run, and one line for each step."""
        elapsed = self._elapsed if self.outcome or self._began is None else max(0.0, now - self._began)
        done = sum(1 for twig in self.twigs.values() if twig.mark == FINISHED)
        parts = [f"{self.name} {self.run}".strip(), f"{done} of {len(self.twigs)} steps", _time(elapsed, self._total)]
        parts += [self.outcome] if self.outcome else self._how_far(now)
        head = cut(line_of("  ".join(parts)), room)
        names = [(shape + twig.name, twig) for shape, twig in self._shapes("", "")]
        widest = min(max(cell_len(line_of(name)) for name, _ in names), room // 3)
        return [head, *(_line(cut(line_of(name), widest), widest, twig, now, room, colours) for name, twig in names)]

    def _how_far(self, now: float) -> list[str]:
        if not self._far:
            return []
        return [share(self._far["percent"], WHOLE, BAR), how_far(self._far, now - self._far["as_of"])]

    def _shapes(self, name: str, shape: str) -> Iterator[tuple[str, Twig]]:
        below = self._below.get(name, [])
        for at, each in enumerate(below):
            last = at == len(below) - 1
            yield shape + ("└─ " if last else "├─ "), self.twigs[each]
            yield from self._shapes(each, shape + ("   " if last else "│  "))


def _below(needs: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """Each step stands below the last one that it waits for."""
    order = {name: at for at, name in enumerate(needs)}
    below: dict[str, list[str]] = {}
    for name, wanted in needs.items():
        below.setdefault(max(wanted, key=lambda need: order[need], default=""), []).append(name)
    return below


def _hear(twig: Twig, event: Event) -> None:
    told = event.told
    twig.model = str(told.get("model") or twig.model)
    tokens = told.get("tokens")
    match event.type:
        case EventType.STEP_STARTED:
            twig.began, twig.took, twig.outcome, twig.tokens = event.at, None, "", 0
            twig.timeout = _number(told.get("timeout"))
        case EventType.HEARTBEAT | EventType.PROGRESS:
            twig.doing = str(told.get("doing", ""))
        case EventType.RETRIED:
            attempt = told.get("attempt")
            twig.attempt, tokens = (attempt if isinstance(attempt, int) else twig.attempt) + 1, 0
        case EventType.STEP_FINISHED:
            twig.outcome, twig.took = str(told.get("outcome", "")), _number(told.get("elapsed"))
            twig.doing = "done before" if told.get("recorded") else ""
        case _:
            pass
    twig.tokens = tokens if isinstance(tokens, int) else twig.tokens


def _line(name: str, widest: int, twig: Twig, now: float, room: int, colours: bool) -> str:
    elapsed = twig.elapsed(now)
    if twig.mark == WAITING:
        bar, parts = "", []
    else:
        bar = share(elapsed, twig.timeout, BAR)
        parts = [_time(elapsed, twig.timeout), twig.model, counted(twig.tokens) if twig.tokens else ""]
        parts += [f"attempt {twig.attempt}" if twig.attempt > 1 else "", _at(twig)]
    colour = COLOURS[twig.mark]
    if twig.mark == RUNNING and twig.timeout and elapsed > SOON * twig.timeout:
        colour = RED
    blank = " " * (widest - cell_len(name))
    text = cut(f"{bar:<{BAR}}  {line_of(' · '.join(filter(None, parts)))}".rstrip(), room - widest - 4)
    mark = f"{colour}{twig.mark} {text}{PLAIN}" if colours else f"{twig.mark} {text}"
    return f"{name}{blank}  {mark}".rstrip()


def _at(twig: Twig) -> str:
    return twig.outcome if twig.outcome not in ("", ENDED_WELL) else at_work(twig.doing) if twig.doing else ""


def _time(elapsed: float, limit: float | None) -> str:
    return seconds(elapsed) if limit is None else f"{seconds(elapsed)} of {seconds(limit)}"


def _number(told: Any) -> float | None:
    return float(told) if isinstance(told, int | float) and not isinstance(told, bool) else None
