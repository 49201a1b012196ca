"""A process that is killed in the middle of a run loses nothing but the step it was in."""

from __future__ import annotations

import asyncio
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from hangtight.flows.durable.store import Durable
from hangtight.flows.port import Ended
from tests.flows.databases import postgres, url
from tests.flows.lives import LOST, a_run, end, marks, soon, soon_in, spec
from tests.journal.postgres import Postgres
from tests.lateness import lateness

__all__ = ["postgres", "url"]
pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]  # processes that each load all of SQLAlchemy


def begun(folder: Path, step: str) -> list[list[str]]:
    return [each for each in marks(folder) if each[0] == "begun" and each[2] == step]


def test_a_run_that_was_killed_in_its_second_step_goes_on_there_with_its_old_deadline(url: str, tmp_path: Path) -> None:
    told = spec("r1", tmp_path, gate="s1")
    first = a_run(url, told)
    try:
        assert soon(lambda: begun(tmp_path, "s1"))
        first.send_signal(signal.SIGKILL)
        first.communicate()
        (tmp_path / "open").touch()
        again = a_run(url, spec("r1", tmp_path, gate="s1"))
        try:
            assert again.communicate(timeout=90)[0].strip() == "finished"
        finally:
            end(again)
    finally:
        end(first)
    assert [len(begun(tmp_path, step)) for step in ("s0", "s1", "s2")] == [1, 2, 1]
    assert {each[4] for each in marks(tmp_path) if each[0] == "begun"} == {str(told.deadline)}
    first_out = [each for each in marks(tmp_path) if each[0] == "done" and each[2] == "s0"]
    assert [each[4] for each in first_out] == [str(first.pid)] * 2, "the second life sees what the first put out"


def test_a_cancellation_from_another_process_reaches_a_step_within_a_second(url: str, tmp_path: Path) -> None:
    told = spec("r1", tmp_path, gate="s1")
    running = a_run(url, told)

    async def cancelled() -> tuple[float, bool, bool]:
        store = Durable(url)
        at = time.time()
        first = await store.cancel("r1")
        assert await soon_in(lambda: any(each[0] == "lost" for each in marks(tmp_path)))
        second = await store.cancel("r1")
        known = await store.show("r1")
        assert known is not None
        assert known.status == "cancelled"
        assert [each.name for each in known.steps] == ["s0"]
        await store.close()
        return at, first, second

    try:
        assert soon(lambda: begun(tmp_path, "s1"))
        with lateness() as late:
            at, first, second = asyncio.run(cancelled())
        assert running.communicate(timeout=60)[0].strip() == "cancelled"
    finally:
        end(running)
    assert (first, second) == (True, False)
    lost = next(each for each in marks(tmp_path) if each[0] == "lost")
    assert lost[2] == "CancelledError"
    assert float(lost[4]) - at < 1.0 + 10 * late.seconds  # two processes, a database, and their threads


def test_a_run_is_taken_only_from_the_dead(tmp_path: Path) -> None:
    """While the first life lives, the second waits; and both see the end."""
    url = str(tmp_path / "runs.db")
    first = a_run(url, spec("r1", tmp_path, gate="s1"))
    try:
        assert soon(lambda: begun(tmp_path, "s1"))
        second = a_run(url, spec("r1", tmp_path, gate="s1"))
        try:
            with pytest.raises(Exception, match="timed out"):
                second.communicate(timeout=LOST * 2)
            assert len(begun(tmp_path, "s1")) == 1
            (tmp_path / "open").touch()
            assert first.communicate(timeout=60)[0].strip() == "finished"
            assert second.communicate(timeout=60)[0].strip() == "finished"
        finally:
            end(second)
    finally:
        end(first)
    assert [len(begun(tmp_path, step)) for step in ("s0", "s1", "s2")] == [1, 1, 1]


def test_a_step_goes_on_while_postgresql_is_stopped_and_is_recorded_afterwards(
    postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.new_database()
    ticks: list[float] = []

    async def main() -> tuple[Ended, list[str]]:
        store = Durable(url)

        async def ticking() -> str:
            while not (tmp_path / "open").exists():
                ticks.append(time.monotonic())
                await asyncio.sleep(0.05)
            return "still here"

        async def long(told: object, step: object) -> Ended:
            assert await step("s0", ticking) == "still here"  # type: ignore[operator]
            return Ended("finished")

        async def short(told: object, step: object) -> Ended:
            while not (tmp_path / "open").exists():  # noqa: ASYNC110 - the end of the first one, too
                await asyncio.sleep(0.05)
            return Ended("finished", elapsed=4.0)

        at_its_end = asyncio.create_task(store.run(spec("r2", tmp_path), short))
        doing = asyncio.create_task(store.run(spec("r1", tmp_path), long))
        assert await soon_in(lambda: ticks)
        assert await soon_in(lambda: "r2" in store._running)
        await asyncio.to_thread(postgres.stop)
        await asyncio.sleep(4.0)
        (tmp_path / "open").touch()  # it ends while nothing can be recorded
        await asyncio.sleep(1.0)
        await asyncio.to_thread(postgres.start)
        ended = await asyncio.wait_for(doing, 60)
        assert await asyncio.wait_for(at_its_end, 60) == Ended("finished", elapsed=4.0)
        known = await store.show("r1")
        await store.close()
        assert known is not None
        return ended, [each.name for each in known.steps]

    with lateness() as late:
        ended, steps = asyncio.run(main())
    assert ended == Ended("finished")
    assert steps == ["s0"]
    assert max(later - earlier for earlier, later in pairwise(ticks)) < 1.0 + 3 * late.seconds
