"""The last words of an error: what to type to see all that happened, or how to have it kept from now on."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hangtight.core.telling import WHY
from hangtight.drivers.standing import OFF, STANDING, recorder, settings

if TYPE_CHECKING:
    from hangtight.drivers.record import Record

NONE_KEPT = "no journal is kept"


def why(record: Record | None) -> str:
    """Of a generation: the command that shows it. Nothing where a journal is kept and has no place for this one."""
    return how_to_keep() if record is None else record.command


def why_of_run(run: str) -> str:
    """The same for all generations of a run."""
    keeping = recorder()
    return how_to_keep() if keeping is None else command_of(f"--run {run}", keeping.url)


def command_of(wanted: str, url: str) -> str:
    """What to type to see this of the journal at `url`, which is named where the command would look elsewhere."""
    if not STANDING.must_name(url):
        return f"hangtight log {wanted}"
    from hangtight.journal.address import shown_address, standing_at

    return f"hangtight log {wanted} --journal {shlex.quote(shown_address(standing_at(url)))}"


def how_to_keep() -> str:
    """The line that would have a journal kept; nothing where one is."""
    if recorder() is not None:
        return ""
    said = settings()
    if said.journal == OFF:
        return f"{NONE_KEPT}, journal = off comes from {said.places.get('journal', 'the settings')}"
    return f"{NONE_KEPT}; hangtight.configure() keeps one"


def with_why(line: str, told: str) -> str:
    """The line to change, and behind it where to see more."""
    return f"{line}{told and f'{WHY}{told}'}"
