"""OpenAI's responses: named events, of which the last holds the whole answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hangtight.core.facts import Calling, Content, PrefillProgress, Reasoning
from hangtight.dialects.dialect import Body, Chunk, Dialect, Unfit
from hangtight.dialects.merging import fields_of
from hangtight.dialects.reading import CONTACT, NOTHING, Piece, Reader, call_of, inside, json_of, text_of
from hangtight.dialects.refusals import openai_refusal
from hangtight.dialects.requests import is_asked, openai_reasons, streams, tokens_in

TEXT: Final = "response.output_text.delta"
ADDED: Final = "response.output_item.added"
ITEM_DONE: Final = "response.output_item.done"
PARTIAL_IMAGE: Final = "response.image_generation_call.partial_image"
BEGINNINGS: Final = ("response.created", "response.queued", "response.in_progress")
ENDS: Final = ("response.completed", "response.incomplete", "response.failed")

ARGUMENTS: Final = frozenset(
    f"response.{name}.delta"
    for name in (
        "function_call_arguments",
        "custom_tool_call_input",
        "mcp_call_arguments",
        "code_interpreter_call_code",
        "shell_call_command",
    )
)
"""What a model writes for a tool; other deltas are what a tool says, a refusal or sound."""

CALLS: Final = ("function_call", "custom_tool_call", "mcp_call")
HEARD: Final = ("message", *CALLS)
"""Items whose content has come in deltas by the time they are done."""

UNREBUILT: Final = (
    "background",  # the whole answer of such a request comes at once and says `queued`
    "audio",
)
"""Fields of a request whose answer cannot be put together from a stream."""


class ResponsesReader(Reader):
    """An end event is finish reason and end mark in one."""

    __slots__ = ()

    def __init__(self, chunk_type: type = dict, *, whole: bool = True) -> None:
        super().__init__(chunk_type, self._read, says_finish=whole, shows_mark=True)

    def takes(self, chunk: object) -> bool:
        """Each event has a type of its own."""
        return isinstance(inside(chunk).get("type"), str)

    def _read(self, chunk: Any) -> Piece:
        fields = chunk if type(chunk) is dict else inside(chunk)
        kind = fields.get("type")
        if kind == TEXT:
            delta = fields.get("delta")
            return (Content, text_of(delta), False) if delta else CONTACT
        if not isinstance(kind, str):
            return CONTACT
        if kind.endswith(".delta"):
            delta = fields.get("delta")
            if not delta:
                return CONTACT
            if kind in ARGUMENTS:
                return Calling, json_of(delta), False
            return (Reasoning, text_of(delta), False) if "reasoning" in kind else (Content, "", False)
        if kind in ENDS:
            self.marked = True
            return None, "", True
        return self._item(kind, fields)

    def _item(self, kind: str, fields: Mapping[str, Any]) -> Piece:
        """Some models think and call tools unheard: then the items are all that tells of it."""
        if fields.get("prompt_progress"):  # llama.cpp
            return PrefillProgress, "", False
        if kind == PARTIAL_IMAGE:
            return Content, "", False
        item = inside(fields.get("item")) if kind in (ADDED, ITEM_DONE) else NOTHING
        what = item.get("type")
        if not isinstance(what, str):
            return CONTACT
        if what == "reasoning":
            return (Reasoning, "", False) if kind == ITEM_DONE else CONTACT
        if kind == ITEM_DONE:
            return CONTACT if what in HEARD else (Content, "", False)
        if what in CALLS:
            # The arguments come by deltas, but for servers that send a call in one piece.
            return Calling, call_of(item.get("name"), item.get("arguments") or item.get("input")), False
        return CONTACT if what == "message" else (Content, "", False)


class ResponsesAssembly:
    """The answer in the end event. Some servers leave its output empty: then the items that were done are it."""

    def __init__(self) -> None:
        self._items: dict[int, Any] = {}
        self._end: Mapping[str, Any] = {}

    def add(self, event: str, chunk: Chunk) -> None:
        kind = chunk.get("type", event)
        if kind in ENDS:
            self._end = fields_of(chunk.get("response"))
        elif kind == ITEM_DONE and isinstance(chunk.get("item"), dict):
            index = chunk.get("output_index")
            self._items[index if isinstance(index, int) else len(self._items)] = chunk["item"]

    def more(self, chunk: Chunk) -> None:
        """Each chunk is added in full."""

    def answer(self) -> Body:
        if not self._end:
            raise Unfit("no event said that the answer is complete")
        output = self._end.get("output") or [self._items[index] for index in sorted(self._items)]
        return {**self._end, "output": output}


def upgraded(body: Body) -> Body | None:
    modalities = body.get("modalities")
    if any(is_asked(body.get(name)) for name in UNREBUILT) or (isinstance(modalities, list) and "audio" in modalities):
        return None
    return {**body, "stream": True}


DIALECT: Final = Dialect(
    name="openai-responses",
    lines=False,
    reader=ResponsesReader,
    streams=streams,
    upgraded=upgraded,
    assembly=ResponsesAssembly,
    refusal=openai_refusal,
    prompt_tokens=tokens_in,
    reasons=openai_reasons,
)
