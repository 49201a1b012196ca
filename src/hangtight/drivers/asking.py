"""One question to a chat server, as a stream of chunks for `watch`: the library's own client, on `http11`.

It keeps no time itself. Beside its chunks it tells the generation what it sees: bytes without content, a model that
loads, the end mark. What the server says is wrong becomes a BackendError with the server's own words.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from hangtight.core.facts import Absent, Contact, End, Fact, Ready
from hangtight.core.layers import Situation
from hangtight.core.telling import Door
from hangtight.dialects.chat import (
    EXTRAS,
    RETURN_PROGRESS,
    Chunk,
    Prompt,
    Said,
    Shape,
    complaint,
    complaint_in,
    is_piece,
    messages_of,
    request_body,
    said,
    streamed,
    tokens_of,
)
from hangtight.dialects.exchanges import last_prompt
from hangtight.dialects.sse import Event, EventTooLarge, Item, NDJSONDecoder, SSEDecoder
from hangtight.drivers import clock
from hangtight.drivers.given import AROUND, LimitArgs, given
from hangtight.drivers.http11 import BrokenBody, HTTPError, Response, request
from hangtight.drivers.residency import watched_memory
from hangtight.drivers.servers import Server, is_loading
from hangtight.drivers.terms import terms_of
from hangtight.drivers.watch import Watch
from hangtight.errors import BackendError

if TYPE_CHECKING:
    from typing import Self, Unpack

    from hangtight.core.heartbeat import Heartbeat

CONNECT = 10.0
ASK_AGAIN = 1.0  # seconds between two questions to a server that is loading its model
COMPLAINT_LIMIT = 64 * 1024
REFUSED_FIELDS = (400, 422)  # how servers say that they do not know a field
SUCCESS = range(200, 300)
SHOWN = 60  # characters of each end of what makes no sense
END_MARK = "[DONE]"
ITS_ID = "x-hangtight-id"
LONGEST_ID = 32
ELSEWHERE = ("-cloud", ":cloud")  # Ollama's names for models that it only passes on: they are never in its memory

DOOR = Door("watched(..., {name}={value})")


class Asking:
    """The answer to one question, chunk by chunk; asked when the first is wanted, given up by `aclose`."""

    bridged = True
    """A synchronous loop reads it too, through an event loop in a thread."""

    def __init__(self, server: Server, model: str, prompt: Prompt, *, think: bool = False) -> None:
        self.server = server
        self.model = model
        self.prompt = prompt
        self.think = think
        self.last = Said()
        """What the last chunk says."""
        self.reason = ""
        """Why the model ended, in the server's word."""
        self.tokens: int | None = None
        """How long the answer is, as the server counts it."""
        self.cut = ""
        """How the connection broke, where it did."""
        self._theirs = ""
        self._ended = End.CUT
        self._note: Callable[[Fact], object] = _nobody
        self._started = 0.0
        self._now: Callable[[], float] = clock.now
        self._chunks: AsyncGenerator[Chunk] | None = None

    @property
    def host(self) -> str:
        """Of the server."""
        return self.server.url.partition("://")[2].partition("/")[0]

    def last_prompt(self) -> str:
        """What the user wrote last."""
        return last_prompt({"messages": messages_of(self.prompt)})

    def anew(self, model: str) -> Self:
        """The same question to this model, as if nobody had been asked before."""
        self.model, self.last, self.reason, self.tokens, self.cut = model, Said(), "", None, ""
        self._ended, self._note, self._chunks, self._theirs = End.CUT, _nobody, None, ""
        return self

    def attach(self, note: Callable[[Fact], object]) -> None:
        """The generation that this answer belongs to."""
        self._note = note

    def end(self) -> End:
        """How the stream ended: with its dialect's end mark or without."""
        return self._ended

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        if self._chunks is None:
            self._now = clock.clock_of(asyncio.get_running_loop())
            self._started = self._now()
            self._chunks = self._read()
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """Hang up, if the answer is still coming: that is how a server is told to stop."""
        if self._chunks is not None:
            await self._chunks.aclose()

    # -- the stream -------------------------------------------------------------------------------------------

    async def _read(self) -> AsyncGenerator[Chunk]:
        async with AsyncExitStack() as stack:
            if self.server.shape is Shape.OLLAMA and not self.model.endswith(ELSEWHERE):
                await stack.enter_async_context(watched_memory(self.server.url, self.model, self._note))
            answer = await self._answer(stack)
            if _is(answer, "application/json") and self.server.shape is Shape.OPENAI:
                yield self._whole(await self._whole_body(answer))
                return
            decoder = SSEDecoder() if self.server.shape is Shape.OPENAI else NDJSONDecoder()
            try:
                async for data in answer:
                    for chunk in self._decoded(decoder.feed(data)):
                        yield chunk
                    if self._ended is End.MARKED:
                        return
                for chunk in self._decoded(decoder.close()):
                    yield chunk
            except BrokenBody as broken:
                self.cut = str(broken)
            except EventTooLarge as huge:
                raise self._failed(f"{self.server.url} sent what nobody can read: {huge}") from huge

    def _decoded(self, items: Iterable[Item]) -> Iterator[Chunk]:
        """The pieces of the answer among what was decoded; all else is contact, a part of an event too."""
        pieces = 0
        for item in items:
            chunk = self._chunk(item) if isinstance(item, Event) else None
            if chunk is not None:
                pieces += 1
                self._take(chunk)
                yield chunk
            if self._ended is End.MARKED:
                return
        if not pieces:
            self._note(Contact())

    def _chunk(self, event: Event) -> Chunk | None:
        if self.server.shape is Shape.OPENAI and event.data.strip() == END_MARK:
            self._ended = End.MARKED
            return None
        try:
            chunk = json.loads(event.data)
        except (ValueError, RecursionError) as broken:
            if not event.complete:
                return None  # the stream was cut inside of it
            raise self._failed(f"{self.server.url} sent broken JSON: {_shown(event.data)}") from broken
        if not isinstance(chunk, dict):
            raise self._failed(f"{self.server.url} sent JSON that is no object: {_shown(event.data)}")
        words = complaint(event.data) if event.event == "error" else complaint_in(chunk)
        if words is not None:
            raise self._failed(f"{self.server.url} reports an error: {words}")
        if not is_piece(self.server.shape, chunk):
            return None
        if chunk.get("done"):
            self._ended = End.MARKED
        return chunk

    def _take(self, chunk: Chunk) -> None:
        self.last = words = said(chunk)
        self.reason = words.reason or self.reason
        self.tokens = self.tokens if words.tokens is None else words.tokens

    def _whole(self, body: str) -> Chunk:
        """A server that does not stream gives its answer in one piece."""
        chunk = self._chunk(Event(body))
        if chunk is None or not chunk.get("choices"):
            raise self._failed(f"{self.server.url} answered with something that is no chat: {_shown(body)}")
        self._ended = End.MARKED
        chunk = streamed(chunk)
        self._take(chunk)
        return chunk

    # -- the answer's head ------------------------------------------------------------------------------------

    async def _answer(self, stack: AsyncExitStack) -> Response:
        """The answer once it is one: a server that loads is asked again, and so is one that refuses our extras."""
        extras = self._extras()
        loading = False
        while True:
            attempt = AsyncExitStack()
            answer = await self._send(attempt, extras)
            if answer.status in SUCCESS and not _is(answer, "text/html"):
                stack.push_async_exit(attempt)
                if loading:
                    self._note(Ready())
                return answer
            async with attempt:
                words = await _complaint_of(answer)
            if is_loading(answer.status, words):
                self._note(Contact() if loading else Absent())
                loading = True
                await asyncio.sleep(ASK_AGAIN)
            elif answer.status in REFUSED_FIELDS and (refused := {name for name in extras if name in words}):
                extras -= refused
            else:
                raise self._refused(answer, words)

    def _extras(self) -> frozenset[str]:
        if self.server.shape is not Shape.OPENAI:
            return frozenset()
        return frozenset(EXTRAS if self.server.is_nearby else EXTRAS.keys() - {RETURN_PROGRESS})

    async def _send(self, attempt: AsyncExitStack, extras: frozenset[str]) -> Response:
        body = request_body(self.server.shape, self.model, self.prompt, think=self.think, extras=extras)
        headers = {"content-type": "application/json", **self.server.headers}
        asking = request("POST", self.server.chat_url, headers=headers, body=body, connect_timeout=CONNECT)
        try:
            answer = await attempt.enter_async_context(asking)
        except HTTPError as failed:
            raise self._failed(str(failed)) from failed
        self._theirs = _checked(answer.headers.get(ITS_ID, ""))
        return answer

    async def _whole_body(self, answer: Response) -> str:
        try:
            return (await answer.read()).decode("utf-8", "replace")
        except HTTPError as broken:
            raise self._failed(str(broken)) from broken

    # -- errors -----------------------------------------------------------------------------------------------

    def _refused(self, answer: Response, body: str) -> BackendError:
        if answer.status in SUCCESS:
            error = self._failed(
                f"{self.server.chat_url} answers with a web page: is this the address of a model server?"
            )
        else:
            words = complaint(body) or answer.reason or "no reason given"
            later = answer.headers.get("retry-after")
            wait = f" (it says: try again after {later[:SHOWN]} s)" if later and later.isdigit() else ""
            error = self._failed(f"{self.server.url} refused with {answer.status}: {words}{wait}")
        error.status = answer.status
        return error

    def _failed(self, message: str) -> BackendError:
        error = BackendError(message)
        error.generation = self._theirs
        error.elapsed = self._now() - self._started
        return error


