"""One call of a client, through as many attempts as its terms allow: what is sent, and for how long."""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from hangtight.core.attempts import Attempts, Fault
from hangtight.core.layers import Resolved
from hangtight.core.limits import length
from hangtight.core.phases import Phase
from hangtight.core.telling import Door
from hangtight.core.time import Instant, Seconds, between
from hangtight.dialects.exchanges import exchanges, last_prompt
from hangtight.drivers.clock import Timepiece
from hangtight.drivers.faults import attempt_of, fault_of, tell
from hangtight.drivers.given import AROUND, Given, Listener
from hangtight.drivers.handover import handed
from hangtight.drivers.http.asked import Asked, in_timeout
from hangtight.drivers.http.sdk import dressed
from hangtight.drivers.http.sending import PIECE, sending_kind
from hangtight.drivers.session import Session
from hangtight.drivers.terms import Terms, terms_of
from hangtight.errors import BackendError, HangtightError

RETRIES = b"x-stainless-retry-count"
BORN = "hangtight-born"
"""Under this name a request carries when its call began, through the redirects of its client."""
READABLE = (None, b"identity", b"gzip", b"deflate", b"gzip, deflate")
"""Kinds of compression that an answer may have: those that the standard library reads."""
REFUSED_FORM = (400, 405, 415, 422, 501)
"""How servers say that they do not know a field, or do not stream."""
REMEMBERED = Seconds(600.0)  # for so long a server is not asked again for a stream that it refused

FIRST: ContextVar[tuple[int, Instant]] = ContextVar("hangtight-first-attempt")
"""The request that an SDK may try again from this context, and when its call began."""


class Again(Exception):
    """The request is sent once more: in another form, or to another model."""


class Plan(Enum):
    """How a request is sent."""

    STREAMED = "as it is: it asks for a stream"
    UPGRADED = "as one for a stream, whose answer is put together again"
    UNSTREAMED = "as it is: its answer comes whole"
    FOREIGN = "as it is: it asks no model for text"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client of ours was made with, and what it has seen of servers."""

    given: Given
    door: Door
    fallback: tuple[str, ...] | None = None
    """None where nothing was said: then the settings may name some."""
    on_heartbeat: Listener | None = None
    within_httpx: bool = False
    """A transport in a client that somebody else made: that one's default timeouts mean nothing."""
    refused: dict[tuple[str, str, str], Instant] = field(default_factory=dict)
    """Who did not stream an answer that was wanted whole, and when."""


