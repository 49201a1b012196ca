"""What the gateway says about itself and its models: which paths are its own, and who answers there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from hangtight import __version__
from hangtight.dialects.chat import Shape
from hangtight.drivers import clock
from hangtight.drivers.standing import STANDING, recorder, settings
from hangtight.errors import HangtightError
from hangtight.gateway.telling import flight, flows, known, ollama, receipt, running, shown, training_card, ui, why
from hangtight.gateway.telling.answers import Receive, Scope, View, put, put_bytes, read, refuse
from hangtight.gateway.telling.summing import stats_of
from hangtight.journal.address import shown_address, standing_at

if TYPE_CHECKING:
    from hangtight.gateway.outlet import Outlet
    from hangtight.gateway.state import State

GENERATIONS: Final = "/hangtight/generations"
MODELS: Final = "/v1/models"
AT_ONCE: Final = 64  # requests described in one turn of the loop
LAST_WORDS: Final = 2.0  # seconds, on top of the limit `cancel`, in which a cancelled request may end
COME_BACK: Final = 5  # seconds


# -- health -----------------------------------------------------------------------------------------------------------


async def health(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """200 while it runs. More is for those who hold a key, where there are keys."""
    told: dict[str, Any] = {"status": "ok"}
    if _is_known(state, scope):
        keeping, now, lanes = recorder(), clock.now(), {lane.name: lane for lane in state.lanes.all()}
        models = {name: shown.of_model(lanes.get(name), now) for name in _names(state)}
        for name, phase in running.phases(state).items():
            models.setdefault(name, shown.of_model(lanes.get(name), now))["phase"] = phase
        told |= {
            "version": __version__,
            "scale": state.receipts.scale,
            "journal": None if keeping is None else shown_address(standing_at(keeping.url)),
            "since": shown.iso(state.began_at),
            "draining": state.is_draining,
            "in_flight": len(state.exchanges),
            "models": models,
            "trouble": state.keeper.trouble or STANDING.trouble,
        }
    await put(outlet, 200, told)


async def ready(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """200 when at least one model would be asked now."""
    why = _why_not_ready(state)
    if not why:
        await put(outlet, 200, {"status": "ready"})
        return
    await put(outlet, 503, {"status": "not ready", "why": why}, (b"retry-after", b"%d" % COME_BACK))


def _why_not_ready(state: State) -> str:
    if state.is_draining:
        return "it is about to stop"
    names, lanes = _names(state), {lane.name: lane for lane in state.lanes.all()}
    if not names:
        return "" if state.targets.are_written else "no model is known"
    now = clock.now()
    reasons = [shown.why_not(lanes.get(name), now) for name in names]
    if not all(reasons):
        return ""
    return f"no model can be asked: {', '.join(dict.fromkeys(reasons))}"


def _names(state: State) -> tuple[str, ...]:
    """The models that are known by name, and those that were asked for under a pattern."""
    targets = state.targets
    asked = (lane.name for lane in state.lanes.all() if targets.find(lane.name) is not None)
    return tuple(dict.fromkeys((*targets.names, *asked)))


def _is_known(state: State, scope: Scope) -> bool:
    """/health is open to all; what it tells of models is for those whom the gate would let in elsewhere, too."""
    gate, headers = state.keeper.gate, scope["headers"]
    return not gate.keys or len(gate.without_credentials(headers)) < len(headers)


# -- lists of models --------------------------------------------------------------------------------------------------


async def models(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    await put(outlet, 200, {"object": "list", "data": [_model(state, name) for name in _listed(state)]})


async def model(name: str, state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """One of them; one that stands in no list is found by whoever knows its name."""
    if state.targets.find(name) is None:
        await refuse(outlet, 404, "model_not_found", f"there is no model {name!r} here")
        return
    await put(outlet, 200, _model(state, name))


async def tags(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """Ollama's list. Those that are known to speak another API are not in it.

    OpenAI's list stands beside it, as in llama.cpp's answer: by that our own client sees that it had better speak
    OpenAI's API here, which the servers of all models know.
    """
    told, since = [], shown.iso(state.began_at)
    details = {"parent_model": "", "format": "", "family": "", "families": None, "parameter_size": ""}
    for name in _listed(state):
        target = state.targets.find(name)
        if target is not None and target.shape != Shape.OPENAI:
            about = {"size": 0, "digest": "", "details": {**details, "quantization_level": ""}}
            told.append({"name": name, "model": name, "modified_at": since, **about})
    data = [_model(state, name) for name in _listed(state)]
    await put(outlet, 200, {"models": told, "object": "list", "data": data})


async def version(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    await put(outlet, 200, {"version": __version__})


def _listed(state: State) -> list[str]:
    said, names = settings(), []
    for name in state.targets.names:
        serving = said.serving(name)
        if not serving.unlisted:
            names.append(name)
            names += serving.aliases if said.gateway.lists_aliases else ()
    return list(dict.fromkeys(names))


def _model(state: State, name: str) -> dict[str, Any]:
    told = {"id": name, "object": "model", "created": int(state.began_at), "owned_by": "hangtight"}
    return told | shown.of_serving(settings().serving(name))


# -- what is under way ------------------------------------------------------------------------------------------------


async def generations(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """All that is in flight, the oldest first, and the last that ended, the newest first.

    Thousands are told in several turns of the loop: nobody's token waits for a list.
    """
    told: list[str] = []
    for exchange in list(state.exchanges.values()):
        told.append(json.dumps(shown.in_flight(exchange), default=str))
        if not len(told) % AT_ONCE:
            await asyncio.sleep(0)
    finished = [json.dumps(each.told(), default=str) for each in reversed(state.finished)]
    head = json.dumps({"at": shown.iso(clock.wall()), "draining": state.is_draining})[:-1]
    body = f'{head}, "generations": [{", ".join(told)}], "finished": [{", ".join(finished)}]}}'
    await put_bytes(outlet, 200, body.encode())


async def generation(name: str, state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """One of them: with its limits while it runs, else how it ended."""
    found = known.in_flight(state, name)
    if found is not None:
        await put(outlet, 200, shown.in_full(found))
    elif (ended := known.finished(state, name)) is not None:
        await put(outlet, 200, ended.told())
    else:
        await refuse(outlet, 404, "generation_not_found", known.unknown(name))


async def cancel(name: str, state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """End it; the answer comes when it has ended, with what was seen at its server."""
    found = known.in_flight(state, name)
    if found is None:
        ended = known.finished(state, name)
        words = known.unknown(name) if ended is None else f"{name} has ended already: {ended.outcome.value}"
        await refuse(outlet, 404, "generation_not_found" if ended is None else "generation_ended", words)
        return
    patience = LAST_WORDS + (found.reading.session.resolved.limits.cancel or 0.0 if found.reading is not None else 0.0)
    found.cancel()
    has_ended = await _within(patience, found.over.wait())
    seen = found.reading.seen if found.reading is not None else None
    if has_ended and seen is not None:
        await _within(patience, asyncio.shield(seen))
    ended = known.finished(state, found.id)
    said = shown.in_flight(found) if ended is None else ended.told()
    at_server = shown.seen(seen.result()) if seen is not None and seen.done() else None
    await put(outlet, 200 if has_ended else 202, {**said, "at_server": at_server})


async def _within(seconds: float, work: Awaitable[object]) -> bool:
    """Whether it was done in time."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return False
    return True


