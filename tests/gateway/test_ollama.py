"""A real Ollama behind the gateway: `make test-ollama`, with its address in OLLAMA_HOST."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from typing import Any

import ollama
import pytest

from tests.gateway.crowd import CLIENTS, QUESTION, SLOTS, Crowd, each_has_an_end
from tests.gateway.kit import Served

HOST = os.environ.get("OLLAMA_HOST", "")
pytestmark = [pytest.mark.ollama, pytest.mark.skipif(not HOST, reason="needs a real Ollama: OLLAMA_HOST is not set")]

PORT = 11434
SLOW = 600  # seconds: a model that may first have to be loaded, on a machine without a GPU
SETTINGS = """\
limits: {{first_token: 300, idle: 120, total: {slow}}}
models:
  "*":
    proxy: {url}
    concurrencyLimit: {slots}
    queue: {clients}
"""


def address() -> str:
    """OLLAMA_HOST may be a bare name, with or without a port, and the address on which a server listens everywhere."""
    url = (HOST if "://" in HOST else f"http://{HOST}").rstrip("/").replace("//0.0.0.0", "//127.0.0.1")
    return url if ":" in url.rpartition("/")[2] else f"{url}:{PORT}"


def listed() -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{address()}/api/tags", timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)["models"]
    return found


@pytest.fixture(scope="module")
def model() -> str:
    """OLLAMA_MODEL, or the smallest that is there."""
    if wanted := os.environ.get("OLLAMA_MODEL"):
        return wanted
    models = sorted(listed(), key=lambda each: each["size"])
    if not models:
        pytest.skip("this Ollama has no model: ollama pull qwen3:0.6b")
    return str(models[0]["name"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = SETTINGS.format(url=address(), slots=SLOTS, clients=CLIENTS, slow=SLOW)
    with Served(tmp_path_factory.mktemp("served"), settings) as served:
        yield served


@pytest.mark.timeout(SLOW)
def test_its_own_client_gets_the_same_answer_through_us_streamed_and_not(served: Served, model: str) -> None:
    options = {"temperature": 0, "seed": 7, "num_predict": 24}
    texts = set()
    for url in (address(), served.url):
        with ollama.Client(host=url, timeout=SLOW) as client:
            chunks = client.chat(model, QUESTION, stream=True, options=options)
            texts.add("".join((chunk.message.thinking or "") + (chunk.message.content or "") for chunk in chunks))
            whole = client.chat(model, QUESTION, options=options).message
            texts.add((whole.thinking or "") + (whole.content or ""))
    assert len(texts) == 1
    assert texts != {""}


@pytest.mark.timeout(SLOW)
def test_of_32_clients_each_has_its_end_and_the_server_answers_the_next_one(served: Served, model: str) -> None:
    with ollama.Client(host=served.url, timeout=SLOW) as client:
        client.generate(model, "hi", options={"num_predict": 1})  # loaded, so that what follows is about the crowd
        each_has_an_end(served, Crowd(served.url, model, tokens=16, total=3.0, patience=SLOW))
        assert client.generate(model, "hi", options={"num_predict": 1}).done