class Call:
    """The attempts of one request of this library, `httpx2` or `httpx`."""

    def __init__(self, lib: Any, request: Any, settings: Settings, timepiece: Timepiece) -> None:
        self.lib = lib
        self.request = request
        self.settings = settings
        self.timepiece = timepiece
        self.asked = asked = self._read(request)
        watching = handed() if asked.dialect is not None else None
        self.watching = watching
        self.timeout: dict[str, Any] = request.extensions.get("timeout") or {}
        self.terms = self._terms()
        self.born = self._born()
        chained = watching is not None and watching.chained
        fallback: tuple[str, ...] = ()
        if asked.model and asked.dialect is not None and not chained:
            fallback = self._stand_ins()
        self.attempts = Attempts([asked.model, *fallback], self.born, self.terms.predict)
        if fallback:
            self.attempts.skip_unfit(self.terms.resolved(None, False, asked.model).clocks.total)
        self._reformed = False
        self.plan = self._plan()
        self._left: Seconds | None = None
        self._earlier = Seconds(0.0)
        self._before: Session | None = None
        self.id = ""
        """Under which id the journal shall have the first attempt; nothing where any is right."""
        self.asker: Session | None = None
        """For whom of this process our own gateway makes this call."""

    def _read(self, request: Any) -> Asked:
        return Asked(request)

    def _stand_ins(self) -> tuple[str, ...]:
        """The models that are asked where the first one fails."""
        named = self.settings.fallback
        return self.terms.fallback(self.asked.model) if named is None else named

    # -- under which terms ------------------------------------------------------------------------------------

    def _terms(self) -> Terms:
        asked, settings = self.asked, self.settings
        cut = in_timeout(self.timeout, defaults_of_httpx=settings.within_httpx)
        places = (*asked.in_headers(), *AROUND.get(), settings.given, *cut)
        terms = terms_of(*filter(None, places), door=settings.door, situation=asked.situation())
        watching = self.watching
        return (terms if watching is None else watching.terms.on_top_of(terms, silent=not watching.tokens)).here()

    def _born(self) -> Instant:
        """When the call began: a watch around it began before; a redirect and an SDK's own retry are the same call."""
        now, request = self.timepiece.now(), self.request
        born: Instant = min(now, request.extensions.get(BORN, now))
        if self.watching is not None:
            born = min(born, self.watching.machine.born)
        count = self.asked.headers.get(RETRIES)
        if count is not None and self.asked.dialect is not None:
            key = hash((self.asked.path, request.content))
            first = FIRST.get((0, now))
            if count not in (b"", b"0") and first[0] == key:
                born = min(born, first[1])
            else:
                FIRST.set((key, born))
        request.extensions[BORN] = born
        return born

    def session(self) -> Session:
        """The clocks of the attempt whose turn it is; they run from now on."""
        watching = self.watching
        session = Session(
            (self.terms if self._left is None else self.terms.within(self._left)).for_turn(self.attempts),
            self.timepiece,
            model=self.attempts.model or (watching.model if watching else None),
            on_heartbeat=(watching and watching.on_heartbeat) or self.settings.on_heartbeat,
            phase=Phase.UNSTREAMED if self.plan in (Plan.UNSTREAMED, Plan.FOREIGN) else Phase.WAITING,
            host=self._host(),
        )
        session.attempts, session.hidden = self.attempts.told, self.plan is not Plan.STREAMED
        session.machine.earlier = self._earlier
        if self._before is None:
            session.wanted_id = self.id
        if self.asker is not None:
            session.stand_for(self.asker)
        if watching is not None and not watching.stands_aside and watching.machine.outcome is None:
            session.take_over(watching, whole=self._left is None)
        body = self.asked.body
        session.prompt, session.history = partial(last_prompt, body), partial(exchanges, body)
        session.others = partial(self._has_another, session.resolved)
        return session.begin(before=self._before, born=self.born if self._left is None else None)

    def _host(self) -> str | None:
        """Where its model stays in memory; None where it does not, and each request loads it anew."""
        return self.asked.place

    def _has_another(self, resolved: Resolved) -> bool:
        """Whether another model would take over now: one of ours, or of the watch."""
        attempts, watching = self.attempts, self.watching
        if not attempts.may_change:
            return watching is not None and watching.others()
        return attempts.has_another(self.timepiece.now(), length(resolved.limits.total))

    # -- what is sent -----------------------------------------------------------------------------------------

    def _plan(self) -> Plan:
        dialect, body = self.asked.dialect, self.asked.body
        if dialect is None:
            return Plan.FOREIGN
        if dialect.streams(body):
            return Plan.STREAMED
        refused = self.settings.refused.get(self._target)
        known = refused is not None and between(refused, self.timepiece.now()) < REMEMBERED
        return Plan.UNSTREAMED if known or dialect.upgraded(body) is None else Plan.UPGRADED

    @property
    def _target(self) -> tuple[str, str, str]:
        return self.asked.place, self.asked.path, self.attempts.model

    @property
    def goes_to(self) -> tuple[Any, str]:
        """The URL that the attempt whose turn it is asks, and the name that its model has there."""
        return self.request.url, self.attempts.model

    def answered(self, *, streamed: bool) -> None:
        """Remember a target that does not stream an answer that was wanted whole."""
        refuses = self._reformed if self.plan is Plan.UNSTREAMED else self.plan is Plan.UPGRADED and not streamed
        if refuses:
            self.settings.refused[self._target] = self.timepiece.now()

    def to_send(self, session: Session, pool: float | None) -> Any:
        """The request of the attempt whose turn it is. The only clock on its silence is ours."""
        request = self.request
        sent = self.lib.Request.__new__(self.lib.Request)  # to parse it once was enough
        sent.__dict__.update(request.__dict__)
        sent.extensions = {**request.extensions, "timeout": {"connect": self.timeout.get("connect"), "pool": pool}}
        content = self._content()
        if content is not None:
            sent.stream = self.lib.ByteStream(content)
        if self.asked.dialect is None or len(content or request.content) > PIECE:
            sent.stream = sending_kind(self.lib)(sent.stream, session)
        if content is not None or self.asked.headers.get(b"accept-encoding") not in READABLE:
            sent.headers = request.headers.copy()
            sent.headers["accept-encoding"] = "identity"
        if content is not None:
            sent.headers["content-length"] = str(len(content))
            sent.headers.pop("transfer-encoding", None)
            sent._content = content
        return sent

    def _content(self) -> bytes | None:
        """The body that is sent in place of the one that was asked; None where it is the same."""
        asked, model = self.asked, self.attempts.model
        if asked.dialect is None or (self.plan is not Plan.UPGRADED and model == asked.model):
            return None
        body = asked.body if self.plan is not Plan.UPGRADED else asked.dialect.upgraded(asked.body) or asked.body
        body = {**body, "model": model} if model else body
        return json.dumps(body, separators=(",", ":")).encode()

    # -- what is tried after a failure ------------------------------------------------------------------------

    def may_ask_again(self, status: int) -> bool:
        """Whether this refusal need not be the caller's: its body has to be looked at."""
        return self._may_be_about_the_form(status) or (self.asked.dialect is not None and self.attempts.may_change)

    def _may_be_about_the_form(self, status: int | None) -> bool:
        """It was upgraded: what would be taken as it was must not fail for what we made of it."""
        return self.plan is Plan.UPGRADED and status in REFUSED_FORM

    def refused(self, error: BackendError, session: Session) -> None:
        """Raises Again where something else can be tried after this refusal; else it is for the caller."""
        if self._may_be_about_the_form(error.status):
            self.plan, self._reformed, self._before = Plan.UNSTREAMED, True, session
            elapsed = between(self.born, session.clock())
            session.failed_as = attempt_of(error, Fault.REQUEST, model=session.machine.model, elapsed=elapsed)
            raise Again
        if self.goes_on(error, session):
            raise Again

    def goes_on(self, error: BaseException, session: Session) -> bool:
        """Whether another model is asked after this error."""
        fault = fault_of(error)
        if fault is None or self.asked.dialect is None:
            return False
        attempts, now = self.attempts, session.clock()
        elapsed = between(self.born, now)
        attempt = attempt_of(error, fault, model=session.machine.model, elapsed=elapsed, tokens=session.machine.tokens)
        session.failed_as, self._before = attempt, session
        awake = Instant(now - session.machine.given_back)
        following = attempts.failed(attempt, awake, length(session.resolved.limits.total))
        tell(error, attempts.told, attempts.unfit)
        if following is None:
            return False
        self._left, self._earlier = following.left, Seconds(now - self.born)
        self._reformed = False
        self.plan = self._plan()
        return True

    def for_the_caller(self, error: HangtightError) -> HangtightError:
        """An error of ours as the client library above lets it pass, with all that was tried before it."""
        told = self.attempts.told
        if told and error.attempts[-1:] != told[-1:]:
            tell(error, (*told, *error.attempts))
        return dressed(error, self.request.headers)
