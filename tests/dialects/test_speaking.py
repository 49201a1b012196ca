"""What we say ourselves: errors in each API's shape, and signs of life that add nothing to an answer."""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.core.facts import End
from hangtight.core.limits import Limit
from hangtight.dialects.dialect import Dialect
from hangtight.dialects.speaking import (
    Form,
    Heading,
    Told,
    broken,
    default_form,
    form_for,
    forms_of,
    refused,
    sign,
    thought,
    told_of,
)
from hangtight.dialects.wire import Wire
from hangtight.errors import (
    BackendError,
    BudgetSpent,
    GenerationTimeout,
    HangtightError,
    IdleTimeout,
    Looping,
    SettingsError,
    Truncated,
)
from hangtight.rules.serving import FORMS
from tests.core.test_errors import by_hand
from tests.dialects.test_wire import PATHS, RECORDED, Recorded, of

CHAT, COMPLETIONS, RESPONSES, MESSAGES, OLLAMA, GENERATE = PATHS
OPENAI = (CHAT, COMPLETIONS, RESPONSES)
LINES = (OLLAMA, GENERATE)
THREE = "m stuck - no output for 45s\nidle = 45 comes from default\nto wait longer:  idle: 90"
IDLE = Told(504, "timeout", "idle", THREE, {"limit": "idle", "elapsed": 78.29999999, "change": "idle: 90"})
HEADING = Heading("m", "chatcmpl-1", 1_760_000_000)
each_path = pytest.mark.parametrize("path", PATHS)
each_recorded = pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: of(recorded.path).name)
torn_or_not = pytest.mark.parametrize("torn", [False, True], ids=["clean", "torn"])


def said(dialect: Dialect | None, told: Told) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(refused(dialect, told))
    return found


def events(stream: bytes, dialect: Dialect) -> list[bytes]:
    """The stream, cut behind each of its events."""
    border = b"\n" if dialect.lines else b"\n\n"
    return [piece + border for piece in stream.split(border)[:-1]]


# -- our errors, as they are told -------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [limit for limit in Limit if limit is not Limit.CANCEL])
def test_a_timeout_is_told_with_its_row_its_number_its_source_and_what_to_change(limit: Limit) -> None:
    error = by_hand(limit, 78.3, tokens=5)
    told = told_of(error)
    assert told[:4] == (504, "timeout", limit.value, str(error))
    assert told.more["limit"] == limit.value
    assert told.more["source"] == error.source
    assert told.more["change"] == f"hangtight.watch(..., {limit.value}=156.6)"
    assert (told.more["elapsed"], told.more["waited"], told.more["tokens"]) == (78.3, 78.3, 5)


def test_the_command_that_tells_the_whole_story_is_not_what_to_change() -> None:
    told = told_of(IdleTimeout("a\nb\nto wait longer:  idle: 90      why: hangtight log 7f3a"))
    assert told.more["change"] == "idle: 90"


def test_a_spent_budget_says_why_and_what_to_change() -> None:
    error = BudgetSpent()
    error.remaining, error.total, error.step = 0.2, 120.0, "plan"
    error.add_note("the budget of 120s timed out")
    error.add_note("to have longer:  hangtight.budget(240)")
    told = told_of(error)
    assert (told.status, told.type, told.code) == (504, "timeout", "budget")
    assert told.message.startswith(BudgetSpent.TEXT)
    assert told.more["change"] == "hangtight.budget(240)"
    assert said(None, told)["error"]["step"] == "plan"


@pytest.mark.parametrize(
    ("status", "told"),
    [(None, 502), (500, 502), (503, 503), (504, 504), (429, 429), (404, 404), (400, 400), (401, 502), (302, 502)],
)
def test_a_server_that_failed_is_told_by_a_status_that_is_true_of_us_too(status: int | None, told: int) -> None:
    error = BackendError("refused")
    error.status = status
    assert told_of(error).status == told
    assert said(None, told_of(error))["error"].get("upstream_status") == status


@pytest.mark.parametrize("status", [429, 503])
def test_what_was_never_sent_has_our_status_and_our_word_and_none_of_a_server(status: int) -> None:
    error = BackendError("no slot")
    error.status, error.code = status, "queue_full"
    told = told_of(error)
    assert (told.status, told.code) == (status, "queue_full")
    assert "upstream_status" not in said(None, told)["error"]


def test_half_an_answer_is_told_as_one() -> None:
    told = told_of(Truncated("the stream ended"))
    assert (told.status, told.code) == (502, "truncated")


def test_a_setting_that_cannot_be_meant_is_the_clients_error_and_named() -> None:
    told = told_of(SettingsError("X-Hangtight-Idle", "-1", "a number of seconds"))
    assert (told.status, told.type) == (400, "invalid_request_error")
    assert said(of(CHAT), told)["error"]["param"] == "X-Hangtight-Idle"


def test_any_other_error_of_ours_is_told() -> None:
    assert told_of(HangtightError("no"))[:4] == (500, "server_error", "internal", "no")


