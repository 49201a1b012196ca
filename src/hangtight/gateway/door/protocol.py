"""uvicorn's HTTP protocol, for clients that mean no good: slow ones, endless ones, and those that send rubbish.

What uvicorn leaves to a proxy in front of it, and is done here because there may be none:

    a head that does not get ready      408 after `patience` seconds from its first byte; closed where none came
    a body that does not go on          408 after `patience` seconds without a byte, or after ten times that in all
    a head without end                  431 past `head` bytes; the same for the lines behind a chunked body
    what is not HTTP                    400; while an answer is under way the answer comes first
    a hundred requests at once          400: who pipelines waits for some answers first
    much behind a generation            413: it is read on, to see its client leave, and there is room for so much
    a client that does not read         cut off `patience` seconds after our last byte, if it takes nothing

One alarm per connection, which is never moved: it rings early, looks, and is set again. Per piece of data there is a
comparison and at most one look at the clock. No answer of ours is retried by an SDK: `x-should-retry: false`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hangtight.core.time import NEVER, Instant
from hangtight.drivers import clock
from hangtight.gateway.door.doorway import Doorway
from hangtight.gateway.door.old_clients import HTTP_1_0, without_chunks
from hangtight.gateway.door.rebuffs import LATE_BODY, LATE_HEAD, NO_WEBSOCKETS, NOT_HTTP, TOO_LARGE, Answer
from hangtight.gateway.outlet import EXTENSION

BODY_PATIENCES = 10  # of these for a whole body: 64 MiB within 5 minutes is a megabit or two
MOST_WAITING = 32  # pipelined requests behind the one that is answered; browsers and SDKs send none
MOST_AHEAD = 1024 * 1024  # bytes of their bodies, while an answer is under way whose client we watch
FIELD_EXTRA = 4  # bytes around a field: the colon, the space and the end of the line
WISHES = (b"upgrade", b"http2-settings")
LINGER = 2.0  # seconds in which a refused client may read why, and what it still sends is thrown away


class Line(NamedTuple):
    """The connection to a client, for whoever has said his last word and waits until it is taken."""

    unsent: Callable[[], int]
    """Bytes that the client has not taken yet."""
    cut: Callable[[], None]
    patience: float
    """Seconds in which it has to take something."""


CUT = "ASGI callable returned without completing response."


def _is_an_error(record: logging.LogRecord) -> bool:
    """That we cancelled a request, or cut an answer that its server has cut, is no error of the app.

    uvicorn takes both for one.
    """
    cancelled = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not cancelled and record.msg != CUT


LOG = logging.getLogger("hangtight.gateway")
LOG.setLevel(logging.WARNING)
LOG.addFilter(_is_an_error)


TOO_MANY = Answer(400, "too_many_requests_at_once", f"more than {MOST_WAITING} requests wait on this connection")
TOO_MUCH = Answer(413, "too_much_ahead", f"more than {MOST_AHEAD} bytes came before the answer was there")


class Stage(Enum):
    """What is expected from the client."""

    RESTING = auto()
    HEAD = auto()
    BODY = auto()


RESTING, HEAD, BODY = Stage  # looked up once: it is asked for each header


class Guarded(HttpToolsProtocol):
    """One connection, whose client is given so much time and so much room."""

    server_state: Doorway

    def __init__(self, config: Config, server_state: Doorway, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = LOG
        self._now = clock.clock_of(self.loop)
        self._patience, self._most = server_state.patience, server_state.head
        self._stage = RESTING
        self._size = 0  # bytes of the head, or of the lines behind a body, so far
        self._whole_by = NEVER  # by then the head or the body must be complete
        self._last = NEVER  # when something of the body came
        self._alarm: asyncio.TimerHandle | None = None
        self._refused: Answer | None = None
        self._why = NOT_HTTP  # what to say where the parser gives up
        self._running: RequestResponseCycle | None = (
            None  # being answered; `cycle` is the newest, which may wait behind it
        )
        self._when_left: Callable[[], None] | None = None  # for the request that is being answered
        self._unread = 0  # bytes that the client had not taken when we last looked

    # The connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._told = {
            EXTENSION: {
                "direct": True,
                "flow": self.flow,
                "framed": self.write_framed,
                "leaving": self.when_left,
                "line": Line(transport.get_write_buffer_size, self.give_up, self._patience),
            }
        }
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_alarm(NEVER)
        self._disown()
        self._told, self._when_left = {}, None  # what was told of this connection leads back to it
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn forgets it after an error, and it keeps all of this alive
        self.server_state.left()

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            return
        if self._stage is RESTING:
            self._expect_head()
        if self._stage is HEAD:
            self._size += len(data)
        else:
            self._last = self._now()
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            self._ask_again(data[wish.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(self._why)
            return
        if self._stage is HEAD and self._size > self._most:
            self._refuse(TOO_LARGE)

    def _ask_again(self, rest: bytes) -> None:
        """Parse a request that wants another protocol once more, without that wish: else its body would be lost.

        The client of Java asks for HTTP/2 with each request, unless told not to, and sends the body along.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(NOT_HTTP)
            return
        if any(name == b"upgrade" and value.strip().lower() == b"websocket" for name, value in self.headers):
            self._refuse(NO_WEBSOCKETS)  # the same path without it would be another question
            return
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                lines += [b"connection: " + part for part in value.split(b",") if part.strip().lower() not in WISHES]
            elif name not in WISHES:
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def write_framed(self, chunk: bytes) -> bool:
        """A chunk of the answer under way, framed already. False where it has to go through `send`."""
        cycle = self._running
        if cycle is None or not cycle.chunked_encoding or cycle.response_complete or cycle.disconnected:
            return False
        if self.flow.write_paused:
            return False
        self.transport.write(chunk)
        return True

    def when_left(self, call: Callable[[], None]) -> None:
        """Call this when the client of the request under way leaves, which is seen only while we read."""
        self.flow.resume_reading()
        self._when_left = call
        if not self._is_answering() or cast(RequestResponseCycle, self._running).disconnected:
            self.loop.call_soon(call)

    def shutdown(self) -> None:
        """The server drains: close, unless a request is under way or on its way."""
        if not (self._stage is HEAD and self._size):
            super().shutdown()

    def give_up(self) -> None:
        """Close at once; what the app still says goes nowhere."""
        self._disown()
        self.transport.abort()

    # What the parser finds ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._stage is RESTING:  # pipelined: no new data, but a new head
            self._expect_head()
        super().on_message_begin()
        cast(dict[str, Any], self.scope)["extensions"] = self._told

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stage is BODY:
            # A trailer. uvicorn would put it among the headers, which have been looked at already.
            self._size += len(name) + len(value) + FIELD_EXTRA
            if self._size > self._most:
                self._fail(TOO_LARGE)
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        # Counted one by one only where it may be too large: much came, or it is pipelined and nobody knows how much.
        if not 0 < self._size <= self._most:
            fields = sum([len(name) + len(value) + FIELD_EXTRA for name, value in self.headers])
            if len(self.url) + fields > self._most:
                self._fail(TOO_LARGE)
        if len(self.pipeline) >= MOST_WAITING:
            self._fail(TOO_MANY)
        now = self._now()
        self.server_state.dated(now)
        super().on_headers_complete()
        self._read_on()
        if self.server_state.draining:
            self.cycle.keep_alive = False
        self._stage, self._size = BODY, 0
        self._last = now
        self._whole_by = Instant(now + BODY_PATIENCES * self._patience)

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.pipeline and self._when_left is not None:
            if sum([len(cycle.body) for cycle, _ in self.pipeline]) > MOST_AHEAD:
                self._fail(TOO_MUCH)
            self._read_on()

    def _read_on(self) -> None:
        """That its client leaves is seen only while we read, also behind requests that have to wait."""
        if self._when_left is not None:
            self.flow.resume_reading()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._stage, self._size, self._whole_by = RESTING, 0, NEVER
        super().on_message_complete()
        if not self._is_answering():  # it was answered long ago, and nobody else ends a connection that idles now
            self._expect(self._patience)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        old = cycle.scope["http_version"] == HTTP_1_0
        super()._start_asgi_task(cycle, without_chunks(app, cycle) if old else app)

    def on_response_complete(self) -> None:
        self._when_left = None
        super().on_response_complete()
        if self.transport.is_closing():
            self._see_it_taken()
        elif self.pipeline or self._is_answering():
            pass
        elif self._refused is not None:
            self._answer(self._refused)
        elif self._stage is HEAD:
            self._expect(self._patience)
        elif self._stage is BODY:  # answered before it was all here: the rest is thrown away, for so long
            self._whole_by = min(self._whole_by, Instant(self._now() + self._patience))

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            self._see_it_taken()

    # Time --------------------------------------------------------------------------------------------------------

    def _expect_head(self) -> None:
        self._stage, self._size = HEAD, 0
        # While an answer is under way a client may take its time with the next request: it cannot be answered yet.
        self._expect(NEVER if self._is_answering() else self._patience)

    def _expect(self, seconds: float) -> None:
        self._whole_by = Instant(self._now() + seconds)
        if self._alarm is None:
            self._set_alarm(self._whole_by)

    def _set_alarm(self, at: Instant) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if at != NEVER:
            self._alarm = self.loop.call_later(max(0.0, at - self._now()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now, due = self._now(), self._whole_by
        if self._stage is BODY:
            if self.flow.read_paused:  # it is the app that does not read
                self._last, self._whole_by = now, Instant(now + BODY_PATIENCES * self._patience)
            due = min(self._whole_by, Instant(self._last + self._patience))
        if now < due:
            self._set_alarm(due)
        elif self._stage is BODY:
            self._refuse(LATE_BODY)
        elif self._size:
            self._refuse(LATE_HEAD)
        else:
            self.transport.close()

    # Endings -----------------------------------------------------------------------------------------------------

    def _fail(self, why: Answer) -> None:
        """Inside of a callback: makes the parser give up."""
        self._why = why
        raise ValueError(why.code)

    def _refuse(self, why: Answer) -> None:
        """Nothing that comes from now on is looked at. Whoever is owed an answer gets it first."""
        self._refused, self._whole_by = why, NEVER
        if self._stage is BODY and self.pipeline:
            self.pipeline.popleft()  # the newest, which is the broken one
        elif self._stage is BODY and self.cycle.response_started:
            self.give_up()
        elif self._stage is BODY:
            self._disown()
            self._answer(why)
        elif not self._is_answering():
            self._answer(why)

    def _answer(self, why: Answer) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.flow.resume_reading()  # to throw it away: closing with unread data would take our answer from the client
        self.transport.write(why.bytes())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._set_alarm(NEVER)
        self._alarm = self.loop.call_later(min(LINGER, self._patience), self.transport.abort)

    def _disown(self) -> None:
        """The app learns that its client has left."""
        if self._is_answering() and self._running is not None:
            self._running.disconnected = True
            self._running.waiting_for_100_continue = False  # nothing is written behind our last word
            self._running.message_event.set()
            if self._when_left is not None:
                self._when_left()

    def _is_answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _see_it_taken(self) -> None:
        """After our last byte: abort where the client takes nothing more; else it would be waited for without end."""
        left = self.transport.get_write_buffer_size()
        if self._unread and left >= self._unread:
            self.transport.abort()
        elif left:
            self._unread = left
            self._set_alarm(NEVER)
            self._alarm = self.loop.call_later(self._patience, self._see_it_taken)
