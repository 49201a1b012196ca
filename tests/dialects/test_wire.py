"""Bytes to meaning: a stream of each API as a server sends it, cut anywhere, and bytes that nobody should send."""

# ruff: noqa: E501 - a recorded line is as long as it was

from __future__ import annotations

import contextlib
import itertools
import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hangtight.core.facts import Calling, Content, End, PrefillProgress, Reasoning
from hangtight.dialects import quick
from hangtight.dialects.dialect import Dialect, Unfit, dialect_for
from hangtight.dialects.quick import loader, patient_load
from hangtight.dialects.reading import Piece
from hangtight.dialects.sse import EVENT_LIMIT, EventTooLarge
from hangtight.dialects.wire import Wire

FINISH: Piece = (None, "", True)
BEGUN: Piece = (Calling, "f ", False)
UNSEEN: Piece = (Content, "", False)
SECRET: Piece = (Reasoning, "", False)
THOUGHT: Piece = (Reasoning, "Hm", False)
PREFILL: Piece = (PrefillProgress, "", False)

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/api/chat", "/api/generate")


def said(text: str) -> Piece:
    return Content, text, False


def called(arguments: str) -> Piece:
    return Calling, arguments, False


def of(path: str) -> Dialect:
    dialect = dialect_for(path)
    assert dialect is not None
    return dialect


@dataclass(frozen=True)
class Recorded:
    """A stream as it came over a socket, what it means, and the answer that it is."""

    path: str
    stream: bytes
    pieces: list[Piece]
    answer: dict[str, Any]


CHAT = Recorded(
    "/v1/chat/completions",
    b"""data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1760000000,"id":"chatcmpl-T2","model":"qwen3-4b","system_fingerprint":"b6700-fe","object":"chat.completion.chunk","prompt_progress":{"total":900,"cache":0,"processed":512,"time_ms":804}}

: keep-alive

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"reasoning_content":"Hm"}}],"created":1760000000,"id":"chatcmpl-T2","model":"qwen3-4b","system_fingerprint":"b6700-fe","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"Gr\xc3\xbc"}}],"created":1760000000,"id":"chatcmpl-T2","model":"qwen3-4b","system_fingerprint":"b6700-fe","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"\\u00dfe\\n"}}],"created":1760000000,"id":"chatcmpl-T2","model":"qwen3-4b","system_fingerprint":"b6700-fe","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":""}}]}}],"created":1760000000,"id":"chatcmpl-T2","model":"qwen3-4b","system_fingerprint":"b6700-fe","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}],"created":1760000000,"id":"chatcmpl-T2","model":"qwen3-4b","system_fingerprint":"b6700-fe","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":"tool_calls","index":0,"delta":{}}],"created":1760000000,"id":"chatcmpl-T2","model":"qwen3-4b","system_fingerprint":"b6700-fe","object":"chat.completion.chunk"}

data: {"choices":[],"created":1760000000,"id":"chatcmpl-T2","model":"qwen3-4b","system_fingerprint":"b6700-fe","object":"chat.completion.chunk","usage":{"completion_tokens":9,"prompt_tokens":900,"total_tokens":909},"timings":{"predicted_n":9}}

data: [DONE]

""",
    [PREFILL, THOUGHT, said("Grü"), said("ße\n"), BEGUN, called("{}"), FINISH],
    {
        "id": "chatcmpl-T2",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "qwen3-4b",
        "system_fingerprint": "b6700-fe",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Grüße\n",
                    "reasoning_content": "Hm",
                    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"completion_tokens": 9, "prompt_tokens": 900, "total_tokens": 909},
        "timings": {"predicted_n": 9},
    },
)

