"""How `hangtight serve` runs: what it tells at the start, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from hangtight.cli import ending
from hangtight.cli.process import FAILED, say
from hangtight.cli.settings import USAGE, fail, use
from hangtight.cli.staging import staging
from hangtight.cli.writing import Writer
from hangtight.drivers.servers import Place, Server
from hangtight.drivers.standing import STANDING, data_folder, settings
from hangtight.errors import HangtightError

if TYPE_CHECKING:
    from hangtight.gateway.door.serving import Stops
    from hangtight.gateway.state import State

SHOWN = 8


class Where(NamedTuple):
    """The address to listen on."""

    host: str
    port: int
    uds: str | None


def serve_command(where: Where, config: str | None, *, drain: float, insecure: bool, scale: float = 1.0) -> int:
    """Serve until a signal, and return the exit code."""
    use(config)
    try:
        from hangtight.gateway.app import Gateway
        from hangtight.gateway.door.gate import may_listen
        from hangtight.gateway.door.listening import CannotListen
        from hangtight.gateway.door.serving import Stops, loop_factory, serve
        from hangtight.gateway.state import State
    except ModuleNotFoundError as missing:
        fail(f"serve needs {missing.name}, which is not installed\nto get it:  pip install 'hangtight[gateway]'", USAGE)
    said = settings().gateway
    writer = Writer()
    try:
        if where.uds is None:
            may_listen(where.host, said.keys, insecure=insecure)
        state = State()
        state.receipts.stand_for(scale)
        app = Gateway(state, where.host, insecure=insecure or where.uds is not None)

        async def work() -> int:
            stops = Stops()
            with stops.listening():
                async with _running(state, where, writer, stops) as told:
                    served = await serve(
                        app, host=where.host, port=where.port, uds=where.uds, patience=said.patience, head=said.head,
                        drain=drain, on_ready=partial(_tell_address, told), stops=stops,
                    )  # fmt: skip
                if served.cut:
                    say(f"ended {served.cut} that were still running\n")
            return stops.code

        code = ending.run(work(), loop_factory())
    except CannotListen as error:
        fail(str(error), FAILED)
    except HangtightError as error:
        fail(str(error), USAGE)
    finally:
        writer.close()
    return ending.leave(code)


@contextlib.asynccontextmanager
async def _running(state: State, where: Where, writer: Writer, stops: Stops) -> AsyncIterator[Callable[[str], object]]:
    """The models: those that we run are ours as long as this lasts, the others are found and told.

    Gives what is to be told the address.
    """
    from hangtight.supervisor.fleet import Fleet

    STANDING.answers_others = True
    said = settings()
    for remark in said.remarks:
        say(f"{remark}\n")
    if said.runs and not said.may_run:
        say(f"{said.files[-1]} has commands, and nobody named it: they are not run\n")
        say(f"to have them run:  hangtight serve --config {said.files[-1]}\n")
    state.own_port = where.port
    fleet = Fleet(said, data_folder() / "processes", progress=state.lanes.last_progress, output=writer.write)
    state.engage(fleet)
    if not state.targets.are_written:
        _tell_found(await state.find())
    _tell_models(state.targets.names)
    fleet.on_orphan = lambda words: say(f"{words}\n")
    try:
        await _unless(stops.first, fleet.begin())
        async with staging(state, stops.first) as told, _reloading(STANDING.look_now):
            yield told
    finally:
        stops.first.set()
        stops.second.clear()  # one that cut the requests off is no reason to kill the servers too
        closing = asyncio.ensure_future(fleet.close())
        await _unless(stops.second, asyncio.shield(closing))
        if not closing.done():
            fleet.hurry()
        await closing


async def _unless(heard: asyncio.Event, work: Awaitable[object]) -> None:
    """Until this is done or that was heard, and then the work is broken off."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(heard.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    if not tasks[0].cancelled():
        tasks[0].result()


@contextlib.asynccontextmanager
async def _reloading(look: Callable[[], object]) -> AsyncIterator[None]:
    """At SIGHUP, where there is one."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None:
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(hangup, look)
    try:
        yield
    finally:
        loop.remove_signal_handler(hangup)


def _tell_found(seen: list[tuple[Place, Server | str]]) -> None:
    """What stands on the usual ports, line by line."""
    for place, server in seen:
        if isinstance(server, Server):
            say(f"found {place.url} ({place.source.partition(',')[0]}): {_listed(server.models)}\n")
    if not any(isinstance(server, Server) for _, server in seen):
        ports = ", ".join(place.url.rpartition(":")[2] for place, _ in seen)
        say(f"no model server found on the usual ports of this machine ({ports})\n")
        say("to name one:  models: {NAME: {proxy: http://HOST:PORT}} in hangtight.yaml\n")


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - SHOWN
    return (", ".join(names[:SHOWN]) or "no model") + (f" and {more} more" if more > 0 else "")


def _tell_models(names: tuple[str, ...]) -> None:
    if names:
        say(f"models: {_listed(names)}\n")


def _tell_address(told: Callable[[str], object], url: str) -> None:
    told(url)
    gc.collect()
    gc.freeze()  # what is here now stays: no collection need look at it, and none stops the streams for long
    say(f"hangtight serves at {url}  (OpenAI: {url}/v1)\n")
    if url.startswith("http"):
        say(f"dashboard: {url}/ui\n")
