"""A real llama.cpp server under `watch` and `ask`: what it really sends is read rightly, and what we end it ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import Stream
from openai.types.chat import ChatCompletionChunk

import hangtight
from hangtight.core.facts import Content, PrefillProgress
from hangtight.core.phases import Outcome
from hangtight.dialects.pieces import reader_for
from tests.realserver import TOOL
from tests.realserver.server import LlamaCpp

pytestmark = pytest.mark.real

SOURCES = str(Path(hangtight.__file__).parents[1])
SHORT = 12
LONG_ENOUGH = 200
ENDLESS = 1_000_000
TOTAL = 0.3
QUESTION: Any = [{"role": "user", "content": "Why is the sky blue?"}]
LONG_QUESTION: Any = [{"role": "user", "content": "abc " * 400}]


@pytest.fixture(autouse=True)
def idle(llama_cpp: LlamaCpp) -> Iterator[None]:
    llama_cpp.wait_idle()
    yield
    llama_cpp.wait_idle()


@pytest.fixture
def client(llama_cpp: LlamaCpp) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="none", base_url=f"{llama_cpp.url}/v1") as client:
        yield client


def asked(tokens: int, **more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": QUESTION, "max_tokens": tokens, "temperature": 0, **more}


def stream(client: openai.OpenAI, tokens: int, **more: Any) -> Stream[ChatCompletionChunk]:
    opened: Stream[ChatCompletionChunk] = client.chat.completions.create(**asked(tokens, **more), stream=True)
    return opened


def whole(client: openai.OpenAI, tokens: int) -> str:
    answer: str = client.chat.completions.create(**asked(tokens)).choices[0].message.content
    return answer


def test_the_tokens_of_a_real_server_arrive_and_the_answer_is_finished(client: openai.OpenAI) -> None:
    expected = whole(client, SHORT)
    watched = hangtight.watch(lambda: stream(client, SHORT))
    said = [chunk.choices[0].delta.content or "" for chunk in watched]
    assert "".join(said) == watched.partial == expected
    assert (watched.tokens, watched.outcome) == (SHORT, Outcome.FINISHED)


def test_an_endless_answer_is_ended_by_total_and_the_server_is_free_again(
    client: openai.OpenAI, llama_cpp: LlamaCpp
) -> None:
    watched = hangtight.watch(lambda: stream(client, ENDLESS), total=TOTAL)
    with pytest.raises(hangtight.TotalTimeout) as caught:
        list(watched)
    assert (watched.outcome, caught.value.left_running) == (Outcome.TIMEOUT, False)
    assert caught.value.partial.split()
    llama_cpp.wait_idle()
    assert whole(client, SHORT)


async def read(llama_cpp: LlamaCpp, tokens: int, **limits: Any) -> hangtight.Watch[ChatCompletionChunk]:
    """Watch an answer to its end, whatever that is; the client is still open then."""
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{llama_cpp.url}/v1") as client:
        opening: Any = client.chat.completions.create(**asked(tokens), stream=True)
        watched: hangtight.Watch[ChatCompletionChunk] = hangtight.watch(opening, **limits)
        try:
            async for _ in watched:
                pass
        except hangtight.TotalTimeout:
            await asyncio.to_thread(llama_cpp.wait_idle)
        return watched


def test_the_tokens_arrive_with_an_asynchronous_client_too(client: openai.OpenAI, llama_cpp: LlamaCpp) -> None:
    watched = asyncio.run(read(llama_cpp, SHORT))
    assert (watched.tokens, watched.outcome) == (SHORT, Outcome.FINISHED)
    assert watched.partial == whole(client, SHORT)


def test_an_endless_answer_ends_with_an_asynchronous_client_too(llama_cpp: LlamaCpp) -> None:
    watched = asyncio.run(read(llama_cpp, ENDLESS, total=TOTAL))
    assert watched.outcome == Outcome.TIMEOUT
    assert watched.tokens > 0


def test_leaving_the_loop_frees_the_server(client: openai.OpenAI, llama_cpp: LlamaCpp) -> None:
    with hangtight.watch(lambda: stream(client, ENDLESS)) as watched:
        next(watched)
        assert llama_cpp.busy() == 1
    assert watched.outcome == Outcome.LEFT
    llama_cpp.wait_idle()


def test_reading_a_long_prompt_is_progress_before_the_first_token(client: openai.OpenAI) -> None:
    more = {"messages": LONG_QUESTION, "extra_body": {"return_progress": True, "cache_prompt": False}}
    chunks = list(hangtight.watch(lambda: stream(client, SHORT, **more)))
    kinds = [reader_for(chunk).read(chunk)[0] for chunk in chunks]
    reading, answer = kinds.count(PrefillProgress), kinds.count(Content)
    assert (reading > 2, answer) == (True, SHORT)
    assert [kind for kind in kinds if kind] == [PrefillProgress] * reading + [Content] * answer


def test_a_required_tool_is_called(client: openai.OpenAI) -> None:
    more = {"tools": [TOOL], "tool_choice": "required"}
    watched = hangtight.watch(lambda: stream(client, LONG_ENOUGH, **more))
    deltas = [chunk.choices[0].delta for chunk in watched]
    calls = [call.function for delta in deltas for call in delta.tool_calls or () if call.function]
    assert [call.name for call in calls if call.name] == ["paint"]
    assert json.loads("".join(call.arguments or "" for call in calls))["colour"] in ("red", "blue")
    assert (watched.outcome, watched.partial) == (Outcome.FINISHED, "")
    assert watched.tokens > 1


def test_the_command_asks_a_real_server_and_ends_its_endless_answer(llama_cpp: LlamaCpp, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hangtight", "ask", "Why?", "--url", llama_cpp.url, "--total", str(TOTAL)]
    environment = os.environ | {"PYTHONPATH": SOURCES}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert ended.returncode == 124, ended.stderr
    assert ended.stdout.split()
    assert ended.stderr.startswith("TotalTimeout: tiny ")
    llama_cpp.wait_idle()
