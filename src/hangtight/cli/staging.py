"""The flows of a gateway: those of the folder that the settings name, as long as it serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hangtight.cli.keeping import LACKS, MOST, place_of_runs, workspaces
from hangtight.cli.process import say
from hangtight.drivers.servers import ollama_url
from hangtight.drivers.standing import settings

if TYPE_CHECKING:
    from hangtight.flows.durable.store import Durable
    from hangtight.flows.http_runs import Stage
    from hangtight.gateway.state import State


@asynccontextmanager
async def staging(state: State, ending: asyncio.Event) -> AsyncIterator[Callable[[str], object]]:
    """Where the settings name a folder its flows are run; those that an end has interrupted go on.

    Gives what is to be told the address, once there is one. At the `ending` runs stop, before the models they ask.
    """
    said = settings()
    if said.flows is None:
        yield _nobody
        return
    if not said.may_run:
        say(f"{said.files[-1]} names a folder of flows, and nobody named that file: they are not run\n")
        say(f"to have them run:  hangtight serve --config {said.files[-1]}\n")
        yield _nobody
        return
    from hangtight.flows.http_runs import Stage
    from hangtight.flows.port import AT_ONCE, InMemory

    store = _store()
    kept = store or InMemory(AT_ONCE)
    stage = Stage(Path(said.flows), workspaces(), kept)
    state.stage(stage)
    address = stage.address = asyncio.get_running_loop().create_future()
    stopping = asyncio.ensure_future(_stop_at(ending, stage))
    names = ", ".join(each["name"] for each in stage.flows())
    say(f"flows: {names or f'none in {said.flows}'}\n")
    try:
        if store is not None:
            open_ones = [known.spec for known in await store.list_runs(MOST) if known.status in GO_ON]
            if count := await stage.go_on(open_ones):
                say(f"{count} runs of flows go on where they were\n")
        yield lambda url: address.set_result(ollama_url(url) if url.startswith("http") else None)
    finally:
        ending.set()
        await stopping


async def _stop_at(ending: asyncio.Event, stage: Stage) -> None:
    """A step whose model was asked of a gateway that ends would fail, and its run could not go on later."""
    await ending.wait()
    await stage.close()


def _nobody(url: str) -> None:
    """No flows are run."""


GO_ON = ("running", "interrupted", "waiting")
"""What an end of the gateway leaves behind: at once, with some notice, or before its turn came."""


def _store() -> Durable | None:
    if find_spec("dbos") is None:
        say(f"{LACKS}\nuntil then runs of flows do not survive an end of this gateway\n")
        return None
    from hangtight.flows.durable.store import Durable
    from hangtight.flows.port import AT_ONCE

    return Durable(place_of_runs(None), at_once=AT_ONCE)
