"""`kill -9` of the gateway, of the server behind it and of the journal's database, at random times under load."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from hangtight.journal.reading import Reading, Row
from tests.gateway.kit import PATIENCE, Served
from tests.gateway.load import (
    CUT,
    FAILED,
    FINISHED,
    HUNG,
    LEFT,
    NO_CIRCUIT,
    SETTINGS,
    SHORT_CIRCUIT,
    TIMED_OUT,
    Asked,
    Load,
)
from tests.journal.kit import soon
from tests.journal.postgres import Postgres, binaries

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")]

MAY_BE_LOST = 1.0  # seconds before the kill
ADDRESS = re.compile(r"The lab is at (\S+);")
ROUNDS = pytest.mark.parametrize(
    "rounds", [1, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(600)])], ids=["once", "often"]
)
Hit = Callable[[], Awaitable[None]]


class Upstream:
    """The lab in a process of its own, always at the same address."""

    def __init__(self) -> None:
        self.url = ""
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        port = self.url.rpartition(":")[2] or "0"
        words = [sys.executable, "-m", "hangtight", "lab", "serve", "--port", port]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = ADDRESS.search(self.process.stdout.readline())
        assert found is not None, "the lab does not serve"
        self.url = found[1]
        return self.process

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    found = binaries()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL's binaries are not installed: the suite must run on both databases")
        pytest.skip("needs PostgreSQL's binaries (Debian: postgresql)")
    server = Postgres(found)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def lab() -> Iterator[Upstream]:
    upstream = Upstream()
    try:
        yield upstream
    finally:
        upstream.kill()


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "journal.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


def serving(folder: Path, lab: Upstream, journal: str, port: str = "0", circuit: str = NO_CIRCUIT) -> Served:
    settings = SETTINGS.format(url=lab.url, circuit=circuit)
    return Served(folder, settings, "--port", port, HANGTIGHT_JOURNAL=journal)


def under_load(load: Load, rounds: int, hit: Hit, seed: str) -> list[float]:
    """Hit so often, each time some random seconds later. When that was; nobody may hang over it."""
    dice, hits = random.Random(seed), []

    async def main() -> None:
        running = asyncio.create_task(load.run())
        try:
            for _ in range(rounds):
                await asyncio.sleep(dice.uniform(2.0, 3.5))
                hits.append(time.monotonic())
                await hit()
                await asyncio.sleep(1.0)
        finally:
            load.enough = True
            await running

    asyncio.run(main())
    assert not load.ended(HUNG)
    return hits


def rows_of(journal: str) -> dict[str, list[Row]]:
    found = defaultdict(list)
    for row in Reading(journal).calls(limit=1_000_000):
        found[row.run].append(row)
    return found


def is_told(asked: Asked, rows: dict[str, list[Row]]) -> bool:
    """The journal knows this end. Who left before the request was read, on a busy machine, never began."""
    found = rows[asked.run]
    return any(row.outcome == asked.end for row in found) or (asked.end == LEFT and not found)


@ROUNDS
def test_when_the_gateway_is_killed_a_second_of_the_journal_is_lost_at_most(
    rounds: int, tmp_path: Path, lab: Upstream, journal: str
) -> None:
    serves: list[Served] = []

    async def hit() -> None:
        serves[-1].process.kill()
        serves[-1].process.wait(PATIENCE)
        serves.append(await asyncio.to_thread(serving(tmp_path, lab, journal, port).__enter__))

    with serving(tmp_path, lab, journal) as first:
        port = first.url.rpartition(":")[2]
        serves.append(first)
        load = Load(first.url)
        try:
            kills = under_load(load, rounds, hit, f"gateway {rounds}")
        finally:
            for served in serves[1:]:
                served.__exit__(None, None, None)
    rows = rows_of(journal)
    for asked in load.asked:
        assert asked.ended is not None
        killed = next((at for at in kills if asked.began < at < asked.ended), None)
        if killed is None:
            after = next((at - asked.ended for at in kills if at > asked.ended), MAY_BE_LOST)
            if asked.end in (FINISHED, TIMED_OUT, LEFT) and after >= MAY_BE_LOST:
                assert is_told(asked, rows), (asked, rows[asked.run])
        elif asked.began < killed - MAY_BE_LOST:
            # An answer may have been on its way already; what was under way has no outcome, and is shown as lost.
            assert [row.outcome for row in rows[asked.run]] in ([None], [asked.end]), (asked, rows[asked.run])
    assert load.ended(CUT)
    assert any(row.outcome is None for asked in load.ended(CUT) for row in rows[asked.run])
    assert load.ended(FINISHED, after=kills[-1])


@ROUNDS
def test_when_the_server_is_killed_each_client_is_told_and_the_journal_knows_each_end(
    rounds: int, tmp_path: Path, lab: Upstream
) -> None:
    async def hit() -> None:
        lab.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(lab.start)

    journal = str(tmp_path / "journal.db")
    with serving(tmp_path, lab, journal, circuit=SHORT_CIRCUIT) as served:
        load = Load(served.url)
        kills = under_load(load, rounds, hit, f"server {rounds}")
    rows = rows_of(journal)
    assert {asked.end for asked in load.asked} <= {FINISHED, TIMED_OUT, LEFT, FAILED}
    for asked in load.asked:
        failed_first = asked.end == LEFT and any(row.outcome == FAILED for row in rows[asked.run])
        assert asked.end == FAILED or failed_first or is_told(asked, rows), (asked, rows[asked.run])
        assert all(row.outcome for row in rows[asked.run])
    assert load.ended(FAILED)
    assert load.ended(FINISHED, after=kills[-1])


@ROUNDS
def test_when_the_database_is_killed_no_client_notices_and_nothing_is_lost(
    rounds: int, tmp_path: Path, lab: Upstream, postgres: Postgres
) -> None:
    async def hit() -> None:
        assert postgres.process is not None
        children = psutil.Process(postgres.process.pid).children(recursive=True)
        postgres.process.kill()
        for each in children:
            with suppress(psutil.NoSuchProcess):  # they come and go
                each.kill()
        postgres.process.wait(PATIENCE)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(postgres.start)

    journal = postgres.new_database()
    with serving(tmp_path, lab, journal) as served:
        load = Load(served.url)
        kills = under_load(load, rounds, hit, f"database {rounds}")
        assert {asked.end for asked in load.asked} <= {FINISHED, TIMED_OUT, LEFT}, load.ended(FAILED)
        assert soon(lambda: all(is_told(asked, rows) for rows in [rows_of(journal)] for asked in load.asked))
    assert load.ended(FINISHED, after=kills[-1])
