"""Counting, loading and cancelling."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from hangtight.testing.lab import Counts, Lab
from hangtight.testing.lab.raw import Raw
from hangtight.testing.lab.server import APIS

OPENAI, OLLAMA = "/v1/chat/completions", "/api/chat"


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Lab:
    shared.reset()
    return shared


def ask(lab: Lab, model: str, path: str = OPENAI, *, stream: bool = True) -> Raw:
    return Raw(lab.url).ask(path, model=model, stream=stream, messages=[])


def get(lab: Lab, path: str) -> dict[str, object]:
    with Raw(lab.url).get(path) as raw:
        found: dict[str, object] = json.loads(raw.whole())
        return found


def names(lab: Lab, path: str) -> list[str]:
    models = get(lab, path)["models"]
    assert isinstance(models, list)
    return [model["name"] for model in models]


def test_requests_are_counted_by_model_and_by_how_they_ended(lab: Lab) -> None:
    with ask(lab, "a,rate=9999,tokens=4") as raw:
        raw.whole()
    with ask(lab, "a,rate=9999,tokens=4", stream=False) as raw:
        raw.whole()
    expected = Counts(asked=2, streamed=1, finished=2, tokens=8)
    assert lab.settled("a,rate=9999,tokens=4") == expected
    assert lab.counts("b") == Counts()
    over_http = get(lab, "/lab/counts")["a,rate=9999,tokens=4"]
    assert over_http == {"asked": 2, "streamed": 1, "finished": 2, "cancelled": 0, "tokens": 8, "wasted": 0, "open": 0}


def test_a_client_that_has_a_token_finds_it_counted(lab: Lab) -> None:
    with ask(lab, "m,mute=3,rate=9999") as raw:
        raw.until(lambda seen: seen.count(b'"content":"') == 4)
        assert lab.counts("m,mute=3,rate=9999").tokens == 3


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "items", ["silent", "mute=0", "load=3600", "headers=3600", "prefill=3600", "rate=0.0001", "runaway,rate=500"]
)
def test_a_client_that_leaves_is_noticed_whatever_the_model_is_doing(
    lab: Lab, items: str, path: str, stream: bool
) -> None:
    with ask(lab, f"m,{items}", path, stream=stream):
        lab.when(f"m,{items}", lambda counts: counts.open == 1)
    counts = lab.settled(f"m,{items}")
    assert (counts.cancelled, counts.finished, counts.wasted) == (1, 0, 0)


def test_a_client_that_leaves_without_reading_what_was_sent_is_noticed(lab: Lab) -> None:
    with ask(lab, "m,oversized=32,mute=1"):
        lab.when("m,oversized=32,mute=1", lambda counts: counts.tokens == 1)
    assert lab.settled("m,oversized=32,mute=1").cancelled == 1


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_ignores_cancellation_goes_on_for_nobody(lab: Lab, path: str, stream: bool) -> None:
    model = "m,tokens=400,rate=2000,ignores-cancel"
    with ask(lab, model, path, stream=stream):
        lab.when(model, lambda counts: counts.tokens >= 3)
    counts = lab.when(model, lambda counts: counts.wasted > 0)
    assert (counts.cancelled, counts.open) == (1, 1)
    counts = lab.settled(model)
    assert counts.finished == 0
    assert counts.tokens + counts.wasted == 400


def test_an_endless_model_that_ignores_cancellation_ends_with_a_reset(lab: Lab) -> None:
    model = "m,runaway,rate=2000,ignores-cancel"
    with ask(lab, model):
        lab.when(model, lambda counts: counts.tokens >= 1)
    lab.when(model, lambda counts: counts.wasted >= 10)
    lab.reset()
    assert lab.counts(model) == Counts()


def test_a_wait_that_is_too_long_says_what_the_counts_were(lab: Lab) -> None:
    with ask(lab, "m,silent"):
        lab.when("m,silent", lambda counts: counts.open == 1)
        with pytest.raises(TimeoutError, match=r"timed out.*open=1"):
            lab.settled("m,silent", timeout=0.001)


def test_a_model_is_resident_once_it_is_loaded_and_not_before(lab: Lab) -> None:
    with ask(lab, "slow,load=3600"), ask(lab, "fast,tokens=1,rate=9999") as raw:
        raw.whole()
        lab.when("slow,load=3600", lambda counts: counts.open == 1)
        assert names(lab, "/api/ps") == ["fast,tokens=1,rate=9999"]
        assert {"slow,load=3600", "fast,tokens=1,rate=9999", "qwen3-coder"} <= set(names(lab, "/api/tags"))


def test_requests_share_one_load_and_later_ones_find_the_model_warm(lab: Lab) -> None:
    model = "m,load=0.05,tokens=1,rate=9999"
    with ask(lab, model, OLLAMA) as one, ask(lab, model, OLLAMA) as two:
        loads = [json.loads(raw.whole().split(b"\n")[-2])["load_duration"] for raw in (one, two)]
    assert all(loads)
    with ask(lab, model, OLLAMA) as three:
        assert json.loads(three.whole().split(b"\n")[-2])["load_duration"] < max(loads)


def test_a_client_that_leaves_lets_the_load_run_on(lab: Lab) -> None:
    model = "m,load=0.03,rate=9999"
    with ask(lab, model):
        lab.when(model, lambda counts: counts.open == 1)
    lab.settled(model)
    with ask(lab, model, OLLAMA) as raw:
        raw.whole()
    assert lab.settled(model) == Counts(asked=2, streamed=2, finished=1, cancelled=1, tokens=20)


def test_an_unavailable_model_says_503_until_it_is_loaded_and_so_does_the_health(lab: Lab) -> None:
    with ask(lab, "m,load=3600,unavailable") as raw:
        assert json.loads(raw.whole()) == {
            "error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}
        }
        assert raw.status == 503
    with Raw(lab.url).get("/health") as raw:
        raw.whole()
        assert raw.status == 503
    with ask(lab, "m,load=0,unavailable") as cold, ask(lab, "other") as _:
        cold.whole()
    with ask(lab, "m,load=0,unavailable,rate=9999") as raw:
        raw.whole()
    with ask(lab, "m,load=0,unavailable") as warm:
        assert warm.status == 200


def test_a_refused_request_loads_nothing(lab: Lab) -> None:
    for model in ("m,status=500", "m,no-stream", "m,refuses-stream"):
        with ask(lab, model, stream=model == "m,refuses-stream") as raw:
            raw.whole()
    assert names(lab, "/api/ps") == []


def test_a_reset_forgets_counts_and_models_and_cuts_who_is_connected(lab: Lab) -> None:
    with ask(lab, "m,mute=1,rate=9999") as raw:
        raw.until(b"assistant")
        lab.reset()
        with pytest.raises(ConnectionResetError):
            raw.rest()
    assert lab.counts("m,mute=1,rate=9999") == Counts()
    assert names(lab, "/api/ps") == []


def test_a_reset_over_http_answers_and_keeps_its_own_connection(lab: Lab) -> None:
    with ask(lab, "m,rate=9999") as raw:
        raw.whole()
    with Raw(lab.url) as raw:
        raw.send(b"POST /lab/reset HTTP/1.1\r\nHost: lab\r\n\r\n").whole()
        raw.get("/lab/counts").until(b"\r\n\r\n{}")


def test_outside_its_block_a_lab_says_so() -> None:
    with pytest.raises(RuntimeError):
        Lab().reset()
