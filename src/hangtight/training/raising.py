"""Asynchronous exceptions: what rings for blocks in other threads than the main one, and on Windows.

One thread sleeps to the nearest instant. It takes no lock that a guarded thread takes, too: an exception from outside
that lands between a lock and its `try` leaves it locked. What must not be torn is one step of the interpreter each,
under its lock; nothing is claimed for builds without that lock, nor for subinterpreters.
"""

from __future__ import annotations

import ctypes
import os
import threading
from queue import Empty, SimpleQueue

from hangtight.core.time import NEVER, Instant
from hangtight.drivers import clock
from hangtight.training.outcome import Layer
from hangtight.training.ringing import INNERMOST, Block, Rung, current_frame_of

RINGER = "hangtight-ringer"
LONGEST = 3600.0


class Ringer:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Also after a fork: the child has neither our thread nor its threads."""
        self._blocks: set[Block] = set()
        self._post: SimpleQueue[None] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._next = NEVER

    def add(self, block: Block) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name=RINGER, daemon=True)
                    thread.start()
                    self._thread = thread
        self._blocks.add(block)
        if block.due < self._next:
            self._post.put(None)

    def remove(self, block: Block) -> None:
        self._blocks.discard(block)

    def hurry(self) -> None:
        self._post.put(None)

    def _run(self) -> None:
        while True:
            self._next = NEVER  # until it is known again, whoever comes wakes us
            self._next = min((block.due for block in tuple(self._blocks)), default=NEVER)
            nap = self._next - clock.now()
            if nap > 0:
                try:
                    self._post.get(timeout=None if nap == NEVER else min(nap, LONGEST))
                except Empty:
                    pass
                else:
                    continue
            now = clock.now()
            due = [block for block in tuple(self._blocks) if block.due <= now]
            for block in sorted(due, key=_depth):
                self._ring(block, now)

    def _ring(self, block: Block, now: Instant) -> None:
        frame = current_frame_of(block.ident)
        if frame is None:
            self._blocks.discard(block)  # its thread ended without leaving it
            return
        rings = block.ring(now, frame)
        del frame
        if not rings:
            return
        ident, rung, tell = ctypes.c_ulong(block.ident), ctypes.py_object(block.rung), _tell
        # Nothing between these two can hand the interpreter over: whoever leaves says so first and takes back then.
        if not block.left:
            tell(ident, rung)


def begin(block: Block) -> None:
    block.layer = Layer.EXCEPTION
    block.begins(threading.get_ident(), clock.now())
    if block.due != NEVER:
        RINGERS.add(block)


def end(block: Block, passing: BaseException | None) -> None:
    """May be asked twice. What has been told and not heard is taken back."""
    block.left = True
    if block.due != NEVER:
        _tell(ctypes.c_ulong(block.ident), None)
        RINGERS.remove(block)
    block.ends()
    if not isinstance(passing, Rung):
        _tell_again(block.ident)


def _tell_again(ident: int) -> None:
    """A thread has room for one untold exception: a ring for a block around this one was perhaps taken back with it."""
    block = INNERMOST.get(ident)
    while block is not None:
        if block.rang and not block.left:
            block.due = Instant(0.0)
            RINGERS.hurry()
        block = block.outer


def _depth(block: Block) -> int:
    return block.depth


_tell = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
RINGERS = Ringer()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RINGERS.reset)
