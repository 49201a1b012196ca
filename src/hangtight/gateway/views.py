"""What the gateway says about itself and its models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from hangtight import __version__
from hangtight.drivers.standing import settings

if TYPE_CHECKING:
    from hangtight.gateway.outlet import Outlet
    from hangtight.gateway.state import State

Scope = dict[str, Any]
View = Callable[["State", Scope, Callable[[], Awaitable[Any]], "Outlet"], Awaitable[None]]
GENERATIONS = "/hangtight/generations"


async def put(outlet: Outlet, status: int, told: Any) -> None:
    body = json.dumps(told, default=str).encode()
    outlet.start(status, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))])
    await outlet.finish(body)


async def health(state: State, scope: Scope, receive: Any, outlet: Outlet) -> None:
    await put(outlet, 200, {"status": "ok", "version": __version__})


async def models(state: State, scope: Scope, receive: Any, outlet: Outlet) -> None:
    said = settings()
    listed = [name for name in state.targets.names if not said.serving(name).unlisted]
    data = [{"id": name, "object": "model", "created": int(state.began_at), "owned_by": "hangtight"} for name in listed]
    await put(outlet, 200, {"object": "list", "data": data})


async def metrics(state: State, scope: Scope, receive: Any, outlet: Outlet) -> None:
    accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
    page = await asyncio.to_thread(state.metrics.render, accept)
    headers = [(b"content-type", page.content_type.encode()), (b"content-length", b"%d" % len(page.body))]
    outlet.start(200, headers)
    await outlet.finish(page.body)


VIEWS: dict[tuple[str, str], View] = {
    ("GET", "/health"): health,
    ("GET", "/v1/models"): models,
    ("GET", "/metrics"): metrics,
}


def answer_to(method: str, path: str) -> View | None:
    """Who answers this request here; None where it is for a model."""
    return VIEWS.get((method, path))
