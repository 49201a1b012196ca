"""Ollama's chat and generate: JSON by lines, of which the last says `done`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hangtight.core.facts import Calling, Content, Reasoning
from hangtight.dialects.dialect import Body, Chunk, Dialect, Refusal, Unfit
from hangtight.dialects.merging import Growing, fields_of
from hangtight.dialects.reading import Piece, Reader, calls_in, inside, text_of
from hangtight.dialects.refusals import said_in, status_of
from hangtight.dialects.requests import tokens_in

TEXTS: Final = ("content", "response", "thinking")
LISTS: Final = ("tool_calls", "logprobs", "images")


class OllamaReader(Reader):
    """The line that says `done` is the end mark, its `done_reason` the finish reason."""

    __slots__ = ()

    def __init__(self, chunk_type: type = dict) -> None:
        super().__init__(chunk_type, self._read, says_finish=True, shows_mark=True)

    def _read(self, chunk: Any) -> Piece:
        fields = inside(chunk)
        inner = inside(fields.get("message")) or fields
        text = inner.get("content") or fields.get("response")
        finished = False
        if fields.get("done"):
            self.marked = True
            finished = bool(fields.get("done_reason"))
        if text:
            return Content, text_of(text), finished
        if calls := inner.get("tool_calls"):
            return Calling, calls_in(calls), finished
        if fields.get("image"):
            return Content, "", finished
        if thought := inner.get("thinking"):
            return Reasoning, text_of(thought), finished
        return None, "", finished


class OllamaAssembly:
    """The last line, with the text, the thinking, the calls and the probabilities of all lines."""

    def __init__(self) -> None:
        self._joined = Growing(joined=TEXTS, listed=LISTS)
        self._message = Growing(joined=TEXTS, listed=LISTS)
        self._last: Mapping[str, Any] = {}

    def add(self, event: str, chunk: Chunk) -> None:
        self._joined.add({name: chunk[name] for name in (*TEXTS, *LISTS) if name in chunk})
        self._message.add(fields_of(chunk.get("message")))
        if chunk.get("done"):
            self._last = chunk

    def more(self, chunk: Chunk) -> None:
        """Each chunk is added in full."""

    def answer(self) -> Body:
        if not self._last.get("done_reason"):
            raise Unfit("no line said that the answer is done, and why" if self._last else "the answer has no end")
        whole = {**self._last, **self._joined.whole()}
        if message := self._message.whole():
            whole["message"] = message
        return whole


def streams(body: Body) -> bool:
    """Ollama streams where nothing else is said."""
    return body.get("stream") is not False


def upgraded(body: Body) -> Body | None:
    """Ollama's whole answers are its streams put together by itself, so there is no field that stands against it."""
    return {**body, "stream": True}


def refusal(event: str, chunk: Chunk) -> Refusal | None:
    error = chunk.get("error")
    if not error:
        return None
    text = error if isinstance(error, str) else said_in(fields_of(error))
    told = (chunk.get("status"), chunk.get("status_code"), chunk.get("code"))
    return Refusal(status_of(*told), {"error": text})


def reasons(body: Body) -> bool:
    return bool(body.get("think"))


def _dialect(name: str) -> Dialect:
    return Dialect(
        name=name,
        lines=True,
        reader=OllamaReader,
        streams=streams,
        upgraded=upgraded,
        assembly=OllamaAssembly,
        refusal=refusal,
        prompt_tokens=tokens_in,
        reasons=reasons,
    )


CHAT: Final = _dialect("ollama-chat")
GENERATE: Final = _dialect("ollama-generate")
