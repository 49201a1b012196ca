"""A worker: a process that does the runs of a queue, as one of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hangtight.flows.durable.liveness import BEAT, LOST
from hangtight.flows.durable.store import Durable
from hangtight.flows.port import AT_ONCE

if TYPE_CHECKING:
    from hangtight.flows.port import Body


async def work(url: str, body: Body, *, beat: float = BEAT, lost: float = LOST, at_once: int | None = AT_ONCE) -> None:
    """Until it is cancelled. What it has not done by then, the others go on with."""
    await Durable(url, beat=beat, lost=lost, at_once=at_once).work(body)