@pytest.mark.parametrize("kind", [GenerationTimeout, IdleTimeout, Looping, BackendError, Truncated])
def test_what_the_model_said_is_never_told(kind: type[Any]) -> None:
    error = kind("what happened")
    error.partial = error.useful = error.stderr = "a secret"
    for path in PATHS:
        assert b"secret" not in refused(of(path), told_of(error)) + broken(of(path), told_of(error))


# -- a refusal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*OPENAI, None])
def test_a_refusal_in_openais_shape(path: str | None) -> None:
    assert said(of(path) if path else None, IDLE) == {
        "error": {
            "message": THREE,
            "type": "timeout",
            "param": None,
            "code": "idle",
            "limit": "idle",
            "elapsed": 78.3,
            "change": "idle: 90",
        }
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (421, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_a_refusal_in_anthropics_shape_has_a_type_that_its_clients_know(status: int, kind: str) -> None:
    body = said(of(MESSAGES), Told.of(status, "circuit_open", "no"))
    details = {"error_code": "circuit_open"}
    error = {"type": kind, "message": "no", "code": "circuit_open", "details": details}
    assert body == {"type": "error", "error": error}


@pytest.mark.parametrize("path", LINES)
def test_a_refusal_in_ollamas_shape(path: str) -> None:
    body = said(of(path), IDLE)
    assert body["error"] == THREE
    assert (body["type"], body["code"], body["limit"]) == ("timeout", "idle", "idle")


@each_path
def test_a_field_that_says_nothing_is_left_out_and_none_takes_the_place_of_another(path: str) -> None:
    told = IDLE.adding(
        id="7f3a", model="", source=None, waited=inf, total=nan, tokens=0, message="x", code="x", status=1
    )
    text = refused(of(path), told)
    error = json.loads(text)["error"] if path not in LINES else json.loads(text)
    assert not {"model", "source", "waited", "total", "status"} & set(error)
    assert (error["id"], error["tokens"], error["code"]) == ("7f3a", 0, "idle")
    assert error.get("message", THREE) == THREE


@each_path
@given(message=st.text(), model=st.text())
def test_whatever_stands_in_an_error_it_is_one_line(path: str, message: str, model: str) -> None:
    told = Told.of(504, "idle", message, model=model)
    for text in (refused(of(path), told), sign(of(path), Form.EMPTY_DELTA, Heading(model))):
        assert text.isascii()
        assert len(text.decode().strip().splitlines()) == 1


# -- a broken stream --------------------------------------------------------------------------------------------


@each_path
@torn_or_not
def test_our_own_client_reads_a_refusal_and_neither_an_end_nor_a_token(path: str, torn: bool) -> None:
    wire = Wire(of(path))
    assert wire.feed(broken(of(path), IDLE, torn=torn)) + wire.close() == []
    assert wire.refusal is not None
    assert wire.refusal.status == 504
    assert (wire.finished, wire.marked, wire.broken) == (False, False, "")
    assert THREE in json.dumps(wire.refusal.body).encode().decode("unicode-escape")


@each_path
@pytest.mark.parametrize("status", [400, 404, 429, 500, 502, 503, 504])
def test_the_status_comes_with_the_error(path: str, status: int) -> None:
    wire = Wire(of(path))
    wire.feed(broken(of(path), Told.of(status, "some_code", "no")))
    assert wire.refusal is not None
    anthropics = {502: 500, 503: 529} if path == MESSAGES else {}  # by the type, which is what its clients go by
    assert wire.refusal.status == anthropics.get(status, status)


@each_recorded
def test_after_half_an_answer_too(recorded: Recorded) -> None:
    dialect = of(recorded.path)
    parts = events(recorded.stream, dialect)
    for half in range(len(parts) // 2):
        wire = Wire(dialect)
        wire.feed(b"".join(parts[:half]) + broken(dialect, IDLE))
        wire.close()
        assert wire.refusal is not None
        assert wire.end is End.CUT


@each_recorded
def test_wherever_an_event_was_torn_the_error_is_still_read(recorded: Recorded) -> None:
    dialect = of(recorded.path)
    first = next(event for event in events(recorded.stream, dialect) if b"{" in event)
    for cut in range(1, len(first) - 2):
        wire = Wire(dialect)
        wire.feed(first[:cut])
        wire.feed(broken(dialect, IDLE, torn=True))
        wire.close()
        assert wire.refusal is not None, first[:cut]
        assert not wire.marked


@pytest.mark.parametrize("path", [path for path in PATHS if path not in LINES])
def test_a_torn_comment_does_not_swallow_the_error(path: str) -> None:
    wire = Wire(of(path))
    wire.feed(b": pin")
    wire.feed(broken(of(path), IDLE, torn=True))
    assert wire.refusal is not None


@each_path
def test_no_end_mark_follows(path: str) -> None:
    said = broken(of(path), IDLE)
    assert b"[DONE]" not in said
    assert b"done" not in said
    assert b"stop" not in said


# -- a sign of life ---------------------------------------------------------------------------------------------


def test_the_forms_are_those_of_the_settings() -> None:
    assert set(Form) == set(FORMS)


@pytest.mark.parametrize(
    ("path", "streamed", "forms"),
    [
        (CHAT, True, ("comment", "empty-delta", "off")),
        (COMPLETIONS, True, ("comment", "empty-delta", "off")),
        (RESPONSES, True, ("comment", "ping", "off")),
        (MESSAGES, True, ("comment", "ping", "off")),
        (OLLAMA, True, ("empty-delta", "white-space", "off")),
        (GENERATE, True, ("empty-delta", "white-space", "off")),
        *[(path, False, ("off", "white-space")) for path in PATHS],
    ],
)
def test_each_api_has_its_forms_and_the_first_is_the_default(path: str, streamed: bool, forms: tuple[str, ...]) -> None:
    assert forms_of(of(path), streamed=streamed) == forms
    assert default_form(of(path), streamed=streamed) == forms[0]


@pytest.mark.parametrize("streamed", [True, False])
def test_what_is_not_ours_to_read_gets_no_sign(streamed: bool) -> None:
    assert forms_of(None, streamed=streamed) == ("off",)
    assert form_for(None, streamed=streamed, wanted=Form.COMMENT) is Form.OFF


@each_path
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("form", Form)
def test_a_form_that_an_api_has_not_becomes_one_that_it_has(path: str, streamed: bool, form: Form) -> None:
    dialect = of(path)
    taken = form_for(dialect, streamed=streamed, wanted=form)
    assert taken in forms_of(dialect, streamed=streamed)
    assert taken is form or form not in forms_of(dialect, streamed=streamed)
    assert sign(dialect, form, HEADING, streamed=streamed) == sign(dialect, taken, HEADING, streamed=streamed)
    assert (sign(dialect, form, HEADING, streamed=streamed) == b"") is (taken is Form.OFF)


def test_the_signs_to_the_byte() -> None:
    assert sign(of(CHAT), Form.COMMENT, HEADING) == b": hangtight: still waiting\n\n"
    assert sign(of(MESSAGES), Form.PING, HEADING) == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert sign(of(OLLAMA), Form.WHITE_SPACE, HEADING) == b" "
    assert sign(of(OLLAMA), Form.EMPTY_DELTA, HEADING) == (
        b'{"model":"m","created_at":"2025-10-09T08:53:20Z","message":{"role":"assistant","content":""},"done":false}\n'
    )
    assert sign(of(CHAT), Form.EMPTY_DELTA, HEADING) == (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1760000000,"model":"m",'
        b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":null}]}\n\n'
    )


def test_before_its_answer_has_begun_a_response_gets_a_comment_for_a_ping() -> None:
    assert sign(of(RESPONSES), Form.PING, HEADING, begun=False).startswith(b": ")
    assert sign(of(MESSAGES), Form.PING, HEADING, begun=False).startswith(b"event: ping\n")


@given(words=st.text())
def test_words_in_a_comment_stay_in_it(words: str) -> None:
    said = sign(of(CHAT), Form.COMMENT, HEADING, words=words)
    assert said.startswith(b": ")
    assert said.endswith(b"\n\n")
    assert len(said.decode().rstrip("\n").splitlines()) == 1


@each_recorded
@pytest.mark.parametrize("form", Form)
def test_signs_anywhere_between_events_change_no_piece_and_no_answer(recorded: Recorded, form: Form) -> None:
    dialect = of(recorded.path)
    signs = sign(dialect, form, HEADING, begun=False), sign(dialect, form, HEADING)
    assembly = dialect.assembly()
    for wire in (Wire(dialect), Wire(dialect, assembly)):
        pieces = wire.feed(signs[0]) + wire.feed(signs[0])
        for event in events(recorded.stream, dialect):
            pieces += wire.feed(event)
            pieces += [] if wire.finished else wire.feed(signs[1])
        pieces += wire.close()
        assert pieces == recorded.pieces
        assert (wire.end, wire.finished, wire.refusal, wire.broken) == (End.MARKED, True, None, "")
    answer = assembly.answer()
    ours = ("id", "model", "created", "created_at")  # in an empty delta before the first event nobody knows better
    assert {**answer, **dict.fromkeys(ours)} == {**recorded.answer, **dict.fromkeys(ours)}


@each_path
@pytest.mark.parametrize("form", Form)
def test_signs_alone_are_no_answer(path: str, form: Form) -> None:
    wire = Wire(of(path))
    assert wire.feed(sign(of(path), form, HEADING) * 3) + wire.close() == []
    assert (wire.end, wire.finished, wire.refusal, wire.broken) == (End.CUT, False, None, "")


def test_a_thought_of_ours_is_reasoning_in_a_chunk_of_a_chat_and_names_no_role() -> None:
    told = thought(Heading("m", "hangtight-1", 7), "still\nloading ━")
    assert told.startswith(b"data: {")
    assert told.endswith(b"}\n\n")
    assert told.count(b"\n") == 2
    chunk = json.loads(told.removeprefix(b"data: "))
    (choice,) = chunk["choices"]
    assert (chunk["object"], chunk["id"], chunk["created"], chunk["model"]) == (
        "chat.completion.chunk", "hangtight-1", 7, "m",
    )  # fmt: skip
    assert (choice["delta"], choice["finish_reason"]) == ({"reasoning_content": "still\nloading ━"}, None)
