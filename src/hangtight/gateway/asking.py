"""From a request that was let in to an exchange: for which model, under which terms, with which signs of life."""

from __future__ import annotations

import asyncio
import re
import string
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hangtight.core.budget import Priority
from hangtight.core.limits import length
from hangtight.core.signs import Signs, span_of
from hangtight.dialects.speaking import Form, Told, form_for
from hangtight.drivers import clock
from hangtight.drivers.budget.task import HEADER, Budget
from hangtight.drivers.given import Given
from hangtight.drivers.http.call import Settings as CallSettings
from hangtight.drivers.standing import settings
from hangtight.errors import SettingsError
from hangtight.gateway.bodies import MOST_CONTAINERS, MOST_PARTS, is_object, is_too_fine, model_of, parsed
from hangtight.gateway.calls import DOOR, READ_TIMEOUT, VIA, WHO, GatewayCall, Policy, Received, read_timeout
from hangtight.gateway.door.gate import Gate, is_direct, is_loopback
from hangtight.gateway.exchange import Exchange
from hangtight.gateway.readings import GatewayReading
from hangtight.gateway.signing import Signing

if TYPE_CHECKING:
    from hangtight.gateway.outlet import Outlet
    from hangtight.gateway.state import State
    from hangtight.gateway.upstream.targets import Target, Targets

BUDGET = HEADER.lower().encode()
PRIORITY = b"x-hangtight-priority"
STEP = b"x-hangtight-step"
IDS = Random()
"""They tell generations apart, and protect nothing."""
UNKNOWN = "model_not_found"
HIDDEN = 1.08
"""So much longer, 54 s, may hear nothing who shows no proxy: its first sign comes a little after the usual
`first_token`, so that a model that hangs is a 504, and before the 60 s of nginx, which may be there all the same."""
CHATS = "openai-chat"
MANY = 12  # names of models that an error lists
LONGEST_NAME = 512  # characters of the name of a model: it travels in a header, and is kept by whoever counts
TOO_FINE = Told.of(
    413,
    "too_many_parts",
    f"a JSON body has at most {MOST_CONTAINERS:,} objects and lists and {MOST_PARTS:,} commas, also in its texts",
)
UPWARDS = re.compile(r"(^|[/\\])\.\.([/\\]|$)")
IN_A_PATH = string.punctuation.replace("%", "")


