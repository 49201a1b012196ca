"""Scripts as sequences of steps: the whole behaviour of the lab, without a clock or a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from hangtight.testing.lab import Script
from hangtight.testing.lab.plan import MIB, Cut, Failed, Finish, Hang, Made, Send, Step, Wait, streamed, unstreamed
from hangtight.testing.lab.wire import Ask, Extras, Wire
from hangtight.testing.lab.wire_anthropic import AnthropicMessage
from hangtight.testing.lab.wire_completions import OpenAICompletion
from hangtight.testing.lab.wire_ollama import OllamaChat, OllamaGenerate
from hangtight.testing.lab.wire_openai import DONE, OpenAIChat
from hangtight.testing.lab.wire_responses import OpenAIResponse
from hangtight.testing.lab.words import VOCABULARY

WIRES = [OpenAIChat, OpenAICompletion, OpenAIResponse, AnthropicMessage, OllamaChat, OllamaGenerate]
Kind = Callable[[Ask], Wire]
Plan = Callable[..., Iterator[Step]]


def _wire(kind: Kind, *, progress: bool = False) -> Wire:
    return kind(Ask(model="m", stream=True, prompt_tokens=100, extras=Extras(progress=progress)))


def _plan(items: str, kind: Kind = OpenAIChat, *, asks: bool = False) -> Iterator[Step]:
    ask = Ask(model="m", stream=True, prompt_tokens=100, extras=Extras(progress=asks))
    return streamed(Script.read(f"m,{items}"), ask, kind(ask), 0.0)


def _whole(items: str, kind: Kind = OpenAIChat) -> Iterator[Step]:
    ask = Ask(model="m", stream=False)
    return unstreamed(Script.read(f"m,{items}"), ask, kind(ask), 0.0)


def _made(steps: list[Step]) -> int:
    return sum(isinstance(step, Made) for step in steps)


def _waited(steps: list[Step]) -> float:
    return sum(step.seconds for step in steps if isinstance(step, Wait))


def _sent(steps: list[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Send | Made | Finish | Failed))


@pytest.mark.parametrize("plan", [_plan, _whole])
@pytest.mark.parametrize("kind", WIRES)
def test_a_healthy_answer_takes_its_prefill_and_its_tokens_and_finishes(plan: Plan, kind: Kind) -> None:
    steps = list(plan("tokens=10,rate=20,prefill=2", kind))
    assert _made(steps) == 10
    assert _waited(steps) == pytest.approx(2.5)
    assert isinstance(steps[-1], Finish)
    assert not steps[-1].lingers


@pytest.mark.parametrize("kind", WIRES)
def test_mute_hangs_after_its_tokens_and_not_before(kind: Kind) -> None:
    for number in (0, 3, 20):
        steps = list(_plan(f"mute={number}", kind))
        assert _made(steps) == number
        assert steps[-1] == Hang()


@pytest.mark.parametrize("kind", WIRES)
def test_pings_are_contact_without_content_for_ever(kind: Kind) -> None:
    steps = list(islice(_plan("pings=2,every=0.5", kind), 1000))
    assert _made(steps) == 2
    after = steps[steps.index(next(step for step in reversed(steps) if isinstance(step, Made))) + 1 :]
    assert set(after) == {Send(_wire(kind).ping()), Wait(0.5)}


@pytest.mark.parametrize("kind", WIRES)
def test_empties_are_events_without_content_for_ever(kind: Kind) -> None:
    steps = list(islice(_plan("empties=0,every=0.5", kind), 1000))
    assert _made(steps) == 0
    events = [step.data for step in steps[2:] if isinstance(step, Send)]
    assert len(events) > 400
    assert all(event.endswith(b"\n") for event in events)
    assert not any(word.encode() in b"".join(events) for word in VOCABULARY.split())


def test_an_empty_delta_comes_with_and_without_a_role() -> None:
    wire = _wire(OpenAIChat)
    assert b'"delta":{}' in wire.empty(0)
    assert b'"delta":{"role":"assistant","content":""}' in wire.empty(1)


@pytest.mark.parametrize("kind", WIRES)
@pytest.mark.parametrize("plan", [_plan, _whole])
def test_a_dripped_event_comes_byte_by_byte_and_never_ends(plan: Plan, kind: Kind) -> None:
    steps = list(islice(plan("drip=1,every=0.5", kind), 5000))
    last = max(at for at, step in enumerate(steps) if isinstance(step, Made))
    drops = [step for step in steps[last + 1 :] if isinstance(step, Send)]
    assert all(len(step.data) == 1 for step in drops)
    assert len(drops) > 2000
    assert b"\n" not in _sent(list(drops))


@pytest.mark.parametrize("plan", [_plan, _whole])
def test_a_cut_ends_the_answer_where_it_is(plan: Plan) -> None:
    assert list(plan("disconnect=2"))[-1] == Cut()
    assert list(plan("dies=2"))[-1] == Cut(reset=True)
    assert _made(list(plan("dies=2"))) == 2


def test_an_error_in_a_stream_is_an_event_in_a_200() -> None:
    last = list(_plan("error=1"))[-1]
    assert isinstance(last, Failed)
    assert last.status == 200
    assert last.data.startswith(b'data: {"error":{"message":')
    assert last.data.endswith(DONE)
    last = list(_plan("error=1", OllamaChat))[-1]
    assert isinstance(last, Failed)
    assert last.data.startswith(b'{"error":"')


def test_an_error_in_an_unstreamed_answer_is_a_500() -> None:
    last = list(_whole("error=1"))[-1]
    assert isinstance(last, Failed)
    assert last.status == 500


@pytest.mark.parametrize("kind", WIRES)
def test_after_garbage_and_an_oversized_event_the_answer_goes_on(kind: Kind) -> None:
    for items in ("garbage=3", "oversized=2", "oversized=1,tool", "oversized=1,reasoning=3"):
        steps = list(_plan(items, kind))
        assert _made(steps) >= 20
        assert isinstance(steps[-1], Finish)
    assert any(isinstance(step, Send) and len(step.data) > MIB for step in steps)


@pytest.mark.parametrize("fault", ["mute=2", "pings=2", "empties=2"])
def test_where_nothing_is_streamed_every_kind_of_silence_is_the_same(fault: str) -> None:
    steps = list(_whole(fault))
    assert _made(steps) == 2
    assert steps[-1] == Hang()
    assert _sent(steps) == b""


@pytest.mark.parametrize("item", ["runaway", "loop", "drift", "healthy-table", "healthy-code"])
@pytest.mark.parametrize("plan", [_plan, _whole])
def test_endless_answers_do_not_end(plan: Plan, item: str) -> None:
    assert _made(list(islice(plan(item), 10_000))) > 4000


def test_an_endless_answer_can_still_go_mute() -> None:
    assert list(_plan("runaway,mute=50"))[-1] == Hang()


def test_progress_goes_to_who_asks_and_covers_the_prefill() -> None:
    steps = list(_plan("prefill=1,prefill-progress,every=0.25", asks=True))
    reports = [step.data for step in steps if isinstance(step, Send) and b"prompt_progress" in step.data]
    assert len(reports) == 4
    assert b'"prompt_progress":{"total":100,"cache":0,"processed":25,"time_ms":250}' in reports[0]
    assert b'"processed":100,"time_ms":1000' in reports[-1]


def test_progress_is_not_sent_to_who_does_not_ask_unless_always() -> None:
    assert b"prompt_progress" not in _sent(list(_plan("prefill=1,prefill-progress")))
    assert b"prompt_progress" not in _sent(list(_plan("prefill=1", asks=True)))
    assert b"prompt_progress" in _sent(list(_plan("prefill=1,prefill-progress=always")))


def test_what_is_missing_at_the_end_is_missing() -> None:
    reason = b'"finish_reason":"stop"'
    for items, has_reason, has_done in [("tokens=1", True, True), ("no-done", True, False), ("no-reason", False, True)]:
        sent = _sent(list(_plan(items)))
        assert (reason in sent, DONE in sent) == (has_reason, has_done)
    assert b'"done":true' not in _sent(list(_plan("no-done", OllamaChat)))
    assert b"done_reason" not in _sent(list(_plan("no-reason", OllamaChat)))
    assert b'"done":true,"total_duration"' in _sent(list(_plan("no-reason", OllamaChat)))


@pytest.mark.parametrize(
    ("kind", "mark", "reason"),
    [
        (OpenAICompletion, b"data: [DONE]", b'"finish_reason":"stop"'),
        (OpenAIResponse, b"event: response.completed", b'"status":"completed","model"'),
        (AnthropicMessage, b"event: message_stop", b'"stop_reason":"end_turn"'),
        (OllamaGenerate, b'"done":true', b'"done_reason":"stop"'),
    ],
)
def test_each_api_has_a_mark_and_a_reason_that_can_be_missing(kind: Kind, mark: bytes, reason: bytes) -> None:
    healthy, unmarked, unreasoned = (_sent(list(_plan(items, kind))) for items in ("tokens=1", "no-done", "no-reason"))
    assert mark in healthy
    assert reason in healthy
    assert mark not in unmarked
    assert mark in unreasoned
    assert reason not in unreasoned
    assert reason not in _sent(list(_whole("no-reason", kind)))


def test_a_lingering_answer_says_everything_and_is_marked() -> None:
    last = list(_plan("lingers"))[-1]
    assert isinstance(last, Finish)
    assert last.lingers
    assert DONE in last.data
