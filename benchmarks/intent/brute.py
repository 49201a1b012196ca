"""Which passages of a text are loops by the thresholds: found by brute force, with no code of the analyser.

A run of period p that counts has at least 480 characters and three copies, so wherever it stands, one of its blocks of
64 characters that begin at a multiple of 64 comes again p later. So: for each such block, look at every place where it
comes again within the longest period, and see how far to both sides the text goes on like that.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LONGEST_PERIOD = 4_096
BLOCK = 64
SHORTEST = 480
BLANK = re.compile(r"\s{300,}")


class Passage(NamedTuple):
    """A stretch of a text that is a loop; of period 0 where it is white space of any kind."""

    start: int
    end: int
    period: int

    @property
    def copies(self) -> int:
        return (self.end - self.start) // self.period if self.period else 1


def needed(unit: str) -> int:
    """So many characters of this unit, again and again, are evidence."""
    period = len(unit)
    if any(character.isalpha() for character in unit):
        return min(max(3 * period, 600), max(6 * period, 480))
    if unit.isspace():
        return 300
    unbroken = not any(character.isspace() for character in unit)
    return max(8 * period, 4_096 if unbroken else 1_200)


def is_loop(text: str, start: int, end: int, period: int) -> bool:
    """Whether this stretch has that period, and enough of it."""
    stretch = text[start:end]
    return stretch[period:] == stretch[:-period] and len(stretch) >= needed(stretch[:period])


def passages(text: str) -> list[Passage]:
    """All loops in a text, in order."""
    found = [Passage(match.start(), match.end(), 0) for match in BLANK.finditer(text)]
    enough = (run for run in runs(text) if run.end - run.start >= needed(text[run.start : run.start + run.period]))
    found.extend(enough)
    return sorted(found)


def runs(text: str) -> list[Passage]:
    """All runs of a primitive period, of three copies and 480 characters at least, as far as they go to both sides."""
    known: set[Passage] = set()
    near: list[Passage] = []
    for here in range(0, len(text) - BLOCK, BLOCK):
        block = text[here : here + BLOCK]
        near = [run for run in near if run.end > here + BLOCK]
        until = here + LONGEST_PERIOD + BLOCK
        again = text.find(block, here + 1, until)
        while again >= 0:
            if goes_on(text, here, again) and not is_known(near, here, again):
                run = run_of(text, here, again)
                if is_primitive(text[run.start : run.start + run.period]):
                    near.append(run)
            again = text.find(block, again + 1, until)
        known.update(near)
    return sorted(run for run in known if run.end - run.start >= max(SHORTEST, 3 * run.period))


def goes_on(text: str, here: int, again: int) -> bool:
    """Whether the text after both places is the same for long enough, if `here` is the first block of its run."""
    if text[here : here + 4 * BLOCK] != text[again : again + 4 * BLOCK]:
        return False
    period = again - here
    length = max(SHORTEST, 3 * period) - period - BLOCK
    return text[here : here + length] == text[again : again + length]


def is_known(near: list[Passage], here: int, again: int) -> bool:
    period = again - here
    return any(period % run.period == 0 and run.start <= here and again + BLOCK <= run.end for run in near)


def run_of(text: str, here: int, again: int) -> Passage:
    return Passage(here - same_before(text, here, again), again + same_after(text, here, again), again - here)


def is_primitive(unit: str) -> bool:
    return (unit + unit).find(unit, 1) == len(unit)


def same_after(text: str, one: int, other: int) -> int:
    """How many characters are the same from both places on; `other` is the later one."""
    length, step = 0, BLOCK
    while text[one + length : one + length + step] == text[other + length : other + length + step]:
        length += step
        step *= 2
        if other + length >= len(text):
            return len(text) - other
    while step > 1:
        step //= 2
        if text[one + length : one + length + step] == text[other + length : other + length + step]:
            length += step
    return min(length, len(text) - other)


def same_before(text: str, one: int, other: int) -> int:
    """How many characters are the same before both places; `one` is the earlier one."""
    length, step = 0, 1
    while step:
        left = one - length - step
        if left >= 0 and text[left : one - length] == text[other - length - step : other - length]:
            length += step
            step *= 2
        else:
            step //= 2
    return length
