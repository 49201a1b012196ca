"""What wakes a thread of ours from its sleep.

No queue: one that waits with a limit waits for ever, where a signal comes to its thread just as the time is over.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

LONGEST: Final = 3600.0  # no system sleeps for ever


class Bell:
    """Heard by one thread. Taken by nobody else, so it may be rung anywhere, in the handler of a signal, too."""

    def __init__(self) -> None:
        self._held = threading.Lock()

    def ring(self) -> None:
        with suppress(RuntimeError):  # it has been rung already
            self._held.release()

    def heard_within(self, seconds: float) -> bool:
        """Sleep so long, or until it rings."""
        return seconds > 0 and self._held.acquire(timeout=min(seconds, LONGEST))
