"""One request of a client: what it asks of a model, under which terms, and what is sent for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

from hangtight.core.attempts import Attempts
from hangtight.core.limits import checked, length
from hangtight.core.phases import Phase
from hangtight.core.resolve import MODES, Situation
from hangtight.core.telling import Door
from hangtight.core.time import FOREVER, Instant, Seconds, between, plain
from hangtight.dialects.dialect import Body, Dialect, dialect_for
from hangtight.dialects.quick import loader, patient_load
from hangtight.drivers.clock import Timepiece
from hangtight.drivers.faults import attempt_of, fault_of, tell
from hangtight.drivers.handover import handed
from hangtight.drivers.http.sdk import dressed
from hangtight.drivers.servers import is_nearby
from hangtight.drivers.session import Session
from hangtight.drivers.terms import AROUND, Given, Listener, Terms, rounded, terms_of
from hangtight.errors import BackendError, HangtightError, SettingsError

DOOR = Door("hangtight.http.client(..., {name}={value})")
RETRIES = b"x-stainless-retry-count"
HEADERS: Mapping[bytes, str] = {
    b"x-hangtight-total": "total",
    b"x-hangtight-first-token": "first_token",
    b"x-hangtight-idle": "idle",
}
MODE = b"x-hangtight-mode"
READABLE = (None, b"identity", b"gzip", b"deflate", b"gzip, deflate")
"""Kinds of compression that an answer may have: those that the standard library reads."""
DEFAULTS_OF_CLIENTS = ({"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}, {"connect": 5.0, "read": 600})
"""What httpx, and what the SDKs give where nobody gave anything."""

FIRST: ContextVar[tuple[int, Instant]] = ContextVar("hangtight-first-attempt")
"""The request that an SDK may try again from this context, and when its call began."""


REFUSED_FORM = (400, 405, 415, 422, 501)
"""How servers say that they do not know a field, or do not stream."""


class Again(Exception):
    """The request is sent once more: in another form, or to another model."""


class Plan(Enum):
    """How a request is sent."""

    STREAMED = "as it is: it asks for a stream"
    UPGRADED = "as one for a stream, whose answer is put together again"
    UNSTREAMED = "as it is: its answer comes whole"
    FOREIGN = "as it is: it asks no model for text"


@dataclass(slots=True)
class Targets:
    """What servers have shown: who takes a request for a stream in place of one for the whole."""

    takes: dict[tuple[str, str], bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client of ours was made with."""

    given: Given
    fallback: tuple[str, ...] = ()
    on_heartbeat: Listener | None = None
    targets: Targets = field(default_factory=Targets)


