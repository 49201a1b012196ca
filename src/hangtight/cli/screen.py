"""A terminal with an answer that flows and one line below it that is drawn anew and again. Text in, text out.

The terminal wraps the answer itself, so that it can be copied and resized like any other. The line below is reached
by saving the cursor and going one row down; the row is made first, by an index, which scrolls where there is none.
Only one thing has to be known: whether the cursor stands behind the last column, where terminals disagree about what
is saved. So it never rests there: the character that would put it there is held back until the next one comes. So is
an emoji, which the next character may make another one of: a cursor that moved in between would take it apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.cells import cell_len, set_cell_size

from hangtight.cli.telling import printable

NARROWEST = 20  # columns; below that nothing is drawn but the answer
TAB = 8
ERASE_BELOW = "\x1b[J"
ROOM_BELOW = "\x1bD\x1b[A"  # IND keeps the column, which a line feed would not
SAVE, RESTORE, NEXT_ROW = "\x1b7", "\x1b8", "\x1b[B\r"
MAY_GO_ON = re.compile("[\u200d\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]{1,16}\\Z")
DIM, PLAIN = "\x1b[2m", "\x1b[22m"


class Screen:
    """What to write to the terminal; the caller writes each returned text in one go."""

    def __init__(self, width: Callable[[], int], *, colours: bool) -> None:
        self._width = width
        self._colours = colours
        self._column = 0
        """Where the cursor stands in its row."""
        self._held = ""
        self._dim = False
        self._line = ""
        """The line below, as it stands on the screen; empty where there is none."""

    @property
    def room(self) -> int:
        """Cells for the line below."""
        return self._width() - 1

    def say(self, text: str, *, dim: bool = False) -> str:
        """More of the answer, where it ended. The line below makes room where the answer comes down to it."""
        shift = self._shift(dim)
        held = self._held
        text = held + printable(text)
        shown, rows = self._place(MAY_GO_ON.sub("", text))
        out = shown[: len(held)] + shift + shown[len(held) :]
        self._held = text[len(shown) :]
        return ERASE_BELOW + out + self._drawn(self._line) if rows and self._line else out

    def draw(self, line: str) -> str:
        """The line below, in place of the one before."""
        return ERASE_BELOW + self._drawn(line)

    def close(self) -> str:
        """The line below is gone, the answer is complete, and the cursor stands at the beginning of a row."""
        out = (ERASE_BELOW if self._line else "") + self._held + self._shift(False)
        if self._column or self._held:
            out += "\n"
        self._line, self._held, self._column = "", "", 0
        return out

    def _shift(self, dim: bool) -> str:
        changes = self._colours and dim != self._dim
        self._dim = dim
        return (DIM if dim else PLAIN) if changes else ""

    def _place(self, text: str) -> tuple[str, int]:
        """How much of this may be written, and into how many more rows it goes."""
        width, column, rows = max(self._width(), 2), self._column, 0
        last, before = 0, column  # the last character that takes a place, and where the cursor stood before it
        for at, char in enumerate(text):
            if char == "\n":
                column, rows = 0, rows + 1
            elif char == "\t":
                column = min((column // TAB + 1) * TAB, width - 1)
            elif cells := cell_len(char):
                last, before = at, column
                wraps = column + cells > width
                column, rows = (cells, rows + 1) if wraps else (column + cells, rows)
        if column < width:
            self._column = column
            return text, rows
        self._column = before
        return text[:last], rows

    def _drawn(self, line: str) -> str:
        width = self._width()
        if width < NARROWEST:
            self._line = ""
            return ""
        self._line = line
        fits = line if cell_len(line) < width else set_cell_size(line, width - 1).rstrip()
        look, back = (DIM, PLAIN) if self._colours else ("", "")
        return f"{ROOM_BELOW}{SAVE}{NEXT_ROW}{look}{fits}{back}{RESTORE}"
