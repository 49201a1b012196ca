"""The lab as clients see it, byte by byte."""

from __future__ import annotations

import gc
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pytest

from hangtight.testing.lab import Lab, text_of
from hangtight.testing.lab.raw import Raw

OPENAI, OLLAMA = "/v1/chat/completions", "/api/chat"
COMPLETIONS, RESPONSES, MESSAGES, GENERATE = "/v1/completions", "/v1/responses", "/v1/messages", "/api/generate"
PATHS = [OPENAI, OLLAMA, COMPLETIONS, RESPONSES, MESSAGES, GENERATE]
HEAD_ALONE = b"\r\n\r\n"
OPENINGS = {OPENAI: b'"role"', RESPONSES: b"response.in_progress", MESSAGES: b"message_start"}
"""The event without text that comes first, where there is one."""
COMMENT, BLANK = b": ping\n\n", b"\r\n\n\r\n"
PINGS = {OPENAI: COMMENT, COMPLETIONS: COMMENT, RESPONSES: COMMENT, MESSAGES: b'event: ping\ndata: {"type":"ping"}\n\n'}
MARKS = {OPENAI: b"[DONE]", COMPLETIONS: b"[DONE]", RESPONSES: b"response.completed", MESSAGES: b"message_stop"}
OLLAMA_MARK = b'"done":true'
FAST = "m,rate=10000,every=0.001"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Lab:
    shared.reset()
    return shared


def ask(lab: Lab, items: str, path: str = OPENAI, *, stream: bool = True, **more: Any) -> Raw:
    return Raw(lab.url).ask(path, model=f"{FAST},{items}", stream=stream, messages=HELLO, **more)


def events(raw: Raw) -> list[Any]:
    """Every whole event so far, of any API; [DONE] is the string."""
    return ["[DONE]" if line == b"[DONE]" else json.loads(line) for line in lines(raw.body)]


def lines(body: bytes) -> list[bytes]:
    found = [line.removeprefix(b"data: ") for line in body.split(b"\n")[:-1]]
    return [line for line in found if line and not line.startswith((b":", b"event:"))]


def text(raw: Raw) -> str:
    """The content in what came so far."""
    return "".join(piece(event) for event in events(raw) if event != "[DONE]")


def piece(event: dict[str, Any]) -> str:
    """The content of one event, whatever the API."""
    match event:
        case {"choices": [{"delta": delta}]}:
            return str(delta.get("content") or "")
        case {"choices": [{"text": text}]} | {"response": str(text)}:
            return str(text)
        case {"type": "response.output_text.delta", "delta": text}:
            return str(text)
        case {"type": "content_block_delta", "delta": {"text": text}}:
            return str(text)
        case {"message": {"content": str(text)}}:
            return text
        case _:
            return ""


@pytest.mark.parametrize("path", PATHS)
def test_a_healthy_stream_says_everything_and_ends(lab: Lab, path: str) -> None:
    with ask(lab, "tokens=7", path) as raw:
        raw.whole()
        assert raw.status == 200
        assert text(raw) == text_of("m,tokens=7")
    assert lab.settled(f"{FAST},tokens=7").finished == 1


def test_an_openai_stream_opens_with_a_role_and_closes_with_a_reason_and_done(lab: Lab) -> None:
    with ask(lab, "tokens=2") as raw:
        raw.whole()
        first, *_, last, done = events(raw)
    assert "text/event-stream" in raw.head
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert done == "[DONE]"


def test_usage_comes_last_and_only_when_it_is_asked_for(lab: Lab) -> None:
    with ask(lab, "tokens=2", stream_options={"include_usage": True}) as raw:
        raw.whole()
        *others, usage, _ = events(raw)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 2
    assert all(other["usage"] is None for other in others)
    with ask(lab, "tokens=2") as raw:
        assert b"usage" not in raw.whole()


def test_ollama_streams_unless_told_otherwise_and_sums_up_in_its_last_line(lab: Lab) -> None:
    with Raw(lab.url).ask(OLLAMA, model=f"{FAST},tokens=2", messages=HELLO) as raw:
        raw.whole()
        *_, last = events(raw)
    assert "application/x-ndjson" in raw.head
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "stop", 2)
    assert {"total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_duration"} <= set(
        last
    )


