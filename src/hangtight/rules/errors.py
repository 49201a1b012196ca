"""What is wrong with the settings: every place of every file at once, one line for each."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import NamedTuple

from hangtight.errors import LONGEST_VALUE_SHOWN, HangtightError, SettingsError

HOW_TO_GET_IT = "pip install 'hangtight[cli]'"


class Problem(NamedTuple):
    """One thing that cannot be used, and where it stands."""

    file: str
    """As people know it: `hangtight.yaml`, `~/.config/hangtight/hangtight.yaml`, `the environment`."""
    line: int
    """0 where no single line is to blame."""
    key: str
    """`models.qwen3.limits.idle`; empty for the file as a whole."""
    found: object
    wanted: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        if not self.key:
            return on_one_line(f"{place}: {self.found}; it must be {self.wanted}")
        return on_one_line(f"{place}: {self.key} = {shown(self.found)} cannot be used: it must be {self.wanted}")


class SettingsErrors(SettingsError):
    """Settings that cannot be meant, all of them: `.problems`. Its text has one line for each."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.key or first.file, first.found, first.wanted)
        self.args = ("\n".join(map(str, self.problems)),)


def unreadable(file: str, why: str, wanted: str, line: int = 0) -> SettingsErrors:
    """The error of a file that cannot be read as a whole."""
    return SettingsErrors([Problem(file, line, "", why, wanted)])


def not_installed(missing: ImportError) -> HangtightError:
    """What to type where the readers of settings files are not installed."""
    return HangtightError(f"reading settings files needs {missing.name}: {HOW_TO_GET_IT}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant; case and dashes do not count."""
    names = {_folded(other): other for other in known}
    near = difflib.get_close_matches(_folded(name), list(names), n=1, cutoff=0.7)
    return names[near[0]] if near else None


def one_of(names: Iterable[str], found: str) -> str:
    """What would be right instead of a name that is none."""
    names = list(names)
    near = nearest(found, names)
    return f"one of {', '.join(names)}" + (f"; did you mean {near}?" if near else "")


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def on_one_line(text: str) -> str:
    """Keys and names may hold anything: what cannot be printed is escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shown(found: object) -> str:
    """A value as a settings file would have it, cut where it is long."""
    try:
        text = json.dumps(found, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # a number with more digits than Python writes, or a very deep tree
        return f"<{type(found).__name__}>"
    return text if len(text) <= LONGEST_VALUE_SHOWN else text[:LONGEST_VALUE_SHOWN] + "..."
