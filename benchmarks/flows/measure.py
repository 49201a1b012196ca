"""The figures, one after the other."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hangtight
from benchmarks.flows.deadlines import BUDGET, KINDS, STEPS, beyond
from benchmarks.row import Row
from hangtight.drivers.standing import recorder
from hangtight.flows import Engine, Flow, generate, step
from hangtight.flows.durable.store import Durable
from hangtight.testing.lab import Lab

CHAIN, TIMES = 200, 3
MANY, SHORT = 1000, 0.1
MILLI = 1e3
PROBE = 0.005
WRITERS, WRITES = 20, 4.0


def measured() -> list[Row]:
    with TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        lab = stack.enter_context(Lab())
        config = folder / "hangtight.yaml"
        config.write_text(f"models: {{'*': {{proxy: '{lab.url}'}}}}")
        hangtight.configure(config, folder / "journal.db")
        found: list[Row] = []
        for place, url in (("SQLite", str(folder / "runs.db")), ("PostgreSQL", stack.enter_context(postgresql()))):
            if url is not None:
                found += asyncio.run(kept_in(place, url, folder / place))
        found.append(Row(f"flows: transactions in a second of {WRITERS} steps that generate", batches(folder), "", 4))
        for name, kind in KINDS.items():
            late = asyncio.run(beyond(kind, folder / name)) * MILLI
            found.append(Row(f"flows: {BUDGET:g} s over {STEPS} steps, each {name}: off a bare timer", late, "ms", 50))
        return found


@contextmanager
def postgresql() -> Iterator[str | None]:
    """A server of its own, where the programs for one are there."""
    from tests.journal.postgres import Postgres, binaries

    place = binaries()
    if place is None:
        yield None
        return
    server = Postgres(place)
    server.start()
    try:
        yield server.new_database()
    finally:
        server.close()


# -- steps ------------------------------------------------------------------------------------------------------------


def chain_of(count: int) -> Flow:
    """One after the other; none does anything."""

    def made(at: int) -> Any:
        async def nothing() -> int:
            return at

        return step(name=f"s{at}", after=(f"s{at - 1}",) if at else ())(nothing)

    return Flow("chain", [made(at) for at in range(count)])


def side_by_side(count: int) -> Flow:
    def made(at: int) -> Any:
        async def short() -> int:
            await asyncio.sleep(SHORT)
            return at

        return step(name=f"s{at}")(short)

    return Flow("many", [made(at) for at in range(count)])


async def kept_in(place: str, url: str, folder: Path) -> list[Row]:
    store = Durable(url)
    engine = Engine(folder, store=store)
    try:
        await engine.arun(chain_of(1))  # what is made once
        empty = statistics.median([await took(engine, chain_of(1)) for _ in range(TIMES)])
        each = min([await took(engine, chain_of(CHAIN)) for _ in range(TIMES)]) - empty
        whole, late = await in_flight(engine)
    finally:
        await engine.aclose()
    return [
        Row(f"flows: a step costs, on {place}", each / (CHAIN - 1) * MILLI, "ms", 15),
        Row(f"flows: {MANY:,} steps of {SHORT:g} s in flight, on {place}", whole, "s", 10),
        Row("flows: the same: the loop is late by, p99", late * MILLI, "ms", float("inf")),
    ]


async def took(engine: Engine, flow: Flow) -> float:
    before = time.perf_counter()
    result = await engine.arun(flow)
    spent = time.perf_counter() - before
    assert result.finished, result
    return spent


async def in_flight(engine: Engine) -> tuple[float, float]:
    """Seconds for all of them, and by how much a timer of the same loop was late."""
    late: list[float] = []

    async def probe() -> None:
        while True:
            due = time.perf_counter() + PROBE
            await asyncio.sleep(PROBE)
            late.append(time.perf_counter() - due)

    flow = side_by_side(MANY)
    probing = asyncio.create_task(probe())
    try:
        whole = await took(engine, flow)
    finally:
        probing.cancel()
    return whole, sorted(late)[int(len(late) * 0.99)]


# -- the database -----------------------------------------------------------------------------------------------------


def batches(folder: Path) -> float:
    """Of the journal's thread, while many steps tell their progress four times a second and a heartbeat each second."""
    from sqlalchemy import Engine as Database
    from sqlalchemy import event

    commits: list[float] = []
    me = threading.get_ident()

    def committed(connection: Any) -> None:
        if threading.get_ident() != me:
            commits.append(time.perf_counter())

    model = f"tokens={int(WRITES * 20)},rate=20"
    flow = Flow("writers", [generate(f"s{at}", "Write.", model=model) for at in range(WRITERS)])
    event.listen(Database, "commit", committed)
    try:
        with Engine(folder / "writers", heartbeat=1) as engine:
            before = time.perf_counter()
            result = engine.run(flow)
            spent = time.perf_counter() - before
    finally:
        event.remove(Database, "commit", committed)
    assert result.finished, result
    keeping = recorder()
    assert keeping is not None
    assert keeping.flush(10)
    assert commits, "nothing was written"
    shutil.rmtree(folder / "writers")
    return len(commits) / spent
