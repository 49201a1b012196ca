"""Workflows over HTTP: a run is begun, followed, looked at and cancelled.

/hangtight/flows, /hangtight/flows/{name}, /hangtight/runs, /hangtight/runs/{id}.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, unquote

from hangtight.dialects.speaking import Told
from hangtight.drivers.standing import recorder
from hangtight.errors import HangtightError
from hangtight.gateway.door.gate import Intake
from hangtight.gateway.flows_port import Order
from hangtight.gateway.telling import shown
from hangtight.gateway.telling.answers import Receive, Scope, View, put, read, refuse

if TYPE_CHECKING:
    from hangtight.gateway.flows_port import Flows
    from hangtight.gateway.outlet import Outlet
    from hangtight.gateway.state import State

FLOWS: Final = "/hangtight/flows"
RUNS: Final = "/hangtight/runs"
MOST: Final = 100  # runs in one answer
MOST_BODY: Final = 4 * 1024 * 1024  # bytes: reading it holds up everybody else
LAST_WORDS: Final = 2.0  # seconds in which a cancelled run may end
LOOK: Final = 0.02
SSE: Final = "text/event-stream"
NO_FLOWS: Final = "no flows are run here\nto have some:  flows: FOLDER in hangtight.yaml"
INSTANTS: Final = ("began", "ended", "deadline", "as_of")


# -- begun ------------------------------------------------------------------------------------------------------------


async def flows(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """Those that can be run, with their inputs."""
    runner = state.flows
    await put(outlet, 200, {"flows": [] if runner is None else await asyncio.to_thread(runner.flows)})


async def begin(name: str, state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """The body is the inputs. 202 with the run's id at once; or its events to its end, for whoever accepts those.

    A client that leaves does not end it. `?total=`, `?model=step=name` and `?set=step.key=value` are for this run.
    """
    runner = state.flows
    if runner is None:
        await refuse(outlet, 404, "flow_not_found", NO_FLOWS)
        return
    intake = Intake(min(MOST_BODY, state.keeper.gate.bounds.body))
    inputs = await _inputs(receive, intake)
    if inputs is None:
        return
    if isinstance(inputs, Told):
        await refuse(outlet, inputs.status, inputs.code, inputs.message)
        return
    run = os.urandom(6).hex()
    listener = state.events.listen(outlet, run, to_its_end=True) if _wants_events(scope) else None
    try:
        await runner.begin(_order(unquote(name), inputs, scope), run)
    except LookupError:
        await refuse(outlet, 404, "flow_not_found", f"there is no flow {name!r} here\nthose that are:  GET {FLOWS}")
    except ConnectionError as trouble:
        await refuse(outlet, 503, "run_not_kept", str(trouble))
    except (HangtightError, ValueError) as wrong:
        await refuse(outlet, 400, "bad_flow", str(wrong))
    else:
        if listener is not None:
            await state.events.follow(receive, listener)
            return
        place = f"{RUNS}/{run}"
        told = {"run": run, "flow": name, "url": place, "events": f"/hangtight/events?run={quote(run)}"}
        await put(outlet, 202, told, (b"location", place.encode()))
        return
    finally:
        if listener is not None:
            state.events.forget(listener)


def _wants_events(scope: Scope) -> bool:
    return SSE in dict(scope["headers"]).get(b"accept", b"").decode("latin-1")


async def _inputs(receive: Receive, intake: Intake) -> dict[str, Any] | Told | None:
    """The JSON object that was sent; none is an empty one. None where the client left."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        if (denied := intake.take(message.get("body", b""))) is not None:
            return Told(*denied)
        if not message.get("more_body", False):
            break
    try:
        found = json.loads(intake.whole() or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError):
        found = None
    wanted = "the body must be the inputs of the flow, as a JSON object"
    return found if isinstance(found, dict) else Told.of(400, "bad_inputs", wanted)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _order(name: str, inputs: Mapping[str, Any], scope: Scope) -> Order:
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    return Order(name, inputs, _total(query.get("total", [])), _pairs("model", query), _pairs("set", query))


def _total(words: Sequence[str]) -> float | None:
    if not words:
        return None
    try:
        total = float(words[-1])
    except ValueError:
        total = 0.0
    if not 0 < total < inf:
        raise ValueError(f"total={words[-1]!r} cannot be used: it must be a number of seconds, more than 0")
    return total