# -- numbers ----------------------------------------------------------------------------------------------------------


async def metrics(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
    page = await asyncio.to_thread(state.metrics.render, accept)
    headers = [(b"content-type", page.content_type.encode()), (b"content-length", b"%d" % len(page.body))]
    outlet.start(200, headers)
    await outlet.finish(page.body)


async def stats(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """The journal, summed up: `?since=1d`, `?by=model`."""
    asked, keeping = _asked(scope), recorder()
    try:
        told = await asyncio.to_thread(
            stats_of, None if keeping is None else keeping.url, asked.get("since"), asked.get("by")
        )
    except ValueError as wrong:
        await refuse(outlet, 400, "bad_query", str(wrong))
    except HangtightError as error:
        await refuse(outlet, 503, "journal", " ".join(str(error).split()))
    else:
        await put(outlet, 200, told)


async def events(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """What happens, while it happens: `?run=`, `?model=`; with `?flight=0.5` also how all stands, so often."""
    asked = _asked(scope)
    try:
        every = flight.interval(asked["flight"]) if "flight" in asked else None
    except ValueError as wrong:
        await refuse(outlet, 400, "bad_query", str(wrong))
        return
    listener = state.events.listen(outlet, asked.get("run", ""), asked.get("model", ""))
    with nullcontext() if every is None else state.flights.telling(listener, every):
        await state.events.follow(receive, listener)


def _asked(scope: Scope) -> dict[str, str]:
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return {name: values[-1] for name, values in query.items()}


# -- which path is whose ----------------------------------------------------------------------------------------------


VIEWS: Final[Mapping[str, Mapping[str, View]]] = {
    "/health": read(health),
    "/ready": read(ready),
    MODELS: read(models),
    "/api/tags": read(tags),
    "/api/version": read(version),
    "/metrics": read(metrics),
    GENERATIONS: read(generations),
    "/hangtight/stats": read(stats),
    "/hangtight/events": {"GET": events},
    "/hangtight/receipt": read(receipt.receipt),
    "/hangtight/training": read(training_card.training),
    **ollama.VIEWS,
    **running.VIEWS,
    **flows.VIEWS,
    **ui.VIEWS,
}


def answer_to(method: str, path: str) -> View | None:
    """Who answers this request here; None where it is for a model."""
    views = VIEWS.get(path) or _one_of(path)
    if views is None:
        return _nowhere if path.startswith("/hangtight/") else None
    return views.get(method) or partial(_otherwise, ", ".join(views))


def _one_of(path: str) -> Mapping[str, View] | None:
    """What stands below a list."""
    head, _, name = path.partition(f"{MODELS}/")
    if not head and name:  # names of models may have a slash in them
        return read(partial(model, name))
    head, _, name = path.partition(f"{GENERATIONS}/")
    if not head and name.endswith(f"/{why.WHY}"):
        return read(partial(why.why, name.removesuffix(f"/{why.WHY}")))
    if not head and name:
        return {**read(partial(generation, name)), "DELETE": partial(cancel, name)}
    return flows.one_of(path) or running.one_of(path) or ui.one_of(path)


async def _otherwise(allowed: str, state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    words = f"{scope['method']} does nothing here; this path knows {allowed}"
    await refuse(outlet, 405, "method_not_allowed", words, (b"allow", allowed.encode()))


async def _nowhere(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    known = ", ".join(path for path in VIEWS if path.startswith("/hangtight/"))
    await refuse(outlet, 404, "not_found", f"there is nothing here\nwhat there is:  {known}")
