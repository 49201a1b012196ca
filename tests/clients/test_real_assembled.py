"""What we put together from a real server's stream is what the same server answers unstreamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hangtight.core.facts import End
from hangtight.dialects.dialect import Body, dialect_for
from hangtight.dialects.wire import Wire
from tests.realserver import TOOL
from tests.realserver.server import LlamaCpp

pytestmark = pytest.mark.real

CHAT, COMPLETIONS, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
DIFFERENT = {"id", "call_id", "created", "created_at", "completed_at", "timings"}
"""What differs from one answer to the next."""
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
JSON = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}

EXACT: Body = {"model": "tiny", "temperature": 0, "seed": 1}
QUESTION: Body = {"messages": [{"role": "user", "content": "Why is the sky blue?"}]}
SHORT, LONG_ENOUGH = {"max_tokens": 12}, {"max_tokens": 200}
FUNCTION = TOOL["function"]
CALLED: Body = {"tool_choice": "required"}
NATIVE: Body = {"name": FUNCTION["name"], "description": "Paint.", "input_schema": FUNCTION["parameters"]}

REQUESTS: dict[str, tuple[str, Body]] = {
    "chat": (CHAT, QUESTION | SHORT),
    "chat with logprobs": (CHAT, QUESTION | SHORT | {"logprobs": True, "top_logprobs": 2}),
    "chat with a tool": (CHAT, QUESTION | LONG_ENOUGH | CALLED | {"tools": [TOOL]}),
    "chat in JSON": (CHAT, QUESTION | LONG_ENOUGH | {"response_format": JSON}),
    "chat with progress": (CHAT, QUESTION | SHORT | {"return_progress": True}),
    "completions": (COMPLETIONS, SHORT | {"prompt": "Why"}),
    "completions with logprobs": (COMPLETIONS, SHORT | {"prompt": "Why", "logprobs": 2}),
    "completions of two prompts": (COMPLETIONS, SHORT | {"prompt": ["Why", "Who"]}),
    "responses": (RESPONSES, {"input": "Why?", "max_output_tokens": 12}),
    "responses with a tool": (
        RESPONSES,
        CALLED | {"input": "Why?", "max_output_tokens": 200, "tools": [{"type": "function", **FUNCTION}]},
    ),
    "messages": (MESSAGES, QUESTION | SHORT),
    "messages with a tool": (
        MESSAGES,
        QUESTION | LONG_ENOUGH | {"tools": [NATIVE], "tool_choice": {"type": "any"}},
    ),
}


@pytest.fixture
def server(llama_cpp: LlamaCpp) -> Iterator[httpx.Client]:
    llama_cpp.wait_idle()
    with httpx.Client(base_url=llama_cpp.url, timeout=None) as client:
        yield client


def comparable(value: Any) -> Any:
    """An answer without what is new in each, and without fields that say nothing: some leave out what others null."""
    if isinstance(value, list):
        return [comparable(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    said = {name: comparable(inner) for name, inner in value.items() if name not in DIFFERENT}
    return {name: inner for name, inner in said.items() if inner not in (None, "")}


def whole(server: httpx.Client, path: str, body: Body) -> Body:
    answer = server.post(path, json=body)
    assert answer.status_code == 200, answer.text
    said: Body = answer.json()
    return said


def assembled(server: httpx.Client, path: str, body: Body) -> Body:
    dialect = dialect_for(path)
    assert dialect is not None
    assembly = dialect.assembly()
    wire = Wire(dialect, assembly)
    with server.stream("POST", path, json=dialect.upgraded(body)) as stream:
        assert stream.status_code == 200, stream.read()
        for data in stream.iter_raw():
            wire.feed(data)
    wire.close()
    assert (wire.end, wire.finished, wire.broken, wire.refusal) == (End.MARKED, True, "", None)
    return assembly.answer()


@pytest.mark.parametrize("name", REQUESTS)
def test_an_answer_put_together_is_the_answer_in_one_piece(name: str, server: httpx.Client) -> None:
    path, wanted = REQUESTS[name]
    body = EXACT | wanted
    whole(server, path, body)  # from now on the server remembers this prompt, and says so each time
    expected = whole(server, path, body)
    assert comparable(assembled(server, path, body)) == comparable(expected)


def test_a_required_tool_is_called_once_with_valid_arguments(server: httpx.Client) -> None:
    """Else the comparison above would compare something else."""
    path, wanted = REQUESTS["messages with a tool"]
    answer = assembled(server, path, EXACT | wanted)
    [block] = answer["content"]
    assert (answer["stop_reason"], block["type"], block["name"]) == ("tool_use", "tool_use", "paint")
    assert set(block["input"]) == {"colour", "loud"}


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, MESSAGES])
def test_a_prompt_that_is_too_long_is_refused_before_the_stream_begins(path: str, server: httpx.Client) -> None:
    long = "abc " * 3000
    body = EXACT | SHORT | {"prompt": long, "messages": [{"role": "user", "content": long}], "stream": True}
    answer = server.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] in ("exceed_context_size_error", "invalid_request_error")