class Call:
    """A request on its way, through as many attempts as its terms allow."""

    def __init__(self, lib: Any, request: Any, settings: Settings, timepiece: Timepiece) -> None:
        self.lib = lib
        self.request = request
        self.settings = settings
        self.timepiece = timepiece
        self.watching = handed()
        self.body, self.dialect = _question(request)
        self.model: str | None = None
        self._headers = {name.lower(): value for name, value in request.headers.raw}
        self.place = f"{request.url.host}:{request.url.port or ''}"
        if self.body is not None:
            name = self.body.get("model")
            self.model = name if isinstance(name, str) and name else None
        self.plan = self._plan()
        self._reformed = False
        self.terms = self._terms()
        self.born = self._born()
        fallback = settings.fallback if self.model and self.dialect else ()
        self.attempts = Attempts([self.model or "", *fallback], self.born)
        self._earlier = Seconds(0.0)
        self._left: Seconds = FOREVER

    # -- what is sent -----------------------------------------------------------------------------------------

    def _plan(self) -> Plan:
        if self.dialect is None or self.body is None:
            return Plan.FOREIGN
        if self.dialect.streams(self.body):
            return Plan.STREAMED
        if self.settings.targets.takes.get(self._target) is False or self.dialect.upgraded(self.body) is None:
            return Plan.UNSTREAMED
        return Plan.UPGRADED

    @property
    def _target(self) -> tuple[str, str]:
        return f"{self.place}{self.request.url.path}", self.model or ""

    def answered(self, *, streamed: bool) -> None:
        """Remember whether this target streams an answer that was wanted whole."""
        takes = self.settings.targets.takes
        if self.plan is Plan.UPGRADED:
            takes[self._target] = streamed
        elif self._reformed:  # one that has streamed before refused something else, this time
            takes.setdefault(self._target, False)

    def to_send(self) -> Any:
        """The request of the attempt whose turn it is. The only clocks are ours."""
        request, body, dialect = self.request, self.body, self.dialect
        timeout = request.extensions.get("timeout") or {}
        extensions = {**request.extensions, "timeout": {"connect": timeout.get("connect"), "pool": None}}
        if body is None or dialect is None:
            request.extensions = extensions
            return request
        content = self._content(body, dialect)
        sent = self.lib.Request.__new__(self.lib.Request)  # parsing it once was enough, and `copy` drops its stream
        sent.__dict__.update(request.__dict__)
        sent.extensions = extensions
        is_changed = content is not request.content
        if is_changed or self._headers.get(b"accept-encoding") not in READABLE:
            sent.headers = request.headers.copy()
            sent.headers["accept-encoding"] = "identity"
        if is_changed:
            sent.headers["content-length"] = str(len(content))
            sent.stream, sent._content = self.lib.ByteStream(content), content
        return sent

    def _content(self, body: Body, dialect: Dialect) -> bytes:
        model = self.attempts.model
        if self.plan is not Plan.UPGRADED and model == (self.model or ""):
            content: bytes = self.request.content
            return content
        if self.plan is Plan.UPGRADED:
            body = dialect.upgraded(body) or body
        asked = {**body, "model": model} if model else body
        return json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")

    def may_ask_again(self, status: int) -> bool:
        """Whether this refusal need not be the caller's: its body has to be looked at."""
        return self._may_be_about_the_form(status) or (self.dialect is not None and self.attempts.may_change)

    def _may_be_about_the_form(self, status: int) -> bool:
        """It was upgraded: what would be taken as it was must not fail for what we made of it."""
        return self.plan is Plan.UPGRADED and status in REFUSED_FORM

    def refused(self, error: BackendError, session: Session) -> None:
        """Raises Again where something else can be tried after this refusal; else it is for the caller."""
        if error.status is not None and self._may_be_about_the_form(error.status):
            self.plan = Plan.UNSTREAMED
            self._reformed = True
            raise Again
        if self.goes_on(error, session):
            raise Again

    # -- under which terms ------------------------------------------------------------------------------------

    def _terms(self) -> Terms:
        request, body, dialect = self.request, self.body, self.dialect
        places = (*_in_headers(self._headers), *AROUND.get(), self.settings.given, *_in_timeout(request.extensions))
        nearby = nearby_host(request.url.host)
        if body is None or dialect is None:
            situation = Situation(nearby=nearby, generates=False)
        else:
            tokens = rounded(dialect.prompt_tokens(body))
            situation = Situation(prompt_tokens=tokens, nearby=nearby, reasons=dialect.reasons(body))
        terms = terms_of(*filter(None, places), door=DOOR, situation=situation)
        return self.watching.terms.on_top_of(terms) if self.watching is not None and dialect is not None else terms

    def _born(self) -> Instant:
        """When the call began: a watch around it began before, and an SDK's own retry is the same call."""
        now = self.timepiece.now()
        if self.watching is not None and self.dialect is not None:
            now = min(now, self.watching.machine.born)
        count = self._headers.get(RETRIES)
        if count is None or self.body is None:
            return now
        key = hash((self.request.url.raw_path, self.request.content))
        first = FIRST.get((0, now))
        if count not in (b"", b"0") and first[0] == key:
            return min(now, first[1])
        FIRST.set((key, now))
        return now

    def session(self) -> Session:
        """The clocks of the attempt whose turn it is; they run from now on."""
        unstreamed = self.plan in (Plan.UNSTREAMED, Plan.FOREIGN)
        watching = self.watching if self.dialect is not None else None
        session = Session(
            self.terms if self._left == FOREVER else self.terms.within(self._left),
            self.timepiece.now,
            model=self.attempts.model or (watching.model if watching else None),
            on_heartbeat=(watching and watching.on_heartbeat) or self.settings.on_heartbeat,
            phase=Phase.UNSTREAMED if unstreamed else Phase.WAITING,
            place=self.timepiece.place,
            host=self.place,
        )
        if self._left == FOREVER:
            session.machine.date_back(self.born)
        session.machine.earlier = self._earlier
        if watching is not None and not watching.stands_aside and watching.machine.outcome is None:
            session.take_over(watching)
        return session

    def goes_on(self, error: BaseException, session: Session) -> bool:
        """Whether another model is asked after this error."""
        fault = fault_of(error)
        if fault is None or self.dialect is None:
            return False
        attempts, now = self.attempts, session.clock()
        elapsed = between(self.born, now)
        attempt = attempt_of(error, fault, model=session.machine.model, elapsed=elapsed, tokens=session.machine.tokens)
        following = attempts.failed(attempt, now, length(session.resolved.limits.total))
        tell(error, attempts.told)
        if following is None:
            return False
        self._left, self._earlier = following.left, Seconds(now - self.born)
        self.plan = self._plan()
        return True

    def for_the_caller(self, error: HangtightError) -> HangtightError:
        """An error of ours as the client library above lets it pass, with all that was tried before it."""
        told = self.attempts.told
        if told and error.attempts[-1:] != told[-1:]:
            tell(error, (*told, *error.attempts))
        return dressed(error, self.request.headers)