@pytest.mark.parametrize(("path", "limit"), [(OPENAI, {"max_tokens": 3}), (OLLAMA, {"options": {"num_predict": 3}})])
def test_a_limit_on_tokens_is_a_reason_of_its_own(lab: Lab, path: str, limit: dict[str, Any]) -> None:
    with ask(lab, "tokens=9", path, **limit) as raw:
        assert b'reason":"length"' in raw.whole()
        assert text(raw) == text_of("m,tokens=3")


@pytest.mark.parametrize("path", PATHS)
def test_a_silent_model_sends_no_headers_and_notices_who_leaves(lab: Lab, path: str) -> None:
    with ask(lab, "silent", path) as raw:
        assert lab.when(f"{FAST},silent", lambda counts: counts.open == 1).asked == 1
        assert raw.is_quiet()
    assert lab.settled(f"{FAST},silent").cancelled == 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("number", [0, 4])
def test_a_mute_model_stops_in_the_middle_and_keeps_the_connection(lab: Lab, path: str, number: int) -> None:
    opening = OPENINGS.get(path, HEAD_ALONE)
    with ask(lab, f"mute={number}", path) as raw:
        raw.until(lambda _: opening in raw.seen and text(raw) == text_of(f"m,tokens={number}"))
        assert raw.is_quiet()
        assert not raw.is_whole
        assert lab.counts(f"{FAST},mute={number}").open == 1


@pytest.mark.parametrize("path", PATHS)
def test_pings_go_on_while_the_client_stays(lab: Lab, path: str) -> None:
    with ask(lab, "pings=2", path) as raw:
        raw.until(lambda seen: seen.count(PINGS.get(path, BLANK)) >= 5)
        assert text(raw) == text_of("m,tokens=2")


@pytest.mark.parametrize("path", PATHS)
def test_empty_deltas_go_on_while_the_client_stays(lab: Lab, path: str) -> None:
    with ask(lab, "empties=2", path) as raw:
        raw.until(lambda _: b"\r\n\r\n" in raw.seen and len(events(raw)) >= 10)
        assert text(raw) == text_of("m,tokens=2")


@pytest.mark.parametrize("path", PATHS)
def test_a_drip_is_bytes_without_an_event(lab: Lab, path: str) -> None:
    with ask(lab, "drip=2", path) as raw:
        raw.until(b"\r\n1\r\nx\r\n1\r\nx\r\n")
        assert text(raw) == text_of("m,tokens=2")


def test_reasoning_comes_before_the_answer_in_a_field_of_its_own(lab: Lab) -> None:
    with ask(lab, "reasoning=2,tokens=1") as raw:
        raw.whole()
        deltas = [set(event["choices"][0]["delta"]) for event in events(raw)[1:-2]]
        assert deltas == [{"reasoning_content"}, {"reasoning_content"}, {"content"}]
    with ask(lab, "reasoning=2,tokens=1", OLLAMA) as raw:
        raw.whole()
        assert [bool(event["message"].get("thinking")) for event in events(raw)] == [True, True, False, False]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("item", ["runaway", "loop", "drift", "healthy-table", "healthy-code"])
def test_endless_answers_go_on_while_the_client_stays(lab: Lab, path: str, item: str) -> None:
    with ask(lab, item, path):
        lab.when(f"{FAST},{item}", lambda counts: counts.tokens > 200)
    assert lab.settled(f"{FAST},{item}").cancelled == 1


@pytest.mark.parametrize("path", PATHS)
def test_a_disconnect_leaves_the_body_without_an_end(lab: Lab, path: str) -> None:
    with ask(lab, "disconnect=3", path) as raw:
        raw.rest()
        assert not raw.is_whole
        assert text(raw) == text_of("m,tokens=3")
    counts = lab.settled(f"{FAST},disconnect=3")
    assert (counts.finished, counts.cancelled) == (0, 0)


@pytest.mark.parametrize("path", PATHS)
def test_garbage_is_one_broken_event_among_whole_ones(lab: Lab, path: str) -> None:
    with ask(lab, "garbage=2,tokens=3", path) as raw:
        broken = 0
        for line in lines(raw.whole()):
            try:
                json.loads(line.replace(b"[DONE]", b"{}"))
            except ValueError:
                broken += 1
        assert broken == 1


