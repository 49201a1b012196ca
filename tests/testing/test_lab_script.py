"""The grammar of model names."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.testing.lab import Script, ScriptError
from hangtight.testing.lab.items import EXAMPLES, ITEMS
from hangtight.testing.lab.script import RATE, TOKENS, Answer, Ending, Fault, Refusal, Start


@pytest.mark.parametrize("name", ["qwen3-coder", "qwen3:1.7b", "hf.co/me/model-7B-GGUF:Q4_K_M", "a", "modèle"])
def test_a_name_without_items_is_a_healthy_model(name: str) -> None:
    assert Script.read(name) == Script(name=name)


def test_a_healthy_model_answers_twenty_tokens_at_fifty_a_second() -> None:
    answer = Script.read("qwen3-coder").answer
    assert (answer.tokens, answer.rate) == (20, 50.0) == (TOKENS, RATE)


def test_items_follow_a_plain_name_or_stand_alone() -> None:
    named, bare = Script.read("mistral-7b,tokens=5,rate=9.5"), Script.read("tokens=5,rate=9.5")
    assert named.answer == bare.answer == Answer(tokens=5, rate=9.5)


def test_spaces_around_items_do_not_matter() -> None:
    assert Script.read("m, tokens=5 , mute=2").faults == (Fault(kind="mute", after=2),)


def test_every_part_of_a_script_is_read() -> None:
    script = Script.read(
        "m,load=1.5,unavailable,headers=0,silent,prefill=.5,prefill-progress=always,reasoning=3,tool,every=0.2,"
        "status=429,retry-after=7,no-stream,no-usage-option,no-done,no-reason,lingers,ignores-cancel"
    )
    assert script.start == Start(load=1.5, unavailable=True, headers=0.0, silent=True, prefill=0.5, progress="always")
    assert script.answer == Answer(reasoning=3, tool=True)
    assert script.refusal == Refusal(status=429, retry_after=7.0, unstreamed=True, stream_options=True)
    assert script.ending == Ending(done=False, reason=False, lingers=True, ignores_cancel=True)
    assert script.every == 0.2


def test_prefill_progress_is_sent_only_to_who_asks_unless_it_says_always() -> None:
    assert Script.read("m,prefill-progress").start.progress == "asked"
    assert Script.read("m").start.progress == "no"


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("runaway", "words"),
        ("loop", "loop"),
        ("drift", "drift"),
        ("healthy-table", "table"),
        ("healthy-code", "code"),
    ],
)
def test_five_items_make_an_answer_endless(item: str, text: str) -> None:
    answer = Script.read(f"m,{item}").answer
    assert answer.endless
    assert answer.text == text


@pytest.mark.parametrize(("item", "text"), [("healthy-table", "table"), ("healthy-code", "code")])
def test_a_healthy_answer_of_so_many_tokens_ends(item: str, text: str) -> None:
    answer = Script.read(f"m,{item},tokens=400").answer
    assert (answer.endless, answer.tokens, answer.text) == (False, 400, text)
    assert not Script.read(f"m,{item},mute=400,tokens=400").answer.endless
    with pytest.raises(ScriptError, match="after 500 tokens"):
        Script.read(f"m,{item},mute=500,tokens=400")


def test_faults_come_in_the_order_of_their_tokens_and_those_that_pass_come_first() -> None:
    faults = Script.read("m,mute=3,garbage=3,oversized=2").faults
    assert faults == (
        Fault(kind="oversized", after=1, size=2),
        Fault(kind="garbage", after=3),
        Fault(kind="mute", after=3),
    )


def test_an_answer_is_as_long_as_its_latest_fault_needs() -> None:
    assert Script.read("m,mute=30").answer.tokens == 30
    assert Script.read("m,mute=30,reasoning=25").answer.tokens == TOKENS


def test_a_fault_that_could_never_come_is_refused() -> None:
    with pytest.raises(ScriptError, match="after 30 tokens"):
        Script.read("m,mute=30,tokens=20")
    with pytest.raises(ScriptError):
        Script.read("m,oversized=1,tokens=0")


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("tokns=5", "tokens"), ("mut=3", "mute"), ("ignore-cancel", "ignores-cancel")]
)
def test_an_unknown_item_is_named_with_the_nearest_known_one(wrong: str, nearest: str) -> None:
    with pytest.raises(ScriptError) as refused:
        Script.read(f"m,{wrong}")
    assert repr(wrong.partition("=")[0]) in str(refused.value)
    assert nearest in str(refused.value)


@pytest.mark.parametrize(
    "item",
    [
        "mute", "mute=", "mute=-1", "mute=1.5", "mute=x", "mute=True", "mute=1_0", "mute=٣", "mute=99999999999",
        "load", "load=-1", "load=nan", "load=inf", "load=1_0", "rate=0", "rate=-3", "rate=1e999", "every=0",
        "status=200", "status=42", "status=600", "oversized=0", "oversized=65", "runaway=3", "silent=",
        "prefill-progress=maybe", "prefill-progress=", "", "=", "=5", "m2",
    ],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(item: str) -> None:
    with pytest.raises(ScriptError):
        Script.read(f"m,{item}")


@pytest.mark.parametrize(
    "items",
    [
        "mute=1,pings=2",
        "loop,drift",
        "loop,healthy-table",
        "healthy-code,healthy-table",
        "runaway,healthy-code",
        "tool,healthy-code",
        "tokens=5,runaway",
        "tokens=5,drift",
        "tool,runaway",
        "tokens=5,loop",
        "mute=1,mute=1",
        "disconnect=1,dies=1",
        "silent,silent",
        "no-stream,refuses-stream",
        "refuses-stream,ignores-stream",
    ],
)
def test_items_that_exclude_each_other_are_refused(items: str) -> None:
    with pytest.raises(ScriptError):
        Script.read(f"m,{items}")


@pytest.mark.parametrize("name", ["", ",", ",tokens=3", "tokens=3,", "=", "=3"])
def test_a_name_with_nothing_where_an_item_should_be_is_refused(name: str) -> None:
    with pytest.raises(ScriptError):
        Script.read(name)


@given(st.text())
def test_any_text_is_a_script_or_refused_with_a_script_error(name: str) -> None:
    with suppress(ScriptError):
        assert Script.read(name).name == name


@given(
    st.lists(st.sampled_from([*ITEMS, "x"]), max_size=4), st.sampled_from(["", "=1", "=0.5", "=always", "=429", "=nan"])
)
def test_any_items_are_a_script_or_refused_with_a_script_error(keys: list[str], value: str) -> None:
    name = ",".join(["m", *(key + value for key in keys)])
    try:
        script = Script.read(name)
    except ScriptError:
        return
    assert (
        all(fault.after <= script.answer.tokens + script.answer.reasoning for fault in script.faults)
        or script.answer.endless
    )
    assert sum(not fault.passes for fault in script.faults) <= 1


@pytest.mark.parametrize("key", ITEMS)
def test_every_item_is_understood_the_way_its_own_example_is_written(key: str) -> None:
    script = Script.read("m," + key + EXAMPLES[ITEMS[key].kind])
    assert replace(script, name="m") != Script.read("m")
