"""How `hangtight log` tells what the journal knows: a table of generations, or the time line of one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hangtight.cli.gateways import kept_by_a_gateway
from hangtight.cli.journals import (
    asking,
    began,
    how_to_keep_one,
    iso,
    journal_at,
    midnight,
    opened,
    plain_text,
    quiet_logs,
    since,
)
from hangtight.cli.printing import (
    DIM,
    GREEN,
    RED,
    YELLOW,
    Cell,
    Column,
    has_colours,
    has_plots,
    line_of,
    put_json,
    put_lines,
    room_for_table,
    table,
    width,
)
from hangtight.cli.process import FAILED, OK, say
from hangtight.cli.settings import USAGE, fail
from hangtight.cli.timelines import told_about
from hangtight.core.phases import Outcome
from hangtight.core.time import spoken
from hangtight.drivers.record import SHORT
from hangtight.journal.address import shown_address, standing_at

if TYPE_CHECKING:
    from hangtight.journal.reading import Reading, Row, Told

RUNNING = "running or lost"
LONG = 100.0
NEVER_SHOWN = ("reason",)
"""Words of a server, which may quote the model."""
COLOURS = {
    Outcome.FINISHED.value: GREEN,
    Outcome.UNFINISHED.value: YELLOW,
    Outcome.LEFT.value: DIM,
    Outcome.CANCELLED.value: DIM,
    RUNNING: DIM,
}
COLUMNS = (
    Column("began", drops=3),
    Column("id"),
    Column("model", least=6),
    Column("mode/run/step", least=3, drops=5),
    Column("outcome", least=19),
    Column("tokens", right=True, drops=2),
    Column("first", right=True, drops=4),
    Column("took", right=True, drops=1),
)


class Filter(NamedTuple):
    """Which generations are wanted."""

    since: str | None
    run: str | None
    model: str | None
    limit: int


def log_command(wanted: str | None, which: Filter, journal: str | None, config: str | None, *, as_json: bool) -> int:
    """Tell, and return the exit code."""
    quiet_logs()
    begin = since(which.since)
    url = journal_at(journal, config)
    with asking():
        reading = None if url is None else opened(url)
        if wanted is not None:
            return _one(reading, wanted, url, as_json=as_json)
        rows: list[Row] = []
        if reading is not None:
            rows = reading.calls(begin, plain_text(which.run), plain_text(which.model), which.limit)
        if not rows:
            is_empty = reading is None or not reading.calls(limit=1)
            say(f"hangtight: {how_to_keep_one(url) if is_empty else 'nothing in the journal is like that'}\n")
    if as_json:
        put_json([row_object(row) for row in rows])
    elif rows:
        put_lines(as_table(rows, room=room_for_table(), colours=has_colours()))
    return OK


def _one(reading: Reading | None, wanted: str, url: str | None, *, as_json: bool) -> int:
    from hangtight.journal.reading import Ambiguous

    if reading is None:
        fail(f"nothing is known of {line_of(wanted)}: {how_to_keep_one(url)}{_elsewhere(wanted, url)}", FAILED)
    try:
        told = reading.find(wanted)
    except Ambiguous as several:
        alike = [found.row for found in map(reading.find, several.ids) if found is not None]
        lines = as_table(alike, room=room_for_table(), colours=False, whole_ids=True)
        fail("\n".join([f"{line_of(wanted)} may be any of these; more of the id says which", *lines]), USAGE)
    if told is None:
        fail(f"nothing is known of {line_of(wanted)}: hangtight log lists what is{_elsewhere(wanted, url)}", FAILED)
    if as_json:
        put_json(told_object(told))
    else:
        others = as_table(told.others, room=room_for_table() - 2, colours=has_colours()) if told.others else []
        room = width() if has_plots() else None
        put_lines([*told_about(told, has_colours(), room), *_attempts(others)])
    return OK


def _elsewhere(wanted: str, url: str | None) -> str:
    """One more line, where a gateway runs here that keeps another journal."""
    there = kept_by_a_gateway()
    if not there or (url is not None and there == shown_address(standing_at(url))):
        return ""
    typed = f"hangtight log {shlex.quote(wanted)} --journal {shlex.quote(there)}"
    return f"\nthe gateway that runs here keeps another journal:  {line_of(typed)}"


def _attempts(lines: Sequence[str]) -> list[str]:
    return ["", "other attempts of the same call:", *(f"  {line}" for line in lines)] if lines else []


def as_table(rows: Sequence[Row], *, room: int, colours: bool, whole_ids: bool = False) -> list[str]:
    today = midnight()
    lines = [_line(row, today, None if whole_ids else SHORT) for row in rows]
    return table(COLUMNS, lines, room=room, colours=colours)


def _line(row: Row, today: float, short: int | None) -> list[Cell]:
    outcome = outcome_of(row)
    return [
        Cell(began(row.started, today)),
        Cell(row.id[:short]),
        Cell(row.model),
        Cell("/".join(filter(None, (row.mode, row.run, row.step))), DIM),
        Cell(outcome, COLOURS.get(outcome, RED)),
        Cell(str(count_of(row))),
        Cell(_length(row.first_token)),
        Cell(_length(row.elapsed)),
    ]


def _length(seconds: float | None) -> str:
    """Tenths where they say something."""
    if seconds is None:
        return ""
    return spoken(seconds) if seconds < LONG else f"{seconds:.0f}s"


def outcome_of(row: Row) -> str:
    """The verdict; after a timeout with the limit."""
    if row.outcome is None:
        return RUNNING
    return f"{row.outcome} {row.broken_limit}".rstrip()


def count_of(row: Row) -> int:
    return row.tokens if row.counted_answer is None else row.counted_answer


# -- for programs -----------------------------------------------------------------------------------------------------


def row_object(row: Row) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(row), "started": iso(row.started), "ended": iso(row.ended)}


def told_object(told: Told) -> dict[str, Any]:
    return {
        "generation": row_object(told.row),
        "decisions": [
            {
                "at": iso(told.row.started + each.after),
                "after": each.after,
                "kind": each.kind,
                "told": _without_words(each.told),
            }
            for each in told.decisions
        ],
        "attempts": [row_object(row) for row in told.others],
    }


def _without_words(told: Any) -> Any:
    return {key: value for key, value in told.items() if key not in NEVER_SHOWN} if isinstance(told, dict) else told
