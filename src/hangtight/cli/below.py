"""One line on stderr that is drawn anew and again, and gone when there is something to read for longer."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable

from rich.cells import cell_len, set_cell_size

from hangtight.cli.printing import DIM, PLAIN, USUAL_WIDTH, obeys
from hangtight.cli.process import STDERR, STDOUT

ERASE = "\r\x1b[2K"


class Below:
    """What it draws goes out through `write`, so that a caller with a writer of its own keeps things in order."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write or _to_stderr
        self._colours = not os.environ.get("NO_COLOR")
        self._stands = False

    @property
    def room(self) -> int:
        """Cells for it; the last column stays free, behind which terminals disagree about where the cursor is."""
        try:
            return (os.get_terminal_size(STDERR).columns or USUAL_WIDTH) - 1
        except OSError:
            return USUAL_WIDTH - 1

    def draw(self, line: str) -> None:
        """This line, in place of the one before."""
        room = self.room
        fits = line if cell_len(line) <= room else set_cell_size(line, room).rstrip()
        self._stands = True
        self._write(f"{ERASE}{DIM}{fits}{PLAIN}" if self._colours else f"{ERASE}{fits}")

    def clear(self) -> None:
        """Make room."""
        if self._stands:
            self._stands = False
            self._write(ERASE)


def _to_stderr(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):  # a stderr that is gone is no reason to end differently
        pass


def can_be_drawn() -> bool:
    return obeys(sys.stderr)


def answer_is_elsewhere() -> bool:
    """Stdout goes into a file. Behind a pipe somebody may write to the same terminal, where a line would disturb."""
    try:
        mode = os.fstat(STDOUT).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not sys.stdout.isatty())
