"""What is sent for a question, and what people read of the answer's chunks, in both shapes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hangtight.dialects.chat import (
    EXTRAS,
    LONGEST_COMPLAINT,
    Said,
    Shape,
    complaint,
    complaint_in,
    is_piece,
    request_body,
    said,
    streamed,
)


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


@pytest.mark.parametrize(
    ("chunk", "means"),
    [
        (delta(content="hi"), Said(answer="hi")),
        (delta(role="assistant", content=None), Said()),
        (delta(reasoning_content="hm"), Said(reasoning="hm")),
        (delta(reasoning="hm"), Said(reasoning="hm")),
        (delta(refusal="no"), Said(answer="no")),
        ({"choices": [{"text": "hi", "finish_reason": "stop"}]}, Said(answer="hi", reason="stop")),
        ({"choices": [], "usage": {"completion_tokens": 7}}, Said(tokens=7)),
        (delta() | {"prompt_progress": {"total": 40, "processed": 10}}, Said(read=0.25)),
        ({"choices": "?"}, Said()),
        ({"choices": [None], "usage": [], "prompt_progress": 3}, Said()),
        ({"message": {"content": "hi", "thinking": ""}, "done": False}, Said(answer="hi")),
        ({"message": {"thinking": "hm"}}, Said(reasoning="hm")),
        ({"done": True, "done_reason": "length", "eval_count": 3}, Said(reason="length", tokens=3)),
        ({"message": 3, "eval_count": True}, Said()),
    ],
)
def test_what_a_chunk_says(chunk: dict[str, Any], means: Said) -> None:
    assert said(chunk) == means


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": {"message": "no slot", "code": 503}}', "no slot"),
        ('{"error": "no such model"}', "no such model"),
        ('{"message": "no", "code": 1}', "no"),
        (
            '{"detail": [{"loc": ["body", "x"], "msg": "not permitted"}, {"msg": "y", "loc": []}]}',
            "body.x: not permitted; : y",
        ),
        ('{"detail": "Not Found"}', "Not Found"),
        ("plain words\n", "plain words"),
        ("<html>long page</html>", ""),
        ("", ""),
        ("[" * 100_000, "[" * LONGEST_COMPLAINT + "..."),
    ],
)
def test_a_servers_own_words_are_found_in_whatever_form(body: str, words: str) -> None:
    assert complaint(body) == words


def test_a_chunk_that_is_an_error_is_told_from_one_that_only_has_the_field() -> None:
    assert complaint_in({"error": {"message": "EngineCore"}}) == "EngineCore"
    assert complaint_in({"object": "error", "message": "old vLLM"}) == "old vLLM"
    assert complaint_in(delta(content="hi") | {"error": None}) is None


def test_extras_are_sent_only_where_they_are_understood() -> None:
    asked = json.loads(request_body(Shape.OPENAI, "m", "ü\ud800", think=True, extras=EXTRAS.keys()))
    assert asked["messages"] == [{"role": "user", "content": "ü?"}]
    assert (asked["return_progress"], asked["stream_options"]) == (True, {"include_usage": True})
    assert "think" not in asked
    asked = json.loads(request_body(Shape.OLLAMA, "m", "hi", think=True, extras=EXTRAS.keys()))
    assert sorted(asked) == ["messages", "model", "stream", "think"]


def test_a_server_that_lists_no_models_is_not_told_a_name() -> None:
    assert "model" not in json.loads(request_body(Shape.OPENAI, "", "hi", think=False, extras=()))


def test_news_of_a_server_are_no_pieces() -> None:
    assert not is_piece(Shape.OPENAI, {"type": "ping"})
    assert not is_piece(Shape.OLLAMA, {"status": "pulling"})
    assert is_piece(Shape.OLLAMA, {"done": True})


def test_an_answer_in_one_piece_becomes_the_chunk_it_would_have_been() -> None:
    whole = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
    assert said(streamed(whole)) == Said(answer="hi", reason="stop")
