"""Somebody who runs model servers, for tests of the gateway: the test says when a server is ready, and when it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from hangtight.core.process.facts import Ending
from hangtight.errors import BackendError
from hangtight.gateway.lanes import unavailable
from hangtight.gateway.upstream.steward import Waiting


class Place:
    """In a server. Counts how often it was given back."""

    def __init__(self, who: Waiting) -> None:
        self.who = who
        self.ended = 0
        self.how = Ending.OTHER

    def end(self, end: Ending = Ending.OTHER) -> None:
        self.ended += 1
        self.how = end


class Puppeteer:
    """Runs these models, none of which is ready before the test says so."""

    def __init__(self, *names: str) -> None:
        self.phases = dict.fromkeys(names, "stopped")
        self.waiting: dict[asyncio.Future[Place], tuple[str, Waiting]] = {}
        self.places: list[Place] = []
        """All that were ever given."""
        self.gave_up = 0
        """Who left before it was ready."""
        self.refuses: BackendError | None = None
        self.asked: list[tuple[str, str]] = []
        """What was done from outside: `("sleep", "m")`."""
        self.fails = ""
        """Why what is done from outside ends in another way."""
        self.renewed = 0
        self.on_change: Callable[[Mapping[str, Any]], object] = lambda _: None
        self.news: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.followers = 0

    # -- for the gateway ----------------------------------------------------------------------------------------

    def runs(self, model: str) -> bool:
        return model in self.phases

    def base(self, model: str) -> str:
        return "http://127.0.0.1:1"

    def lease(self, model: str, who: Waiting) -> Place | None:
        return self._place(who) if self.phases[model] == "ready" else None

    def _place(self, who: Waiting) -> Place:
        self.places.append(Place(who))
        return self.places[-1]

    async def ready(self, model: str, who: Waiting) -> Place:
        if self.refuses is not None:
            raise self.refuses
        self.comes(model, "starting")
        future: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self.waiting[future] = model, who
        try:
            return await future
        except asyncio.CancelledError:
            self.gave_up += 1
            raise
        finally:
            del self.waiting[future]

    async def still_running(self, model: str, base: str, since: object) -> None:
        self.asked.append(("still_running", model))

    def renew(self, settings: object) -> None:
        self.renewed += 1

    # -- for people ---------------------------------------------------------------------------------------------

    def shown(self) -> list[dict[str, Any]]:
        return [self._shown(name) for name in self.phases]

    def _shown(self, name: str) -> dict[str, Any]:
        told = {"cmd": f"serve {name}", "proxy": "http://127.0.0.1:1", "ttl": 0, "name": "", "description": ""}
        return {"model": name, "phase": self.phases[name], "requests": 0, "waiting": 0, "why": "", **told}

    async def put(self, model: str, into: str) -> Mapping[str, Any]:
        self.asked.append((into, model))
        self.comes(model, {"wake": "ready", "sleep": "asleep", "stop": "stopped"}[into])
        return {"model": model, "ok": not self.fails, "phase": self.phases[model], "why": self.fails, "took": 0.1}

    async def unload(self) -> None:
        self.asked.append(("unload", ""))
        for name in self.phases:
            self.comes(name, "stopped")

    def log(self, model: str | None) -> bytes:
        return f"what {model or 'all'} said\n".encode()

    async def follow(self, model: str | None, *, history: bool) -> AsyncIterator[bytes]:
        self.followers += 1
        try:
            if history:
                yield self.log(model)
            while (piece := await self.news.get()) is not None:
                yield piece
        finally:
            self.followers -= 1

    # -- for the test -------------------------------------------------------------------------------------------

    def comes(self, model: str, phase: str) -> None:
        """It comes into this phase."""
        if self.phases[model] != phase:
            self.phases[model] = phase
            self.on_change(self._shown(model))

    def is_ready(self, model: str) -> None:
        """Who waits for it is let in."""
        self.comes(model, "ready")
        for future, (name, who) in list(self.waiting.items()):
            if name == model and not future.done():
                future.set_result(self._place(who))

    @property
    def given_back(self) -> list[int]:
        """How often each place was."""
        return [place.ended for place in self.places]


def refusal(retry_after: float = 7.0) -> BackendError:
    """As the real one refuses."""
    return unavailable(503, "not_running", "m: it failed again and again", retry_after)
