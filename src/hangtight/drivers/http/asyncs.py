"""The asynchronous client: one alarm for each response, and no task of its own but for the looks at an Ollama."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

from hangtight.drivers import aio, clock
from hangtight.drivers.http.answers import LAST_WORDS, REFUSAL_LIMIT, Answer
from hangtight.drivers.http.attempt import Course, Reading, course
from hangtight.drivers.http.call import Call, Settings
from hangtight.drivers.http.memory import Looking, wanted_by
from hangtight.drivers.http.sdk import dressed
from hangtight.errors import HangtightError

Send = Callable[[Any], Awaitable[Any]]


class AsyncReading(Reading):
    """One attempt whose clocks are kept by an alarm of the loop."""

    life_kind = aio.Life

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop, send: Send) -> None:
        super().__init__(call)
        self.life = self.life_kind(self.session, loop)
        self._send = send
        self._step: Callable[[], Awaitable[bytes]] | None = None
        wanted = wanted_by(call)
        self._looking = Looking(loop, *wanted, self.session.note) if wanted is not None else None

    def begins(self, response: Any) -> Answer:
        self.life.source = response.stream  # closed with this life, read or not
        return super().begins(response)

    async def send(self, pool: float | None) -> Any:
        if self.is_late:
            self.session.ring()
        if self.session.rang is not None:
            await self._end(None)
        return await self._guarded(self._send(self.call.to_send(self.session, pool)))

    async def collect(self, response: Any) -> bytes:
        return bytes(await self._guarded(_collected(response.stream)))

    async def nap(self, seconds: float) -> None:
        await self._guarded(asyncio.sleep(seconds))

    async def _guarded(self, work: Awaitable[Any]) -> Any:
        """What this work gives, while the clocks run."""
        self.life.alarm.task = asyncio.current_task()
        try:
            return await work
        except BaseException as error:
            if not await self._ended(error):
                raise
        self.session.settle()
        raise asyncio.CancelledError

    async def meanwhile(self, work: Awaitable[None]) -> None:
        """Wait for who takes what was read. That is no silence of the source, but a limit breaks it off, too."""
        self.life.alarm.breaks_off_always = True
        try:
            await self._guarded(work)
        finally:
            self.life.alarm.breaks_off_always = False

    async def read(self) -> bytes | None:
        session, answer = self.session, self.answer
        if self.over or answer is None:
            return None
        if self._step is None:
            self._step = aiter(self.stream).__anext__
        if answer.is_complete:
            return await self._last_words(self._step)
        if session.rang is not None:
            await self._end(None)
            return None
        self.ask()
        self.life.alarm.task = asyncio.current_task()
        try:
            data: bytes = await self._step()
            self.in_lane = answer.take(session, data)
            self.life.alarm.take_back()
            if self._looking is not None and session.machine.tokens:
                await self._look_away()
            return data
        except BaseException as error:
            if not await self._ended(error):
                raise
        session.settle()
        return None

    async def _last_words(self, step: Callable[[], Awaitable[bytes]]) -> bytes | None:
        """Behind the end mark, for a moment: a connection whose body was read to its end can be used again."""
        if self.hears_last_words():
            with suppress(StopAsyncIteration, TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    return await step()
        await self._left()
        return None

    async def leave(self) -> None:
        if self.over:
            return
        try:
            while self.hears_last_words() and await self.read() is not None:
                pass
        except Exception:  # noqa: BLE001 - the answer is whole; how its connection ends is nobody's concern
            pass
        finally:
            await self._left()

    async def _left(self) -> None:
        if not self.over:
            self.session.note(self.last_fact())
            await self._ended(None)

    async def _end(self, error: BaseException | None) -> None:
        await self._ended(error)
        self.session.settle()

    async def _ended(self, error: BaseException | None) -> bool:
        """True where the end is for `settle` to judge: the source's own end, or one that we made."""
        self.over = True
        self.count()
        if isinstance(error, StopAsyncIteration) and self.answer is not None:
            self.answer.close(self.session)
        try:
            await self._look_away()
        finally:
            kind, trace = (type(error), error.__traceback__) if error is not None else (None, None)
            ours = await self.life.__aexit__(kind, error, trace)
        return ours

    async def _look_away(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            await looking.stop()

    def forget(self) -> None:
        """Thrown away unread: no alarm shall stay behind."""
        if not self.over:
            with suppress(RuntimeError):  # the loop is closed, and its alarms with it
                self.life.loop.call_soon_threadsafe(self.life.alarm.stop)


async def _collected(stream: Any) -> bytearray:
    """All of a short body. A limit may ring in the middle of it: closed is what nobody reads to its end."""
    body = bytearray()
    try:
        async for data in stream:
            body += data
            if len(body) > REFUSAL_LIMIT:
                break
    finally:
        await aio.close(stream)
    return body


async def followed(course: Course) -> Any:
    """Do what the course of a call asks for, one step after the other, to its response."""
    try:
        step = next(course)
        while True:
            try:
                answer = await step()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the course to judge
                step = course.throw(error)
            else:
                step = course.send(answer)
    except StopIteration as done:
        return done.value


@cache
def body_kind(lib: Any) -> Callable[[AsyncReading, list[bytes]], Any]:
    """The body of a response, of this library's own base class."""

    class Body(lib.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, reading: AsyncReading, early: list[bytes]) -> None:
            self.reading = reading
            self.early = early

        def __aiter__(self) -> Body:
            return self

        async def __anext__(self) -> bytes:
            if self.early:
                return self.early.pop(0)
            try:
                data = await self.reading.read()
            except HangtightError as error:
                raise self.reading.call.for_the_caller(error) from error.__cause__
            if data is None:
                raise StopAsyncIteration
            return data

        async def aclose(self) -> None:
            await self.reading.leave()

        def __del__(self) -> None:
            self.reading.forget()

    return Body


@cache
def transport_kind(lib: Any) -> Any:
    """The transport, of this library's own base class."""

    class AsyncTransport(lib.AsyncBaseTransport):  # type: ignore[misc]
        """An asynchronous transport that keeps the time contract."""

        def __init__(self, inner: Any, settings: Settings) -> None:
            self.inner = inner
            self.settings = settings

        async def handle_async_request(self, request: Any) -> Any:
            try:
                loop = aio.running_loop()
                call = Call(lib, request, self.settings, clock.timepiece_of(loop))
                begin = partial(AsyncReading, call, loop, self.inner.handle_async_request)
                return await followed(course(call, begin, body_kind(lib)))
            except HangtightError as error:
                raise dressed(error, request.headers) from error.__cause__

        async def __aenter__(self) -> AsyncTransport:
            await self.inner.__aenter__()
            return self

        async def __aexit__(self, *error: Any) -> None:
            await self.inner.__aexit__(*error)

        async def aclose(self) -> None:
            await self.inner.aclose()

    return AsyncTransport
