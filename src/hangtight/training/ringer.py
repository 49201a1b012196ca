"""The thread that rings: it sleeps to the nearest instant of all blocks, and calls those whose time is over.

It takes no lock that a guarded thread takes, too: an exception from outside that lands between a lock and its `try`
leaves it locked. What must not be torn is one step of the interpreter each, under its lock; nothing is claimed for
builds without that lock, nor for subinterpreters.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from hangtight.core.time import NEVER, Instant
from hangtight.drivers import clock
from hangtight.training.bell import Bell
from hangtight.training.ringing import AGAIN, INNERMOST

if TYPE_CHECKING:
    from hangtight.training.raising import Raised

LOG = logging.getLogger("hangtight.training")
RINGER = "hangtight-ringer"


class Ringer:
    def __init__(self) -> None:
        self.blocks: set[Raised] = set()
        """Those that may be rung."""
        self._begin()

    def _begin(self) -> None:
        self._bell = Bell()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._next = NEVER

    def in_a_child(self) -> None:
        """A process that was forked has neither our thread nor those that it guards: nothing in it is guarded."""
        for block in self.blocks:
            block.left = True
        self.blocks.clear()
        INNERMOST.clear()
        self._begin()

    def add(self, block: Raised) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name=RINGER, daemon=True)
                    thread.start()
                    self._thread = thread
        self.blocks.add(block)
        if block.due < self._next:
            self.hurry()

    def remove(self, block: Raised) -> None:
        self.blocks.discard(block)

    def hurry(self) -> None:
        """Some instant has moved. May be said inside the handler of a signal."""
        self._bell.ring()

    def _run(self) -> None:
        while True:
            self._next = NEVER  # until it is known again, whoever comes wakes us
            self._next = min((block.called_at for block in tuple(self.blocks)), default=NEVER)
            if self._bell.heard_within(self._next - clock.now()):
                continue
            now = clock.now()
            due = [block for block in tuple(self.blocks) if block.called_at <= now]
            for block in sorted(due, key=lambda block: block.depth):
                self._call(block, now)

    def _call(self, block: Raised, now: Instant) -> None:
        try:
            block.call(now)
        except Exception:
            block.due = Instant(now + AGAIN)
            LOG.exception("a guarded block cannot be rung just now")


RINGERS = Ringer()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RINGERS.in_a_child)
