"""What one call shows about waiting, and how much of that a rolling window of calls supports.

A call that was ended, by us or by anybody, shows only that its end would have come later. Such a sample is kept
as right-censored: forgetting it would make the long calls look rare, and the next limit shorter still.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from math import ceil, inf
from typing import NamedTuple

from hangtight.core.limits import Limit
from hangtight.core.phases import Outcome

WINDOW = 1000  # the latest samples that count
FALSE_KILLS = 0.01  # the share of healthy calls that a learned limit may end
MARGIN = 1.5  # on what the numbers do not show
PART = 20  # a twentieth of a window may be new before its table is told anew; a kill is told at once
LATEST = 20  # samples that tell whether something is wrong just now
ROUNDING = 1e-9

ENDED, SURVIVED, WAITED, KILLED = range(4)
"""What became of a wait: it ended by itself; it did, but a longer one may have followed; somebody ended it; the
limit that is learned from it did. All but the first are censored."""

Sample = tuple[float, int]
"""How long, and what became of it. Of two of the same length, the one that ended comes before the censored one."""


class Observation(NamedTuple):
    """What is left of a call when it is over."""

    model: str
    mode: str
    prompt_tokens: int
    """0 where nothing is known."""
    first_token: float | None
    longest_gap: float | None
    """The longest silence that ended; None where there were not two pieces."""
    elapsed: float
    tokens: int
    outcome: str
    limit: str
    """The limit that was broken; empty where none was."""
    waited: float | None = None
    """For how long the broken limit was waited for; None where that is not known."""


_NEVER_WITH_THE_MODEL = (Limit.QUEUE, Limit.LOAD)
_WHOLE = (Outcome.FINISHED, Outcome.UNFINISHED)


def samples_of(seen: Observation) -> tuple[Sample | None, Sample | None, Sample | None]:
    """What the call says about the first token, the longest gap and the total; None where it says nothing."""
    if seen.outcome == Outcome.TIMEOUT and seen.limit in _NEVER_WITH_THE_MODEL:
        return None, None, None
    return _sound(_first(seen)), _sound(_gap(seen)), _sound(_total(seen))


def _first(seen: Observation) -> Sample | None:
    if seen.first_token is not None:
        return seen.first_token, ENDED
    if seen.outcome in _WHOLE:
        return None
    if _broke(seen, Limit.FIRST_TOKEN, Limit.THINKING):
        return seen.elapsed if seen.waited is None else seen.waited, KILLED
    return seen.elapsed, WAITED


def _gap(seen: Observation) -> Sample | None:
    if seen.outcome in _WHOLE:
        return None if seen.longest_gap is None else (seen.longest_gap, ENDED)
    if seen.first_token is None:
        return None
    longest, silence = seen.longest_gap or 0.0, _open_gap(seen)
    if _broke(seen, Limit.IDLE, Limit.THINKING):
        return max(longest, silence), KILLED
    # Also after a broken total the longest gap may have been still to come. Were it a plain sample, then calls
    # that a short total or a budget cuts would bring the learned `idle` down.
    return (silence, WAITED) if silence > longest else (longest, SURVIVED)


def _open_gap(seen: Observation) -> float:
    """The silence at the end, as far as it can be told."""
    if seen.waited is not None and _broke(seen, Limit.IDLE, Limit.THINKING):
        return seen.waited
    if seen.tokens == 1 and seen.first_token is not None:
        return seen.elapsed - seen.first_token
    return 0.0


def _total(seen: Observation) -> Sample | None:
    if seen.outcome == Outcome.LOOPING:
        return None  # it would never have ended, which says nothing about those that do
    if seen.outcome in _WHOLE:
        return seen.elapsed, ENDED
    return seen.elapsed, KILLED if _broke(seen, Limit.TOTAL) else WAITED


def _broke(seen: Observation, *limits: Limit) -> bool:
    return seen.outcome == Outcome.TIMEOUT and seen.limit in limits


def _sound(sample: Sample | None) -> Sample | None:
    """A damaged row teaches nothing; NaN is refused too."""
    return sample if sample is not None and 0.0 <= sample[0] < inf else None


class Table(NamedTuple):
    """What a window supports. It is replaced as a whole, so that a reader in another thread never sees half of it."""

    samples: int = 0
    """How many waits ended by themselves."""
    limit: float | None = None
    usual: float | None = None
    """Half of them end within this."""
    least: float | None = None
    """Only one in a hundred ends before this."""
    shaken: bool = False
    """Half of the latest were ended by the limit: what was learned does not hold just now."""


class Window:
    """The latest samples of one kind at one level, in order of arrival and in order of length."""

    __slots__ = ("_added", "_censored", "_ended", "_fates", "_latest", "table")

    def __init__(self) -> None:
        self._added = 0
        self._latest: deque[Sample] = deque()
        self._fates: deque[int] = deque(maxlen=LATEST)
        self._ended: list[float] = []
        self._censored: list[Sample] = []
        self.table = Table()

    def add(self, sample: Sample) -> bool:
        """Take a sample in; true if the table has to be told anew."""
        length, fate = sample
        ended = self._ended
        killed = fate == KILLED
        if fate == ENDED:
            insort(ended, length)
        elif ended and length >= ended[0]:
            insort(self._censored, sample)
        else:
            # It has no weight. A server that refuses in a loop would wash everything else away.
            if killed:
                self._fates.append(fate)
            return killed
        self._latest.append(sample)
        self._fates.append(fate)
        if len(self._latest) > WINDOW:
            self._forget(self._latest.popleft())
        self._added += 1
        return killed or not self._added % (len(self._latest) // PART or 1)

    def _forget(self, oldest: Sample) -> None:
        if oldest[1] == ENDED:
            del self._ended[bisect_left(self._ended, oldest[0])]
        else:
            del self._censored[bisect_left(self._censored, oldest)]

    def tell(self) -> None:
        """Make the table anew."""
        shaken = 2 * self._fates.count(KILLED) >= LATEST
        if not self._ended:
            self.table = Table(shaken=shaken)
            return
        least, usual, limit = self._within(0.99, 0.5, FALSE_KILLS)
        self.table = Table(
            samples=len(self._ended),
            limit=self._beyond_what_is_known() if limit is None else limit,
            usual=max(self._ended[-1], self._censored[-1][0]) if usual is None else usual,
            least=self._ended[0] if least is None else least,
            shaken=shaken,
        )

    def _beyond_what_is_known(self) -> float:
        """The limit where more than 1 % were ended before they showed how long they take."""
        # Silence would leave the shorter limit of some wider level in force, and the last length that the curve
        # reaches kills too many. The margin lets longer calls end by themselves, which is the only way to learn of
        # them. It is on the longest wait that did end: hangs end only by our limit, and on the longest wait of all
        # they would drive it up for ever. And it is no shorter than any length that the curve had reached before.
        survived = next((length for length, fate in reversed(self._censored) if fate == SURVIVED), 0.0)
        return MARGIN * max(self._ended[-1], survived)

    def _within(self, *shares: float) -> list[float | None]:
        """For each share, largest first: the shortest wait after which no more than that are still to end.

        None where the waits that ended do not reach so far. This is the estimate of Kaplan and Meier: a censored wait
        hands its weight on to all that are longer. One wait without end is added, which makes it the conformal
        (n + 1) rank where nothing is censored.
        """
        ended = self._ended
        everybody = len(ended) + len(self._censored) + 1
        goals = iter([share * everybody + ROUNDING for share in shares])
        goal, weight, start = next(goals), 1.0, 0
        found: list[float | None] = []
        for gone, (length, _) in enumerate([*self._censored, _AFTER_ALL]):
            stop = bisect_right(ended, length, start)
            left = everybody - gone - stop
            while weight * left <= goal:
                rank = ceil(everybody - gone - 1 - goal / weight)
                found.append(ended[min(max(start, rank), stop - 1)])
                goal = next(goals, -1.0)
            weight *= left / (left - 1 or 1)
            start = stop
        return found + [None] * (len(shares) - len(found))


_AFTER_ALL: Sample = (inf, ENDED)
