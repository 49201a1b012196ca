"""A client of the tour: a question over a real socket, what came back, and what the gateway tells meanwhile."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hangtight.dialects.sse import Event, SSEDecoder
from hangtight.drivers import clock
from hangtight.drivers.http11 import HTTPError, Response, request

CHAT = "/v1/chat/completions"
EVENTS = "/hangtight/events"
DONE = "[DONE]"
QUESTION = [{"role": "user", "content": "Write a script that sorts my photographs."}]
CONNECT = 5.0  # seconds
GOOD = 200

Told = dict[str, Any]


@dataclass
class Answer:
    """What a client has in the end. `error` is what it was told in place of the rest."""

    asked: str
    id: str = ""
    model: str = ""
    status: int = 0
    text: str = ""
    tokens: int = 0
    elapsed: float = 0.0
    finished: bool = False
    error: Told = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """The three lines of the error."""
        return str(self.error.get("message", "")).splitlines()


async def ask(url: str, model: str, headers: Mapping[str, str]) -> Answer:
    """A streamed chat, as any client has it."""
    began, answer = clock.now(), Answer(model)
    body = json.dumps({"model": model, "stream": True, "messages": QUESTION}).encode()
    sent = {"content-type": "application/json", **headers}
    try:
        async with request("POST", url + CHAT, headers=sent, body=body, connect_timeout=CONNECT) as response:
            answer.status = response.status
            answer.id, answer.model = (response.headers.get(f"x-hangtight-{name}", "") for name in ("id", "model"))
            if response.status == GOOD:
                async for event in _events(response):
                    _take(answer, event)
            else:
                answer.error = _object(await response.read()).get("error") or {"message": f"HTTP {response.status}"}
    except HTTPError as broken:
        answer.error = {"message": str(broken), "code": "connection"}
    answer.elapsed = clock.now() - began
    return answer


def _take(answer: Answer, event: Event) -> None:
    if event.data == DONE:
        answer.finished = True
        return
    told = _object(event.data)
    if isinstance(error := told.get("error"), dict):
        answer.error = error
        return
    for choice in told.get("choices", ()):
        delta = choice.get("delta", {})
        said, thought = delta.get("content"), delta.get("reasoning_content") or delta.get("reasoning")
        answer.text += said or ""
        answer.tokens += bool(said or thought)


async def listen(url: str, hear: Callable[[str, Told], object]) -> None:
    """All that the gateway tells, until it ends."""
    async with request("GET", url + EVENTS, connect_timeout=CONNECT) as response:
        hear("listening", {})
        async for event in _events(response):
            hear(event.event, _object(event.data))


async def _events(response: Response) -> AsyncIterator[Event]:
    decoder = SSEDecoder()
    async for piece in response:
        for item in decoder.feed(piece):
            if isinstance(item, Event):
                yield item


def _object(text: str | bytes) -> Told:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