@pytest.mark.parametrize("path", PATHS)
def test_an_oversized_event_is_as_large_as_it_says(lab: Lab, path: str) -> None:
    with ask(lab, "oversized=1,tokens=2", path) as raw:
        raw.whole()
        assert len(text(raw)) > 1 << 20


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_status_is_answered_with_an_error_in_the_shape_of_the_api(lab: Lab, path: str, stream: bool) -> None:
    with ask(lab, "status=429,retry-after=1.5", path, stream=stream) as raw:
        error = json.loads(raw.whole())["error"]
        assert raw.status == 429
        assert "retry-after: 1.5" in raw.head
        assert isinstance(error, dict if path.startswith("/v1/") else str)
    counts = lab.settled(f"{FAST},status=429,retry-after=1.5")
    assert (counts.asked, counts.finished, counts.cancelled) == (1, 0, 0)


def test_a_status_that_nobody_knows_is_sent_all_the_same(lab: Lab) -> None:
    with ask(lab, "status=599") as raw:
        raw.whole()
        assert raw.status == 599


def test_a_model_that_only_streams_refuses_everything_else(lab: Lab) -> None:
    with ask(lab, "no-stream", stream=False) as raw:
        assert json.loads(raw.whole())["error"]["type"] == "invalid_request_error"
        assert raw.status == 400
    with ask(lab, "no-stream") as raw:
        raw.whole()
        assert raw.status == 200


def test_an_error_in_the_stream_is_followed_by_done_as_vllm_does_it(lab: Lab) -> None:
    with ask(lab, "error=2") as raw:
        raw.whole()
        *_, error, done = events(raw)
        assert (raw.status, done) == (200, "[DONE]")
        assert set(error["error"]) == {"message", "type", "param", "code"}
    with ask(lab, "error=2", OLLAMA) as raw:
        raw.whole()
        assert set(events(raw)[-1]) == {"error"}
    with ask(lab, "error=2", stream=False) as raw:
        raw.whole()
        assert raw.status == 500


@pytest.mark.parametrize(("path", "reason"), [(OPENAI, b'finish_reason":"stop"'), (OLLAMA, b"done_reason")])
def test_a_stream_can_end_without_its_mark_or_without_a_reason(lab: Lab, path: str, reason: bytes) -> None:
    mark = b"[DONE]" if path == OPENAI else b'"done":true'
    with ask(lab, "no-done", path) as raw:
        assert mark not in raw.whole()
    with ask(lab, "no-reason", path) as raw:
        body = raw.whole()
        assert mark in body
        assert reason not in body


@pytest.mark.parametrize("path", PATHS)
def test_a_lingering_answer_is_finished_but_its_body_is_not(lab: Lab, path: str) -> None:
    model = f"{FAST},lingers"
    with ask(lab, "lingers", path) as raw:
        raw.until(MARKS.get(path, OLLAMA_MARK))
        counts = lab.when(model, lambda counts: counts.finished == 1)
        assert counts.open == 1
        assert not raw.is_whole
    assert lab.settled(model).cancelled == 0


def test_progress_goes_to_who_asks_for_it(lab: Lab) -> None:
    with ask(lab, "prefill=0.01,prefill-progress", return_progress=True) as raw:
        raw.whole()
        reports = [event["prompt_progress"] for event in events(raw)[:-1] if "prompt_progress" in event]
        assert [report["processed"] for report in reports] == sorted(report["processed"] for report in reports)
        assert set(reports[-1]) == {"total", "cache", "processed", "time_ms"}
        assert reports[-1]["processed"] == reports[-1]["total"]


def test_headers_can_come_while_the_model_still_loads(lab: Lab) -> None:
    with ask(lab, "headers=0.001,load=3600") as raw:
        assert raw.status == 200
        assert raw.body == b""
        assert raw.is_quiet()


def test_headers_can_come_after_the_load_is_over(lab: Lab) -> None:
    with ask(lab, "headers=0.05") as raw:
        lab.when(f"{FAST},headers=0.05", lambda counts: counts.open == 1)
        assert raw.status == 200
        raw.whole()
        assert text(raw) == text_of("m")


