"""For fuzzing: a raw server that answers with given bytes, the streams of six APIs in bytes, and a call through an SDK.

The server finds the answer by the name of the model, so that calls may overlap. What it is told to say is sent as it
is: each piece is written by itself, in a chunk of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Any

import anthropic
import ollama
import openai

import hangtight
from hangtight.testing.lab import wire_anthropic, wire_completions, wire_ollama, wire_openai, wire_responses
from hangtight.testing.lab.wire import Ask, Close, Spent, Wire
from hangtight.testing.lab.words import Token

LIMITS: dict[str, Any] = {"first_token": 0.5, "idle": 0.5, "total": 3.0}
BOUND = 10.0  # seconds; far above every limit, and only something that hangs takes so long
GIVES_UP = 15.0  # seconds after which the server ends a connection, so that even a hang comes to its end
TURNS = 9
"""Of the loop, in which it closes the generators that an SDK drops in the middle of an error."""
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Without the certificates of the world, whose reading takes longer than a thousand of these calls."""
SSE, LINES, JSON = "text/event-stream", "application/x-ndjson", "application/json"
ASKED = [{"role": "user", "content": "Say something."}]
REASONS = {200: "OK", 404: "Not Found"}

# -- the server -----------------------------------------------------------------------------------------------


class Ending(Enum):
    """What comes behind the last piece."""

    WHOLE = "the end of the body"
    CUT = "the end of the connection"
    MUTE = "nothing at all, on an open connection"


@dataclass(frozen=True)
class Answer:
    """What the server says to one request."""

    pieces: tuple[bytes, ...]
    kind: str = SSE
    status: int = 200
    encoding: str = ""
    ending: Ending = Ending.WHOLE
    raw: bool = False
    """No HTTP around it: the pieces are all that is sent."""

    def head(self) -> bytes:
        encoding = f"content-encoding: {self.encoding}\r\n" if self.encoding else ""
        return (
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'So')}\r\ncontent-type: {self.kind}\r\n{encoding}"
            "transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        ).encode()

    def writes(self) -> Iterator[bytes]:
        if self.raw:
            yield from self.pieces
            return
        yield self.head()
        for piece in filter(None, self.pieces):
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
        if self.ending is Ending.WHOLE:
            yield b"0\r\n\r\n"


UNKNOWN = Answer((b'{"error":"not found"}',), JSON, 404)


