"""What is known of each API: how its streams are read, what an answer is put together from, how it says an error.

One module per API holds all of it. They are loaded when they are first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, NamedTuple, Protocol, cast

from hangtight.dialects.reading import Reader

Body = dict[str, Any]
Chunk = dict[str, Any]

MESSAGE: Final = "message"
"""The name of a server-sent event that has none."""


class Unfit(ValueError):
    """These chunks are not a whole answer, or one that cannot be put together."""


class Refusal(NamedTuple):
    """An error in a stream, as the answer that it would have been before the stream began."""

    status: int
    body: Body
    """In the shape in which the API's clients expect it."""


class Assembly(Protocol):
    """The chunks of one answer, put together to what the server would have answered unstreamed."""

    def add(self, event: str, chunk: Chunk) -> None:
        """The next chunk, with the name of its server-sent event. Never raises."""

    def more(self, chunk: Chunk) -> Callable[[str], object] | None:
        """What adds the chunk that was added last once more, with another text; None where it is not that alone."""

    def answer(self) -> Body:
        """The whole answer. Raises Unfit where it did not come whole."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One API."""

    name: str
    lines: bool
    """JSON by lines, not server-sent events."""
    reader: Callable[[], Reader]
    """A fresh reader for chunks that are dicts."""
    streams: Callable[[Body], bool]
    """Whether this request asks for a stream."""
    upgraded: Callable[[Body], Body | None]
    """The same request as one for a stream; None where the answer could not be put together again."""
    assembly: Callable[[], Assembly]
    refusal: Callable[[str, Chunk], Refusal | None]
    """The error that this chunk, of the event of this name, is."""
    prompt_tokens: Callable[[Body], int]
    """About how long the prompt is."""
    reasons: Callable[[Body], bool]
    """Whether this request asks the model to reason first."""


ENDINGS: Final = (
    ("/chat/completions", "openai_chat"),
    ("/completions", "openai_completions"),
    ("/responses", "responses"),
    ("/messages", "anthropic"),
    ("/api/chat", "ollama:CHAT"),
    ("/api/generate", "ollama:GENERATE"),
)
THREADS: Final = "/threads/"
"""`/threads/{id}/messages` belongs to OpenAI's assistants and generates nothing."""


@lru_cache(maxsize=256)
def dialect_for(path: str) -> Dialect | None:
    """The API that is spoken at this path of a URL, told by the end of the path."""
    plain = "/" + path.partition("?")[0].strip("/")
    if THREADS in plain:
        return None
    for ending, place in ENDINGS:
        if plain.endswith(ending):
            module, _, name = place.partition(":")
            return cast(Dialect, getattr(import_module(f"hangtight.dialects.{module}"), name or "DIALECT"))
    return None
