"""What was seen in one text, for people: a time line of phases, what repeats, where a cut would come."""

from __future__ import annotations

from collections import Counter

from hangtight.cli.plots import stretch
from hangtight.cli.printing import DIM, GREEN, PLAIN, RED, YELLOW, Cell, Column, cut, line_of, table
from hangtight.intent.findings import Act, Doing, Finding, Rule

MOST_SHOWN = 24
"""Rows of a time line, and of what was found: a text of a gigabyte has more of both than anybody reads."""
UNKNOWN = "unknown"
FIRST_WORDS = 64
NARROWEST_BAR = 10
COLOURS = {UNKNOWN: DIM, Doing.STUCK: RED, Doing.EXPLORING: YELLOW, Doing.CODING: GREEN, Doing.EXPLAINING: GREEN}
SUSPECTS = (Act.HOLD, Act.CUT)
OF_ADVICE = {Act.HOLD: YELLOW, Act.CUT: RED}


class Sight:
    """What is kept of a text while it is read: it does not grow with the text."""

    def __init__(self) -> None:
        self.length = 0
        self.useful = 0
        self._doing: str = UNKNOWN
        self._since = 0
        self._stretches: list[tuple[int, int, str]] = []
        self._changes = 0
        self._shares: Counter[str] = Counter()
        self._found: list[Finding] = []
        self._number = 0
        self._cut: Finding | None = None

    @property
    def is_held(self) -> bool:
        return self._number > 0 and self._cut is None

    @property
    def is_cut(self) -> bool:
        return self._cut is not None

    def take(self, finding: Finding) -> None:
        """The next thing that was found. What comes after a cut would not have come."""
        if self._cut is not None:
            return
        self.stands(finding.offset, finding)
        if finding.act is Act.CUT:
            self._cut = finding
        if finding.act in SUSPECTS:
            self._number += 1
            if len(self._found) < MOST_SHOWN or self._cut is not None:
                self._found.append(finding)

    def stands(self, offset: int, advice: Finding) -> None:
        """What the model is at by now."""
        doing = Doing.STUCK if advice.act in SUSPECTS else advice.doing or UNKNOWN
        if doing != self._doing:
            if self._doing != UNKNOWN or offset > FIRST_WORDS:
                self._end(offset)
                self._since = offset
            self._doing = doing  # the first words are what told it, so it was so from the start

    def _end(self, offset: int) -> None:
        if offset <= self._since:
            return
        self._shares[self._doing] += offset - self._since
        begin, until, before = self._stretches[-1] if self._stretches else (0, 0, "")
        if (until, before) == (self._since, self._doing):
            self._stretches[-1] = (begin, offset, before)
            return
        self._changes += 1
        if len(self._stretches) < MOST_SHOWN:
            self._stretches.append((self._since, offset, self._doing))

    @property
    def end(self) -> int:
        """Where the text ends, or would have ended."""
        return self.length if self._cut is None else self._cut.offset

    def lines(self, name: str, *, room: int, colours: bool, whole: bool) -> list[str]:
        """To be shown; unless it is wanted `whole`, a text in which nothing repeats is one line."""
        self._end(self.end)
        self._since = self.end
        head = f"{name}: {_characters(self.length)}"
        if not whole and not self._number:
            return [cut(f"{head}{self._phases()}", room)]
        told = [cut(head, room)]
        if self._stretches:
            told += ["", *self._time_line(room, colours)]
        if self._found:
            told += ["", *self._table(room, colours)]
        return [*told, *self._verdict(room, colours), *([] if whole else [""])]

    def _phases(self) -> str:
        shares = [f"{doing} {number / self.length:.0%}" for doing, number in self._shares.most_common()]
        return f": {', '.join(shares)}" if shares else ""

    def _time_line(self, room: int, colours: bool) -> list[str]:
        columns = (Column("from", right=True), Column("to", right=True), Column("phase"))
        rows = [[Cell(f"{begin:,}"), Cell(f"{end:,}"), _phase(doing)] for begin, end, doing in self._stretches]
        taken = max(map(len, table(columns, rows, room=room, colours=False)))
        cells = max(room - taken - 3, NARROWEST_BAR)
        for row, (begin, end, doing) in zip(rows, self._stretches, strict=True):
            row.append(Cell(stretch(begin, end, self.end, cells), COLOURS.get(doing, "")))
        told = table([*columns, Column("", least=0)], rows, room=room, colours=colours)
        more = self._changes - len(self._stretches)
        return [*told, *([f"and {more:,} more"] if more else [])]

    def _table(self, room: int, colours: bool) -> list[str]:
        columns = (
            Column("at", right=True),
            Column("kind"),
            Column("advice"),
            Column("from", right=True),
            Column("what", least=10),
        )
        rows = [
            [
                Cell(f"{each.offset:,}"),
                Cell(each.kind),
                Cell(each.act.value, OF_ADVICE[each.act]),
                Cell(f"{each.start:,}"),
                Cell(str(each)),
            ]
            for each in self._found
        ]
        told = table(columns, rows, room=room, colours=colours)
        more = self._number - len(self._found)
        return [*told, *([f"and {more:,} more"] if more else [])]

    def _verdict(self, room: int, colours: bool) -> list[str]:
        if self._cut is None:
            return ["", "It would not be cut." if self._number else "Nothing in it repeats. It would not be cut."]
        unit = line_of(self._cut.unit)
        repeats = [cut(f'what repeats: "{unit}"', room)] if self._cut.rule is not Rule.BLANK and unit else []
        text = f"It would be cut after {_characters(self.end)}, and the first {self.useful:,} kept."
        return ["", *repeats, f"{RED}{text}{PLAIN}" if colours else text]


def summed_up(count: int, length: int, held: int, ended: int) -> str:
    """`12 texts, 34,567 characters: 1 would be cut, 2 held back.`"""
    texts = f"{count:,} text{'' if count == 1 else 's'}"
    return f"{texts}, {_characters(length)}: {_number(ended)} would be cut, {_number(held)} held back."


def _number(count: int) -> str:
    return f"{count:,}" if count else "none"


def _phase(doing: str) -> Cell:
    return Cell(str(doing), COLOURS.get(doing, ""))


def _characters(number: int) -> str:
    return f"{number:,} character{'' if number == 1 else 's'}"
