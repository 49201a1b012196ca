"""OpenAI's responses: an event for every beginning and every end, numbered, and the whole answer in the last."""

from __future__ import annotations

from typing import Any

from hangtight.testing.lab.blocks import Block, Blocks
from hangtight.testing.lab.wire import (
    CREATED,
    ENGINE_ERROR,
    Ask,
    Close,
    Extras,
    compact,
    is_limit,
    parse,
    prompt_tokens,
    tool_name,
)
from hangtight.testing.lab.wire_openai import refusal
from hangtight.testing.lab.words import Token

ID = "resp_lab"
COMPLETED, INCOMPLETE = "completed", "incomplete"
PART_TYPES = {"reasoning": "reasoning_text", "answer": "output_text"}
PREFIXES = {"reasoning": "rs_lab_", "answer": "msg_lab_", "tool": "fc_lab_"}
SETTINGS: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
}


def ask_of(body: bytes) -> Ask:
    """Read a request to /v1/responses."""
    found = parse(body)
    limit = found.get("max_output_tokens")
    return Ask(
        model=found["model"],
        stream=found.get("stream") is True,
        prompt_tokens=prompt_tokens(found, "instructions", "input"),
        limit=limit if is_limit(limit) else None,
        tool=tool_name(found),
        extras=Extras(stream_options=found.get("stream_options") is not None),
    )


class OpenAIResponse:
    """Responses. What is missing without a reason is the status of the whole."""

    stream_type = "text/event-stream"

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self._blocks = Blocks()
        self._number = 0

    def opening(self) -> bytes:
        response = self._response("in_progress")
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def progress(self, part: float, elapsed: float) -> bytes:
        return b""

    def token(self, token: Token) -> bytes:
        step = self._blocks.take(token)
        ended = b"".join(self._ended(block) for block in step.ended)
        began = self._began(step.block) if step.began else b""
        return ended + began + self._delta(step.block, token.text)

    def reason(self, reached_limit: bool, tool: bool) -> str:
        return INCOMPLETE if reached_limit else COMPLETED

    def close(self, close: Close) -> bytes:
        return b"".join(self._ended(block, close.reason or COMPLETED) for block in self._blocks.end())

    def done(self, close: Close) -> bytes:
        return self._event(f"response.{close.reason or COMPLETED}", response=self._closed(self._blocks, close))

    def ping(self) -> bytes:
        return b": ping\n\n"

    def empty(self, index: int) -> bytes:
        return self.token(Token("", "answer", False, False))

    def drip(self) -> bytes:
        # the name of an event may as well follow its data: here it never comes
        data = self._delta(Block(0, "answer"), "@").partition(b"\n")[2]
        return data[: data.index(b"@")]

    def garbage(self) -> bytes:
        whole = self._delta(Block(0, "answer"), "torn")
        return whole[: -len(whole) // 3] + b"\n\n"

    def error(self) -> bytes:
        said = {"code": "server_error", "message": ENGINE_ERROR}
        failed = self._response("failed") | {"error": said, "output": self._output(self._blocks, INCOMPLETE)}
        return self._event("error", **said, param=None) + self._event("response.failed", response=failed)

    def whole(self, said: list[Token], close: Close) -> bytes:
        return compact(self._closed(Blocks.of(said), close))

    def refusal(self, status: int, message: str) -> bytes:
        return refusal(status, message)

    def _event(self, kind: str, **fields: Any) -> bytes:
        numbered = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), compact(numbered))

    def _began(self, block: Block) -> bytes:
        empty = Block(block.index, block.kind)
        item = _item(empty, self.ask.tool, "in_progress") | ({} if block.kind == "tool" else {"content": []})
        added = self._event("response.output_item.added", output_index=block.index, item=item)
        return added + self._part("response.content_part.added", empty)

    def _delta(self, block: Block, text: str) -> bytes:
        at, kind = _place(block), _part_type(block)
        if block.kind == "tool":
            return self._event("response.function_call_arguments.delta", **at, delta=text)
        more: dict[str, Any] = {"logprobs": []} if block.kind == "answer" else {}
        return self._event(f"response.{kind}.delta", **at, content_index=0, **more, delta=text)

    def _ended(self, block: Block, status: str = COMPLETED) -> bytes:
        item = _item(block, self.ask.tool, status)
        said = self._text_done(block) + self._part("response.content_part.done", block)
        return said + self._event("response.output_item.done", output_index=block.index, item=item)

    def _text_done(self, block: Block) -> bytes:
        at, kind = _place(block), _part_type(block)
        if block.kind == "tool":
            name = "response.function_call_arguments.done"
            return self._event(name, **at, name=self.ask.tool, arguments=block.text)
        more: dict[str, Any] = {"logprobs": []} if block.kind == "answer" else {}
        return self._event(f"response.{kind}.done", **at, content_index=0, **more, text=block.text)

    def _part(self, name: str, block: Block) -> bytes:
        if block.kind == "tool":
            return b""
        return self._event(name, **_place(block), content_index=0, part=_part(block))

    def _closed(self, blocks: Blocks, close: Close) -> dict[str, Any]:
        asked, cut = self.ask.prompt_tokens, close.reason == INCOMPLETE
        return self._response(close.reason) | {
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": self._output(blocks, close.reason or COMPLETED),
            "usage": {
                "input_tokens": asked,
                "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
                "output_tokens": close.tokens,
                "output_tokens_details": {"reasoning_tokens": blocks.count("reasoning")},
                "total_tokens": asked + close.tokens,
            },
        }

    def _output(self, blocks: Blocks, last: str) -> list[dict[str, Any]]:
        final = len(blocks.all) - 1
        return [_item(block, self.ask.tool, last if block.index == final else COMPLETED) for block in blocks.all]

    def _response(self, status: str | None) -> dict[str, Any]:
        return {
            "id": ID,
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "model": self.ask.model,
            "error": None,
            "incomplete_details": None,
            "max_output_tokens": self.ask.limit,
            "output": [],
            "usage": None,
            **SETTINGS,
        }


def _id(block: Block) -> str:
    return PREFIXES[block.kind] + str(block.index)


def _place(block: Block) -> dict[str, Any]:
    return {"item_id": _id(block), "output_index": block.index}


def _part_type(block: Block) -> str:
    return PART_TYPES.get(block.kind, "")


def _part(block: Block) -> dict[str, Any]:
    more: dict[str, Any] = {"annotations": [], "logprobs": []} if block.kind == "answer" else {}
    return {"type": _part_type(block), "text": block.text, **more}


def _item(block: Block, tool: str, status: str) -> dict[str, Any]:
    identity = {"id": _id(block), "status": status}
    match block.kind:
        case "reasoning":
            return {**identity, "type": "reasoning", "summary": [], "content": [_part(block)]}
        case "answer":
            return {**identity, "type": "message", "role": "assistant", "content": [_part(block)]}
        case "tool":
            call = {"call_id": f"call_lab_{block.index}", "name": tool, "arguments": block.text}
            return {**identity, "type": "function_call", **call}
