"""The real clients against the lab's other APIs; and a streamed answer is the unstreamed one, in each API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import ollama
import openai
import pytest

from hangtight.testing.lab import Lab, text_of

FAST = "m,rate=10000,every=0.001"
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
ANSWERS = ["tokens=5", "tokens=0", "reasoning=2,tokens=3", "tool,tokens=4", "reasoning=2,tool,tokens=4", "tokens=9"]
MANY = [*ANSWERS, "oversized=1,tokens=3", "oversized=1,tool,tokens=3", "oversized=1,reasoning=3", "no-reason"]
LIMIT = 7


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
def of_anthropic(lab: Lab) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=lab.url, api_key="none", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
def of_ollama(lab: Lab) -> Iterator[ollama.Client]:
    with ollama.Client(host=lab.url, timeout=10) as client:
        yield client


@pytest.mark.parametrize("items", MANY)
def test_a_chat_is_the_same_streamed_and_whole(of_openai: openai.OpenAI, items: str) -> None:
    asked: dict[str, Any] = {"model": f"{FAST},{items}", "messages": HELLO, "max_tokens": LIMIT}
    whole = of_openai.chat.completions.create(**asked).to_dict()
    with of_openai.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}) as stream:
        *chunks, last = list(stream)
    [choice] = _list(whole["choices"])
    message = choice["message"]
    deltas = [chunk.choices[0].delta.to_dict() for chunk in chunks]
    for key in ("content", "reasoning_content"):
        assert "".join(str(delta.get(key) or "") for delta in deltas) == (message.get(key) or "")
    calls = [call for delta in deltas for call in _list(delta.get("tool_calls"))]
    arguments = "".join(call["function"]["arguments"] for call in calls)
    assert [arguments] * bool(calls) == [call["function"]["arguments"] for call in _list(message.get("tool_calls"))]
    assert [call["id"] for call in calls if "id" in call] == [call["id"] for call in _list(message.get("tool_calls"))]
    assert chunks[-1].choices[0].finish_reason == choice["finish_reason"]
    assert last.choices == []
    assert last.usage
    assert (last.id, last.usage.to_dict()) == (whole["id"], whole["usage"])


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def test_several_choices_come_side_by_side_and_differ(of_openai: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": f"{FAST},tokens=4,reasoning=1", "messages": HELLO, "n": 3}
    whole = of_openai.chat.completions.create(**asked)
    texts, reasons = ["", "", ""], [""] * 3
    with of_openai.chat.completions.create(**asked, stream=True) as stream:
        for chunk in stream:
            [choice] = chunk.choices
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or ""
    assert texts == [choice.message.content for choice in whole.choices]
    assert len(set(texts)) == 3
    assert texts[0] == text_of("m,tokens=4")
    assert reasons == ["stop"] * 3
    assert whole.usage
    assert whole.usage.completion_tokens == 15


def test_a_chat_tells_its_log_probabilities_both_ways(of_openai: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"messages": HELLO, "logprobs": True, "top_logprobs": 2}
    asked["model"] = f"{FAST},tokens=3,reasoning=1"
    [choice] = of_openai.chat.completions.create(**asked).choices
    with of_openai.chat.completions.create(**asked, stream=True) as stream:
        told = [chunk.choices[0].logprobs for chunk in stream]
    entries = [entry for one in told if one is not None for entry in one.content or ()]
    assert choice.logprobs
    assert entries == choice.logprobs.content
    assert "".join(entry.token for entry in entries) == choice.message.content
    assert all(entry.top_logprobs[0].logprob == entry.logprob < 0 for entry in entries)
    assert [len(entry.top_logprobs) for entry in entries] == [2, 2, 2]


@pytest.mark.parametrize("items", MANY)
def test_a_text_completion_is_the_same_streamed_and_whole(of_openai: openai.OpenAI, items: str) -> None:
    asked: dict[str, Any] = {"model": f"{FAST},{items}", "prompt": "hello", "max_tokens": LIMIT, "n": 2, "logprobs": 2}
    whole = of_openai.completions.create(**asked)
    with of_openai.completions.create(**asked, stream=True, stream_options={"include_usage": True}) as stream:
        *chunks, last = list(stream)
    for choice in whole.choices:
        own = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == choice.index]
        assert "".join(one.text for one in own) == choice.text
        assert (own[-1].finish_reason if own else None) == choice.finish_reason
        assert choice.logprobs
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            found = [entry for one in own if one.logprobs for entry in getattr(one.logprobs, name)]
            assert found == getattr(choice.logprobs, name)
        assert "".join(choice.logprobs.tokens or ()) == choice.text
    assert (last.id, last.choices, last.usage) == (whole.id, [], whole.usage)


def test_a_text_completion_has_its_reasoning_in_tags(of_openai: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": f"{FAST},reasoning=2,tokens=3", "prompt": "hello"}
    [choice] = of_openai.completions.create(**asked).choices
    assert choice.text.startswith("<think>")
    assert choice.text.partition("</think>")[2] == text_of("m,tokens=3")
    assert choice.finish_reason == "stop"
    assert choice.logprobs is None


@pytest.mark.parametrize("items", MANY)
def test_a_response_is_the_same_streamed_and_whole(of_openai: openai.OpenAI, items: str) -> None:
    asked: dict[str, Any] = {"model": f"{FAST},{items}", "input": "hello", "max_output_tokens": LIMIT}
    whole = of_openai.responses.create(**asked).to_dict()
    with of_openai.responses.create(**asked, stream=True) as stream:
        events: list[Any] = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.to_dict() == whole
    assert not any(event.part.text for event in events if event.type == "response.content_part.added")
    assert not any(event.item.to_dict().get("arguments") for event in events if event.type.endswith("item.added"))
    done = [event.item.to_dict() for event in events if event.type == "response.output_item.done"]
    assert sorted(done, key=lambda item: item["id"].rpartition("_")[2]) == whole["output"]
    for item in done:
        deltas = [event.delta for event in events if event.type.endswith(".delta") and event.item_id == item["id"]]
        assert "".join(deltas) == (item["arguments"] if "arguments" in item else item["content"][0]["text"])


@pytest.mark.parametrize("items", ANSWERS)
def test_the_openai_client_assembles_a_response_itself(of_openai: openai.OpenAI, items: str) -> None:
    with of_openai.responses.stream(model=f"{FAST},{items}", input="hello") as stream:
        events: list[Any] = list(stream)
        final = stream.get_final_response()
    snapshots = [event.snapshot for event in events if event.type.endswith("delta") and hasattr(event, "snapshot")]
    said = next((item for item in final.output if item.type != "reasoning"), None)
    if said is not None:
        assert snapshots[-1] == (said.arguments if said.type == "function_call" else final.output_text)
    assert final.status == "completed"
    if "tool" not in items:
        assert final.output_text == text_of(f"m,{items.rsplit(',', maxsplit=1)[-1]}")
    assert final.usage
    assert final.usage.output_tokens_details.reasoning_tokens == (2 if "reasoning" in items else 0)


def test_a_response_that_reaches_its_limit_is_incomplete(of_openai: openai.OpenAI) -> None:
    with of_openai.responses.create(model=f"{FAST}", input="hello", max_output_tokens=2, stream=True) as stream:
        last: Any = list(stream)[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.output[-1].status == "incomplete"


def test_a_response_names_its_reasoning_and_its_tool(of_openai: openai.OpenAI) -> None:
    tools: list[Any] = [{"type": "function", "name": "weather", "parameters": {}}]
    model = f"{FAST},reasoning=1,tool,tokens=3"
    answer = of_openai.responses.create(model=model, input="hello", tools=tools)
    thoughts, call = answer.output
    assert thoughts.type == "reasoning"
    assert call.type == "function_call"
    assert call.name == "weather"


def test_the_openai_client_passes_on_the_errors_of_responses_and_raises_those_of_completions(
    of_openai: openai.OpenAI,
) -> None:
    with of_openai.responses.create(model=f"{FAST},error=1", input="hello", stream=True) as stream:
        error, failed = list(stream)[-2:]
    assert error.type == "error"
    assert failed.type == "response.failed"
    assert failed.response.error
    assert failed.response.error.message == error.message
    with pytest.raises(openai.InternalServerError):
        of_openai.responses.create(model=f"{FAST},error=1", input="hello")
    with pytest.raises(openai.APIError, match="EngineCore"):
        list(of_openai.completions.create(model=f"{FAST},error=1", prompt="hello", stream=True))
    with pytest.raises(openai.RateLimitError):
        of_openai.responses.create(model="m,status=429", input="hello")


@pytest.mark.parametrize("items", MANY)
def test_a_message_is_the_same_streamed_and_whole(of_anthropic: anthropic.Anthropic, items: str) -> None:
    asked: dict[str, Any] = {"model": f"{FAST},{items}", "messages": HELLO, "max_tokens": LIMIT}
    whole = of_anthropic.messages.create(**asked)
    with of_anthropic.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    assert _bare(final) == _bare(whole)


def _bare(message: anthropic.types.Message) -> dict[str, Any]:
    """Without what the client adds to what it assembled itself."""
    found: dict[str, Any] = message.model_dump(mode="json", warnings=False, exclude_none=True)
    return found


def test_a_message_comes_in_blocks_of_named_events(of_anthropic: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": f"{FAST},reasoning=1,tokens=2", "messages": HELLO, "max_tokens": 90}
    with of_anthropic.messages.create(**asked, stream=True) as stream:
        events: list[Any] = list(stream)
    kinds = [event.delta.type if event.type == "content_block_delta" else event.type for event in events]
    assert kinds == [
        "message_start",
        "content_block_start", "thinking_delta", "signature_delta", "content_block_stop",
        "content_block_start", "text_delta", "text_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    assert events[-2].delta.stop_reason == "end_turn"
    assert events[-2].usage.output_tokens == 3


def test_the_anthropic_client_finds_the_tool_that_it_offered(of_anthropic: anthropic.Anthropic) -> None:
    tools: list[Any] = [{"name": "weather", "input_schema": {"type": "object"}}]
    with of_anthropic.messages.stream(
        model=f"{FAST},tool,tokens=4", messages=HELLO, max_tokens=90, tools=tools
    ) as stream:
        final = stream.get_final_message()
    [call] = final.content
    assert call.type == "tool_use"
    assert (call.name, set(call.input)) == ("weather", {"text"})
    assert final.stop_reason == "tool_use"


def test_a_message_that_reaches_its_limit_says_so(of_anthropic: anthropic.Anthropic) -> None:
    answer = of_anthropic.messages.create(model=FAST, messages=HELLO, max_tokens=2)
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == 2


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.APIStatusError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.APIStatusError, "overloaded_error"),
    ],
)
def test_the_anthropic_client_knows_the_statuses(
    of_anthropic: anthropic.Anthropic, status: int, error: type[anthropic.APIStatusError], kind: str
) -> None:
    with pytest.raises(error) as refused:
        of_anthropic.messages.create(model=f"m,status={status}", messages=HELLO, max_tokens=9)
    assert refused.value.status_code == status
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["error"]["type"] == kind


def test_the_anthropic_client_raises_an_error_in_the_stream_and_drops_pings(
    of_anthropic: anthropic.Anthropic, lab: Lab
) -> None:
    with (
        pytest.raises(anthropic.APIStatusError, match="EngineCore"),
        of_anthropic.messages.create(model=f"{FAST},error=2", messages=HELLO, max_tokens=90, stream=True) as stream,
    ):
        list(stream)
    model = f"{FAST},empties=1"
    with of_anthropic.messages.create(model=model, messages=HELLO, max_tokens=90, stream=True) as stream:
        for _, event in zip(range(9), stream, strict=False):
            assert event.type
    assert lab.settled(model).cancelled == 1


def test_the_anthropic_client_says_nothing_of_a_message_that_does_not_stop(of_anthropic: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"messages": HELLO, "max_tokens": 90}
    with of_anthropic.messages.create(model=f"{FAST},no-done", **asked, stream=True) as stream:
        assert list(stream)[-1].type == "message_delta"
    torn = of_anthropic.messages.create(model=f"{FAST},garbage=1", **asked, stream=True)
    with torn, pytest.raises(ValueError, match=r"char|line|Unterminated"):
        list(torn)
    cut = of_anthropic.messages.create(model=f"{FAST},disconnect=2", **asked, stream=True)
    with cut, pytest.raises(httpx2.RemoteProtocolError):
        list(cut)


@pytest.mark.parametrize("items", MANY)
def test_a_generated_text_is_the_same_streamed_and_whole(of_ollama: ollama.Client, items: str) -> None:
    options = {"num_predict": LIMIT}
    whole = of_ollama.generate(f"{FAST},{items}", "hello", options=options)
    parts = list(of_ollama.generate(f"{FAST},{items}", "hello", options=options, stream=True))
    for name in ("response", "thinking"):
        assert "".join(getattr(part, name) or "" for part in parts) == (getattr(whole, name) or "")
    for name in ("done", "done_reason", "context", "prompt_eval_count", "eval_count", "eval_duration"):
        assert getattr(parts[-1], name) == getattr(whole, name)
    assert not any(part.done for part in parts[:-1])
    assert whole.context


@pytest.mark.parametrize("items", MANY)
def test_an_ollama_chat_is_the_same_streamed_and_whole(of_ollama: ollama.Client, items: str) -> None:
    options = {"num_predict": LIMIT}
    whole = of_ollama.chat(f"{FAST},{items}", HELLO, options=options)
    parts = list(of_ollama.chat(f"{FAST},{items}", HELLO, options=options, stream=True))
    for name in ("content", "thinking"):
        assert "".join(getattr(part.message, name) or "" for part in parts) == (getattr(whole.message, name) or "")
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert calls == list(whole.message.tool_calls or ())
    assert (parts[-1].done_reason, parts[-1].eval_count) == (whole.done_reason, whole.eval_count)


def test_the_ollama_client_knows_the_errors_of_generate(of_ollama: ollama.Client) -> None:
    assert of_ollama.generate(f"{FAST},refuses-stream", "hello").done
    with pytest.raises(ollama.ResponseError) as refused:
        list(of_ollama.generate("m,refuses-stream", "hello", stream=True))
    assert (refused.value.status_code, refused.value.error) == (400, "streaming is not supported")
    with pytest.raises(ollama.ResponseError, match="EngineCore"):
        list(of_ollama.generate(f"{FAST},error=1", "hello", stream=True))


def test_every_api_serves_a_client_whose_stream_is_ignored(of_openai: openai.OpenAI, of_ollama: ollama.Client) -> None:
    model = f"{FAST},ignores-stream,tokens=2"
    [part] = list(of_ollama.generate(model, "hello", stream=True))
    assert part.response == text_of("m,tokens=2")
    with of_openai.chat.completions.create(model=model, messages=HELLO, stream=True) as stream:
        assert list(stream) == []
