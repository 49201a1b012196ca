"""The words for servers that refuse a way of asking, or take no notice of it, in each API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hangtight.testing.lab import Lab
from hangtight.testing.lab.raw import Raw
from hangtight.testing.lab.server import APIS

OPENAI, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
FAST = "m,rate=10000"


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Lab:
    shared.reset()
    return shared


def ask(lab: Lab, items: str, path: str = OPENAI, *, stream: bool = True, **more: Any) -> Raw:
    return Raw(lab.url).ask(path, model=f"{FAST},{items}", stream=stream, **more)


@pytest.mark.parametrize("path", APIS)
def test_a_model_that_does_not_stream_refuses_who_asks_for_it(lab: Lab, path: str) -> None:
    with ask(lab, "refuses-stream", path) as raw:
        assert b"streaming is not supported" in raw.whole()
        assert raw.status == 400
    with ask(lab, "refuses-stream", path, stream=False) as raw:
        raw.whole()
        assert raw.status == 200


@pytest.mark.parametrize("path", APIS)
def test_a_model_that_ignores_streaming_answers_in_one_piece(lab: Lab, path: str) -> None:
    with ask(lab, "ignores-stream", path) as raw, ask(lab, "ignores-stream", path, stream=False) as whole:
        assert raw.whole() == whole.whole()
        assert raw.status == 200
        assert "application/json" in raw.head
        assert isinstance(json.loads(raw.body), dict)


@pytest.mark.parametrize("path", [OPENAI, COMPLETIONS, RESPONSES])
def test_a_model_can_refuse_the_option_for_usage(lab: Lab, path: str) -> None:
    with ask(lab, "no-usage-option", path, stream_options={"include_usage": True}) as raw:
        assert json.loads(raw.whole())["error"]["message"] == "unknown field: stream_options"
        assert raw.status == 400
    with ask(lab, "no-usage-option", path) as raw:
        raw.whole()
        assert raw.status == 200


@pytest.mark.parametrize("path", APIS)
def test_a_loading_model_that_is_unavailable_says_so_in_every_api(lab: Lab, path: str) -> None:
    with ask(lab, "unavailable,load=3600", path) as raw:
        assert b"Loading model" in raw.whole()
        assert raw.status == 503


@pytest.mark.parametrize(("field", "value"), [("n", 0), ("n", "two"), ("n", 129), ("top_logprobs", 21)])
def test_a_number_of_choices_that_makes_no_sense_is_a_400(lab: Lab, field: str, value: object) -> None:
    asked: dict[str, Any] = {field: value}
    with ask(lab, "tokens=1", logprobs=True, **asked) as raw:
        raw.whole()
        assert raw.status == 400
