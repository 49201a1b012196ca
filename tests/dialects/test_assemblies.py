"""Chunks put together to one answer, where servers differ and where an answer is none."""

from __future__ import annotations

from typing import Any

import pytest

from hangtight.dialects.dialect import Unfit, dialect_for

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
MESSAGES, OLLAMA, GENERATE = "/v1/messages", "/api/chat", "/api/generate"


def put_together(path: str, *chunks: dict[str, Any]) -> dict[str, Any]:
    dialect = dialect_for(path)
    assert dialect is not None
    assembly = dialect.assembly()
    for chunk in chunks:
        assembly.add("message", chunk)
    return assembly.answer()


def delta(reason: str | None = None, index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": reason}]}


def message(*chunks: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = put_together(CHAT, *chunks)["choices"][0]["message"]
    return found


def test_content_stays_null_where_no_text_ever_came() -> None:
    assert message(delta(role="assistant", content=None), delta("stop"))["content"] is None
    assert message(delta(role="assistant", content=""), delta("stop"))["content"] == ""


def test_the_empty_text_that_opens_a_stream_is_no_content_of_an_answer_that_calls() -> None:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f"}}
    found = message(delta(role="assistant", content=""), delta("tool_calls", tool_calls=[call]))
    assert found["content"] is None
    assert found["tool_calls"][0]["function"] == {"name": "f", "arguments": ""}


def test_content_in_parts_is_a_list_of_all_parts() -> None:
    parts: list[Any] = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}]
    assert message(delta(content=parts[:1]), delta("stop", content=parts[1:]))["content"] == parts
    assert parts == [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}]
    with pytest.raises(Unfit, match="'content' came as text and as list"):
        message(delta(content="a"), delta("stop", content=parts))


def test_choices_are_kept_apart_and_put_in_order() -> None:
    chunks = [delta(index=1, content="b"), delta(content="a"), delta("stop", 1), delta("length", content="!")]
    answer = put_together(CHAT, *chunks)
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in answer["choices"]] == [
        (0, "a!", "length"),
        (1, "b", "stop"),
    ]


def test_calls_of_tools_grow_by_their_number() -> None:
    def piece(index: int, **fields: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": index, **fields}])

    calls = message(
        piece(0, id="a", type="function", function={"name": "f", "arguments": ""}),
        piece(0, function={"name": "", "arguments": '{"x'}),
        piece(1, id="b", type="function", function={"name": "g", "arguments": "{"}),
        piece(0, id="", function={"name": None, "arguments": '":1}'}),
        piece(1, function={"arguments": "}"}),
        piece(2, id="c", type="custom", custom={"name": "h", "input": "in"}),
        piece(2, custom={"input": "put"}),
        delta("tool_calls"),
    )["tool_calls"]
    assert calls == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        {"id": "c", "type": "custom", "custom": {"name": "h", "input": "input"}},
    ]