COMPLETIONS = Recorded(
    "/v1/completions",
    b"""data: {"id":"cmpl-8","object":"text_completion","created":1760000000,"model":"m","choices":[{"index":0,"text":"a","logprobs":{"text_offset":[0],"token_logprobs":[-0.5],"tokens":["a"],"top_logprobs":[{"a":-0.5}]},"finish_reason":null}],"usage":null}

data: {"id":"cmpl-8","object":"text_completion","created":1760000000,"model":"m","choices":[{"index":1,"text":"x","logprobs":null,"finish_reason":"stop"}],"usage":null}

data: {"id":"cmpl-8","object":"text_completion","created":1760000000,"model":"m","choices":[{"index":0,"text":"b","logprobs":{"text_offset":[1],"token_logprobs":[-0.1],"tokens":["b"],"top_logprobs":[{"b":-0.1}]},"finish_reason":"length"}],"usage":null}

data: {"id":"cmpl-8","object":"text_completion","created":1760000000,"model":"m","choices":[],"usage":{"prompt_tokens":1,"total_tokens":4,"completion_tokens":3}}

data: [DONE]

""",
    [said("a"), UNSEEN, (Content, "b", True)],
    {
        "id": "cmpl-8",
        "object": "text_completion",
        "created": 1760000000,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "text": "ab",
                "logprobs": {
                    "text_offset": [0, 1],
                    "token_logprobs": [-0.5, -0.1],
                    "tokens": ["a", "b"],
                    "top_logprobs": [{"a": -0.5}, {"b": -0.1}],
                },
                "finish_reason": "length",
            },
            {"index": 1, "text": "x", "logprobs": None, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 1, "total_tokens": 4, "completion_tokens": 3},
    },
)

RESPONSES = Recorded(
    "/v1/responses",
    b"""event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","output":[]}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}}

event: response.reasoning_summary_text.delta
data: {"type":"response.reasoning_summary_text.delta","sequence_number":2,"item_id":"rs_1","output_index":0,"summary_index":0,"delta":"Hm"}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":3,"output_index":1,"item":{"id":"msg_1","type":"message","status":"in_progress","content":[],"role":"assistant"}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":1,"content_index":0,"delta":"Hi","logprobs":[],"obfuscation":"x1"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":5,"output_index":1,"item":{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","text":"Hi","annotations":[]}],"role":"assistant"}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":6,"output_index":2,"item":{"type":"function_call","name":"f","arguments":"","call_id":"c1"}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":7,"item_id":"fc_1","output_index":2,"delta":"{}"}

event: response.completed
data: {"type":"response.completed","sequence_number":8,"response":{"id":"resp_1","object":"response","status":"completed","output":[{"id":"msg_1","type":"message","content":[{"type":"output_text","text":"Hi","annotations":[]}]}],"usage":{"total_tokens":3}}}

""",
    [THOUGHT, said("Hi"), BEGUN, called("{}"), FINISH],
    {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "output": [
            {"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}
        ],
        "usage": {"total_tokens": 3},
    },
)

MESSAGES = Recorded(
    "/v1/messages",
    b"""event: message_start
data: {"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1,"service_tier":"standard"}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hel"}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"lo"}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"x"}}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\\"city\\": \\"Ro"}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"me\\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89}}

event: message_stop
data: {"type":"message_stop"}

""",
    [
        THOUGHT,
        SECRET,
        said("Hel"),
        said("lo"),
        UNSEEN,
        BEGUN,
        called('{"city": "Ro'),
        called('me"}'),
        FINISH,
    ],
    {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "EqQB"},
            {"type": "text", "text": "Hello", "citations": [{"type": "char_location", "cited_text": "x"}]},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Rome"}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 89, "service_tier": "standard"},
    },
)

OLLAMA_CHAT = Recorded(
    "/api/chat",
    b"""{"model":"q","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"","thinking":"Hm"},"done":false}
{"model":"q","created_at":"2026-01-01T00:00:01Z","message":{"role":"assistant","content":"Hel"},"done":false}
{"model":"q","created_at":"2026-01-01T00:00:02Z","message":{"role":"assistant","content":"lo"},"done":false}
{"model":"q","created_at":"2026-01-01T00:00:03Z","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"n":1}}}]},"done":false}
{"model":"q","created_at":"2026-01-01T00:00:04Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":5,"eval_count":4}
""",
    [THOUGHT, said("Hel"), said("lo"), called('f {"n": 1}'), FINISH],
    {
        "model": "q",
        "created_at": "2026-01-01T00:00:04Z",
        "message": {
            "role": "assistant",
            "content": "Hello",
            "thinking": "Hm",
            "tool_calls": [{"function": {"name": "f", "arguments": {"n": 1}}}],
        },
        "done": True,
        "done_reason": "stop",
        "total_duration": 5,
        "eval_count": 4,
    },
)

