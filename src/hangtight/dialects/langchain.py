"""Chunks of LangChain's chat models: what `llm.stream(...)` and `llm.astream(...)` hand out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hangtight.core.facts import Calling, Content, Reasoning
from hangtight.dialects.reading import CONTACT, Piece, call_of, calls_in, inside, text_of

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
        thoughts = [block for block in blocks if block.get("type") in THOUGHTS]
        if not text and thoughts:
            return Reasoning, "".join(map(_thought, thoughts)), finished
    else:
        text = text_of(content)
    if text:
        return Content, text, finished
    if (calls := _calls(fields, more)) is not None:
        return Calling, calls, finished
    if thought := more.get("reasoning_content"):
        return Reasoning, text_of(thought), finished
    return (None, "", True) if finished else CONTACT


def _thought(block: Mapping[str, Any]) -> str:
    """Anthropic's and LangChain's own blocks have it as text, those of OpenAI's responses as parts of a summary."""
    text = text_of(block.get("thinking") or block.get("reasoning"))
    parts = block.get("summary") or block.get("content")
    if text or not isinstance(parts, list):
        return text
    return "".join(text_of(inside(part).get("text")) for part in parts)


def _calls(fields: Mapping[str, Any], more: Mapping[str, Any]) -> str | None:
    """What is said of calls; None where there is none. The provider's own form of them says the same once more."""
    if calls := fields.get("tool_call_chunks"):
        found = [inside(call) for call in calls] if isinstance(calls, list) else []
        return "".join(call_of(call.get("name"), call.get("args")) for call in found)
    if calls := more.get("tool_calls"):
        return calls_in(calls)
    if call := more.get("function_call"):
        function = inside(call)
        return call_of(function.get("name"), function.get("arguments"))
    return None
