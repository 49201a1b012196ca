"""What we say ourselves, as the real clients take it: a refusal, a broken stream, signs of life."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx
import ollama
import openai
import pytest

import hangtight
from hangtight.dialects.dialect import Dialect, dialect_for
from hangtight.dialects.speaking import Form, Heading, Told, broken, forms_of, refused, sign
from hangtight.errors import GenerationTimeout
from hangtight.testing.lab import Lab, text_of
from tests.clients.kit import ANTHROPIC, APIS, MESSAGES, OLLAMA, OPENAI, How, Seen, one_lab, sync_client
from tests.clients.peer import Peer, Said

pytestmark = pytest.mark.real

PATHS = {
    OPENAI: "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    ANTHROPIC: "/v1/messages",
    OLLAMA: "/api/chat",
    "generate": "/api/generate",
}
THREE = "m stuck - no output for 45s\nidle = 45 comes from default\nto wait longer:  idle: 90"
IDLE = Told.of(504, "idle", THREE, limit="idle", source="default", elapsed=78.3, waited=45.0, change="idle: 90")
HEADING = Heading("m", "hangtight-1", 1_760_000_000)
NO_RETRY = {"x-should-retry": "false"}
THOUGHTFUL = "reasoning=2,tokens=4,rate=2000"
CALLING = "tool,rate=2000"

each_api = pytest.mark.parametrize("api", PATHS)
both_ways = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])


def of(api: str) -> Dialect:
    dialect = dialect_for(PATHS[api])
    assert dialect is not None
    return dialect


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with one_lab() as lab:
        yield lab


def events(lab: Lab, api: str, script: str = THOUGHTFUL) -> tuple[bytes, ...]:
    """A stream of the lab, cut behind each event."""
    asked = {"model": script, "stream": True, "max_tokens": 99, "messages": MESSAGES, "prompt": "?", "input": "?"}
    border = b"\n" if of(api).lines else b"\n\n"
    stream = httpx.post(lab.url + PATHS[api], json=asked).content
    return tuple(piece + border for piece in stream.split(border)[:-1])


def half(lab: Lab, api: str) -> tuple[bytes, ...]:
    """The beginning of a stream, with some text in it."""
    whole = events(lab, api, "tokens=6,rate=2000")
    return whole[: len(whole) // 2]


def streaming(api: str, *pieces: bytes) -> Said:
    kind = "application/x-ndjson" if of(api).lines else "text/event-stream"
    return Said(kind=kind, pieces=tuple(piece for piece in pieces if piece), headers=NO_RETRY)


def body_of(error: Any) -> dict[str, Any]:
    """The error object as the SDK hands it out."""
    found = error.body
    if isinstance(error, anthropic.APIError):
        assert isinstance(found, dict)
        found = found["error"]
    assert isinstance(found, dict)
    return found


# -- before the first byte --------------------------------------------------------------------------------------


@each_api
@both_ways
@streamed_or_not
def test_a_refusal_is_one_error_with_its_status_and_all_we_know(api: str, asynchronous: bool, streamed: bool) -> None:
    said = Said(refused(of(api), IDLE), status=504, headers=NO_RETRY)
    with Peer(said) as peer:
        error = How(api, asynchronous, streamed, ours=None).call(peer.url, "m").error
        assert len(peer.asked) == 1, "an SDK asks again"
    assert getattr(error, "status_code", None) == 504, repr(error)
    assert THREE in str(error).replace("\\n", "\n")
    if APIS[api].sdk == OLLAMA:
        assert isinstance(error, ollama.ResponseError)
        assert error.error == THREE
        return
    body = body_of(error)
    assert (body["message"], body["code"], body["limit"]) == (THREE, "idle", "idle")
    assert (body["source"], body["elapsed"], body["change"]) == ("default", 78.3, "idle: 90")


def raised(api: str, told: Told) -> BaseException | None:
    with Peer(Said(refused(of(api), told), status=told.status, headers=NO_RETRY)) as peer:
        return How(api, ours=None).call(peer.url, "m").error


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (502, openai.InternalServerError),
        (503, openai.InternalServerError),
        (504, openai.InternalServerError),
    ],
)
def test_openai_raises_its_own_class_and_knows_type_and_code(status: int, kind: type[Exception]) -> None:
    told = Told.of(status, "a_code", "no")
    error = raised(OPENAI, told)
    assert isinstance(error, openai.APIError)
    assert type(error) is kind
    assert (error.type, error.code, error.param) == (told.type, "a_code", None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (413, anthropic.RequestTooLargeError),
        (429, anthropic.RateLimitError),
        (502, anthropic.InternalServerError),
        (503, anthropic._exceptions.ServiceUnavailableError),
        (504, anthropic._exceptions.GatewayTimeoutError),
    ],
)
def test_anthropic_raises_its_own_class_and_knows_type_and_code(status: int, kind: type[Exception]) -> None:
    error = raised(ANTHROPIC, Told.of(status, "a_code", "no"))
    assert isinstance(error, anthropic.APIStatusError)
    assert type(error) is kind
    assert (error.api_message, error.error_code) == ("no", "a_code")
    assert error.type is not None
    assert error.type.endswith("_error") or status == 413


# -- after it ---------------------------------------------------------------------------------------------------


@each_api
@both_ways
@pytest.mark.parametrize("begun", [False, True], ids=["at once", "halfway"])
def test_a_broken_stream_raises_after_the_text_so_far(api: str, asynchronous: bool, begun: bool, lab: Lab) -> None:
    before = half(lab, api) if begun else ()
    with Peer(streaming(api, *before, broken(of(api), IDLE))) as peer:
        seen = How(api, asynchronous, ours=None).call(peer.url, "m")
        assert len(peer.asked) == 1
    check_broken(api, seen)
    assert bool(seen.text) is begun
    assert text_of("tokens=6").startswith(seen.text)


def check_broken(api: str, seen: Seen) -> None:
    error = seen.error
    if APIS[api].sdk == OLLAMA:
        assert isinstance(error, ollama.ResponseError)
        assert error.error == THREE
        return
    assert isinstance(error, openai.APIError | anthropic.APIStatusError), repr(error)
    body = body_of(error)
    assert (body["message"], body["code"], body["status"]) == (THREE, "idle", 504)
    if isinstance(error, openai.APIError):
        assert (error.message, error.type, error.code) == (THREE, "timeout", "idle")
    else:
        assert (error.api_message, error.type, error.error_code) == (THREE, "timeout_error", "idle")


@each_api
def test_after_signs_it_raises_the_same(api: str) -> None:
    for form in forms_of(of(api), streamed=True):
        signs = sign(of(api), form, HEADING, begun=False)
        with Peer(streaming(api, signs, signs, broken(of(api), IDLE))) as peer:
            check_broken(api, How(api, ours=None).call(peer.url, "m"))


@each_api
def test_wherever_an_event_was_torn_it_is_no_success(api: str, lab: Lab) -> None:
    """What the client raises then is its own affair."""
    first = next(event for event in events(lab, api) if b"{" in event)
    cuts = (1, 3, 5, 6, 7, 12, 30, len(first) // 2, len(first) - 2, len(first) - 1)
    torn = [first[:cut] for cut in cuts] + ([] if of(api).lines else [b": pin"])
    last = broken(of(api), IDLE, torn=True)
    with Peer(*(streaming(api, piece, last) for piece in torn)) as peer:
        for piece in torn:
            assert How(api, ours=None).call(peer.url, "m").error is not None, piece


@each_api
@streamed_or_not
def test_on_a_client_of_ours_it_raises_too(api: str, streamed: bool, lab: Lab) -> None:
    """Unstreamed it is streamed underneath, and the error has the status that it would have had before the stream."""
    with Peer(streaming(api, *half(lab, api), broken(of(api), IDLE))) as peer:
        seen = How(api, streamed=streamed).call(peer.url, "m")
        assert len(peer.asked) == 1
    if streamed:
        check_broken(api, seen)
    else:
        assert getattr(seen.error, "status_code", None) == 504
    assert not isinstance(seen.error, GenerationTimeout)


def test_a_watch_above_a_bare_client_lets_it_pass(lab: Lab) -> None:
    with Peer(streaming(OPENAI, *half(lab, OPENAI), broken(of(OPENAI), IDLE))) as peer:
        client = sync_client(OPENAI, peer.url, None)
        with pytest.raises(openai.APIError, match="stuck"):
            list(hangtight.watch(lambda: APIS[OPENAI].ask(client, "m", True)))
        client.close()


# -- signs of life ----------------------------------------------------------------------------------------------


def helped_chat(client: Any) -> Any:
    with client.chat.completions.stream(model="m", messages=MESSAGES) as stream:
        return stream.get_final_completion()


def helped_response(client: Any) -> Any:
    with client.responses.stream(model="m", input="?") as stream:
        return stream.get_final_response()


def helped_message(client: Any) -> Any:
    with client.messages.stream(model="m", messages=MESSAGES, max_tokens=99) as stream:
        return stream.get_final_message()


HELPERS: dict[str, Callable[[Any], Any]] = {
    OPENAI: helped_chat,
    "responses": helped_response,
    ANTHROPIC: helped_message,
}
OURS = ("id", "created", "model")
"""The helper takes them from the first chunk, which may be ours."""


def with_signs(api: str, form: Form, stream: tuple[bytes, ...]) -> Said:
    """Two signs before the first event, and one after each but the finish and what comes behind it."""
    early, late = (sign(of(api), form, HEADING, begun=begun) for begun in (False, True))
    ends = finish_of(stream)
    between = [piece for event in stream[:ends] for piece in (event, late)]
    return streaming(api, early, early, *between, *stream[ends:])


def finish_of(stream: tuple[bytes, ...]) -> int:
    """The place of the event that finishes the answer."""
    words = (b'"finish_reason":"', b"message_delta", b"response.completed", b'"done":true')
    return next(place for place, event in enumerate(stream) if any(word in event for word in words))


FORMS = [(api, form) for api in PATHS for form in forms_of(of(api), streamed=True)[:-1]]
each_form = pytest.mark.parametrize(("api", "form"), FORMS, ids=lambda value: str(value))


@each_form
@both_ways
@pytest.mark.parametrize("script", [THOUGHTFUL, CALLING])
def test_signs_leave_the_text_as_it_is(api: str, form: Form, asynchronous: bool, script: str, lab: Lab) -> None:
    stream = events(lab, api, script)
    with Peer(streaming(api, *stream), with_signs(api, form, stream)) as peer:
        how = How(api, asynchronous, ours=None)
        bare, seen = how.call(peer.url, "m"), how.call(peer.url, "m")
    assert seen.error is None, repr(seen.error)
    assert seen.text == bare.text
    assert seen.items - bare.items == seen_of(form, api, finish_of(stream))


def seen_of(form: Form, api: str, between: int) -> int:
    """How many signs reach the program above the client."""
    if form is Form.EMPTY_DELTA:
        return between + 2
    return between if form is Form.PING and api != ANTHROPIC else 0


@pytest.mark.parametrize(("api", "form"), [(api, form) for api, form in FORMS if api in HELPERS], ids=str)
@pytest.mark.parametrize("script", [THOUGHTFUL, CALLING])
def test_what_the_helpers_put_together_is_the_same_answer(api: str, form: Form, script: str, lab: Lab) -> None:
    stream = events(lab, api, script)
    with Peer(streaming(api, *stream), with_signs(api, form, stream)) as peer:
        client = sync_client(APIS[api].sdk, peer.url, None)
        bare, seen = HELPERS[api](client).model_dump(), HELPERS[api](client).model_dump()
        client.close()
    changed = OURS if form is Form.EMPTY_DELTA else ()
    assert {**seen, **dict.fromkeys(changed)} == {**bare, **dict.fromkeys(changed)}


@each_form
def test_on_a_client_of_ours_an_answer_that_is_put_together_is_the_same(api: str, form: Form, lab: Lab) -> None:
    stream = events(lab, api)
    with Peer(streaming(api, *stream), with_signs(api, form, stream)) as peer:
        how = How(api, streamed=False)
        bare, seen = how.call(peer.url, "m"), how.call(peer.url, "m")
    assert (seen.error, seen.text) == (None, bare.text)
    assert seen.text


@each_api
@both_ways
def test_white_space_before_a_body_is_no_part_of_it(api: str, asynchronous: bool, lab: Lab) -> None:
    asked = {"model": "tokens=3,rate=2000", "stream": False, "max_tokens": 99, "messages": MESSAGES, "prompt": "?"}
    body = httpx.post(lab.url + PATHS[api], json={**asked, "input": "?"}).content
    space = sign(of(api), Form.WHITE_SPACE, HEADING, streamed=False)
    with Peer(Said(pieces=(space, space, body))) as peer:
        seen = How(api, asynchronous, streamed=False, ours=None).call(peer.url, "m")
    assert (seen.error, seen.text) == (None, text_of("tokens=3"))


# -- why it is as it is -----------------------------------------------------------------------------------------


def test_an_empty_line_between_lines_would_break_ollamas_client(lab: Lab) -> None:
    first, *rest = events(lab, OLLAMA)
    with Peer(streaming(OLLAMA, first, b"\n", *rest)) as peer:
        assert isinstance(How(OLLAMA, ours=None).call(peer.url, "m").error, json.JSONDecodeError)


def test_the_error_event_of_the_responses_api_alone_raises_nothing() -> None:
    told = {"type": "error", "code": "idle", "message": THREE, "param": None, "sequence_number": 0}
    with Peer(streaming("responses", b"event: error\ndata: " + json.dumps(told).encode() + b"\n\n")) as peer:
        assert How("responses", ours=None).call(peer.url, "m").error is None


def test_a_comment_after_an_id_breaks_openais_client_and_an_empty_delta_does_not(lab: Lab) -> None:
    """It keeps the id of the stream, as the standard says, and then takes an empty line for an event."""
    first, *rest = events(lab, OPENAI)
    for form, breaks in ((Form.COMMENT, True), (Form.EMPTY_DELTA, False)):
        signs = sign(of(OPENAI), form, HEADING)
        with Peer(streaming(OPENAI, b"id: 1\n" + first, signs, *rest)) as peer:
            assert (How(OPENAI, ours=None).call(peer.url, "m").error is not None) is breaks
