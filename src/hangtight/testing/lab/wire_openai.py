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
    AskError,
    Close,
    Extras,
    compact,
    is_limit,
    joined,
    parse,
    prompt_tokens,
    section,
    tool_name,
)
from hangtight.testing.lab.words import Token, of_choice, ranked

ID = "chatcmpl-lab"
MOST_CHOICES = 128
MOST_LOGPROBS = 20
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
        prompt_tokens=prompt_tokens(found, "messages"),
        limit=next((limit for limit in limits if is_limit(limit)), None),
        tool=tool_name(found),
        extras=extras(found, found.get("top_logprobs") or 0 if found.get("logprobs") is True else None),
    )


def extras(found: Mapping[str, Any], logprobs: object) -> Extras:
    """What both kinds of completions can be asked for beyond the answer."""
    return Extras(
        usage=section(found, "stream_options").get("include_usage") is True,
        progress=found.get("return_progress") is True,
        stream_options=found.get("stream_options") is not None,
        choices=_bounded("n", 1 if found.get("n") is None else found["n"], 1, MOST_CHOICES),
        logprobs=None if logprobs is None else _bounded("logprobs", logprobs, 0, MOST_LOGPROBS),
    )


def _bounded(name: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise AskError(f"{name} must be a number from {low} to {high}")
    return value


class OpenAIChat:
    """Chat completions: server-sent events, or one JSON object. Several choices come on side by side."""

    stream_type = "text/event-stream"
    chunk = "chat.completion.chunk"
    id = ID

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    def opening(self) -> bytes:
        return b"".join(self._delta({"role": "assistant", "content": ""}, at) for at in self._choices())

    def progress(self, part: float, elapsed: float) -> bytes:
        report = self._progress(part, elapsed)
        return self._delta({"role": "assistant", "content": None}, extra={"prompt_progress": report})

    def token(self, token: Token) -> bytes:
        return b"".join(self._token(of_choice(token, at), at) for at in self._choices())

    def reason(self, reached_limit: bool, tool: bool) -> str:
        return "tool_calls" if tool else "length" if reached_limit else "stop"

    def close(self, close: Close) -> bytes:
        last = b"" if close.reason is None else b"".join(self._last(at, close.reason) for at in self._choices())
        if not self.ask.extras.usage:
            return last
        return last + event(self._head(self.chunk) | {"choices": [], "usage": self._usage(close)})

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
        choices = [self._choice([of_choice(token, at) for token in said], at, close) for at in self._choices()]
        return compact(self._head("chat.completion") | {"choices": choices, "usage": self._usage(close)})

    def refusal(self, status: int, message: str) -> bytes:
        return refusal(status, message)

    def _choices(self) -> range:
        return range(self.ask.extras.choices)

    def _token(self, token: Token, at: int) -> bytes:
        if token.kind == "tool":
            head = {"index": 0, **self._call(at, "")}
            piece = {"index": 0, "function": {"arguments": token.text}}
            begin = self._delta({"tool_calls": [head]}, at) if token.first else b""
            return begin + self._delta({"tool_calls": [piece]}, at)
        key = "reasoning_content" if token.kind == "reasoning" else "content"
        return self._delta({key: token.text}, at, logprobs=self._logprobs([token]))

    def _last(self, at: int, reason: str) -> bytes:
        return self._delta({}, at, reason=reason)

    def _choice(self, said: list[Token], at: int, close: Close) -> dict[str, Any]:
        text, thoughts, arguments = (joined(said, kind) for kind in ("answer", "reasoning", "tool"))
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thoughts:
            message["reasoning_content"] = thoughts
        if arguments:
            message |= {"content": text or None, "tool_calls": [self._call(at, arguments)]}
        return {"index": at, "message": message, "logprobs": self._logprobs(said), "finish_reason": close.reason}

    def _call(self, at: int, arguments: str) -> dict[str, Any]:
        function = {"name": self.ask.tool, "arguments": arguments}
        return {"id": f"call_lab_{at}", "type": "function", "function": function}

    def _logprobs(self, said: list[Token]) -> dict[str, Any] | None:
        """The log probabilities of the answer's tokens; reasoning and tool calls have none."""
        number = self.ask.extras.logprobs
        answer = [token.text for token in said if token.kind == "answer"]
        if number is None or not answer:
            return None
        entries = [
            _likely(*ranked(text, 1)[0]) | {"top_logprobs": [_likely(*other) for other in ranked(text, number)]}
            for text in answer
        ]
        return {"content": entries, "refusal": None}

    def _progress(self, part: float, elapsed: float) -> dict[str, int]:
        total = self.ask.prompt_tokens
        return {"total": total, "cache": 0, "processed": round(total * part), "time_ms": round(elapsed * 1000)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": CREATED, "model": self.ask.model, "system_fingerprint": None}

    def _usage(self, close: Close) -> dict[str, int]:
        asked, made = self.ask.prompt_tokens, close.tokens * self.ask.extras.choices
        return {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}

    def _delta(
        self,
        delta: Mapping[str, Any],
        at: int = 0,
        *,
        reason: str | None = None,
        logprobs: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": at, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._event(choice, extra)

    def _event(self, choice: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> bytes:
        usage: dict[str, Any] = {"usage": None} if self.ask.extras.usage else {}
        return event(self._head(self.chunk) | {"choices": [choice]} | usage | dict(extra or {}))


def refusal(status: int, message: str) -> bytes:
    """An error in the shape that all APIs of OpenAI share."""
    if message == LOADING:
        return compact({"error": {"code": status, "message": message, "type": ERROR_TYPES[status]}})
    kind = ERROR_TYPES.get(status, HTTPStatus(status).phrase.replace(" ", "") if _is_known(status) else "Error")
    return compact({"error": {"message": message, "type": kind, "param": None, "code": status}})


def models(names: list[str]) -> bytes:
    """The answer to GET /v1/models."""
    known = [{"id": name, "object": "model", "created": CREATED, "owned_by": "hangtight-lab"} for name in names]
    return compact({"object": "list", "data": known})


def event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + compact(value) + b"\n\n"


def _likely(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _is_known(status: int) -> bool:
    return status in HTTPStatus._value2member_map_
