"""Chunks as the clients hand them out: the real classes of the SDKs, the helper events, and what nobody knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hangtight.core.facts import Calling, Content, PrefillProgress, Reasoning
from hangtight.dialects.pieces import CONTACT, Piece, Reader, Undecided, model_of, reader_for
from hangtight.intent.analyser import Analyser
from hangtight.intent.findings import Act, Channel

FINISH: Piece = (None, "", True)
UNSEEN: Piece = (Content, "", False)
NAMED: Piece = (Calling, "", False)
SECRET: Piece = (Reasoning, "", False)
THOUGHT: Piece = (Reasoning, "Hm", False)


def said(text: str) -> Piece:
    return Content, text, False


def called(arguments: str) -> Piece:
    return Calling, arguments, False


BEGUN: Piece = called("f ")
"""A call of `f` begins, without a word of its arguments."""


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
    (chat({"reasoning": {"odd": 1}}), SECRET),
    (chat({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f"}}]}), BEGUN),
    (chat({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]}), called("f {")),
    (chat({"tool_calls": [{"index": 0, "function": {"name": "", "arguments": "{"}}]}), called("{")),
    (chat({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}), called("{")),
    (chat({"tool_calls": [{"index": 0, "id": "c", "custom": {"name": "f", "input": "x"}}]}), called("f x")),
    (chat({"function_call": {"name": "f", "arguments": ""}}), BEGUN),
    (chat({"function_call": {"arguments": "{"}}), called("{")),
    (chat({"refusal": "No"}), UNSEEN),
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
    assert read(*chunks) == [said("a"), UNSEEN, said("c"), UNSEEN, FINISH]


def test_with_several_choices_in_a_chunk_the_text_is_of_the_kind_that_the_first_has() -> None:
    def chunk(*deltas: dict[str, Any]) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": delta} for index, delta in enumerate(deltas)]}

    answer, thought = {"content": "a"}, {"reasoning_content": "Hm"}
    call = {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}
    assert read(chunk(answer, thought), chunk(thought, answer)) == [said("a"), THOUGHT]
    assert read(chunk(call, answer), chunk({}, answer), chunk({}, {})) == [called("{"), UNSEEN, CONTACT]


def test_parallel_calls_come_one_behind_the_other_and_as_json_where_they_are_objects() -> None:
    calls: list[Any] = [{"index": 0, "function": {"arguments": "{}"}}, {"function": {"arguments": {"ü": 1}}}, None, 7]
    assert read(chat({"tool_calls": calls})) == [called('{}{"ü": 1}')]
    named = [{"index": at, "function": {"name": name, "arguments": "{}"}} for at, name in enumerate("fg")]
    assert read(chat({"tool_calls": named})) == [called("f {}g {}")]
    assert read(chat({"tool_calls": "odd"})) == [NAMED]
    assert read(chat({"content": "Hi", "tool_calls": calls}), chat({"content": "Hi"})) == [said("Hi"), said("Hi")]


def test_arguments_that_cannot_be_written_as_json_are_a_call_all_the_same() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for odd in (endless, object(), {(): 1}):
        assert read(chat({"tool_calls": [{"index": 0, "function": {"arguments": odd}}]})) == [NAMED]


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "sequence_number": 1, **fields}


RESPONSES = (
    (event("created", response={"id": "r", "status": "in_progress"}), CONTACT),
    (event("output_item.added", output_index=0, item={"type": "reasoning", "id": "i", "summary": []}), CONTACT),
    (event("reasoning_text.delta", delta="Hm"), THOUGHT),
    (event("reasoning_summary_text.delta", delta="Hm"), THOUGHT),
    (event("output_item.done", output_index=0, item={"type": "reasoning", "id": "i", "summary": []}), SECRET),
    (event("output_text.delta", delta="Hi"), said("Hi")),
    (event("output_text.delta", delta=""), CONTACT),
    (event("refusal.delta", delta="No"), UNSEEN),
    (event("output_item.added", output_index=1, item={"type": "function_call", "name": "f", "arguments": ""}), BEGUN),
    (
        event("output_item.added", output_index=1, item={"type": "mcp_call", "name": "f", "arguments": "{}"}),
        called("f {}"),
    ),
    (event("output_item.added", output_index=1, item={"type": "custom_tool_call", "name": "f", "input": ""}), BEGUN),
    (
        event("output_item.done", output_index=1, item={"type": "function_call", "name": "f", "arguments": "{}"}),
        CONTACT,
    ),
    (event("function_call_arguments.delta", delta="{"), called("{")),
    (event("custom_tool_call_input.delta", delta="x"), called("x")),
    (event("mcp_call_arguments.delta", delta="{"), called("{")),
    (event("code_interpreter_call_code.delta", delta="1+1"), called("1+1")),
    (event("shell_call_command.delta", delta="ls"), called("ls")),
    (event("shell_call_output_content.delta", delta={"stdout": "a"}), UNSEEN),
    (event("output_item.added", output_index=2, item={"type": "web_search_call", "id": "w"}), UNSEEN),
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
    ({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "Eq"}}, SECRET),
    ({"type": "content_block_stop", "index": 0}, CONTACT),
    ({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}, CONTACT),
    ({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}}, said("Hi")),
    ({"type": "content_block_start", "index": 2, "content_block": {"type": "redacted_thinking"}}, SECRET),
    ({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "name": "f"}}, BEGUN),
    (
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "server_tool_use", "name": "f", "input": {"a": 1}},
        },
        called('f {"a": 1}'),
    ),
    (
        {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "input": {"a": 1}}},
        called('{"a": 1}'),
    ),
    ({"type": "content_block_start", "index": 2, "content_block": {"type": "server_tool_use", "input": {}}}, NAMED),
    ({"type": "content_block_start", "index": 2, "content_block": {"type": "web_search_tool_result"}}, UNSEEN),
    ({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}}, CONTACT),
    (
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{"}},
        called("{"),
    ),
    ({"type": "content_block_delta", "index": 2, "delta": {"type": "made_up_delta", "new": 1}}, UNSEEN),
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
    ({"type": "signature", "signature": "Eq", "snapshot": "Eq"}, SECRET),
    ({"type": "input_json", "partial_json": "{", "snapshot": {}}, called("{")),
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


OLLAMAS_CALLS = [
    {"function": {"name": "f", "arguments": {"city": "Köln", "days": 2}}},
    {"function": {"name": "g", "arguments": {}}},
]


def test_ollamas_chunks_as_dicts_and_as_objects() -> None:
    ollama = pytest.importorskip("ollama")
    chunks: list[dict[str, Any]] = [
        {"message": {"role": "assistant", "content": "", "thinking": "Hm"}, "done": False},
        {"message": {"role": "assistant", "content": "Hi"}, "done": False},
        {"message": {"role": "assistant", "tool_calls": OLLAMAS_CALLS}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    ]
    for stream in (chunks, [ollama.ChatResponse(**chunk) for chunk in chunks]):
        pieces, reader = pieces_and_reader(*stream)
        assert pieces == [THOUGHT, said("Hi"), called('f {"city": "Köln", "days": 2}g {}'), FINISH]
        assert (reader.shows_mark, reader.marked) == (True, True)


def test_the_thinking_of_ollamas_generate_as_dicts_and_as_objects() -> None:
    ollama = pytest.importorskip("ollama")
    chunk = {"response": "", "thinking": "Hm", "done": False}
    assert read(chunk) == read(ollama.GenerateResponse(**chunk)) == [THOUGHT]


@pytest.mark.parametrize(
    "chunk", [{"type": "text", "text": "part of another protocol"}, {"type": "ping"}, {"type": 3}, {"type": []}, 7]
)
def test_a_chunk_of_no_shape_that_we_know_is_believed_to_be_content(chunk: object) -> None:
    reader = reader_for(chunk)
    assert reader.type is Undecided
    assert reader.read(chunk) == UNSEEN
    assert not reader.says_finish


@pytest.mark.parametrize("odd", ["text", b"bytes", 7, SimpleNamespace(), {"a": 1}, {"type": ["x"]}])
def test_a_reader_of_many_types_takes_no_chunk_that_is_no_event(odd: object) -> None:
    for first in (MESSAGES[0][0], RESPONSES[0][0]):
        assert not reader_for(first).takes(odd)
        assert reader_for(odd, reader_for(first)).type in (type(odd), Undecided)


def test_a_character_cut_by_the_border_of_a_chunk_is_one_character() -> None:
    assert [text for _, text, _ in read(*[bytes([byte]) for byte in "ü!".encode()])] == ["", "ü", "!"]


@pytest.mark.parametrize("value", ["x", 3, -1, True, [], [[]], [3], ["x"], {}, {"a": 1}, [{"index": "0"}], [None]])
@pytest.mark.parametrize("chunk", [chunk for chunk, _ in (*CHAT, *RESPONSES, *MESSAGES)])
def test_no_reader_minds_what_a_field_holds(chunk: dict[str, Any], value: object) -> None:
    reader = reader_for(chunk)
    for name in chunk:
        reader.read({**chunk, name: value})
    text = json.dumps(chunk)
    for inner in ('"Hi"', '"Hm"', '"{"', "0", "null", '"text_delta"', '"thinking"', '"tool_use"', '"end_turn"'):
        assert isinstance(reader.read(json.loads(text.replace(f": {inner}", f": {json.dumps(value)}")))[1], str)


def test_the_model_is_told_where_a_chunk_names_it() -> None:
    assert model_of({"model": "m"}) == model_of(SimpleNamespace(model="m")) == "m"
    assert model_of({"model": ""}) is model_of({"model": 3}) is model_of("text") is None


PARALLEL: list[Any] = [
    {"name": None, "args": args, "id": None, "index": index} for index, args in enumerate(("{}", "[]"))
]
WHOLE: list[Any] = [{"name": "f", "args": {"a": 1}, "id": "1"}, {"name": "g", "args": {}, "id": "2"}]
THE_SAME = {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}


def test_chunks_of_langchain_are_read() -> None:
    from langchain_core.messages import AIMessageChunk

    reader = reader_for(AIMessageChunk(content="hi"))
    told = [
        (AIMessageChunk(content="hi"), (Content, "hi", False)),
        (AIMessageChunk(content=""), (None, "", False)),
        (AIMessageChunk(content=[{"type": "text", "text": "ho"}]), (Content, "ho", False)),
        (AIMessageChunk(content=[{"type": "thinking", "thinking": "Hm"}]), THOUGHT),
        (AIMessageChunk(content=[{"type": "thinking", "signature": "Eq"}]), SECRET),
        (AIMessageChunk(content=[{"type": "reasoning", "reasoning": "Hm"}]), THOUGHT),
        (AIMessageChunk(content=[{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}]), THOUGHT),
        (AIMessageChunk(content="", additional_kwargs={"reasoning_content": "Hm"}), THOUGHT),
        (AIMessageChunk(content="", tool_call_chunks=[{"name": "f", "args": None, "id": "1", "index": 0}]), BEGUN),
        (AIMessageChunk(content="", tool_calls=WHOLE), called('f {"a": 1}g {}')),
        (AIMessageChunk(content="", tool_call_chunks=PARALLEL, additional_kwargs=THE_SAME), called("{}[]")),
        (AIMessageChunk(content="", additional_kwargs=THE_SAME), called("{}")),
        (AIMessageChunk(content="", additional_kwargs={"function_call": {"arguments": "{"}}), called("{")),
        (
            AIMessageChunk(content="", additional_kwargs={"function_call": {"name": "f", "arguments": "{"}}),
            called("f {"),
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


def openai_calls(names: list[str], arguments: str) -> list[Any]:
    """Each call's name comes first, then its arguments in two pieces."""
    half = len(arguments) // 2
    chunks = []
    for index, name in enumerate(names):
        chunks += [
            chat({"tool_calls": [{"index": index, "id": f"c{index}", "function": {"name": name, "arguments": ""}}]}),
            chat({"tool_calls": [{"index": index, "function": {"arguments": arguments[:half]}}]}),
            chat({"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]}),
        ]
    return chunks


def responses_calls(names: list[str], arguments: str) -> list[Any]:
    chunks = []
    for index, name in enumerate(names):
        item = {"type": "function_call", "name": name, "arguments": "", "call_id": f"c{index}"}
        chunks += [
            event("output_item.added", output_index=index, item=item),
            event("function_call_arguments.delta", output_index=index, delta=arguments),
            event("output_item.done", output_index=index, item={**item, "arguments": arguments}),
        ]
    return chunks


def anthropics_calls(names: list[str], arguments: str) -> list[Any]:
    chunks: list[Any] = []
    for index, name in enumerate(names):
        block = {"type": "tool_use", "id": f"c{index}", "name": name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": arguments}
        chunks += [
            {"type": "content_block_start", "index": index, "content_block": block},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    return chunks


def ollamas_calls(names: list[str], arguments: str) -> list[Any]:
    calls = [{"function": {"name": name, "arguments": json.loads(arguments)}} for name in names]
    return [{"message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False} for call in calls]


def langchains_calls(names: list[str], arguments: str) -> list[Any]:
    messages = pytest.importorskip("langchain_core.messages")
    calls = [{"name": name, "args": arguments, "id": str(at), "index": at} for at, name in enumerate(names)]
    return [messages.AIMessageChunk(content="", tool_call_chunks=[call]) for call in calls]


def cuts(chunks: list[Any]) -> bool:
    """Whether a generation that says this would be cut as a loop."""
    analyser = Analyser()
    for _, text, _ in read(*chunks):
        analyser.feed(text, Channel.TOOL)
    analyser.close()
    return any(finding.act is Act.CUT for finding in analyser.drain())


SQL = json.dumps({"sql": "select name, city, sum(price) from orders join people using (person) where ".ljust(208, "x")})
each_dialect = pytest.mark.parametrize(
    "calls", [openai_calls, responses_calls, anthropics_calls, ollamas_calls, langchains_calls]
)


@each_dialect
def test_different_tools_with_the_same_arguments_are_no_loop(calls: Callable[[list[str], str], list[Any]]) -> None:
    assert len(SQL) == 219
    assert not cuts(calls(["explain", "count", "run", "export"], SQL))
    assert cuts(calls(["run"] * 4, SQL))


@each_dialect
def test_one_tool_called_again_and_again_is_a_loop(calls: Callable[[list[str], str], list[Any]]) -> None:
    assert cuts(calls(["status"] * 300, "{}"))
    assert not cuts(calls(["status"] * 3, "{}"))


@pytest.mark.parametrize("odd", [7, True, [], ["f"], {"a": 1}, None, ""])
def test_a_name_that_is_no_text_is_none(odd: Any) -> None:
    chunks = [
        chat({"tool_calls": [{"index": 0, "function": {"name": odd, "arguments": "{"}}]}),
        chat({"function_call": {"name": odd, "arguments": "{"}}),
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": odd, "input": "{"}},
        event("output_item.added", item={"type": "function_call", "name": odd, "arguments": "{"}),
        {"message": {"tool_calls": [{"function": {"name": odd, "arguments": "{"}}]}, "done": False},
        {"type": "AIMessageChunk", "content": "", "tool_call_chunks": [{"name": odd, "args": "{"}]},
    ]
    assert [reader_for(chunk).read(chunk) for chunk in chunks] == [called("{")] * len(chunks)
