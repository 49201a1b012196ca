"""The answer that flows and the line below it, on a small terminal of our own that forgets what real ones forget."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from hangtight.cli.screen import DIM, NARROWEST, PLAIN, Screen

SEQUENCE = re.compile(r"\x1b(?:\[([0-9;]*)([A-Za-z])|([78D]))")
LINE = "streaming · 12 s · idle rings in 45 s"


class Terminal:
    """Rows of cells with a cursor. Like some real ones it never saves that the cursor is behind the last column."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows: list[list[str]] = [[]]
        self.row = self.column = 0
        self.saved = (0, 0)

    @property
    def top(self) -> int:
        """The first row that has not scrolled away."""
        return max(0, len(self.rows) - self.height)

    def feed(self, data: str) -> None:
        at = 0
        while at < len(data):
            found = SEQUENCE.match(data, at)
            if found is None:
                assert data[at] != "\x1b", f"unknown sequence {data[at : at + 8]!r}"
                self._put(data[at])
                at += 1
            else:
                self._obey(found[2] or found[3])
                at = found.end()

    def _obey(self, command: str) -> None:
        last = self.width - 1
        match command:
            case "m":
                return
            case "J":
                del self.rows[self.row][self.column :]
                del self.rows[self.row + 1 :]
                self.rows += [[] for _ in range(len(self.rows), min(self.row + 1, self.height))]
            case "A":
                self.row, self.column = max(self.top, self.row - 1), min(self.column, last)
            case "B":
                bottom = max(self.top + self.height - 1, len(self.rows) - 1)
                self.row, self.column = min(bottom, self.row + 1), min(self.column, last)
                self._make_row()
            case "D":
                self.row, self.column = self.row + 1, min(self.column, last)
                self._make_row()
            case "7":
                self.saved = (self.row - self.top, min(self.column, last))
            case "8":
                self.row, self.column = self.saved[0] + self.top, self.saved[1]
            case _:
                raise AssertionError(f"unknown command {command!r}")

    def _make_row(self) -> None:
        while self.row >= len(self.rows):
            self.rows.append([])

    def _put(self, char: str) -> None:
        cells = cell_len(char)
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self.row, self.column = self.row + 1, 0
            self._make_row()
        elif char == "\t":
            self.column = min((self.column // 8 + 1) * 8, self.width - 1)
        elif cells:
            if self.column + cells > self.width:
                self.row, self.column = self.row + 1, 0
                self._make_row()
            row = self.rows[self.row]
            row += [" "] * (self.column - len(row))
            row[self.column : self.column + cells] = [char, *[""] * (cells - 1)]
            self.column += cells

    def lines(self) -> list[str]:
        """All rows, those that scrolled away too, without the empty ones at the end."""
        shown = ["".join(row).rstrip() for row in self.rows]
        while shown and not shown[-1]:
            shown.pop()
        return shown


TEXTS = st.lists(st.text(alphabet="abc défg ,.\n\t日本語👩\u200d👦✅\ufe0f", max_size=30), max_size=12)


@given(pieces=TEXTS, width=st.integers(NARROWEST, 30), height=st.integers(3, 6), start=st.integers(0, 6))
def test_whatever_is_drawn_between_the_screen_ends_as_if_only_the_answer_had_been_written(
    pieces: list[str], width: int, height: int, start: int
) -> None:
    drawn, bare = Terminal(width, height), Terminal(width, height)
    for terminal in (drawn, bare):
        terminal.feed("$ prompt\n" * start)
    screen = Screen(lambda: width, colours=True)
    for at, piece in enumerate(pieces):
        drawn.feed(screen.say(piece, dim=at % 3 == 0))
        drawn.feed(screen.draw(LINE))
    drawn.feed(screen.close())
    bare.feed("".join(pieces))
    assert drawn.lines() == bare.lines()
    assert drawn.column == 0


@given(pieces=TEXTS, width=st.integers(NARROWEST, 30))
def test_the_line_below_stands_right_under_the_answer_and_fits(pieces: list[str], width: int) -> None:
    terminal = Terminal(width, 8)
    screen = Screen(lambda: width, colours=False)
    for piece in pieces:
        terminal.feed(screen.say(piece))
        terminal.feed(screen.draw(LINE))
        below = "".join(terminal.rows[terminal.row + 1])
        assert below == LINE[: width - 1].rstrip()
        assert len(terminal.rows) == terminal.row + 2


def test_text_within_a_row_costs_no_drawing() -> None:
    screen = Screen(lambda: 40, colours=True)
    screen.draw(LINE)
    assert screen.say("hello") == "hello"
    assert screen.say(" world") == " world"


def test_the_character_that_fills_a_row_waits_for_the_next_one() -> None:
    screen = Screen(lambda: 20, colours=True)
    assert screen.say("x" * 20) == "x" * 19
    assert screen.say("y") == "xy"
    assert screen.close() == "\n"


def test_an_emoji_waits_until_it_is_known_to_be_whole() -> None:
    screen = Screen(lambda: 40, colours=True)
    assert screen.say("a family: 👩\u200d") == "a family: "
    assert screen.say("👦") == ""
    assert screen.say("!") == "👩\u200d👦!"
    assert screen.say("👩\n") == "👩\n"
    assert screen.say("👩") + screen.close() == "👩\n"


def test_what_a_terminal_would_obey_is_not_passed_on() -> None:
    screen = Screen(lambda: 40, colours=True)
    assert screen.say("\x1b]0;title\x07a\rb\x9b2Jc\ud83d\x00") == "]0;titleab2Jc"


def test_reasoning_is_dim_unless_colours_are_off() -> None:
    assert Screen(lambda: 40, colours=True).say("hm", dim=True) == f"{DIM}hm"
    assert Screen(lambda: 40, colours=False).say("hm", dim=True) == "hm"
    screen = Screen(lambda: 40, colours=True)
    screen.say("hm", dim=True)
    assert screen.close() == f"{PLAIN}\n"


def test_a_terminal_too_narrow_gets_the_answer_alone() -> None:
    screen = Screen(lambda: NARROWEST - 1, colours=True)
    assert LINE[:5] not in screen.draw(LINE)
