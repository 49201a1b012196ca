"""When a sign of life goes out to a client that waits, before it or a proxy on the way loses patience. Pure.

The first sign says 200, and no 504 can come after it. So it comes as late as is safe; after it they come as often as
anybody likes to hear them.
"""

from __future__ import annotations

from hangtight.core.limits import length
from hangtight.core.time import FOREVER, Instant, Seconds, after

AHEAD = 5.0  # seconds: a busy machine and a slow network fit in
SHORT_PATIENCE = 10.0  # below this, half of it
QUIET_CLIENT = Seconds(30.0)
"""The patience of a client that says nothing about it: the shortest that is usual in this field."""


def span_of(read_timeout: float | None, proxy_silence: float | None, *, says_nothing: bool) -> Seconds:
    """How long this client may hear nothing. FOREVER, where nobody on the way minds.

    `read_timeout` is what it said itself, `proxy_silence` what a proxy bears (None: there is none, or it bears all).
    """
    unknown = QUIET_CLIENT if says_nothing else FOREVER
    patience = min(length(read_timeout), length(proxy_silence), unknown)
    return Seconds(patience / 2 if patience < SHORT_PATIENCE else patience - AHEAD)


class Signs:
    """The signs towards one client, for one alarm that costs a token nothing.

    The driver sets its alarm to `alarm_at`, and asks `wake` when it rings, with the instant of the last bytes that it
    wrote. Nothing need move the alarm when bytes go out: it rings early, which is harmless, and is set again.
    """

    __slots__ = ("_first_at", "_heard_at", "every")

    def __init__(self, span: Seconds, heartbeat: Seconds, now: Instant) -> None:
        self.every = min(span, heartbeat)
        """Between two signs, once the client has heard something."""
        self._first_at = after(now, span)
        self._heard_at: Instant | None = None

    @property
    def next_at(self) -> Instant:
        """When one is due, if nothing else goes out before."""
        return self._first_at if self._heard_at is None else after(self._heard_at, self.every)

    def alarm_at(self, now: Instant) -> Instant:
        """What to set an alarm to that nobody moves: bytes that go out right after may bring the next sign nearer."""
        return min(self.next_at, after(now, self.every))

    def sent(self, at: Instant) -> None:
        """Something went out to the client, a sign or content: its silence starts anew. An older instant is no news."""
        self._heard_at = at if self._heard_at is None else max(self._heard_at, at)

    def wake(self, now: Instant, wrote_at: Instant | None = None) -> bool:
        """The alarm rang. True: a sign goes out now, and is counted as sent."""
        if wrote_at is not None:
            self.sent(wrote_at)
        if now < self.next_at:
            return False
        self.sent(now)
        return True
