"""A settings file as a tree in which each value knows its line: YAML, TOML or JSON.

Whatever is wrong with the file as a whole ends in a `SettingsErrors` that names it.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hangtight.rules.errors import SettingsErrors, unreadable
from hangtight.rules.files import text_of
from hangtight.rules.trees import Branch, parse_yaml

MOST_BYTES = 128 * 1024  # a second or two of reading at most
KINDS = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}
LOOKS_LIKE_TOML = re.compile(r"""^\s*(\[{1,2}[\w."' -]+\]{1,2}\s*(#.*)?|[\w."'-]+\s*=.*)$""")
LINE_OF_TOML = re.compile(r"at line (\d+)")


@dataclass(frozen=True, slots=True)
class Tree:
    """What stands in one file."""

    file: str
    kind: str = "yaml"
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Branch, int] = field(default_factory=dict)

    def line(self, *path: str | int) -> int:
        """Where a value stands, or else what is around it; 0 where nothing is known."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def place(self, *path: str | int) -> str:
        """`hangtight.yaml:14`"""
        line = self.line(*path)
        return f"{self.file}:{line}" if line else self.file


def read(path: Path, file: str) -> Tree:
    """The tree of a file that people know as `file`."""
    return parse(text_of(path, file, MOST_BYTES), file, KINDS.get(path.suffix.lower()))


def parse(text: str, file: str, kind: str | None = None) -> Tree:
    """The tree of a text. A kind that is not given is told by the content."""
    kind = kind or _kind(text)
    data, lines = {"toml": _toml, "json": _json, "yaml": parse_yaml}[kind](text, file)
    if data is None:
        return Tree(file, kind)
    if not isinstance(data, dict):
        raise unreadable(file, "holds no settings at the top", "keys and values, like `limits: {idle: 60}`", 1)
    return Tree(file, kind, data, lines)


def _kind(text: str) -> str:
    if text.lstrip().startswith("{"):
        return "json" if _is_json(text) else "yaml"
    try:
        if tomllib.loads(text):
            return "toml"
    except (ValueError, RecursionError):
        first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
        return "toml" if LOOKS_LIKE_TOML.match(first) else "yaml"
    return "yaml"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


# -- JSON -------------------------------------------------------------------------------------------------------------


def _json(text: str, file: str) -> tuple[Any, dict[Branch, int]]:
    """JSON is YAML but for tabs and halves of characters: the lines, and keys that stand twice, are found as YAML."""
    if not text.strip():
        return None, {}
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise unreadable(file, f"is no JSON ({error.msg})", "JSON", error.lineno) from None
    except (ValueError, RecursionError):
        raise unreadable(
            file, "is no JSON that can be used", "JSON, not too deep, with numbers that can be meant"
        ) from None
    try:
        _, lines = parse_yaml(text.replace("\t", " "), file)
    except SettingsErrors as error:
        if any(problem.key for problem in error.problems):
            raise
        lines = {}
    return data, lines


# -- TOML -------------------------------------------------------------------------------------------------------------

TABLE = re.compile(r"^\s*(\[{1,2})([^\[\]]+)\]{1,2}\s*(#.*)?$")
KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"\n]*"|'[^'\n]*')(?:\s*\.\s*(?:[\w-]+|"[^"\n]*"|'[^'\n]*'))*)\s*=""")


def _toml(text: str, file: str) -> tuple[Any, dict[Branch, int]]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = LINE_OF_TOML.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise unreadable(file, f"is no TOML ({error})", "TOML", line) from None
    except (ValueError, RecursionError):
        raise unreadable(
            file, "is no TOML that can be used", "TOML, not too deep, with numbers that can be meant"
        ) from None
    return data or None, _lines_of_toml(text)


def _lines_of_toml(text: str) -> dict[Branch, int]:
    """A small scan: tomllib tells no lines. A table inside a line is found with that line."""
    lines: dict[Branch, int] = {}
    table: Branch = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := TABLE.match(line):
            table = _path_of(f"[{header[2]}]")
            _note(lines, table, number)
        elif key := KEY.match(line):
            _note(lines, (*table, *_path_of(f"{key[1]} = 0")), number)
    return lines


def _note(lines: dict[Branch, int], path: Branch, number: int) -> None:
    for depth in range(1, len(path) + 1):
        lines.setdefault(path[:depth], number)


def _path_of(line: str) -> Branch:
    """The keys of one line, read by the reader itself, which knows how they are quoted."""
    try:
        data: Any = tomllib.loads(line)
    except ValueError:  # a line inside a text of many lines
        return ()
    path: list[str | int] = []
    while isinstance(data, dict) and data:
        ((key, data),) = data.items()
        path.append(key)
    return tuple(path)
