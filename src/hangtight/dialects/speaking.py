"""What we say to a client ourselves, in the API that it speaks: a refusal, the end of a broken stream, a sign of life.

All JSON is plain ASCII. Some clients take any Unicode line break for the end of a line, and no name of a model may
end one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from math import isfinite
from typing import Any, Final, NamedTuple

from hangtight.core.telling import WHY
from hangtight.dialects.dialect import Body, Dialect
from hangtight.errors import BackendError, BudgetSpent, GenerationTimeout, HangtightError, SettingsError, Truncated

ANTHROPIC: Final = "anthropic"
RESPONSES: Final = "openai-responses"
COMPLETIONS: Final = "openai-completions"
GENERATE: Final = "ollama-generate"

# -- what there is to say -------------------------------------------------------------------------------------

Plain = str | int | float | None

BAD_REQUEST: Final = 400
BAD_GATEWAY: Final = 502
TIMED_OUT: Final = 504
OURS: Final = 500
PASSED_ON: Final = (400, 404, 409, 413, 422, 429, 503, TIMED_OUT)
"""Statuses of a model's server that mean the same to our client. A 401, say, is about our key there, not about his."""

TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    OURS: "server_error",
    BAD_GATEWAY: "upstream_error",
    503: "overloaded",
    TIMED_OUT: "timeout",
}
"""The type of an error by its status; any other below 500 is a request that cannot be meant."""

FACTS: Final = ("limit", "source", "elapsed", "waited", "model", "tokens")
OF_BUDGETS: Final = ("step", "total", "elapsed", "remaining", "needed")
CHANGE: Final = ":  "
"""Stands before the line to change, in the last line of an error."""
FIXED: Final = ("message", "type", "code", "status", "error", "details")
"""No further field takes the name of one of these."""
DIGITS: Final = 3


class Told(NamedTuple):
    """An error as its client is told of it, whatever the API."""

    status: int
    type: str
    """The kind: `timeout`, `overloaded`, ..."""
    code: str
    """Of a timeout the row of the time contract: `idle`, `total`, ...; else a word of ours, as `circuit_open`."""
    message: str
    more: Mapping[str, Plain] = {}
    """Further fields of the error. Those that say nothing are left out."""

    @classmethod
    def of(cls, status: int, code: str, message: str, **more: Plain) -> Told:
        """An error of the type that goes with its status."""
        kind = TYPES.get(status) or (TYPES[OURS] if status >= OURS else "invalid_request_error")
        return cls(status, kind, code, message, more)

    def adding(self, **more: Plain) -> Told:
        """The same with more fields: the id of the generation, say."""
        return self._replace(more={**self.more, **more})


def told_of(error: HangtightError) -> Told:
    """An error of ours, without the text of the model."""
    match error:
        case GenerationTimeout():
            facts = {name: getattr(error, name) for name in FACTS}
            return Told.of(TIMED_OUT, error.limit, str(error), **facts, change=_change(str(error)))
        case BudgetSpent():
            words = "\n".join((str(error), *getattr(error, "__notes__", ())))
            facts = {name: getattr(error, name) for name in OF_BUDGETS}
            return Told.of(TIMED_OUT, "budget", words, **facts, change=_change(words))
        case SettingsError():
            return Told.of(BAD_REQUEST, "settings", str(error), param=error.name)
        case BackendError(status=status):
            passed = status if status is not None and status in PASSED_ON else BAD_GATEWAY
            if error.code:  # the status is ours
                return Told.of(passed, error.code, str(error), elapsed=error.elapsed)
            code = "truncated" if isinstance(error, Truncated) else "backend"
            return Told.of(passed, code, str(error), elapsed=error.elapsed, upstream_status=status)
        case _:
            return Told.of(OURS, "internal", str(error))


def _change(message: str) -> str:
    """The line to change, out of `to wait longer:  idle = 90      why: hangtight log 7f3a`."""
    return message.rpartition("\n")[2].partition(CHANGE)[2].partition(WHY)[0].strip()


