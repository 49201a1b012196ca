"""From one chunk, as a client library hands it out, to what it means for the clocks.

A reader takes a chunk and returns `(kind, text, finished)`: the class of the fact that it is (None: mere
contact), the text of the answer in it, and whether the model said that it is done. A tuple and a class, not a
fact, because this runs once per token.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable, Mapping
from typing import Any

from hangtight.core.facts import Content, PrefillProgress, Reasoning

Kind = type[Content] | type[Reasoning] | type[PrefillProgress] | None
Piece = tuple[Kind, str, bool]
Read = Callable[[Any], Piece]

CONTACT: Piece = (None, "", False)
OTHER_CONTENT = ("audio", "images", "annotations")


class Reader:
    """How the chunks of one stream are read, and what its dialect promises about its end."""

    __slots__ = ("marked", "read", "says_finish", "shows_mark", "type")

    def __init__(self, chunk_type: type, read: Read, *, says_finish: bool = False, shows_mark: bool = False) -> None:
        self.type = chunk_type
        self.read = read
        self.says_finish = says_finish
        """A healthy stream of this dialect gives a finish reason."""
        self.shows_mark = shows_mark
        """The end mark is one of the chunks; where it is not, only the bytes beneath can tell."""
        self.marked = False
        """The end mark was one of the chunks read."""


class Undecided:
    """The chunk type of a stream whose dialect is not known yet: no chunk has it, so each is looked at again."""


def reader_for(chunk: object) -> Reader:
    """The reader for a stream that begins with this chunk."""
    if isinstance(chunk, str):
        return Reader(type(chunk), read_text)
    if isinstance(chunk, bytes | bytearray | memoryview):
        return Reader(type(chunk), plain_bytes())
    shape = chunk if isinstance(chunk, Mapping) else getattr(chunk, "__dict__", {})
    if "choices" in shape:
        return Reader(type(chunk), openai_chat(), says_finish=True)
    if "done" in shape and ("message" in shape or "response" in shape):
        return OllamaReader(type(chunk))
    return Reader(Undecided, read_anything)


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


def _inside(value: Any) -> Mapping[str, Any]:
    """The fields of a dict or of an SDK's object alike, past the objects' slow attribute look-up."""
    if isinstance(value, dict):
        return value
    fields: Mapping[str, Any] = getattr(value, "__dict__", None) or {}
    return fields


def _beside(value: Any, name: str) -> Any:
    """A field that the SDK's object does not know, and keeps apart."""
    extra = getattr(value, "__pydantic_extra__", None)
    return extra.get(name) if extra else None


def openai_chat() -> Read:
    """Chat and text completions in the shape of OpenAI. With several choices it ends when each has."""
    finished: set[int] = set()
    highest = 0

    def read(chunk: Any) -> Piece:
        nonlocal highest
        choices = _inside(chunk).get("choices")
        if not choices:
            return _prefill(chunk)
        kind: Kind = None
        text = ""
        for choice in choices:
            fields = _inside(choice)
            index = fields.get("index")
            index = index if isinstance(index, int) else 0
            highest = max(highest, index)
            found, piece = _delta(fields)
            kind = found or kind
            text = piece if index == 0 else text
            if fields.get("finish_reason") is not None:
                finished.add(index)
        if kind is None and not finished:
            return _prefill(chunk)
        return kind, text, len(finished) > highest

    return read


def _delta(choice: Mapping[str, Any]) -> tuple[Kind, str]:
    delta = choice.get("delta")
    if delta is None:
        text = choice.get("text")
        return (Content, text if isinstance(text, str) else "") if text else (None, "")
    fields = _inside(delta)
    content = fields.get("content")
    if content:
        return Content, content if isinstance(content, str) else ""
    if fields.get("tool_calls") or fields.get("function_call") or fields.get("refusal"):
        return Content, ""
    for name in ("reasoning_content", "reasoning"):
        if fields.get(name) or _beside(delta, name):
            return Reasoning, ""
    if any(fields.get(name) or _beside(delta, name) for name in OTHER_CONTENT):
        return Content, ""
    return None, ""


def _prefill(chunk: Any) -> Piece:
    """llama.cpp says with `return_progress` how far it has read the prompt."""
    progress = _inside(chunk).get("prompt_progress") or _beside(chunk, "prompt_progress")
    return (PrefillProgress, "", False) if progress else CONTACT


class OllamaReader(Reader):
    """Ollama's chat and generate: the line that says `done` is the end mark, its `done_reason` the finish reason."""

    __slots__ = ()

    def __init__(self, chunk_type: type) -> None:
        super().__init__(chunk_type, self._read, says_finish=True, shows_mark=True)

    def _read(self, chunk: Any) -> Piece:
        fields = _inside(chunk)
        inner = _inside(fields.get("message")) or fields
        text = inner.get("content") or fields.get("response") or ""
        finished = False
        if fields.get("done"):
            self.marked = True
            finished = bool(fields.get("done_reason"))
        if text or inner.get("tool_calls"):
            return Content, text if isinstance(text, str) else "", finished
        if inner.get("thinking"):
            return Reasoning, "", finished
        return None, "", finished