def test_a_tool_call_comes_in_pieces_that_are_json_together(lab: Lab) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    with ask(lab, "tool,tokens=5", tools=tools) as raw:
        raw.whole()
        chunks = [event["choices"][0] for event in events(raw)[1:-1]]
    calls = [chunk["delta"]["tool_calls"][0] for chunk in chunks if chunk["delta"]]
    assert calls[0]["function"] == {"name": "weather", "arguments": ""}
    assert list(json.loads("".join(call["function"]["arguments"] for call in calls))) == ["text"]
    assert chunks[-1]["finish_reason"] == "tool_calls"


def test_an_unstreamed_answer_that_drips_or_is_garbage_or_is_cut(lab: Lab) -> None:
    with ask(lab, "drip=1", stream=False) as raw:
        raw.until(b"1\r\nx\r\n1\r\nx\r\n")
        assert not raw.is_whole
    with ask(lab, "garbage=1", stream=False) as raw, pytest.raises(ValueError, match=r"char|line|Unterminated"):
        json.loads(raw.whole())
    with ask(lab, "disconnect=1", stream=False) as raw:
        assert raw.rest() == b""
    with ask(lab, "lingers", stream=False) as raw:
        raw.until(b'"stop"')
        assert not raw.is_whole


def test_a_dying_server_resets_everybody_and_stops_listening_until_it_is_reset(lab: Lab) -> None:
    with ask(lab, "mute=0") as bystander, ask(lab, "dies=2") as raw:
        bystander.until(b"assistant")
        with pytest.raises(ConnectionResetError):
            raw.rest()
        with pytest.raises(ConnectionResetError):
            bystander.rest()
        assert text(raw) == text_of("m,tokens=2")
    with pytest.raises(ConnectionRefusedError):
        Raw(lab.url)
    assert lab.settled(f"{FAST},dies=2").cancelled == 0
    assert lab.settled(f"{FAST},mute=0").cancelled == 0
    lab.reset()
    with ask(lab, "tokens=1") as raw:
        raw.whole()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model", [f"{FAST},tokns=3", "", None, 5])
def test_a_name_that_is_no_script_is_a_400_in_the_shape_of_the_api(lab: Lab, path: str, model: object) -> None:
    with Raw(lab.url).ask(path, model=model) as raw:
        error = json.loads(raw.whole())["error"]
        assert raw.status == 400
        assert error["message" if path.startswith("/v1/") else slice(None)]


def test_unknown_paths_are_a_404_and_the_health_is_good(lab: Lab) -> None:
    with Raw(lab.url).get("/nowhere") as raw:
        raw.whole()
        assert raw.status == 404
    with Raw(lab.url).get("/health?x=1") as raw:
        assert json.loads(raw.whole()) == {"status": "ok"}


def test_a_lab_leaves_no_thread_behind_and_its_port_is_closed() -> None:
    before = set(threading.enumerate())
    with Lab() as lab:
        raw = ask(lab, "mute=0")
        raw.until(b"assistant")
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionResetError):
        raw.rest()
    raw.leave()
    with pytest.raises(ConnectionRefusedError):
        Raw(lab.url)


def test_who_connects_while_a_lab_ends_leaves_no_connection_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that asyncio closes forgets whom the system has let in already."""
    left: list[object] = []
    gc.collect()  # what others have left is theirs
    monkeypatch.setattr(sys, "unraisablehook", lambda told: left.append(told.exc_value))
    for _ in range(20):
        begun = threading.Event()
        with Lab() as lab:
            address, callers = urlsplit(lab.url), list[socket.socket]()

            def call(address: SplitResult = address, callers: list[socket.socket] = callers) -> None:
                for _ in range(20):
                    begun.set()  # noqa: B023 - it ends within this round
                    with suppress(OSError):
                        callers.append(socket.create_connection((address.hostname or "", address.port or 0), timeout=5))

            calling = threading.Thread(target=call)
            calling.start()
            begun.wait(5)
        calling.join()
        for caller in callers:
            caller.close()
    gc.collect()
    assert left == []
