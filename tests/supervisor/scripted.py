"""Servers without a process: how long each thing takes is told by a script, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hangtight.core.process.facts import Exited, Fact, Gone, Healthy, SleepFailed, Spawned, Stubborn, WakeFailed
from hangtight.rules.finding import Origin
from hangtight.rules.running import OTHERS, Group, Running
from hangtight.rules.settings import NOTHING, Settings
from hangtight.supervisor import server as servers
from hangtight.supervisor.fleet import Fleet
from hangtight.supervisor.waiting import Held, Refused


@dataclass
class Script:
    """Of one model. Lengths are seconds; `fails` is how many of its starts end before they are ready."""

    start: float = 5.0
    sleep: float = 1.0
    wake: float = 1.0
    stop: float = 1.0
    fails: int = 0
    survives: int = 0
    """How many kills do not help."""


@dataclass
class House:
    """All servers of one test, and what was seen of them."""

    scripts: dict[str, Script] = field(default_factory=dict)
    starts: Counter[str] = field(default_factory=Counter)
    orders: list[str] = field(default_factory=list)
    """What was begun, in its order: `start a`, `stop a`, ..."""

    def of(self, name: str) -> Script:
        return self.scripts.setdefault(name, Script())


class ScriptedHands:
    """What takes its time, done by timers. One thing of each kind at a time, as the real hands have it."""

    house: House
    heard = ""

    def __init__(self, running: Running, yard: Any, note: Callable[[Fact], None], gets_on: Callable[[], None]) -> None:
        self.running, self.note, self.gets_on = running, note, gets_on
        self._loop: asyncio.AbstractEventLoop = yard.loop
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def script(self) -> Script:
        return self.house.of(self.running.name)

    def _later(self, kind: str, seconds: float, fact: Fact) -> None:
        self._no_more(kind)
        self._timers[kind] = self._loop.call_later(seconds, self.note, fact)

    def _no_more(self, kind: str) -> None:
        if timer := self._timers.pop(kind, None):
            timer.cancel()

    def _told(self, what: str) -> None:
        self.house.orders.append(f"{what} {self.running.name}")

    def start(self) -> None:
        self.house.starts[self.running.name] += 1
        self._told("start")
        self._later("life", 0.01, Spawned(self.house.starts.total()))

    def probe(self) -> None:
        fails = self.script.fails > 0
        self.script.fails -= fails
        self._later("probe", self.script.start, Exited("exit code 1") if fails else Healthy())

    def probe_no_more(self) -> None:
        self._no_more("probe")

    def run(self, command: tuple[str, ...], done: Fact, failed: type[SleepFailed | WakeFailed]) -> None:
        sleeps = failed is SleepFailed
        self._told("sleep" if sleeps else "wake")
        self._later("command", self.script.sleep if sleeps else self.script.wake, done)

    def run_no_more(self) -> None:
        self._no_more("command")

    def stop(self) -> None:
        self._told("stop")
        self._later("end", self.script.stop, Gone())

    def kill(self) -> None:
        self._told("kill")
        survives = self.script.survives > 0
        self.script.survives -= survives
        self._later("end", 0.1, Stubborn("process 1") if survives else Gone())

    async def close(self) -> None:
        for kind in list(self._timers):
            self._no_more(kind)


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    made = House()
    hands = type("Hands", (ScriptedHands,), {"house": made})
    monkeypatch.setattr(servers, "Hands", hands)
    return made


def run_as(*names: str, groups: Iterable[Group] = (), **said: Any) -> Settings:
    """Models that are run, all in the same way; those of no group are in the one of all others."""
    groups = tuple(groups)
    placed = {member for group in groups for member in group.members}
    others = Group(OTHERS, tuple(name for name in names if name not in placed))
    runs = {name: Running(name=name, command=("serve", name), **said) for name in names}
    return replace(NOTHING, runs=runs, groups={g.name: g for g in (*groups, others)}, origin=Origin.NAMED)


def sleepy(*names: str, **said: Any) -> Settings:
    return run_as(*names, sleep_command=("put-to-sleep",), wake_command=("wake",), **said)


@asynccontextmanager
async def scripted(settings: Settings) -> AsyncIterator[Fleet]:
    fleet = Fleet(settings, Path("/nowhere"))
    yield fleet
    await fleet.close()


class Request:
    """One request, which holds its place for so long, or until it is cut off."""

    patience = 0.0

    def __init__(self, fleet: Fleet, model: str, holds: float = 0.0) -> None:
        self.model = model
        self.loads = 0
        self.cut_off = ""
        self.answered: float | None = None
        """When it was let in, by the fleet's clock."""
        self.refused: Refused | None = None
        self._fleet, self._holds = fleet, holds
        self._cut = asyncio.Event()
        self.held: Held | None = None
        self.task = asyncio.get_running_loop().create_task(self._run(), name=f"request for {model}")

    def loading(self) -> None:
        self.loads += 1

    def cut(self, why: str) -> None:
        self.cut_off = why
        self._cut.set()

    @property
    def done(self) -> bool:
        return self.task.done()

    async def _run(self) -> None:
        try:
            self.held = self._fleet.lease(self.model, self) or await self._fleet.ready(self.model, self)
        except Refused as refused:
            self.refused = refused
            return
        try:
            self.answered = self._fleet.now()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._holds):
                    await self._cut.wait()
        finally:
            self.held.end()


def phases(fleet: Fleet) -> Mapping[str, str]:
    return {each["model"]: each["phase"] for each in fleet.shown()}