class Server:
    """One connection per call, on loopback, in a thread of its own."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.url = ""
        self._numbers = count()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fuzzed-server")

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._ready.wait(BOUND)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @contextmanager
    def says(self, answer: Answer) -> Iterator[str]:
        """The name of a model that gives this answer."""
        name = f"m{next(self._numbers)}"
        self.answers[name] = answer
        yield name
        del self.answers[name]

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(GIVES_UP):
                answer = await self._asked(reader)
                for data in answer.writes():
                    if writer.is_closing():
                        return
                    writer.write(data)
                await writer.drain()
                if answer.ending is Ending.MUTE:
                    await reader.read()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _asked(self, reader: asyncio.StreamReader) -> Answer:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        named = re.search(rb'"model": ?"(m\d+)"', body)
        return self.answers.get(named[1].decode(), UNKNOWN) if named else UNKNOWN


# -- the APIs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Api:
    """One way to ask, through the SDK that knows it, and how a server speaks it."""

    name: str
    sdk: str
    ask: Callable[..., Any]
    """`ask(client, model, streamed)`: of an asynchronous client something to await."""
    text: Callable[[Any], str]
    """What a whole answer says."""
    wire: Callable[[Ask], Wire]
    last_words: Callable[[str], bool]
    """Whether this chunk, shown as `repr`, ends the answer for everybody who reads it."""
    kind: str = SSE

    def stream(self, texts: list[str], thoughts: list[str]) -> list[bytes]:
        """A whole stream, event by event or line by line, end mark and all."""
        wire = self.wire(Ask(model="m", stream=True))
        said = [Token(text, "reasoning", at == 0, False) for at, text in enumerate(thoughts)]
        said += [Token(text, "answer", at == 0, at + 1 == len(texts)) for at, text in enumerate(texts)]
        close = Close(reason=wire.reason(False, False), tokens=len(said), spent=Spent())
        body = b"".join([wire.opening(), *map(wire.token, said), wire.close(close), wire.done(close)])
        border = b"\n" if self.kind == LINES else b"\n\n"
        return [event + border for event in body.split(border) if event]


def _chat(client: Any, model: str, streamed: bool) -> Any:
    return client.chat.completions.create(model=model, messages=ASKED, stream=streamed)


def _completions(client: Any, model: str, streamed: bool) -> Any:
    return client.completions.create(model=model, prompt="Say something.", stream=streamed)


def _responses(client: Any, model: str, streamed: bool) -> Any:
    return client.responses.create(model=model, input="Say something.", stream=streamed)


def _messages(client: Any, model: str, streamed: bool) -> Any:
    return client.messages.create(model=model, messages=ASKED, max_tokens=1000, stream=streamed)


def _ollama_chat(client: Any, model: str, streamed: bool) -> Any:
    return client.chat(model=model, messages=ASKED, stream=streamed)


def _ollama_generate(client: Any, model: str, streamed: bool) -> Any:
    return client.generate(model=model, prompt="Say something.", stream=streamed)


APIS = {
    api.name: api
    for api in (
        Api(
            "chat",
            "openai",
            _chat,
            lambda answer: answer.choices[0].message.content or "",
            wire_openai.OpenAIChat,
            lambda shown: "finish_reason='stop'" in shown,
        ),
        Api(
            "completions",
            "openai",
            _completions,
            lambda answer: str(answer.choices[0].text),
            wire_completions.OpenAICompletion,
            lambda shown: "finish_reason='stop'" in shown,
        ),
        Api(
            "responses",
            "openai",
            _responses,
            lambda answer: str(answer.output_text),
            wire_responses.OpenAIResponse,
            lambda shown: shown.startswith("ResponseCompletedEvent("),
        ),
        Api(
            "messages",
            "anthropic",
            _messages,
            lambda answer: "".join(block.text for block in answer.content if block.type == "text"),
            wire_anthropic.AnthropicMessage,
            lambda shown: shown.startswith("RawMessageStopEvent(") or "stop_reason='end_turn'" in shown,
        ),
        Api(
            "ollama",
            "ollama",
            _ollama_chat,
            lambda answer: answer.message.content or "",
            wire_ollama.OllamaChat,
            lambda shown: "done=True" in shown,
            LINES,
        ),
        Api(
            "generate",
            "ollama",
            _ollama_generate,
            lambda answer: answer.response or "",
            wire_ollama.OllamaGenerate,
            lambda shown: "done=True" in shown,
            LINES,
        ),
    )
}
OF_THE_SDK: dict[str, tuple[type[BaseException], ...]] = {
    "openai": (openai.OpenAIError,),
    "anthropic": (anthropic.AnthropicError,),
    "ollama": (ollama.ResponseError, ollama.RequestError),
}

# -- the calls ------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What the caller of one call had at its end."""

    items: list[str] = field(default_factory=list)
    """The chunks, or the one answer, as `repr` shows them."""
    text: str = ""
    """Of a whole answer."""
    error: Exception | None = None
    took: float = 0.0

    @property
    def is_ours(self) -> bool:
        return isinstance(self.error, hangtight.HangtightError)

    @property
    def told(self) -> tuple[type[Exception] | None, str]:
        """The error, to be compared. Ours name the model, which differs from call to call."""
        return type(self.error) if self.error is not None else None, "" if self.is_ours else str(self.error)


