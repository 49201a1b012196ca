"""From the events of runs to rows: how each run and step stands, and what happened. No database in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hangtight.journal.entries import Happening
from hangtight.journal.plain import as_json, line, name, number, whole

if TYPE_CHECKING:
    from hangtight.journal.entries import Happened

Values = dict[str, Any]
OPEN: Values = {"ended": None, "elapsed": None, "outcome": None, "error": ""}
"""How what runs stands."""
NEW_RUN: Values = {"flow": "", "source": "", "workspace": "", "deadline": None, "at_step": "", "steps": "[]", **OPEN}
NEW_STEP: Values = {
    "began": None, "timeout": None, "attempts": 0, "model": "", "tokens": 0, "broken_limit": "", **OPEN,
}  # fmt: skip
"""What stands in a row of which nothing more is known."""
NO_SHARE: Values = {"allotted": None, "share": None}
"""What a step is given of the time of a run that has no budget."""
FAR = ("percent", "left", "left_low", "left_high")
"""What events tell of how far their run is."""


@dataclass
class RunRows:
    """What one transaction writes of runs. In each row only what changed; written twice, it is there once."""

    runs: dict[str, Values] = field(default_factory=dict)
    steps: dict[tuple[str, str], Values] = field(default_factory=dict)
    events: list[Values] = field(default_factory=list)

    def add(self, key: int, entry: Happened) -> None:
        run, step = name(entry.run), name(entry.step)
        values = self.runs.setdefault(run, {})
        values |= _of_the_run(entry)
        values.setdefault("first_seen", float(entry.at))
        if step and (changed := _of_the_step(entry)):
            self.steps[run, step] = self.steps.get((run, step), {}) | changed
        if entry.kind != Happening.PROGRESS:
            row = {"id": key, "run": run, "at": float(entry.at), "kind": name(entry.kind), "step": step}
            self.events.append({**row, "payload": line(entry.payload), "told": as_json(entry.told or {})})


def far_in(told: object, at: float) -> dict[str, Any]:
    """What an event of this time has told of how far its run is; nothing where it told nothing of that.

    >>> far_in({"percent": 40.0, "left": 12.0, "tokens": 7}, at=100.0)
    {'percent': 40.0, 'left': 12.0, 'as_of': 100.0}
    """
    if not isinstance(told, Mapping) or "percent" not in told:
        return {}
    return {**{name: told[name] for name in FAR if name in told}, "as_of": at}


class Shares:
    """What the budget of one run gives its steps, as its events tell it."""

    def __init__(self) -> None:
        self.of: dict[str, Values] = {}
        """By step: all of the flow, in their order, those to come too."""

    def hear(self, kind: str, step: str, told: object) -> None:
        told = told if isinstance(told, Mapping) else {}
        if kind in (Happening.RUN_STARTED, Happening.RUN_RESUMED):
            named, planned = told.get("steps"), told.get("shares")
            for each in named if isinstance(named, list | tuple) else ():
                self.of.setdefault(str(each), _share_in(planned, str(each)))
        elif kind == Happening.STEP_STARTED:
            self.of[step] = {key: told.get(key) for key in NO_SHARE}

    def with_all(self, rows: Mapping[str, Values]) -> list[Values]:
        """All steps as they stand, with their shares; the pieces of a step behind it."""
        kin: dict[str, list[str]] = {}
        for step in dict.fromkeys([*self.of, *rows]):
            kin.setdefault(step.partition("/")[0], []).append(step)
        new = {**NEW_STEP, **NO_SHARE}
        ordered = (step for steps in kin.values() for step in steps)
        return [{**new, **self.of.get(step, {}), **rows.get(step, {}), "step": step} for step in ordered]


def _share_in(planned: object, step: str) -> Values:
    share = planned.get(step) if isinstance(planned, Mapping) else None
    return {key: share.get(key) for key in NO_SHARE} if isinstance(share, Mapping) else {}


def _of_the_run(entry: Happened) -> Values:
    told = entry.told or {}
    about: Values = {"flow": name(entry.flow)} if entry.flow else {}
    match entry.kind:
        case Happening.RUN_STARTED | Happening.RUN_RESUMED:
            for key, longest in (("source", line), ("workspace", line)):
                if told.get(key):
                    about[key] = longest(str(told[key]))
            if isinstance(told.get("steps"), list | tuple):
                about["steps"] = as_json(told["steps"])
            left = _number(told.get("left"))
            about["deadline"] = None if left is None else entry.at + left
            before = _number(told.get("elapsed")) or 0.0
            about["first_seen"] = entry.at - before
            if entry.kind == Happening.RUN_STARTED:
                about["began"] = entry.at - before
            return {**about, **OPEN, "at_step": ""}
        case Happening.RUN_FINISHED:
            return {**about, **_end(entry), "at_step": name(str(told.get("step") or ""))}
        case _:
            return about


def _of_the_step(entry: Happened) -> Values:
    told = entry.told or {}
    match entry.kind:
        case Happening.STEP_STARTED:
            about = {"began": float(entry.at), "timeout": _number(told.get("timeout")), "attempts": 1, "tokens": 0}
            return {**NEW_STEP, **about, "model": name(str(told.get("model") or ""))}
        case Happening.RETRIED:
            return {"attempts": _count(told.get("attempt")) + 1, "tokens": 0}
        case Happening.TIMED_OUT:
            return {"broken_limit": name(str(told.get("limit") or ""))}
        case Happening.PROGRESS | Happening.HEARTBEAT:
            return _seen(entry)
        case Happening.STEP_FINISHED if told.get("recorded"):  # in a life before; when and how is known from then
            return {"outcome": name(str(told.get("outcome") or ""))}
        case Happening.STEP_FINISHED:
            attempts = {"attempts": _count(told["attempt"])} if told.get("attempt") else {}
            return {**_seen(entry), **attempts, **_end(entry)}
        case _:
            return {}


def _seen(entry: Happened) -> Values:
    """How far a model has come, and which one it is."""
    told = entry.told or {}
    about: Values = {"tokens": _count(told["tokens"])} if "tokens" in told else {}
    return {**about, "model": name(str(told["model"]))} if told.get("model") else about


def _end(entry: Happened) -> Values:
    told = entry.told or {}
    ends = {"ended": float(entry.at), "elapsed": _number(told.get("elapsed"))}
    return {**ends, "outcome": name(str(told.get("outcome") or "")), "error": line(str(told.get("error") or ""))}


def _number(told: Any) -> float | None:
    return number(told) if isinstance(told, int | float) and not isinstance(told, bool) else None


def _count(told: Any) -> int:
    return whole(told) if isinstance(told, int) and not isinstance(told, bool) else 0
