"""Anthropic's messages: an answer is a list of blocks, each of which begins, grows by deltas and stops.

Its client also hands out events of its own beside the server's (`messages.stream()`), which say the same once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from hangtight.core.facts import Calling, Content, Reasoning
from hangtight.dialects.dialect import Body, Chunk, Dialect, Refusal, Unfit
from hangtight.dialects.merging import Growing, fields_of, index_of
from hangtight.dialects.reading import CONTACT, Piece, Reader, call_of, inside, text_of
from hangtight.dialects.refusals import said_in, status_of
from hangtight.dialects.requests import streams, tokens_in

START: Final = "message_start"
BLOCK: Final = "content_block_start"
DELTA: Final = "content_block_delta"
CLOSING: Final = "message_delta"
STOP: Final = "message_stop"
SERVERS: Final = frozenset((START, BLOCK, DELTA, "content_block_stop", CLOSING, STOP))

Growth = type[Content] | type[Reasoning] | type[Calling]
PROGRESS: Final[Mapping[str, tuple[str, Growth]]] = {
    "text_delta": ("text", Content),
    "thinking_delta": ("thinking", Reasoning),
    "input_json_delta": ("partial_json", Calling),
    "signature_delta": ("signature", Reasoning),
    "citations_delta": ("citation", Content),
}
"""Where the deltas have their content."""
UNKNOWN: Final = ("type", Content)
"""A delta that we do not know is believed to be content."""

HELPERS: Final[Mapping[str, tuple[str, Growth]]] = {
    "text": ("text", Content),
    "thinking": ("thinking", Reasoning),
    "input_json": ("partial_json", Calling),
    "signature": ("signature", Reasoning),
    "citation": ("citation", Content),
}

TEXTS: Final = ("text", "thinking", "partial_json")
"""What of this a model writes; a signature, say, is not."""

STATUSES: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
CUT_BY_LENGTH: Final = ("max_tokens", "model_context_window_exceeded")


def is_event(kind: str, fields: Mapping[str, Any]) -> bool:
    """Whether a stream that begins with this is one of messages. The helpers' names are told by what they hold."""
    return kind in SERVERS or (kind in HELPERS and HELPERS[kind][0] in fields and ("snapshot" in fields))


class AnthropicReader(Reader):
    """`message_delta` gives the finish reason, `message_stop` is the end mark."""

    __slots__ = ("_first_hand",)

    def __init__(self, chunk_type: type = dict, *, whole: bool = True) -> None:
        super().__init__(chunk_type, self._read, says_finish=whole, shows_mark=True)
        self._first_hand = False
        """The server's own deltas are handed out: the helpers' events repeat them."""

    def takes(self, chunk: object) -> bool:
        """Each event has a type of its own."""
        return isinstance(inside(chunk).get("type"), str)

    def _read(self, chunk: Any) -> Piece:
        fields = chunk if type(chunk) is dict else inside(chunk)
        kind = fields.get("type")
        if kind == DELTA:
            self._first_hand = True
            delta = inside(fields.get("delta"))
            if delta.get("type") == "text_delta":
                text = delta.get("text")
                return (Content, text_of(text), False) if text else CONTACT
            return self._delta(delta)
        if kind == BLOCK:
            return self._block(inside(fields.get("content_block")))
        if kind == CLOSING:
            return None, "", bool(inside(fields.get("delta")).get("stop_reason"))
        if kind == STOP:
            self.marked = True
        elif isinstance(kind, str) and kind in HELPERS and not self._first_hand:
            return self._helper(*HELPERS[kind], fields)
        return CONTACT

    def _delta(self, delta: Mapping[str, Any]) -> Piece:
        kind = delta.get("type")
        if not isinstance(kind, str):
            return CONTACT
        name, growth = PROGRESS.get(kind, UNKNOWN)
        value = delta.get(name)
        if not value:
            return CONTACT
        return growth, text_of(value) if name in TEXTS else "", False

    def _block(self, block: Mapping[str, Any]) -> Piece:
        """A block of text begins empty. One that is a call of a tool, or its result, is content by itself."""
        match block.get("type"):
            case "text":
                text = block.get("text")
                return (Content, text_of(text), False) if text else CONTACT
            case "thinking":
                thought = block.get("thinking")
                return (Reasoning, text_of(thought), False) if thought else CONTACT
            case "redacted_thinking":
                return Reasoning, "", False
            case str() as kind if kind.endswith("tool_use"):
                # An empty input is one that is still to come, by deltas.
                return Calling, call_of(block.get("name"), block.get("input") or None), False
            case str():
                return Content, "", False
            case _:
                return CONTACT

    def _helper(self, name: str, kind: Growth, fields: Mapping[str, Any]) -> Piece:
        value = fields.get(name)
        return (kind, text_of(value) if name in TEXTS else "", False) if value else CONTACT


