"""What of a request is changed on its way: stripParams, setParams, setParamsByID, useModelName."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hangtight.gateway.filters import UNFILTERED, Filters
from tests.gateway.behind import ANSWERED, PATIENCE, Before, Talk, answer, before, behind, post

pytestmark = pytest.mark.real
MODELS = """
circuit: false
modes: {{both: {{models: [bad, "gpt:high"]}}}}
models:
  gpt:
    proxy: "{url}"
    useModelName: openai/gpt
    aliases: [chatgpt]
    filters:
      stripParams: "temperature, top_p, model"
      setParams: {{seed: 7, model: evil, nested: {{a: [1]}}}}
      setParamsByID:
        gpt: {{effort: medium}}
        "gpt:high": {{effort: high, seed: 8, model: evil}}
  bad: {{proxy: "{url}", useModelName: bad, filters: {{setParams: {{only: bad}}}}}}
  streams: {{proxy: "{url}", filters: {{setParams: {{stream: true}}}}}}
  plain: {{proxy: "{url}"}}
"""
Sent = list[tuple[bytes, Any]]
Main = Callable[[Before, Sent], Awaitable[None]]


def run(folder: Path, main: Main) -> None:
    sent: Sent = []

    async def serve(talk: Talk) -> None:
        while True:
            head, body = await talk.request()
            sent.append((head, json.loads(body)))
            asked = sent[-1][1] if isinstance(sent[-1][1], dict) else {}
            if asked.get("model") == "bad":
                talk.say(answer(b'{"error": {"message": "no"}}', 500))
            else:
                talk.say(ANSWERED if asked.get("stream") else answer(b'{"data": []}'))

    async def bounded() -> None:
        async with (
            asyncio.timeout(PATIENCE),
            behind(serve) as server,
            before(folder, MODELS.format(url=server.url)) as ours,
        ):
            await main(ours, sent)

    asyncio.run(bounded())


def asking(path: str, model: str, **more: Any) -> bytes:
    return post(path, json.dumps({"model": model, **more}).encode(), {"content-type": "application/json"})


CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"


BY_NAME: dict[str, tuple[str | None, int]] = {"gpt": ("medium", 7), "chatgpt": (None, 7), "gpt:high": ("high", 8)}


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("path", [CHAT, EMBEDDINGS, "/v1/completions", "/rerank"])
@pytest.mark.parametrize("stream", [True, False])
def test_parameters_are_taken_out_and_put_in_by_the_name_that_was_asked(
    tmp_path: Path, name: str, path: str, stream: bool
) -> None:
    async def main(ours: Before, sent: Sent) -> None:
        said = {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "stream": stream}
        await ours.ask(asking(path, name, temperature=1, top_p=0.5, seed=1, user="me", **said))
        head, body = sent[-1]
        assert (body["model"], body.get("effort"), body["seed"]) == ("openai/gpt", *BY_NAME[name])
        assert (body["nested"], body["user"]) == ({"a": [1]}, "me")
        assert body.keys().isdisjoint(("temperature", "top_p"))
        assert b"content-length: %d\r\n" % len(json.dumps(body, separators=(",", ":"))) in head.lower()

    run(tmp_path, main)


def test_what_has_no_filters_goes_on_byte_for_byte(tmp_path: Path) -> None:
    async def main(ours: Before, sent: Sent) -> None:
        await ours.ask(asking(EMBEDDINGS, "plain", input="x", temperature=1))
        assert sent[-1][1] == {"model": "plain", "input": "x", "temperature": 1}

    run(tmp_path, main)


def test_an_alias_is_no_name_that_its_server_knows(tmp_path: Path) -> None:
    async def main(ours: Before, sent: Sent) -> None:
        await ours.ask(asking(EMBEDDINGS, "chatgpt", input="x"))
        assert sent[-1][1]["model"] == "openai/gpt"

    run(tmp_path, main)


def test_a_model_that_stands_in_is_filtered_in_its_own_way(tmp_path: Path) -> None:
    async def main(ours: Before, sent: Sent) -> None:
        said = {"messages": [{"role": "user", "content": "hi"}], "stream": True, "temperature": 1}
        body = json.dumps({"model": "bad", **said}).encode()
        found = await ours.ask(post(CHAT, body, {"x-hangtight-mode": "both"}))
        assert b"hello" in found.body
        (_, first), (_, second) = sent
        assert (first["only"], first["temperature"]) == ("bad", 1)
        assert (second["model"], second["effort"], second["seed"]) == ("openai/gpt", "high", 8)
        assert second["stream"] is True
        assert second.keys().isdisjoint(("only", "temperature"))

    run(tmp_path, main)


def test_what_is_put_in_counts_for_the_terms_of_the_request_too(tmp_path: Path) -> None:
    """A client that gets a stream because the settings say so is answered as one."""

    async def main(ours: Before, sent: Sent) -> None:
        said = {"messages": [{"role": "user", "content": "hi"}]}
        found = await ours.ask(asking(CHAT, "streams", **said))
        assert found.headers["content-type"].startswith("text/event-stream")
        assert b"[DONE]" in found.body

    run(tmp_path, main)


def test_a_body_that_is_no_object_passes_as_it_is(tmp_path: Path) -> None:
    async def main(ours: Before, sent: Sent) -> None:
        await ours.ask(post("/tokenize?model=gpt", b'[{"temperature": 1}]'))
        assert sent[-1][1] == [{"temperature": 1}]

    run(tmp_path, main)


def test_the_body_that_came_is_left_alone() -> None:
    body = {"model": "m", "a": 1}
    assert Filters(("a",), {"b": 2}).applied(body, "m") == {"model": "m", "b": 2}
    assert body == {"model": "m", "a": 1}
    assert not UNFILTERED
    assert Filters(("a",))
