"""How late the machine itself is while a test measures: others may want it, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

TICK = 0.005


class Lateness:
    """By how much bare sleeps of a bare thread were late by now."""

    def __init__(self) -> None:
        self.seconds = TICK
        """The most of one of them; never nothing."""
        self.whole = 0.0
        """All of them together: so long whoever wanted to work here had to wait."""


@contextmanager
def lateness() -> Iterator[Lateness]:
    """Measured as long as the block runs."""
    found, over = Lateness(), threading.Event()

    def ticking() -> None:
        while not over.is_set():
            before = time.monotonic()
            time.sleep(TICK)
            late = time.monotonic() - before - TICK
            found.seconds, found.whole = max(found.seconds, late), found.whole + late

    thread = threading.Thread(target=ticking, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
