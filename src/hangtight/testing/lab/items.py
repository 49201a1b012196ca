"""The items of a script: their names, what kind of value each takes, and how they are read."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Literal, overload

Kind = Literal["flag", "count", "whole", "seconds", "interval", "rate", "status", "mode"]


class ScriptError(ValueError):
    """A model name that is no script; the message names the item and what comes nearest to it."""


@dataclass(frozen=True)
class Item:
    """One word of the grammar. `help` is what `hangtight lab serve --help` and the docs print."""

    kind: Kind
    help: str


ITEMS: dict[str, Item] = {
    "tokens": Item("count", "the answer has N tokens"),
    "rate": Item("rate", "N tokens a second"),
    "load": Item("seconds", "the first request loads the model; later ones find it warm"),
    "unavailable": Item("flag", "answers 503 while it loads, instead of waiting"),
    "headers": Item("seconds", "the headers come S seconds after the request, loaded or not"),
    "silent": Item("flag", "never sends as much as headers"),
    "prefill": Item("seconds", "silence after headers and load, in each request"),
    "prefill-progress": Item("mode", "llama.cpp's prompt_progress to who asks for it; =always to everybody"),
    "reasoning": Item("count", "N reasoning tokens come first"),
    "tool": Item("flag", "the answer is a tool call"),
    "runaway": Item("flag", "words without end"),
    "loop": Item("flag", "the same sentence without end"),
    "drift": Item("flag", "the same sentence with other numbers, without end"),
    "healthy-table": Item("flag", "a Markdown table, no two rows of it alike; without end where no tokens are given"),
    "healthy-code": Item("flag", "Python functions, no two of them alike; without end where no tokens are given"),
    "mute": Item("count", "after N tokens nothing more, the connection stays open"),
    "pings": Item("count", "after N tokens only SSE comments or blank lines"),
    "empties": Item("count", "after N tokens only empty deltas"),
    "drip": Item("count", "after N tokens one event, byte by byte, never completed"),
    "every": Item("interval", "the seconds between two pings, empties, dripped bytes or progress reports"),
    "disconnect": Item("count", "after N tokens the connection is closed in the middle of the body"),
    "dies": Item("count", "after N tokens every connection is reset and the server is gone"),
    "error": Item("count", "after N tokens an error event, in a stream that began with status 200"),
    "garbage": Item("count", "after N tokens one event of broken JSON, then on"),
    "oversized": Item("whole", "after one token an event of N MiB, then on"),
    "status": Item("status", "answers this status instead of tokens"),
    "retry-after": Item("seconds", "the Retry-After header of that answer"),
    "no-stream": Item("flag", "refuses requests that are not streamed"),
    "refuses-stream": Item("flag", "refuses requests that are streamed"),
    "ignores-stream": Item("flag", "answers in one piece, also who asks for a stream"),
    "no-usage-option": Item("flag", "refuses requests with stream_options"),
    "no-done": Item("flag", "ends without [DONE], response.completed, message_stop or Ollama's done line"),
    "no-reason": Item("flag", "ends without a finish reason"),
    "lingers": Item("flag", "after the last event the body is not ended"),
    "ignores-cancel": Item("flag", "goes on generating when the client has left"),
}

EXAMPLES: dict[Kind, str] = {
    "flag": "",
    "count": "=5",
    "whole": "=1",
    "seconds": "=0.5",
    "interval": "=0.1",
    "rate": "=20",
    "status": "=429",
    "mode": "=always",
}


class Given(UserDict[str, str]):
    """The items of one script as they were written; values are checked when they are put in."""

    @overload
    def whole(self, key: str) -> int | None: ...
    @overload
    def whole(self, key: str, default: int) -> int: ...
    def whole(self, key: str, default: int | None = None) -> int | None:
        return int(self[key]) if key in self else default

    @overload
    def number(self, key: str) -> float | None: ...
    @overload
    def number(self, key: str, default: float) -> float: ...
    def number(self, key: str, default: float | None = None) -> float | None:
        return float(self[key]) if key in self else default

    def isdisjoint(self, keys: set[str]) -> bool:
        return self.keys().isdisjoint(keys)

    def refuse_two(self, *keys: str) -> None:
        """Refuse more than one of these: the second could never happen."""
        both = [key for key in keys if key in self]
        if len(both) > 1:
            raise ScriptError(f"{both[0]!r} and {both[1]!r} exclude each other: give one of them")


def read_items(name: str) -> Given:
    """The items of a model name, after its plain name if it has one."""
    first, *others = (part.strip() for part in name.split(","))
    given = Given()
    for part in others if _is_plain(first) else (first, *others):
        key, equals, value = part.partition("=")
        _check(key, value if equals else None)
        if key in given:
            raise ScriptError(f"{key!r} is given twice in {name!r}")
        given[key] = value
    return given


def _is_plain(first: str) -> bool:
    return bool(first) and "=" not in first and first not in ITEMS


def _check(key: str, value: str | None) -> None:
    item = ITEMS.get(key)
    if item is None:
        nearest = get_close_matches(key, ITEMS, n=1, cutoff=0.0)
        example = nearest[0] + EXAMPLES[ITEMS[nearest[0]].kind]
        raise ScriptError(f"unknown item {key!r}; the nearest that there is: {example}")
    if not _fits(item.kind, value):
        written = key if value is None else f"{key}={value}"
        raise ScriptError(f"{written!r} is not understood; {key!r} is written like {key}{EXAMPLES[item.kind]}")


def _fits(kind: Kind, value: str | None) -> bool:
    if kind == "flag":
        return value is None
    if kind == "mode":
        return value in (None, "always")
    if value is None:
        return False
    if kind in ("seconds", "interval", "rate"):
        number = _number(value)
        return number is not None and isfinite(number) and (number >= 0 if kind == "seconds" else number > 0)
    low, high = {"count": (0, 10**9), "whole": (1, 64), "status": (400, 599)}[kind]
    return value.isascii() and value.isdigit() and len(value) <= 10 and low <= int(value) <= high


def _number(value: str) -> float | None:
    """Plain decimal numbers only: what float() also takes (`1_0`, `infinity`) would hide a typing error."""
    try:
        return float(value) if value.isascii() and "_" not in value else None
    except ValueError:
        return None
