"""How `hangtight stats` sums up the journal: the receipt, then pace and timeouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from hangtight.cli.journals import (
    UNKNOWN_TIME,
    asking,
    how_to_keep_one,
    iso,
    journal_at,
    local,
    midnight,
    opened,
    quiet_logs,
    since,
)
from hangtight.cli.printing import (
    DIM,
    RED,
    Cell,
    Column,
    folded,
    has_colours,
    has_plots,
    put_json,
    put_lines,
    room_for_table,
    table,
)
from hangtight.cli.process import OK, say
from hangtight.cli.stats_plots import LATEST, UNNAMED, ended_by, plots
from hangtight.cli.stepsums import flow_objects, flow_table
from hangtight.core.time import SHORT
from hangtight.core.words import FINE
from hangtight.journal.words import receipt_line

if TYPE_CHECKING:
    from hangtight.journal.reading import By, Receipt, Stat
    from hangtight.journal.run_sums import FlowStat
    from hangtight.journal.tally import Quantiles

ALL = "all"
STEP = "step"


def stats_command(text: str | None, by: str | None, journal: str | None, config: str | None, *, as_json: bool) -> int:
    """Sum up, and return the exit code."""
    quiet_logs()
    begin = since(text)
    url = journal_at(journal, config)
    stats: list[Stat] = []
    flows: list[FlowStat] = []
    receipt: Receipt | None = None
    with asking():
        reading = None if url is None else opened(url)
        if reading is not None:
            stats = reading.stats(begin, cast("By | None", by))
            receipt = reading.receipt(midnight() if begin is None else begin)
            flows = reading.flow_stats(begin) if by == STEP else []
            if not stats and not flows and not reading.calls(limit=1):
                reading = None
        if reading is None:
            say(f"hangtight: {how_to_keep_one(url)}\n")
    if as_json:
        told = {"flows": flow_objects(flows)} if by == STEP else {}
        put_json({**as_object(stats, receipt, begin, by), **told})
    elif receipt is not None and reading is not None:
        head, room, colours = receipt_line(receipt, _period(begin)), room_for_table(), has_colours()
        lines = as_table(stats, by, room=room, colours=colours) if stats else []
        of_flows = flow_table(flows, span, room=room, colours=colours)
        if not has_plots():
            put_lines([head, *_titled(lines, begin), *of_flows])
        else:
            with asking():
                shown = plots(stats, receipt, reading.calls(begin, limit=LATEST), by, room=room, colours=colours)
            put_lines([*folded(head, room), *_titled(lines, begin), *of_flows, *shown])
    return OK


def _titled(lines: list[str], begin: float | None) -> list[str]:
    return ["", *(["All that the journal has:"] if begin is None else []), *lines] if lines else []


def _period(begin: float | None) -> str:
    if begin is None:
        return "Today"
    found = local(begin)
    return f"Since {UNKNOWN_TIME if found is None else found.strftime('%Y-%m-%d %H:%M')}"


def as_table(stats: Sequence[Stat], by: str | None, *, room: int, colours: bool) -> list[str]:
    """One line for each key; what timed out stands below it."""
    columns = (
        Column(by or "", least=6),
        Column("calls", right=True),
        Column("first token", right=True, drops=3),
        Column("gap", right=True, drops=4),
        Column("elapsed", right=True, drops=1),
        Column("tokens/s", right=True, drops=2),
    )
    spans = "p50/p95/p99"
    units = [Cell(text, DIM) for text in ("", "", spans, spans, spans, spans)]
    rows = [units, *([Cell(_key(stat, by)), Cell(f"{stat.count:,}"), *_measures(stat)] for stat in stats)]
    head, under, *lines = table(columns, rows, room=room, colours=colours)
    told = [head, under]
    for stat, line in zip(stats, lines, strict=True):
        told.append(line)
        if ended := ended_by(stat):
            told += [_coloured(f"  {each}", colours) for each in folded(_timeouts(ended), max(room - 2, 1), 2)]
    return told


def _key(stat: Stat, by: str | None) -> str:
    return ALL if by is None else stat.key or UNNAMED[by]


def _measures(stat: Stat) -> list[Cell]:
    return [
        Cell(span(measure)) for measure in (stat.first_token, stat.longest_gap, stat.elapsed, stat.tokens_per_second)
    ]


def span(found: Quantiles | None) -> str:
    """`0.4/1.2/12`; a dash where nothing was measured."""
    return "-" if found is None else "/".join(map(_short, (found.p50, found.p95, found.p99)))


def _short(value: float) -> str:
    return f"{value:.2f}" if value < SHORT else f"{value:.1f}" if value < FINE else f"{value:.0f}"


def _timeouts(timeouts: Mapping[str, int]) -> str:
    told = sorted(timeouts.items(), key=lambda item: (-item[1], item[0]))
    return f"timeouts: {', '.join(f'{count:,} {limit}' for limit, count in told)}"


def _coloured(text: str, colours: bool) -> str:
    return f"{RED}{text}\x1b[0m" if colours else text


def as_object(stats: Sequence[Stat], receipt: Receipt | None, begin: float | None, by: str | None) -> dict[str, Any]:
    return {
        "since": iso(begin),
        "by": by,
        "receipt": None
        if receipt is None
        else {"since": iso(midnight() if begin is None else begin), **asdict(receipt)},
        "stats": [
            {name: value._asdict() if hasattr(value, "_asdict") else value for name, value in _members(stat).items()}
            for stat in stats
        ],
    }


def _members(stat: Stat) -> dict[str, Any]:
    from dataclasses import fields

    return {field.name: getattr(stat, field.name) for field in fields(stat)}
