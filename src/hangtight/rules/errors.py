"""What is wrong with the settings: every place of every file at once, one line for each."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from hangtight.errors import LONGEST_VALUE_SHOWN, HangtightError, SettingsError

HOW_TO_GET_IT = "pip install 'hangtight[cli]'"
KNOWN_HERE, ONCE = "a key that is known here", "written once"
"""Begins what is wanted where the key is wrong. Its value may be anybody's secret, and is not told."""
LEAST_TO_GUESS = 3  # letters; shorter names are all alike
PASSWORD = re.compile(r"(//[^/?#:@]*:).*@", re.DOTALL)
OF_A_QUERY = re.compile(r"([?&;][^=?&;#]*=)[^&;#]*")
MASK = "***"


class Problem(NamedTuple):
    """One thing that cannot be used, and where it stands."""

    file: str
    """As people know it: `hangtight.yaml`, `~/.config/hangtight/hangtight.yaml`, `the environment`."""
    line: int
    """0 where no single line is to blame."""
    key: str
    """`models.qwen3.limits.idle`; empty for the file as a whole."""
    found: object
    """None where the key itself is what is wrong."""
    wanted: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        if not self.key:
            return on_one_line(f"{place}: {self.found}; it must be {self.wanted}")
        if self.found is None and self.wanted.startswith((KNOWN_HERE, ONCE)):
            return on_one_line(f"{place}: {self.key} cannot be used: it must be {self.wanted}")
        return on_one_line(f"{place}: {self.key} = {shown(self.found)} cannot be used: it must be {self.wanted}")


class SettingsErrors(SettingsError):
    """Settings that cannot be meant, all of them: `.problems`. Its text has one line for each.

    The files in the order they came in, and in each its lines; secrets are masked.
    """

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem]) -> None:
        told = [problem._replace(found=masked(problem.found)) for problem in problems]
        files = {file: place for place, file in enumerate(dict.fromkeys(problem.file for problem in told))}
        self.problems = tuple(sorted(told, key=lambda problem: (files[problem.file], problem.line)))
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
    if len(name) < LEAST_TO_GUESS:
        return names.get(_folded(name))
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
        text = json.dumps(masked(found), ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # a number with more digits than Python writes, or a very deep tree
        return f"<{type(found).__name__}>"
    return text if len(text) <= LONGEST_VALUE_SHOWN else text[:LONGEST_VALUE_SHOWN] + "..."


def masked(found: object) -> object:
    """The same without what may be a secret: passwords and queries of addresses, and whatever stands under keys."""
    if isinstance(found, str):
        return OF_A_QUERY.sub(rf"\1{MASK}", PASSWORD.sub(rf"\1{MASK}@", found)) if "//" in found else found
    if isinstance(found, dict):
        return dict.fromkeys(found, "...")
    if isinstance(found, list | tuple):
        return ["..." if isinstance(part, dict | list | tuple) else masked(part) for part in found]
    return found
