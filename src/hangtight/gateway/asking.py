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
from hangtight.dialects.dialect import dialect_for
from hangtight.dialects.speaking import Form, Told, form_for
from hangtight.drivers import clock
from hangtight.drivers.budget.task import HEADER, Budget
from hangtight.drivers.given import Given
from hangtight.drivers.http.call import Settings as CallSettings
from hangtight.drivers.standing import settings
from hangtight.errors import SettingsError
from hangtight.gateway.bodies import model_of, parsed
from hangtight.gateway.calls import DOOR, READ_TIMEOUT, VIA, GatewayCall, Policy, Received, read_timeout
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
MANY = 12  # names of models that an error lists
LONGEST_NAME = 512  # characters of the name of a model: it travels in a header, and is kept by whoever counts
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
        self.found = parsed(body, self.kind)

    def _header(self, wanted: bytes) -> str:
        return self._named.get(wanted, b"").decode("latin-1")

    def parent(self) -> AbstractContextManager[object]:
        """The budget of which this request is a part, somewhere else. Raises SettingsError for one that is none."""
        told = self._header(BUDGET)
        return Budget.from_header(told) if told else nullcontext()

    def exchange(self, outlet: Outlet) -> Exchange | Told:
        """What answers it, or why nobody does. Raises SettingsError for a header that cannot be meant."""
        if self.state.id in self._header(VIA).split(", "):
            words = "this request has come through this gateway before: a proxy of hangtight.yaml leads back to it"
            return Told.of(508, "loop", words)
        if not self.path.startswith("/") or UPWARDS.search(self.path):
            return Told.of(400, "bad_path", "a path begins with / and does not lead upwards: write it without ..")
        targets = self.state.targets
        name = model_of(self.found, self.body, self.kind, self.scope["query_string"])
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
        call = GatewayCall(self._came(target, targets), listened, clock.timepiece_of(loop))
        call.id = own
        form = self._form(target.name)
        exchange = Exchange(call, outlet, Signing(call, outlet, form, self._signs(call, form)), self._reading)
        exchange.events, exchange.on_refused = self.state.events, self.state.metrics.refused
        exchange.path = self.path
        return exchange

    def _came(self, target: Target, targets: Targets) -> Received:
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
            priority=self._priority(),
            via=", ".join(filter(None, [self._header(VIA), self.state.id])),
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

    def _form(self, name: str) -> Form:
        dialect = dialect_for(self.path) if self.scope["method"] == "POST" else None
        streamed = bool(dialect is not None and self.found and dialect.streams(self.found))
        wanted = self.settings.serving(name).form or self.settings.gateway.form(self.path)
        return form_for(dialect, streamed=streamed, wanted=None if wanted is None else Form(wanted))

    def _signs(self, call: GatewayCall, form: Form) -> Signs | None:
        if form is Form.OFF:
            return None
        serving, headers = self.settings.serving(call.asked.model), call.asked.headers
        no_proxy = self.is_direct and not serving.proxy_is_said
        silence = None if no_proxy else serving.proxy_silence
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
