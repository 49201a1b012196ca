"""Results of steps are written by one thread, those that wait together in one transaction; while the database is away
they wait, and the steps that run go on."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from hangtight.flows.durable.databases import is_away
from hangtight.flows.durable.leases import Taken

if TYPE_CHECKING:
    from hangtight.flows.durable.leases import Leases, Result

AGAIN: Final = (0.05, 0.1, 0.2, 0.5)
"""Seconds between two attempts; the last one from then on."""
TOGETHER: Final = 500
THREAD: Final = "hangtight-recording"


class Recording:
    """`put` a result; its future ends when it is in the database, or refused with Taken."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._waiting: SimpleQueue[tuple[Result, Future[None]] | None] = SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._live, name=THREAD, daemon=True)
        self._thread.start()

    def put(self, result: Result) -> Future[None]:
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # the step may be cancelled, but what it has put out is written
        self._waiting.put((result, future))
        return future

    def close(self) -> None:
        """What waits is written, if the database can be reached at once."""
        self._closing.set()
        self._waiting.put(None)
        self._thread.join()

    def _live(self) -> None:
        over = False
        while not over:
            batch = [self._waiting.get()]
            while not self._waiting.empty() and len(batch) < TOGETHER:
                batch.append(self._waiting.get())
            over = None in batch
            self._write([each for each in batch if each is not None])

    def _write(self, batch: list[tuple[Result, Future[None]]]) -> None:
        attempt = 0
        while batch:
            try:
                counts = self._leases.record([result for result, _ in batch])
            except Exception as problem:  # noqa: BLE001 - every waiting step gets it
                if not is_away(problem) or self._closing.is_set():
                    for _, future in batch:
                        future.set_exception(problem)
                    return
                self._closing.wait(AGAIN[min(attempt, len(AGAIN) - 1)])
                attempt += 1
                continue
            for (result, future), mine in zip(batch, counts, strict=True):
                if mine:
                    future.set_result(None)
                else:
                    refused = f"run {result.run} was taken by another worker: what {result.step} put out is refused"
                    future.set_exception(Taken(refused))
            return
