"""A real llama.cpp server beneath SDKs on our client: the same answers as without us; a timeout frees its slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest

import hangtight
from hangtight.drivers.sources import EXTENSION
from tests.clients.test_real_assembled import CHAT, COMPLETIONS, EXACT, MESSAGES, REQUESTS, RESPONSES, comparable
from tests.realserver.server import LlamaCpp

pytestmark = pytest.mark.real

ENDLESS = 1_000_000
TOTAL = 0.3
QUESTION: Any = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(autouse=True)
def idle(llama_cpp: LlamaCpp) -> Iterator[None]:
    llama_cpp.wait_idle()
    yield
    llama_cpp.wait_idle()


def openai_on(url: str, http: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", base_url=f"{url}/v1", http_client=http)


def anthropic_on(url: str, http: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="none", base_url=url, http_client=http)


def answered(url: str, path: str, body: dict[str, Any], http: Any) -> Any:
    """The raw response of an unstreamed call through the SDK for this path."""
    asked = {name: value for name, value in (EXACT | body).items() if name != "seed" or path != RESPONSES}
    more = {"extra_body": {"return_progress": asked.pop("return_progress")}} if "return_progress" in asked else {}
    calls: dict[str, Callable[..., Any]] = {
        CHAT: openai_on(url, http).chat.completions.with_raw_response.create,
        COMPLETIONS: openai_on(url, http).completions.with_raw_response.create,
        RESPONSES: openai_on(url, http).responses.with_raw_response.create,
    }
    if path == MESSAGES:
        exact = {name: asked.pop(name) for name in ("seed", "temperature")}
        return anthropic_on(url, http).messages.with_raw_response.create(**asked, extra_body=exact)
    return calls[path](**asked, **more)


@pytest.mark.parametrize("told", REQUESTS)
def test_an_unstreamed_answer_through_an_sdk_is_the_same_with_us_and_without(told: str, llama_cpp: LlamaCpp) -> None:
    path, body = REQUESTS[told]
    answered(llama_cpp.url, path, body, None)  # the prompt's cache is warm for both
    bare = answered(llama_cpp.url, path, body, None)
    with hangtight.http.client(lib="httpx2") as http:
        ours = answered(llama_cpp.url, path, body, http)
        session = ours.http_response.extensions[EXTENSION]
    assert session.machine.tokens > 1, "it was streamed underneath"
    assert session.hidden
    assert comparable(ours.http_response.json()) == comparable(bare.http_response.json())
    assert comparable(ours.parse().model_dump()) == comparable(bare.parse().model_dump())


def test_what_the_server_refuses_as_a_stream_is_asked_as_it_was(llama_cpp: LlamaCpp) -> None:
    """llama.cpp gives logprobs with tools only unstreamed."""
    body = REQUESTS["chat with a tool"][1] | {"logprobs": True}
    with hangtight.http.client(lib="httpx2") as http:
        ours = answered(llama_cpp.url, CHAT, body, http)
        assert ours.http_response.status_code == 200
        assert ours.http_response.extensions[EXTENSION].machine.outcome == "finished"
        assert ours.parse().choices[0].logprobs is not None


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])
def test_a_timeout_frees_the_slot(streamed: bool, llama_cpp: LlamaCpp) -> None:
    with hangtight.http.client(lib="httpx2", total=TOTAL) as http:
        call = openai_on(llama_cpp.url, http).chat.completions.create
        with pytest.raises(hangtight.TotalTimeout) as caught:
            answer = call(model="tiny", messages=QUESTION, max_tokens=ENDLESS, stream=streamed)
            for _ in answer:
                pass
    assert caught.value.tokens > 1
    assert caught.value.partial
    llama_cpp.wait_idle()


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])
def test_a_timeout_frees_the_slot_beneath_an_asynchronous_client(streamed: bool, llama_cpp: LlamaCpp) -> None:
    async def main() -> None:
        async with hangtight.http.async_client(lib="httpx2", total=TOTAL) as http:
            client = anthropic.AsyncAnthropic(api_key="none", base_url=llama_cpp.url, http_client=http)
            with pytest.raises(hangtight.TotalTimeout) as caught:
                answer: Any = await client.messages.create(
                    model="tiny", messages=QUESTION, max_tokens=20_000 if not streamed else ENDLESS, stream=streamed
                )
                async for _ in answer:
                    pass
        assert caught.value.tokens > 1

    asyncio.run(main())
    llama_cpp.wait_idle()


def test_leaving_an_unstreamed_call_frees_the_slot(llama_cpp: LlamaCpp) -> None:
    async def main() -> None:
        async with hangtight.http.async_client(lib="httpx2") as http:
            client = openai.AsyncOpenAI(api_key="none", base_url=f"{llama_cpp.url}/v1", http_client=http)
            asking = asyncio.ensure_future(
                client.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=ENDLESS)
            )
            while not await asyncio.to_thread(llama_cpp.busy):
                assert not asking.done()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    asyncio.run(main())
    llama_cpp.wait_idle()


def test_generate_speaks_to_it(llama_cpp: LlamaCpp) -> None:
    with pytest.raises(hangtight.TotalTimeout) as caught:
        hangtight.generate("Why is the sky blue?", url=llama_cpp.url, total=TOTAL)
    assert caught.value.partial
    llama_cpp.wait_idle()
