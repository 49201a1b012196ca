"""The pulse of a process that does runs: a look at what should stop waits for nothing else."""

from __future__ import annotations

import threading
from typing import Any, cast

from hangtight.flows.durable.liveness import Pulse

PATIENCE = 20.0


class OfTwo:
    """Leases of us and of somebody who never beats."""

    me = "me"

    def renew(self) -> None:
        """Nobody looks."""

    def beats(self) -> dict[str, int]:
        return {"me": 1, "dead": 1}


def test_who_is_buried_for_long_holds_up_no_look_at_what_should_stop() -> None:
    looks, burying, over = threading.Semaphore(0), threading.Event(), threading.Event()

    def bury(worker: str) -> None:
        assert worker == "dead"
        burying.set()
        over.wait(PATIENCE)

    leases = cast(Any, OfTwo())
    pulse = Pulse(leases, looks.release, lambda: None, bury, beat=0.1, lost=0.6)
    try:
        assert burying.wait(PATIENCE)
        while looks.acquire(blocking=False):
            pass
        assert looks.acquire(timeout=PATIENCE)
        assert looks.acquire(timeout=PATIENCE)
        assert not over.is_set()
    finally:
        over.set()
        pulse.close()
