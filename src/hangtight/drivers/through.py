"""Questions of ours to the gateway of this process: it starts models, keeps their queues, and shows what runs.

The question keeps the clocks that were given for it. The gateway has the same, a little later: whoever asked tells, in
his own words, that a limit was broken. The journal has the generation once, as the gateway sees it, with the end that
it has for whoever asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hangtight.core.facts import Absent
from hangtight.core.time import FOREVER, plain
from hangtight.dialects.chat import Chunk, Prompt, Shape
from hangtight.drivers.asking import Asking
from hangtight.drivers.handover import announce, handed
from hangtight.drivers.servers import Place, Server, choose_model, seen_at
from hangtight.errors import (
    BackendError,
    FirstTokenTimeout,
    GenerationTimeout,
    IdleTimeout,
    LoadTimeout,
    Looping,
    QueueTimeout,
    TotalTimeout,
)

if TYPE_CHECKING:
    from hangtight.dialects.sse import Event
    from hangtight.drivers.http11 import Response
    from hangtight.drivers.terms import Terms

LATER: Final = 1.0  # seconds: what the answer is under way, and more
TIMEOUTS: Final[Mapping[str, type[GenerationTimeout]]] = {
    "queue": QueueTimeout,
    "load": LoadTimeout,
    "first_token": FirstTokenTimeout,
    "idle": IdleTimeout,
    "thinking": GenerationTimeout,
    "unstreamed": GenerationTimeout,
    "total": TotalTimeout,
    "intent": Looping,
}


@dataclass(frozen=True, slots=True)
class Own(Server):
    """Our own gateway, as a server that can be asked, with what it is told of a question."""

    told: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def headers(self) -> dict[str, str]:
        return {**({"authorization": f"Bearer {self.key}"} if self.key else {}), **self.told}


@dataclass(frozen=True, slots=True)
class Gateway:
    """The one that asks, at its own address."""

    url: str

    async def asking(self, model: str | None, prompt: Prompt, terms: Terms, *, think: bool) -> Asking:
        """The question to this model, or to one that the gateway has."""
        base, key = f"{self.url}/v1", next(iter(terms.settings.gateway.keys), "")
        if not model:
            seen = await seen_at(Place(base, "this gateway", key=key))
            if isinstance(seen, str):
                raise BackendError(f"this gateway cannot be asked at {self.url}: {seen}")
            model = await choose_model(seen, None)
        server = Own(base, Shape.OPENAI, key=key, told=_told(terms, model))
        return Through(server, model, prompt, think=think)


THROUGH: ContextVar[Gateway | None] = ContextVar("hangtight-through", default=None)
"""Whom questions go to that name no address."""


@contextmanager
def through(url: str | None) -> Iterator[None]:
    """Inside the block questions that name no address go to the gateway at this one; None changes nothing."""
    if url is None:
        yield
        return
    token = THROUGH.set(Gateway(url))
    try:
        yield
    finally:
        THROUGH.reset(token)


def _told(terms: Terms, model: str) -> dict[str, str]:
    """For which step it is, and how long it may take. What nobody said in person the gateway knows as we do."""
    resolved = terms.here().resolved(None, True, model)
    clocks, values = resolved.clocks, resolved.values
    lengths = {"total": max(clocks.total, clocks.extend_to) if terms.mode is not None else clocks.total}
    if values["first_token"].in_person:
        lengths["first-token"] = clocks.first_token
    if values["idle"].in_person:
        lengths["idle"] = clocks.idle
    told = {name: "none" if length == FOREVER else plain(length + LATER) for name, length in lengths.items()}
    told |= {"mode": terms.mode or "", "run": terms.run, "step": terms.step}
    if (session := handed()) is not None:
        told["asker"] = announce(session)
    return {f"x-hangtight-{name}": value for name, value in told.items() if value}


class Through(Asking):
    """A question that may wait there for a place and for a load, before its model can be silent."""

    async def _answer(self, stack: AsyncExitStack) -> Response:
        self._note(Absent())
        return await super()._answer(stack)

    def _chunk(self, event: Event) -> Chunk | None:
        _check_in_time(event.data)
        return super()._chunk(event)

    def _refused(self, answer: Response, body: str) -> BackendError:
        _check_in_time(body)
        return super()._refused(answer, body)


def _check_in_time(text: str) -> None:
    """Raises the timeout that the gateway tells of, as if it had come to pass here."""
    if '"error"' not in text:
        return
    try:
        told: Any = json.loads(text).get("error")
    except (ValueError, RecursionError, AttributeError):
        return
    kind = TIMEOUTS.get(str(told.get("code"))) if isinstance(told, dict) and told.get("type") == "timeout" else None
    if kind is None:
        return
    error = kind(str(told.get("message", "")))
    error.limit, error.model = str(told["code"]), str(told.get("model") or "")
    error.waited, error.elapsed = (_number(told.get(name)) for name in ("waited", "elapsed"))
    error.source = str(told.get("source") or "")
    raise error


def _number(told: Any) -> float:
    return float(told) if isinstance(told, int | float) else 0.0
