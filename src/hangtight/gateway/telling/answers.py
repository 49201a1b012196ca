"""How the gateway's own pages answer: JSON, and a refusal that most clients can read."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from hangtight.dialects.speaking import Told, refused

if TYPE_CHECKING:
    from hangtight.gateway.outlet import Headers, Outlet
    from hangtight.gateway.state import State

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
View = Callable[["State", Scope, Receive, "Outlet"], Awaitable[None]]


def read(view: View) -> dict[str, View]:
    """A page that is only looked at."""
    return {"GET": view, "HEAD": view}


async def put(outlet: Outlet, status: int, told: Any, *more: tuple[bytes, bytes]) -> None:
    await put_bytes(outlet, status, json.dumps(told, default=str).encode(), *more)


async def put_bytes(outlet: Outlet, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers: Headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *more]
    outlet.start(status, headers)
    await outlet.finish(body)


async def refuse(outlet: Outlet, status: int, code: str, message: str, *more: tuple[bytes, bytes]) -> None:
    """In plain words, and in the form of an error that most clients can read."""
    await put_bytes(outlet, status, refused(None, Told.of(status, code, message)), (b"x-should-retry", b"false"), *more)