# -- an error -------------------------------------------------------------------------------------------------

ANTHROPICS: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    TIMED_OUT: "timeout_error",
    529: "overloaded_error",
}
"""The types that clients of Anthropic's know; any other below 500 is an `invalid_request_error`, else `api_error`."""


def refused(dialect: Dialect | None, told: Told) -> bytes:
    """The body of a refusal before the first byte. Where no API is known it is OpenAI's, which most can read."""
    return _json(_error(dialect, told))


def broken(dialect: Dialect, told: Told, *, torn: bool = False) -> bytes:
    """The last that a stream says when it was broken. Nothing may follow: no client may take it for a success.

    `torn` says that the stream stands within an event. The client then fails at that event, and with another error.
    """
    # The status line has said 200, so the status stands in the error.
    body = _error(dialect, told, status=told.status)
    if dialect.lines:
        return b"\n" * torn + _json(body) + b"\n"
    border = b"\n\n" * torn  # without it what is torn, a comment perhaps, would take our first line with it
    if dialect.name == ANTHROPIC:
        return border + _event("error", body)
    if dialect.name == RESPONSES:
        # The API has these fields beside each other. Its client raises for one named `error` only, and hands out the
        # rest like any event: so it stands in both ways. `response.failed` would be an end mark.
        flat = {name: body["error"][name] for name in ("message", "param", "code")}
        return border + _event("error", {"type": "error", "sequence_number": 0, **flat, **body})
    # Without an end mark: who does not look for errors must not find a whole answer.
    return border + _event("", body)


def _error(dialect: Dialect | None, told: Told, **status: int) -> Body:
    more = {name: _rounded(value) for name, value in told.more.items() if name not in FIXED and _says(value)} | status
    if dialect is not None and dialect.lines:
        return {"error": told.message, "type": told.type, "code": told.code, **more}
    if dialect is not None and dialect.name == ANTHROPIC:
        kind = ANTHROPICS.get(told.status) or ("api_error" if told.status >= OURS else "invalid_request_error")
        details = {"error_code": told.code}  # what its client has as `.error_code`
        error = {"type": kind, "message": told.message, "code": told.code, "details": details, **more}
        return {"type": "error", "error": error}
    return {"error": {"message": told.message, "type": told.type, "param": None, "code": told.code, **more}}


def _says(value: Plain) -> bool:
    return value not in (None, "") and not (isinstance(value, float) and not isfinite(value))


def _rounded(value: Plain) -> Plain:
    return round(value, DIGITS) if isinstance(value, float) else value


# -- a sign of life -------------------------------------------------------------------------------------------


class Form(StrEnum):
    """What a sign of life looks like."""

    COMMENT = "comment"
    """A line that every reader of events skips. It keeps proxies and read timeouts quiet, not timers of events."""
    PING = "ping"
    """The event without content that the API has for this."""
    EMPTY_DELTA = "empty-delta"
    """A piece of the answer in which nothing stands."""
    WHITE_SPACE = "white-space"
    """Before JSON, where it means nothing."""
    OFF = "off"


IN_EVENTS: Final[Mapping[str, tuple[Form, ...]]] = {
    # Deltas of these two belong to a block that must be open, and the client counts the blocks.
    ANTHROPIC: (Form.COMMENT, Form.PING, Form.OFF),
    RESPONSES: (Form.COMMENT, Form.PING, Form.OFF),
}
IN_CHUNKS: Final = (Form.COMMENT, Form.EMPTY_DELTA, Form.OFF)
IN_LINES: Final = (Form.EMPTY_DELTA, Form.WHITE_SPACE, Form.OFF)
"""An empty line is none of them: Ollama's client takes each line for JSON."""
IN_A_BODY: Final = (Form.OFF, Form.WHITE_SPACE)

