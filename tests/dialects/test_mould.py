"""A mould takes only what reading in full would have found to be the same chunk with another text."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.core.facts import Content, Reasoning
from hangtight.dialects.dialect import dialect_for
from hangtight.dialects.mould import TRIES, Mould
from hangtight.dialects.reading import Piece
from hangtight.dialects.wire import Wire

CHAT = dialect_for("/v1/chat/completions")
MESSAGES = dialect_for("/v1/messages")
OLLAMA = dialect_for("/api/chat")
assert CHAT is not None
assert MESSAGES is not None
assert OLLAMA is not None


def event(delta: dict[str, Any], **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None} | more
    told = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(told, ensure_ascii=False)}\n\n".encode()


def said(text: str) -> bytes:
    return event({"content": text})


def learnt(data: bytes) -> Mould:
    mould = Mould()
    mould.learn(data, [(Content, json.loads(data[6:])["choices"][0]["delta"]["content"], False)])
    return mould


def read(data: bytes) -> list[Piece]:
    wire = Wire(CHAT)  # type: ignore[arg-type]
    wire.feed(said("x"))
    return wire.feed(data)


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_what_it_takes_is_what_reading_in_full_finds(first: str, second: str) -> None:
    mould, data = learnt(said(first)), said(second)
    if mould.kind is not None and (text := mould.text(data, 0, len(data))) is not None:
        assert read(data) == [(Content, text, False)]
        assert text == second


@pytest.mark.parametrize("text", ["tok", " the", "日本", "é", "'", "a b", "0", 'say "x"', "a\\b", "line\n", "\u00a0"])
def test_text_is_taken_escaped_or_not(text: str) -> None:
    data = b"??" + said(text) + b"!"
    assert learnt(said("hello")).text(data, 2, len(data) - 1) == text


ODD = st.sampled_from(["0%x", "%x;a=b", " %x", "x%x"])
FRAMES = st.tuples(st.text(min_size=1, max_size=9), st.none() | ODD, st.sampled_from([-1, 0, 0, 0, 1]))


@given(st.sampled_from(["%x", "%X"]), st.lists(FRAMES))
def test_of_a_framed_chunk_it_takes_what_it_takes_without_the_frame(
    usual: str, chunks: list[tuple[str, str | None, int]]
) -> None:
    mould = learnt(said("hello"))
    for text, odd, wrong in chunks:
        data = said(text)
        size = (odd or usual) % (len(data) + wrong)
        found = mould.framed(b"%b\r\n%b\r\n" % (size.encode(), data))
        assert found == (None if odd or wrong else mould.text(data, 0, len(data)))


DELTAS = st.sampled_from(
    [
        *[{"content": text} for text in ("one", "two", "two", 'say "x"', "a\nb", "\u00e9")],
        *[{"reasoning_content": text} for text in ("hm", "well")],
        {"role": "assistant", "content": "three"},
        {"content": "four", "refusal": "no"},
        {"content": "five", "annotations": [{"a": 1}]},
        {"content": ""},
        {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{"}}]},
    ]
)
BESIDE = st.sampled_from(
    [
        *[{}, {}, {}, {}, {"index": 1}, {"token_ids": [1]}, {"finish_reason": "stop"}],
        {"logprobs": {"content": [{"token": "x"}]}},
    ]
)
END = b"data: [DONE]\n\n"


@given(st.lists(st.tuples(DELTAS, BESIDE, st.integers(1, 3)), min_size=1), st.lists(st.integers(0, 4000), max_size=6))
def test_what_is_put_together_with_a_mould_is_what_is_put_together_without(
    chunks: list[tuple[dict[str, Any], dict[str, Any], int]], cuts: list[int]
) -> None:
    told = b"".join(event(delta, **more) * times for delta, more, times in chunks)
    told += event({}, finish_reason="stop") + event({}, index=1, finish_reason="stop") + END
    ends = [at + 2 for at in range(len(told)) if told.startswith(b"\n\n", at)]
    full = put_together(told, [], mould=False)
    assert put_together(told, ends, mould=True) == put_together(told, ends, mould=False) == full
    assert put_together(told, [], mould=True) == put_together(told, cuts, mould=True) == full


def put_together(told: bytes, cuts: list[int], *, mould: bool) -> tuple[Any, list[Piece], bool]:
    assert CHAT is not None
    assembly = CHAT.assembly()
    wire = Wire(CHAT, assembly)
    wire.mould = Mould() if mould else None
    places = [0, *sorted(min(cut, len(told)) for cut in cuts), len(told)]
    pieces: list[Piece] = []
    for begin, end in pairwise(places):
        pieces += wire.feed(told[begin:end])
    return assembly.answer(), pieces, wire.marked


@pytest.mark.parametrize(
    "data",
    [
        event({"content": ""}),
        event({"content": "hello", "tool_calls": []}),
        event({"content": "hello"}, finish_reason="stop"),
        event({"content": "hello"}, index=1),
        event({"reasoning_content": "hello"}),
        said("hello")[:-1],
        said("hello") + said("hello"),
        said("hello").replace(b"hello", b"a\x01b"),
        said("hello").replace(b"hello", b"\xff\xfe"),
        said("hello").replace(b'"hello"', b'"a", "b": "c"'),
        said("hello").replace(b'"hello"', b'"a\\"'),
        said("hello").replace(b'"hello"', b'"a\\x"'),
        b"",
    ],
)
def test_anything_else_is_not(data: bytes) -> None:
    mould = learnt(said("hello"))
    assert mould.kind is Content
    assert mould.text(data, 0, len(data)) is None


@pytest.mark.parametrize("text", ["m", "id", "c-1", "content", 'a"b', "a\nb", "stop\\"])
def test_it_is_not_made_where_the_place_of_the_text_is_not_certain(text: str) -> None:
    assert learnt(said(text)).kind is None


def test_it_is_not_made_of_several_pieces_of_an_end_or_of_a_call() -> None:
    data = said("hello")
    piece: Piece = (Content, "hello", False)
    for pieces in ([], [piece, piece], [(Content, "hello", True)], [(None, "", False)], [(Content, "", False)]):
        mould = Mould()
        mould.learn(data, pieces)  # type: ignore[arg-type]
        assert mould.kind is None


def test_reasoning_has_a_mould_of_its_own() -> None:
    data, mould = event({"reasoning_content": "first"}), Mould()
    mould.learn(data, [(Reasoning, "first", False)])
    assert mould.kind is Reasoning
    other = event({"reasoning_content": "then"})
    assert mould.text(other, 0, len(other)) == "then"
    answer = said("then")
    assert mould.text(answer, 0, len(answer)) is None


def test_where_each_chunk_is_numbered_no_more_moulds_are_made_after_a_while() -> None:
    mould = Mould()
    for number in range(2 * TRIES):
        data = said("hello").replace(b"c-1", b"c-%d" % (number + 10))
        assert mould.text(data, 0, len(data)) is None
        mould.learn(data, [(Content, "hello", False)])
    assert mould.kind is None


def test_a_mould_that_fits_now_and_then_is_made_again_and_again() -> None:
    mould = Mould()
    for number in range(5 * TRIES):
        data = said("hello").replace(b"c-1", b"c-%d" % (number // 2 + 10))
        if mould.kind is None or mould.text(data, 0, len(data)) is None:
            mould.learn(data, [(Content, "hello", False)])
    assert mould.kind is Content


@pytest.mark.parametrize("between", [b": ping\n\n", b"data: {}\n\n", said("x")[:20], event({}, finish_reason="stop")])
def test_a_wire_forgets_its_mould_when_anything_else_comes(between: bytes) -> None:
    wire = Wire(CHAT)  # type: ignore[arg-type]
    wire.mould = Mould()
    for data in (said("one"), said("two")):
        wire.feed(data)
    assert wire.mould.kind is Content
    wire.feed(between)
    assert wire.mould.kind is None


def test_it_serves_other_apis_whose_chunks_stay_the_same() -> None:
    delta = '{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{}"}}}}'
    chunk = f"event: content_block_delta\ndata: {delta}\n\n"
    line = '{{"model":"m","created_at":"x","message":{{"role":"assistant","content":"{}"}},"done":false}}\n'
    for dialect, form in ((MESSAGES, chunk), (OLLAMA, line)):
        wire = Wire(dialect)  # type: ignore[arg-type]
        wire.mould = Mould()
        wire.feed(form.format("one").encode())
        wire.feed(form.format("two").encode())
        data = form.format("three").encode()
        assert wire.mould.text(data, 0, len(data)) == "three"
