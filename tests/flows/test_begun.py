"""Runs that are begun and not waited for: kept at once, done in their turn, cancelled in whatever state they are."""

from __future__ import annotations

import asyncio
import inspect
import time
from pathlib import Path

import pytest

from hangtight.cli.flow import worker
from hangtight.errors import SettingsError
from hangtight.flows.durable.store import Durable
from hangtight.flows.port import AT_ONCE, Ended, InMemory, RunSpec, Steps, Store
from tests.flows.databases import postgres, url
from tests.flows.lives import BEAT, LOST, end, life, marks, soon, soon_in, spec
from tests.flows.test_durable import counting, held, opened

__all__ = ["postgres", "url"]
pytestmark = pytest.mark.timeout(240)


class Crowd:
    """A body that counts how many of it there are at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.goes_on = asyncio.Event()

    async def body(self, spec: RunSpec, step: Steps) -> Ended:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.goes_on.wait()
        finally:
            self.now -= 1
        return Ended("finished")


def test_a_run_that_was_begun_is_kept_before_it_is_done(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(url) as store:
            await store.run(spec("warm", tmp_path), counting([], "a"))
            done: list[str] = []
            begun = time.perf_counter()
            await store.begin(spec("r1", tmp_path), counting(done, "a", "b"))
            print(f"kept in {(time.perf_counter() - begun) * 1000:.1f} ms")
            async with opened(url) as other:
                known = await other.show("r1")
            assert known is not None
            assert known.status in ("waiting", "running", "finished")
            assert (await store.run(spec("r1", tmp_path), counting([], "x"))).outcome == "finished"
            assert done == ["a", "b"]

    held(main)


LATER = """
async def begun(url, told):
    store = Durable(url, beat=BEAT, lost=LOST)
    await store.begin(told, body)
    print("kept", flush=True)
    await asyncio.Event().wait()
"""


@pytest.mark.real
def test_a_process_that_is_killed_as_soon_as_it_has_begun_one_loses_nothing(url: str, tmp_path: Path) -> None:
    told = {"id": "r1", "flow": "three", "source": "tests", "inputs": dict(spec("r1", tmp_path).inputs)}
    script = f"{LATER}\nfrom tests.flows.lives import *\nfrom tests.flows.lives import body, BEAT, LOST\n"
    process = life(f"{script}asyncio.run(begun(sys.argv[1], RunSpec(**{told!r})))", url)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "kept\n"
    finally:
        end(process)

    async def main() -> None:
        async with opened(url) as store:
            (known,) = await store.list_runs()
            assert known.status in ("interrupted", "waiting", "running")
            assert (await store.run(known.spec, counting([], "a"))).outcome == "finished"

    held(main)


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.3])
def test_a_run_is_cancelled_however_shortly_after_it_was_begun(url: str, tmp_path: Path, pause: float) -> None:
    async def main() -> None:
        crowd = Crowd()
        async with opened(url) as store:
            await store.begin(spec("r1", tmp_path), crowd.body)
            waiting = asyncio.create_task(store.run(spec("r1", tmp_path), crowd.body))
            await asyncio.sleep(pause)
            assert await store.cancel("r1")
            assert (await waiting).outcome == "cancelled"
            assert crowd.now == 0
            known = await store.show("r1")
            assert known is not None
            assert known.status == "cancelled"

    held(main)


def test_one_process_does_no_more_than_so_many_at_once_and_the_others_wait(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        crowd = Crowd()
        store = Durable(url, beat=BEAT, lost=LOST, at_once=2)
        try:
            specs = [spec(f"r{at}", tmp_path) for at in range(5)]
            for each in specs:
                await store.begin(each, crowd.body)
            ends = [asyncio.create_task(store.run(each, crowd.body)) for each in specs]
            assert await soon_in(lambda: crowd.now == 2)
            await asyncio.sleep(0.6)  # several looks of the queue
            statuses = sorted(known.status for known in await store.list_runs())
            assert statuses == ["running"] * 2 + ["waiting"] * 3
            crowd.goes_on.set()
            assert {ended.outcome for ended in await asyncio.gather(*ends)} == {"finished"}
            assert crowd.most == 2
        finally:
            await store.close()

    held(main)


def test_one_that_waits_for_its_turn_is_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        crowd = Crowd()
        store: Store = InMemory(at_once=1)
        specs = [spec(f"r{at}", tmp_path) for at in range(2)]
        for each in specs:
            await store.begin(each, crowd.body)
        ends = [asyncio.create_task(store.run(each, crowd.body)) for each in specs]
        await asyncio.sleep(0)
        assert await store.cancel("r1")
        crowd.goes_on.set()
        first, second = await asyncio.gather(*ends, return_exceptions=True)
        assert first == Ended("finished")
        assert isinstance(second, asyncio.CancelledError)
        assert crowd.most == 1

    held(main)


def test_a_number_that_no_json_holds_is_refused_before_it_is_kept(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(url) as store:
            with pytest.raises(SettingsError):
                await store.begin(spec("r1", tmp_path, odd=float("inf")), counting([], "a"))
            assert await store.list_runs() == []

    held(main)


def test_the_command_has_the_same_bound_as_the_library() -> None:
    assert inspect.signature(worker).parameters["at_once"].default == AT_ONCE


WORKER = "asyncio.run(work(sys.argv[1], body, beat=BEAT, lost=LOST, at_once=int(sys.argv[2])))"


@pytest.mark.real
def test_each_worker_has_its_own_bound_and_takes_no_more_than_it_does(url: str, tmp_path: Path) -> None:
    async def submitted() -> None:
        async with opened(url) as store:
            for at in range(6):
                await store.submit(spec(f"r{at}", tmp_path, gate="s0"))

    held(submitted)
    header = "from tests.flows.lives import body, work, BEAT, LOST\n"
    workers = [life(header + WORKER, url, most) for most in ("1", "3")]

    def by_whom() -> list[int]:
        by = [words[3] for words in marks(tmp_path) if words[0] == "begun"]
        return sorted(by.count(pid) for pid in set(by))

    try:
        assert soon(lambda: by_whom() == [1, 3])
        assert not soon(lambda: sum(by_whom()) > 4, 1.0)
        (tmp_path / "open").touch()
        assert soon(lambda: len([1 for words in marks(tmp_path) if words[:1] + words[2:3] == ["done", "s2"]]) == 6)
    finally:
        end(*workers)