def _pairs(key: str, query: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Of `?set=coder.total=900&set=...`."""
    found = {}
    for word in query.get(key, ()):
        name, sign, value = word.partition("=")
        if not (sign and name and value) or name.startswith("@"):
            raise ValueError(f"{key}={word!r} cannot be used: it must be like step=name, or step.key=value")
        found[name] = value
    return found


# -- looked at --------------------------------------------------------------------------------------------------------


async def runs(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """Those of this gateway, and what the journal knows of others; the newest first."""
    own = [] if state.flows is None else state.flows.shown()
    known = {each["id"] for each in own}
    try:
        kept = await asyncio.to_thread(_journalled)
    except HangtightError as error:
        await refuse(outlet, 503, "journal", " ".join(str(error).split()))
        return
    told = [*own, *(each for each in kept if each["id"] not in known)]
    told.sort(key=lambda each: -float(each["began"] or 0.0))
    await put(outlet, 200, {"runs": [_with_times(each) for each in told[:MOST]]})


async def run(name: str, state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """One of them, with its steps; of the journal's, with what happened."""
    found = None if state.flows is None else state.flows.one(name)
    try:
        found = found or await asyncio.to_thread(_one_journalled, name)
    except HangtightError as error:
        await refuse(outlet, 503, "journal", " ".join(str(error).split()))
        return
    if found is None:
        await refuse(outlet, 404, "run_not_found", f"no run {name!r} is known here")
        return
    steps = [_with_times(step) for step in found["steps"]]
    await put(outlet, 200, {**_with_times(found), "steps": steps})


async def cancel(name: str, state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """End it; the answer comes when it has ended. What its steps have written is kept."""
    runner = state.flows
    before = None if runner is None else runner.one(name)
    if runner is None or before is None:
        if runner is not None and await runner.cancel(name):
            await put(outlet, 202, {"id": name, "outcome": None})
            return
        await refuse(outlet, 404, "run_not_found", f"no run {name!r} is known here")
        return
    stopped = before["outcome"] is None and await runner.cancel(name)
    told = await _at_its_end(runner, name) or before
    if not stopped:
        await refuse(outlet, 404, "run_ended", f"{name} has ended already: {told['outcome']}")
        return
    steps = [_with_times(step) for step in told["steps"]]
    await put(outlet, 202 if told["outcome"] is None else 200, {**_with_times(told), "steps": steps})


async def _at_its_end(runner: Flows, run: str) -> dict[str, Any] | None:
    """As it stands then, or after a moment."""
    try:
        async with asyncio.timeout(LAST_WORDS):
            while (told := runner.one(run)) is not None and told["outcome"] is None:  # noqa: ASYNC110 - it is told nowhere else
                await asyncio.sleep(LOOK)
    except TimeoutError:
        pass
    return told


def _with_times(told: Mapping[str, Any]) -> dict[str, Any]:
    """Instants as people read them."""
    return {**told, **{key: shown.iso(told[key]) for key in INSTANTS if told.get(key) is not None}}


def _journalled() -> list[dict[str, Any]]:
    keeping = recorder()
    if keeping is None:
        return []
    from hangtight.journal.reading import Reading

    return [{**asdict(each), "status": each.outcome} for each in Reading(keeping.url).runs(limit=MOST)]


def _one_journalled(name: str) -> dict[str, Any] | None:
    keeping = recorder()
    if keeping is None:
        return None
    from hangtight.journal.reading import Reading

    told = Reading(keeping.url).find_run(name)
    if told is None:
        return None
    events = [{**asdict(each), "at": shown.iso(each.at)} for each in told.events]
    return {
        **asdict(told.run),
        "status": told.run.outcome,
        **told.far,
        "steps": told.all_steps,
        "events": events,
    }


# -- which path is whose ----------------------------------------------------------------------------------------------

VIEWS: Final[Mapping[str, Mapping[str, View]]] = {FLOWS: read(flows), RUNS: read(runs)}


def one_of(path: str) -> Mapping[str, View] | None:
    """What stands below a list."""
    head, _, name = path.partition(f"{FLOWS}/")
    if not head and name:
        return {"POST": partial(begin, name)}
    head, _, name = path.partition(f"{RUNS}/")
    if not head and name:
        return {**read(partial(run, name)), "DELETE": partial(cancel, name)}
    return None
