"""One line of it, end to end: a real client, the installed command, a server behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from hangtight.testing.lab import Lab
from tests.gateway.kit import Served, all_at

pytestmark = pytest.mark.real
ASKED: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), all_at(lab.url)) as served:
        yield served


def client(served: Served) -> Any:
    return openai.OpenAI(base_url=served.openai, api_key="any", max_retries=2)


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_through_the_gateway_is_the_answer_of_its_server(served: Served, lab: Lab, streamed: bool) -> None:
    texts = []
    for base in (served.openai, f"{lab.url}/v1"):
        asking: Any
        with openai.OpenAI(base_url=base, api_key="any") as asking:
            if streamed:
                chunks = asking.chat.completions.create(model="m,tokens=9", messages=ASKED, stream=True)
                texts.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
            else:
                whole = asking.chat.completions.create(model="m,tokens=9", messages=ASKED)
                texts.append(whole.choices[0].message.content or "")
    assert texts[0] == texts[1] != ""


def test_it_is_started_with_the_words_of_who_comes_from_llama_swap(lab: Lab, tmp_path: Path) -> None:
    with Served(tmp_path, all_at(lab.url), "--watch") as served:
        assert served.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize("streamed", [True, False])
def test_a_silent_model_is_a_504_with_the_limit_and_is_asked_once(served: Served, lab: Lab, streamed: bool) -> None:
    model = f"silent-{streamed},mute=0"
    with client(served) as asking, pytest.raises(openai.InternalServerError) as raised:
        answer = asking.chat.completions.create(
            model=model,
            messages=ASKED,
            stream=streamed,
            extra_headers={"X-Hangtight-First-Token": "0.3"},
        )
        list(answer)
    body = raised.value.body
    assert raised.value.status_code == 504
    assert isinstance(body, dict)
    assert (body["type"], body["code"], body["limit"]) == ("timeout", "first_token", "first_token")
    assert body["source"] == "X-Hangtight-First-Token"
    assert body["elapsed"] >= 0.3
    assert "X-Hangtight-First-Token" in body["change"]
    counts = lab.settled(model)
    assert (counts.asked, counts.cancelled) == (1, 1)


def test_a_stream_that_goes_silent_ends_with_an_error_and_never_as_a_success(served: Served, lab: Lab) -> None:
    said: list[str] = []
    with client(served) as asking, pytest.raises(openai.APIError, match="stuck - no output"):
        said.extend(
            chunk.choices[0].delta.content
            for chunk in asking.chat.completions.create(
                model="m,tokens=9,mute=4",
                messages=ASKED,
                stream=True,
                extra_headers={"X-Hangtight-Idle": "0.3"},
            )
        )
    assert len([text for text in said if text]) == 4
    assert lab.settled("m,tokens=9,mute=4").cancelled == 1
