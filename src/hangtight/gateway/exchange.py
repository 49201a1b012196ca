"""One request of a client to its end: the answer, the signs of life before it, or the error in its place."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

from hangtight.core.facts import Cancelled, Left
from hangtight.dialects.chat import complaint
from hangtight.dialects.dialect import Dialect
from hangtight.dialects.speaking import Told, broken, refused, told_of
from hangtight.drivers import clock
from hangtight.drivers.faults import failure_of
from hangtight.drivers.http.asyncs import body_kind, followed
from hangtight.drivers.http.attempt import course
from hangtight.errors import BackendError, HangtightError
from hangtight.gateway import library
from hangtight.gateway.borders import Borders
from hangtight.gateway.calls import OURS, named_by_connection
from hangtight.gateway.outlet import Headers, Outlet
from hangtight.gateway.pouring import Past
from hangtight.gateway.readings import GatewayReading
from hangtight.gateway.signing import Signing
from hangtight.gateway.upstream.steward import PutAway

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hangtight.gateway.calls import GatewayCall
    from hangtight.gateway.telling.events import Events

    Begin = Callable[[GatewayCall], GatewayReading]

OK, REFUSED, BAD_GATEWAY = 200, 400, 502
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


def _unheard(code: str) -> None:
    """Nobody counts."""


class Exchange:
    """From the request to the last byte of its answer."""

    def __init__(self, call: GatewayCall, outlet: Outlet, signing: Signing, begin: Begin) -> None:
        self.call = call
        self.outlet = outlet
        self.signing = signing
        self.id = call.id
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
        self.path = ""
        self._in_stream = False
        """The status said that a stream comes."""
        self.left = False
        """The client is gone."""
        self.cancelled: Told | None = None
        """Somebody ended it from outside, for this reason."""
        self.failure = ""
        """Why nothing was sent, in a word, where that is so."""
        self.over = asyncio.Event()
        """The client has all that it gets, and the server is left."""
        self.events: Events | None = None
        self.on_refused: Callable[[str], object] = _unheard
        """Told why it was not even sent, where nobody else took it."""

    async def run(self, receive: Callable[[], Awaitable[Any]]) -> None:
        watching = None
        if self.outlet.leaving is not None:
            self.outlet.leaving(self._leave)
        else:
            watching = self.loop.create_task(self._watch(receive))
        self.signing.begin(self._commit)
        try:
            while not await self._answered():
                pass  # once more, from the beginning
        except asyncio.CancelledError:
            if self._task is None or not (self.left or self.cancelled is not None):
                raise
            self._task.uncancel()
            if self.cancelled is not None:
                await self._say(self.cancelled)
        except HangtightError as error:
            await self._fail(error)
        except OSError as error:
            await self._say(told_of(BackendError(str(error))))
        except Exception:
            LOG.exception("hangtight: request %s failed by a mistake of ours", self.id)
            await self._say(FAILED)
        finally:
            self.signing.end()
            if watching is not None:
                watching.cancel()
            self._let_go()

    async def _answered(self) -> bool:
        """False where the answer began, its server was put away, and nobody has seen anything of it yet."""
        try:
            response = await followed(course(self.call, self._begin, BODY))
            await self._deliver(response)
        except PutAway as error:
            if self._head is None or self.reading is None:
                raise
            self.call.attempts.delivered = False
            if not self.call.goes_on(error, self.reading.session):
                raise
            self._head, self._held, self._held_size = None, [], 0
            return False
        if response.status_code < REFUSED:
            self.call.ended_well()
        return True

    async def _fail(self, error: HangtightError) -> None:
        self.failure = failure_of(error)
        if not isinstance(error, BackendError) or error.retry_after is None:
            await self._say(told_of(self.call.for_the_caller(error)))
            return
        self.on_refused(error.code)  # it was not even sent
        await self._say(told_of(error), [(b"retry-after", b"%d" % ceil(error.retry_after))])

    def _let_go(self) -> None:
        """Nothing shall have to be collected: see the reading's."""
        self.outlet.let_go()
        self._task = None

    def _begin(self) -> GatewayReading:
        self.reading = self.signing.reading = self._read(self.call)
        self.reading.tells_loads(self.signing.loads)
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
        self.signing.sealed = reading.answer is None or not (reading.answer.is_stream and reading.answer.comes_plain)
        whole = status == OK and not self.streams and b"content-encoding" not in dict(response.headers.raw)
        if self.outlet.started and self.signing.sealed and not whole:
            await self._too_late(status, stream)
            return
        if reading.answer is not None and reading.answer.is_stream:
            self._head = status, [(name, value) for name, value in headers if name != b"content-length"]
            self.outlet.on_slow, self.outlet.on_free = reading.pause, reading.resume
            await reading.pour(stream.early, partial(self._pass, reading.session))
            self._open()
            await self.outlet.finish(self._borders.rest())
            return
        self.outlet.start(status, headers)
        try:
            async for data in stream:
                if reading.has_all:
                    self.outlet.end(data)
                    continue
                self.outlet.push(data)
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
        if status == OK:
            await stream.aclose()
            why = "the server answered a request for a stream with something else, or compressed it unasked"
            await self._say(Told.of(BAD_GATEWAY, "upstream", why))
            return
        words = bytearray()
        async for data in stream:
            words += data[: LONGEST_WORDS - len(words)]
        await stream.aclose()
        why = complaint(words.decode("utf-8", "replace")) or f"the server refused with {status} and gave no reason"
        await self._say(Told.of(status, "upstream", why))

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
        elif whole := self._whole_of(data):
            self.outlet.push(whole)
            self.signing.wrote_at = session.machine.since
        # Whole events in their frames may follow past all of this, where nothing is held back that would go first.
        return None if self._head is not None or self._borders.holds else self.outlet.past

    def _whole_of(self, data: bytes) -> bytes:
        """What may go out now. Where nothing of ours can follow, nothing has to be kept back for that."""
        return data if self.signing.sealed else self._borders.whole(data)

    def _open(self) -> None:
        """Begin the answer with what was kept back."""
        head, self._head = self._head, None
        if head is None:
            return
        self.outlet.start(*head)
        self._in_stream = not self.signing.sealed
        held, self._held = self._held, []
        if held and (whole := self._whole_of(b"".join(held))):
            self.outlet.push(whole)
            self.signing.begun = True
        self.signing.wrote_at = clock.now()

    def _commit(self) -> None:
        """A sign has to go out: the answer begins, with the head of its server or with one of ours."""
        if self._head is not None:
            self._open()
        elif not self.outlet.started:
            kind = b"application/json"
            if self.dialect is not None and self.streams:
                kind = b"application/x-ndjson" if self.dialect.lines else b"text/event-stream"
            self.outlet.start(OK, [(b"content-type", kind), (b"cache-control", b"no-cache"), *self.own_headers()])
            self._in_stream = self.streams

    def own_headers(self) -> Headers:
        """Of each answer."""
        model = self.call.attempts.model.encode("utf-8")
        return [(b"x-hangtight-id", self.id.encode()), (b"x-hangtight-model", model)]

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

    @property
    def cancellable(self) -> bool:
        """Somebody waits for it, and nobody has ended it yet."""
        return not self.left and self.cancelled is None and not self.outlet.finished

    def cancel(self, why: Told = CANCELLED) -> None:
        """Somebody else wants this to end."""
        if self.cancellable:
            self.cancelled = why
            self._end(Cancelled())

    def _end(self, fact: Left | Cancelled) -> None:
        reading = self.reading
        if reading is not None and not reading.over:
            with suppress(Exception):
                reading.session.note(fact)
        if self._task is not None:
            self._task.cancel()
