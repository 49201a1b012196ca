"""OpenAI's chat completions, as OpenAI and the local servers speak them: vLLM, llama.cpp and their like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from hangtight.core.facts import Calling, Content, PrefillProgress, Reasoning
from hangtight.dialects.dialect import Body, Chunk, Dialect, Unfit
from hangtight.dialects.merging import Growing, fields_of, index_of, objects_in
from hangtight.dialects.reading import (
    CONTACT,
    Kind,
    Piece,
    Read,
    Reader,
    beside,
    call_of,
    calls_in,
    inside,
    text_of,
)
from hangtight.dialects.refusals import openai_refusal
from hangtight.dialects.requests import is_asked, openai_reasons, streams, tokens_in

OTHER_CONTENT: Final = ("audio", "images", "annotations")
REASONING: Final = ("reasoning_content", "reasoning")

ARGUMENTS: Final = ("arguments", "input")
LISTED_IN_CHOICE: Final = ("token_ids",)
BESIDE_TEXT: Final = (*LISTED_IN_CHOICE, "logprobs")
"""What comes with a piece of text and is kept piece by piece, too."""
CALLS: Final = ("tool_calls", "function_call")
LISTED_IN_MESSAGE: Final = ("content", "annotations", "images", "reasoning_details")
OF_STREAMS: Final = ("prompt_progress", "obfuscation")
"""What only a stream has."""

UNREBUILT: Final = (
    "audio",  # sound comes in pieces whose joints depend on its format
    "prompt_logprobs",  # vLLM refuses it for a stream
    "use_beam_search",  # which beam wins is known at the end
    "kv_transfer_params",  # vLLM gives it in whole answers only
)
"""Fields of a request whose answer cannot be put together from a stream."""


class HelperReader(Reader):
    """Events of openai's `chat.completions.stream()`: each chunk of the answer, and what the client makes of it."""

    __slots__ = ("_chunks",)

    def __init__(self, chunk_type: type) -> None:
        super().__init__(chunk_type, self._event, says_finish=True)
        self._chunks = read_choices()

    def takes(self, chunk: object) -> bool:
        """Each event has a type of its own."""
        return isinstance(inside(chunk).get("type"), str)

    def _event(self, event: Any) -> Piece:
        chunk = inside(event).get("chunk")
        return CONTACT if chunk is None else self._chunks(chunk)


def read_choices() -> Read:
    """Chat and text completions alike. With several choices it ends when each has."""
    finished: set[int] = set()
    highest = 0

    def read(chunk: Any) -> Piece:
        fields = chunk if type(chunk) is dict else inside(chunk)
        choices = fields.get("choices")
        if not choices or not isinstance(choices, list):
            return _prefill(chunk)
        if not highest and not finished and len(choices) == 1:
            choice = inside(choices[0])
            # The steady case, past all that follows: more text of the only choice.
            if not choice.get("finish_reason") and choice.get("index") == 0:
                delta = choice.get("delta")
                content = choice.get("text") if delta is None else inside(delta).get("content")
                if content and type(content) is str:
                    return Content, content, False
        return read_all(choices, chunk)

    def read_all(choices: list[Any], chunk: Any) -> Piece:
        nonlocal highest
        first: tuple[Kind, str] = None, ""
        others: Kind = None
        for choice in choices:
            fields = inside(choice)
            index = index_of(fields)
            highest = max(highest, index)
            found = _delta(fields)
            first = found if index == 0 and found[0] else first
            others = found[0] or others
            if fields.get("finish_reason"):  # some servers send an empty one with every chunk
                finished.add(index)
        kind = first[0] or others
        if kind is None and not finished:
            return _prefill(chunk)
        return kind, first[1], len(finished) > highest

    return read


def _delta(choice: Mapping[str, Any]) -> tuple[Kind, str]:
    delta = choice.get("delta")
    if delta is None:
        text = choice.get("text")
        return (Content, text_of(text)) if text else (None, "")
    fields = inside(delta)
    content = fields.get("content")
    if content:
        return Content, text_of(content)
    if calls := fields.get("tool_calls"):
        return Calling, calls_in(calls)
    if call := fields.get("function_call"):
        function = inside(call)
        return Calling, call_of(function.get("name"), function.get("arguments"))
    if fields.get("refusal"):
        return Content, ""
    for name in REASONING:
        if thought := fields.get(name) or beside(delta, name):
            return Reasoning, text_of(thought)
    if any(fields.get(name) or beside(delta, name) for name in OTHER_CONTENT):
        return Content, ""
    return None, ""


def _prefill(chunk: Any) -> Piece:
    """llama.cpp says with `return_progress` how far it has read the prompt."""
    progress = inside(chunk).get("prompt_progress") or beside(chunk, "prompt_progress")
    return (PrefillProgress, "", False) if progress else CONTACT


def reader() -> Reader:
    return Reader(dict, read_choices(), says_finish=True)


