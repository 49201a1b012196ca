"""What a request asks for, and the request for a stream that takes its place."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from hangtight.dialects.dialect import Dialect, dialect_for
from hangtight.dialects.requests import MOST_COUNTED, tokens_in

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
MESSAGES, OLLAMA, GENERATE = "/v1/messages", "/api/chat", "/api/generate"


def of(path: str) -> Dialect:
    dialect = dialect_for(path)
    assert dialect is not None
    return dialect


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "openai-chat"),
        ("/openai/deployments/gpt/chat/completions?api-version=1", "openai-chat"),
        ("chat/completions/", "openai-chat"),
        ("/v1/completions", "openai-completions"),
        ("/v1/responses", "openai-responses"),
        ("/v1/messages", "anthropic"),
        ("/api/chat", "ollama-chat"),
        ("/upstream/m/api/generate", "ollama-generate"),
        ("/v1/embeddings", None),
        ("/v1/messages/count_tokens", None),
        ("/v1/threads/t/messages", None),
        ("/v1/responses/r/cancel", None),
        ("/myapi/completionsx", None),
        ("/", None),
        ("", None),
    ],
)
def test_the_end_of_the_path_tells_the_api(path: str, name: str | None) -> None:
    dialect = dialect_for(path)
    assert (dialect and dialect.name) == name


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_the_stream_of_openai_also_counts_tokens(path: str) -> None:
    body = {"model": "m", "stream": False, "stream_options": {"include_obfuscation": False}}
    before = deepcopy(body)
    options = {"include_obfuscation": False, "include_usage": True}
    assert of(path).upgraded(body) == {"model": "m", "stream": True, "stream_options": options}
    assert body == before


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES, OLLAMA, GENERATE])
def test_the_stream_of_the_others_is_asked_for_and_no_more(path: str) -> None:
    body = {"model": "m", "images": ["..."]}
    assert of(path).upgraded(body) == {**body, "stream": True}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (CHAT, {"modalities": ["text", "audio"]}),
        (CHAT, {"audio": {"voice": "alloy", "format": "wav"}}),
        (CHAT, {"prompt_logprobs": 0}),
        (CHAT, {"use_beam_search": True}),
        (COMPLETIONS, {"best_of": 3}),
        (COMPLETIONS, {"echo": True, "logprobs": 0}),
        (COMPLETIONS, {"prompt_logprobs": 1}),
        (RESPONSES, {"background": True}),
        (RESPONSES, {"modalities": ["audio"]}),
    ],
)
def test_what_could_not_be_put_together_again_is_left_unstreamed(path: str, fields: dict[str, Any]) -> None:
    assert of(path).upgraded({"model": "m", **fields}) is None


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (CHAT, {"modalities": ["text"], "audio": None, "prompt_logprobs": None, "logprobs": True, "n": 2}),
        (COMPLETIONS, {"best_of": 1, "echo": True, "logprobs": None}),
        (COMPLETIONS, {"echo": False, "logprobs": 5}),
        (RESPONSES, {"background": False}),
    ],
)
def test_the_rest_can(path: str, fields: dict[str, Any]) -> None:
    assert of(path).upgraded({"model": "m", **fields}) is not None


def test_only_ollama_streams_where_nothing_is_said() -> None:
    for path in (CHAT, COMPLETIONS, RESPONSES, MESSAGES):
        assert [of(path).streams(body) for body in ({}, {"stream": None}, {"stream": False}, {"stream": True})] == [
            *(False, False, False, True),
        ]
    for path in (OLLAMA, GENERATE):
        assert [of(path).streams(body) for body in ({}, {"stream": None}, {"stream": False}, {"stream": True})] == [
            *(True, True, False, True),
        ]


@pytest.mark.parametrize(
    ("path", "body", "asked"),
    [
        (CHAT, {}, False),
        (CHAT, {"reasoning_effort": "none"}, False),
        (CHAT, {"reasoning_effort": "low"}, True),
        (CHAT, {"reasoning": {"effort": "high"}}, True),
        (CHAT, {"reasoning": {"enabled": False}}, False),
        (CHAT, {"chat_template_kwargs": {"enable_thinking": True}}, True),
        (RESPONSES, {"reasoning": {"effort": "none"}}, False),
        (RESPONSES, {"reasoning": {"summary": "auto"}}, True),
        (RESPONSES, {"reasoning": None}, False),
        (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        (MESSAGES, {"thinking": {"type": "adaptive"}}, True),
        (MESSAGES, {"thinking": {"type": "disabled"}}, False),
        (OLLAMA, {"think": True}, True),
        (OLLAMA, {"think": "high"}, True),
        (GENERATE, {"think": False}, False),
        (GENERATE, {}, False),
    ],
)
def test_whether_a_request_asks_for_reasoning(path: str, body: dict[str, Any], asked: bool) -> None:
    assert of(path).reasons(body) is asked


IMAGE = "data:image/png;base64," + "A" * 400_000


@pytest.mark.parametrize(
    ("path", "body", "tokens"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "x" * 400}]}, 100),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 400}]}]}, 100),
        (CHAT, {"messages": [{"content": [{"type": "image_url", "image_url": {"url": IMAGE}}]}]}, 1000),
        (CHAT, {"messages": [{"content": [{"type": "input_audio", "input_audio": {"data": IMAGE}}]}]}, 1000),
        (COMPLETIONS, {"prompt": "x" * 400}, 100),
        (COMPLETIONS, {"prompt": ["x" * 400, "x" * 400]}, 200),
        (COMPLETIONS, {"prompt": [[1, 2, 3], [4]]}, 4),
        (RESPONSES, {"instructions": "x" * 40, "input": "x" * 360}, 100),
        (RESPONSES, {"input": [{"content": [{"type": "input_image", "image_url": IMAGE}]}]}, 1000),
        (MESSAGES, {"system": "x" * 400, "messages": [{"role": "user", "content": "x" * 400}]}, 200),
        (
            MESSAGES,
            {"messages": [{"content": [{"type": "image", "source": {"type": "base64", "data": IMAGE}}]}]},
            1000,
        ),
        (
            MESSAGES,
            {"messages": [{"content": [{"type": "document", "source": {"type": "base64", "data": IMAGE}}]}]},
            1000,
        ),
        (OLLAMA, {"messages": [{"role": "user", "content": "x" * 400, "images": [IMAGE, IMAGE]}]}, 2100),
        (GENERATE, {"prompt": "x" * 400, "system": "x" * 400, "images": [IMAGE]}, 1200),
        (CHAT, {}, 0),
        (CHAT, {"messages": None, "tools": 3}, 1),
    ],
)
def test_how_long_a_prompt_is(path: str, body: dict[str, Any], tokens: int) -> None:
    assert of(path).prompt_tokens(body) == tokens


def test_tools_are_part_of_the_prompt() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "description": "x" * 400}}}
    tool = {"type": "function", "function": {"name": "weather", "description": "x" * 400, "parameters": schema}}
    assert 200 <= of(CHAT).prompt_tokens({"tools": [tool]}) <= 220


def test_a_prompt_nested_too_deep_is_still_counted() -> None:
    nested: Any = "xxxx"
    for _ in range(10_000):
        nested = [nested]
    assert of(CHAT).prompt_tokens({"messages": nested}) == 1


class Looked(dict[str, Any]):
    """An object that counts how often one of its kind is looked at."""

    times = 0

    def get(self, *wanted: Any) -> Any:
        Looked.times += 1
        return super().get(*wanted)


@pytest.mark.parametrize("many", [10, MOST_COUNTED // 2 - 1, 3 * MOST_COUNTED])
def test_of_a_body_with_very_many_parts_some_are_counted_and_the_rest_is_guessed(many: int) -> None:
    Looked.times = 0
    found = tokens_in({"messages": [Looked(content="four")] * many})
    assert Looked.times <= MOST_COUNTED
    assert many / 4 <= found <= many


def test_a_prompt_of_very_many_numbers_is_as_long_as_there_are() -> None:
    assert tokens_in({"prompt": [5] * (4 * MOST_COUNTED)}) == pytest.approx(4 * MOST_COUNTED, rel=0.001)
