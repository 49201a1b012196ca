"""The recorder: where a generation puts down what happened to it, and goes on at once.

Only the standard library is loaded here. The database is the business of a thread of its own, which starts at the
first entry and sleeps while there is none. Nothing that goes wrong there reaches a caller.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from queue import Empty
from typing import TYPE_CHECKING

from hangtight.journal.line import MOST_WAITING, Flush, Learns, Line, Stop, discard, discard_waiting, needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.journal.entries import Entry
    from hangtight.journal.writing import Writer

KEEP = 30 * 86_400.0
AT_EXIT = 2.0
"""How long the end of the process may wait for the database, in seconds."""
AT_EXIT_WHILE_OPENING = 10.0
"""The same while it is not open yet and nothing is wrong: where many processes begin at once, the imports alone take
seconds, and a command that is over at once would never leave a row."""
LOOK = 0.1  # how often it is looked whether that is still so
BEFORE_A_FORK = 1.0
"""How long a fork may wait until the writer's hands are off the database and its locks."""
BEFORE_A_FORK_AT_FIRST = 30.0
"""The same for its imports, which end in any case."""


class Recorder:
    """Records generations in the database at `url`: a path, `sqlite:///path` or `postgresql://...`.

    `keep` is for how many seconds single generations are kept; None is for ever. What is put down stays in memory
    while the database cannot be written, up to a number; then the oldest is dropped and counted in `lost`. Without
    `history`, `paces` are told nothing until `want_history()`.
    """

    def __init__(
        self,
        url: str,
        *,
        wall: Callable[[], float],
        keep: float | None = KEEP,
        paces: Learns | None = None,
        history: bool = True,
    ) -> None:
        self.url = url
        self.keep = keep
        """May be changed at any time."""
        self._wall, self._paces, self._history = wall, paces, history
        self._starting = threading.Lock()
        self._closed = self._started = False
        self._afresh()
        _RECORDERS.add(self)

    def put(self, entry: Entry) -> None:
        """Never raises, never blocks."""
        self._add(entry)
        if not self._started:
            self._start()
        elif self._waiting() > MOST_WAITING:
            self._shed()

    @staticmethod
    def new_id() -> str:
        """Twelve hexadecimal characters that no other generation has: nothing is shared, so a fork does no harm."""
        return os.urandom(6).hex()

    @property
    def trouble(self) -> str | None:
        """What is wrong with the database, in a sentence; None where nothing is known to be wrong."""
        return self._line.trouble

    @property
    def lost(self) -> int:
        """How many entries were dropped."""
        return self._line.lost

    def start(self) -> None:
        """Open the database now and not at the first entry, so that what was learned is there for the first call."""
        self._add(Flush())
        self._start()

    def want_history(self) -> None:
        """Somebody learns: tell `paces` what the database has, and from then on what is put. Cheap when repeated."""
        if not self._history:
            self._history = True
            self._line.wants_history.set()
            self.start()

    def flush(self, limit: float) -> bool:
        """Wait until all that was put is committed, for at most `limit` seconds. False where it is not."""
        if not self._started and self._line.queue.empty():
            return True
        mark = Flush()
        self._add(mark)
        self._start()
        self._line.hurry.set()
        return mark.done.wait(limit) and mark.kept

    def close(self, limit: float = AT_EXIT) -> bool:
        """The same, and nothing is recorded from now on."""
        if self._closed or not self._started:
            self._closed = True
            return True
        self._closed = True
        mark = Stop()
        self._add(mark)
        self._line.hurry.set()
        return mark.done.wait(limit) and mark.kept

    def leave(self, limit: float = AT_EXIT) -> bool:
        """Close at the end of the process: longer than `limit` only while the database is being opened."""
        if self._closed or not self._started:
            return self.close(limit)
        return self._leave(self._marked(), limit, AT_EXIT_WHILE_OPENING)

    def _marked(self) -> Flush:
        mark = Flush()
        self._add(mark)
        self._line.hurry.set()
        return mark

    def _leave(self, mark: Flush, limit: float, while_opening: float) -> bool:
        """SQLite's side files go when it is closed."""
        waited = 0.0
        while waited < while_opening and self._line.opening and not mark.done.wait(LOOK):
            waited += LOOK
        left = limit if self.trouble is None else max(0.0, limit - waited)
        return mark.done.wait(left) and mark.kept and self.close(limit)

    def _start(self) -> None:
        """Whoever finds the lock taken leaves: another thread, or this one a signal earlier, is starting it."""
        if self._closed:
            discard_waiting(self._line)
            return
        if self._started or not self._starting.acquire(blocking=False):
            return
        try:
            if not self._started:
                thread = threading.Thread(target=self._write, args=(self._line,), name="hangtight-journal", daemon=True)
                thread.start()
                self._started = True
        except RuntimeError as refused:  # no thread can be started when the interpreter ends
            self._line.trouble = f"the journal has no thread: {refused}"
        finally:
            self._starting.release()

    def _shed(self) -> None:
        """The writer hangs with its database; what waits for it stays within bounds."""
        line = self._line
        try:
            item = line.queue.get_nowait()
        except Empty:
            return
        if isinstance(item, Stop):
            line.queue.put(item)
        elif isinstance(item, Flush):
            item.settle(kept=False)
        else:
            line.lost += 1

    def _write(self, line: Line) -> None:
        writer = self._writer(line)
        if writer is None:
            discard(line)
        else:
            writer.run()

    def _writer(self, line: Line) -> Writer | None:
        try:
            from hangtight.journal.writing import Writer

            return Writer(self.url, line, self._wall, lambda: self.keep, self._paces)
        except ImportError as missing:
            line.trouble = needs(missing)
            return None
        finally:
            line.imported.set()

    def _afresh(self) -> None:
        """Also after a fork: the parent's thread, connection and waiting entries are the parent's."""
        self._line = Line()
        if self._history:
            self._line.wants_history.set()
        self._add = self._line.queue.put
        self._waiting = self._line.queue.qsize
        self._started = False
        self._starting = threading.Lock()


_RECORDERS: weakref.WeakSet[Recorder] = weakref.WeakSet()
_HELD = threading.local()


def _before_a_fork() -> None:
    lines = [recorder._line for recorder in list(_RECORDERS) if recorder._started]
    for line in lines:
        line.imported.wait(BEFORE_A_FORK_AT_FIRST)
    _HELD.lines = [line for line in lines if line.at_work.acquire(timeout=BEFORE_A_FORK)]


def _in_the_parent() -> None:
    for line in _HELD.lines:
        line.at_work.release()
    _HELD.lines = []


def _in_the_child() -> None:
    _HELD.lines = []
    for recorder in list(_RECORDERS):
        recorder._afresh()


def _at_exit() -> None:
    """All get their marks first, so that they are waited for together."""
    running = [recorder for recorder in list(_RECORDERS) if recorder._started and not recorder._closed]
    marks = [(recorder, recorder._marked()) for recorder in running]
    share = 1 / max(1, len(marks))
    for recorder, mark in marks:
        recorder._leave(mark, AT_EXIT * share, AT_EXIT_WHILE_OPENING * share)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_a_fork, after_in_parent=_in_the_parent, after_in_child=_in_the_child)
atexit.register(_at_exit)
