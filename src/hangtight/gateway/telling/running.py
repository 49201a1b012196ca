"""What the gateway says of the servers that it runs, and how they are put to sleep, woken and stopped from outside.

The paths of llama-swap, and ours: /running, /unload, /logs, /hangtight/models.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from hangtight.drivers.standing import settings
from hangtight.gateway.telling.answers import Receive, Scope, View, put, read, refuse

if TYPE_CHECKING:
    from hangtight.gateway.outlet import Outlet
    from hangtight.gateway.state import State
    from hangtight.gateway.upstream.steward import Steward

MODELS: Final = "/hangtight/models"
UNLOAD: Final = "/api/models/unload"
LOGS: Final = "/logs"
STREAM: Final = "/logs/stream"
ACTIONS: Final = ("wake", "sleep", "stop")
PLAIN: Final = (b"content-type", b"text/plain; charset=utf-8")
UNBUFFERED: Final = (b"x-accel-buffering", b"no")  # nginx would collect it
NO_HISTORY: Final = b"no-history"
NOT_RUN: Final = "no model of hangtight.yaml has a cmd: nothing is run here"


# -- which of them run ------------------------------------------------------------------------------------------------


async def running(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """Those that are up, or on their way, in llama-swap's words."""
    steward = state.lanes.steward
    shown = [] if steward is None else steward.shown()
    up = [_of_llama_swap(each) for each in shown if each["phase"] not in ("stopped", "failed")]
    await put(outlet, 200, {"running": up})


def phases(state: State) -> dict[str, str]:
    """Of each model that we run."""
    steward = state.lanes.steward
    return {} if steward is None else {each["model"]: each["phase"] for each in steward.shown()}


def _of_llama_swap(shown: Mapping[str, object]) -> dict[str, object]:
    keys = ("model", "cmd", "proxy", "ttl", "name", "description")
    return {"state": shown["phase"], **{key: shown[key] for key in keys if key in shown}}


async def models(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """Each model that we run, with its phase, its clock and why it is as it is."""
    steward = state.lanes.steward
    await put(outlet, 200, {"models": [] if steward is None else steward.shown()})


# -- put to sleep, woken, stopped -------------------------------------------------------------------------------------


async def unload(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """Stop all."""
    if state.lanes.steward is not None:
        await state.lanes.steward.unload()
    outlet.start(200, [PLAIN, (b"content-length", b"2")])
    await outlet.finish(b"OK")


async def act(what: tuple[str, str], state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """Answers when it has ended: 200 where it is as was wanted, 409 where something else had to be done."""
    name, action = what
    found = _his(state, name)
    if isinstance(found, str):
        await refuse(outlet, 404, "model_not_run", found)
        return
    steward, model = found
    told = await steward.put(model, action)
    await put(outlet, 200 if told["ok"] else 409, told)


def _his(state: State, name: str) -> tuple[Steward, str] | str:
    """Who runs this model, and its own name; or why nobody does. Without a name, who runs any."""
    steward, model = state.lanes.steward, settings().canonical(name)
    if steward is None:
        return NOT_RUN
    if name and not steward.runs(model):
        return f"{name!r} is not run here\nthose that are:  hangtight model ls"
    return steward, model


# -- what they print --------------------------------------------------------------------------------------------------


async def logs(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """What all of them, and we, have printed lately."""
    steward = state.lanes.steward
    told = b"" if steward is None else steward.log(None)
    outlet.start(200, [PLAIN, (b"content-length", b"%d" % len(told))])
    await outlet.finish(told)


async def log_stream(name: str, state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """The same as it comes, of one model or of all, until the client leaves or we end."""
    found = _his(state, name)
    if isinstance(found, str):
        await refuse(outlet, 404, "model_not_run", found)
        return
    steward, model = found
    outlet.start(200, [PLAIN, (b"cache-control", b"no-cache"), UNBUFFERED])
    pieces = steward.follow(model or None, history=NO_HISTORY not in scope.get("query_string", b""))
    telling = asyncio.ensure_future(_tell(pieces, outlet))
    leaving = asyncio.ensure_future(_left(receive))
    state.readers.add(telling)
    try:
        await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        state.readers.discard(telling)
        for task in (telling, leaving):
            task.cancel()
        await asyncio.wait({telling, leaving})
    if not outlet.finished:
        await outlet.finish()


async def _tell(pieces: AsyncIterator[bytes], outlet: Outlet) -> None:
    with suppress(asyncio.CancelledError):
        async for piece in pieces:
            outlet.push(piece)
            if outlet.is_slow:
                await outlet.settled()
            if outlet.finished:
                return


async def _left(receive: Receive) -> None:
    with suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            pass


# -- which path is whose ----------------------------------------------------------------------------------------------

VIEWS: Final[Mapping[str, Mapping[str, View]]] = {
    "/running": read(running),
    "/unload": {"GET": unload, "POST": unload},  # who sends a HEAD only looks, and nothing may happen
    UNLOAD: {"POST": unload},
    LOGS: read(logs),
    STREAM: {"GET": partial(log_stream, "")},
    MODELS: read(models),
}


def one_of(path: str) -> Mapping[str, View] | None:
    """What stands below a list. Names of models may have a slash in them."""
    for head, method in ((f"{STREAM}/", "GET"), (f"{UNLOAD}/", "POST"), (f"{MODELS}/", "POST")):
        if not path.startswith(head) or not (name := path[len(head) :]):
            continue
        if head.startswith(STREAM):
            return {method: partial(log_stream, name)}
        if head.startswith(UNLOAD):
            return {method: partial(act, (name, "stop"))}
        model, _, action = name.rpartition("/")
        return {method: partial(act, (model, action))} if model and action in ACTIONS else None
    return None
