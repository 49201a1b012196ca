"""The time line of one generation, in words: what was armed, what rang, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hangtight.cli.journals import UNKNOWN_TIME, local
from hangtight.cli.printing import DIM, GREEN, PLAIN, RED, YELLOW, folded, line_of
from hangtight.cli.ribbon import ribbon
from hangtight.core.phases import Outcome
from hangtight.core.time import counted, spoken
from hangtight.journal.entries import Kind
from hangtight.journal.words import armed, in_words, verdict

if TYPE_CHECKING:
    from hangtight.journal.reading import Row, Told

TIME = 8  # cells
COLOURS: Mapping[str, str] = {
    Kind.RANG: RED,
    Kind.LOOPED: RED,
    Kind.SUSPECTED: YELLOW,
    Kind.SHORTENED: YELLOW,
    Kind.EXTENDED: GREEN,
    Kind.HEARTBEAT: DIM,
}


def told_about(told: Told, colours: bool, room: int | None = None) -> Iterator[str]:
    """A head, and one line for each decision. Where there is `room` for it, a ribbon of its phases stands between."""
    row = told.row
    for line in map(line_of, _head(row)):
        yield from [line] if room is None else folded(line, room)
    yield ""
    if room is not None and (shown := ribbon(told, room, colours=colours)):
        yield from [*shown, ""]
    yield from _line(0.0, f"armed: {armed(row.limits)}", "", colours, room)
    for each in told.decisions:
        yield from _line(each.after, in_words(each), COLOURS.get(each.kind, ""), colours, room)
    if row.outcome is None:
        yield "no end is known: it is running, or its process was killed"
    else:
        yield from _line(row.elapsed, verdict(row), "" if row.outcome == Outcome.FINISHED else RED, colours, room)


def _head(row: Row) -> Iterator[str]:
    began = local(row.started)
    time = UNKNOWN_TIME if began is None else began.isoformat(sep=" ", timespec="seconds")
    yield f"{row.id}  {row.model or 'the model'}{f' at {row.host}' if row.host else ''}  {time}"
    tokens = row.counted_prompt if row.counted_prompt is not None else row.prompt_tokens
    about = "" if row.counted_prompt is not None else "about "
    parts = [f"{name} {value}" for name, value in (("mode", row.mode), ("run", row.run), ("step", row.step)) if value]
    parts += [f"a prompt of {about}{counted(tokens)}"] if tokens else []
    parts += [f"{spoken(row.budget_left)} left of its budget"] if row.budget_left is not None else []
    if parts:
        yield ", ".join(parts)


def _line(after: float | None, text: str, colour: str, colours: bool, room: int | None) -> Iterator[str]:
    time = UNKNOWN_TIME if after is None else f"+{after:.1f}s"
    before, whole = f"{time:<{TIME}} ", line_of(text)
    for line in [whole] if room is None else folded(whole, room - len(before)):
        yield before + (f"{colour}{line}{PLAIN}" if colours and colour else line)
        before = " " * len(before)
