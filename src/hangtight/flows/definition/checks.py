"""What each setting of a step or a flow may be, wherever it comes from: a file, Python, an option of a command."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final

from hangtight.core.limits import AUTO, LEARNABLE, Setting, Unset, checked
from hangtight.drivers.budget.parts import HEAVIEST, seconds
from hangtight.errors import SettingsError
from hangtight.rules.commands import words_of
from hangtight.rules.errors import one_of
from hangtight.rules.lengths import AT_MOST, LONGEST

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
TAKEN: Final = ("input", "model", "workspace")
"""No step can have these names: they mean something in a text, or as a parameter."""
LIMITS: Final = ("first_token", "idle", "total", "extend_to", "load", "thinking", "unstreamed", "cancel", "cold")
"""Of the calls of models in a step; `total` is its timeout."""
MOST_RETRIES: Final = 100
MOST_PIECES: Final = 50
"""Of a step that is split."""
SPLIT_BY: Final = ("sections", "files")
OURS: Final = (".partial", ".error", ".writing")
"""Endings of files that the engine writes beside the output of a step."""

Check = Callable[[Any], Any]


def length(name: str, value: Any) -> float | Unset | None:
    """Seconds; None is no limit; unset stays unset."""
    if isinstance(value, Unset):
        return value
    number = checked(name, value)
    if number is not None and number > LONGEST:
        raise SettingsError(name, value, f"{AT_MOST}, or None for no limit")
    return number


def total_of_a_run(value: Any) -> float | None:
    """The same where nothing is given: no limit."""
    number = length("total", value)
    return None if isinstance(number, Unset) else number


def name_of_a_step(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        wanted = "a letter, then letters, digits, - and _, at most 64 in all"
        raise SettingsError("step", value, wanted)
    if value in TAKEN:
        raise SettingsError("step", value, f"another name: {', '.join(TAKEN)} mean something already")
    return value


def limits_of(value: Any) -> dict[str, Setting]:
    """Of a whole section, which comes here when each of its numbers is told to be fine, or else is refused."""
    if not isinstance(value, Mapping):
        raise SettingsError("limits", value, "keys and values, like {idle: 60}")
    return {name: limit(name, number) for name, number in value.items()}


def limit(name: str, value: Any) -> Setting:
    """One limit of the calls of models in a step."""
    if name not in LIMITS:
        raise SettingsError(f"limits.{name}", value, one_of(LIMITS, str(name)))
    if name in LEARNABLE and name != "total" and value in (AUTO, AUTO.value):
        return AUTO
    number = length(name, value)
    if isinstance(number, Unset):
        raise SettingsError(name, value, "a number of seconds, or None for no limit")
    return number


def text(what: str) -> Check:
    def check(value: Any) -> str:
        if isinstance(value, str) and "\0" not in value:
            return value
        raise SettingsError(what, value, "text")

    return check


def command(value: Any) -> tuple[str, ...]:
    """The words of a command, as text or one by one."""
    wanted = "a command with its words"
    try:
        words = words_of(value) if isinstance(value, str) else value
    except ValueError as error:  # shlex says in a word or two which sign is missing
        raise SettingsError("tool", value, f"{wanted}, and here is {str(error).lower()}") from None
    said = isinstance(words, list | tuple) and all(isinstance(word, str) and "\0" not in word for word in words)
    if not said or (words and not words[0].strip()):
        raise SettingsError("tool", value, wanted)
    return tuple(words)


def a_name(what: str) -> Check:
    """Of a model, a mode."""

    def check(value: Any) -> str | None:
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        raise SettingsError(what, value, f"the name of a {what}")

    return check


def names(what: str, wanted: str) -> Check:
    """Some names, or one of them."""

    def check(value: Any) -> tuple[str, ...]:
        several = (value,) if isinstance(value, str) else value
        if isinstance(several, list | tuple) and all(isinstance(each, str) and each.strip() for each in several):
            return tuple(dict.fromkeys(several))
        raise SettingsError(what, value, wanted)

    return check


_models = names("fallback", "a list of names of models")


def fallback(value: Any) -> tuple[str, ...] | None:
    """Other models, the next best first; an empty list is none at all."""
    return None if value is None else _models(value)


def retries(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_RETRIES:
        return value
    raise SettingsError("retries", value, f"a whole number from 0 to {MOST_RETRIES}")


def weight(value: Any) -> float:
    number = seconds("weight", value)
    if number > HEAVIEST:
        raise SettingsError("weight", value, f"at most {HEAVIEST:g}: only the proportions count")
    return number


def truth(what: str) -> Check:
    def check(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        raise SettingsError(what, value, "true or false")

    return check


def isolate(value: Any) -> bool:
    if value == "process" or isinstance(value, bool):
        return bool(value)
    raise SettingsError("isolate", value, "process, true or false")


def split(value: Any) -> dict[str, Any] | None:
    """By what, into how many pieces at most, and whether none of them may be missing."""
    if value is None:
        return None
    said = {"by": value} if isinstance(value, str) else value
    wanted = f"keys and values, like {{by: sections}}, with by ({' or '.join(SPLIT_BY)}), most and whole"
    if not isinstance(said, Mapping) or not {"by"} <= set(said) <= {"by", "most", "whole"}:
        raise SettingsError("split", value, wanted)
    if said["by"] not in SPLIT_BY:
        raise SettingsError("split", value, f"by {' or '.join(SPLIT_BY)}")
    most = said.get("most", MOST_PIECES)
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= MOST_PIECES:
        raise SettingsError("split", value, f"with most as a whole number from 1 to {MOST_PIECES}")
    if not isinstance(said.get("whole", False), bool):
        raise SettingsError("split", value, "with whole as true or false")
    return {"by": said["by"], "most": most, "whole": said.get("whole", False)}


def output(value: Any) -> str:
    """A file inside the workspace, on every system."""
    if value == "":
        return ""
    if isinstance(value, str) and value.isprintable() and "\\" not in value and not value.endswith(("/", *OURS)):
        there = PurePosixPath(value)
        outside = there.is_absolute() or PureWindowsPath(value).drive or ".." in there.parts
        if there.name and not outside:
            return str(there)
    wanted = f"a file inside the workspace, like plan.md, that ends in none of {', '.join(OURS)}"
    raise SettingsError("output", value, wanted)


OF_A_STEP: Final[Mapping[str, Check]] = {
    "name": name_of_a_step,
    "prompt": text("generate"),
    "system": text("system"),
    "command": command,
    "after": names("after", "a list of names of steps"),
    "timeout": lambda value: length("timeout", value),
    "limits": limits_of,
    "model": a_name("model"),
    "mode": a_name("mode"),
    "fallback": fallback,
    "retries": retries,
    "weight": weight,
    "critical": truth("critical"),
    "minimum": lambda value: seconds("minimum", value, least=0.0),
    "isolate": isolate,
    "split": split,
    "output": output,
}
"""By the names that a `Step` has for them."""

OF_A_FLOW: Final[Mapping[str, Check]] = {
    "total": total_of_a_run,
    "timeout": lambda value: length("timeout", value),
    "heartbeat": lambda value: length("heartbeat", value),
}
