"""Two kinds of number that must never be mixed up: a point on the clock, and a length.

>>> Instant(10.0) + Seconds(5.0)        # a deadline
15.0
"""

from math import inf
from typing import NewType

Instant = NewType("Instant", float)
"""A point on one process's monotonic clock. It means nothing in another process."""

Seconds = NewType("Seconds", float)
"""A length of time."""

DIGITS = 3  # what somebody wrote has no more behind the point, and what was computed needs no more in all
MANY = 100.0
SHORT = 0.1  # below this, tenths of a second say nothing
NEVER = Instant(inf)
FOREVER = Seconds(inf)


def after(start: Instant, length: Seconds) -> Instant:
    return Instant(start + length)


def between(start: Instant, end: Instant) -> Seconds:
    """How long it is from `start` to `end`; an end that lies before the start is no time at all."""
    return Seconds(max(0.0, end - start))


def spoken(length: float) -> str:
    """A length for people, as short as it can be said: `45s`, `0.4s`, `78.2s`, `0.02s`."""
    return f"{plain(round(length, 1) if length >= SHORT else float(f'{length:.1g}'))}s"


def plain(number: float) -> str:
    """A number as people write it: no exponent for a month, no digits that only arithmetic left over."""
    if round(number, DIGITS) != number:
        number = float(f"{number:.{DIGITS}g}") if abs(number) < MANY else round(number, 1)
    return f"{number:.10g}"


def counted(tokens: int) -> str:
    return "1 token" if tokens == 1 else f"{tokens} tokens"
