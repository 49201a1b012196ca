"""What the gateway holds does not grow with what has passed: objects, descriptors, and in hours of load, memory."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
import pytest

from hangtight.gateway.state import REMEMBERED
from hangtight.testing.lab import Lab
from tests.gateway.behind import ANSWERED, PATIENCE, Before, Talk, answer, before, behind, chat, post, until
from tests.gateway.kit import Served
from tests.gateway.load import FAILED, FINISHED, HUNG, LEFT, MUTE, SILENT, TIMED_OUT, Load
from tests.journal.kit import soon

pytestmark = pytest.mark.real

QUICK, BUSY = "m,tokens=9,rate=200", "busy,tokens=30,rate=40"
SETTINGS = """\
limits: {{idle: 0.7, total: 8}}
circuit: false     # silent models are wanted here
models:
  "busy*": {{proxy: "{url}", concurrencyLimit: 1}}
  "*": {{proxy: "{url}"}}
"""
EVERY = 0.2  # seconds between two looks
WARM = 3.0  # seconds until all that is loaded late, and kept once, is there
SECONDS = 300.0
MORE_MEMORY = 1.02
MORE_DESCRIPTORS = 1.3  # how many there are differs with what is under way


class Look(NamedTuple):
    """What a process holds."""

    memory: int
    descriptors: int


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def look_at(process: psutil.Process) -> Look:
    return Look(process.memory_info().rss, process.num_fds())


async def under_load(load: Load, process: psutil.Process, seconds: float) -> list[Look]:
    """What it holds meanwhile, in order."""
    running = asyncio.create_task(load.run())
    await asyncio.sleep(WARM)
    looks = []
    for _ in range(round(seconds / EVERY)):
        looks.append(look_at(process))
        await asyncio.sleep(EVERY)
    load.enough = True
    await running
    return looks


# -- objects, one by one --------------------------------------------------------------------------------------

ROUNDS = 30
"""More than is remembered of those that have ended, and more than chance could hide."""
FEW = 5
FEW_DESCRIPTORS = 3


async def desk(talk: Talk) -> None:
    """A server of which one model refuses, one is mute and the others answer."""
    while True:
        head, body = await talk.request()
        model = json.loads(body)["model"] if body else ""
        if head.startswith(b"GET "):
            talk.say(answer(b"{}", 404))
        elif model == "mute":
            await talk.gone()
            return
        else:
            talk.say(answer(b"{}", 500) if model == "ill" else ANSWERED)


async def each_end_once(ours: Before) -> None:
    """A request of each kind, and with each kind of end."""

    async def leave() -> None:
        _, writer = await ours.open(chat("mute", stream=True))
        await until(lambda: any(exchange.reading for exchange in ours.gateway.state.exchanges.values()))
        writer.close()

    hasty = {"x-hangtight-first-token": "0.05"}
    await asyncio.gather(
        *(ours.chat(stream=stream) for stream in (True, False)),
        *(ours.chat("ill", stream=stream) for stream in (True, False)),
        *(ours.chat("mute", stream=stream, headers=hasty) for stream in (True, False)),
        ours.ask(post("/v1/embeddings", b'{"model": "m", "input": "hi"}')),
        ours.chat("unknown"),
        leave(),
    )
    state = ours.gateway.state
    await until(lambda: not state.exchanges and not state.lanes._looks)


def census() -> Counter[str]:
    """How many objects of ours there are, of each kind."""
    gc.collect()
    names = (f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    return Counter(name for name in names if name.startswith("hangtight."))


@pytest.mark.timeout(120)
@pytest.mark.skipif(not hasattr(psutil.Process, "num_fds"), reason="POSIX only")
def test_no_request_leaves_an_object_or_a_descriptor_behind(tmp_path: Path) -> None:
    settings = "circuit: false\nlimits: {cancel: 0.1}\nmodels: {m: {proxy: %s}, ill: {proxy: %s}, mute: {proxy: %s}}\n"

    async def main() -> None:
        async with (
            asyncio.timeout(6 * PATIENCE),
            behind(desk) as server,
            before(tmp_path, settings % ((server.url,) * 3)) as ours,
        ):
            assert 9 * ROUNDS > REMEMBERED
            for _ in range(ROUNDS):
                await each_end_once(ours)
            first, descriptors = census(), psutil.Process().num_fds()
            for _ in range(ROUNDS):
                await each_end_once(ours)
            more = census() - first
            assert {kind: count for kind, count in more.items() if count > FEW} == {}
            # The other end of a connection is closed a turn of the loop later.
            await until(lambda: psutil.Process().num_fds() <= descriptors + FEW_DESCRIPTORS)

    asyncio.run(main())


# -- memory, in hours -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(not hasattr(psutil.Process, "num_fds"), reason="POSIX only")
def test_memory_and_descriptors_are_flat_whatever_ends_there_are(lab: Lab, tmp_path: Path) -> None:
    with Served(tmp_path, SETTINGS.format(url=lab.url)) as served:
        process = psutil.Process(served.process.pid)
        at_rest = look_at(process).descriptors
        load = Load(served.url, clients=32, models=(*[QUICK] * 6, SILENT, MUTE, BUSY, BUSY))
        looks = asyncio.run(under_load(load, process, SECONDS))
        assert {asked.end for asked in load.asked} == {FINISHED, TIMED_OUT, LEFT, FAILED}
        assert not load.ended(HUNG)
        assert all("429" in asked.told for asked in load.ended(FAILED))
        first, second = looks[: len(looks) // 2], looks[len(looks) // 2 :]
        memory = [median(look.memory for look in half) for half in (first, second)]
        descriptors = [median(look.descriptors for look in half) for half in (first, second)]
        assert memory[1] / memory[0] < MORE_MEMORY, memory
        assert descriptors[1] / descriptors[0] < MORE_DESCRIPTORS, descriptors
        # A connection that is kept for the next request waits some seconds for it; the journal has files of its own.
        assert soon(lambda: look_at(process).descriptors <= at_rest + 4), (look_at(process), at_rest)
