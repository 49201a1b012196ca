"""Events of runs go into the journal, where one is kept. Nobody waits for that, and no run fails by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hangtight.drivers.standing import recorder
from hangtight.journal.entries import Happened

if TYPE_CHECKING:
    from hangtight.flows.events import Event


def keep(event: Event) -> None:
    """Put it down; whether that is written, and when, is the journal's business."""
    keeping = recorder()
    if keeping is not None:
        keeping.put(Happened(event.run, event.at, event.type.value, event.flow, event.step, event.payload, event.told))
