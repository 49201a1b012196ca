"""The alarm of the process: what rings for blocks in the main thread on Unix, below one second, too.

There is one such timer, and somebody may have set it. So each block keeps what it found, handler and timer, as the
system would: that rings in its time, inside our block, and is put back with what is left of it. A block around ours is
nothing else than such a finding, which is how blocks nest.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from hangtight.core.time import NEVER, Instant
from hangtight.drivers import clock
from hangtight.training.outcome import Layer
from hangtight.training.ringing import INNERMOST, Block

MARK = 86399.015625  # the interval of every timer of ours: no clock tells on a busy machine whose a timer is
SOONEST = 1e-6  # zero would disarm
LONGEST = 1e8  # the timer of an earlier handler that has none
NAP = 40_000.0  # ours rings at least so often: well under its interval, which is what is left of it when it has rung
ACTION = 1024  # more than any system's `struct sigaction`

if sys.platform != "win32":

    @dataclass(slots=True)
    class Earlier:
        """Handler and timer as a block found them."""

        handler: Callable[[int, FrameType | None], Any] | int | signal.Handlers | None
        action: Any
        """The same as the system knows it: a handler that was not set from Python is in no other place."""
        due: Instant = NEVER
        interval: float = 0.0

        def keeps(self, value: float, interval: float, now: Instant) -> None:
            """What the timer says is its own."""
            left = value or interval  # zero with an interval: it is just ringing, and not yet set anew
            if interval == MARK and _has_rung(value):  # that of a block around this one, which has not heard it yet
                left = SOONEST
            self.due = Instant(now + left) if left else NEVER
            self.interval = interval

        def goes_on(self, now: Instant) -> None:
            """It is ringing: when next?"""
            if not self.interval or self.due == NEVER:
                self.due = NEVER
                return
            missed = (now - self.due) // self.interval
            self.due = Instant(self.due + (missed + 1) * self.interval)

        def put_back(self) -> None:
            """A ring meant for us that waits in another thread, as one may on a busy machine, is thrown away."""
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.signal(signal.SIGALRM, signal.SIG_DFL if self.handler is None else self.handler)
            if not callable(self.handler) and self.action is not None:
                _sigaction(signal.SIGALRM, self.action, None)

    class Alarm(Block):
        """A block that the alarm rings for."""

        _earlier: Earlier | None = None
        _gone = False
        _ringing = False
        """The earlier handler is running."""
        _again = False
        """It rang while it did."""

        def begin(self) -> None:
            """Raises ValueError where only the main thread of the main interpreter may."""
            self.layer = Layer.ALARM
            self.begins(threading.get_ident(), clock.now())
            if self.due == NEVER:
                return
            action = _action_now()
            value, interval = signal.setitimer(signal.ITIMER_REAL, NAP, MARK)
            now = clock.now()
            try:
                handler = signal.signal(signal.SIGALRM, self._ring)
            except BaseException:  # refused, or an earlier alarm rang at this very moment
                signal.setitimer(signal.ITIMER_REAL, value or interval, interval)
                raise
            self._earlier = Earlier(handler, action)
            self._earlier.keeps(value, interval, now)
            BLOCKS.add(self)
            self._arm()

        def end(self) -> None:
            """May be asked twice."""
            self.left = True
            self.ends()
            earlier = self._earlier
            if earlier is None or self._gone:
                return
            BLOCKS.discard(self)
            if signal.getsignal(signal.SIGALRM) != self._ring:
                self._step_out(earlier)
                self._gone = True
                return
            value, interval = signal.setitimer(signal.ITIMER_REAL, NAP, MARK)
            now = clock.now()
            if value and interval != MARK:
                earlier.keeps(value, interval, now)  # the code inside has set it, and it is to stay
            earlier.put_back()
            self._gone = True
            left = 0.0 if earlier.due == NEVER else max(SOONEST, earlier.due - now)
            signal.setitimer(signal.ITIMER_REAL, left, earlier.interval)

        def _step_out(self, earlier: Earlier) -> None:
            """Left before a block inside it, as generators may be: that one now has found what this one had found."""
            inner = INNERMOST.get(self.ident)
            while inner is not None:
                if isinstance(inner, Alarm) and inner._earlier is not None and inner._earlier.handler == self._ring:
                    inner._earlier = earlier
                    return
                inner = inner.outer

        # -- it rings -------------------------------------------------------------------------------------------

        def _ring(self, number: int, frame: FrameType | None) -> None:
            earlier = self._earlier
            if self._gone and earlier is not None and callable(earlier.handler):
                earlier.handler(number, frame)  # somebody has put us back who had found us
            if self.left or earlier is None:
                return
            if self._ringing:
                self._again = True
                return
            try:
                now = clock.now()
                if not self._asked_for(now, earlier) or earlier.due <= now:
                    self._ring_earlier(number, frame, now)
                if self.ring(clock.now(), frame):
                    raise self.rung
            finally:
                self._arm()

        def _asked_for(self, now: Instant, earlier: Earlier) -> bool:
            """False: the code inside has set the timer for the handler that it knew, or somebody sent the signal."""
            value, interval = signal.getitimer(signal.ITIMER_REAL)
            if interval == MARK:
                is_due = _has_rung(value) or now >= min(self.due, earlier.due)
                return is_due or not callable(earlier.handler)  # nobody dies of a signal that came late
            earlier.keeps(value, interval, now)
            return False

        def _ring_earlier(self, number: int, frame: FrameType | None, now: Instant) -> None:
            earlier = self._earlier
            assert earlier is not None, "a block that rings has begun"
            if earlier.due <= now:
                earlier.goes_on(now)
            if not callable(earlier.handler):
                self._as_the_system_would(earlier)
                return
            self._hush(earlier)
            standing = signal.getsignal(signal.SIGALRM)  # ours, or that of a block inside, which has called us
            try:
                earlier.handler(number, frame)
            finally:
                self._hear(earlier)
                if (handler := signal.getsignal(signal.SIGALRM)) != standing:
                    earlier.handler, earlier.action = handler, _action_now()
                    signal.signal(signal.SIGALRM, standing)

        def _hush(self, earlier: Earlier) -> None:
            """While a handler runs the timer is its own, and rings for nobody unless the handler sets it."""
            self._ringing, self._again = True, False
            signal.setitimer(signal.ITIMER_REAL, LONGEST, earlier.interval)

        def _hear(self, earlier: Earlier) -> None:
            """Has the handler set the timer?"""
            value, interval = signal.getitimer(signal.ITIMER_REAL)
            now = clock.now()
            if value < LONGEST / 2 or interval != earlier.interval:
                earlier.keeps(value, interval, now)
            if self._again:
                earlier.due = now
            self._ringing = False

        def _as_the_system_would(self, earlier: Earlier) -> None:
            """Where nothing handles it the process ends here."""
            if earlier.handler == signal.SIG_IGN:
                return
            standing = signal.getsignal(signal.SIGALRM)
            earlier.put_back()
            signal.raise_signal(signal.SIGALRM)
            signal.signal(signal.SIGALRM, standing)

        def _arm(self) -> None:
            if self.left or self._earlier is None:
                return
            due = min(self.due, self._earlier.due)
            nap = min(NAP, max(SOONEST, due - clock.now()))
            signal.setitimer(signal.ITIMER_REAL, nap, MARK)

    def _has_rung(value: float) -> bool:
        """Of a timer of ours: what is left of it is its interval, or nothing where the signal is still on its way."""
        return value == 0 or value > NAP

    BLOCKS: set[Alarm] = set()

    def _in_a_child() -> None:
        """A process that was forked inside a block has no timer, and is not guarded; its handlers are as before."""
        found = min(BLOCKS, key=lambda block: block.depth, default=None)
        for block in BLOCKS:
            block.left = block._gone = True
        BLOCKS.clear()
        INNERMOST.clear()
        if found is not None and found._earlier is not None:
            found._earlier.put_back()

    os.register_at_fork(after_in_child=_in_a_child)

    def _action_now() -> Any:
        """None where it cannot be had."""
        if _sigaction is None:
            return None
        action = ctypes.create_string_buffer(ACTION)
        return action if _sigaction(signal.SIGALRM, None, action) == 0 else None

    _sigaction: Any = getattr(ctypes.CDLL(None), "sigaction", None)
