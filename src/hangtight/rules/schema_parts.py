"""The parts of which the schema of the settings is made: the checks of single values, and how editors are told them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from hangtight.core.limits import AUTO, LEARNABLE, Setting, checked
from hangtight.errors import SettingsError
from hangtight.rules.journals import OFF, WANTED, can_be_a_journal, is_off
from hangtight.rules.lengths import AT_MOST, LONGEST
from hangtight.rules.settings import DAY, PRIORITIES

LEAST_SAMPLES, MOST_SAMPLES = 20, 1_000_000

Check = Callable[[Any], Any]
MOST_DAYS = int(LONGEST // DAY)


def bounded(name: str, value: Any, or_else: str) -> float | None:
    number = checked(name, value)
    if number is not None and number > LONGEST:
        raise SettingsError(name, value, f"{AT_MOST}, {or_else}")
    return number


def limit_of(name: str) -> Check:
    learnable = name in LEARNABLE

    def check(value: Any) -> Setting:
        if learnable and value == "auto":
            return AUTO
        try:
            return bounded(name, value, "or None for no limit")
        except SettingsError as error:
            wanted = error.wanted.replace("None", "null") + (", or auto to have it learned" if learnable else "")
            raise SettingsError(name, value, wanted) from None

    return check


def interval(value: Any) -> float | None:
    try:
        return bounded("heartbeat", value, "")
    except SettingsError:
        raise SettingsError("heartbeat", value, f"a number of seconds, {AT_MOST}, or 0 or null for none") from None


def positive(value: Any) -> float:
    wanted = f"a number of seconds above 0, {AT_MOST}"
    try:
        number = bounded("floor", value, "")
    except SettingsError:
        raise SettingsError("floor", value, wanted) from None
    if number is None:
        raise SettingsError("floor", value, wanted)
    return number


def days(value: Any) -> float | None:
    wanted = f"a number of days above 0, at most {MOST_DAYS}, or null to keep all"
    try:
        number = checked("keep", value)
    except SettingsError:
        raise SettingsError("keep", value, wanted) from None
    if number is not None and number > MOST_DAYS:
        raise SettingsError("keep", value, wanted)
    return number


def whole(least: int, most: int, wanted: str) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not is_whole or not least <= value <= most:
            raise SettingsError("number", value, wanted)
        return int(value)

    return check


def truth(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise SettingsError("reasons", value, "true or false")


def names_of(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise SettingsError("models", value, "a list of names of models")
    return tuple(value)


def text_like(wanted: str) -> Check:
    def check(value: Any) -> str | None:
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        raise SettingsError("text", value, wanted)

    return check


def address(value: Any) -> str | None:
    """An address with a macro in it is one of which a variable was not looked up."""
    if value is None or (isinstance(value, str) and "${" in value):
        return value
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        if parts and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return str(value)
    except ValueError:  # a port or a host that is none
        pass
    raise SettingsError("proxy", value, "the address of a server, like http://127.0.0.1:11434")


def word(words: tuple[str, ...]) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if value is None or (isinstance(value, str) and value in words):
            return value
        raise SettingsError("word", value, f"one of {', '.join(words)}")

    return check


def priority(value: Any) -> str:
    if isinstance(value, str) and value in PRIORITIES:
        return value
    raise SettingsError("priority", value, f"one of {', '.join(PRIORITIES)}")


def or_nothing(value: Any) -> Any:
    """A section of which every line is commented out."""
    return {} if value is None else value


def mode_or_total(value: Any) -> Any:
    """A bare number is the total."""
    return or_nothing(value) if value is None or isinstance(value, dict) else {"total": value}


def journal_or_url(value: Any) -> Any:
    return {"url": value} if isinstance(value, str | int | float) else or_nothing(value)


def place_of_journal(value: Any) -> str | None:
    """Where the journal stands; YAML's own no and 0 are words for off too."""
    if value is None:
        return None
    text = OFF if isinstance(value, bool | int | float) and not value else value
    if not isinstance(text, str) or not text.strip() or not can_be_a_journal(text):
        raise SettingsError("journal", value, WANTED)
    return OFF if is_off(text) else text


Json = dict[str, Any]
NUMBER: Json = {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST}
OR_NULL: Json = {"anyOf": [NUMBER, {"type": "null"}]}
OR_AUTO: Json = {"anyOf": [NUMBER, {"const": "auto"}, {"type": "null"}]}
DAYS: Json = {"anyOf": [{**NUMBER, "maximum": MOST_DAYS}, {"type": "null"}]}
SAID = r"\S"
TRUTH: Json = {"type": ["boolean", "null"]}
TEXT: Json = {"type": ["string", "null"], "pattern": SAID}
NAMES: Json = {"type": ["array", "null"], "items": {"type": "string", "pattern": SAID}}
WHOLE: Json = {"type": "integer", "minimum": LEAST_SAMPLES, "maximum": MOST_SAMPLES}
ADDRESS: Json = {"type": ["string", "null"], "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^/]|\$\{"}
SERVER_OR_PATH = r"^\s*(postgres(ql(\+psycopg)?)?://|(sqlite:///|(?!.*://))(?!(.*/)?(\.{0,2}|~)\s*$))"
JOURNAL: Json = {"anyOf": [{**TEXT, "pattern": SERVER_OR_PATH}, {"enum": [False, 0]}]}
MACRO: Json = {"type": "string", "pattern": r"\$\{"}
"""A number may be a macro; what comes out of it is looked at when the file is read."""


def or_macro(kind: Json) -> Json:
    return {"anyOf": [*kind.get("anyOf", [kind]), MACRO]}


def one_of_words(words: tuple[str, ...]) -> Json:
    return {"enum": [*words, None]}


def told(description: str, *examples: Any) -> Any:
    return Field(default=None, description=description, examples=list(examples))


class Section(BaseModel):
    """Keys and values; what is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
