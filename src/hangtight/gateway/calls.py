"""One request of a client as a call of ours: under which terms, to which server, in which words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from hangtight.core.attempts import Fault
from hangtight.core.budget import Priority
from hangtight.core.limits import checked, length
from hangtight.core.telling import Door
from hangtight.core.time import FOREVER, Instant, Seconds, between
from hangtight.dialects.dialect import Body
from hangtight.drivers.attention import IGNORED
from hangtight.drivers.clock import Timepiece
from hangtight.drivers.faults import attempt_of
from hangtight.drivers.given import Given
from hangtight.drivers.handover import announced
from hangtight.drivers.http.asked import Asked, number_of
from hangtight.drivers.http.call import RETRIES, Call, Plan, Settings
from hangtight.drivers.http.sending import PIECE, taken
from hangtight.drivers.terms import Terms, terms_of
from hangtight.errors import SettingsError
from hangtight.gateway import library
from hangtight.gateway.filters import UNFILTERED, Filters
from hangtight.gateway.telling.tracing import UNTRACED
from hangtight.gateway.upstream.pool import Outgoing, head_of
from hangtight.gateway.upstream.steward import PutAway
from hangtight.gateway.upstream.targets import Target, Targets

if TYPE_CHECKING:
    from hangtight.drivers.session import Session


class FileDoor(Door):
    """What is changed, is changed in the file."""

    __slots__ = ()

    def change_of(self, name: str, value: str) -> str:
        """A switch stands at the top of it, and a limit in its section."""
        return f"{name}: {value.lower()} in hangtight.yaml"


DOOR = FileDoor("limits: {{{name}: {value}}} in hangtight.yaml", kept="")
MORE = "most: {{{name}: {value}}} in hangtight.yaml"
LITELLM, READ_TIMEOUT = b"x-litellm-timeout", b"x-stainless-read-timeout"
SDK_DEFAULT = 600.0
"""What the SDKs say where nobody said anything."""
ANSWER_FIRST = 0.05  # of a client's own patience: our answer reaches it before it leaves
AT_MOST_FIRST = 1.0  # seconds
RETRIES_KEPT = 4096
RETRIED_FOR = Seconds(900.0)
"""A call without a total is not tried again after this."""
FIRST_TRIES = (b"", b"0")
OF_A_HOP = frozenset(
    (
        *(b"host", b"content-length", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding"),
        *(b"te", b"trailer", b"upgrade", b"expect", b"proxy-authorization"),
    )
)
"""What is meant for the next hop alone, and what is written anew for it."""
OF_A_TRACE = frozenset((b"traceparent", b"tracestate"))
CREDENTIALS = frozenset((b"authorization", b"x-api-key"))
WHO = CREDENTIALS | {b"x-forwarded-for", b"x-real-ip", b"forwarded"}
"""What tells one client from another."""
OURS = b"x-hangtight-"
VIA, ASKER = b"x-hangtight-via", b"x-hangtight-asker"
STREAM = "stream"


@dataclass(slots=True)
class Policy:
    """What requests may say about their time."""

    may_raise: bool
    """Their headers may raise a limit; else they only shorten."""
    most: Mapping[str, float] = field(default_factory=dict)
    """No request raises a limit above these."""

    def applied(self, given: Given) -> Given:
        if given.mode is not None:
            return self._of_a_mode(given)
        if not given.values:
            return given
        if not self.may_raise:
            return replace(given, cuts=True)
        values = tuple((name, self._bounded(name, value)) for name, value in given.values)
        values += self._following(dict(values))
        return given if values == given.values else replace(given, values=values)

    def _of_a_mode(self, given: Given) -> Given:
        """A mode that a request names raises nothing past what it might have asked for in numbers."""
        if not self.may_raise:
            return replace(given, mode_cuts=True)
        if not self.most:
            return given
        most = dict(self.most)
        if "total" in most:
            most["extend_to"] = most["total"]
        return replace(given, source="most", values=tuple(most.items()), change=MORE, cuts=True)

    def _following(self, values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        """`first_token` follows an `idle` that is given alone, and has a most of its own."""
        first = self.most.get("first_token")
        if first is None or "idle" not in values or "first_token" in values:
            return ()
        idle = values["idle"]
        return (("first_token", first),) if idle is None or idle > first else ()

    def _bounded(self, name: str, value: Any) -> Any:
        most = self.most.get(name)
        return most if most is not None and (value is None or value > most) else value


class Retries:
    """When the first attempt of a call began that an SDK sends again: its own retries share that deadline."""

    def __init__(self) -> None:
        self._born: dict[int, Instant] = {}

    def born(self, key: int, count: bytes | None, now: Instant, lasts: float = RETRIED_FOR) -> Instant:
        """What began longer ago than `lasts` was another call in the same words."""
        if count is None:
            return now
        before = self._born.pop(key, now)
        first = before if count not in FIRST_TRIES and now - before <= lasts else now
        self._born[key] = first
        while len(self._born) > RETRIES_KEPT:
            del self._born[next(iter(self._born))]
        return min(first, now)

    def forget(self, key: int, born: Instant) -> None:
        """This call has its answer: who asks the same again begins anew."""
        if self._born.get(key) == born:  # unless that has happened meanwhile
            del self._born[key]


@dataclass(slots=True)
class Received:
    """One request as it came: what is asked, by whom, and where that goes."""

    method: str
    path: str
    """As it was written: what is escaped there stays so, and ends no line of ours."""
    query: bytes
    headers: library.Raw
    body: bytes
    parsed: dict[str, Any] | None
    """The body, where it is a JSON object."""
    target: Target
    targets: Targets
    policy: Policy
    retries: Retries
    client: str = ""
    who: int = 0
    """Tells those apart who come from there: behind one proxy are many, who may well ask the same."""
    priority: Priority = Priority.NORMAL
    via: str = ""
    """The gateways of ours that it came through, this one last."""
    asked_as: str = ""
    """The name of the model as the client wrote it, which may be an alias."""
    is_direct: bool = False
    """The path names the server: who talks to it in person is neither filtered nor renamed."""


class GatewayCall(Call):
    """The attempts of one request: each may go to another server, under another name."""

    def __init__(self, came: Received, settings: Settings, timepiece: Timepiece) -> None:
        self.came = came
        self.traced = UNTRACED
        """Of the attempt under way."""
        self._was_put_away = False
        """Its server was, and it has been sent once more."""
        self._retried_as: int | None = None
        """Under which key an SDK that sends this again is known; None for who is no SDK."""
        url = library.URL(came.target.address(came.path, came.query))
        super().__init__(library, library.Request(came.method, url, came.headers, came.body), settings, timepiece)
        self.asker = announced(self.asked.headers.get(ASKER, b"").decode("latin-1"))

    def _read(self, request: Any) -> Asked:
        asked = Asked(request, lambda _: self._filtered(self.came.target, self.came.asked_as))
        asked.model = self.came.target.name
        return asked

    @property
    def target(self) -> Target:
        """Where the model is asked whose turn it is."""
        name = self.attempts.model
        return self.came.target if name == self.came.target.name else self.came.targets.find(name) or self.came.target

    def _host(self) -> str | None:
        return None if self.target.loads_anew else super()._host()

    @property
    def goes_to(self) -> tuple[library.URL, str]:
        target = self.target
        name = self._name_for(target, self.asked.body)
        return library.URL(target.address(self.came.path, self.came.query)), name if isinstance(name, str) else ""

    def _stand_ins(self) -> tuple[str, ...]:
        """Those that this gateway has. The settings may name more, for other places."""
        return tuple(name for name in super()._stand_ins() if self.came.targets.find(name) is not None)

    # -- under which terms ------------------------------------------------------------------------------------

    def _terms(self) -> Terms:
        places = [self.came.policy.applied(given) for given in self._given()]
        return terms_of(*filter(None, places), door=self.settings.door, situation=self.asked.situation()).here()

    def _given(self) -> Iterator[Given]:
        yield from self.asked.in_headers()
        headers = self.asked.headers
        if (raw := headers.get(LITELLM)) is not None:
            yield Given("x-litellm-timeout", (("total", _seconds("x-litellm-timeout", raw)),))
        asked = self.asked
        if (raw := headers.get(READ_TIMEOUT)) is not None and asked.dialect and not asked.dialect.streams(asked.body):
            patience = chosen_timeout(headers)
            if patience is not None:
                lasts = max(patience * (1 - ANSWER_FIRST), patience - AT_MOST_FIRST)
                source = f"the client's own timeout ({patience:g})"
                yield Given(source, (("total", lasts),), change="timeout={value}", cuts=True)

    def _born(self) -> Instant:
        count, now = self.asked.headers.get(RETRIES), self.timepiece.now()
        if count is None:  # no SDK: a long body need not be looked through
            return now
        self._retried_as = hash((self.came.client, self.came.who, self.asked.path, self.came.body))
        lasts = RETRIED_FOR if count in FIRST_TRIES else self._retried_for()
        return self.came.retries.born(self._retried_as, count, now, lasts)

    def _retried_for(self) -> float:
        total = length(self.terms.resolved(None, False, self.asked.model).limits.total)
        return RETRIED_FOR if total == FOREVER else 2 * total

    def goes_on(self, error: BaseException, session: Session) -> bool:
        """A server that was put away comes again, and what nobody has seen anything of goes there: once."""
        if (
            not isinstance(error, PutAway)
            or self._was_put_away
            or self.asked.dialect is None
            or self.attempts.delivered
        ):
            return super().goes_on(error, session)
        self._was_put_away, self._before = True, session
        elapsed = between(self.born, session.clock())
        session.failed_as = attempt_of(error, Fault.SERVER, model=session.machine.model, elapsed=elapsed)
        return True

    def ended_well(self) -> None:
        """The client has what it asked for."""
        if self._retried_as is not None:
            self.came.retries.forget(self._retried_as, self.born)

    def session(self) -> Session:
        """Its text goes to the client and is kept by nobody: an answer may be longer than the memory."""
        session = super().session()
        session.parts = IGNORED
        return session

    # -- what is sent -----------------------------------------------------------------------------------------

    def to_send(self, session: Session, pool: float | None) -> Outgoing:
        came, target = self.came, self.target
        content = self._content()
        body = came.body if content is None else content
        headers = self._headers(target)
        address = target.address(came.path, came.query)
        length = len(body) if body or came.method not in ("GET", "HEAD", "DELETE", "OPTIONS") else None
        head = head_of(came.method, address, headers, length)
        note = partial(taken, session) if len(body) > PIECE else None
        return Outgoing(address, head, body, target.connect, came.method == "HEAD", note)

    def _content(self) -> bytes | None:
        target = self.target
        if self.asked.dialect is None:
            return self._of_another_kind(target)
        body = self._for_a_stand_in(target) if self._stands_in else self.asked.body
        name = self._name_for(target, body)
        if self.plan is not Plan.UPGRADED and body.get("model") == name and not self._filters(target):
            return None
        sent = body if self.plan is not Plan.UPGRADED else self.asked.dialect.upgraded(body) or body
        return _written({**sent, "model": name})

    def _of_another_kind(self, target: Target) -> bytes | None:
        """Something else in JSON, for a server that knows the model by another name, or wants it filtered.

        Other bodies stay as they are.
        """
        body = self._filtered(target, self.came.asked_as)
        if body is None or "model" not in body:
            return None
        name = self._name_for(target, body)
        return None if body["model"] == name and not self._filters(target) else _written({**body, "model": name})

    def _name_for(self, target: Target, body: Body) -> Any:
        """What the server calls the model. Whoever talks to it in person may mean another one that it has."""
        is_own = self.came.is_direct and not self._stands_in
        return (body.get("model") if is_own else None) or target.upstream_name

    def _for_a_stand_in(self, target: Target) -> Body:
        """Filtered in its own way; but whether it streams is settled by now."""
        asked, found = self.asked.body, self._filtered(target, self.attempts.model) or {}
        body = {name: value for name, value in found.items() if name != STREAM}
        return {**body, STREAM: asked[STREAM]} if STREAM in asked else body

    @property
    def _stands_in(self) -> bool:
        """The one that was asked has failed. Another name of the same model is another one."""
        return self.attempts.model != self.came.target.name

    def _filters(self, target: Target) -> Filters:
        return UNFILTERED if self.came.is_direct else target.filters

    def _filtered(self, target: Target, asked_as: str) -> Body | None:
        body, filters = self.came.parsed, self._filters(target)
        return filters.applied(body, asked_as) if filters and body is not None else body

    def _headers(self, target: Target) -> library.Raw:
        dropped = _dropped(target, is_traced=bool(self.traced.headers))
        if named := named_by_connection(self.came.headers):
            dropped = dropped | named
        kept = [pair for pair in self.came.headers if pair[0] not in dropped and not pair[0].startswith(OURS)]
        kept += [*self.traced.headers, (VIA, self.came.via.encode("latin-1", "replace"))]
        if self.asked.dialect is not None:  # nothing of ours, no sign and no error, can stand in what is compressed
            kept = [(name, value) for name, value in kept if name != b"accept-encoding"]
            kept.append((b"accept-encoding", b"identity"))
        if target.key:
            kept.append((b"authorization", b"Bearer " + target.key.encode("latin-1", "replace")))
            if self.asked.dialect is not None and self.asked.dialect.name == "anthropic":
                kept.append((b"x-api-key", target.key.encode("latin-1", "replace")))
        return kept + [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in target.headers]


@lru_cache(maxsize=256)
def _dropped(target: Target, *, is_traced: bool) -> frozenset[bytes]:
    """The headers of a client that this server does not get."""
    dropped = OF_A_HOP.union(name.lower().encode() for name, _ in target.headers)
    dropped = dropped | CREDENTIALS if target.key else dropped
    return dropped | OF_A_TRACE if is_traced else dropped


def _written(body: Body) -> bytes:
    """JSON again. What was just flat enough to be read may be too deep to be written."""
    try:
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    except RecursionError:
        raise SettingsError("the body", "JSON", "nested less deeply") from None


def named_by_connection(headers: library.Raw) -> set[bytes]:
    """The headers that whoever sent them says are for us alone."""
    said = [value for name, value in headers if name == b"connection"]
    return {name.strip().lower() for value in said for name in value.split(b",")}


def read_timeout(headers: Mapping[bytes, bytes]) -> float | None:
    """How long the client waits for bytes, where it says so."""
    raw = headers.get(READ_TIMEOUT)
    try:
        seconds = number_of(raw.decode("latin-1")) if raw is not None else 0.0
    except ValueError:
        return None
    return seconds if 0 < seconds < FOREVER else None


def chosen_timeout(headers: Mapping[bytes, bytes]) -> float | None:
    """The same, where somebody chose it."""
    seconds = read_timeout(headers)
    return None if seconds == SDK_DEFAULT else seconds


def _seconds(header: str, raw: bytes) -> float | None:
    try:
        return checked(header, number_of(raw.decode("latin-1")))
    except ValueError:
        raise SettingsError(header, raw.decode("latin-1"), "a number of seconds") from None
