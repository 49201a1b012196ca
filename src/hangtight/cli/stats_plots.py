"""The small plots below the table of `hangtight stats`: what was saved, how fast the last ones were, what rang."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hangtight.cli.plots import amount, share, spark
from hangtight.cli.printing import CYAN, GREEN, RED, Cell, Column, folded, table
from hangtight.core.phases import Outcome
from hangtight.core.words import USUAL_TIMEOUT
from hangtight.journal.tally import rate

if TYPE_CHECKING:
    from hangtight.journal.reading import Receipt, Row, Stat

UNNAMED = {"model": "no name", "mode": "no mode", "step": "no step"}
ALL = "all"
LATEST = 1000
"""Generations that are read for the sparklines: single rows, where the table has sums."""
WIDEST, NARROWEST = 40, 8  # cells of a plot
OF_WORDS = 34  # cells that stay for what stands beside it


def ended_by(stat: Stat) -> Mapping[str, int]:
    """What we have ended, by the limit that was broken; a loop breaks none and is ended all the same."""
    loops = stat.outcomes.get(Outcome.LOOPING, 0)
    return {**stat.timeouts, Outcome.LOOPING.value: loops} if loops else stat.timeouts


def plots(
    stats: Sequence[Stat], receipt: Receipt, rows: Iterable[Row], by: str | None, *, room: int, colours: bool
) -> list[str]:
    """Each with a title; what there is nothing to show of is left out."""
    cells = max(NARROWEST, min(WIDEST, room - OF_WORDS))
    found: list[str] = []
    for title, columns, lines in (
        (f"Answers that a {USUAL_TIMEOUT:.0f} s timeout would have killed:", SAVED, _saved(receipt, cells)),
        ("Tokens per second, the latest answers, the newest on the right:", PACE, _pace(rows, by, cells)),
        ("What was ended, by what rang:", RANG, _rang(stats, cells)),
    ):
        if lines:
            # The first line of a table are its titles, and these have none.
            found += ["", *folded(title, room), *table(columns, lines, room=room, colours=colours)[1:]]
    return found


SAVED = (Column(""), Column("", least=6))
PACE = (Column("", least=6), Column("", least=NARROWEST), Column("", least=6))
RANG = (Column("", least=6), Column("", right=True), Column(""))


def _saved(receipt: Receipt, cells: int) -> list[list[Cell]]:
    if not receipt.answers:
        return []
    died = receipt.would_have_died
    return [
        [
            Cell(share(died, receipt.answers, cells), GREEN),
            Cell(f"{died:,} of {receipt.answers:,}, {_percent(died / receipt.answers)}"),
        ]
    ]


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def _pace(rows: Iterable[Row], by: str | None, cells: int) -> list[list[Cell]]:
    """The most frequent first, as in the table."""
    paces: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.outcome == Outcome.FINISHED and (found := rate(row)):
            paces[_key(row, by)].insert(0, found)
    return [
        [Cell(key), Cell(spark(found, cells), CYAN), Cell(_span(found[-cells:]))]
        for key, found in sorted(paces.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _key(row: Row, by: str | None) -> str:
    return ALL if by is None else getattr(row, by) or UNNAMED[by]


def _span(found: Sequence[float]) -> str:
    """Of those that are shown."""
    low, high = f"{min(found):.1f}", f"{max(found):.1f}"
    return low if low == high else f"{low} to {high}"


def _rang(stats: Sequence[Stat], cells: int) -> list[list[Cell]]:
    counts: Counter[str] = Counter()
    for stat in stats:
        counts.update(ended_by(stat))
    most = max(counts.values(), default=0)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [[Cell(limit), Cell(f"{count:,}"), Cell(amount(count, most, cells), RED)] for limit, count in ordered]
