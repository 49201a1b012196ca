"""OpenAI's text completions: the chunks are read as those of a chat, the answer is text alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from hangtight.dialects.dialect import Body, Chunk, Dialect
from hangtight.dialects.merging import Growing, fields_of, index_of, objects_in
from hangtight.dialects.openai_chat import BESIDE_TEXT, LISTED_IN_CHOICE, OF_STREAMS, finished, reader, with_usage
from hangtight.dialects.refusals import openai_refusal
from hangtight.dialects.requests import is_asked, openai_reasons, streams, tokens_in

LISTED_IN_LOGPROBS: Final = ("tokens", "token_logprobs", "top_logprobs", "text_offset", "content", "refusal")

UNREBUILT: Final = (
    "prompt_logprobs",  # vLLM refuses it for a stream
    "use_beam_search",  # which beam wins is known at the end
    "kv_transfer_params",  # vLLM gives it in whole answers only
)
"""Fields of a request whose answer cannot be put together from a stream."""


class CompletionsAssembly:
    """The texts by their numbers, and what stands around them."""

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
        return finished(self._top.whole(), self._choices)


class _Choice:
    def __init__(self) -> None:
        self.fields = Growing(joined=("text", "reasoning_content"), listed=LISTED_IN_CHOICE)
        self._logprobs = Growing(listed=LISTED_IN_LOGPROBS)

    def add(self, choice: Mapping[str, Any]) -> None:
        self.fields.add(choice, but=("logprobs",))
        self._logprobs.add(fields_of(choice.get("logprobs")))

    def more(self, choice: Mapping[str, Any]) -> Callable[[str], object] | None:
        return None if any(map(choice.get, BESIDE_TEXT)) else self.fields.more(choice)

    def whole(self, index: int) -> Body:
        return {"index": index, "text": "", "logprobs": self._logprobs.whole() or None, **self.fields.whole()}


def upgraded(body: Body) -> Body | None:
    if any(is_asked(body.get(name)) for name in UNREBUILT):
        return None
    if body.get("best_of") not in (None, 1):  # which one is best is known at the end
        return None
    if body.get("echo") and is_asked(body.get("logprobs")):  # the prompt's first token has no probability to stream
        return None
    return with_usage(body)


DIALECT: Final = Dialect(
    name="openai-completions",
    lines=False,
    reader=reader,
    streams=streams,
    upgraded=upgraded,
    assembly=CompletionsAssembly,
    refusal=openai_refusal,
    prompt_tokens=tokens_in,
    reasons=openai_reasons,
)
