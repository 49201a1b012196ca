"""Values as they can be written down: what JSON and both databases can hold, of a length that is bounded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from math import isfinite
from typing import Any

LONGEST_NAME = 200
LONGEST_LINE = 500
DEEPEST = 5
LARGEST = 2**31 - 1
NEVER_TOLD = frozenset({"partial", "text"})  # no text of a model is ever written down


def as_json(told: object) -> str:
    return json.dumps(plainly(told), separators=(",", ":"), allow_nan=False)


def plainly(value: object, depth: int = 0) -> Any:
    """What JSON and both databases can hold. Of an exception only its type: it may carry the text of a model."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum) and not isinstance(value, str):
        return value.name.lower()
    if isinstance(value, int):
        return max(-LARGEST, min(value, LARGEST))
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return line(value)
    if depth < DEEPEST:
        if is_dataclass(value) and not isinstance(value, type):
            return _members({each.name: getattr(value, each.name) for each in fields(value)}, depth)
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return _members(value._asdict(), depth)
        if isinstance(value, Mapping):
            return _members(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return [plainly(item, depth + 1) for item in value]
    return type(value).__name__


def _members(members: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    return {name(key): plainly(value, depth + 1) for key, value in members.items() if key not in NEVER_TOLD}


def name(value: str) -> str:
    return _clean(value, LONGEST_NAME)


def line(value: str) -> str:
    return _clean(value, LONGEST_LINE)


def number(value: float | None) -> float | None:
    """`None` also for what is no number that can be written: no limit is infinity inside."""
    return float(value) if value is not None and isfinite(value) else None


def whole(value: int) -> int:
    return max(0, min(int(value), LARGEST))


def _clean(value: str, longest: int) -> str:
    """What PostgreSQL refuses in a text, and half a character, must not hold up everything else."""
    short = str(value)[:longest]
    if short.isascii() and "\0" not in short:
        return short
    return short.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
