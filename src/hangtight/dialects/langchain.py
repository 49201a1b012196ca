"""Chunks of LangChain's chat models: what `llm.stream(...)` and `llm.astream(...)` hand out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hangtight.core.facts import Content, Reasoning
from hangtight.dialects.reading import CONTACT, Piece, inside, text_of

KIND: Final = "AIMessageChunk"
THOUGHTS: Final = ("reasoning", "thinking")
REASONS: Final = ("finish_reason", "stop_reason", "done_reason")


def read_message(chunk: Any) -> Piece:
    """Text or blocks, tool calls, and beside them why it ended."""
    fields = inside(chunk)
    about = inside(fields.get("response_metadata"))
    finished = any(about.get(name) for name in REASONS)
    content, more = fields.get("content"), inside(fields.get("additional_kwargs"))
    if isinstance(content, list):
        blocks = [inside(block) for block in content]
        text = "".join(text_of(block.get("text")) for block in blocks)
        if not text and any(block.get("type") in THOUGHTS for block in blocks):
            return Reasoning, "", finished
    else:
        text = text_of(content)
    if text or _calls(fields, more):
        return Content, text, finished
    if more.get("reasoning_content"):
        return Reasoning, "", finished
    return (None, "", True) if finished else CONTACT


def _calls(fields: Mapping[str, Any], more: Mapping[str, Any]) -> bool:
    return bool(fields.get("tool_call_chunks") or more.get("tool_calls") or more.get("function_call"))
