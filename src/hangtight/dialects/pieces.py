"""From one chunk, as a client library hands it out, to what it means for the clocks.

Which dialect it is of is told by its shape; each has its reader in a module of its own.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Mapping
from typing import Any

from hangtight.core.facts import Content
from hangtight.dialects.reading import CONTACT, Kind, Piece, Read, Reader

EVENTS_OF_HELPER = ("chunk", "content.delta")
"""How a stream of openai's `chat.completions.stream()` begins."""

__all__ = ["CONTACT", "Kind", "Piece", "Read", "Reader", "Undecided", "model_of", "reader_for"]


class Undecided:
    """The chunk type of a stream whose dialect is not known yet: no chunk has it, so each is looked at again."""


def reader_for(chunk: object, known: Reader | None = None) -> Reader:
    """The reader for a stream that begins, or after the `known` reader goes on, with this chunk."""
    if known is not None and known.takes(chunk):
        known.type = type(chunk)
        return known
    if isinstance(chunk, str):
        return Reader(type(chunk), read_text)
    if isinstance(chunk, bytes | bytearray | memoryview):
        return Reader(type(chunk), plain_bytes())
    shape = chunk if isinstance(chunk, Mapping) else getattr(chunk, "__dict__", {})
    return _by_shape(type(chunk), shape) or Reader(Undecided, read_anything)


def _by_shape(chunk_type: type, shape: Mapping[str, Any]) -> Reader | None:
    """The readers are loaded when they are needed: most programs speak one dialect."""
    if "choices" in shape:
        from hangtight.dialects.openai_chat import read_choices

        return Reader(chunk_type, read_choices(), says_finish=True)
    if "done" in shape and ("message" in shape or "response" in shape):
        from hangtight.dialects.ollama import OllamaReader

        return OllamaReader(chunk_type)
    kind = shape.get("type")
    if not isinstance(kind, str):
        return None
    if kind == "AIMessageChunk":
        from hangtight.dialects.langchain import read_message

        return Reader(chunk_type, read_message)
    if kind in EVENTS_OF_HELPER:
        from hangtight.dialects.openai_chat import HelperReader

        return HelperReader(chunk_type)
    if kind.startswith("response."):
        from hangtight.dialects.responses import BEGINNINGS, ResponsesReader

        return ResponsesReader(chunk_type, whole=kind in BEGINNINGS)
    from hangtight.dialects.anthropic import START, AnthropicReader, is_event

    return AnthropicReader(chunk_type, whole=kind == START) if is_event(kind, shape) else None


def read_text(chunk: str) -> Piece:
    return (Content, chunk, False) if chunk else CONTACT


def plain_bytes() -> Read:
    """Bytes of text; a character may be cut in two by the border of a chunk."""
    decode = getincrementaldecoder("utf-8")("replace").decode
    return lambda chunk: (Content, decode(chunk), False) if chunk else CONTACT


def read_anything(chunk: object) -> Piece:
    """A chunk of a shape we do not know: we cannot see into it, so we believe that it is content."""
    return CONTACT if chunk is None or chunk == {} else (Content, "", False)


def model_of(chunk: object) -> str | None:
    """The name of the model, if the chunk says it."""
    name = chunk.get("model") if isinstance(chunk, Mapping) else getattr(chunk, "model", None)
    return name if isinstance(name, str) and name else None
