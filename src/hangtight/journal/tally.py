"""Sums over generations, and their quantiles from histograms. Pure: the same from single rows and from roll-ups."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil, log
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from hangtight.journal.reading import Row

FINISHED, TIMEOUT = "finished", "timeout"
A_USUAL_TIMEOUT = 30.0
"""Seconds: what the receipt compares with."""
SILENCES = frozenset({"first_token", "idle", "thinking", "load", "unstreamed"})
"""The limits whose breaking means that the model hung. A full queue is no hang; `total` may cut good work."""
MEASURES = ("first_token", "longest_gap", "elapsed", "rate")
STEP = log(1.05)
LEAST = 1e-4


class Ended(Protocol):
    """A row of `generations` that has its verdict."""

    model: str
    mode: str
    step: str
    started: float
    outcome: str
    broken_limit: str
    waited: float | None
    tokens: int
    counted_answer: int | None
    first_token: float | None
    longest_gap: float | None
    elapsed: float | None


class Quantiles(NamedTuple):
    """Half of all took less than `p50`. About 5 % exact."""

    p50: float
    p95: float
    p99: float
    samples: int


@dataclass(slots=True)
class Tally:
    """What some generations come to."""

    outcomes: Counter[str] = field(default_factory=Counter)
    limits: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    elapsed: float = 0.0
    would_have_died: int = 0
    hangs: int = 0
    hang_seconds: float = 0.0
    usual: float = A_USUAL_TIMEOUT
    histograms: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in MEASURES})

    def add(self, row: Ended) -> None:
        elapsed = row.elapsed or 0.0
        finished = row.outcome == FINISHED
        self.outcomes[row.outcome] += 1
        self.tokens += _tokens(row)
        self.elapsed += elapsed
        self.would_have_died += finished and elapsed > self.usual
        if row.outcome == TIMEOUT:
            self.limits[row.broken_limit] += 1
            if row.broken_limit in SILENCES:
                self.hangs += 1
                self.hang_seconds += row.waited or 0.0
        for name, value in _measured(row, finished):
            self.histograms[name][bucket(value)] += 1

    def merge(self, sums: Any) -> None:
        """A row of `hours` or `days`."""
        self.outcomes.update(json.loads(sums.outcomes))
        self.limits.update(json.loads(sums.limits))
        self.tokens += sums.tokens
        self.elapsed += sums.elapsed
        self.would_have_died += sums.would_have_died
        self.hangs += sums.hangs
        self.hang_seconds += sums.hang_seconds
        for name, counts in json.loads(sums.histograms).items():
            own = self.histograms[name]
            for each, count in counts.items():
                own[each] += count

    def sums(self) -> dict[str, Any]:
        """As it is kept in `hours` and `days`."""
        histograms = {name: counts for name, counts in self.histograms.items() if counts}
        return {
            "outcomes": _json(self.outcomes),
            "limits": _json(self.limits),
            "tokens": self.tokens,
            "elapsed": self.elapsed,
            "would_have_died": self.would_have_died,
            "hangs": self.hangs,
            "hang_seconds": self.hang_seconds,
            "histograms": _json(histograms),
        }

    @property
    def count(self) -> int:
        return self.outcomes.total()

    def quantiles(self, measure: str) -> Quantiles | None:
        counts = sorted((int(each), count) for each, count in self.histograms[measure].items())
        total = sum(count for _, count in counts)
        if not total:
            return None
        half, most, nearly_all = (_at(counts, ceil(share * total)) for share in (0.5, 0.95, 0.99))
        return Quantiles(half, most, nearly_all, total)


def bucket(value: float) -> str:
    """Each is 5 % wider than the one before. Text, because JSON's keys are."""
    return str(round(log(max(value, LEAST)) / STEP))


def tallied(rows: Iterable[Ended], key: Callable[[Any], Any]) -> dict[Any, Tally]:
    tallies: defaultdict[Any, Tally] = defaultdict(Tally)
    for row in rows:
        tallies[key(row)].add(row)
    return tallies


def _measured(row: Ended, finished: bool) -> Iterable[tuple[str, float]]:
    """How long a killed call took says how long its limit is; what came before it was killed counts."""
    if row.first_token is not None:
        yield "first_token", row.first_token
    if row.longest_gap is not None:
        yield "longest_gap", row.longest_gap
    if finished and row.elapsed is not None:
        yield "elapsed", row.elapsed
        if found := rate(row):
            yield "rate", found


def rate(row: Ended | Row) -> float | None:
    """Tokens per second since the first one; None where that cannot be said."""
    tokens, writing = _tokens(row), (row.elapsed or 0.0) - (row.first_token or 0.0)
    return tokens / writing if tokens > 1 and writing > 0 else None


def _tokens(row: Ended | Row) -> int:
    return row.tokens if row.counted_answer is None else row.counted_answer


def _at(counts: list[tuple[int, int]], rank: int) -> float:
    seen = 0
    for each, count in counts:
        seen += count
        if seen >= rank:
            return float(1.05**each)
    return 0.0


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