class Caller:
    """The clients of all SDKs, bare and ours; each is made once."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._runner = asyncio.Runner()
        self._clients: dict[tuple[str, bool, bool], Any] = {}

    def close(self) -> None:
        for (_, asynchronous, _), client in self._clients.items():
            if asynchronous:
                self._runner.run(_closed(client))
            else:
                client.close()
        self._runner.close()

    def call(self, api: Api, answer: Answer, *, ours: bool, asynchronous: bool, streamed: bool = True) -> Seen:
        """One call. Where our machine was too slow for a limit, and not the server, it is tried once more."""
        for _ in range(2):
            with self.server.says(answer) as model:
                client = self._client(api.sdk, asynchronous, ours)
                if asynchronous:
                    seen = self._runner.run(_async_call(api, client, model, streamed))
                else:
                    seen = sync_call(api, client, model, streamed)
            assert seen.took < BOUND, f"it took {seen.took} s and ended with {seen.error!r}"
            assert not ours or in_use(client) == []
            if answer.ending is Ending.MUTE or not isinstance(seen.error, hangtight.GenerationTimeout):
                break
            assert seen.took > LIMITS["idle"] / 2, seen.error
        return seen

    def all_at_once(self, api: Api, answers: list[Answer], *, asynchronous: bool, streamed: bool) -> list[Seen]:
        """Calls through ours that overlap, because each of them takes its time."""
        client = self._client(api.sdk, asynchronous, True)
        names = [f"m{10**6 + at}" for at in range(len(answers))]
        self.server.answers.update(zip(names, answers, strict=True))
        found: list[Seen] = [Seen()] * len(names)
        if asynchronous:
            found = self._runner.run(_together(api, client, names, streamed))
        else:

            def one(at: int) -> None:
                found[at] = sync_call(api, client, names[at], streamed)

            threads = [threading.Thread(target=one, args=(at,)) for at in range(len(names))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert in_use(client) == []
        return found

    def _client(self, sdk: str, asynchronous: bool, ours: bool) -> Any:
        key = (sdk, asynchronous, ours)
        if key not in self._clients:
            self._clients[key] = (_async_client if asynchronous else _sync_client)(sdk, self.server.url, ours)
        return self._clients[key]


def _sync_client(sdk: str, url: str, ours: bool) -> Any:
    if sdk == "ollama":
        own = {"transport": hangtight.http.transport(lib="httpx", verify=NO_TLS, **LIMITS)} if ours else {}
        return ollama.Client(host=url, **own)
    own = {"http_client": hangtight.http.client(verify=NO_TLS, **LIMITS)} if ours else {}
    if sdk == "anthropic":
        return anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, **own)
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, **own)


def _async_client(sdk: str, url: str, ours: bool) -> Any:
    if sdk == "ollama":
        own = {"transport": hangtight.http.async_transport(lib="httpx", verify=NO_TLS, **LIMITS)} if ours else {}
        return ollama.AsyncClient(host=url, **own)
    own = {"http_client": hangtight.http.async_client(verify=NO_TLS, **LIMITS)} if ours else {}
    if sdk == "anthropic":
        return anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0, **own)
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, **own)


def in_use(client: Any) -> list[Any]:
    """The connections that the client's pool still holds in use."""
    transport = client._client._transport
    pool = getattr(transport, "inner", transport)._pool
    return [connection for connection in pool.connections if not (connection.is_idle() or connection.is_closed())]


def sync_call(api: Api, client: Any, model: str, streamed: bool) -> Seen:
    seen, began = Seen(), time.monotonic()
    try:
        answer = api.ask(client, model, streamed)
        if streamed:
            for item in answer:
                seen.items.append(repr(item))
        else:
            seen.items.append(repr(answer))
            seen.text = _text(api, answer)
    except Exception as error:
        seen.error = error.with_traceback(None)
    seen.took = time.monotonic() - began
    return seen


async def _async_call(api: Api, client: Any, model: str, streamed: bool) -> Seen:
    seen, began = Seen(), time.monotonic()
    try:
        async with asyncio.timeout(BOUND + 1):
            answer = await api.ask(client, model, streamed)
            if streamed:
                async for item in answer:
                    seen.items.append(repr(item))
            else:
                seen.items.append(repr(answer))
                seen.text = _text(api, answer)
    except Exception as error:
        seen.error = error.with_traceback(None)
    seen.took = time.monotonic() - began
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return seen


def _text(api: Api, answer: Any) -> str:
    """Of an answer in whatever form: the SDKs check it little."""
    try:
        return api.text(answer)
    except (AttributeError, TypeError, IndexError):
        return ""


async def _together(api: Api, client: Any, names: list[str], streamed: bool) -> list[Seen]:
    return await asyncio.gather(*[_async_call(api, client, name, streamed) for name in names])


async def _closed(client: Any) -> None:
    await (client._client.aclose() if isinstance(client, ollama.AsyncClient) else client.close())


# -- bytes that nobody would send -----------------------------------------------------------------------------


def altered(data: bytes, at: int, leaf: object) -> bytes:
    """This JSON with one of its values, told by its number, changed to another."""
    try:
        value = json.loads(data)
    except ValueError:
        return data
    places = list(_places(value))
    if not places:
        return data
    holder, key = places[at % len(places)]
    holder[key] = leaf
    return json.dumps(value).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in list(inside):
        yield value, key
        yield from _places(below)