def watched(
    asking: Asking,
    *,
    mode: str | None = None,
    on_heartbeat: Callable[[Heartbeat], object] | None = None,
    door: Door = DOOR,
    fallback: Sequence[str] = (),
    **limits: Unpack[LimitArgs],
) -> Watch[Chunk]:
    """The question under the time contract, with the allowances that are due to its prompt and its server.

    The models of `fallback` stand in, one after the other, for one that fails before its first token.
    """
    situation = Situation(
        prompt_tokens=tokens_of(asking.prompt),
        nearby=asking.server.is_nearby,
        reasons=asking.think,
    )
    terms = terms_of(given(limits, mode), *AROUND.get(), door=door, situation=situation)
    source = asking.anew if fallback else asking
    return Watch(source, terms, model=asking.model or None, on_heartbeat=on_heartbeat, fallback=fallback)


async def _complaint_of(answer: Response) -> str:
    """The body of a refusal; one that does not arrive cannot be quoted."""
    try:
        return (await answer.read(COMPLAINT_LIMIT)).decode("utf-8", "replace")
    except HTTPError:
        return ""


def _checked(key: str) -> str:
    """What anybody may send is written down only where it looks like an id."""
    return key if len(key) <= LONGEST_ID and key.isascii() and key.isalnum() else ""


def _is(answer: Response, kind: str) -> bool:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower() == kind


def _shown(text: str) -> str:
    """The beginning and the end, which is where most broken things break."""
    return repr(text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]} ... {text[-SHOWN:]}")


def _nobody(fact: Fact) -> None:
    """Read without a watch: nobody wants to know."""
