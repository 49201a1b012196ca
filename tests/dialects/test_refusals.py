"""An error in the middle of a stream, as the answer that it would have been before it."""

from __future__ import annotations

from typing import Any

import pytest

from hangtight.dialects.dialect import Dialect, dialect_for

CHAT, RESPONSES, MESSAGES, OLLAMA = "/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat"


def of(path: str) -> Dialect:
    dialect = dialect_for(path)
    assert dialect is not None
    return dialect


def openai(message: str, kind: object = None, code: object = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("chunk", "status"),
    [
        ({"error": {"message": "m", "code": 429}}, 429),
        ({"error": {"message": "m", "code": "503"}}, 503),
        ({"error": {"message": "m", "code": 200, "type": "rate_limit_exceeded"}}, 429),
        ({"error": {"message": "m", "code": "insufficient_quota", "type": "insufficient_quota"}}, 429),
        ({"error": {"message": "m", "type": "invalid_request_error"}}, 400),
        ({"error": {"message": "m", "type": "BadRequestError"}}, 400),
        ({"error": {"message": "m", "type": "authentication_error"}}, 401),
        ({"error": {"message": "m", "type": "invalid_request_error", "code": "invalid_api_key"}}, 401),
        ({"error": {"message": "m", "type": "permission_error"}}, 403),
        ({"error": {"message": "m", "type": "NotFoundError"}}, 404),
        ({"error": {"message": "m", "type": "exceed_context_size_error"}}, 400),
        ({"error": {"message": "m", "type": "server_error"}}, 500),
        ({"error": {"message": "m", "type": "unavailable_error"}}, 503),
        ({"error": {"message": "m", "type": "overloaded_error"}}, 503),
        ({"error": {"message": "m", "type": "never heard of"}}, 500),
        ({"error": {"message": "m", "code": True}}, 500),
        ({"error": {"message": "m", "code": 10**40}}, 500),
    ],
)
def test_the_status_is_told_by_number_or_by_name(chunk: dict[str, Any], status: int) -> None:
    refusal = of(CHAT).refusal("message", chunk)
    assert refusal is not None
    assert refusal.status == status
    assert set(refusal.body["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("event", "chunk", "body"),
    [
        ("message", {"error": "no"}, openai("no")),
        ("message", {"object": "error", "message": "no", "type": "T", "code": 400}, openai("no", "T", 400)),
        ("error", {"message": "no"}, openai("no")),
        ("error", {}, openai("the server sent an error without a message")),
        ("error", {"error": [1]}, openai("the server sent an error without a message")),
        ("error", {"type": "error", "message": "no", "code": "c", "sequence_number": 3}, openai("no", None, "c")),
        ("message", {"type": "error", "error": {"type": "T", "message": "no", "code": None}}, openai("no", "T")),
    ],
)
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_all_forms_become_the_one_that_the_client_expects(
    path: str, event: str, chunk: dict[str, Any], body: dict[str, Any]
) -> None:
    refusal = of(path).refusal(event, chunk)
    assert refusal is not None
    assert refusal.body == body


@pytest.mark.parametrize("chunk", [{}, {"error": None, "choices": []}, {"error": ""}, {"type": "response.failed"}])
def test_what_is_no_error_is_none(chunk: dict[str, Any]) -> None:
    for path in (CHAT, RESPONSES, MESSAGES, OLLAMA):
        assert of(path).refusal("message", chunk) is None


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("invalid_request_error", 400),
        ("authentication_error", 401),
        ("billing_error", 402),
        ("permission_error", 403),
        ("not_found_error", 404),
        ("request_too_large", 413),
        ("rate_limit_error", 429),
        ("api_error", 500),
        ("timeout_error", 504),
        ("overloaded_error", 529),
        ("never_heard_of", 500),
    ],
)
def test_anthropics_errors_keep_their_form(kind: str, status: int) -> None:
    chunk = {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req_1"}
    assert of(MESSAGES).refusal("error", chunk) == (status, chunk)


@pytest.mark.parametrize(
    ("chunk", "status"),
    [({"error": "no"}, 500), ({"error": "no", "status_code": 503}, 503), ({"error": {"message": "no"}}, 500)],
)
def test_ollamas_error_is_a_text(chunk: dict[str, Any], status: int) -> None:
    assert of(OLLAMA).refusal("message", chunk) == (status, {"error": "no"})


def test_the_clients_read_the_bodies() -> None:
    openai_client = pytest.importorskip("openai")
    anthropic_client = pytest.importorskip("anthropic")
    httpx2 = pytest.importorskip("httpx2")
    cases = [
        (openai_client.OpenAI(api_key="none"), of(CHAT).refusal("message", {"error": {"message": "no", "code": 429}})),
        (
            anthropic_client.Anthropic(api_key="none"),
            of(MESSAGES).refusal("error", {"type": "error", "error": {"type": "rate_limit_error", "message": "no"}}),
        ),
    ]
    for client, refusal in cases:
        assert refusal is not None
        request = httpx2.Request("POST", "http://localhost/v1")
        response = httpx2.Response(refusal.status, json=refusal.body, request=request)
        error = client._make_status_error_from_response(response)
        assert type(error).__name__ == "RateLimitError"
        assert "no" in str(error)
        client.close()
