"""Chunks as the clients hand them out: the real classes of the SDKs, the helper events, and what nobody knows."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from hangtight.core.facts import Content, PrefillProgress, Reasoning
from hangtight.dialects.pieces import CONTACT, Piece, Reader, Undecided, model_of, reader_for

FINISH: Piece = (None, "", True)
CALL: Piece = (Content, "", False)
THOUGHT: Piece = (Reasoning, "", False)


def said(text: str) -> Piece:
    return Content, text, False


def read(*chunks: Any) -> list[Piece]:
    return pieces_and_reader(*chunks)[0]


def pieces_and_reader(*chunks: Any) -> tuple[list[Piece], Reader]:
    """As a session does it: a new look at each chunk whose type the reader is not made for."""
    reader: Reader | None = None
    pieces = []
    for chunk in chunks:
        if reader is None or reader.type is not type(chunk):
            reader = reader_for(chunk, reader)
        pieces.append(reader.read(chunk))
    assert reader is not None
    return pieces, reader


def chat(delta: dict[str, Any] | None, reason: str | None = None, **other: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **other}


CHAT = (
    (chat({"role": "assistant", "content": ""}), CONTACT),
    (chat({"content": None}, prompt_progress={"total": 9, "processed": 3}), (PrefillProgress, "", False)),
    (chat({"reasoning_content": "Hm"}), THOUGHT),
    (chat({"reasoning": "Hm"}), THOUGHT),
    (chat({"content": "Hi"}), said("Hi")),
    (chat({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}), CALL),
    (chat({"refusal": "No"}), CALL),
    (chat({}), CONTACT),
    (chat({}, ""), CONTACT),
    (chat({"content": "!"}, "stop"), (Content, "!", True)),
    (chat(None, usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}), CONTACT),
)


def test_chunks_of_a_chat_as_dicts_and_as_objects() -> None:
    types = pytest.importorskip("openai.types.chat")
    expected = [piece for _, piece in CHAT]
    assert read(*(chunk for chunk, _ in CHAT)) == expected
    assert read(*(types.ChatCompletionChunk.construct(**chunk) for chunk, _ in CHAT)) == expected


def test_text_completions_as_dicts_and_as_objects() -> None:
    types = pytest.importorskip("openai.types")
    chunks = [
        {"choices": [{"index": 0, "text": "a", "finish_reason": None}]},
        {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},
    ]
    assert read(*chunks) == [said("a"), FINISH]
    assert read(*(types.Completion.construct(**chunk) for chunk in chunks)) == [said("a"), FINISH]


def test_with_several_choices_the_text_is_that_of_the_first_and_the_end_is_that_of_the_last() -> None:
    def chunk(index: int, text: str, reason: str | None = None) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]}

    chunks = [chunk(0, "a"), chunk(1, "b"), chunk(0, "c", "stop"), chunk(1, "d"), chunk(1, "", "stop")]
    assert read(*chunks) == [said("a"), CALL, said("c"), CALL, FINISH]


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "sequence_number": 1, **fields}


RESPONSES = (
    (event("created", response={"id": "r", "status": "in_progress"}), CONTACT),
    (event("output_item.added", output_index=0, item={"type": "reasoning", "id": "i", "summary": []}), CONTACT),
    (event("reasoning_text.delta", delta="Hm"), THOUGHT),
    (event("reasoning_summary_text.delta", delta="Hm"), THOUGHT),
    (event("output_item.done", output_index=0, item={"type": "reasoning", "id": "i", "summary": []}), THOUGHT),
    (event("output_text.delta", delta="Hi"), said("Hi")),
    (event("output_text.delta", delta=""), CONTACT),
    (event("refusal.delta", delta="No"), CALL),
    (event("function_call_arguments.delta", delta="{"), CALL),
    (event("output_text.done", text="Hi"), CONTACT),
    (event("web_search_call.searching", item_id="w"), CONTACT),
    (event("completed", response={"id": "r", "status": "completed"}), FINISH),
)


def test_events_of_responses_as_dicts_and_as_objects_of_many_types() -> None:
    models = pytest.importorskip("openai._models")
    types = pytest.importorskip("openai.types.responses")
    expected = [piece for _, piece in RESPONSES]
    dicts = [chunk for chunk, _ in RESPONSES]
    objects = [models.construct_type(type_=types.ResponseStreamEvent, value=chunk) for chunk in dicts]
    assert len({type(chunk) for chunk in objects}) > 8
    for chunks in (dicts, objects):
        pieces, reader = pieces_and_reader(*chunks)
        assert pieces == expected
        assert (reader.says_finish, reader.shows_mark, reader.marked) == (True, True, True)


MESSAGES: tuple[tuple[dict[str, Any], Piece], ...] = (
    ({"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}}, CONTACT),
    ({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}, CONTACT),
    ({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}}, THOUGHT),
    ({"type": "content_block_stop", "index": 0}, CONTACT),
    ({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}, CONTACT),
    ({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}}, said("Hi")),
    ({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "name": "f"}}, CALL),
    ({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}}, CONTACT),
    ({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{"}}, CALL),
    ({"type": "content_block_delta", "index": 2, "delta": {"type": "made_up_delta", "new": 1}}, CALL),
    ({"type": "ping"}, CONTACT),
    ({"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 1}}, CONTACT),
    ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}, FINISH),
    ({"type": "message_stop"}, CONTACT),
)


def test_events_of_messages_as_dicts_and_as_objects_of_many_types() -> None:
    models = pytest.importorskip("anthropic._models")
    types = pytest.importorskip("anthropic.types")
    expected = [piece for _, piece in MESSAGES]
    dicts = [chunk for chunk, _ in MESSAGES]
    objects = [models.construct_type(type_=types.RawMessageStreamEvent, value=chunk) for chunk in dicts]
    for chunks in (dicts, objects):
        pieces, reader = pieces_and_reader(*chunks)
        assert pieces == expected
        assert (reader.says_finish, reader.shows_mark, reader.marked) == (True, True, True)


HELPERS = (
    ({"type": "text", "text": "Hi", "snapshot": "Hi"}, said("Hi")),
    ({"type": "thinking", "thinking": "Hm", "snapshot": "Hm"}, THOUGHT),
    ({"type": "input_json", "partial_json": "{", "snapshot": {}}, CALL),
)


def test_helper_events_repeat_what_the_servers_events_said_and_count_once() -> None:
    lib = pytest.importorskip("anthropic.lib.streaming")
    types = pytest.importorskip("anthropic.types")
    start, delta = (types.RawMessageStartEvent.construct, types.RawContentBlockDeltaEvent.construct)
    chunks = [
        start(**MESSAGES[0][0]),
        delta(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"}),
        lib.TextEvent.construct(type="text", text="Hi", snapshot="Hi"),
        delta(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "!"}),
        lib.TextEvent.construct(type="text", text="!", snapshot="Hi!"),
    ]
    assert read(*chunks) == [CONTACT, said("Hi"), CONTACT, said("!"), CONTACT]


def test_helper_events_alone_are_the_content_and_promise_no_end() -> None:
    pieces, reader = pieces_and_reader(*(chunk for chunk, _ in HELPERS))
    assert pieces == [piece for _, piece in HELPERS]
    assert not reader.says_finish


def test_ollamas_chunks_as_dicts_and_as_objects() -> None:
    ollama = pytest.importorskip("ollama")
    chunks: list[dict[str, Any]] = [
        {"message": {"role": "assistant", "content": "", "thinking": "Hm"}, "done": False},
        {"message": {"role": "assistant", "content": "Hi"}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    ]
    for stream in (chunks, [ollama.ChatResponse(**chunk) for chunk in chunks]):
        pieces, reader = pieces_and_reader(*stream)
        assert pieces == [THOUGHT, said("Hi"), FINISH]
        assert (reader.shows_mark, reader.marked) == (True, True)


@pytest.mark.parametrize(
    "chunk", [{"type": "text", "text": "part of another protocol"}, {"type": "ping"}, {"type": 3}, {"type": []}, 7]
)
def test_a_chunk_of_no_shape_that_we_know_is_believed_to_be_content(chunk: object) -> None:
    reader = reader_for(chunk)
    assert reader.type is Undecided
    assert reader.read(chunk) == CALL
    assert not reader.says_finish


@pytest.mark.parametrize("odd", ["text", b"bytes", 7, SimpleNamespace(), {"a": 1}, {"type": ["x"]}])
def test_a_reader_of_many_types_takes_no_chunk_that_is_no_event(odd: object) -> None:
    for first in (MESSAGES[0][0], RESPONSES[0][0]):
        assert not reader_for(first).takes(odd)
        assert reader_for(odd, reader_for(first)).type in (type(odd), Undecided)


def test_a_character_cut_by_the_border_of_a_chunk_is_one_character() -> None:
    assert [text for _, text, _ in read(*[bytes([byte]) for byte in "ü!".encode()])] == ["", "ü", "!"]


@pytest.mark.parametrize("value", ["x", 3, -1, True, [], [[]], [3], ["x"], {}, {"a": 1}, [{"index": "0"}], [None]])
@pytest.mark.parametrize("chunk", [CHAT[4][0], RESPONSES[5][0], MESSAGES[5][0], MESSAGES[1][0], MESSAGES[12][0]])
def test_no_reader_minds_what_a_field_holds(chunk: dict[str, Any], value: object) -> None:
    reader = reader_for(chunk)
    for name in chunk:
        reader.read({**chunk, name: value})
    text = json.dumps(chunk)
    for inner in ('"Hi"', "0", "null", '"text_delta"', '"thinking"', '"end_turn"'):
        reader.read(json.loads(text.replace(f": {inner}", f": {json.dumps(value)}")))


def test_the_model_is_told_where_a_chunk_names_it() -> None:
    assert model_of({"model": "m"}) == model_of(SimpleNamespace(model="m")) == "m"
    assert model_of({"model": ""}) is model_of({"model": 3}) is model_of("text") is None


def test_chunks_of_langchain_are_read() -> None:
    from langchain_core.messages import AIMessageChunk

    reader = reader_for(AIMessageChunk(content="hi"))
    told = [
        (AIMessageChunk(content="hi"), (Content, "hi", False)),
        (AIMessageChunk(content=""), (None, "", False)),
        (AIMessageChunk(content=[{"type": "text", "text": "ho"}]), (Content, "ho", False)),
        (AIMessageChunk(content=[{"type": "thinking", "thinking": "hm"}]), (Reasoning, "", False)),
        (AIMessageChunk(content="", additional_kwargs={"reasoning_content": "hm"}), (Reasoning, "", False)),
        (
            AIMessageChunk(content="", tool_call_chunks=[{"name": "f", "args": "{", "id": "1", "index": 0}]),
            (Content, "", False),
        ),
        (AIMessageChunk(content="", response_metadata={"finish_reason": "stop"}), (None, "", True)),
    ]
    assert [reader.read(chunk) for chunk, _ in told] == [piece for _, piece in told]


def test_the_events_of_openais_own_stream_helper_count_each_piece_once() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = [
        {"type": "chunk", "chunk": chunk, "snapshot": {}},
        {"type": "content.delta", "delta": "hi", "snapshot": "hi"},
        {"type": "chunk", "chunk": last, "snapshot": {}},
        {"type": "content.done", "content": "hi"},
    ]
    reader = reader_for(events[0])
    assert [reader_for(event, reader).read(event) for event in events] == [
        (Content, "hi", False),
        (None, "", False),
        (None, "", True),
        (None, "", False),
    ]
