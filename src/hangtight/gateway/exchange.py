"""One request of a client to its end: the answer, the signs of life before it, or the error in its place."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

from hangtight.core.facts import Cancelled, Left
from hangtight.core.signs import Signs
from hangtight.core.time import Instant
from hangtight.dialects.dialect import Dialect
from hangtight.dialects.speaking import Form, Heading, Told, broken, refused, sign, told_of
from hangtight.drivers import clock
from hangtight.drivers.http.asyncs import body_kind, followed
from hangtight.drivers.http.attempt import course
from hangtight.errors import BackendError, HangtightError
from hangtight.gateway import library
from hangtight.gateway.borders import Borders
from hangtight.gateway.calls import OURS, named_by_connection
from hangtight.gateway.lanes import Unavailable
from hangtight.gateway.outlet import Headers, Outlet
from hangtight.gateway.readings import GatewayReading, Past

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hangtight.gateway.calls import GatewayCall
    from hangtight.gateway.events import Events

    Begin = Callable[[GatewayCall], GatewayReading]

OK, BAD_GATEWAY = 200, 502
LONGEST_WORDS = 16 * 1024  # bytes of a refusal that are told in an event
NO_RETRY = (b"x-should-retry", b"false")
"""What we end is ended: an SDK that tries again would pay twice. Of an answer that began this is about its end."""
HELD: int = 64 * 1024
"""Bytes without content that are kept back, so that a timeout can still be a 504."""
NOT_PASSED_ON = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"proxy-authenticate"),
        *(b"te", b"trailer", b"upgrade", b"date"),  # our own server says the date
    )
)
BODILESS = (204, 304)
BODY: Any = body_kind(library)
LOG = logging.getLogger("hangtight.gateway")
FAILED = Told.of(500, "internal", "hangtight made a mistake with this request; its log says more")
CANCELLED = Told(499, "cancelled", "cancelled", "this generation was cancelled")


class Exchange:
    """From the request to the last byte of its answer."""

    def __init__(self, call: GatewayCall, outlet: Outlet, name: str, form: Form, begin: Begin) -> None:
        self.call = call
        self.outlet = outlet
        self.id = name
        self.form = form
        self.loop = asyncio.get_running_loop()
        self.dialect: Dialect | None = call.asked.dialect
        self.streams = self.dialect is not None and self.dialect.streams(call.asked.body)
        self.reading: GatewayReading | None = None
        self._read = begin
        self._task = asyncio.current_task()
        self._head: tuple[int, Headers] | None = None
        """Of an answer that has not begun yet."""
        self._held: list[bytes] = []
        self._held_size = 0
        self._borders = Borders(lines=self.dialect is not None and self.dialect.lines)
        self.signs: Signs | None = None
        """When the client needs a sign of life; None where it gets none."""
        self.path = ""
        self._alarm: asyncio.TimerHandle | None = None
        self._wrote_at: Instant | None = None
        self._in_stream = False
        """The status said that a stream comes."""
        self._begun = False
        """An event of the server went out."""
        self.left = False
        """The client is gone."""
        self.cancelled: Told | None = None
        """Somebody ended it from outside, for this reason."""
        self.over = asyncio.Event()
        """The client has all that it gets, and the server is left."""
        self.events: Events | None = None

    async def run(self, receive: Callable[[], Awaitable[Any]]) -> None:
        watching = None
        if self.outlet.leaving is not None:
            self.outlet.leaving(self._leave)
        else:
            watching = self.loop.create_task(self._watch(receive))
        self._arm()
        try:
            await self._deliver(await followed(course(self.call, self._begin, BODY)))
        except asyncio.CancelledError:
            if self._task is None or not (self.left or self.cancelled is not None):
                raise
            self._task.uncancel()
            if self.cancelled is not None:
                await self._say(self.cancelled)
        except Unavailable as error:
            told = told_of(error)._replace(code=error.code)
            await self._say(told, [(b"retry-after", b"%d" % ceil(error.retry_after))])
        except HangtightError as error:
            await self._say(told_of(self.call.for_the_caller(error)))
        except OSError as error:
            await self._say(told_of(BackendError(str(error))))
        except Exception:
            LOG.exception("hangtight: request %s failed by a mistake of ours", self.id)
            await self._say(FAILED)
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            if watching is not None:
                watching.cancel()
            self._let_go()

    def _let_go(self) -> None:
        """Nothing shall have to be collected: see the reading's."""
        self.outlet.let_go()
        self._task = None

    def _begin(self) -> GatewayReading:
        self.reading = self._read(self.call)
        if self.events is not None:
            self.reading.on_news = self.events.news
        return self.reading

    # -- the answer -------------------------------------------------------------------------------------------

    async def _deliver(self, response: library.Response) -> None:
        stream, status = response.stream, response.status_code
        headers = [*self._passed_on(response.headers.raw, status), *self.own_headers()]
        if status == OK:
            headers.append(NO_RETRY)
        if not isinstance(stream, BODY):
            await self._whole(status, headers, stream.content)
            return
        reading: GatewayReading = stream.reading
        if reading.answer is not None and reading.answer.is_stream:
            self._head = status, [(name, value) for name, value in headers if name != b"content-length"]
            self.outlet.on_slow, self.outlet.on_free = reading.pause, reading.resume
            await reading.pour(stream.early, partial(self._pass, reading.session))
            self._open()
            await self.outlet.finish(self._borders.rest())
            return
        if self.outlet.started:
            await self._too_late(status, stream)
            return
        self.outlet.start(status, headers)
        try:
            async for data in stream:
                if reading.has_all:
                    self.outlet.end(data)
                    continue
                self.outlet.push(data)
                self._wrote_at = reading.session.machine.since
                if self.outlet.is_slow:
                    await reading.meanwhile(self.outlet.settled())
                if self.outlet.finished:  # it was cut off: nobody takes the rest
                    reading.session.note(Left())
                    break
        finally:
            await stream.aclose()
        await self.outlet.finish()

    def _passed_on(self, headers: Headers, status: int) -> Headers:
        """What the server says to the client, and not to us. Who may read it is ours to say, where we say it."""
        dropped = NOT_PASSED_ON
        if named := named_by_connection(headers):
            dropped = dropped | named
        if status in BODILESS:
            dropped = dropped | {b"content-length"}
        ours = (OURS, b"access-control-") if self.outlet.own else (OURS,)
        return [(name, value) for name, value in headers if name not in dropped and not name.startswith(ours)]

    async def _too_late(self, status: int, stream: Any) -> None:
        """A sign of life has said that a stream comes, and what comes is none."""
        words = bytearray()
        async for data in stream:
            words += data[: LONGEST_WORDS - len(words)]
        await stream.aclose()
        said = words.decode("utf-8", "replace")
        why = said if status != OK else "the server answered a request for a stream with something else"
        await self._say(Told.of(status if status != OK else BAD_GATEWAY, "upstream", why))

    async def _whole(self, status: int, headers: Headers, content: bytes) -> None:
        if self.outlet.started and (status != OK or self.streams):  # a sign of life has said 200 before
            await self._too_late(status, library.ByteStream(content))
            return
        kept = [(name, value) for name, value in headers if name != b"content-length"]
        self.outlet.start(status, [*kept, (b"content-length", b"%d" % len(content))])
        await self.outlet.finish(content)

    def _pass(self, session: Any, data: bytes) -> Past | None:
        """A piece of the stream. Nothing goes out before the first content, as long as nobody loses patience."""
        if self._head is not None:
            self._held.append(data)
            self._held_size += len(data)
            if session.machine.tokens or self._held_size > HELD:
                self._open()
        elif whole := self._borders.whole(data):
            self.outlet.push(whole)
            self._wrote_at = session.machine.since
        # Whole events in their frames may follow past all of this, where nothing is held back that would go first.
        return None if self._head is not None or self._borders.holds else self.outlet.past

    def _open(self) -> None:
        """Begin the answer with what was kept back."""
        head, self._head = self._head, None
        if head is None:
            return
        self.outlet.start(*head)
        self._in_stream = True
        held, self._held = self._held, []
        if held and (whole := self._borders.whole(b"".join(held))):
            self.outlet.push(whole)
            self._begun = True
        self._wrote_at = clock.now()

    def own_headers(self) -> Headers:
        """Of each answer."""
        model = self.call.attempts.model.encode("utf-8")
        return [(b"x-hangtight-id", self.id.encode()), (b"x-hangtight-model", model)]

    # -- signs of life ----------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self.signs is not None:
            now = clock.now()
            self._alarm = self.loop.call_later(max(0.0, self.signs.alarm_at(now) - now), self._ring)

    def _ring(self) -> None:
        assert self.signs is not None, "only signs have an alarm"
        now = clock.now()
        if not self.outlet.finished:
            if self.signs.wake(now, self._last_write()):
                self._sign(now)
            self._arm()

    def _last_write(self) -> Instant | None:
        """When bytes last went to the client. What goes out in frames is not noted; the machine knows when it came."""
        reading = self.reading
        if reading is None or self._wrote_at is None or not reading.session.machine.tokens:
            return self._wrote_at
        return max(self._wrote_at, reading.session.machine.since)

    def _sign(self, now: Instant) -> None:
        reading = self.reading
        wire = reading.answer.wire if reading is not None and reading.answer is not None else None
        if self.dialect is None or self.outlet.is_slow or (wire is not None and wire.finished):
            return  # what is in the way of a slow client is a sign itself; and behind the last word there is none
        began = self.outlet.started
        if self._head is not None:
            self._open()
        elif not began:
            kind = (
                b"application/json"
                if not self.streams
                else b"application/x-ndjson"
                if self.dialect.lines
                else b"text/event-stream"
            )
            self.outlet.start(OK, [(b"content-type", kind), (b"cache-control", b"no-cache"), *self.own_headers()])
            self._in_stream = self.streams
        heading = Heading(self.call.asked.model, f"hangtight-{self.id}", int(clock.wall()))
        words = "hangtight: still waiting"
        if reading is not None:
            reading.lane.metrics.heartbeat(self.form.value)
            if (position := reading.position) is not None:
                words = f"hangtight: number {position} in the queue"
        self.outlet.push(sign(self.dialect, self.form, heading, streamed=self.streams, begun=self._begun, words=words))
        self._wrote_at = now

    # -- ends that are not the answer -------------------------------------------------------------------------

    async def _say(self, told: Told, more: Headers | None = None) -> None:
        """An error of ours, in the words of the client's API. After the first byte it is the last of the stream."""
        told = told.adding(id=self.id)
        if not self.outlet.started:
            body = refused(self.dialect, told)
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            self.outlet.start(told.status, [*headers, *(more or [NO_RETRY]), *self.own_headers()])
            await self.outlet.finish(body)
        elif self.dialect is not None and self._in_stream:
            await self.outlet.finish(broken(self.dialect, told))
        else:
            self.outlet.cut()  # that it is cut is the error

    async def _watch(self, receive: Callable[[], Awaitable[Any]]) -> None:
        """Until the client leaves."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        if not self.outlet.finished:
            self.left = True
            self.outlet.close()
            self._end(Left())

    def cancel(self, why: Told = CANCELLED) -> None:
        """Somebody else wants this to end."""
        if not self.left and self.cancelled is None and not self.outlet.finished:
            self.cancelled = why
            self._end(Cancelled())

    def _end(self, fact: Left | Cancelled) -> None:
        reading = self.reading
        if reading is not None and not reading.over:
            with suppress(Exception):
                reading.session.note(fact)
        if self._task is not None:
            self._task.cancel()
