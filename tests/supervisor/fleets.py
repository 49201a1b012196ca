"""A fleet with real processes, as a file describes them, and what tests do with it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from hangtight.core.time import Instant
from hangtight.rules.loading import check
from hangtight.rules.settings import Settings
from hangtight.supervisor.fleet import Fleet
from hangtight.supervisor.readiness import probed
from hangtight.supervisor.waiting import Held, Refused
from tests.supervisor.conftest import NAME
from tests.supervisor.kit import until

QUICK = Path(__file__).with_name("quick.py")
FIRST, LAST = 20_000, 32_000
"""Ports below those that the system gives away by itself."""

Models = Mapping[str, Mapping[str, Any]]


def lab(*options: str, **said: Any) -> dict[str, Any]:
    """The lab's server."""
    command = f"{sys.executable} -m hangtight.testing.lab --port ${{PORT}} {' '.join(options)}"
    return {"cmd": command, "proxy": "http://127.0.0.1:${PORT}", **said}


def quick(*manners: str, **said: Any) -> dict[str, Any]:
    """A server that is there within milliseconds."""
    command = f"{sys.executable} -I -S {QUICK} ${{PORT}} {' '.join(manners)}"
    return {"cmd": command, "proxy": "http://127.0.0.1:${PORT}", **said}


def shell(script: str, **said: Any) -> dict[str, Any]:
    """A program that may be anything but a server."""
    return {"cmd": f"/bin/sh -c '{script}' ${{PORT}}", "proxy": "http://127.0.0.1:${PORT}", **said}


def sleepy(**said: Any) -> dict[str, Any]:
    """One that is quick, and asleep whenever somebody says so."""
    return quick(cmdSleep="/bin/sh -c 'exit 0'", cmdWake="/bin/sh -c 'exit 0'", **said)


def free_ports(count: int) -> int:
    """The first of so many in a row at which nobody listens."""
    while True:
        first = random.randrange(FIRST, LAST - count)
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.create_server(("127.0.0.1", port)):
                    pass
            return first


class Stage:
    """A fleet and its file."""

    def __init__(self, folder: Path, models: Models, **said: Any) -> None:
        self.folder, self.said = folder, {"startPort": free_ports(20), **said}
        self.file = folder / "hangtight.yaml"
        self.write(models)
        self.output = bytearray()
        self.progress: dict[str, Instant] = {}
        self.fleet = Fleet(self.read(), folder / "processes", progress=self.progress.get, output=self.output.extend)

    def write(self, models: Models, **said: Any) -> None:
        self.file.write_text(json.dumps({**self.said, **said, "models": models}))

    def read(self) -> Settings:
        return check(self.file, folder=self.folder, home=self.folder)

    def renew(self, models: Models, **said: Any) -> None:
        self.write(models, **said)
        self.fleet.renew(self.read())

    def shown(self, model: str) -> Mapping[str, Any]:
        return next(each for each in self.fleet.shown() if each["model"] == model)

    def phase(self, model: str) -> str:
        return str(self.shown(model)["phase"])

    def phases(self) -> dict[str, str]:
        return {each["model"]: each["phase"] for each in self.fleet.shown()}

    def pid(self, model: str) -> int:
        return int(self.shown(model)["pid"])

    def url(self, model: str) -> str:
        return str(self.shown(model)["proxy"])

    def log(self, model: str | None = None) -> str:
        return self.fleet.log(model).decode("utf-8", "replace")

    def starts(self, model: str) -> int:
        return self.log(None).count(f"<{model}> Executing cmd (")

    async def until(self, model: str, *phases: str) -> None:
        await until(lambda: self.phase(model) in phases)

    async def held(self, model: str) -> Guest:
        """A request that is in."""
        guest = Guest()
        guest.held = self.fleet.lease(model, guest) or await self.fleet.ready(model, guest)
        return guest

    async def served(self, model: str, seconds: float = 5.0) -> int:
        """A request from its beginning to its end; the status that the server gave."""
        guest = await self.held(model)
        try:
            return (await probed(f"{self.url(model)}/health", seconds=seconds))[0]
        finally:
            guest.end()

    async def refused(self, model: str) -> str:
        """Why it is sent away."""
        try:
            (await self.held(model)).end()
        except Refused as refused:
            return str(refused)
        raise AssertionError(f"{model} is {self.phase(model)}")


class Guest:
    """One request."""

    patience = 0.0

    def __init__(self) -> None:
        self.held: Held | None = None
        self.loads = 0
        self.cut_off = asyncio.Event()

    def loading(self) -> None:
        self.loads += 1

    def cut(self, why: str) -> None:
        self.cut_off.set()

    def end(self) -> None:
        if self.held is not None:
            self.held.end()


@asynccontextmanager
async def staged(folder: Path, models: Models, **said: Any) -> AsyncIterator[Stage]:
    """A fleet that has begun; afterwards nothing of it runs."""
    stage = Stage(folder, models, **said)
    try:
        await stage.fleet.begin()
        yield stage
    finally:
        await stage.fleet.close()
    assert running() == []
    assert not list((folder / "processes").glob("*.json"))


def running() -> list[str]:
    """Whatever runs that this test has started, the guards too, and what these started."""
    own = os.environ[NAME]
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_ours = process.pid != os.getpid() and process.environ().get(NAME) == own
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid}: {' '.join(process.cmdline())}")
    return found
