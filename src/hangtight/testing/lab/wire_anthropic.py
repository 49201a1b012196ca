"""Anthropic's messages: named events, blocks that begin and stop, and a message that ends twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hangtight.testing.lab.blocks import Block, Blocks
from hangtight.testing.lab.wire import (
    ENGINE_ERROR,
    Ask,
    Close,
    compact,
    is_limit,
    parse,
    prompt_tokens,
    tool_name,
)
from hangtight.testing.lab.words import Token

ID = "msg_lab"
SIGNATURE = "bGFi"
ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def ask_of(body: bytes) -> Ask:
    """Read a request to /v1/messages."""
    found = parse(body)
    limit = found.get("max_tokens")
    return Ask(
        model=found["model"],
        stream=found.get("stream") is True,
        prompt_tokens=prompt_tokens(found, "system", "messages"),
        limit=limit if is_limit(limit) else None,
        tool=tool_name(found),
    )


class AnthropicMessage:
    """Messages: typed server-sent events, or one JSON object. It has no sign of progress but pings."""

    stream_type = "text/event-stream"

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self._blocks = Blocks()

    def opening(self) -> bytes:
        return event("message_start", message=self._message([], None, 0))

    def progress(self, part: float, elapsed: float) -> bytes:
        return b""

    def token(self, token: Token) -> bytes:
        step = self._blocks.take(token)
        ended = b"".join(map(_stop, step.ended))
        began = self._start(step.block) if step.began else b""
        return ended + began + _delta(step.block.index, _piece(token.kind, token.text))

    def reason(self, reached_limit: bool, tool: bool) -> str:
        return "tool_use" if tool else "max_tokens" if reached_limit else "end_turn"

    def close(self, close: Close) -> bytes:
        delta = {"stop_reason": close.reason, "stop_sequence": None}
        ended = b"".join(map(_stop, self._blocks.end()))
        return ended + event("message_delta", delta=delta, usage={"output_tokens": close.tokens})

    def done(self, close: Close) -> bytes:
        return event("message_stop")

    def ping(self) -> bytes:
        return event("ping")

    def empty(self, index: int) -> bytes:
        return self.token(Token("", "answer", False, False))

    def drip(self) -> bytes:
        # the name of an event may as well follow its data: here it never comes
        data = _delta(0, _piece("answer", "@")).partition(b"\n")[2]
        return data[: data.index(b"@")]

    def garbage(self) -> bytes:
        whole = _delta(0, _piece("answer", "torn"))
        return whole[: -len(whole) // 3] + b"\n\n"

    def error(self) -> bytes:
        return b"event: error\ndata: " + self.refusal(500, ENGINE_ERROR) + b"\n\n"

    def whole(self, said: list[Token], close: Close) -> bytes:
        content = [self._content(block) for block in Blocks.of(said).all]
        return compact(self._message(content, close.reason, close.tokens))

    def refusal(self, status: int, message: str) -> bytes:
        kind = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return compact({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_lab"})

    def _message(self, content: list[dict[str, Any]], reason: str | None, tokens: int) -> dict[str, Any]:
        cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        return {
            "id": ID,
            "type": "message",
            "role": "assistant",
            "model": self.ask.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {"input_tokens": self.ask.prompt_tokens, **cached, "output_tokens": tokens},
        }

    def _start(self, block: Block) -> bytes:
        empty = self._content(Block(block.index, block.kind)) | ({"signature": ""} if block.kind == "reasoning" else {})
        return event("content_block_start", index=block.index, content_block=empty)

    def _content(self, block: Block) -> dict[str, Any]:
        match block.kind:
            case "reasoning":
                return {"type": "thinking", "thinking": block.text, "signature": SIGNATURE}
            case "answer":
                return {"type": "text", "text": block.text}
            case "tool":
                given = json.loads(block.text or "{}")
                return {"type": "tool_use", "id": f"toolu_lab_{block.index}", "name": self.ask.tool, "input": given}


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), compact({"type": kind, **fields}))


def _piece(kind: str, text: str) -> dict[str, str]:
    match kind:
        case "reasoning":
            return {"type": "thinking_delta", "thinking": text}
        case "tool":
            return {"type": "input_json_delta", "partial_json": text}
        case _:
            return {"type": "text_delta", "text": text}


def _delta(index: int, piece: Mapping[str, str]) -> bytes:
    return event("content_block_delta", index=index, delta=piece)


def _stop(block: Block) -> bytes:
    signature = {"type": "signature_delta", "signature": SIGNATURE}
    signed = _delta(block.index, signature) if block.kind == "reasoning" else b""
    return signed + event("content_block_stop", index=block.index)
