"""Asynchronous exceptions: what rings for blocks in other threads than the main one, and on Windows."""

from __future__ import annotations

import ctypes
import threading

from hangtight.core.time import NEVER, Instant
from hangtight.drivers import clock
from hangtight.training.outcome import Layer
from hangtight.training.ringer import RINGERS
from hangtight.training.ringing import INNERMOST, Block, Rung, current_frame_of


class Raised(Block):
    """A block in whose thread the ringer raises."""

    layer = Layer.EXCEPTION
    _told = False
    """An exception was: what waits in its thread may be ours, and not that of somebody else."""

    def begin(self) -> None:
        self.begins(threading.get_ident(), clock.now())
        if self.due != NEVER:
            RINGERS.add(self)

    def end(self, passing: BaseException | None) -> None:
        """May be asked twice. What has been told and not heard is taken back."""
        self.left = True
        RINGERS.remove(self)
        if self._told:
            _tell(ctypes.c_ulong(self.ident), None)
        self.ends()
        if not isinstance(passing, Rung):
            _tell_again(self.ident)

    @property
    def called_at(self) -> Instant:
        """When the ringer is to call next."""
        return self.due

    def call(self, now: Instant) -> None:
        """The ringer does, in its own thread."""
        frame = current_frame_of(self.ident)
        if frame is None:
            RINGERS.remove(self)  # its thread ended without leaving it
            return
        rings = self.ring(now, frame)
        del frame
        if not rings:
            return
        ident, rung, tell = ctypes.c_ulong(self.ident), ctypes.py_object(self.rung), _tell
        self._told = True
        # Nothing between these two can hand the interpreter over: whoever leaves says so first and takes back then.
        if not self.left:
            tell(ident, rung)


def _tell_again(ident: int) -> None:
    """A thread has room for one untold exception: a ring for a block around this one was perhaps taken back with it."""
    block = INNERMOST.get(ident)
    while block is not None:
        if block.rang and not block.left:
            block.due = Instant(0.0)
            RINGERS.hurry()
        block = block.outer


_tell = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
