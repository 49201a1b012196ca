"""Macros: `${NAME}` in a text becomes what the name stands for. What was put in is not read again.

A text that is one macro and nothing else becomes its value as it is: a number stays a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from hangtight.rules.filling import VARIABLE, Lookup

NAME_OF_A_MACRO = "[A-Za-z0-9_-]+"
REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.-]+)\}")
"""Other braces after a dollar are left to whoever reads the command."""
PID, PORT, MODEL_ID = "PID", "PORT", "MODEL_ID"
RESERVED = (PID, PORT, MODEL_ID)
OF_A_REQUEST = ("PROMPT", "MESSAGE")
"""In the command of a process for each request; everywhere else names like any other."""
OF_THE_ENVIRONMENT = "env."
MOST_CHARACTERS = 2 * 1024 * 1024
"""What all macros of a file come to, together: macros of macros make millions out of ten lines."""
DEEPEST = 40
LISTED = 12  # more names than that help nobody

Scalar = str | int | float | bool
Refuse = Callable[[str, str, str | None], None]
"""Is told what was written, what would be right, and the macro in which it stands, if it does."""


def names_in(text: Scalar) -> Iterator[str]:
    """The macros that a text names."""
    if isinstance(text, str):
        yield from (found[1] for found in REFERENCE.finditer(text))


def as_text(value: Scalar) -> str:
    """As a settings file would have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(slots=True)
class Room:
    """How many characters may still be put in."""

    left: int = MOST_CHARACTERS


@dataclass(slots=True)
class Macros:
    """What the names stand for in one section. Nothing raises: what is wrong is told to `refuse` and stays written."""

    values: Mapping[str, Scalar]
    """By name, those of the model before those of the file."""
    given: Mapping[str, Scalar]
    """The reserved names that mean something here."""
    look_up: Lookup | None
    room: Room = field(default_factory=Room)
    _known: dict[str, Scalar] = field(default_factory=dict)
    """What was looked at already; what is wrong in it was told then."""
    _open: list[str] = field(default_factory=list)
    """The macros in which we are, the outermost first."""

    def filled(self, text: str, refuse: Refuse) -> Scalar:
        """The text with all macros in their places."""
        whole = REFERENCE.fullmatch(text)
        if whole is not None:
            value = self._value(whole[1], refuse)
            return text if value is None or not self._fits(value, text, refuse) else value
        parts: list[str] = []
        end = 0
        for found in REFERENCE.finditer(text):
            value = self._value(found[1], refuse)
            put = found[0] if value is None else as_text(value)
            if not self._fits(put, found[0], refuse):
                return text
            parts += (text[end : found.start()], put)
            end = found.end()
        return "".join((*parts, text[end:]))

    def uses(self, text: str, name: str) -> bool:
        """Whether this name is in the text, or in a macro that is."""
        waiting, seen = list(names_in(text)), set[str]()
        while waiting:
            one = waiting.pop()
            if one == name:
                return True
            if one not in seen:
                seen.add(one)
                waiting += names_in(self.values.get(one, ""))
        return False

    def _fits(self, put: Scalar, written: str, refuse: Refuse) -> bool:
        if self.room.left < 0:  # that was told
            return False
        self.room.left -= len(put) if isinstance(put, str) else 0
        if self.room.left >= 0:
            return True
        refuse(written, f"shorter: all macros together come to at most {MOST_CHARACTERS} characters", self._within)
        return False

    @property
    def _within(self) -> str | None:
        return self._open[-1] if self._open else None

    def _value(self, name: str, refuse: Refuse) -> Scalar | None:
        """What a name stands for; None where that was refused."""
        if name in self.given:
            return self.given[name]
        if name.startswith(OF_THE_ENVIRONMENT):
            return self._variable(name, refuse)
        if name in self._known:
            return self._known[name]
        if name not in self.values:
            depends_on_where = name in RESERVED
            refuse(f"${{{name}}}", self._instead_of(name), None if depends_on_where else self._within)
            return None
        if name in self._open or len(self._open) >= DEEPEST:
            wanted = f"macros that do not come back to themselves, at most {DEEPEST} of them inside one another"
            refuse(f"${{{name}}}", wanted, self._within)
            return None
        value = self.values[name]
        self._open.append(name)
        self._known[name] = self.filled(value, refuse) if isinstance(value, str) else value
        self._open.pop()
        return self._known[name]

    def _variable(self, name: str, refuse: Refuse) -> str | None:
        variable = VARIABLE.fullmatch(name)
        written = f"${{{name}}}"
        if variable is None:
            refuse(written, "written ${env.NAME}, with the name of a variable", self._within)
            return None
        if self.look_up is None:
            return written
        value = self.look_up(variable[1])
        if value is None:
            wanted = f"a variable of the environment that is set, and {variable[1]} is not set"
            refuse(written, wanted, self._within)
        return value

    def _instead_of(self, name: str) -> str:
        if name == PORT:
            return "in the section of a model whose `cmd` uses ${PORT}"
        if name == PID:
            return "in `cmdStop`: before a server is started nobody knows its number"
        if name == MODEL_ID:
            return "in the section of one model"
        if name in OF_A_REQUEST:
            return "in `cmd` of a model with `kind: process`: a server is not started for one request"
        known = ", ".join(list(self.values)[:LISTED])
        return f"a macro that is known here: {known or 'none is written down'}"
