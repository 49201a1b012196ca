"""The figures, one after the other."""

from __future__ import annotations

import asyncio
import json
import shlex
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gateway.processes import cpu_of, environment, free_port, started
from benchmarks.row import Row
from hangtight.core.process.facts import Healthy, Spawned, Wanted
from hangtight.rules.finding import Origin
from hangtight.rules.loading import check
from hangtight.rules.running import OTHERS, Group, Running
from hangtight.rules.settings import NOTHING, Settings
from hangtight.supervisor.fleet import Fleet, Nobody

MANY, TEN = 1000, 10
WATCHED = 5.0
"""Seconds of real time for which nothing happens."""
REQUESTS, EVICTIONS, SWAPS = 5000, 50, 7
LOAD = 0.3
MICRO, MILLI, PER_CENT = 1e6, 1e3, 100.0
TOGETHER = "together"
SIMPLE = f"""
import socket, sys, time
time.sleep({LOAD})
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listening.accept()
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    connection.close()
"""


def measured() -> list[Row]:
    return [
        Row("10 ready models, nothing happens: CPU of a core", asyncio.run(idle()) * PER_CENT, "%", 0.2),
        Row("an eviction among 1,000 models", asyncio.run(eviction()) * MILLI, "ms", 1),
        Row("a ready model: what a request costs", asyncio.run(request()) * MICRO, "µs", 50),
        Row(f"a swap, beyond what the servers take (load {LOAD:g} s)", asyncio.run(swap()) * MILLI, "ms", 50),
    ]


@asynccontextmanager
async def fleet_of(names: int, command: Callable[[int], list[str]], *, swaps: bool) -> AsyncIterator[Fleet]:
    """So many servers; all may be up at once, or only one."""
    with TemporaryDirectory() as folder:
        fleet = Fleet(settings_of(Path(folder), names, command, swaps=swaps), Path(folder) / "processes")
        await fleet.begin()
        try:
            yield fleet
        finally:
            await fleet.close()


def settings_of(folder: Path, names: int, command: Callable[[int], list[str]], *, swaps: bool) -> Settings:
    models: dict[str, Mapping[str, Any]] = {}
    path = environment()["PYTHONPATH"]
    for number in range(names):
        port = free_port()
        proxy = f"http://127.0.0.1:{port}"
        models[f"m{number}"] = {"cmd": shlex.join(command(port)), "proxy": proxy, "env": [f"PYTHONPATH={path}"]}
    groups = {TOGETHER: {"members": list(models), "swap": swaps}}
    file = folder / "hangtight.yaml"
    file.write_text(json.dumps({"models": models, "groups": groups}))
    return check(file, folder=folder, home=folder)


def lab(port: int) -> list[str]:
    return [sys.executable, "-m", "hangtight.testing.lab", "--port", str(port)]


def simple(port: int) -> list[str]:
    """A server that does nothing but load and be ready, so that two starts of it last alike."""
    return [sys.executable, "-I", "-S", "-c", SIMPLE, str(port)]


async def ready(fleet: Fleet, name: str) -> None:
    (await fleet.ready(name, Nobody())).end()


async def idle() -> float:
    """The share of a core that we and the guard take while ten servers are ready and nobody asks."""
    async with fleet_of(TEN, lab, swaps=False) as fleet:
        for number in range(TEN):
            await ready(fleet, f"m{number}")
        assert fleet.guard is not None
        guard = fleet.guard.pid
        await asyncio.sleep(1)
        before, began = time.process_time() + cpu_of(guard), time.monotonic()
        await asyncio.sleep(WATCHED)
        return (time.process_time() + cpu_of(guard) - before) / (time.monotonic() - began)


def thousand() -> Settings:
    """All but one in a group of which nobody goes; that one and another take turns."""
    names = [f"m{number}" for number in range(MANY)]
    runs = {name: Running(name=name, command=("serve", name)) for name in (*names, "big")}
    groups = {
        TOGETHER: Group(TOGETHER, tuple(names[1:]), swap=False, exclusive=False, persistent=True),
        OTHERS: Group(OTHERS, (names[0], "big"), exclusive=False),
    }
    return replace(NOTHING, runs=runs, groups=groups, origin=Origin.NAMED)


async def eviction() -> float:
    """From the wish for one model until another was told to go, while 999 others are up; the median."""
    took = []
    for _ in range(EVICTIONS):
        fleet = Fleet(thousand(), Path("/nowhere"))
        for name, server in fleet._servers.items():
            server._hands = Idle()  # type: ignore[assignment]
            if name != "big":
                for fact in (Wanted(), Spawned(1), Healthy()):
                    server.note(fact)
        waiting = fleet._servers["big"].queue(Nobody())
        began = time.perf_counter()
        fleet._turns.want("big")
        took.append(time.perf_counter() - began)
        assert not waiting.done()
        assert fleet._servers["m0"].machine.phase == "stopping"
        for server in fleet._servers.values():
            await server.close()
        waiting.cancel()
    return statistics.median(took)


class Idle:
    """Hands that do nothing."""

    def start(self) -> None: ...
    def probe(self) -> None: ...
    def probe_no_more(self) -> None: ...
    def stop(self) -> None: ...
    async def close(self) -> None: ...


async def request() -> float:
    """A place in a server that is ready, taken and given back; the median of ten."""
    async with fleet_of(1, lab, swaps=True) as fleet:
        await ready(fleet, "m0")
        who, took = Nobody(), []
        for _ in range(10):
            began = time.perf_counter()
            for _ in range(REQUESTS):
                held = fleet.lease("m0", who)
                assert held is not None
                held.end()
            took.append((time.perf_counter() - began) / REQUESTS)
        return statistics.median(took)


async def swap() -> float:
    """How much longer a swap takes than to end a server and to start one by hand, and to ask until it is ready.

    One by one in turns, so that what else the machine does meets both alike; the median of the differences.
    """
    longer = []
    async with fleet_of(2, simple, swaps=True) as fleet:
        await ready(fleet, "m0")
        for number in range(SWAPS):
            began = time.perf_counter()
            await ready(fleet, f"m{(number + 1) % 2}")
            longer.append(time.perf_counter() - began - by_hand())
    return statistics.median(longer)


def by_hand() -> float:
    with TemporaryDirectory() as folder:
        old, new = free_port(), free_port()
        with started("old", simple(old), port=old, folder=Path(folder), within=20) as peer:
            began = time.perf_counter()
            peer.process.terminate()
            peer.process.wait()
            with started("new", simple(new), port=new, folder=Path(folder), within=20):
                return time.perf_counter() - began