class AnthropicAssembly:
    """The message of the first event, its blocks as they grew, and what the last events say of its end."""

    def __init__(self) -> None:
        self._message = Growing()
        self._usage = Growing()
        self._blocks: dict[int, _Block] = {}
        self._started = False

    def add(self, event: str, chunk: Chunk) -> None:
        match chunk.get("type", event):
            case "message_start":
                message = fields_of(chunk.get("message"))
                self._started = self._started or bool(message)
                self._message.add(message, but=("usage",))
                self._usage.add(fields_of(message.get("usage")))
            case "content_block_start":
                self._blocks[index_of(chunk)] = _Block(fields_of(chunk.get("content_block")))
            case "content_block_delta":
                if block := self._blocks.get(index_of(chunk)):
                    block.add(fields_of(chunk.get("delta")))
            case "message_delta":
                self._message.add(fields_of(chunk.get("delta")))
                self._message.add(chunk, but=("type", "delta", "usage"))
                self._usage.add(fields_of(chunk.get("usage")))
            case _:
                pass

    def more(self, chunk: Chunk) -> None:
        """Each chunk is added in full."""

    def answer(self) -> Body:
        if not self._started:
            raise Unfit("no event began the answer")
        reason = self._message.get("stop_reason")
        if not reason:
            raise Unfit("the answer ended without a stop reason")
        blocks = [self._blocks[index].whole(cut=reason in CUT_BY_LENGTH) for index in sorted(self._blocks)]
        return {**self._message.whole(), "content": blocks, "usage": self._usage.whole()}


class _Block:
    def __init__(self, block: Mapping[str, Any]) -> None:
        self._fields = Growing(joined=("text", "thinking"), listed=("citations",))
        self._fields.add(block)
        self._input: list[str] = []
        self._unknown = ""

    def add(self, delta: Mapping[str, Any]) -> None:
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                self._fields.add({"text": text})
            case {"type": "thinking_delta", "thinking": str(text)}:
                self._fields.add({"thinking": text})
            case {"type": "signature_delta", "signature": str(text)}:
                self._fields.add({"signature": text})
            case {"type": "input_json_delta", "partial_json": str(text)}:
                self._input.append(text)
            case {"type": "citations_delta", "citation": citation}:
                self._fields.add({"citations": [citation]})
            case {"type": "compaction_delta", **fields}:
                self._fields.add(fields)
            case {"type": str(kind)}:
                self._unknown = kind
            case _:
                pass

    def whole(self, *, cut: bool) -> Body:
        if self._unknown:
            raise Unfit(f"a block grew by a {self._unknown!r}, which is not known")
        block = self._fields.whole()
        if text := "".join(self._input):
            block["input"] = _parsed(text, cut)
        return block


def _parsed(text: str, cut: bool) -> Any:
    """The input of a tool. A call that the length limit cut off has none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if cut:
            return {}
        raise Unfit(f"the input of a tool is not JSON: {error}") from None


def upgraded(body: Body) -> Body | None:
    """The server's own whole answers are these events put together, so there is no field that stands against it."""
    return {**body, "stream": True}


def refusal(event: str, chunk: Chunk) -> Refusal | None:
    kind, inner = chunk.get("type"), chunk.get("error")
    if not (event == "error" or kind == "error" or (inner and kind is None)):
        return None
    found = fields_of(inner) or (chunk if not inner else {"message": inner})
    name = found.get("type")
    name = name if isinstance(name, str) and name != "error" else "api_error"
    error = {**found, "type": name, "message": said_in(found)}
    told = (STATUSES.get(name), found.get("status"), found.get("code"), name)
    return Refusal(status_of(*told), {**chunk, "type": "error", "error": error} if inner else _wrapped(error))


def _wrapped(error: Body) -> Body:
    return {"type": "error", "error": error}


def reasons(body: Body) -> bool:
    thinking = body.get("thinking")
    return isinstance(thinking, dict) and bool(thinking) and thinking.get("type") != "disabled"


DIALECT: Final = Dialect(
    name="anthropic",
    lines=False,
    reader=AnthropicReader,
    streams=streams,
    upgraded=upgraded,
    assembly=AnthropicAssembly,
    refusal=refusal,
    prompt_tokens=tokens_in,
    reasons=reasons,
)
