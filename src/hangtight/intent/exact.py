"""Which period the end of a text has, exactly: any up to 4,096 characters, in bounded memory and at a steady cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

LONGEST = 4_096
"""The longest period that is looked for."""

Thresholds = tuple[tuple[int, int], ...]
"""So many copies that are so many characters together: either pair is evidence for a cut."""
LETTERS: Thresholds = ((3, 600), (6, 480))
BLANKS: Thresholds = ((1, 300),)
LEAST_BLANK = 32
SIGNS: Thresholds = ((8, 1_200),)
"""A unit of digits and signs: rows of tables and rulers are such, and they are healthy."""
UNBROKEN: Thresholds = ((8, 4_096),)
"""The same without white space: one long word, as numbers, paths and encoded data have it."""

NEEDLE = 256
"""The text is searched each time so much has come, for just this: so the character that ended a run is always in it,
and a short run inside a unit never hides the long one."""
WINDOW = 2 * LONGEST + NEEDLE
"""As much of the text is kept as two copies of the longest unit need until the next search."""
SIZES = (256, 512, 1_024, 2_048)
"""So many of the last characters are looked for, each size for distances from one to two times itself."""
TRIES = 3
"""So many places are looked at before the text counts as one that resembles itself."""

LINEAR = 2_500
"""CPython's `find` is sure to be linear only from here on, and for needles shorter than a third of the haystack."""
PADS = ("\0" * 4 * LONGEST, "\1" * 4 * LONGEST)


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text that is the same unit again and again. The last copy may be unfinished."""

    period: int
    start: int
    end: int
    unit: str

    @property
    def copies(self) -> int:
        """Whole copies, the first included."""
        return (self.end - self.start) // self.period


class Exact:
    """Follows one text and says which periodic run it ends in.

    A run is known soon after its unit stands there twice, and is over at the first character that differs. `start` is
    as far back as the window reaches when the run is found: exact for periods up to 2,700, and less than one copy late
    for longer ones. Of a loop inside a copy of a longer loop only the longer one is told.
    """

    STEP = 256
    __slots__ = ("_blank", "_period", "_read", "_searched", "_start", "_thresholds", "_unsearched", "_window")

    def __init__(self) -> None:
        self._window = ""
        self._read = 0
        self._blank = 0
        self._period = 0
        self._start = 0
        self._thresholds: Thresholds | None = None
        self._unsearched = 0
        self._searched = [0] * len(SIZES)

    def feed(self, piece: str) -> None:
        """Move on by one piece of `STEP` characters; only the last one of a text may be shorter."""
        self._window = text = (self._window + piece)[-WINDOW:]
        self._read += len(piece)
        bare = len(piece.rstrip())
        self._blank = len(piece) - bare if bare else self._blank + len(piece)
        self._unsearched += len(piece)
        if self._period:
            end, period = len(text), self._period
            at = end - len(piece)
            if text[at:] == text[at - period : end - period]:
                return
            self._period = 0
        if self._unsearched >= NEEDLE or len(piece) < self.STEP:
            self._unsearched = 0
            self._search(text)

    @property
    def began(self) -> int:
        """Where the run or the white space begins that the text ends in; -1 where nothing may be a loop."""
        if self._period:
            return self._start
        return self._read - self._blank if self._blank >= LEAST_BLANK else -1

    @property
    def run(self) -> Run | None:
        """The run that the text ends in now, if one is known."""
        if not self._period:
            return None
        return Run(self._period, self._start, self._read, self._unit())

    def verdict(self, patience: float = 1.0) -> Run | None:
        """The run that the text ends in, where it is evidence for a cut.

        `patience` multiplies every threshold; below 1 a loop may come later than its threshold says. White space
        needs no period: any mixture counts, and is shown as copies of its last character.
        """
        length = self._read - self._start
        if self._period and length >= BLANKS[0][1] * patience:
            if self._thresholds is None:
                self._thresholds = thresholds(self._unit())
            copies = length // self._period
            if any(copies >= least * patience and length >= long * patience for least, long in self._thresholds):
                return self.run
        if self._blank >= BLANKS[0][1] * patience:
            return Run(1, self._read - self._blank, self._read, self._window[-1:])
        return None

    def _unit(self) -> str:
        end = len(self._window) - (self._read - self._start) % self._period
        return self._window[end - self._period : end]

    def _search(self, text: str) -> None:
        """Look for a run that the text ends in.

        Mostly the last characters stand at few other places, and each of these is looked at. Where there are many, a
        place nearer than the needle is long decides, and then longer needles. One that is no part of a shorter run
        stands at two places at most within its own length, so the cost stays bounded.
        """
        places = 0
        for back in islice(distances(text, NEEDLE, 1, LONGEST), TRIES):
            places += 1
            if self._begins(text, back):
                return
        if places < TRIES:
            return
        for back in islice(distances(text, NEEDLE, 1, NEEDLE), 1):
            if self._begins(text, back):
                return
        for index, size in enumerate(SIZES):
            if self._read - self._searched[index] < size // 2 or len(text) < 2 * size:
                return
            self._searched[index] = self._read
            for back in islice(distances(text, size, size, 2 * size), TRIES):
                if self._begins(text, back):
                    return

    def _begins(self, text: str, back: int) -> bool:
        """Follow the run whose period is `back` or a part of it, if the last `back` characters stand there twice."""
        high = len(text) - 2 * back
        if high < 0 or text[high : high + back] != text[high + back :]:
            return False
        self._period = period = primitive(text[-back:])
        low = 0
        while low < high:
            middle = (low + high) // 2
            if text[middle:high] == text[middle + period : high + period]:
                high = middle
            else:
                low = middle + 1
        self._start = self._read - len(text) + high
        self._thresholds = None
        return True


def thresholds(unit: str) -> Thresholds:
    """How much of this unit is evidence."""
    characters = set(unit)
    if any(map(str.isalpha, characters)):
        return LETTERS
    if unit.isspace():
        return BLANKS
    return SIGNS if any(map(str.isspace, characters)) else UNBROKEN


def distances(text: str, size: int, nearest: int, farthest: int) -> Iterator[int]:
    """How far back the last `size` characters stand once more, the farthest first."""
    needle = text[-size:]
    begin, end = max(0, len(text) - size - farthest), len(text) - nearest
    haystack = text[begin:end] + pad(needle)
    at = haystack.find(needle)
    while at >= 0:
        yield len(text) - size - begin - at
        at = haystack.find(needle, at + 1)


def primitive(unit: str) -> int:
    """The shortest period of the endless repetition of this unit."""
    return (unit + unit + pad(unit)).find(unit, 1)


def pad(needle: str) -> str:
    """What makes a haystack so long that looking for this needle is linear; it does not add a place."""
    filler = PADS[0] if needle[-1] != PADS[0][0] else PADS[1]
    return filler[: max(LINEAR, 3 * len(needle) + 16)]