class ChatAssembly:
    """The choices by their numbers, and what stands around them."""

    def __init__(self) -> None:
        self._top = Growing()
        self._choices: dict[int, _Choice] = {}

    def add(self, event: str, chunk: Chunk) -> None:
        self._top.add(chunk, but=("choices", *OF_STREAMS))
        for choice in objects_in(chunk.get("choices")):
            self._choices.setdefault(index_of(choice), _Choice()).add(choice)

    def more(self, chunk: Chunk) -> Callable[[str], object] | None:
        choices = objects_in(chunk.get("choices"))
        return self._choices[index_of(choices[0])].more(choices[0]) if len(choices) == 1 else None

    def answer(self) -> Body:
        whole = finished(self._top.whole(), self._choices)
        return whole | {"object": "chat.completion"} if whole.get("object") == "chat.completion.chunk" else whole


class Choice(Protocol):
    """One of the answers to a request."""

    fields: Growing

    def whole(self, index: int) -> Body: ...


def finished(top: Body, choices: Mapping[int, Choice]) -> Body:
    """The answer with these choices. Raises Unfit where one has no end."""
    if not choices:
        raise Unfit("no part of an answer came")
    for index, choice in choices.items():
        if not choice.fields.get("finish_reason"):
            raise Unfit(f"choice {index} ended without a finish reason")
    if top.get("usage", "") is None:
        del top["usage"]
    return {**top, "choices": [choices[index].whole(index) for index in sorted(choices)]}


class _Choice:
    def __init__(self) -> None:
        self.fields = Growing(listed=LISTED_IN_CHOICE)
        self._message = Growing(joined=("content", "refusal", *REASONING), listed=LISTED_IN_MESSAGE)
        self._function = Growing(joined=ARGUMENTS)
        self._calls = _Calls()
        self._logprobs = Growing(listed=("content", "refusal"))

    def add(self, choice: Mapping[str, Any]) -> None:
        self.fields.add(choice, but=("delta", "logprobs"))
        self._logprobs.add(fields_of(choice.get("logprobs")))
        delta = fields_of(choice.get("delta"))
        self._message.add(delta, but=(*CALLS, *OF_STREAMS))
        self._function.add(fields_of(delta.get("function_call")))
        self._calls.add(delta.get("tool_calls"))

    def more(self, choice: Mapping[str, Any]) -> Callable[[str], object] | None:
        delta = fields_of(choice.get("delta"))
        if any(map(choice.get, BESIDE_TEXT)) or any(map(delta.get, CALLS)):
            return None
        return self._message.more(delta)

    def whole(self, index: int) -> Body:
        message = {"role": "assistant", "content": None, **self._message.whole()}
        function, calls = self._function.whole(), self._calls.whole()
        if function:
            function.setdefault("arguments", "")
            message["function_call"] = function
        if calls:
            message["tool_calls"] = calls
        if function or calls:
            # The empty text that opens every stream of some servers is no content of an answer that calls.
            message["content"] = message["content"] or None
        return {"index": index, "message": message, "logprobs": self._logprobs.whole() or None, **self.fields.whole()}


class _Calls:
    """Calls of tools, by the number that each piece has; where it has none, its id tells the calls apart."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[Growing, Growing, Growing]] = {}
        self._last = 0

    def add(self, pieces: object) -> None:
        for piece in objects_in(pieces):
            self._last = self._number(piece)
            fields, function, custom = self._calls.setdefault(
                self._last, (Growing(), Growing(joined=ARGUMENTS), Growing(joined=ARGUMENTS))
            )
            fields.add(piece, but=("index", "function", "custom"))
            function.add(fields_of(piece.get("function")))
            custom.add(fields_of(piece.get("custom")))

    def _number(self, piece: Mapping[str, Any]) -> int:
        index = piece.get("index")
        if isinstance(index, int):
            return index
        if self._calls and piece.get("id") in (None, "", self._calls[self._last][0].get("id")):
            return self._last
        return max(self._calls, default=-1) + 1

    def whole(self) -> list[Body]:
        return [self._call(*self._calls[index]) for index in sorted(self._calls)]

    def _call(self, fields: Growing, function: Growing, custom: Growing) -> Body:
        call = fields.whole()
        if named := function.whole():
            named.setdefault("arguments", "")
            call["function"] = named
        if named := custom.whole():
            named.setdefault("input", "")
            call["custom"] = named
        return call


def upgraded(body: Body) -> Body | None:
    modalities = body.get("modalities")
    if any(is_asked(body.get(name)) for name in UNREBUILT) or (isinstance(modalities, list) and "audio" in modalities):
        return None
    return with_usage(body)


def with_usage(body: Body) -> Body:
    """The same request for a stream that also counts its tokens, as an unstreamed answer does."""
    options = fields_of(body.get("stream_options"))
    return {**body, "stream": True, "stream_options": {**options, "include_usage": True}}


DIALECT: Final = Dialect(
    name="openai-chat",
    lines=False,
    reader=reader,
    streams=streams,
    upgraded=upgraded,
    assembly=ChatAssembly,
    refusal=openai_refusal,
    prompt_tokens=tokens_in,
    reasons=openai_reasons,
)