@lru_cache(maxsize=256)
def nearby_host(host: str) -> bool:
    return is_nearby(host)


def _question(request: Any) -> tuple[Body | None, Dialect | None]:
    """The JSON that is asked, and the API in which; None where it is not for us to understand."""
    if request.method != "POST" or (dialect := dialect_for(request.url.path)) is None:
        return None, None
    try:
        content = request.content
        try:
            body = loader()(content)
        except ValueError:  # the quick reader is strict
            body = patient_load(content)
    except (ValueError, RecursionError, RuntimeError):  # RequestNotRead: it is sent as it is made
        return None, None
    return (body, dialect) if isinstance(body, dict) else (None, None)


def _in_headers(headers: Mapping[bytes, bytes]) -> list[Given]:
    found: list[Given] = []
    for header, name in HEADERS.items():
        if (raw := headers.get(header)) is not None:
            shown, text = header.decode().title(), raw.decode("latin-1")
            change = f"extra_headers={{{{'{shown}': '{{value}}'}}}}"
            found.append(Given(shown, ((name, _seconds(shown, text)),), change=change))
    if (raw := headers.get(MODE)) is not None:
        shown, mode = MODE.decode().title(), raw.decode("latin-1")
        if mode not in MODES:
            raise SettingsError(shown, mode, f"one of {', '.join(MODES)}")
        found.append(Given(shown, mode=mode))
    return found


def _seconds(header: str, text: str) -> float | None:
    if text.strip().lower() == "none":
        return None
    try:
        number = float(text)
    except ValueError:
        raise SettingsError(header, text, "a number of seconds, or none for no limit") from None
    return checked(header, number)


def _in_timeout(extensions: Mapping[str, Any]) -> list[Given]:
    """A timeout that somebody gave to the client library; its defaults say nothing."""
    timeout = extensions.get("timeout") or {}
    read = timeout.get("read")
    if read is None or any(usual.items() <= timeout.items() for usual in DEFAULTS_OF_CLIENTS):
        return []
    source = f"timeout={plain(read)} of the client library"
    return [Given(source, (("first_token", read), ("idle", read)), change="timeout={value}", cuts=True)]
