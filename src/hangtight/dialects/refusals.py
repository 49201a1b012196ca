"""Errors in OpenAI's shapes, as servers of many makes say them in the middle of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hangtight.dialects.dialect import Chunk, Refusal

SERVER_ERROR: Final = 500
LOWEST, HIGHEST = 400, 599
LONGEST_STATUS: Final = 3

NAMES: Final = (
    ("rate_limit", 429),
    ("insufficient_quota", 429),
    ("too_many_requests", 429),
    ("exceed_context_size", 400),
    ("context_length", 400),
    ("request_too_large", 413),
    ("invalid_api_key", 401),
    ("authentication", 401),
    ("unauthorized", 401),
    ("permission", 403),
    ("forbidden", 403),
    ("not_found", 404),
    ("notfound", 404),
    ("invalid_request", 400),
    ("badrequest", 400),
    ("bad_request", 400),
    ("overloaded", 503),
    ("unavailable", 503),
    ("timeout", 504),
    ("server_error", 500),
)
"""Parts of an error's type or code. The first that fits counts, the telling ones before the general."""


def status_of(*told: object) -> int:
    """The status that an error stands for: the first number that is one, else the first name that is known."""
    for value in told:
        number = _number(value)
        if LOWEST <= number <= HIGHEST:
            return number
    for value in told:
        if isinstance(value, str):
            lowered = value.lower()
            for name, status in NAMES:
                if name in lowered:
                    return status
    return SERVER_ERROR


def _number(value: object) -> int:
    if isinstance(value, str) and len(value) == LONGEST_STATUS and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def said_in(error: Mapping[str, Any]) -> str:
    """The words of an error."""
    for name in ("message", "detail", "error"):
        words = error.get(name)
        if words and isinstance(words, str):
            return words
    return "the server sent an error without a message"


def openai_refusal(event: str, chunk: Chunk) -> Refusal | None:
    """The error in a chunk of chat, completions or responses, in any of the forms that are about."""
    inner = chunk.get("error")
    if not inner:
        if not (event == "error" or chunk.get("object") == "error" or chunk.get("type") == "error"):
            return None
        inner = chunk
    found: Mapping[str, Any] = inner if isinstance(inner, dict) else {"message": inner}
    error = {
        **{name: value for name, value in found.items() if name not in ("object", "sequence_number", "status")},
        "message": said_in(found),
        "type": _kind(found, chunk),
        "param": found.get("param"),
        "code": found.get("code"),
    }
    told = (found.get("code"), found.get("status"), chunk.get("code"), chunk.get("status"), error["type"])
    return Refusal(status_of(*told), {"error": error})


def _kind(found: Mapping[str, Any], chunk: Chunk) -> object:
    """The type of an error. Where the chunk itself is the error, `error` is its event's name and no type."""
    kind = found.get("type")
    return None if found is chunk and kind == "error" else kind
