"""Lines for stdout from a loop that must not wait: a pipe that nobody reads holds up a thread, and nobody else."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress

MOST = 1024 * 1024
"""Bytes that wait for a slow reader. What comes then is lost: it stands in the log all the same."""
LAST_WAIT = 1.0  # seconds for what waits at the end


class Writer:
    """One thread, started with the first line."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting = bytearray()
        self._over = False
        self._thread: threading.Thread | None = None

    def write(self, data: bytes) -> None:
        with self._changed:
            if self._over or len(self._waiting) + len(data) > MOST:
                return
            self._waiting += data
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="hangtight-stdout", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """What waits is written, if anybody takes it."""
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(LAST_WAIT)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._over)
                data, self._waiting = self._waiting, bytearray()
                if not data:
                    return
            with suppress(OSError, ValueError):  # a stdout that is gone is no reason to end
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
