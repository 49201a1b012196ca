"""What the commands that tell something print with: stdout that may be gone, tables that fit, one line per name."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TextIO

import typer
from rich.cells import cell_len, chop_cells, set_cell_size

from hangtight.cli.plots import IN_ASCII
from hangtight.cli.process import FAILED, READER_LEFT, STDOUT, write_all
from hangtight.cli.settings import fail
from hangtight.rules.errors import on_one_line

USUAL_WIDTH, USUAL_HEIGHT = 80, 24
ENDLESS = 10**6  # columns
GAP = "  "
CUT = "…"
RED, YELLOW, GREEN, DIM = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[2m"
PLAIN = "\x1b[0m"
BLUE, CYAN = "\x1b[34m", "\x1b[36m"
OFF = ("", "0")
"""What switches nothing on. `FORCE_COLOR=0` is how some say no."""


class Cell(NamedTuple):
    """What stands in a table; its colour is seen on a terminal only."""

    text: str
    colour: str = ""


class Column(NamedTuple):
    title: str
    right: bool = False
    least: int | None = None
    """How narrow it may become where the table is too wide; None is not at all."""
    drops: int = 0
    """Where that is not enough, columns go: those with the highest number first. Those with 0 stay."""


def put(text: str) -> None:
    """To stdout, at once."""
    try:
        write_all(STDOUT, drawable(text).encode(sys.stdout.encoding or "utf-8", "replace"))
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


def room_for_table() -> int:
    """The columns of a terminal. In a pipe there is no end of them: who searches it for a name must find that whole."""
    return width() if sys.stdout.isatty() else ENDLESS


def live_width() -> int:
    """For what is drawn anew: the last column stays free, and two for the ^C that a terminal writes by itself."""
    return max(width() - 3, 1)


def height() -> int:
    """Rows of the terminal."""
    try:
        return os.get_terminal_size(STDOUT).lines or USUAL_HEIGHT
    except OSError:
        return USUAL_HEIGHT


def obeys(stream: TextIO) -> bool:
    """It is a terminal whose cursor can be moved."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return False
    # The old Windows console obeys escapes only where somebody switched that on.
    return sys.platform != "win32" or "WT_SESSION" in os.environ or "TERM" in os.environ


def has_colours() -> bool:
    """On a terminal, unless $NO_COLOR; in a pipe where $FORCE_COLOR wants them."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty() or os.environ.get("FORCE_COLOR", "") not in OFF


def has_plots() -> bool:
    """Lines that are for eyes alone: a pipe has the words, and the same ones in every version."""
    return os.environ.get("TERM") != "dumb" and (sys.stdout.isatty() or has_colours())


def drawable(text: str) -> str:
    """The same for an output that cannot write the characters of a plot."""
    try:
        "█…".encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return text.translate(IN_ASCII)
    return text


def line_of(text: str) -> str:
    """Names come from files, servers and databases, and may hold anything: on one line, nothing that is obeyed."""
    return on_one_line(text)


def cut(text: str, room: int) -> str:
    """As much of it as fits."""
    if cell_len(text) <= room:
        return text
    return set_cell_size(text, room - 1).rstrip() + CUT if room > 0 else ""


def painted(line: str, colours: Mapping[str, str]) -> str:
    """The same with a colour for each kind of character."""
    runs = ((colours.get(char, ""), "".join(same)) for char, same in groupby(line))
    return "".join(f"{colour}{text}{PLAIN}" if colour else text for colour, text in runs)


def folded(text: str, room: int, indent: int = 0) -> list[str]:
    """Lines that fit, broken between words; all but the first are indented."""
    room = max(room, indent + 1)
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= room:
            lines[-1] = longer
            continue
        first, *more = chop_cells(word, room - indent) or [""]
        lines += [" " * indent + piece for piece in (first, *more)]
    return [line.rstrip() for line in (lines if lines[0] or len(lines) == 1 else lines[1:])]


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, room: int, colours: bool) -> list[str]:
    """The lines of a table, with a head. What is too wide is cut where the columns allow it, then left out."""
    head = [Cell(column.title, DIM) for column in columns]
    whole = [head, *([Cell(line_of(cell.text), cell.colour) for cell in row] for row in rows)]
    widths = [max(cell_len(row[at].text) for row in whole) for at in range(len(columns))]
    kept = _kept(columns, widths, room)
    columns, widths = [columns[at] for at in kept], [widths[at] for at in kept]
    _narrow(widths, columns, room - len(GAP) * (len(columns) - 1))
    return [_line([row[at] for at in kept], columns, widths, colours) for row in whole]


def _kept(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[int]:
    """The columns for which there is room, where each is as narrow as it may be."""
    least = [
        width if column.least is None else min(width, column.least)
        for column, width in zip(columns, widths, strict=True)
    ]
    kept = list(range(len(columns)))
    while sum(least[at] + len(GAP) for at in kept) - len(GAP) > room:
        giving = [at for at in kept if columns[at].drops]
        if not giving:
            break
        kept.remove(max(giving, key=lambda at: columns[at].drops))
    return kept


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
