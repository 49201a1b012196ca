"""The journal as `hangtight stats --json` sums it up, for those who ask over HTTP. Blocks: it is called in a thread."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from datetime import datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, cast

from hangtight.drivers import clock

if TYPE_CHECKING:
    from hangtight.journal.reading import By, Stat

BY: Final = ("model", "mode", "step")
UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
AGO: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])", re.IGNORECASE)


def stats_of(url: str | None, since: str | None, by: str | None) -> dict[str, Any]:
    """Raises ValueError for a question that cannot be meant, HangtightError for a journal that cannot be read."""
    if by is not None and by not in BY:
        raise ValueError(f"by={by!r} cannot be used: it must be one of {', '.join(BY)}")
    begin = None if since is None else _instant(since)
    told: dict[str, Any] = {"since": None if begin is None else local(begin), "by": by, "receipt": None, "stats": []}
    if url is None:
        return told
    from hangtight.journal.reading import Reading

    reading = Reading(url)
    if not reading.exists:
        return told
    today = midnight() if begin is None else begin
    receipt = {"since": local(today), **asdict(reading.receipt(today))}
    stats = reading.stats(begin, cast("By | None", by))
    return {**told, "receipt": receipt, "stats": [_members(stat) for stat in stats]}


def _members(stat: Stat) -> dict[str, Any]:
    found = {field.name: getattr(stat, field.name) for field in fields(stat)}
    return {name: value._asdict() if hasattr(value, "_asdict") else value for name, value in found.items()}


def _instant(text: str) -> float:
    """`1h`, `2d` or a date, as seconds since the epoch."""
    word = text.strip()
    try:
        if ago := AGO.fullmatch(word):
            at = max(0.0, clock.wall() - float(ago[1]) * UNITS[ago[2].lower()])
        else:
            at = max(0.0, datetime.fromisoformat(word).timestamp())
        if isfinite(at):
            return at
    except (ValueError, OverflowError, OSError):
        pass
    raise ValueError(f"since={text!r} cannot be used: it must be like 90m, 1h, 2d or 2026-11-21T08:30")


def midnight() -> float:
    now = datetime.fromtimestamp(clock.wall()).astimezone()
    # Without its zone: in the night of a change the day began in another one.
    return now.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0).timestamp()


def local(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")
