"""A chat for people: what is sent for one question, and what the chunks of the answer say. OpenAI's shape and Ollama's.

What a chunk means for the clocks is in `pieces`; here it is what somebody reads on a screen.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hangtight.errors import SettingsError

Chunk = dict[str, Any]
Prompt = str | Sequence[Mapping[str, Any]]
"""A question, or a conversation as messages with `role` and `content`."""

RETURN_PROGRESS = "return_progress"
STREAM_OPTIONS = "stream_options"
EXTRAS: Mapping[str, object] = {
    RETURN_PROGRESS: True,  # llama.cpp: how far it has read the prompt
    STREAM_OPTIONS: {"include_usage": True},
}
"""Fields that tell us more where the server knows them. One that refuses a field is asked again without it."""

LONGEST_COMPLAINT = 600
CHARACTERS_PER_TOKEN = 4
ERROR = "error"


class Shape(StrEnum):
    """The API that a server speaks."""

    OPENAI = "openai"
    OLLAMA = "ollama"


@dataclass(frozen=True, slots=True)
class Said:
    """What one chunk says."""

    answer: str = ""
    reasoning: str = ""
    reason: str = ""
    """Why the model ended: `stop`, `length`, ..."""
    tokens: int | None = None
    """The length of the answer, as the server counts it."""
    read: float | None = None
    """How much of the prompt has been read, from 0 to 1."""


def checked_prompt(prompt: Any) -> Prompt:
    """Refuses what is neither a question nor a conversation."""
    if isinstance(prompt, str) or (isinstance(prompt, list | tuple) and prompt and all(map(_is_message, prompt))):
        return prompt
    raise SettingsError("prompt", prompt, "text, or a list of messages with `role` and `content`")


def _is_message(message: Any) -> bool:
    return isinstance(message, Mapping) and "role" in message


def tokens_of(prompt: Prompt) -> int:
    """About how long it is."""
    length = len(prompt) if isinstance(prompt, str) else sum(len(str(message)) for message in prompt)
    return length // CHARACTERS_PER_TOKEN


def messages_of(prompt: Prompt) -> list[Mapping[str, Any]]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)


def request_body(shape: Shape, model: str, prompt: Prompt, *, think: bool, extras: Collection[str]) -> bytes:
    """The body of one streamed question. Without a model's name the server has to know which."""
    asked: dict[str, object] = {"model": model} if model else {}
    asked |= {"messages": messages_of(prompt), "stream": True}
    if shape is Shape.OPENAI:
        asked |= {name: EXTRAS[name] for name in extras}
    elif think:
        asked["think"] = True
    return json.dumps(asked, ensure_ascii=False).encode("utf-8", "replace")


def is_piece(shape: Shape, chunk: Chunk) -> bool:
    """Part of the answer, and not some other news of the server."""
    return "choices" in chunk if shape is Shape.OPENAI else "message" in chunk or "done" in chunk


def said(chunk: Chunk) -> Said:
    """What a piece of the answer says, in either shape; what has an unexpected form says nothing."""
    if "choices" not in chunk:
        return _said_by_ollama(chunk)
    choices = chunk["choices"]
    choice = _fields(choices[0]) if isinstance(choices, list) and choices else {}
    delta = _fields(choice.get("delta"))
    return Said(
        answer=_text(delta, "content") or _text(delta, "refusal") or _text(choice, "text"),
        reasoning=_text(delta, "reasoning_content") or _text(delta, "reasoning"),
        reason=_text(choice, "finish_reason"),
        tokens=_count(_fields(chunk.get("usage")), "completion_tokens"),
        read=_share(_fields(chunk.get("prompt_progress"))),
    )


def _said_by_ollama(chunk: Chunk) -> Said:
    message = _fields(chunk.get("message"))
    return Said(
        answer=_text(message, "content"),
        reasoning=_text(message, "thinking"),
        reason=_text(chunk, "done_reason"),
        tokens=_count(chunk, "eval_count"),
    )


def streamed(whole: Chunk) -> Chunk:
    """An answer that came in one piece, as the chunk of a stream that it would have been."""
    choices = whole.get("choices")
    if not isinstance(choices, list):
        return whole
    return whole | {"choices": [{**_fields(choice), "delta": _fields(choice).get("message")} for choice in choices]}


def complaint_in(chunk: Chunk) -> str | None:
    """The server's own words, where a chunk of a stream is an error."""
    if chunk.get(ERROR) or chunk.get("object") == ERROR:
        return complaint(json.dumps(chunk, ensure_ascii=False))
    return None


def complaint(body: str) -> str:
    """What a server says is wrong, whatever form it gives that; nothing for a web page."""
    text = body.strip()
    try:
        words = _words(json.loads(text))
    except (ValueError, RecursionError):
        words = ""
    words = words or ("" if text.startswith("<") else text)
    return words if len(words) <= LONGEST_COMPLAINT else words[:LONGEST_COMPLAINT] + "..."


def _words(found: object) -> str:
    match found:
        case str():
            return found
        case {"error": inner} | {"message": inner} | {"detail": inner}:
            return _words(inner)
        case {"msg": str(message), "loc": [*path]}:
            return f"{'.'.join(map(str, path))}: {message}"
        case [_, *_]:
            return "; ".join(filter(None, map(_words, found)))
        case _:
            return ""


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _count(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _share(progress: Mapping[str, Any]) -> float | None:
    whole, done = _count(progress, "total"), _count(progress, "processed")
    return min(1.0, done / whole) if whole and done is not None else None
