"""The journal as the commands meet it: where it is, how it is left in peace, and times as people write them."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from hangtight.cli.process import FAILED, say
from hangtight.cli.settings import USAGE, fail, use
from hangtight.drivers import clock
from hangtight.drivers.standing import OFF, journal_of, recorder
from hangtight.errors import HangtightError
from hangtight.journal.address import shown_address

if TYPE_CHECKING:
    from hangtight.journal.reading import Reading

LAST_WORDS = 0.5
"""Seconds for which a command waits for the journal itself; the end of the process waits a little longer."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.ASCII | re.IGNORECASE)
UNKNOWN_TIME = "?"
YEAR = 365 * UNITS["d"]
HOW = (
    "to keep one:  hangtight run and hangtight ask do it by themselves; a program of yours does it after\n"
    "  hangtight.configure(), or with HANGTIGHT_JOURNAL=PATH (or postgresql://...) in its environment"
)


def leave_journal() -> None:
    """A generation is over. What it put down is written, if that is a matter of moments; trouble costs nobody time."""
    keeping = recorder()
    if keeping is None or (keeping.flush(LAST_WORDS) and keeping.trouble is None):
        return
    if keeping.trouble is None and keeping.leave(LAST_WORDS):
        return
    if "locked" in (keeping.trouble or ""):  # by those who write too, more often than not: that is soon over
        keeping.flush(LAST_WORDS)
    if keeping.close(LAST_WORDS) and keeping.trouble is None:  # a last try, and it took
        return
    if sys.stderr.isatty():
        trouble = keeping.trouble or "the journal was not ready in time: this one is not in it"
        say(f"hangtight: {' '.join(trouble.split())}\n")


def quiet_logs() -> None:
    """What the journal logs is for programs: nobody asked this command for lines in between."""
    logging.getLogger("hangtight").addHandler(logging.NullHandler())


def journal_at(given: str | None, config: str | None) -> str | None:
    """Where the journal is that is meant; None where none is kept."""
    if given is not None:
        if not given.strip():
            fail("--journal needs a path or a URL", USAGE)
        return None if given == OFF else given
    return journal_of(use(config, keeps=False), None, keeps=True)


@contextmanager
def asking() -> Iterator[None]:
    """A journal that cannot be read ends the command with one line."""
    try:
        yield
    except HangtightError as error:
        fail(" ".join(str(error).split()), FAILED)
    except (ValueError, TypeError, LookupError) as odd:  # an address or rows that nobody of ours wrote
        fail(f"the journal cannot be read: {type(odd).__name__}: {' '.join(str(odd).split())}", FAILED)


def opened(url: str) -> Reading | None:
    """The journal; None where there is none yet."""
    from hangtight.journal.reading import Reading

    reading = Reading(url)
    return reading if reading.exists else None


def how_to_keep_one(url: str | None) -> str:
    """What to say where there is no journal."""
    if url is None:
        return "no journal is kept: HANGTIGHT_JOURNAL or the settings say off\n" + HOW
    return f"there is no journal yet at {without_password(url)}\n{HOW}"


def without_password(url: str) -> str:
    return shown_address(url)


def since(text: str | None) -> float | None:
    """`1h`, `2d` or a date as seconds since the epoch. What cannot be meant ends the command."""
    if text is None:
        return None
    word = text.strip()
    if ago := AGO.fullmatch(word):
        return max(0.0, clock.wall() - float(ago[1]) * UNITS[ago[2].lower()])
    try:
        return max(0.0, datetime.fromisoformat(word).timestamp())
    except (ValueError, OverflowError, OSError):
        fail(f"--since {text!r} cannot be used: it must be like 90m, 1h, 2d or 2026-11-21T08:30", USAGE)


def local(at: float) -> datetime | None:
    """An instant of the wall clock here; None for what no calendar holds."""
    try:
        return datetime.fromtimestamp(at).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def iso(at: float | None) -> str | None:
    found = None if at is None else local(at)
    return None if found is None else found.isoformat(timespec="milliseconds")


def midnight() -> float:
    """When today began."""
    now = datetime.fromtimestamp(clock.wall()).astimezone()
    # Without its zone: in the night of a change the day began in another one.
    return now.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0).timestamp()


def began(at: float, today: float) -> str:
    """The time of day; for what was not today, its day; for what is a year old, its year."""
    found = local(at)
    if found is None:
        return UNKNOWN_TIME
    if at >= today:
        return found.strftime("%H:%M:%S")
    return found.strftime("%m-%d %H:%M" if today - at < YEAR else "%Y-%m-%d")


def plain_text(text: str | None) -> str | None:
    """Words of the command line that no database takes are made to match nothing."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")
