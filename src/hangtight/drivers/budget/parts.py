"""What may be written for the steps of a budget: `{"plan": 1, "generate": "critical"}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from hangtight.core.budget import Part, Priority
from hangtight.errors import SettingsError

PRIORITIES = {priority.name.lower(): priority for priority in Priority}
LONGEST_NAME = 200
HEAVIEST = 1e6
KEYS = ("weight", "minimum", "priority")


def parts_of(steps: Mapping[str, Any] | Iterable[str], priorities: Mapping[str, str] | None = None) -> dict[str, Part]:
    """The steps of a task as the machine wants them; `priorities` are those of steps that give none themselves."""
    if isinstance(steps, str):
        raise SettingsError("steps", steps, f"a list of names, or names with weights: {{{steps!r}: 1}}")
    asked = steps if isinstance(steps, Mapping) else dict.fromkeys(steps, 1)
    return {name: _part(name, wish, (priorities or {}).get(name, "normal")) for name, wish in asked.items()}


def _part(name: str, wish: Any, priority: str) -> Part:
    if not checked_name("steps", name):
        raise SettingsError("steps", name, "the names of steps")
    if isinstance(wish, str):
        return Part(priority=_priority(name, wish))
    if not isinstance(wish, Mapping):
        return Part(weight=_weight(name, wish), priority=_priority(name, priority))
    for key in wish:
        if key not in KEYS:
            raise SettingsError(f"steps.{name}.{key}", wish[key], f"one of {', '.join(KEYS)}")
    return Part(
        weight=_weight(name, wish.get("weight", 1)),
        minimum=seconds(f"the minimum of step {name}", wish.get("minimum", 0), least=0.0),
        priority=_priority(name, wish.get("priority", priority)),
    )


def _weight(step: str, wish: Any) -> float:
    weight = seconds(f"the weight of step {step}", wish)
    if weight > HEAVIEST:
        raise SettingsError(f"the weight of step {step}", wish, f"at most {HEAVIEST:g}: only the proportions count")
    return weight


def _priority(step: str, word: Any) -> Priority:
    if not isinstance(word, str) or word not in PRIORITIES:
        raise SettingsError(f"the priority of step {step}", word, f"one of {', '.join(PRIORITIES)}, or a weight")
    return PRIORITIES[word]


def seconds(name: str, value: Any, *, least: float | None = None) -> float:
    """A length or a weight: a finite number above 0, or from `least` on."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
    if not is_number or (value < least if least is not None else value <= 0):
        wanted = "above 0" if least is None else f"{least:g} or more"
        raise SettingsError(name, value, f"a finite number, {wanted}")
    return float(value)


def checked_name(what: str, name: Any) -> str:
    """A name that can be printed and written down."""
    if not isinstance(name, str) or not (name.isprintable() and len(name) <= LONGEST_NAME):
        raise SettingsError(what, name, f"a name of at most {LONGEST_NAME} characters that can be printed")
    return name


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        return False
