"""The alarm: what rings for blocks in the main thread on Unix, also while it waits in a call of the system.

The ringer knocks at the main thread with a signal that does nothing where nobody handles it. So no process ends by it,
whatever becomes of our handler, and SIGALRM with its one timer is left to whoever uses it. A knock that is lost is
followed by another, and at last by an exception as in other threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

from hangtight.core.time import NEVER, Instant
from hangtight.drivers import clock
from hangtight.training.outcome import Layer
from hangtight.training.raising import Raised
from hangtight.training.ringer import RINGERS
from hangtight.training.ringing import AGAIN

PAUSE = 0.05  # seconds to the next knock, and twice as long each time
UNHEARD = 2.0  # seconds of knocks that nobody answers: the signal is blocked, or its handler is another one
ACTION = 1024  # more than any system's `struct sigaction`

if sys.platform != "win32":
    KNOCK = signal.SIGURG

    class Found(NamedTuple):
        """Who handled the signal before."""

        handler: Callable[[int, FrameType | None], Any] | int | signal.Handlers | None
        action: Any
        """The same as the system knows it: a handler that was not set from Python is in no other place."""

    class Alarm(Raised):
        """A block of the main thread."""

        layer = Layer.ALARM
        _since: Instant | None = None
        """When the first knock was that nobody has answered yet."""
        _pause = PAUSE
        _next = NEVER

        def begin(self) -> None:
            """Raises ValueError where only the main thread of the main interpreter may."""
            _listen()
            super().begin()

        def end(self, passing: BaseException | None) -> None:
            super().end(passing)
            _rest()

        @property
        def called_at(self) -> Instant:
            return self.due if self._since is None else max(self.due, self._next)

        def call(self, now: Instant) -> None:
            since = self._since  # an answer may take it away at any step
            if since is None:
                self._since, self._pause = now, PAUSE
            self._next = Instant(now + self._pause)
            self._pause = min(AGAIN, 2 * self._pause)
            if since is not None and now - since > UNHEARD:
                super().call(now)
            if not self.left:
                signal.pthread_kill(self.ident, KNOCK)

        def answer(self) -> bool:
            """The main thread has heard a knock. Was it for this one?"""
            was_ours, self._since = self._since is not None, None
            return was_ours

    def _knocked(number: int, frame: FrameType | None) -> None:
        now, rings, was_ours = clock.now(), None, False
        for block in sorted(_alarms(), key=lambda block: block.depth):
            was_ours |= block.answer()
            if block.ring(now, frame) and rings is None:
                rings = block.rung
        RINGERS.hurry()
        if not was_ours and _FOUND and callable(handler := _FOUND[-1].handler):
            handler(number, frame)
        if rings is not None:
            raise rings

    def _alarms() -> list[Alarm]:
        return [block for block in tuple(RINGERS.blocks) if isinstance(block, Alarm) and not block.left]

    def _listen() -> None:
        if signal.getsignal(KNOCK) is not _knocked:
            _FOUND[:] = [Found(signal.getsignal(KNOCK), _action_now())]
            signal.signal(KNOCK, _knocked)

    def _rest() -> None:
        """Nobody of ours is left to be rung: as it was before. In another thread that is left to who comes next."""
        if not _alarms() and threading.current_thread() is threading.main_thread():
            _put_back()

    def _put_back() -> None:
        if signal.getsignal(KNOCK) is not _knocked or not _FOUND:
            return  # what the code inside has set is to stay
        handler, action = _FOUND[-1]
        signal.signal(KNOCK, signal.SIG_DFL if handler is None else handler)
        if not callable(handler) and action is not None:
            _sigaction(KNOCK, action, None)

    def _action_now() -> Any:
        """None where it cannot be had."""
        if _sigaction is None:
            return None
        action = ctypes.create_string_buffer(ACTION)
        return action if _sigaction(KNOCK, None, action) == 0 else None

    _FOUND: list[Found] = []
    _sigaction: Any = getattr(ctypes.CDLL(None), "sigaction", None)
    os.register_at_fork(after_in_child=_put_back)
