"""Ollama's chat and text completions: lines of JSON, durations in the last one, a tool call in one piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from hangtight.testing.lab.wire import (
    CREATED_AT,
    ENGINE_ERROR,
    Ask,
    Close,
    compact,
    is_limit,
    joined,
    parse,
    prompt_tokens,
    section,
    tool_name,
)
from hangtight.testing.lab.words import Token, called_with

NANO = 1_000_000_000
VERSION = "0.12.6"
GIB = 1 << 30
NEVER_UNLOADED = "2318-09-30T00:00:00.000000Z"
DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "lab",
    "families": ["lab"],
    "parameter_size": "7B",
    "quantization_level": "Q4_K_M",
}


def ask_of(body: bytes) -> Ask:
    """Read a request to /api/chat."""
    return _ask_of(body, "messages")


def generate_ask_of(body: bytes) -> Ask:
    """Read a request to /api/generate."""
    return _ask_of(body, "prompt", "system")


def _ask_of(body: bytes, *prompt: str) -> Ask:
    found = parse(body)
    limit = section(found, "options").get("num_predict")
    return Ask(
        model=found["model"],
        stream=found.get("stream") is not False,
        prompt_tokens=prompt_tokens(found, *prompt),
        limit=limit if is_limit(limit) else None,
        tool=tool_name(found),
    )


class OllamaChat:
    """/api/chat: NDJSON, or one JSON object. It has no sign of progress before the first token."""

    stream_type = "application/x-ndjson"

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self._pieces = 0

    def opening(self) -> bytes:
        return b""

    def progress(self, part: float, elapsed: float) -> bytes:
        return b""

    def token(self, token: Token) -> bytes:
        if token.kind == "tool":
            self._pieces += 1
            return self._line({"content": "", "tool_calls": self._calls(self._pieces)}) if token.last else b""
        if token.kind == "reasoning":
            return self._line({"content": "", "thinking": token.text})
        return self._line({"content": token.text})

    def reason(self, reached_limit: bool, tool: bool) -> str:
        return "length" if reached_limit else "stop"

    def close(self, close: Close) -> bytes:
        return b""

    def done(self, close: Close) -> bytes:
        return self._line({"content": ""}, self._end(close))

    def ping(self) -> bytes:
        return b"\n"

    def empty(self, index: int) -> bytes:
        return self._line({"content": ""})

    def drip(self) -> bytes:
        whole = self._line({"content": "@"})
        return whole[: whole.index(b"@")]

    def garbage(self) -> bytes:
        whole = self._line({"content": "torn"})
        return whole[: len(whole) // 2] + b"\n"

    def error(self) -> bytes:
        return self.refusal(500, ENGINE_ERROR) + b"\n"

    def whole(self, said: list[Token], close: Close) -> bytes:
        message: dict[str, Any] = {"content": joined(said, "answer")}
        if thoughts := joined(said, "reasoning"):
            message["thinking"] = thoughts
        if pieces := sum(token.kind == "tool" for token in said):
            message["tool_calls"] = self._calls(pieces)
        return self._line(message, self._end(close))

    def refusal(self, status: int, message: str) -> bytes:
        return compact({"error": message})

    def _calls(self, pieces: int) -> list[dict[str, Any]]:
        return [{"function": {"name": self.ask.tool, "arguments": called_with(pieces)}}]

    def _end(self, close: Close) -> dict[str, Any]:
        return {
            "done": True,
            **({} if close.reason is None else {"done_reason": close.reason}),
            "total_duration": round(close.spent.total * NANO),
            "load_duration": round(close.spent.load * NANO),
            "prompt_eval_count": self.ask.prompt_tokens,
            "prompt_eval_duration": round(close.spent.prefill * NANO),
            "eval_count": close.tokens,
            "eval_duration": round(close.spent.answer * NANO),
        }

    def _line(self, message: Mapping[str, Any], end: Mapping[str, Any] | None = None) -> bytes:
        head = {"model": self.ask.model, "created_at": CREATED_AT, "message": {"role": "assistant", **message}}
        return compact({**head, **(end or {"done": False})}) + b"\n"


class OllamaGenerate(OllamaChat):
    """/api/generate: the same lines with the text at their top. It knows no tools: a call is text there."""

    def token(self, token: Token) -> bytes:
        return super().token(_as_text(token))

    def whole(self, said: list[Token], close: Close) -> bytes:
        return super().whole([_as_text(token) for token in said], close)

    def _end(self, close: Close) -> dict[str, Any]:
        end = super()._end(close)
        return end | {"context": list(range(self.ask.prompt_tokens + close.tokens))}

    def _line(self, message: Mapping[str, Any], end: Mapping[str, Any] | None = None) -> bytes:
        text = {"response": message["content"]} | {key: message[key] for key in ("thinking",) if key in message}
        return compact({"model": self.ask.model, "created_at": CREATED_AT, **text, **(end or {"done": False})}) + b"\n"


def _as_text(token: Token) -> Token:
    return replace(token, kind="answer") if token.kind == "tool" else token


def tags(names: list[str]) -> bytes:
    """The answer to GET /api/tags: every model that there is on disk."""
    return compact({"models": [_model(name) | {"modified_at": CREATED_AT} for name in names]})


def resident(names: list[str]) -> bytes:
    """The answer to GET /api/ps: only the models that are in memory."""
    memory = {"size_vram": 4 * GIB, "expires_at": NEVER_UNLOADED, "context_length": 4096}
    return compact({"models": [_model(name) | memory for name in names]})


def version() -> bytes:
    return compact({"version": VERSION})


def _model(name: str) -> dict[str, Any]:
    digest = sha256(name.encode()).hexdigest()
    return {"name": name, "model": name, "size": 4 * GIB, "digest": digest, "details": DETAILS}
