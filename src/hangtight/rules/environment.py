"""What the environment says: `HANGTIGHT_...` of the process, and below it those of `.env` in the working folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hangtight.core.layers import Layer, Rank
from hangtight.core.limits import AUTO, LEARNABLE, Setting, checked
from hangtight.errors import SettingsError
from hangtight.rules.errors import Problem, nearest
from hangtight.rules.keys import JOURNAL, KEYS, LIMITS, MODE, PREFIX, STEP_TIMEOUT

THE_ENVIRONMENT = "the environment"
NONE = ("none", "off")
LONGEST_DOTENV = 256 * 1024


class Told(NamedTuple):
    """One variable, and where it stands."""

    key: str
    text: str
    file: str = THE_ENVIRONMENT
    line: int = 0

    @property
    def place(self) -> str:
        """`HANGTIGHT_IDLE` or `.env:3`"""
        return f"{self.file}:{self.line}" if self.line else self.key

    @property
    def change(self) -> str:
        return f"{self.key}={{value}}" + (f"  in {self.file}" if self.line else "")


@dataclass(slots=True)
class Environment:
    """What the variables come to, and all that is wrong with them."""

    layers: list[Layer] = field(default_factory=list)
    """The highest first, one for each variable."""
    mode: Told | None = None
    step_timeout: Told | None = None
    step: Layer | None = None
    journal: Told | None = None
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def told_by(environment: Mapping[str, str]) -> list[Told]:
    """Our variables of the process. One that is empty is not set."""
    return [Told(key, text) for key, text in environment.items() if _is_ours(key) and text.strip()]


def _is_ours(key: str) -> bool:
    return key.startswith(PREFIX) or key in LIMITS


def understood(told: Sequence[Told]) -> Environment:
    """Settings out of variables, the highest first."""
    result = Environment()
    for file in dict.fromkeys(each.file for each in told):
        here = {each.key: each for each in told if each.file == file}
        for key, name in LIMITS.items():
            if key in here:
                _add_limit(result, here[key], name)
        result.remarks += _unknown(here.values())
        result.mode = result.mode or here.get(MODE)
        result.journal = result.journal or here.get(JOURNAL)
        if STEP_TIMEOUT in here:
            _add_step(result, here[STEP_TIMEOUT])
    return result


def _add_limit(result: Environment, told: Told, name: str) -> None:
    try:
        value = _seconds(told, name)
    except SettingsError as error:
        result.problems.append(Problem(told.file, told.line, told.key, told.text, error.wanted))
        return
    result.layers.append(Layer(Rank.ENVIRONMENT, told.place, {name: value}, told.change, {name: told.place}))


def _add_step(result: Environment, told: Told) -> None:
    try:
        seconds = _seconds(told, "step_timeout")
    except SettingsError as error:
        result.problems.append(Problem(told.file, told.line, told.key, told.text, error.wanted))
        return
    if result.step_timeout is None:
        result.step_timeout = told
        if seconds is not None:
            result.step = Layer(Rank.STEP, told.place, {"total": seconds}, told.change, {"total": told.place})


def _seconds(told: Told, name: str) -> Setting:
    """The text of a variable as a limit."""
    word = told.text.strip().lower()
    learnable = name in LEARNABLE
    if word in NONE:
        return None
    if word == "auto" and learnable:
        return AUTO
    others = "0 or off for none" if name == "heartbeat" else "or none for no limit" + (", or auto" if learnable else "")
    wanted = f"a number of seconds above 0, {others}"
    try:
        return checked(name, float(word))
    except ValueError:  # no number, or one that cannot be meant
        raise SettingsError(told.key, told.text, wanted) from None


def _unknown(told: Iterable[Told]) -> Iterator[str]:
    for each in told:
        if each.key not in KEYS:
            near = nearest(each.key, KEYS)
            hint = f"; did you mean {near}?" if near else f"; known are {', '.join(KEYS)}"
            place = f"{each.file}:{each.line}" if each.line else each.file
            yield f"{place}: {each.key} is not known and does nothing{hint}"


def chosen_mode(told: Told) -> str | None:
    """The default mode that a variable names; `none` switches one of a file off."""
    return None if told.text.strip().lower() in NONE else told.text.strip()


# -- .env -------------------------------------------------------------------------------------------------------------

ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$", re.ASCII)
QUOTED = re.compile(r"""^(?:'([^']*)'|"((?:[^"\\]|\\.)*)")\s*(?:#.*)?$""")
COMMENT = re.compile(r"(^|\s)#.*$")
ESCAPED = re.compile(r"\\(.)")


def read_dotenv(path: Path, file: str) -> list[Told]:
    """Our variables in a `.env`, which belongs to others: what cannot be read there says nothing to us."""
    try:
        if not path.is_file():  # a folder of that name is somebody's virtual environment
            return []
        with path.open("rb") as opened:
            text = opened.read(LONGEST_DOTENV).decode("utf-8-sig", errors="replace")
    except (OSError, ValueError):
        return []
    return parse_dotenv(text, file)


def parse_dotenv(text: str, file: str) -> list[Told]:
    """`KEY=value`, with `export`, quotes and comments; the last of two with one name wins."""
    told: dict[str, Told] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if (found := ASSIGNMENT.match(line)) and _is_ours(found[1]):
            told.pop(found[1], None)
            if value := _unquoted(found[2]).strip():
                told[found[1]] = Told(found[1], value, file, number)
    return list(told.values())


def _unquoted(value: str) -> str:
    if quoted := QUOTED.match(value):
        return quoted[1] if quoted[1] is not None else ESCAPED.sub(r"\1", quoted[2])
    return COMMENT.sub("", value)
