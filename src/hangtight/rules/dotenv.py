"""The `.env` of a folder: our variables in a file that belongs to others, or that somebody asked us to check."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from hangtight.rules.environment import Told, is_ours
from hangtight.rules.errors import unreadable
from hangtight.rules.files import text_of
from hangtight.rules.keys import PREFIX

LONGEST_DOTENV = 256 * 1024
ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$", re.ASCII)
QUOTED = re.compile(r"""^(?:'([^']*)'|"((?:[^"\\]|\\.)*)")\s*(?:#.*)?$""")
COMMENT = re.compile(r"(^|\s)#.*$")
MENTIONED = re.compile(rf"\b{PREFIX}\w+", re.ASCII | re.IGNORECASE)
ESCAPED = re.compile(r"\\(.)")


def read_dotenv(path: Path, file: str) -> list[Told]:
    """Our variables in a `.env`, which belongs to others: what cannot be read there says nothing to us."""
    return parse_dotenv(_text_in(path), file)


def variables_in(path: Path) -> dict[str, str]:
    """All variables in a `.env`, for what asks for one by its name."""
    return {told.key: told.text for told in parse_dotenv(_text_in(path), "", lambda key: True)}


def _text_in(path: Path) -> str:
    try:
        if not path.is_file():  # a folder of that name is somebody's virtual environment
            return ""
        with path.open("rb") as opened:
            return opened.read(LONGEST_DOTENV).decode("utf-8-sig", errors="replace")
    except (OSError, ValueError):
        return ""


def read_strictly(path: Path, file: str) -> tuple[list[Told], list[str]]:
    """Our variables in a `.env` that somebody named, and a remark for each line that only looks like one."""
    text = text_of(path, file, LONGEST_DOTENV)
    if "\0" in text:
        raise unreadable(file, "is not written in UTF-8", "text in UTF-8", text.count("\n", 0, text.index("\0")) + 1)
    remarks = []
    for number, line in enumerate(text.splitlines(), start=1):
        if key := _meant_for_us(line):
            remarks.append(f"{file}:{number}: {key} is written here, but not set: it needs {key.upper()}=value")
    return parse_dotenv(text, file), remarks


def _meant_for_us(line: str) -> str | None:
    """The key of ours in a line that does not set one, comments aside."""
    if assigned := ASSIGNMENT.match(line):
        key = assigned[1]
        return key if key.upper().startswith(PREFIX) and not is_ours(key) else None
    found = MENTIONED.search(COMMENT.sub("", line))
    return found[0] if found else None


def parse_dotenv(text: str, file: str, wanted: Callable[[str], bool] = is_ours) -> list[Told]:
    """`KEY=value`, with `export`, quotes and comments; the last of two with one name wins."""
    told: dict[str, Told] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if (found := ASSIGNMENT.match(line)) and wanted(found[1]):
            told.pop(found[1], None)
            if value := _unquoted(found[2]).strip():
                told[found[1]] = Told(found[1], value, file, number)
    return list(told.values())


def _unquoted(value: str) -> str:
    if quoted := QUOTED.match(value):
        return quoted[1] if quoted[1] is not None else ESCAPED.sub(r"\1", quoted[2])
    return COMMENT.sub("", value)
