"""What is made of the answers of real servers, and of those that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.gateway.looking.evidence import Look
from hangtight.gateway.looking.ways import WAYS, of_counts, of_loaded, of_metrics, of_slots

VLLM = b"""\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="meta {x} 8b"} 2.0
vllm:num_requests_running{engine="1",model_name="meta {x} 8b"} 1.0
vllm:num_requests_waiting{engine="0",model_name="meta {x} 8b"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 4.0
vllm:generation_tokens_total{engine="0",model_name="meta {x} 8b"} 100.0
vllm:prompt_tokens_total{engine="0",model_name="meta {x} 8b"} 11.0
vllm:generation_tokens_created{engine="0",model_name="meta {x} 8b"} 1.7e+09
"""
LLAMA = b"llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\nllamacpp:predicted_tokens_seconds nan\n"
SGLANG = b'sglang:num_running_reqs{model_name="m"} 3.0\nsglang:num_queue_reqs{model_name="m"} 0.0\n'


def slot(number: int, *, busy: bool, **more: Any) -> dict[str, Any]:
    return {"id": number, "is_processing": busy, **more}


def raw(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_slots_of_llama_cpp() -> None:
    free, one, two = slot(0, busy=False), slot(1, busy=True, id_task=616), slot(2, busy=True, id_task=923)
    assert of_slots(raw([free, one])) == Look("llama.cpp /slots", 1, 0, False, frozenset({616}))
    assert of_slots(raw([free])) == Look("llama.cpp /slots", 0, 0, False, frozenset())
    # What waits behind a full house is not among the slots.
    assert of_slots(raw([one, two])) == Look("llama.cpp /slots", 2, None, True, frozenset({616, 923}))
    assert of_slots(raw([free, slot(1, busy=True)])) == Look("llama.cpp /slots", 1, 0, False, None)


def test_the_metrics_of_each_server_that_has_them() -> None:
    assert of_metrics(VLLM) == Look("vLLM /metrics", 3, 4, work=111.0)
    assert of_metrics(LLAMA) == Look("llama.cpp /metrics", 2, 1)
    assert of_metrics(SGLANG) == Look("SGLang /metrics", 3, 0)
    assert of_metrics(b"vllm:num_requests_running 1\n") == Look("vLLM /metrics", 1, None, work=0.0)
    assert of_metrics(b"go_goroutines 12\n") is None


def test_the_books_of_the_lab_are_added_up() -> None:
    assert of_counts(raw({"a": {"open": 2}, "b": {"open": 1}})) == Look("lab /lab/counts", 3)
    assert of_counts(raw({})) == Look("lab /lab/counts", 0)


def test_of_a_model_in_the_memory_of_ollama_nothing_can_be_said() -> None:
    assert of_loaded(raw({"models": []})) == Look("Ollama /api/ps", 0)
    assert of_loaded(raw({"models": [{"name": "qwen3", "expires_at": "9:00"}]})) == Look("Ollama /api/ps", None)
    assert of_loaded(raw({"models": [], "served_by": "hangtight"})) is None


ODD: list[Any] = [None, 1, "x", [], {}, [1], {"models": {}}, {"a": 1}, {"a": {"open": "1"}}, [{"is_processing": 1}]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("odd", [b"", b"<html>not found</html>", b"[" * 100_000, *map(raw, ODD)])
def test_an_answer_of_another_shape_is_not_that_way(way: str, odd: bytes) -> None:
    fits = {"/lab/counts": b"{}"}
    assert WAYS[way](odd) is None or odd == fits[way]


@given(st.binary())
def test_no_answer_whatever_breaks_a_look(body: bytes) -> None:
    for read in WAYS.values():
        read(body)
    of_metrics(b"vllm:num_requests_running " + body)
