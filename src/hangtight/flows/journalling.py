"""Events of runs go into the journal, where one is kept. Nobody waits for that, and no run fails by it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hangtight.drivers.standing import recorder
from hangtight.errors import BudgetSpent
from hangtight.journal.entries import Happened

if TYPE_CHECKING:
    from hangtight.flows.events import Event

KIND: Final = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(?:Error|Exception|Timeout|Spent|Looping|Exit)\b|(?:cancelled|interrupted)\b"
)
EXIT: Final = re.compile(r"\bexit code \d+\b")
TOOK: Final = re.compile(r"after \d[\d.]*\s?(?:s|min|h|ms)\b")


def keep(event: Event) -> None:
    """Put it down; whether that is written, and when, is the journal's business."""
    keeping = recorder()
    if keeping is not None:
        told, payload = event.told, event.payload
        if "error" in told and not told.get("limit"):
            payload = without_text(str(told["error"]))
            told = {**told, "error": payload}
        keeping.put(Happened(event.run, event.at, event.type.value, event.flow, event.step, payload, told))


def without_text(error: str) -> str:
    """What kind of an error it was, and when: its words may be those of a model, or hold a key.

    The words stand beside the output of the step, in a file that ends in `.error`.
    """
    first = error.partition("\n")[0]
    if first.startswith(BudgetSpent.TEXT):
        return first  # our own words
    kind, took = KIND.match(first) or EXIT.search(first), TOOK.search(first)
    return " ".join(found[0] for found in (kind, took) if found) or "failed"
