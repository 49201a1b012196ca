"""Where the gateway asks models that are a process for each request: a port of this machine, and a path nobody guesses.

As much of HTTP/1.1 as one client of our own needs. `/slots` tells what still runs, as llama.cpp's server would: so the
gateway sees whether what it cancelled has stopped.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from hangtight.supervisor.prompts import CHAT, COMPLETION, Unreadable, question_of
from hangtight.supervisor.server import NOT_RUN
from hangtight.supervisor.speaking import Voice, refusal, whole

if TYPE_CHECKING:
    from hangtight.supervisor.talker import Talker

HOST = "127.0.0.1"
HEAD = 64 * 1024  # bytes
MOST = 256 * 1024 * 1024  # bytes of a body: the gateway has a limit of its own
PATIENCE = 30.0  # seconds for a request to be there
OK, BAD_REQUEST, NOT_FOUND, UNAVAILABLE = 200, 400, 404, 503
SECRET = 16  # bytes
WRONG = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, TimeoutError, ValueError)


class Listener:
    """One port for all of them. It is there as soon as this is made; what comes before `begin` waits."""

    def __init__(self, find: Callable[[str], Talker | None]) -> None:
        self._find = find
        self._secret = secrets.token_urlsafe(SECRET)
        self._socket = socket.create_server((HOST, 0))
        self._server: asyncio.Server | None = None
        self._answers: set[asyncio.Task[None]] = set()

    def base(self, model: str) -> str:
        """The address of this model. Other programs of this machine cannot guess it."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}/{self._secret}/{quote(model, safe='')}"

    async def begin(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._socket, limit=HEAD)

    async def close(self) -> None:
        """Whoever calls this has ended the processes."""
        if self._server is not None:
            self._server.close()
        self._socket.close()
        for answer in list(self._answers):
            answer.cancel()
        if self._answers:
            await asyncio.wait(self._answers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request; the connection ends with its answer."""
        task = asyncio.current_task()
        assert task is not None, "asyncio makes a task for each connection"
        self._answers.add(task)
        try:
            async with asyncio.timeout(PATIENCE):
                method, path, body = await _read(reader)
            await self._answer(method, path, body, reader, writer)
        except WRONG:  # whoever that was, it was not the gateway, or it has left
            writer.transport.abort()
        finally:
            self._answers.discard(task)
            with suppress(ConnectionError):
                writer.close()

    async def _answer(
        self, method: str, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        secret, _, rest = path.removeprefix("/").partition("/")
        name, _, rest = rest.partition("/")
        knows_us = secrets.compare_digest(secret.encode(), self._secret.encode())
        talker = self._find(unquote(name)) if knows_us else None
        match method, f"/{rest}":
            case _ if not knows_us:
                writer.write(whole(NOT_FOUND, refusal("there is nothing here", "not_found")))
            case _ if talker is None:  # the settings changed while this request was on its way
                writer.write(whole(UNAVAILABLE, refusal(f"{unquote(name)}: {NOT_RUN}", "not_running")))
            case "POST", ("/v1/chat/completions" | "/v1/completions") as wanted:
                await _talk(talker, wanted, body, reader, writer)
            case "GET", "/slots":
                busy = [{"id": each, "id_task": each, "is_processing": True} for each in talker.talks]
                writer.write(whole(OK, [*busy, {"id": 0, "is_processing": False}]))
            case _:
                words = f"{talker.name} is a process for each request: it answers {CHAT} and {COMPLETION} alone"
                writer.write(whole(NOT_FOUND, refusal(words, "not_found")))
        await writer.drain()


async def _talk(
    talker: Talker, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Until it is answered or the client has left, whichever comes first."""
    try:
        question = question_of(path, body)
    except Unreadable as why:
        writer.write(whole(BAD_REQUEST, refusal(str(why), "bad_request")))
        return
    answering = asyncio.ensure_future(talker.answer(question, Voice(question, writer)))
    leaving = asyncio.ensure_future(reader.read(1))
    both = {answering, leaving}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in both:
            task.cancel()
        await asyncio.wait(both)
    if not answering.cancelled():
        answering.result()


async def _read(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    """Method, path and body. Raises one of WRONG."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    if "transfer-encoding" in headers:
        raise ValueError("the gateway says how long a body is")
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= MOST:
        raise ValueError("a body of this length is no request")
    return method, target.partition("?")[0], await reader.readexactly(length)
