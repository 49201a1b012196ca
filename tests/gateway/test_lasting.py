"""Hours of load, scaled: what the gateway holds in memory, and its descriptors, do not grow with what has passed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
import pytest

from hangtight.testing.lab import Lab
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


@pytest.mark.skipif(not hasattr(psutil.Process, "num_fds"), reason="POSIX only")
@pytest.mark.parametrize(
    ("seconds", "more_memory"),
    [(7.0, 1.1), pytest.param(300.0, 1.02, marks=[pytest.mark.slow, pytest.mark.timeout(400)])],
    ids=["short", "long"],
)
def test_memory_and_descriptors_are_flat_whatever_ends_there_are(
    seconds: float, more_memory: float, lab: Lab, tmp_path: Path
) -> None:
    with Served(tmp_path, SETTINGS.format(url=lab.url)) as served:
        process = psutil.Process(served.process.pid)
        at_rest = look_at(process).descriptors
        load = Load(served.url, clients=32, models=(*[QUICK] * 6, SILENT, MUTE, BUSY, BUSY))
        looks = asyncio.run(under_load(load, process, seconds))
        assert {asked.end for asked in load.asked} == {FINISHED, TIMED_OUT, LEFT, FAILED}
        assert not load.ended(HUNG)
        assert all("429" in asked.told for asked in load.ended(FAILED))
        first, second = looks[: len(looks) // 2], looks[len(looks) // 2 :]
        memory = [median(look.memory for look in half) for half in (first, second)]
        descriptors = [median(look.descriptors for look in half) for half in (first, second)]
        assert memory[1] / memory[0] < more_memory, memory
        assert descriptors[1] / descriptors[0] < MORE_DESCRIPTORS, descriptors
        # A connection that is kept for the next request waits some seconds for it; the journal has files of its own.
        assert soon(lambda: look_at(process).descriptors <= at_rest + 4), (look_at(process), at_rest)
