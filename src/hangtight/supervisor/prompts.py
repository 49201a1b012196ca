"""What a request for a chat or a completion asks, as text for a program that reads one prompt and prints one answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

PROMPT, MESSAGE = "${PROMPT}", "${MESSAGE}"
CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
USER, ASSISTANT = "user", "assistant"


class Unreadable(Exception):
    """A request that no such program can answer, and why."""


class Question(NamedTuple):
    """One request."""

    model: str
    """As the client calls it."""
    prompt: str
    """All of it. Of a chat with one message: that message."""
    message: str
    """The last that the user said."""
    is_chat: bool
    streams: bool


def question_of(path: str, body: bytes) -> Question:
    """Raises Unreadable."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable("the body is no JSON") from None
    if not isinstance(said, dict):
        raise Unreadable("the body is no JSON object")
    if said.get("n") not in (None, 1):
        raise Unreadable("n: one process gives one answer")
    is_chat = path == CHAT
    prompt, message = _of_chat(said.get("messages")) if is_chat else _of_completion(said.get("prompt"))
    return Question(str(said.get("model") or ""), _plain(prompt), _plain(message), is_chat, said.get("stream") is True)


def _of_completion(prompt: Any) -> tuple[str, str]:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise Unreadable("prompt: one text is needed")
    return prompt, prompt


def _of_chat(messages: Any) -> tuple[str, str]:
    """A line for each message, begun by who said it; the last line is for the answer."""
    if not isinstance(messages, list) or not messages:
        raise Unreadable("messages: at least one is needed")
    said = [(str(each.get("role") or USER), _text(each.get("content"))) for each in messages if isinstance(each, dict)]
    message = next((text for role, text in reversed(said) if role == USER), "")
    if len(said) == 1:
        return said[0][1], message
    return "\n".join([*(f"{role}: {text}" for role, text in said), f"{ASSISTANT}:"]), message


def _text(content: Any) -> str:
    if content is None:  # of a message that only calls tools
        return ""
    parts = content if isinstance(content, list) else [content]
    return "".join(_part(part) for part in parts)


def _part(part: Any) -> str:
    if isinstance(part, Mapping) and part.get("type") == "text":
        part = part.get("text")
    if not isinstance(part, str):
        raise Unreadable("messages: only text can be given to this model")
    return part


def _plain(text: str) -> str:
    """A NUL ends a word of a command, and half of a surrogate pair can be no bytes at all."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def takes_prompt(command: Sequence[str]) -> bool:
    """The prompt stands in the command. Else it comes on stdin."""
    return any(PROMPT in word or MESSAGE in word for word in command)


def asked_with(command: Sequence[str], question: Question) -> list[str]:
    """The command for this request. What is put in is one word, or part of one, whatever stands in it."""
    return [_filled(word, question) for word in command]


def _filled(word: str, question: Question) -> str:
    """From left to right, so that what was put in is not read again."""
    pieces = word.split(PROMPT)
    return question.prompt.join(piece.replace(MESSAGE, question.message) for piece in pieces)
