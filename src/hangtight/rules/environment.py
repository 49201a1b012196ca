"""What the environment says: `HANGTIGHT_...` of the process, and below it those of `.env` in the working folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from hangtight.core.intents import Intent, Placed
from hangtight.core.layers import Layer, Rank
from hangtight.core.limits import AUTO, LEARNABLE, Setting, checked
from hangtight.errors import SettingsError
from hangtight.rules.errors import Problem, nearest, on_one_line, shown
from hangtight.rules.journals import WANTED, can_be_a_journal
from hangtight.rules.keys import FOREIGN, INTENT, JOURNAL, KEYS, LIMITS, MODE, PREFIX, STEP_TIMEOUT
from hangtight.rules.lengths import AT_MOST, LONGEST, NO_LIMIT, seconds_in

THE_ENVIRONMENT = "the environment"
YES_OR_NO = {"on": True, "true": True, "yes": True, "1": True} | dict.fromkeys(
    ("off", "false", "no", "none", "0"), False
)


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
    def where(self) -> str:
        """`the environment` or `.env:3`"""
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def change(self) -> str:
        return f"{self.key}={{value}}" + (f"  in {self.file}" if self.line else "")


@dataclass(slots=True)
class Environment:
    """What the variables come to, and all that is wrong with them."""

    layers: list[Layer] = field(default_factory=list)
    """The highest first, one for each variable."""
    intent: Placed | None = None
    mode: Told | None = None
    step_timeout: Told | None = None
    step: Layer | None = None
    journal: Told | None = None
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def told_by(environment: Mapping[str, str]) -> list[Told]:
    """Our variables of the process. One that is empty is not set."""
    return [Told(key, text) for key, text in environment.items() if is_ours(key) and text.strip()]


def is_ours(key: str) -> bool:
    """Whether a variable is one of those that we look at."""
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
        if INTENT in here:
            _add_intent(result, here[INTENT])
        result.mode = result.mode or here.get(MODE)
        if JOURNAL in here:
            _add_journal(result, here[JOURNAL])
        if STEP_TIMEOUT in here:
            _add_step(result, here[STEP_TIMEOUT])
    return result


def _add_limit(result: Environment, told: Told, name: str) -> None:
    try:
        value = _seconds(told, name)
    except SettingsError as error:
        if told.key in FOREIGN:
            result.remarks.append(_of_no_use(told, error.wanted))
            return
        result.problems.append(Problem(told.file, told.line, told.key, told.text, error.wanted))
        return
    result.layers.append(Layer(Rank.ENVIRONMENT, told.place, {name: value}, told.change, {name: told.place}))


def _of_no_use(told: Told, wanted: str) -> str:
    return on_one_line(f"{told.where}: {told.key} = {shown(told.text)} is of no use: it must be {wanted}")


def _add_intent(result: Environment, told: Told) -> None:
    meant = YES_OR_NO.get(told.text.strip().lower())
    if meant is None:
        result.problems.append(Problem(told.file, told.line, told.key, told.text, "on or off"))
    elif result.intent is None:
        result.intent = Intent.of(meant), told.place


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


def _add_journal(result: Environment, told: Told) -> None:
    """A program that worked goes on without its journal, so what cannot be one is no error here."""
    if not can_be_a_journal(told.text):
        result.remarks.append(_of_no_use(told, WANTED))
    result.journal = result.journal or told


def _seconds(told: Told, name: str) -> Setting:
    """The text of a variable as a limit."""
    word = told.text.strip().lower()
    learnable = name in LEARNABLE
    if word in NO_LIMIT:
        return None
    if word == "auto" and learnable:
        return AUTO
    others = "0 or off for none" if name == "heartbeat" else "or none for no limit" + (", or auto" if learnable else "")
    number = "a number of seconds above 0" + ("" if told.key in FOREIGN else " (45, 90s, 20m, 1h)")
    wanted = f"{number}, {others}"
    try:
        seconds = float(word) if told.key in FOREIGN else seconds_in(word)
        if LONGEST < seconds < inf:
            wanted = f"{AT_MOST}, {others}"
            raise ValueError
        return checked(name, seconds)
    except ValueError:  # no number, or one that cannot be meant
        raise SettingsError(told.key, told.text, wanted) from None


def _unknown(told: Iterable[Told]) -> Iterator[str]:
    for each in told:
        if each.key not in KEYS:
            names = {key.removeprefix(PREFIX): key for key in KEYS}
            near = nearest(each.key.removeprefix(PREFIX), names)
            hint = f"; did you mean {names[near]}?" if near else f"; known are {', '.join(KEYS)}"
            yield f"{each.where}: {each.key} is not known and does nothing{hint}"


def chosen_mode(told: Told) -> str | None:
    """The default mode that a variable names; `none` switches one of a file off."""
    return None if told.text.strip().lower() in NO_LIMIT else told.text.strip()
