"""Hundreds of starts, sleeps, wakes, stops and kills at random, with traffic, in one life of a fleet."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from hangtight.supervisor.waiting import Refused
from tests.supervisor.fleets import Stage, quick, sleepy, staged

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
SEED = 20260
MODELS = {
    "a": sleepy(),
    "b": quick(),
    "c": quick("deaf", unloadTimeout=0.1),
    "d": sleepy(),
    "e": quick(ttl=0.3),
    "f": quick(cmdSleep="/bin/sh -c 'exit 0'", cmdWake="/bin/sh -c 'exit 1'"),
}
GROUPS = {
    "one": {"members": ["a", "b", "c"]},
    "side": {"members": ["d", "e", "f"], "swap": False, "exclusive": False, "persistent": True},
}
DOES = ("ask", "ask", "ask", "sleep", "wake", "stop", "kill", "give up")
CYCLES, AT_ONCE = 504, 6
LONGEST = 120.0
"""A deadlock is told, not waited for: all of it takes a quarter of this on a slow machine."""


class Cycles:
    """What is done, and how it ended."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage, self.random = stage, random.Random(seed)
        self.ended: Counter[str] = Counter()

    async def some(self, count: int) -> None:
        for _ in range(count):
            what, model = self.random.choice(DOES), self.random.choice("abcdef")
            self.ended[await self.one(what, model)] += 1

    async def one(self, what: str, model: str) -> str:
        match what:
            case "ask":
                return await self.asked(model)
            case "give up":
                with suppress(TimeoutError, Refused):
                    async with asyncio.timeout(self.random.random() / 10):
                        await self.stage.served(model)
                return "gave up"
            case "kill":
                pid = self.stage.shown(model)["pid"]
                if pid is not None:
                    with suppress(psutil.NoSuchProcess):
                        psutil.Process(pid).kill()
                return "killed" if pid else "nothing to kill"
            case _:
                told = await self.stage.fleet.put(model, what)
                assert told["ok"] or told["why"]
                return what

    async def asked(self, model: str) -> str:
        """Served, or told why not: there is no third."""
        try:
            return "served" if await self.stage.served(model) == 200 else "lost its server"
        except Refused:
            return "refused"


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_five_hundred_cycles_leave_nothing_behind(tmp_path: Path, kind: str) -> None:
    loop = pytest.importorskip("uvloop").new_event_loop if kind == "uvloop" else asyncio.new_event_loop

    async def scene() -> Counter[str]:
        async with asyncio.timeout(LONGEST), staged(tmp_path, MODELS, groups=GROUPS) as stage:
            cycles = Cycles(stage, SEED)
            await asyncio.gather(*(cycles.some(CYCLES // AT_ONCE) for _ in range(AT_ONCE)))
            for server in stage.fleet._servers.values():
                assert not server.waiting
                assert not server.leases
                assert not server.machine.running
            await stage.fleet.unload()
            assert set(stage.phases().values()) <= {"stopped", "failed"}
            return cycles.ended

    with asyncio.Runner(loop_factory=loop) as runner:
        ended = runner.run(scene())  # and nothing runs afterwards: `staged` looks
    assert ended.total() == CYCLES
    assert ended["served"] > 100
    assert ended["killed"] > 10
