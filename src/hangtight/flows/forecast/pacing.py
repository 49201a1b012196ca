"""How long one step will still take, by those like it that were done before. Pure.

>>> before = Usual.of([(60.0, 0), (80.0, 0), (100.0, 0)])
>>> left_of(before, elapsed=20.0, tokens=0).usual
60.0
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Final, NamedTuple

EDGE: Final = 20
"""A twentieth of those that were seen lies on either side of a range."""
PLENTY: Final = 10
"""With fewer samples than these the range is wider than what was seen."""
FEW: Final = 1.5
OTHERS: Final = 2.0
"""Margins of a range: of few samples, and of those of other models."""
KIN: Final = 4.0
"""The same for a step that was never seen, by others of its kind in this run."""
LONGER: Final = 0.25
"""What took longer than all before it takes about this part of it again: nothing better is known."""
AROUND_TOKENS: Final = 2.0
"""How far a prediction by tokens may be off, either way."""


class Left(NamedTuple):
    """Seconds until a step has ended."""

    usual: float | None
    """Half of them take no longer; None where nothing is known."""
    least: float
    most: float
    """Endless where nothing is known, and it has no limit."""


@dataclass(frozen=True, slots=True)
class Usual:
    """How long steps like one took that ended well."""

    lengths: tuple[float, ...]
    """In seconds, ascending; none where nothing is known."""
    tokens: int = 0
    """Half of them wrote no more; 0 where that is not known."""
    margin: float = 1.0

    @classmethod
    def of(cls, seen: Iterable[tuple[float, int]], margin: float = 1.0) -> Usual:
        """Of seconds and tokens. What no clock can have shown is left out."""
        sound = [(length, tokens) for length, tokens in seen if isfinite(length) and length >= 0]
        written = sorted(tokens for _, tokens in sound if tokens > 0)
        lengths = tuple(sorted(length for length, _ in sound))
        wide = margin * (FEW if len(lengths) < PLENTY else 1.0)
        return cls(lengths, written[len(written) // 2] if written else 0, wide)

    @classmethod
    def like(cls, seconds: float) -> Usual:
        """Of a step that was never seen, where others of its kind say that much."""
        return cls((seconds,), margin=KIN)

    @property
    def seconds(self) -> float | None:
        return self.lengths[len(self.lengths) // 2] if self.lengths else None


def left_of(usual: Usual, *, elapsed: float, tokens: int, limit: float | None = None) -> Left:
    """How long a step still takes that has run for `elapsed` and has written `tokens`. Never more than its limit."""
    left = _by_time(usual, elapsed)
    if usual.lengths and 0 < tokens < usual.tokens:
        left = _by_tokens(usual, left, elapsed, tokens)
    most = inf if limit is None else max(0.0, limit - elapsed)
    return Left(None if left.usual is None else min(left.usual, most), min(left.least, most), min(left.most, most))


def _by_time(usual: Usual, elapsed: float) -> Left:
    """By those that took longer than this one until now."""
    if not usual.lengths:
        return Left(None, 0.0, inf)
    longer = usual.lengths[bisect_right(usual.lengths, elapsed) :]
    if not longer:
        most = max(usual.margin * usual.lengths[-1] - elapsed, elapsed)
        return Left(min(LONGER * elapsed, most), 0.0, most)
    edge = len(longer) // EDGE
    least, median, most = longer[edge], longer[len(longer) // 2], longer[-1 - edge]
    return Left(median - elapsed, max(0.0, least / usual.margin - elapsed), usual.margin * most - elapsed)


def _by_tokens(usual: Usual, by_time: Left, elapsed: float, tokens: int) -> Left:
    """By the pace of this one, which counts for more and more, and the usual number of tokens."""
    part = tokens / usual.tokens
    before = usual.lengths[len(usual.lengths) // 2]
    seconds = (1 - part) * ((1 - part * part) * before + part * elapsed)
    least = min(seconds, max(by_time.least, seconds / AROUND_TOKENS))
    return Left(seconds, least, max(seconds, min(by_time.most, AROUND_TOKENS * seconds)))