PINGS: Final[Mapping[str, bytes]] = {
    ANTHROPIC: b'event: ping\ndata: {"type":"ping"}\n\n',
    RESPONSES: b'event: keepalive\ndata: {"type":"keepalive","sequence_number":0}\n\n',
}
WAITING: Final = "hangtight: still waiting"


class Heading(NamedTuple):
    """What each chunk of an answer says again."""

    model: str
    id: str = ""
    created: int = 0
    """Seconds since 1970."""


def forms_of(dialect: Dialect | None, *, streamed: bool) -> tuple[Form, ...]:
    """The forms that clients of this API survive, the best first. What is not ours to read has none."""
    if dialect is None:
        return (Form.OFF,)
    if not streamed:
        return IN_A_BODY
    return IN_LINES if dialect.lines else IN_EVENTS.get(dialect.name, IN_CHUNKS)


def form_for(dialect: Dialect | None, *, streamed: bool, wanted: Form | None = None) -> Form:
    """The form that was asked for, where this API has it; else its own."""
    forms = forms_of(dialect, streamed=streamed)
    return wanted if wanted in forms else forms[0]


def default_form(dialect: Dialect | None, *, streamed: bool) -> Form:
    """The form where nobody asked for one."""
    return form_for(dialect, streamed=streamed)


def sign(
    dialect: Dialect, form: Form, heading: Heading, *, streamed: bool = True, begun: bool = True, words: str = WAITING
) -> bytes:
    """A sign of life, to stand between two events, never within one nor behind the finish. `words` stand in a comment.

    A form that this API has not becomes its own. Before an answer has `begun` some clients take nothing but its first
    event: then a ping is a comment too. White space must be followed by a line, or by the body.
    """
    match form_for(dialect, streamed=streamed, wanted=form):
        case Form.PING if begun or dialect.name != RESPONSES:
            return PINGS[dialect.name]
        case Form.COMMENT | Form.PING:
            # An empty line behind it, for readers that cut at empty lines and look only at how a piece begins.
            return b": " + " ".join(words.split()).encode("utf-8", "replace") + b"\n\n"
        case Form.EMPTY_DELTA:
            chunk = _empty(dialect.name, heading)
            return _json(chunk) + b"\n" if dialect.lines else _event("", chunk)
        case Form.WHITE_SPACE:
            return b" "
        case Form.OFF:  # pragma: no branch - mypy holds that there is no other
            return b""


def thought(heading: Heading, text: str) -> bytes:
    """Reasoning of ours in a stream of OpenAI's chats.

    No role stands in it: the server's first chunk has one, and OpenAI's own client puts the two together.
    """
    return _event("", _chunk(heading, {"delta": {"reasoning_content": text}}))


def _empty(name: str, heading: Heading) -> Body:
    """A chunk that adds nothing to the answer: not even an empty text, which a call of a tool has no place for."""
    if name.startswith("ollama"):
        said: Body = {"response": ""} if name == GENERATE else {"message": {"role": "assistant", "content": ""}}
        at = datetime.fromtimestamp(heading.created, UTC).isoformat().replace("+00:00", "Z")
        return {"model": heading.model, "created_at": at, **said, "done": False}
    if name == COMPLETIONS:
        return _chunk(heading, {"text": ""}, "text_completion")
    return _chunk(heading, {"delta": {}})


def _chunk(heading: Heading, piece: Body, kind: str = "chat.completion.chunk") -> Body:
    choice = {"index": 0, **piece, "logprobs": None, "finish_reason": None}
    top = {"id": heading.id, "object": kind, "created": heading.created, "model": heading.model}
    return {**top, "choices": [choice]}


# -- bytes ----------------------------------------------------------------------------------------------------


def _event(name: str, data: Body) -> bytes:
    named = b"event: " + name.encode() + b"\n" if name else b""
    return named + b"data: " + _json(data) + b"\n\n"


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
