"""OpenAI's chat completions as the local servers speak them: vLLM's errors, llama.cpp's progress."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from hangtight.testing.lab.wire import (
    CREATED,
    ENGINE_ERROR,
    LOADING,
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
from hangtight.testing.lab.words import Token

ID = "chatcmpl-lab"
CALL_ID = "call_lab_0"
DONE = b"data: [DONE]\n\n"
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_exceeded",
    503: "unavailable_error",
}


def ask_of(body: bytes) -> Ask:
    """Read a request to /v1/chat/completions."""
    found = parse(body)
    limits = (found.get("max_completion_tokens"), found.get("max_tokens"))
    return Ask(
        model=found["model"],
        stream=found.get("stream") is True,
        prompt_tokens=prompt_tokens(found),
        limit=next((limit for limit in limits if is_limit(limit)), None),
        tool=tool_name(found),
        usage=section(found, "stream_options").get("include_usage") is True,
        progress=found.get("return_progress") is True,
    )


class OpenAIChat:
    """Chat completions: server-sent events, or one JSON object."""

    stream_type = "text/event-stream"

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    def opening(self) -> bytes:
        return self._delta({"role": "assistant", "content": ""})

    def progress(self, part: float, elapsed: float) -> bytes:
        done = round(self.ask.prompt_tokens * part)
        report = {"total": self.ask.prompt_tokens, "cache": 0, "processed": done, "time_ms": round(elapsed * 1000)}
        return self._delta({"role": "assistant", "content": None}, extra={"prompt_progress": report})

    def token(self, token: Token) -> bytes:
        if token.kind == "tool":
            named = {"name": self.ask.tool, "arguments": ""}
            head = {"index": 0, "id": CALL_ID, "type": "function", "function": named}
            piece = {"index": 0, "function": {"arguments": token.text}}
            begin = self._delta({"tool_calls": [head]}) if token.first else b""
            return begin + self._delta({"tool_calls": [piece]})
        return self._delta({"reasoning_content" if token.kind == "reasoning" else "content": token.text})

    def reason(self, reached_limit: bool, tool: bool) -> str:
        return "tool_calls" if tool else "length" if reached_limit else "stop"

    def close(self, close: Close) -> bytes:
        last = b"" if close.reason is None else self._delta({}, reason=close.reason)
        if not self.ask.usage:
            return last
        return last + _event(self._head("chat.completion.chunk") | {"choices": [], "usage": self._usage(close)})

    def done(self, close: Close) -> bytes:
        return DONE

    def ping(self) -> bytes:
        return b": ping\n\n"

    def empty(self, index: int) -> bytes:
        return self._delta({"role": "assistant", "content": ""} if index % 2 else {})

    def drip(self) -> bytes:
        whole = self._delta({"content": "@"})
        return whole[: whole.index(b"@")]

    def garbage(self) -> bytes:
        whole = self._delta({"content": "torn"})
        return whole[: len(whole) // 2] + b"\n\n"

    def error(self) -> bytes:
        return b"data: " + self.refusal(500, ENGINE_ERROR) + b"\n\n" + DONE

    def whole(self, said: list[Token], close: Close) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": joined(said, "answer")}
        if thoughts := joined(said, "reasoning"):
            message["reasoning_content"] = thoughts
        if call := joined(said, "tool"):
            function = {"name": self.ask.tool, "arguments": call}
            message |= {"content": None, "tool_calls": [{"id": CALL_ID, "type": "function", "function": function}]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": close.reason}
        return compact(self._head("chat.completion") | {"choices": [choice], "usage": self._usage(close)})

    def refusal(self, status: int, message: str) -> bytes:
        if message == LOADING:
            return compact({"error": {"code": status, "message": message, "type": ERROR_TYPES[status]}})
        kind = ERROR_TYPES.get(status, HTTPStatus(status).phrase.replace(" ", "") if _is_known(status) else "Error")
        return compact({"error": {"message": message, "type": kind, "param": None, "code": status}})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": ID, "object": kind, "created": CREATED, "model": self.ask.model, "system_fingerprint": None}

    def _usage(self, close: Close) -> dict[str, int]:
        asked = self.ask.prompt_tokens
        return {"prompt_tokens": asked, "completion_tokens": close.tokens, "total_tokens": asked + close.tokens}

    def _delta(
        self, delta: Mapping[str, Any], *, reason: str | None = None, extra: Mapping[str, Any] | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage: dict[str, Any] = {"usage": None} if self.ask.usage else {}
        return _event(self._head("chat.completion.chunk") | {"choices": [choice]} | usage | dict(extra or {}))


def models(names: list[str]) -> bytes:
    """The answer to GET /v1/models."""
    known = [{"id": name, "object": "model", "created": CREATED, "owned_by": "hangtight-lab"} for name in names]
    return compact({"object": "list", "data": known})


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + compact(value) + b"\n\n"


def _is_known(status: int) -> bool:
    return status in HTTPStatus._value2member_map_
