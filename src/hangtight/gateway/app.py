"""The gateway as an ASGI app: who gets in, and who answers. Needs no lifespan, so that it mounts anywhere.

>>> from hangtight.gateway.app import Gateway                                   # doctest: +SKIP
>>> app.mount("/llm", Gateway())                                                # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from hangtight.dialects.dialect import Dialect, dialect_for
from hangtight.dialects.speaking import Told, refused, told_of
from hangtight.errors import HangtightError
from hangtight.gateway.asking import UNKNOWN, Asking
from hangtight.gateway.door.gate import PAGE, Intake, is_page, path_in
from hangtight.gateway.door.gatekeeper import Gatekeeper
from hangtight.gateway.outlet import EXTENSION, Headers, Outlet
from hangtight.gateway.state import State
from hangtight.gateway.telling.views import answer_to
from hangtight.gateway.upstream.paths import UPSTREAM, behind

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DRAINING = Told.of(503, "draining", "this gateway is about to stop; ask again in a moment")
COME_BACK = 5  # seconds
LOOKS = frozenset(("GET", "HEAD", "DELETE"))
NO_LOOKS = ("/hangtight/events", "/logs/stream", "/unload")
"""Two that would be cut soon, and one that is an order."""
NO_KEY = 401
WHICH_KEY: Headers = [(b"www-authenticate", b"Bearer")]


class Gateway:
    """One address in front of every model."""

    def __init__(self, state: State | None = None, bound: str | None = None, *, insecure: bool = False) -> None:
        self.state = state or State()
        self.state.keeper = Gatekeeper(bound, insecure=insecure)

    # -- what a server may call -------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1000})
            case other:
                raise RuntimeError(f"the gateway speaks HTTP, and not {other}")

    async def startup(self) -> None:
        """The settings are followed from now on; elsewhere, from the first request on."""
        self.state.follow(asyncio.get_running_loop())

    def draining(self, seconds: float) -> None:
        """What runs may end; nothing new begins."""
        self.state.drains()

    def ending(self) -> None:
        """The time for that is over: each stream says so to its client."""
        for exchange in list(self.state.exchanges.values()):
            exchange.cancel(Told.of(503, "stopped", "this gateway is being stopped; what came until here is not whole"))

    async def shutdown(self) -> None:
        await self.state.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # -- one request ------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        self.state.follow(loop)
        ours = scope.get("extensions", {}).get(EXTENSION, {})
        outlet = Outlet(send, loop, direct=bool(ours), framed=ours.get("framed"))
        outlet.leaving, outlet.line = ours.get("leaving"), ours.get("line")
        path = path_in(scope)
        method = scope["method"]
        dialect = dialect_for(path) if method == "POST" else None
        gate = self.state.keeper.gate
        if method == "OPTIONS" and (allowed := gate.preflight(scope)) is not None:
            outlet.start(204, allowed)
            await outlet.finish()
            return
        outlet.own = gate.cross_origin(scope)
        denied = gate.denies(scope)
        if denied is not None:
            await self._refuse(outlet, dialect, Told(*denied), WHICH_KEY if denied.status == NO_KEY else None)
            return
        view = answer_to(method, PAGE if path == "/" and is_page(scope) else path)
        if self.state.is_draining and (view is None or method not in LOOKS or path.startswith(NO_LOOKS)):
            await self._refuse(outlet, dialect, DRAINING, [(b"retry-after", b"%d" % COME_BACK)])
            return
        if view is not None:
            await view(self.state, scope, receive, outlet)
            return
        model = ""
        if path.startswith(UPSTREAM) and (found := behind(scope, path, self.state.targets)) is not None:
            scope, model = found
            path = scope["path"]
            dialect = dialect_for(path) if method == "POST" else None
        body = await self._body(receive, gate.bounds.body)
        if isinstance(body, Told):
            await self._refuse(outlet, dialect, body)
        elif body is not None:
            asking = Asking(self.state, gate, scope, path, body)
            asking.model = model
            await self._ask(asking, outlet, receive, dialect)

    async def _ask(self, asking: Asking, outlet: Outlet, receive: Receive, dialect: Dialect | None) -> None:
        try:
            with asking.parent():
                exchange = asking.exchange(outlet)
                if isinstance(exchange, Told) and exchange.code == UNKNOWN and await self.state.look_again():
                    exchange = asking.exchange(outlet)
                if not isinstance(exchange, Told):
                    self.state.begins(exchange)
                    try:
                        await exchange.run(receive)
                    finally:
                        self.state.ended(exchange)
                    return
        except HangtightError as error:
            exchange = told_of(error)
        await self._refuse(outlet, dialect, exchange)

    async def _body(self, receive: Receive, most: int) -> bytes | Told | None:
        """The whole body; None where the client left inside of it."""
        intake = Intake(most)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            if (denied := intake.take(message.get("body", b""))) is not None:
                return Told(*denied)
            if not message.get("more_body", False):
                return intake.whole()

    async def _refuse(self, outlet: Outlet, dialect: Dialect | None, told: Told, more: Headers | None = None) -> None:
        self.state.metrics.refused(told.code)
        body = refused(dialect, told)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        outlet.start(told.status, [*headers, (b"x-should-retry", b"false"), *(more or [])])
        await outlet.finish(body)
