"""What a request asks for, and what every API of the lab must be able to say in bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

from hangtight.testing.lab.words import Token

CREATED = 1_750_000_000
CREATED_AT = "2025-06-15T15:06:40.000000Z"
"""The same instant for every answer, so that the same request gives the same bytes."""

ENGINE_ERROR = "EngineCore encountered an issue. See stack trace (above) for the root cause."
LOADING = "Loading model"

CHARACTERS_PER_TOKEN = 4


class AskError(ValueError):
    """A request body that no server would understand."""


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What only some APIs know: `logprobs` is how many alternatives to tell, None where none are asked for."""

    usage: bool = False
    progress: bool = False
    stream_options: bool = False
    choices: int = 1
    logprobs: int | None = None


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request, in whichever API it came."""

    model: str
    stream: bool
    prompt_tokens: int = 1
    limit: int | None = None
    tool: str = "write_file"
    extras: Extras = Extras()


@dataclass(frozen=True, kw_only=True)
class Spent:
    """How long the parts of one generation took, in seconds; Ollama says so in its last line."""

    load: float = 0.0
    prefill: float = 0.0
    answer: float = 0.0

    @property
    def total(self) -> float:
        return self.load + self.prefill + self.answer


@dataclass(frozen=True, kw_only=True)
class Close:
    """How a generation ended: the API's reason (None where it gives none), and what was spent."""

    reason: str | None
    tokens: int
    spent: Spent = Spent()


class Wire(Protocol):
    """One API: facts to bytes. Streamed pieces are whole events; `whole` is an unstreamed body."""

    stream_type: str

    def opening(self) -> bytes: ...
    def progress(self, part: float, elapsed: float) -> bytes: ...
    def token(self, token: Token) -> bytes: ...
    def reason(self, reached_limit: bool, tool: bool) -> str: ...
    def close(self, close: Close) -> bytes: ...
    def done(self, close: Close) -> bytes: ...
    def ping(self) -> bytes: ...
    def empty(self, index: int) -> bytes: ...
    def drip(self) -> bytes: ...
    def garbage(self) -> bytes: ...
    def error(self) -> bytes: ...
    def whole(self, said: list[Token], close: Close) -> bytes: ...
    def refusal(self, status: int, message: str) -> bytes: ...


def compact(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def parse(body: bytes) -> Mapping[str, Any]:
    """The JSON object of a request, with its model's name; an AskError where there is none."""
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError) as wrong:
        raise AskError(f"the body is not JSON: {wrong}") from wrong
    if not isinstance(found, dict):
        raise AskError("the body is not a JSON object")
    model = found.get("model")
    if not isinstance(model, str) or not model:
        raise AskError("you must provide a model parameter")
    return found


def section(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under a key; an empty one where something else is, as lenient as the real servers are."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def prompt_tokens(body: Mapping[str, Any], *keys: str) -> int:
    """About how many tokens stand under these keys; never less than one."""
    written = sum(len(json.dumps(body[key])) for key in keys if body.get(key))
    return max(1, written // CHARACTERS_PER_TOKEN)


def tool_name(body: Mapping[str, Any]) -> str:
    """The first tool that the request offers; the lab's own where it offers none."""
    offered = body.get("tools")
    if isinstance(offered, list) and offered and isinstance(offered[0], dict):
        name = section(offered[0], "function").get("name") or offered[0].get("name")
        if isinstance(name, str) and name:
            return name
    return "write_file"


def is_limit(value: object) -> TypeGuard[int]:
    """Whether this is a number of tokens to stop at; 0 and Ollama's -1 mean none."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def joined(said: list[Token], kind: str) -> str:
    return "".join(token.text for token in said if token.kind == kind)
