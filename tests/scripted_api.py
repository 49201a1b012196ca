"""A model behind OpenAI's API without a network: a transport that plays a script on the loop's own clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

Step = float | str
"""Seconds of silence, or a piece of text."""


def chunk(model: str, text: str | None, reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": reason}
    told = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return b"data: " + json.dumps(told).encode() + b"\n\n"


class Body(httpx2.AsyncByteStream):
    def __init__(self, api: ScriptedApi, model: str) -> None:
        self.api, self.model = api, model

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self.api.scripts[self.model]:
            if isinstance(step, str):
                yield chunk(self.model, step)
            else:
                await asyncio.sleep(step)
        yield chunk(self.model, None, "stop")
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        self.api.closed.append(self.model)


@dataclass
class ScriptedApi(httpx2.AsyncBaseTransport):
    """Answers each model's request with its script; remembers who was asked, when, and whose stream was closed."""

    scripts: Mapping[str, Sequence[Step]]
    asked: list[tuple[str, float]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    async def handle_async_request(self, request: Any) -> httpx2.Response:
        model = json.loads(request.content)["model"]
        self.asked.append((model, asyncio.get_running_loop().time()))
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(self, model))
