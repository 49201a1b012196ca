"""The real clients against the lab: what it sends is what they understand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import openai
import pytest

from hangtight.testing.lab import Lab, text_of

FAST = "m,rate=10000,every=0.001"


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Lab:
    shared.reset()
    return shared


@pytest.fixture
def of_openai(lab: Lab) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=lab.url + "/v1", api_key="none", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
def of_ollama(lab: Lab) -> Iterator[ollama.Client]:
    with ollama.Client(host=lab.url, timeout=10) as client:
        yield client


def said(client: openai.OpenAI, items: str, **more: Any) -> list[Any]:
    messages: list[Any] = [{"role": "user", "content": "hello"}]
    with client.chat.completions.create(model=f"{FAST},{items}", messages=messages, stream=True, **more) as stream:
        return list(stream)


def test_the_openai_client_reads_a_stream(of_openai: openai.OpenAI) -> None:
    chunks = said(of_openai, "tokens=5", stream_options={"include_usage": True})
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == text_of("m,tokens=5")
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 5


def test_the_openai_client_reads_an_answer_in_one_piece(of_openai: openai.OpenAI) -> None:
    answer = of_openai.chat.completions.create(model=f"{FAST},tokens=5,reasoning=2", messages=[])
    assert answer.choices[0].message.content == text_of("m,tokens=5")
    assert answer.choices[0].message.model_extra
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.completion_tokens == 7


def test_the_openai_client_assembles_a_tool_call_both_ways(of_openai: openai.OpenAI) -> None:
    deltas = [chunk.choices[0].delta for chunk in said(of_openai, "tool,tokens=4")]
    pieces = [call.function.arguments for delta in deltas for call in delta.tool_calls or ()]
    whole = of_openai.chat.completions.create(model=f"{FAST},tool,tokens=4", messages=[]).choices[0]
    assert whole.finish_reason == "tool_calls"
    assert whole.message.tool_calls
    call = whole.message.tool_calls[0]
    assert call.type == "function"
    assert call.function.arguments == "".join(pieces)


def test_the_openai_client_knows_the_errors(of_openai: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as limited:
        said(of_openai, "status=429,retry-after=2")
    assert limited.value.response.headers["retry-after"] == "2"
    with pytest.raises(openai.BadRequestError):
        of_openai.chat.completions.create(model="m,no-stream", messages=[])
    with pytest.raises(openai.BadRequestError, match="tokens"):
        said(of_openai, "tokns=4")
    with pytest.raises(openai.InternalServerError, match="Loading model"):
        said(of_openai, "unavailable,load=3600")
    with pytest.raises(openai.APIError, match="EngineCore"):
        said(of_openai, "error=2")
    with pytest.raises(openai.APIConnectionError):
        said(of_openai, "disconnect=2")


def test_the_openai_client_says_nothing_of_a_stream_without_done_or_reason(of_openai: openai.OpenAI) -> None:
    assert said(of_openai, "no-done,tokens=2")[-1].choices[0].finish_reason == "stop"
    assert said(of_openai, "no-reason,tokens=2")[-1].choices[0].finish_reason is None
    assert len(said(of_openai, "lingers,tokens=2")) == 4


def test_the_openai_client_drops_pings_and_passes_empty_deltas_on(of_openai: openai.OpenAI, lab: Lab) -> None:
    messages: list[Any] = []
    for items, number in (("pings=1", 2), ("empties=1", 9)):
        with of_openai.chat.completions.create(model=f"{FAST},{items}", messages=messages, stream=True) as stream:
            for _, chunk in zip(range(number), stream, strict=False):
                assert chunk.choices
        assert lab.settled(f"{FAST},{items}").cancelled == 1


def test_the_openai_client_lists_models(of_openai: openai.OpenAI) -> None:
    assert [model.id for model in of_openai.models.list()] == ["qwen3-coder", "qwen3:1.7b"]


def test_the_ollama_client_reads_a_stream_with_thinking(of_ollama: ollama.Client) -> None:
    parts = list(of_ollama.chat(f"{FAST},tokens=3,reasoning=2", [], stream=True))
    assert "".join(part.message.content or "" for part in parts) == text_of("m,tokens=3")
    assert [bool(part.message.thinking) for part in parts] == [True, True, False, False, False, False]
    assert (parts[-1].done, parts[-1].done_reason, parts[-1].eval_count) == (True, "stop", 5)


def test_the_ollama_client_reads_an_answer_in_one_piece(of_ollama: ollama.Client) -> None:
    answer = of_ollama.chat(f"{FAST},tokens=3,reasoning=2", [])
    assert answer.message.content == text_of("m,tokens=3")
    assert answer.message.thinking
    assert answer.done_reason == "stop"


@pytest.mark.parametrize("stream", [True, False])
def test_the_ollama_client_finds_a_tool_call_in_one_message(of_ollama: ollama.Client, stream: bool) -> None:
    model = f"{FAST},tool,tokens=4"
    parts = list(of_ollama.chat(model, [], stream=True)) if stream else [of_ollama.chat(model, [])]
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [call.function.name for call in calls] == ["write_file"]
    assert set(calls[0].function.arguments) == {"text"}


def test_the_ollama_client_knows_the_errors(of_ollama: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as refused:
        of_ollama.chat(f"{FAST},status=503", [])
    assert refused.value.status_code == 503
    with pytest.raises(ollama.ResponseError, match="EngineCore"):
        list(of_ollama.chat(f"{FAST},error=1", [], stream=True))
    with pytest.raises(httpx.RemoteProtocolError):
        list(of_ollama.chat(f"{FAST},disconnect=1", [], stream=True))


def test_the_ollama_client_reads_tags_and_ps(of_ollama: ollama.Client) -> None:
    of_ollama.chat(FAST, [])
    assert [model.model for model in of_ollama.list().models] == ["qwen3-coder", "qwen3:1.7b", FAST]
    assert [model.model for model in of_ollama.ps().models] == [FAST]
