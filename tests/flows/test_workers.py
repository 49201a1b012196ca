"""Several processes share the runs of one database; one dies, one sleeps too long; every run finishes once."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hangtight.flows.durable.run_record import Known
from hangtight.flows.durable.store import Durable
from hangtight.flows.port import Ended, RunSpec, Steps
from tests.flows.databases import postgres, url
from tests.flows.lives import BEAT, LOST, a_worker, end, life, marks, soon_in, spec
from tests.journal.postgres import Postgres

__all__ = ["postgres", "url"]
pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]  # processes that each load all of SQLAlchemy
RUNS = 12
SUBMIT = """
import json

async def go():
    store = Durable(sys.argv[1])
    await store.submit(RunSpec(id="r1", flow="f", source="t", inputs=json.loads(sys.argv[2])))
    await store.close()

asyncio.run(go())
"""
MANY = 1000


def begun(folder: Path, run: str = "") -> list[list[str]]:
    return [each for each in marks(folder) if each[0] == "begun" and run in ("", each[1])]


async def all_ended(store: Durable, names: list[str]) -> list[Known]:
    async with asyncio.timeout(150):
        while True:
            known = {each.spec.id: each for each in await store.list_runs(limit=2 * MANY)}
            if all(known[name].ended for name in names):
                return [known[name] for name in names]
            await asyncio.sleep(0.1)


def held(url: str, main: Callable[[Durable], Awaitable[None]]) -> None:
    async def bounded() -> None:
        store = Durable(url, beat=BEAT, lost=LOST)
        try:
            async with asyncio.timeout(200):
                await main(store)
        finally:
            await store.close()

    asyncio.run(bounded())


def test_two_workers_share_the_runs_and_one_that_is_killed_leaves_none_undone(url: str, tmp_path: Path) -> None:
    names = [f"r{at}" for at in range(RUNS)]
    workers: list[subprocess.Popen[str]] = []

    async def main(store: Durable) -> None:
        for name in names[: RUNS // 2]:
            await store.submit(spec(name, tmp_path, takes=0.05, gate="s1"))
        workers.append(a_worker(url))
        assert await soon_in(lambda: any(each[2] == "s1" for each in begun(tmp_path)))
        workers.append(a_worker(url))
        assert await soon_in(lambda: sum(each[2] == "s1" for each in begun(tmp_path)) == RUNS // 2)
        workers[0].send_signal(signal.SIGKILL)
        workers[0].wait()
        for name in names[RUNS // 2 :]:
            await store.submit(spec(name, tmp_path, takes=0.05, gate="s1"))
        (tmp_path / "open").touch()
        ended = await all_ended(store, names)
        assert [each.status for each in ended] == ["finished"] * RUNS
        for name in names:
            known = await store.show(name)
            assert known is not None
            assert [each.name for each in known.steps] == ["s0", "s1", "s2"]

    try:
        held(url, main)
    finally:
        end(*workers)
    times = Counter((each[1], each[2]) for each in begun(tmp_path))
    for (run, step), count in times.items():
        first = next(each for each in begun(tmp_path, run) if each[2] == step)
        expected = 2 if step == "s1" and first[3] == str(workers[0].pid) else 1
        assert count == expected, f"{run}.{step}: what was in the record is not done again"
    assert any(count == 2 for count in times.values()), "the killed one was in the middle of something"


def test_a_worker_that_wakes_up_too_late_finishes_nothing(url: str, tmp_path: Path) -> None:
    workers: list[subprocess.Popen[str]] = []

    async def main(store: Durable) -> None:
        await store.submit(spec("r1", tmp_path, gate="s1"))
        workers.append(a_worker(url))
        assert await soon_in(lambda: any(each[2] == "s1" for each in begun(tmp_path)))
        workers[0].send_signal(signal.SIGSTOP)
        workers.append(a_worker(url))
        assert await soon_in(lambda: sum(each[2] == "s1" for each in begun(tmp_path)) == 2)
        (tmp_path / "open").touch()
        await all_ended(store, ["r1"])
        workers[0].send_signal(signal.SIGCONT)
        assert await soon_in(lambda: any(each[0] == "lost" for each in marks(tmp_path)))
        known = await store.show("r1")
        assert known is not None
        assert known.status == "finished"
        assert {each.output["by"] for each in known.steps if each.name != "s0"} == {workers[1].pid}
        await store.submit(spec("r2", tmp_path))  # and it is of use again
        await all_ended(store, ["r2"])

    try:
        held(url, main)
    finally:
        end(*workers)
    lost = next(each for each in marks(tmp_path) if each[0] == "lost")
    assert lost[2] in ("Taken", "CancelledError")
    assert lost[3] == str(workers[0].pid)


def test_a_worker_that_goes_hands_over_what_it_has_not_done(url: str, tmp_path: Path) -> None:
    workers: list[subprocess.Popen[str]] = []

    async def main(store: Durable) -> None:
        reached = asyncio.Event()

        async def endless(spec: RunSpec, step: Steps) -> Ended:
            reached.set()
            await asyncio.Event().wait()
            return Ended("finished")

        leaving = Durable(url)
        working = asyncio.create_task(leaving.work(endless))
        submitting = life(SUBMIT, url, json.dumps(spec("r1", tmp_path).inputs))
        assert await asyncio.to_thread(submitting.wait, 60) == 0
        end(submitting)
        await reached.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        known = await store.show("r1")
        assert known is not None
        assert known.status == "waiting"
        workers.append(a_worker(url))
        assert [each.status for each in await all_ended(store, ["r1"])] == ["finished"]

    try:
        held(url, main)
    finally:
        end(*workers)


def test_a_thousand_short_runs_are_done_by_one_worker(postgres: Postgres, tmp_path: Path) -> None:
    async def main(store: Durable) -> None:
        ended: list[str] = []
        enough = asyncio.Event()

        async def short(spec: RunSpec, step: Steps) -> Ended:
            async def one() -> int:
                await asyncio.sleep(0.1)
                return 1

            await step("a", one)
            ended.append(spec.id)
            if len(set(ended)) == MANY:
                enough.set()
            return Ended("finished")

        working = asyncio.create_task(store.work(short))
        await asyncio.sleep(0)
        begun = time.perf_counter()
        await asyncio.gather(*(store.submit(spec(f"r{at}", tmp_path)) for at in range(MANY)))
        submitted = time.perf_counter()
        await enough.wait()
        print(f"submitted in {submitted - begun:.1f} s, done {time.perf_counter() - submitted:.1f} s later")
        assert len(ended) == MANY
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    held(postgres.new_database(), main)
