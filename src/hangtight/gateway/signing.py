"""The signs of life towards one client: when one goes out, and what it says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hangtight.core.signs import Signs
from hangtight.core.time import Instant, between
from hangtight.dialects.speaking import WAITING, Form, Heading, sign, thought
from hangtight.drivers import clock
from hangtight.drivers.http.call import Plan
from hangtight.gateway.entry import Load

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.dialects.dialect import Dialect
    from hangtight.gateway.calls import GatewayCall
    from hangtight.gateway.outlet import Outlet
    from hangtight.gateway.readings import GatewayReading

BAR = "━━━━━\n"
"""Around what is told of a load, as llama-swap does it: some clients take it out of the reasoning by that."""


class Signing:
    """One alarm. The exchange says when bytes of the server went out, and begins its answer when a sign has to."""

    def __init__(self, call: GatewayCall, outlet: Outlet, form: Form, signs: Signs | None) -> None:
        self._call = call
        self._outlet = outlet
        self._form = form
        self._signs = signs
        """None where this client gets none."""
        self._alarm: asyncio.TimerHandle | None = None
        self._commit: Callable[[], None] = _nothing
        self.reading: GatewayReading | None = None
        """The attempt under way."""
        self.wrote_at: Instant | None = None
        """When bytes last went to the client, but for those that went past the exchange."""
        self.begun = False
        """An event of the server went out."""
        self.sealed = False
        """Nothing of ours can stand in this answer: it is compressed, or is no stream."""
        self.shows_loads = False
        """This client is told in the reasoning that its model is being loaded."""
        self._loads_since: Instant | None = None

    def begin(self, commit: Callable[[], None]) -> None:
        """The client waits from now on. `commit` begins the answer, if that has not been done."""
        self._commit = commit
        self._arm()

    def end(self) -> None:
        self._commit, self.reading = _nothing, None  # they lead back to us
        if self._alarm is not None:
            self._alarm.cancel()

    def loads(self, load: Load) -> None:
        """The server of the model has to be ready first; or it is, or will not be."""
        if not self.shows_loads or self.sealed or self._outlet.finished:
            return
        now = clock.now()
        if load is Load.BEGINS:
            self._loads_since = now
            words = f"{BAR}hangtight loading model: {self._call.attempts.model}\n"
        else:
            took = between(self._loads_since or now, now)
            self._loads_since = None
            done = "Done!" if load is Load.READY else "Not ready"
            words = f"{done} ({took:.2f}s)\n{BAR} \n"
        self._commit()
        self._outlet.push(thought(self._heading(), words))
        self.wrote_at = now

    def _arm(self) -> None:
        if self._signs is not None:
            now = clock.now()
            self._alarm = asyncio.get_running_loop().call_later(max(0.0, self._signs.alarm_at(now) - now), self._ring)

    def _ring(self) -> None:
        assert self._signs is not None, "only signs have an alarm"
        now = clock.now()
        if not self._outlet.finished:
            if self._signs.wake(now, self._last_write()):
                self._give(now)
            self._arm()

    def _last_write(self) -> Instant | None:
        """When bytes last went to the client. What goes out in frames is not noted; the machine knows when it came."""
        reading = self.reading
        if reading is None or self.wrote_at is None or not reading.session.machine.tokens:
            return self.wrote_at
        return max(self.wrote_at, reading.session.machine.since)

    def _give(self, now: Instant) -> None:
        dialect, reading = self._call.asked.dialect, self.reading
        wire = reading.answer.wire if reading is not None and reading.answer is not None else None
        if dialect is None or self._outlet.is_slow or (wire is not None and wire.finished):
            return  # what is in the way of a slow client is a sign itself; and behind the last word there is none
        self._commit()
        if self.sealed:
            return
        if reading is not None:
            reading.lane.metrics.heartbeat(self._form.value)
        self._outlet.push(self._written(dialect))
        self.wrote_at = now

    def _written(self, dialect: Dialect) -> bytes:
        if self._loads_since is not None:
            return thought(self._heading(), f"... {between(self._loads_since, clock.now()):.0f}s\n")
        position = None if self.reading is None else self.reading.position
        words = WAITING if position is None else f"hangtight: number {position} in the queue"
        streamed = self._call.plan is Plan.STREAMED
        return sign(dialect, self._form, self._heading(), streamed=streamed, begun=self.begun, words=words)

    def _heading(self) -> Heading:
        return Heading(self._call.asked.model, f"hangtight-{self._call.id}", int(clock.wall()))


def _nothing() -> None:
    """No answer has to begin any more."""
