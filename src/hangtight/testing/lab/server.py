"""The lab's server: routes, connections, and what is the same for all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from hangtight.testing.lab import wire_anthropic, wire_completions, wire_ollama, wire_openai, wire_responses
from hangtight.testing.lab.counts import Books, Entry
from hangtight.testing.lab.http import HttpError, Reader, Reply, Request, read_request, reset
from hangtight.testing.lab.manners import Manners
from hangtight.testing.lab.pause import for_ever
from hangtight.testing.lab.play import Player, Stage, attend
from hangtight.testing.lab.residency import Residency
from hangtight.testing.lab.script import Script, ScriptError
from hangtight.testing.lab.sleeping import answer
from hangtight.testing.lab.standing import Standing, State
from hangtight.testing.lab.wire import LOADING, Ask, AskError, Wire, compact

MODELS = ("qwen3-coder", "qwen3:1.7b")
"""What the lab lists before anybody asked for anything: two healthy models."""

LAST_TURNS = 4
"""Of the loop: from a connection that the system has accepted to one that is known here."""
REQUEST_MODEL = "?"


@dataclass(frozen=True)
class Api:
    """One way to ask for a generation: how its requests are read and its answers written."""

    name: str
    read: Callable[[bytes], Ask]
    wire: Callable[[Ask], Wire]


APIS = {
    "/v1/chat/completions": Api("OpenAI's chat", wire_openai.ask_of, wire_openai.OpenAIChat),
    "/v1/completions": Api("OpenAI's text completions", wire_completions.ask_of, wire_completions.OpenAICompletion),
    "/v1/responses": Api("OpenAI's responses", wire_responses.ask_of, wire_responses.OpenAIResponse),
    "/v1/messages": Api("Anthropic's messages", wire_anthropic.ask_of, wire_anthropic.AnthropicMessage),
    "/api/chat": Api("Ollama's chat", wire_ollama.ask_of, wire_ollama.OllamaChat),
    "/api/generate": Api("Ollama's text completions", wire_ollama.generate_ask_of, wire_ollama.OllamaGenerate),
}


class Connection:
    """One client's connection, and the request on it that is being served."""

    def __init__(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.entry: Entry | None = None

    def reset(self) -> None:
        """Cut it off; that is not the client's doing, so it does not count as cancelled."""
        if self.entry is not None:
            self.entry.spoiled()
        reset(self.writer)


async def _let_nobody_in(listener: asyncio.Server) -> None:
    """Whom the system has let in already is met before this returns: a listener that is closed would forget him."""
    with suppress(NotImplementedError):  # Windows has no readers
        for sock in listener.sockets:
            asyncio.get_running_loop().remove_reader(sock)
    for _ in range(LAST_TURNS):
        await asyncio.sleep(0)


def unheard(_: str) -> None:
    """For a server without anybody to tell something to."""


class Server:
    """Serves scripts. All of it runs on one loop; only the books may be read from elsewhere."""

    def __init__(
        self,
        models: tuple[str, ...] = MODELS,
        *,
        only: bool = False,
        manners: Manners | None = None,
        say: Callable[[str], None] = unheard,
    ) -> None:
        """`only` lists these models alone; others lists also what was asked for."""
        self.books = Books()
        self.failure: BaseException | None = None
        self._models = models
        self._only = only
        self._manners = manners or Manners()
        self._say = say
        self._standing = Standing(self._manners, say)
        self._load: asyncio.Task[None] | None = None
        self._residency = Residency()
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._listener: asyncio.Server | None = None
        self._address = ("127.0.0.1", 0)

    async def start(self, host: str, port: int) -> str:
        """Listen; returns the URL, with the port that the system chose where 0 was asked for."""
        if self._manners.loading.late_port:
            await self._standing.load()
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._protocol, host, port)
        self._address = self._listener.sockets[0].getsockname()[:2]
        self._begin()
        bound, port = self._address
        return f"http://[{bound}]:{port}" if ":" in bound else f"http://{bound}:{port}"

    async def stop(self) -> None:
        """End everything; afterwards there is no task, connection or listener left."""
        listener, self._listener = self._listener, None
        if listener is not None:
            await _let_nobody_in(listener)
            listener.close()
        await self._end_connections(None)
        self._forget()
        if listener is not None:
            await listener.wait_closed()

    async def reset(self) -> None:
        """As if just started: nothing counted, loaded, connected or running; a dead server listens again."""
        await self._end_connections(asyncio.current_task())
        self._forget()
        self.books.reset()
        self._standing = Standing(self._manners, self._say)
        if self._listener is None:
            await self.start(*self._address)
        else:
            self._begin()

    def _begin(self) -> None:
        self._standing.listens()
        self._load = asyncio.create_task(self._standing.load(), name="load of the server")

    def _forget(self) -> None:
        self._residency.forget()
        if self._load is not None:
            self._load.cancel()

    def die(self) -> None:
        """What a killed process leaves: nobody listens, and every connection is reset."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in self._connections.values():
            connection.reset()

    async def _end_connections(self, keep: asyncio.Task[None] | None) -> None:
        others = {task: connection for task, connection in self._connections.items() if task is not keep}
        for task, connection in others.items():
            connection.reset()
            task.cancel()
        if others:
            await asyncio.wait(others)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = Reader()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = Connection(reader, writer)
            task = asyncio.create_task(self._converse(connection))
            self._connections[task] = connection
            task.add_done_callback(self._hung_up)

        return asyncio.StreamReaderProtocol(reader, connected)

    def _hung_up(self, task: asyncio.Task[None]) -> None:
        del self._connections[task]
        if not task.cancelled() and self.failure is None:
            self.failure = task.exception()

    async def _converse(self, connection: Connection) -> None:
        # with no room for unsent bytes, what was written was sent: a reset after N tokens comes after N tokens
        connection.writer.transport.set_write_buffer_limits(high=0)
        try:
            keep = True
            while keep:
                keep = await self._exchange(connection)
        except ConnectionError:
            pass
        finally:
            connection.writer.close()

    async def _exchange(self, connection: Connection) -> bool:
        """Read one request and answer it; True where another may follow."""
        try:
            request = await read_request(connection.reader, connection.writer)
        except HttpError as wrong:
            await Reply(connection.writer, keep=False).whole(wrong.status, _complaint(str(wrong)))
            return False
        if request is None:
            return False
        reply = Reply(connection.writer, chunks=request.chunks, keep=request.keep)
        if request.method == "POST" and request.path in APIS:
            await self._generate(APIS[request.path], request, reply, connection)
        elif request.path == "/health" and self._standing.health_is_closed():
            await connection.reader.gone.wait()
            return False
        else:
            await reply.whole(*await self._look_up(request))
        return reply.keep and not connection.writer.is_closing()

    async def _generate(self, api: Api, request: Request, reply: Reply, connection: Connection) -> None:
        try:
            ask = api.read(request.body)
            script = Script.read(ask.model)
        except (AskError, ScriptError) as wrong:
            wire = api.wire(Ask(model=REQUEST_MODEL, stream=False))
            await reply.whole(400, wire.refusal(400, str(wrong)))
            return
        entry = connection.entry = self.books.entry(ask.model, streamed=ask.stream)
        ask = replace(ask, stream=ask.stream and not script.answer.whole)
        gone = connection.reader.gone
        stage = Stage(reply=reply, entry=entry, residency=self._residency, gone=gone, die=self.die)
        try:
            if refused := self._standing.refusal():
                entry.spoiled()
                await reply.whole(503, refused)
            elif self._standing.hangs(self.books.finished):
                await attend(for_ever(), gone, entry.left, stays=False)
            else:
                player = Player(script, ask, api.wire(ask), stage)
                await attend(player.play(), gone, entry.left, script.ending.ignores_cancel)
        finally:
            connection.entry = None
            entry.close()

    async def _look_up(self, request: Request) -> tuple[int, bytes]:
        if found := await answer(self._standing, request, busy=self.books.is_open()):
            return found
        match request.method, request.path:
            case "GET", "/v1/models":
                return 200, wire_openai.models(self._known())
            case "GET", "/api/tags":
                return 200, wire_ollama.tags(self._known())
            case "GET", "/api/ps":
                return 200, wire_ollama.resident(self._residency.resident())
            case "GET", "/api/version":
                return 200, wire_ollama.version()
            case "GET", "/health":
                return self._health()
            case "GET", "/lab/counts":
                return 200, json.dumps(
                    {model: asdict(counts) for model, counts in self.books.models().items()}
                ).encode()
            case "POST", "/lab/reset":
                await self.reset()
                return 200, compact({"reset": True})
            case _:
                return 404, _complaint(f"there is no {request.method} {request.path} here")

    def _health(self) -> tuple[int, bytes]:
        """llama.cpp's: not healthy while a model that would say so is loading. Asleep is healthy, as in vLLM."""
        if self._standing.state is State.LOADING:
            return 503, self._standing.refusal() or b""
        for model in self.books.models():
            if self._residency.is_loading(model) and Script.read(model).start.unavailable:
                wire = wire_openai.OpenAIChat(Ask(model=model, stream=False))
                return 503, wire.refusal(503, LOADING)
        return 200, compact({"status": "ok"})

    def _known(self) -> list[str]:
        if self._only:
            return list(self._models)
        return list(dict.fromkeys([*self._models, *self.books.models()]))


def _complaint(message: str) -> bytes:
    return compact({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}})
