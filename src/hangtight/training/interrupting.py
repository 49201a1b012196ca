"""Ends a block of code when its time is over, wherever the code is in Python.

>>> with interrupted_after(0.05) as interruption:
...     while True:
...         pass
>>> interruption.rang
True

In the main thread, on Unix, a signal rings; in other threads, and on Windows, an asynchronous exception is raised. Both
come only where Python runs: a C call or a GPU that does not return is not ended by either.
For those there is `hanging`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from hangtight.training.leaving import Exit
from hangtight.training.outcome import Layer
from hangtight.training.raising import Raised
from hangtight.training.ringing import Rung

if TYPE_CHECKING:
    from hangtight.core.time import Instant

if sys.platform != "win32":
    from hangtight.training.alarms import Alarm

__all__ = ["Interruption", "Rung", "interrupted_after"]


def interrupted_after(seconds: float, *, where: str = "", moves: Callable[[], Instant] | None = None) -> Interruption:
    """Raise `Rung` inside the block when the time is over, and again each second until the block is left.

    The block swallows its own Rung and says so in `.rang`; that of a block around it passes. Nothing rings for a block
    that has been left. Zero, or less, rings at once; infinity never. `where` is for the words of the Rung.
    With `moves` the time may move while it waits: that is asked when the seconds are over, and says until when to wait.

    SIGALRM and its timer are nobody's business here: who uses them does so inside the block as well. The signal that
    rings is SIGURG, which does nothing by itself; its handler is as before afterwards. Code inside the block that sets
    another one is rung by an exception, some seconds later.

    An asynchronous exception cannot be kept out of somebody's `finally` or of a lock that is just being taken: what
    the code was at is to be thrown away. Code that is entering or leaving blocks of this room is let finish first.
    """
    return Interruption(seconds, where, moves)


class Interruption:
    """What `interrupted_after` gives: a block to enter once."""

    def __init__(self, seconds: float, where: str = "", moves: Callable[[], Instant] | None = None) -> None:
        self._given = seconds, where, moves
        self._block: Raised | None = None
        self.layer = Layer.ALARM if _alarm_is_ours() else Layer.EXCEPTION

    @property
    def rang(self) -> bool:
        """The code inside was interrupted. False where it ended by itself, and be it late."""
        return self._block is not None and self._block.heard > 0

    def __enter__(self) -> Self:
        if self._block is not None:
            raise RuntimeError("a block is entered once: ask for another one")
        try:
            self._begin()
        except BaseException:
            self.disarm()
            raise
        return self

    __exit__ = Exit(first="disarm", then="is_own")

    def _begin(self) -> None:
        self.layer = Layer.ALARM if _alarm_is_ours() else Layer.EXCEPTION
        if sys.platform != "win32" and self.layer is Layer.ALARM:
            self._block = Alarm(*self._given)
            try:
                self._block.begin()
            except ValueError:  # a subinterpreter: its main thread may set no handler
                self.layer = Layer.EXCEPTION
        if self.layer is Layer.EXCEPTION:
            self._block = Raised(*self._given)
            self._block.begin()

    def disarm(self) -> None:
        """Nothing rings for it any more. May be asked again."""
        if self._block is not None:
            self._block.end(sys.exc_info()[1])

    def is_own(self, error: BaseException | None) -> bool:
        """That is its Rung."""
        return isinstance(error, Rung) and error.block is self._block

    def has_made(self, error: BaseException | None) -> bool:
        """That is its Rung, or what the code has raised of its own while it was cleaning up after it."""
        if not self.rang or self.is_own(error):
            return self.rang
        at = error if isinstance(error, Exception) else None
        while at is not None and not self.is_own(at):
            at = at.__cause__ or at.__context__  # type: ignore[assignment]
        return at is not None


def _alarm_is_ours() -> bool:
    return sys.platform != "win32" and threading.current_thread() is threading.main_thread()
