"""Scripted models: a list of steps that is played as a stream, sync or async, on whatever clock the loop has.

>>> model = ScriptedModel(Silence(35), Tokens(200, every=0.9))
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hangtight.drivers import clock

Chunk = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing at all for so long: a load, a long prompt, a model that hangs for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Tokens:
    """Text, one piece each `every` seconds; the first comes after the first interval."""

    count: int
    every: float = 1.0
    text: str = "tok "


@dataclass(frozen=True, slots=True)
class Said:
    """These pieces of text, one each `every` seconds; as arguments of a tool call, or as reasoning, where told so."""

    pieces: Sequence[str]
    every: float = 1.0
    channel: Literal["answer", "reasoning", "tool"] = "answer"


@dataclass(frozen=True, slots=True)
class Thoughts:
    """Reasoning, one piece each `every` seconds."""

    count: int
    every: float = 1.0


@dataclass(frozen=True, slots=True)
class Pings:
    """Pieces without content, one each `every` seconds."""

    count: int
    every: float = 1.0


@dataclass(frozen=True, slots=True)
class PromptRead:
    """Prefill progress as llama.cpp reports it, one report each `every` seconds."""

    count: int
    every: float = 1.0


@dataclass(frozen=True, slots=True)
class Hang:
    """Silence for ever."""


@dataclass(frozen=True, slots=True)
class Fails:
    """The source raises this error."""

    error: Exception


@dataclass(frozen=True, slots=True)
class NoReason:
    """The stream ends here, without a finish reason."""


Step = Silence | Tokens | Said | Thoughts | Pings | PromptRead | Hang | Fails | NoReason


class ScriptedModel:
    """Plays its steps once, as OpenAI-shaped chunks, and ends with a finish reason."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self.closed = False
        self.asked = 0
        """How many pieces were asked for."""

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return _Asynchronous(self)

    def __iter__(self) -> Iterator[Chunk]:
        for delay, chunk in self.plan():
            self.asked += 1
            clock.sleep(delay)
            yield _given(chunk)

    async def aclose(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def plan(self) -> Iterator[tuple[float, Chunk | Exception]]:
        """Every piece with the wait before it; silences add up to the next piece."""
        waited = 0.0
        for step in self.steps:
            match step:
                case Silence(seconds):
                    waited += seconds
                case Hang():
                    yield float("inf"), {}
                case Fails(error):
                    yield waited, error
                case NoReason():
                    return
                case Said(pieces, every, channel):
                    for piece in pieces:
                        yield waited + every, _piece(piece, channel)
                        waited = 0.0
                case Tokens() | Thoughts() | Pings() | PromptRead():
                    for _ in range(step.count):
                        yield waited + step.every, _chunk(step)
                        waited = 0.0
        yield waited, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


class _Asynchronous:
    """A class and not a generator, so that a cancelled wait does not end the stream for good."""

    def __init__(self, model: ScriptedModel) -> None:
        self._model = model
        self._plan = model.plan()

    def __aiter__(self) -> _Asynchronous:
        return self

    async def __anext__(self) -> Chunk:
        self._model.asked += 1
        following = next(self._plan, None)
        if following is None:
            raise StopAsyncIteration
        delay, chunk = following
        if delay == float("inf"):
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(delay)
        return _given(chunk)


def _given(chunk: Chunk | Exception) -> Chunk:
    if isinstance(chunk, Exception):
        raise chunk
    return chunk


def _chunk(step: Tokens | Thoughts | Pings | PromptRead) -> Chunk:
    match step:
        case Tokens():
            return _delta(content=step.text)
        case Thoughts():
            return _delta(reasoning_content="hm ")
        case Pings():
            return _delta()
        case PromptRead():
            return {"choices": [], "prompt_progress": {"total": 100, "processed": 1}}


def _piece(text: str, channel: str) -> Chunk:
    match channel:
        case "reasoning":
            return _delta(reasoning_content=text)
        case "tool":
            return _delta(tool_calls=[{"index": 0, "function": {"arguments": text}}])
        case _:
            return _delta(content=text)


def _delta(**fields: Any) -> Chunk:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}
