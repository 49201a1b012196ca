"""What the commands that tell something print with: stdout that may be gone, tables that fit, one line per name."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import typer
from rich.cells import cell_len, set_cell_size

from hangtight.cli.process import FAILED, READER_LEFT, STDOUT, write_all
from hangtight.cli.settings import fail
from hangtight.rules.errors import on_one_line

USUAL_WIDTH = 80
GAP = "  "
CUT = "…"
RED, YELLOW, GREEN, DIM = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[2m"
PLAIN = "\x1b[0m"


class Cell(NamedTuple):
    """What stands in a table; its colour is seen on a terminal only."""

    text: str
    colour: str = ""


class Column(NamedTuple):
    title: str
    right: bool = False
    least: int | None = None
    """How narrow it may become where the table is too wide; None is not at all."""


def put(text: str) -> None:
    """To stdout, at once."""
    try:
        write_all(STDOUT, text.encode(sys.stdout.encoding or "utf-8", "replace"))
    except BrokenPipeError:
        raise typer.Exit(READER_LEFT) from None
    except OSError as error:
        fail(f"the output cannot be written: {error.strerror or error}", FAILED)


def put_lines(lines: Iterable[str]) -> None:
    put("".join(f"{line}\n" for line in lines))


def put_json(told: Any) -> None:
    """Readable, and still nothing in it that a terminal would obey."""
    text = json.dumps(told, ensure_ascii=False, indent=2, default=str)
    put("".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text) + "\n")


def width() -> int:
    """Columns to fill: the terminal's, elsewhere the usual ones."""
    try:
        return os.get_terminal_size(STDOUT).columns or USUAL_WIDTH
    except OSError:
        return USUAL_WIDTH


def has_colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def line_of(text: str) -> str:
    """Names come from files, servers and databases, and may hold anything: on one line, nothing that is obeyed."""
    return on_one_line(text)


def cut(text: str, room: int) -> str:
    """As much of it as fits."""
    if cell_len(text) <= room:
        return text
    return set_cell_size(text, room - 1).rstrip() + CUT if room > 0 else ""


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, room: int, colours: bool) -> list[str]:
    """The lines of a table, with a head. What is too wide is cut where the columns allow it."""
    head = [Cell(column.title, DIM) for column in columns]
    whole = [head, *([Cell(line_of(cell.text), cell.colour) for cell in row] for row in rows)]
    widths = [max(cell_len(row[at].text) for row in whole) for at in range(len(columns))]
    _narrow(widths, columns, room - len(GAP) * (len(columns) - 1))
    return [_line(row, columns, widths, colours) for row in whole]


def _narrow(widths: list[int], columns: Sequence[Column], room: int) -> None:
    """Take from the widest that gives, one cell after the other."""
    while sum(widths) > room:
        giving = [at for at, column in enumerate(columns) if column.least is not None and widths[at] > column.least]
        if not giving:
            return
        widths[max(giving, key=lambda at: widths[at])] -= 1


def _line(row: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int], colours: bool) -> str:
    told = []
    for cell, column, room in zip(row, columns, widths, strict=True):
        text = cut(cell.text, room)
        blank = " " * (room - cell_len(text))
        shown = f"{cell.colour}{text}{PLAIN}" if colours and cell.colour and text else text
        told.append(blank + shown if column.right else shown + blank)
    return GAP.join(told).rstrip()