class Asking:
    """One request, read."""

    def __init__(self, state: State, gate: Gate, scope: MutableMapping[str, Any], path: str, body: bytes) -> None:
        self.state = state
        self.settings = settings()  # looked up once: whoever asks looks at the clock, and at the file now and then
        self.scope = scope
        self.is_direct = is_direct(scope)
        self.path = path
        self.headers = gate.without_credentials([(name.lower(), value) for name, value in scope["headers"]])
        self._named = dict(reversed(self.headers))  # of several the first counts
        self.body = body
        self.kind = self._header(b"content-type")
        self.is_too_fine = is_object(body, self.kind) and is_too_fine(body)
        self.found = None if self.is_too_fine else parsed(body, self.kind)
        self.model = ""
        """Where the path has named it already."""

    def _header(self, wanted: bytes) -> str:
        return self._named.get(wanted, b"").decode("latin-1")

    def parent(self) -> AbstractContextManager[object]:
        """The budget of which this request is a part, somewhere else. Raises SettingsError for one that is none."""
        told = self._header(BUDGET)
        return Budget.from_header(told) if told else nullcontext()

    def exchange(self, outlet: Outlet) -> Exchange | Told:
        """What answers it, or why nobody does. Raises SettingsError for a header that cannot be meant."""
        if self.is_too_fine:
            return TOO_FINE
        if self.state.id in self._header(VIA).split(", "):
            words = "this request has come through this gateway before: a proxy of hangtight.yaml leads back to it"
            return Told.of(508, "loop", words)
        if not self.path.startswith("/") or UPWARDS.search(self.path):
            return Told.of(400, "bad_path", "a path begins with / and does not lead upwards: write it without ..")
        targets = self.state.targets
        name = self.model or model_of(self.found, self.body, self.kind, self.scope["query_string"])
        if len(name) > LONGEST_NAME or not name.isprintable():
            words = f"the name of a model has at most {LONGEST_NAME} characters, all of which can be printed"
            return Told.of(400, "bad_model", words)
        target = targets.find(name) if name else targets.only
        if target is None:
            return unknown(name, targets)
        loop = asyncio.get_running_loop()
        own = f"{IDS.getrandbits(48):012x}"
        # By its id: a listener that held the exchange would be held by it, and such rings wait for the collector.
        beat, refused = partial(self.state.beat, own), self.state.refused
        listened = CallSettings(Given(), DOOR, on_heartbeat=beat, refused=refused)
        call = GatewayCall(self._came(target, targets, name or target.name), listened, clock.timepiece_of(loop))
        call.id = own
        form = self._form(call)
        signing = Signing(call, outlet, form, self._signs(call, form))
        signing.shows_loads = self._shows_loads(call)
        exchange = Exchange(call, outlet, signing, self._reading)
        exchange.events, exchange.on_refused = self.state.events, self.state.metrics.refused
        exchange.path = self.path
        return exchange

    def _came(self, target: Target, targets: Targets, asked_as: str) -> Received:
        said, scope = self.settings.gateway, self.scope
        bound = (scope.get("server") or ("",))[0] or ""
        # Through a proxy of this machine come strangers, too.
        may_raise = self.is_direct and is_loopback(bound) if said.may_raise is None else said.may_raise
        return Received(
            method=scope["method"],
            path=as_written(scope, self.path),
            query=scope["query_string"],
            headers=self.headers,
            body=self.body,
            parsed=self.found,
            target=target,
            targets=targets,
            policy=Policy(may_raise, said.most),
            retries=self.state.retries,
            client=(scope.get("client") or ("",))[0],
            who=hash(tuple(value for name, value in scope["headers"] if name.lower() in WHO)),
            priority=self._priority(),
            via=", ".join(filter(None, [self._header(VIA), self.state.id])),
            asked_as=asked_as,
            is_direct=bool(self.model),
        )

    def _priority(self) -> Priority:
        word = self._header(PRIORITY).strip().lower() or self.settings.priorities.get(self._header(STEP))
        if not word:
            return Priority.NORMAL
        try:
            return Priority[word.upper()]
        except KeyError:
            names = ", ".join(priority.name.lower() for priority in Priority)
            raise SettingsError("X-Hangtight-Priority", word, f"one of {names}") from None

    def _reading(self, call: GatewayCall) -> GatewayReading:
        state = self.state
        return GatewayReading(call, asyncio.get_running_loop(), state.upstream, state.lane(call.target), state.lanes)

    def _form(self, call: GatewayCall) -> Form:
        dialect = call.asked.dialect
        streamed = dialect is not None and dialect.streams(call.asked.body)
        wanted = self.settings.serving(call.asked.model).form or self.settings.gateway.form(self.path)
        return form_for(dialect, streamed=streamed, wanted=None if wanted is None else Form(wanted))

    def _shows_loads(self, call: GatewayCall) -> bool:
        """Only in a stream of chats has reasoning a place."""
        dialect = call.asked.dialect
        if dialect is None or dialect.name != CHATS or not dialect.streams(call.asked.body):
            return False
        return self.settings.serving(call.asked.model).loading_state

    def _signs(self, call: GatewayCall, form: Form) -> Signs | None:
        if form is Form.OFF:
            return None
        serving, headers = self.settings.serving(call.asked.model), call.asked.headers
        # A proxy of this machine may leave no trace. In a stream no sign is too many; before a body it costs the 504.
        no_proxy = form is Form.WHITE_SPACE and self.is_direct and not serving.proxy_is_said
        silence = None if no_proxy else serving.proxy_silence
        if silence is not None and self.is_direct and not serving.proxy_is_said:
            silence *= HIDDEN
        span = span_of(read_timeout(headers), silence, says_nothing=READ_TIMEOUT not in headers)
        beat = call.terms.resolved(None, True, call.asked.model).limits.heartbeat
        return Signs(span, length(beat), clock.now())


def as_written(scope: Mapping[str, Any], path: str) -> str:
    """A path of ours as its client wrote it. Unescaped, `%0d%0a` would end a line of the request that we send."""
    return _escaped(path, scope.get("raw_path"), scope.get("root_path", ""))


@lru_cache(maxsize=1024)
def _escaped(path: str, written: bytes | None, root: str) -> str:
    if written is None:  # a server need not say it
        return quote(path, safe=IN_A_PATH)
    return quote(written, safe=string.punctuation).removeprefix(quote(root, safe=string.punctuation)) or "/"


def unknown(name: str, targets: Targets) -> Told:
    known = ", ".join(targets.names[:MANY]) or "none"
    if not name:
        words = f'the request names no model\nknown here: {known}\nto choose one:  "model": "NAME" in the body'
        return Told.of(400, "no_model", words)
    line = f"models: {{{name}: {{proxy: http://HOST:PORT}}}} in hangtight.yaml"
    return Told.of(404, UNKNOWN, f"there is no model {name!r} here\nknown here: {known}\nto add it:  {line}")
