"""Models for flows: a server on the test's own loop, so that its answers take virtual time; and runs on that loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hangtight.flows.definition.steps import Flow
from hangtight.flows.engine import Engine, Result
from hangtight.flows.events import Event, EventType
from hangtight.testing import jumping

CODER = "qwen3-coder:latest"
FOREVER = 1e6
LATER = 1e4  # virtual seconds, in which steps that heed nothing come to their end

Piece = float | str | int
"""Seconds of silence, a piece of text, or the status of a refusal, which is all that comes."""
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


@dataclass
class Models:
    """Answers each model's questions with its script, in turn where it has several; remembers what it was asked."""

    scripts: Mapping[str, Sequence[Piece] | list[Sequence[Piece]]]
    asked: list[dict[str, Any]] = field(default_factory=list)
    left: int = 0
    """Answers whose reader went away."""
    open: set[asyncio.Task[None]] = field(default_factory=set)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(asyncio.create_task(self._answer(reader, writer)))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if head.startswith("GET"):
                    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":[]}')
                    return
                length = int(head.lower().partition("content-length: ")[2].split()[0])
                await self._play(json.loads(await reader.readexactly(length)), writer)
        finally:
            writer.close()

    async def _play(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.asked.append(asked)
        script: Any = self.scripts[asked["model"]]
        if script and isinstance(script[0], list | tuple):
            script = script.pop(0)
        begun = False
        for piece in script:
            match piece:
                case int():
                    writer.write(f"HTTP/1.1 {piece} No\r\ncontent-length: 2\r\n\r\n{{}}".encode())
                    return
                case float():
                    await asyncio.sleep(piece)
                case _:
                    writer.write((b"" if begun else HEAD) + _event(piece))
                    begun = True
                    await writer.drain()
        writer.write(b"" if begun else HEAD)
        writer.write(_event("", "stop") + b"data: [DONE]\n\n")
        await writer.drain()


def _event(text: str, reason: str | None = None) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@asynccontextmanager
async def served(patch: pytest.MonkeyPatch, models: Models) -> AsyncIterator[Models]:
    """Where `generate` looks for a server there are these models."""
    listening = await asyncio.start_server(models.connected, "127.0.0.1", 0)
    patch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1")
    patch.delenv("OLLAMA_HOST", raising=False)
    async with listening:
        yield models
        await asyncio.sleep(1)  # virtual: who has just connected is let in
        listening.close()
        while left := [answering for answering in models.open if not answering.done()]:
            for answering in left:
                answering.cancel()
            await asyncio.wait(left)


@dataclass
class Told:
    """A run on virtual time, and all that was told of it."""

    result: Result
    events: list[Event]
    models: Models

    def of(self, kind: EventType, step: str | None = None) -> list[Event]:
        return [event for event in self.events if event.type is kind and step in (None, event.step)]

    def elapsed(self, kind: EventType, step: str | None = None) -> list[float]:
        """When these were told, in seconds from the begin of what they are about."""
        return [round(event.told["elapsed"], 1) for event in self.of(kind, step)]

    @property
    def kinds(self) -> list[EventType]:
        return [event.type for event in self.events]


def ran(
    patch: pytest.MonkeyPatch,
    folder: Path,
    flow: Flow | str | Path,
    scripts: Mapping[str, Any] | None = None,
    *,
    engine: Mapping[str, Any] | None = None,
    during: Callable[[Engine, str], Coroutine[Any, Any, object]] | None = None,
    **given: Any,
) -> Told:
    """Run it against scripted models; `during` is done beside it."""

    async def main() -> Told:
        events: list[Event] = []
        async with served(patch, Models(scripts or {})) as models:
            made = Engine(folder, on_event=events.append, **(engine or {}))
            run_id = given.pop("run_id", "r1")
            beside = asyncio.ensure_future(during(made, run_id)) if during else None
            result = await made.arun(flow, run_id=run_id, **given)
            if beside is not None:
                await beside
            await made.aclose()
            await asyncio.sleep(LATER)
        return Told(result, events, models)

    return jumping(main())