def test_calls_without_numbers_are_told_apart_by_their_ids() -> None:
    first = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    second = {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{"}}
    rest = {"function": {"arguments": "}"}}
    calls = message(delta(tool_calls=[first, second]), delta("tool_calls", tool_calls=[rest]))["tool_calls"]
    assert [(call["id"], call["function"]["arguments"]) for call in calls] == [("a", "{}"), ("b", "{}")]


def test_function_call_refusal_and_reasoning_are_joined() -> None:
    found = message(
        delta(role="assistant", refusal="N", reasoning="H", function_call={"name": "f", "arguments": "{"}),
        delta("stop", refusal="o", reasoning="m", function_call={"arguments": "}"}),
    )
    assert (found["refusal"], found["reasoning"]) == ("No", "Hm")
    assert found["function_call"] == {"name": "f", "arguments": "{}"}


def test_probabilities_are_one_list() -> None:
    chunks = [delta(content="a"), delta("stop", content="b")]
    for chunk, token in zip(chunks, "ab", strict=True):
        chunk["choices"][0]["logprobs"] = {"content": [{"token": token}], "refusal": None}
    answer = put_together(CHAT, *chunks)
    assert answer["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}], "refusal": None}


def test_fields_that_we_do_not_know_keep_their_last_value_that_says_something() -> None:
    first = {**delta(content="a", extra=1), "service_tier": "default", "usage": None, "system_fingerprint": None}
    last = {**delta("stop", extra=None), "service_tier": None, "timings": {"n": 2}, "obfuscation": "x"}
    last["choices"][0]["stop_reason"] = 7
    answer = put_together(CHAT, first, last)
    assert answer["service_tier"] == "default"
    assert answer["timings"] == {"n": 2}
    assert answer["system_fingerprint"] is None
    assert not {"usage", "obfuscation"} & set(answer)
    assert answer["choices"][0]["stop_reason"] == 7
    assert answer["choices"][0]["message"]["extra"] == 1


def test_completions_have_a_text_even_if_it_is_empty() -> None:
    answer = put_together(COMPLETIONS, {"choices": [{"index": 0, "finish_reason": "stop"}]})
    assert answer["choices"] == [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]


def item(index: int, text: str) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": {"type": "message", "text": text}}


@pytest.mark.parametrize("output", [{}, {"output": None}, {"output": []}])
def test_a_response_that_names_no_output_has_the_items_that_were_done(output: dict[str, Any]) -> None:
    end = {"type": "response.completed", "response": {"id": "r", "status": "completed", **output}}
    answer = put_together(RESPONSES, item(1, "b"), item(0, "a"), end)
    assert [found["text"] for found in answer["output"]] == ["a", "b"]


@pytest.mark.parametrize("kind", ["incomplete", "failed"])
def test_a_response_that_ended_early_is_an_answer_too(kind: str) -> None:
    end = {"type": f"response.{kind}", "response": {"id": "r", "status": kind, "output": [{"type": "message"}]}}
    assert put_together(RESPONSES, end) == {"id": "r", "status": kind, "output": [{"type": "message"}]}


def start(**fields: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {"id": "m", "content": [], "stop_reason": None, **fields}}


def block(index: int, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": fields}


def grows(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stops(reason: str | None = "end_turn", **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


def test_a_tool_without_input_has_an_empty_one_and_a_servers_tool_is_kept_as_it_is() -> None:
    result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result"}]}
    answer = put_together(
        MESSAGES,
        start(),
        block(0, type="tool_use", id="t", name="f", input={}),
        grows(0, "input_json_delta", partial_json=""),
        block(1, type="server_tool_use", id="s", name="web_search", input={}),
        grows(1, "input_json_delta", partial_json='{"query": "x"}'),
        block(2, **result),
        stops("tool_use"),
    )
    assert [found.get("input") for found in answer["content"]] == [{}, {"query": "x"}, None]
    assert answer["content"][2] == result


def test_a_call_that_the_limit_cut_off_has_no_input_and_any_other_is_unfit() -> None:
    begun = (start(), block(0, type="tool_use", id="t", input={}), grows(0, "input_json_delta", partial_json='{"a'))
    assert put_together(MESSAGES, *begun, stops("max_tokens"))["content"][0]["input"] == {}
    with pytest.raises(Unfit, match="not JSON"):
        put_together(MESSAGES, *begun, stops("tool_use"))


def test_the_last_counts_of_usage_go_over_the_first() -> None:
    first = start(usage={"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 4})
    answer = put_together(MESSAGES, first, stops(output_tokens=7, input_tokens=None))
    assert answer["usage"] == {"input_tokens": 9, "output_tokens": 7, "cache_read_input_tokens": 4}


def test_what_a_message_says_at_its_end_belongs_to_it() -> None:
    end = {**stops("refusal"), "context_management": {"applied_edits": []}}
    end["delta"]["stop_details"] = {"type": "refusal"}
    answer = put_together(MESSAGES, start(), end)
    assert (answer["stop_details"], answer["context_management"]) == ({"type": "refusal"}, {"applied_edits": []})


def test_a_block_that_grows_in_a_way_we_do_not_know_is_unfit() -> None:
    with pytest.raises(Unfit, match="new_delta"):
        put_together(MESSAGES, start(), block(0, type="new"), grows(0, "new_delta", new=1), stops())


@pytest.mark.parametrize(
    ("path", "chunks"),
    [
        (CHAT, []),
        (CHAT, [{"choices": []}]),
        (CHAT, [delta(content="a")]),
        (CHAT, [delta("", content="a")]),
        (CHAT, [delta("stop", content="a"), delta(index=1, content="b")]),
        (COMPLETIONS, [{"choices": [{"index": 0, "text": "a", "finish_reason": None}]}]),
        (RESPONSES, [item(0, "a")]),
        (MESSAGES, [stops()]),
        (MESSAGES, [start(), block(0, type="text", text="a")]),
        (OLLAMA, [{"message": {"content": "a"}, "done": False}]),
        (OLLAMA, [{"message": {"content": "a"}, "done": True}]),
        (GENERATE, []),
    ],
)
def test_without_a_beginning_or_a_finish_there_is_no_answer(path: str, chunks: list[dict[str, Any]]) -> None:
    with pytest.raises(Unfit):
        put_together(path, *chunks)


def test_ollamas_image_is_in_the_last_line() -> None:
    steps: list[dict[str, Any]] = [{"completed": step, "total": 2, "done": False} for step in (1, 2)]
    last = {"model": "m", "image": "iVBO", "done": True, "done_reason": "stop"}
    assert put_together(GENERATE, *steps, last) == last