OLLAMA_GENERATE = Recorded(
    "/api/generate",
    b"""{"model":"q","created_at":"2026-01-01T00:00:00Z","response":"Hel","done":false,"logprobs":[{"token":"Hel","logprob":-1}]}
{"model":"q","created_at":"2026-01-01T00:00:01Z","response":"lo","done":false,"logprobs":[{"token":"lo","logprob":-2}]}
{"model":"q","created_at":"2026-01-01T00:00:02Z","response":"","done":true,"done_reason":"stop","context":[1,2],"eval_count":2}
""",
    [said("Hel"), said("lo"), FINISH],
    {
        "model": "q",
        "created_at": "2026-01-01T00:00:02Z",
        "response": "Hello",
        "done": True,
        "done_reason": "stop",
        "context": [1, 2],
        "eval_count": 2,
        "logprobs": [{"token": "Hel", "logprob": -1}, {"token": "lo", "logprob": -2}],
    },
)

RECORDED = (CHAT, COMPLETIONS, RESPONSES, MESSAGES, OLLAMA_CHAT, OLLAMA_GENERATE)
each_api = pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: of(recorded.path).name)


@pytest.fixture(params=["msgspec", "json"], autouse=True)
def both_parsers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs with what is installed, and as without msgspec."""
    if request.param == "json":
        monkeypatch.setattr(quick, "msgspec", lambda: None)
    else:
        pytest.importorskip("msgspec")


def read(wire: Wire, parts: list[bytes]) -> list[Piece]:
    """All the pieces; those before an event that is too large count too."""
    pieces: list[Piece] = []
    try:
        for part in parts:
            pieces += wire.feed(part)
        pieces += wire.close()
    except EventTooLarge:
        pieces.append((None, "too large", False))
    return pieces


def events_of(recorded: Recorded) -> list[bytes]:
    """One feed for each event, as a network delivers them."""
    border = b"\n" if of(recorded.path).lines else b"\n\n"
    return [event + border for event in recorded.stream.split(border) if event]


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    borders = [0, *sorted(border % (len(stream) + 1) for border in at), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(borders)]


@each_api
def test_a_stream_means_what_it_says_and_becomes_the_answer_that_it_is(recorded: Recorded) -> None:
    dialect = of(recorded.path)
    for parts in ([recorded.stream], events_of(recorded), [bytes([byte]) for byte in recorded.stream]):
        assembly = dialect.assembly()
        wire = Wire(dialect, assembly)
        assert read(wire, parts) == recorded.pieces
        assert (wire.marked, wire.finished, wire.end) == (True, True, End.MARKED)
        assert (wire.refusal, wire.broken) == (None, "")
        assert assembly.answer() == recorded.answer


@each_api
@given(at=st.lists(st.integers(0, 10_000), max_size=30))
def test_any_cuts_give_the_same_pieces(recorded: Recorded, at: list[int]) -> None:
    assert read(Wire(of(recorded.path)), cut(recorded.stream, at)) == recorded.pieces


@each_api
@given(at=st.integers(0, 10_000))
def test_a_stream_that_is_cut_off_is_never_an_answer_nor_marked(recorded: Recorded, at: int) -> None:
    dialect = of(recorded.path)
    assembly = dialect.assembly()
    wire = Wire(dialect, assembly)
    read(wire, [recorded.stream[: at % (len(recorded.stream) - 3)]])
    assert wire.broken == ""
    if wire.marked:
        assert wire.end is End.MARKED
    if wire.finished:
        assert assembly.answer()
    else:
        with pytest.raises(Unfit):
            assembly.answer()


@each_api
def test_windows_line_ends_change_nothing(recorded: Recorded) -> None:
    wire = Wire(of(recorded.path))
    assert read(wire, [recorded.stream.replace(b"\n", b"\r\n")]) == recorded.pieces
    assert wire.broken == ""


FIELDS = [
    *("choices", "delta", "index", "finish_reason", "content", "text", "tool_calls", "function", "arguments", "id"),
    *("reasoning_content", "logprobs", "usage", "type", "message", "content_block", "thinking", "partial_json"),
    *("stop_reason", "citation", "response", "output", "item", "output_index", "error", "code", "status", "done"),
    *("done_reason", "prompt_progress", "object", "refusal", "function_call", "name", "annotations", "token_ids"),
]
WORDS = st.sampled_from(
    [
        *("chat.completion.chunk", "error", "stop", "message_start", "message_delta", "message_stop", "message"),
        *("content_block_start", "content_block_delta", "text_delta", "input_json_delta", "citations_delta", "text"),
        *("thinking", "tool_use", "reasoning", "ping", "response.completed", "response.output_text.delta"),
        *("response.output_item.done", "response.output_item.added", "response.x.delta"),
    ]
)
JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from((10**30, -1, 2**64))
    | st.floats()
    | WORDS
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=25,
)
DELTAS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("content", "reasoning", "tool_calls", "refusal", "images"), st.just("x") | JSONS)
)
CHOICES = st.fixed_dictionaries(
    {"index": st.sampled_from((0, 0, 0, 1, 0.0, True))},
    optional={
        "delta": DELTAS | st.none(),
        "text": st.just("x") | JSONS,
        "finish_reason": st.sampled_from((None, None, None, "stop", "", 0)),
    },
)
CHATS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2)},
    optional={"error": st.sampled_from((None, "", "no")), "prompt_progress": st.just({"total": 1})},
)
CHUNKS = CHATS | st.dictionaries(st.sampled_from(FIELDS), JSONS, max_size=6)
NAMES = st.sampled_from((b"", b"event: error\n", b"event: message_start\n", b"event:\n", b": ping\n"))


@given(path=st.sampled_from(PATHS), chunks=st.lists(st.tuples(NAMES, CHUNKS | JSONS), max_size=6))
def test_json_of_any_form_is_read_without_an_error(path: str, chunks: list[tuple[bytes, Any]]) -> None:
    dialect = of(path)
    assembly = dialect.assembly()
    wire, alone = Wire(dialect, assembly), Wire(dialect)
    for name, chunk in chunks:
        text = json.dumps(chunk).encode()
        event = text + b"\n" if dialect.lines else name + b"data: " + text + b"\n\n"
        pieces = wire.feed(event)
        assert pieces == alone.feed(event)
        for piece in pieces:
            assert piece[0] in (Content, Reasoning, Calling, PrefillProgress, None)
            assert isinstance(piece[1], str)
            assert isinstance(piece[2], bool)
    assert (wire.marked, wire.finished, wire.refusal) == (alone.marked, alone.finished, alone.refusal)
    if wire.refusal is not None:
        assert 400 <= wire.refusal.status <= 599
        json.dumps(wire.refusal.body)
    with contextlib.suppress(Unfit):
        json.dumps(assembly.answer())


TEXTS = st.sampled_from(("x", "", None))
FUNCTIONS = st.fixed_dictionaries({}, optional={"arguments": TEXTS | st.just({"a": 1}), "input": TEXTS, "name": TEXTS})
STEADY_CALLS = st.fixed_dictionaries({"function": FUNCTIONS}, optional={"custom": FUNCTIONS | st.none(), "id": TEXTS})
STEADY_DELTAS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("content", "reasoning", "reasoning_content", "refusal", "function_call"), TEXTS),
        "tool_calls": st.lists(STEADY_CALLS, max_size=2) | st.none(),
    },
)


@given(delta=STEADY_DELTAS)
@example(delta={"reasoning_content": "", "reasoning": "x"})
@example(delta={"tool_calls": [{"function": {"arguments": "x"}}, {"function": {"arguments": "x"}}]})
def test_what_is_read_quickly_is_what_the_reader_of_the_dialect_reads(delta: dict[str, Any]) -> None:
    chunk = {"choices": [{"index": 0, "delta": delta}]}
    steady = quick.steady_for("openai-chat")
    piece = steady(json.dumps(chunk)) if steady is not None else None
    assert piece in (None, of("/v1/chat/completions").reader().read(chunk))


@pytest.mark.parametrize("name", ["f", None, ""])
def test_a_call_that_begins_is_not_read_quickly(name: str | None) -> None:
    calls = [{"index": 0, "function": {"arguments": "{"}}, {"index": 1, "function": {"name": name, "arguments": "}"}}]
    line = json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]})
    steady = quick.steady_for("openai-chat")
    if steady is not None:
        assert steady(line) == (None if name else called("{}"))
    begins = f"{name} " if name else ""
    assert Wire(of("/v1/chat/completions")).feed(f"data: {line}\n\n".encode()) == [called("{" + begins + "}")]


SHARDS = st.lists(
    st.binary(max_size=8)
    | st.sampled_from(
        (
            *(
                b"data: ",
                b"data:",
                b"event: error",
                b"\n",
                b"\n\n",
                b"\r",
                b"\r\n",
                b": x\n",
                b"[DONE]",
                b"\xef\xbb\xbf",
            ),
            b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
            b'{"message":{"content":"a"},"done":false}\n',
            b'{"error":"no"}',
            b'{"a":"\xff"}\n',
            b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}\n\n',
            b'data: {"choices":[{"delta":{"content":"\xff\\ud800"}}], "n": NaN, "i": 1e999, "k": "\x01"}\n\n',
        )
    ),
    max_size=12,
)


@given(path=st.sampled_from(PATHS), shards=SHARDS, at=st.lists(st.integers(0, 500), max_size=12))
def test_any_bytes_in_any_cuts_mean_the_same_as_whole(path: str, shards: list[bytes], at: list[int]) -> None:
    whole, parts, shattered = Wire(of(path)), Wire(of(path)), Wire(of(path))
    stream = b"".join(shards)
    pieces = read(whole, [stream])
    for wire, cuts in ((parts, cut(stream, at)), (shattered, shards)):
        assert read(wire, cuts) == pieces
        assert (wire.marked, wire.finished, wire.refusal, wire.broken) == (
            *(whole.marked, whole.finished, whole.refusal, whole.broken),
        )


@pytest.mark.parametrize("path", PATHS)
def test_what_is_nested_too_deep_is_broken_and_reading_goes_on(path: str) -> None:
    dialect = of(path)
    wire = Wire(dialect)
    start, end = (b"", b"\n") if dialect.lines else (b"data: ", b"\n\n")
    wire.feed(start + b'{"a":' + b"[" * 200_000 + end)
    assert wire.broken.startswith('{"a":[[[')
    wire.feed(start + b'{"error":"no"}' + end)
    assert wire.refusal is not None


def test_broken_json_is_remembered_once_and_reading_goes_on() -> None:
    wire = Wire(of("/v1/chat/completions"))
    assert wire.feed(b'data: {"choices": [\n\n') == []
    assert wire.feed(b'data: {"choices":\n\ndata: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n') == [said("a")]
    assert wire.broken == '{"choices": ['


def test_a_torn_last_event_is_a_cut_and_not_broken() -> None:
    wire = Wire(of("/v1/chat/completions"))
    wire.feed(b'data: {"choices": [')
    assert (wire.close(), wire.broken, wire.end) == ([], "", End.CUT)


def test_a_whole_last_event_without_its_empty_line_still_counts() -> None:
    wire = Wire(of("/v1/chat/completions"))
    wire.feed(b"data: [DONE]")
    assert not wire.marked
    wire.close()
    assert wire.end is End.MARKED


@pytest.mark.parametrize("path", PATHS)
def test_an_event_that_is_too_large_is_said_each_time(path: str) -> None:
    wire = Wire(of(path))
    with pytest.raises(EventTooLarge):
        wire.feed(b"data: " + b"x" * (EVENT_LIMIT + 10))
    for data in (b"\n\n", b'data: {"a":1}\n\n', b'{"a":1}\n'):
        with pytest.raises(EventTooLarge):
            wire.feed(data)


def test_an_event_too_large_that_came_with_others_is_not_passed_by() -> None:
    wire = Wire(of("/v1/chat/completions"))
    good = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    assert wire.feed(good + b"data: " + b"x" * (EVENT_LIMIT + 10) + b"\n\n") == [said("a")]
    with pytest.raises(EventTooLarge):
        wire.feed(good)


def test_an_error_event_is_no_piece_and_the_first_one_counts() -> None:
    wire = Wire(of("/v1/chat/completions"))
    first = (
        b'data: {"error":{"message":"busy","code":503},"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}\n\n'
    )
    assert wire.feed(first) == []
    assert wire.feed(b'data: {"error":{"message":"no","code":500}}\n\n') == []
    assert wire.refusal is not None
    assert (wire.refusal.status, wire.finished) == (503, False)


def test_an_error_event_in_plain_words_is_an_error_too() -> None:
    wire = Wire(of("/v1/messages"))
    wire.feed(b"event: error\ndata: upstream went away\n\n")
    assert wire.refusal == (500, {"type": "error", "error": {"type": "api_error", "message": "upstream went away"}})
    assert wire.broken == ""


def test_a_choice_that_begins_after_another_has_finished_is_not_finished() -> None:
    wire = Wire(of("/v1/chat/completions"))
    wire.feed(b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n')
    assert wire.finished
    wire.feed(b'data: {"choices":[{"index":1,"delta":{"content":"b"}}]}\n\n')
    assert not wire.finished
    wire.feed(b'data: {"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}\n\n')
    wire.feed(b'data: {"choices":[],"usage":{}}\n\n')
    assert wire.finished


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', '{"a": 18446744073709551616}', '{"a":1,"a":2}']
)
def test_what_msgspec_takes_it_reads_as_python_does(text: str) -> None:
    try:
        found = loader()(text)
    except ValueError:
        return
    assert repr(found) == repr(loader()(text.encode())) == repr(patient_load(text))


@pytest.mark.parametrize(
    ("path", "events", "usage"),
    [
        ("/v1/chat/completions", [{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}], (3, 5)),
        ("/v1/chat/completions", [{"choices": [], "usage": {"prompt_tokens": True, "completion_tokens": "5"}}], None),
        (
            "/v1/messages",
            [
                {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
            ],
            (3, 5),
        ),
        (
            "/v1/responses",
            [{"type": "response.completed", "response": {"usage": {"input_tokens": 3, "output_tokens": 5}}}],
            (3, 5),
        ),
        ("/api/generate", [{"response": "", "done": True, "prompt_eval_count": 3, "eval_count": 5}], (3, 5)),
        ("/api/chat", [{"message": {"content": "hi"}, "done": False}], None),
    ],
)
def test_what_the_server_counts_is_known(path: str, events: list[Any], usage: tuple[int, int] | None) -> None:
    dialect = dialect_for(path)
    assert dialect is not None
    wire = Wire(dialect)
    for event in events:
        line = json.dumps(event)
        wire.feed((line + "\n" if dialect.lines else f"data: {line}\n\n").encode())
    assert wire.usage == usage


@pytest.mark.parametrize(
    ("path", "events", "said"),
    [
        ("/v1/chat/completions", [{"model": "q-8b", "choices": [{"delta": {}, "finish_reason": "length"}]}], "length"),
        ("/v1/completions", [{"model": "q-8b", "choices": [{"text": "", "finish_reason": "stop"}]}], "stop"),
        (
            "/v1/messages",
            [
                {"type": "message_start", "message": {"model": "q-8b", "usage": {"input_tokens": 3}}},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
            ],
            "end_turn",
        ),
        (
            "/v1/responses",
            [
                {"type": "response.created", "response": {"model": "q-8b", "status": "in_progress"}},
                {"type": "response.completed", "response": {"model": "q-8b", "status": "completed"}},
            ],
            "completed",
        ),
        ("/api/chat", [{"model": "q-8b", "message": {"content": ""}, "done": True, "done_reason": "stop"}], "stop"),
        ("/v1/chat/completions", [{"model": 5, "choices": [{"delta": {}, "finish_reason": ["stop"]}]}], ""),
        ("/v1/chat/completions", [{"model": "q-8b", "choices": 5}], ""),
    ],
)
def test_who_answers_and_why_it_ended_is_known_where_the_server_says_it(
    path: str, events: list[dict[str, Any]], said: str
) -> None:
    wire = Wire(of(path))
    ends = "\n" if path.startswith("/api/") else "\n\n"
    for event in events:
        wire.feed(f"{'' if len(ends) == 1 else 'data: '}{json.dumps(event)}{ends}".encode())
    assert wire.reason == said
    assert wire.model == ("q-8b" if events[0].get("model") != 5 else "")
