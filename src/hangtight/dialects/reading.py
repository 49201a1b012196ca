"""What a reader of chunks is, and how it looks into a dict and an SDK's object alike.

A reader takes a chunk and returns `(kind, text, finished)`: the class of the fact that it is (None: mere
contact), the text of that kind in it (of the answer, of the reasoning, or of tool calls), and whether the model said
that it is done. A call of a tool is its name, a space and its arguments: so calls can be told apart. A chunk of several
kinds is the answer's first, then the calls'. A tuple and a class, not a fact, because this runs once per token. No
reader raises, whatever is in the chunk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from hangtight.core.facts import Calling, Content, PrefillProgress, Reasoning

Kind = type[Content] | type[Reasoning] | type[Calling] | type[PrefillProgress] | None
Piece = tuple[Kind, str, bool]
Read = Callable[[Any], Piece]


class Usage(NamedTuple):
    """How long prompt and answer are, as the server counts them, in tokens."""

    prompt: int | None
    answer: int | None


CONTACT: Final[Piece] = (None, "", False)
NOTHING: Final[Mapping[str, Any]] = {}


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

    def takes(self, chunk: object) -> bool:
        """Whether this reader also reads a chunk of another type than the last. Most streams have one type."""
        return False


def inside(value: Any) -> Mapping[str, Any]:
    """The fields of a dict or of an SDK's object alike, past the objects' slow attribute look-up."""
    if isinstance(value, dict):
        return value
    fields: Mapping[str, Any] = getattr(value, "__dict__", None) or NOTHING
    return fields


def beside(value: Any, name: str) -> Any:
    """A field that the SDK's object does not know, and keeps apart."""
    extra = getattr(value, "__pydantic_extra__", None)
    return extra.get(name) if extra else None


def text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def calls_in(calls: object) -> str:
    """What one chunk says of calls of tools, one call behind the other."""
    if not isinstance(calls, list | tuple):
        return ""
    return "".join([_call(call) for call in calls])


def _call(call: Any) -> str:
    """A function has arguments; what is given to a custom tool is any text."""
    fields = inside(call)
    function = inside(fields.get("function"))
    if function:
        return call_of(function.get("name"), function.get("arguments"))
    custom = inside(fields.get("custom") or beside(call, "custom"))
    return call_of(custom.get("name"), custom.get("input"))


def call_of(name: object, arguments: object) -> str:
    """What one piece says of one call. Only the piece where a call begins has its name, which tells the calls apart."""
    text = arguments if type(arguments) is str else json_of(arguments)
    return f"{name} {text}" if name and isinstance(name, str) else text


def json_of(value: Any) -> str:
    """Arguments as the text that they are, or as JSON where a server gives them as an object."""
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return ""


PROMPTS: Final = ("prompt_tokens", "input_tokens", "prompt_eval_count")
ANSWERS: Final = ("completion_tokens", "output_tokens", "eval_count")


def usage_in(chunk: Mapping[str, Any]) -> Usage | None:
    """What a chunk of any of the APIs says about lengths."""
    for place in (chunk, inside(chunk.get("response")), inside(chunk.get("message"))):
        told = inside(place.get("usage")) or (place if "eval_count" in place else NOTHING)
        if not told:
            continue
        prompt, answer = _first_count(told, PROMPTS), _first_count(told, ANSWERS)
        if prompt is not None or answer is not None:
            return Usage(prompt, answer)
    return None


def reason_in(chunk: Mapping[str, Any]) -> str:
    """Why the answer ends with this chunk, in the word of its server; nothing where it says none."""
    choices = chunk.get("choices")
    choice = inside(choices[0]) if isinstance(choices, list) and choices else NOTHING
    for told, name in (
        (choice, "finish_reason"),
        (inside(chunk.get("delta")), "stop_reason"),
        (inside(chunk.get("response")), "status"),
        (chunk, "done_reason"),
    ):
        if isinstance(reason := told.get(name), str):
            return reason
    return ""


def answering_in(chunk: Mapping[str, Any]) -> str:
    """The model that answers, as a chunk of any of the APIs names it; nothing where it does not."""
    for place in (chunk, inside(chunk.get("response")), inside(chunk.get("message"))):
        if isinstance(model := place.get("model"), str):
            return model
    return ""


def _first_count(told: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = told.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
