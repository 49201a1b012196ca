"""The asynchronous transport: one alarm for each response, and no task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from hangtight.core.facts import Absent, Broke, Contact, Handed, Ready
from hangtight.drivers import aio, clock
from hangtight.drivers.http.answers import (
    ASK_AGAIN,
    LAST_WORDS,
    REFUSAL_LIMIT,
    REFUSED,
    Answer,
    assembled,
    failed_early,
    is_waiting_for_its_model,
    refusal_of,
)
from hangtight.drivers.http.call import Again, Call, Plan, Settings
from hangtight.drivers.http.memory import Looking, base_of
from hangtight.drivers.http.sdk import dressed
from hangtight.drivers.servers import OK, UNAVAILABLE
from hangtight.drivers.sources import EXTENSION
from hangtight.errors import HangtightError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

Send = Callable[[], Awaitable[Any]]


class Reading:
    """One attempt under its clocks: asked for, read, and closed at any end."""

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.session = call.session()
        self.life = aio.Life(self.session, loop)
        self.answer: Answer | None = None
        self.over = False
        self._in_lane = False
        """The last bytes were progress, past `record`: so is the next question."""
        self._step: Callable[[], Awaitable[bytes]] | None = None
        base = base_of(call)
        self._looking = Looking(loop, base, call.attempts.model, self.session.note) if base is not None else None

    # -- the head ---------------------------------------------------------------------------------------------

    async def open(self, send: Send) -> Answer:
        """The head of the answer; a server that loads its model is asked again until it has."""
        loading = False
        while True:
            response = await self.guarded(send())
            if response.status_code != UNAVAILABLE or self.call.dialect is None:
                break
            body = await self.guarded(collected(response.stream))
            if not is_waiting_for_its_model(response.status_code, body):
                response.stream = self.call.lib.ByteStream(body)
                break
            self.session.note(Contact() if loading else Absent())
            loading = True
            await self.guarded(asyncio.sleep(ASK_AGAIN))
        if loading:
            self.session.note(Ready())
        self.life.source = response.stream
        self._step = aiter(response.stream).__anext__
        self.answer = Answer(self.call, response)
        self.session.end_of_source = self.answer.end
        return self.answer

    async def guarded(self, work: Awaitable[Any]) -> Any:
        """What this work gives, while the clocks run."""
        self.life.alarm.task = asyncio.current_task()
        try:
            return await work
        except BaseException as error:
            if not await self._ended(error):
                raise
        self.session.settle()
        raise StopAsyncIteration

    # -- the body ---------------------------------------------------------------------------------------------

    async def read(self) -> bytes:
        """The next bytes. Raises StopAsyncIteration at the end, or what the end is for the caller."""
        session, answer, step = self.session, self.answer, self._step
        if self.over or answer is None or step is None:
            raise StopAsyncIteration
        if session.rang is None:
            machine = session.machine
            if self._in_lane and machine.lane is not None:
                machine.since = session.clock()
                machine.waiting = True
            else:
                session.ask()
            self.life.alarm.task = asyncio.current_task()
            try:
                data: bytes = await step()
                self._in_lane = answer.take(session, data)
                if self._looking is not None and machine.tokens:
                    await self._look_away()
                self.life.alarm.take_back()
                return data
            except BaseException as error:
                if not await self._ended(error):
                    raise
        else:
            await self._ended(None)
        session.settle()
        raise StopAsyncIteration

    async def until_a_token(self) -> list[bytes]:
        """What comes before the first token, and that: until then another model may take over."""
        early: list[bytes] = []
        while not self.over and not self.session.machine.tokens:
            try:
                early.append(await self.read())
            except StopAsyncIteration:
                break
            if self.answer is not None and self.answer.is_complete:
                break
        return early

    async def through(self) -> None:
        """Read all of it, as far as its end mark."""
        answer = self.answer
        assert answer is not None, "the head comes first"
        while not answer.is_complete:
            try:
                await self.read()
            except StopAsyncIteration:
                return
        await self.leave()

    # -- the end ----------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Nobody reads on. The connection is closed, unless it was read to its end."""
        if not self.over:
            await self._hear_the_last_words()
            self.session.note(self.answer.last_fact() if self.answer is not None else Broke())
            await self._ended(None)

    async def _hear_the_last_words(self) -> None:
        """Behind the end mark, for a moment: a connection whose body was read to its end can be used again."""
        if self.answer is None or self._step is None or not self.answer.is_complete:
            return
        try:
            async with asyncio.timeout(LAST_WORDS):
                while True:
                    await self._step()
        except (StopAsyncIteration, TimeoutError):
            pass
        except Exception:  # noqa: BLE001 - the answer is whole; how its connection ends is nobody's concern
            pass

    async def _ended(self, error: BaseException | None) -> bool:
        self.over = True
        if isinstance(error, StopAsyncIteration) and self.answer is not None:
            self.answer.close(self.session)
        await self._look_away()
        kind = type(error) if error is not None else None
        return await self.life.__aexit__(kind, error, error.__traceback__ if error is not None else None)

    async def _look_away(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            await looking.stop()

    def forget(self) -> None:
        """Thrown away unread: no alarm shall stay behind."""
        if not self.over:
            self.life.loop.call_soon_threadsafe(self.life.alarm.stop)


async def collected(stream: AsyncIterable[bytes]) -> bytes:
    """A short body, whole."""
    body = bytearray()
    async for data in stream:
        body += data
        if len(body) > REFUSAL_LIMIT:
            break
    await aio.close(stream)
    return bytes(body)


async def handle(lib: Any, send: Callable[[Any], Awaitable[Any]], settings: Settings, request: Any) -> Any:
    """Answer one request of a client: by the model it asks, or by one that stands in for it."""
    loop = aio.running_loop()
    call = Call(lib, request, settings, clock.timepiece_of(loop))
    while True:
        reading = Reading(call, loop)
        try:
            return await _attempt(call, reading, lambda: send(call.to_send()))
        except Again:
            await reading.leave()
        except Exception as error:
            if not call.goes_on(error, reading.session):
                raise
            await reading.leave()


async def _attempt(call: Call, reading: Reading, send: Send) -> Any:
    answer = await reading.open(send)
    response = answer.response
    if response.status_code >= REFUSED and call.may_ask_again(response.status_code):
        body = await reading.guarded(collected(response.stream))
        await reading.leave()
        call.refused(refusal_of(call, response.status_code, body, reading.session), reading.session)
        response.stream = call.lib.ByteStream(body)
        return response
    if response.status_code == OK:
        call.answered(streamed=answer.is_stream)
    if call.plan is Plan.UPGRADED and answer.is_stream:
        await reading.through()
        failed_early(call, answer, reading.session)
        return assembled(call, answer, reading.session)
    early: list[bytes] = []
    if call.attempts.may_change and answer.is_stream:
        early = await reading.until_a_token()
        failed_early(call, answer, reading.session)
    reading.session.note(Handed())
    response.stream = body_kind(call.lib)(reading, early)
    response.extensions[EXTENSION] = reading.session
    return response


@cache
def body_kind(lib: Any) -> Callable[[Reading, list[bytes]], Any]:
    """The body of a response, of this library's own base class."""

    class Body(lib.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, reading: Reading, early: list[bytes]) -> None:
            self.reading = reading
            self.early = early

        def __aiter__(self) -> Body:
            return self

        async def __anext__(self) -> bytes:
            if self.early:
                return self.early.pop(0)
            try:
                return await self.reading.read()
            except HangtightError as error:
                raise self.reading.call.for_the_caller(error) from error.__cause__

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
                return await handle(lib, self.inner.handle_async_request, self.settings, request)
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
