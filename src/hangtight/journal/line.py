"""The line from those who record to the one who writes: what stands in it, and the marks that somebody waits for."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hangtight.core.pace import Observation
    from hangtight.journal.entries import Entry

MOST_WAITING = 50_000


class Learns(Protocol):
    """Whoever learns from what was recorded. Called in the writer's thread."""

    def fill(self, observations: Sequence[Observation]) -> None: ...

    def observe(self, observation: Observation) -> None: ...


class Flush:
    """A mark in the queue: all before it is committed, or given up, when `done` is set."""

    __slots__ = ("done", "kept")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.kept = False

    def settle(self, kept: bool) -> None:
        self.kept = kept
        self.done.set()


class Stop(Flush):
    """The same, and then the thread ends."""

    __slots__ = ()


class Line:
    """What the callers' side and the writer's share. A forked child gets a new one."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Entry | Flush] = SimpleQueue()
        self.hurry = threading.Event()
        """Set when somebody waits: the writer does not wait for more then."""
        self.at_work = threading.Lock()
        """Held by the writer while it talks to the database: nobody should fork meanwhile."""
        self.imported = threading.Event()
        """The writer has what it needs. In a child that is forked before, whoever imports the same waits for ever."""
        self.wants_history = threading.Event()
        """Set when somebody learns: what is in the database already is of use then."""
        self.opened = False
        """The database was open once."""
        self.trouble: str | None = None
        self.lost = 0

    @property
    def opening(self) -> bool:
        """Nothing is wrong, it only takes its time."""
        return self.trouble is None and not self.opened


def discard(line: Line) -> None:
    """There will never be a database here: whoever waits is told, and nothing piles up."""
    while True:
        item = line.queue.get()
        if not isinstance(item, Flush):
            line.lost += 1
            continue
        item.settle(kept=False)
        if isinstance(item, Stop):
            return


def discard_waiting(line: Line) -> None:
    while not line.queue.empty():
        item = line.queue.get()
        if isinstance(item, Flush):
            item.settle(kept=False)
        else:
            line.lost += 1


def needs(missing: ImportError) -> str:
    return f"the journal needs {missing.name or missing}: pip install 'hangtight[cli]'"
