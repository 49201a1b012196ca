"""From entries to rows: what one transaction writes. No database in here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from hangtight.core.heartbeat import Heartbeat
from hangtight.journal.entries import Begun, Dropped, Ended, Entry, Happened, Kind, Named, Noted
from hangtight.journal.plain import as_json, line, name, number, plainly, whole
from hangtight.journal.run_rows import RunRows

LLM_HEARTBEAT = "LLM_HEARTBEAT"

Values = dict[str, Any]


class About(NamedTuple):
    """What an end does not repeat."""

    model: str
    mode: str
    prompt_tokens: int


@dataclass
class Batch:
    """What one transaction writes. Written twice, it is there once."""

    new: dict[str, Values] = field(default_factory=dict)
    changed: dict[str, Values] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    decisions: list[Values] = field(default_factory=list)
    ends: list[Ended] = field(default_factory=list)
    known: dict[str, About] = field(default_factory=dict)
    """Of those that began in here."""
    named: dict[str, str] = field(default_factory=dict)
    """The models that showed themselves only now."""
    runs: RunRows = field(default_factory=RunRows)

    def add(self, key: int, entry: Entry) -> None:
        """`key` is the entry's for good: a decision that is written again has the same."""
        match entry:
            case Begun():
                self.new[name(entry.id)] = _begun(entry)
                self.known[entry.id] = About(name(entry.model), name(entry.mode), whole(entry.prompt_tokens))
            case Named():
                self._change(name(entry.id), _named(entry))
                if entry.model:
                    self.named[entry.id] = name(entry.model)
            case Noted():
                self.decisions.append(_noted(key, entry))
            case Ended():
                self._change(name(entry.id), _ended(entry))
                self.ends.append(entry)
            case Dropped():
                self.gone.add(name(entry.id))
            case Happened():
                self.runs.add(key, entry)

    def finish(self) -> Batch:
        """Once all are in: what is gone was never there."""
        for each in self.gone:
            self.new.pop(each, None)
            self.changed.pop(each, None)
        self.decisions = [row for row in self.decisions if row["generation"] not in self.gone]
        for row in self.new.values():
            row["ended"] = None if row["outcome"] is None else row["started"] + (row["elapsed"] or 0.0)
        return self

    def _change(self, key: str, values: Values) -> None:
        row = self.new.get(key)
        if row is None:
            row = self.changed.setdefault(key, {})
        if row.get("outcome") is None:  # the first verdict stands
            row.update(values)


def digest(items: Iterable[tuple[int, Entry]]) -> Batch:
    batch = Batch()
    for key, entry in items:
        batch.add(key, entry)
    return batch.finish()


def _begun(entry: Begun) -> Values:
    return {
        "id": name(entry.id),
        "call": name(entry.call or entry.id),
        "started": float(entry.at),
        "ended": None,
        "model": name(entry.model),
        "mode": name(entry.mode),
        "run": name(entry.run),
        "step": name(entry.step),
        "host": name(entry.host),
        "prompt_tokens": whole(entry.prompt_tokens),
        "counted_prompt": None,
        "counted_answer": None,
        "tokens": 0,
        "first_token": None,
        "longest_gap": None,
        "elapsed": None,
        "outcome": None,
        "broken_limit": "",
        "waited": None,
        "source": "",
        "error": "",
        "budget_left": number(entry.left),
        "limits": limits_told(entry.resolved),
    }


def _named(entry: Named) -> Values:
    given = {"model": name(entry.model), "host": name(entry.host)}
    values: Values = {each: value for each, value in given.items() if value}
    if entry.resolved is not None:
        values["limits"] = limits_told(entry.resolved)
    return values


def _noted(key: int, entry: Noted) -> Values:
    return {
        "id": key,
        "generation": name(entry.id),
        "after": float(entry.after),
        "kind": name(entry.kind),
        "told": as_json(as_event(entry.told) if entry.kind is Kind.HEARTBEAT else entry.told),
    }


def as_event(heartbeat: Any) -> Any:
    """The sign of life in the words of a workflow's event log, and what it stood for."""
    if not isinstance(heartbeat, Heartbeat):
        return heartbeat
    return {"type": LLM_HEARTBEAT, "payload": str(heartbeat), **plainly(heartbeat.now)}


def _ended(entry: Ended) -> Values:
    return {
        "counted_prompt": None if entry.prompt_tokens is None else whole(entry.prompt_tokens),
        "counted_answer": None if entry.answer_tokens is None else whole(entry.answer_tokens),
        "tokens": whole(entry.tokens),
        "first_token": number(entry.first_token),
        "longest_gap": number(entry.longest_gap),
        "elapsed": number(entry.after),
        "outcome": name(entry.outcome),
        "broken_limit": name(entry.limit),
        "waited": number(entry.waited),
        "source": line(entry.source),
        "error": line(entry.error),
    }


def limits_told(resolved: Any) -> str:
    """Per limit its value and source, and under `clocks` the lengths that differ: allowances and cuts."""
    if resolved is None:
        return "{}"
    values = {
        each: {"value": number(value.value), "source": line(value.source)} for each, value in resolved.values.items()
    }
    clocks = {each.name: plainly(getattr(resolved.clocks, each.name)) for each in fields(resolved.clocks)}
    said = {each: value["value"] for each, value in values.items()}
    different = {each: value for each, value in clocks.items() if value and value != said.get(each)}
    return json.dumps(values | {"clocks": different}, separators=(",", ":"), allow_nan=False)
