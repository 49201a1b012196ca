"""The store of runs, in one process, on both databases."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hangtight.errors import HangtightError, SettingsError
from hangtight.flows.durable.leases import Leases, Taken
from hangtight.flows.durable.liveness import Observed
from hangtight.flows.durable.store import Durable
from hangtight.flows.port import Body, Ended, RunSpec, Steps
from tests.flows.databases import postgres, url
from tests.flows.lives import BEAT, LOST, soon_in, spec
from tests.journal.postgres import Postgres

__all__ = ["postgres", "url"]
SIDE_BY_SIDE = 1000
pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Durable]:
    store = Durable(url, beat=BEAT, lost=LOST)
    try:
        yield store
    finally:
        await store.close()


def held(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(200):
            await main()

    asyncio.run(bounded())


def counting(done: list[str], *names: str, fails: str = "") -> Body:
    async def body(spec: RunSpec, step: Steps) -> Ended:
        async def one(name: str) -> str:
            done.append(name)
            if name == fails:
                raise ValueError("no")
            return name

        try:
            for name in names:
                await step(name, lambda name=name: one(name))  # type: ignore[misc]
        except ValueError as wrong:
            return Ended("failed", error=str(wrong), step=fails)
        return Ended("finished", elapsed=1.5)

    return body


def test_a_run_that_has_finished_is_not_done_again(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        done: list[str] = []
        for _ in range(2):  # the second time in another life of the store
            async with opened(url) as store:
                assert await store.list_runs() == [] or done
                assert await store.run(spec("r1", tmp_path), counting(done, "a", "b")) == Ended("finished", elapsed=1.5)
        assert done == ["a", "b"]

    held(main)


def test_a_run_that_failed_goes_on_at_the_step_that_failed(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        done: list[str] = []
        async with opened(url) as store:
            failed = await store.run(spec("r1", tmp_path), counting(done, "a", "b", fails="b"))
            assert (failed.outcome, failed.step) == ("failed", "b")
            assert (await store.run(spec("r1", tmp_path), counting(done, "b", "a"))).outcome == "finished"
        assert done == ["a", "b", "b"], "the order of the steps is free in each life"

    held(main)


def test_what_is_known_of_a_run_is_shown_by_another_store_which_launches_nothing(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        told = spec("r1", tmp_path, note="as given")
        async with opened(url) as store, opened(url) as other:
            assert (await other.show("r1"), await other.list_runs()) == (None, [])
            assert (await other.cancel("r1"), await other.resume("r1")) == (False, False)
            await store.run(told, counting([], "a", "b"))
            known = await other.show("r1")
            assert known is not None
            assert (known.spec, known.status, known.ended) == (told, "finished", Ended("finished", elapsed=1.5))
            assert [(each.name, each.output) for each in known.steps] == [("a", "a"), ("b", "b")]
            assert [each.spec.id for each in await other.list_runs()] == ["r1"]
            assert (await other.cancel("r1"), await other.resume("r1")) == (False, False)

    held(main)


def test_a_caller_that_stops_waiting_stops_the_run_which_can_go_on(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        reached, done = asyncio.Event(), []

        async def endless(spec: RunSpec, step: Steps) -> Ended:
            async def first() -> str:
                return "kept"

            async def second() -> None:
                reached.set()
                await asyncio.Event().wait()

            done.append(await step("a", first))
            await step("b", second)
            return Ended("finished")

        async with opened(url) as store:
            waiting = asyncio.create_task(store.run(spec("r1", tmp_path), endless))
            await reached.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            known = await store.show("r1")
            assert known is not None
            assert known.status == "interrupted"
            again: list[str] = []
            assert (await store.run(spec("r1", tmp_path), counting(again, "a", "b"))).outcome == "finished"
            assert again == ["b"]

    held(main)


def test_cancelling_ends_a_step_here_at_once_and_the_run_can_be_taken_up_again(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        reached = asyncio.Event()

        async def endless(spec: RunSpec, step: Steps) -> Ended:
            async def wait() -> None:
                reached.set()
                await asyncio.Event().wait()

            await step("a", wait)
            return Ended("finished")

        async with opened(url) as store:
            waiting = asyncio.create_task(store.run(spec("r1", tmp_path), endless))
            await reached.wait()
            assert await store.cancel("r1")
            assert (await waiting).outcome == "cancelled"
            assert not await store.cancel("r1")
            assert (await store.run(spec("r1", tmp_path), counting([], "a"))).outcome == "finished"

    held(main)


def test_what_was_taken_from_a_worker_it_cannot_finish(url: str, tmp_path: Path) -> None:
    """It slept, another one took the run; the step that ends then is refused, and is not in the record."""

    async def main() -> None:
        async with opened(url) as store:
            refused: list[BaseException] = []

            async def body(spec: RunSpec, step: Steps) -> Ended:
                async def taken_meanwhile() -> str:
                    other = Leases(store._engine, "other")
                    await asyncio.to_thread(other.claim, "r1", ["other"])
                    return "too late"

                try:
                    await step("a", taken_meanwhile)
                except (Taken, asyncio.CancelledError) as late:
                    refused.append(late)
                    store.files.client.cancel_workflow("r1")  # what the other one makes of it
                    raise
                return Ended("finished")

            assert (await store.run(spec("r1", tmp_path), body)).outcome == "cancelled"
            assert refused
            known = await store.show("r1")
            assert known is not None
            assert (known.status, known.steps) == ("cancelled", ())

    held(main)


def test_an_error_of_the_body_reaches_the_caller_as_it_is(url: str, tmp_path: Path) -> None:
    class Odd(Exception):
        pass

    async def broken(spec: RunSpec, step: Steps) -> Ended:
        raise Odd("broken")

    async def main() -> None:
        async with opened(url) as store:
            with pytest.raises(Odd, match="broken"):
                await store.run(spec("r1", tmp_path), broken)
            known = await store.show("r1")
            assert known is not None
            assert known.ended is not None
            assert (known.status, known.ended.error) == ("failed", "broken")

    held(main)


def test_there_is_one_store_that_does_runs_in_a_process_and_none_after_close(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        before = set(threading.enumerate())
        async with opened(url) as store:
            await store.run(spec("r1", tmp_path), counting([], "a"))
            async with opened(url) as second:
                with pytest.raises(HangtightError, match="another Durable"):
                    await second.run(spec("r2", tmp_path), counting([], "a"))
        mine = [each for each in set(threading.enumerate()) - before if not each.name.startswith("asyncio")]
        assert mine == []
        with pytest.raises(HangtightError, match="closed"):
            await store.run(spec("r3", tmp_path), counting([], "a"))
        async with opened(url) as third:
            assert (await third.run(spec("r2", tmp_path), counting([], "a"))).outcome == "finished"

    held(main)


def test_closing_in_the_middle_of_a_run_leaves_it_to_the_next_life(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        reached = asyncio.Event()

        async def endless(spec: RunSpec, step: Steps) -> Ended:
            reached.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return Ended("cancelled")  # it does not know better; we do
            return Ended("finished")

        async with opened(url) as store:
            waiting = asyncio.create_task(store.run(spec("r1", tmp_path), endless))
            await reached.wait()
        with pytest.raises(HangtightError, match="closed"):
            await waiting
        async with opened(url) as store:
            assert (await store.run(spec("r1", tmp_path), counting([], "a"))).outcome == "finished"

    held(main)


def test_a_step_costs_less_than_15_ms_of_ours(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        names = [f"s{at}" for at in range(100)]
        async with opened(url) as store:
            await store.run(spec("r0", tmp_path), counting([], "a"))
            begun = time.process_time()  # of ours: what others do on this machine meanwhile is not counted
            await store.run(spec("r1", tmp_path), counting([], *names))
            each = (time.process_time() - begun) / len(names)
        print(f"{each * 1000:.1f} ms a step")
        assert each < 0.015

    held(main)


def test_a_thousand_short_steps_are_in_flight_together(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        at_once = most = 0

        async def body(spec: RunSpec, step: Steps) -> Ended:
            async def short() -> int:
                nonlocal at_once, most
                at_once += 1
                most = max(most, at_once)
                await asyncio.sleep(0.1)
                at_once -= 1
                return 1

            await asyncio.gather(*(step(f"s{at}", short) for at in range(SIDE_BY_SIDE)))
            return Ended("finished")

        async with opened(url) as store:
            begun = time.perf_counter()
            assert (await store.run(spec("r1", tmp_path), body)).outcome == "finished"
            print(f"{SIDE_BY_SIDE} steps in {time.perf_counter() - begun:.2f} s")
            known = await store.show("r1")
        assert known is not None
        assert (most, len(known.steps)) == (SIDE_BY_SIDE, SIDE_BY_SIDE)

    held(main)


def test_a_run_that_nobody_does_though_it_is_ours_does_not_stay_so(url: str, tmp_path: Path) -> None:
    """As DBOS leaves one that it has claimed where its database goes away before it begins."""

    async def main() -> None:
        async with opened(url) as store:
            await store.submit(spec("r1", tmp_path))
            place = "" if store._leases.is_sqlite else "dbos."
            with store._engine.begin() as connection:
                connection.exec_driver_sql(
                    f"UPDATE {place}workflow_status SET status = 'PENDING', executor_id = '{store.me}'"
                )
            found = []
            for _ in range(3):
                known = await store.show("r1")
                assert known is not None
                found.append(known.status)
                store._mend()
            assert found == ["running", "running", "interrupted"]
            assert (await store.run(spec("r1", tmp_path), counting([], "a"))).outcome == "finished"

    held(main)


def test_a_run_that_cannot_be_told_to_others_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(str(tmp_path / "runs.db")) as store:
            with pytest.raises(SettingsError, match="plain JSON"):
                await store.run(spec("r1", tmp_path, odd=object()), counting([], "a"))

    held(main)


@pytest.mark.parametrize("address", ["mysql://here/there", "postgresql://a@b@c/d"])
def test_an_address_that_cannot_be_meant_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="store"):
        Durable(address)


def test_who_does_not_beat_for_a_while_is_dead_unless_we_were_away_ourselves() -> None:
    seen = Observed(lost=5.0)
    assert seen.look({"a": 1, "b": 1}, 0.0) == frozenset()
    assert seen.look({"a": 2, "b": 1}, 2.4) == frozenset()
    assert seen.look({"a": 3, "b": 1}, 4.8) == frozenset()
    assert seen.look({"a": 4, "b": 1}, 5.1) == {"b"}
    assert seen.look({"a": 4, "b": 1}, 60.0) == frozenset(), "nobody may have been able to beat"
    seen.look({"a": 4, "b": 1}, 62.0)
    seen.look({"a": 4, "b": 1}, 64.0)
    assert seen.look({"a": 5, "b": 1}, 65.1) == {"b"}
    seen.blind()
    assert seen.look({"a": 5, "b": 1}, 65.2) == frozenset()


@pytest.mark.real
def test_a_worker_that_has_gone_in_peace_is_not_waited_for(postgres: Postgres, tmp_path: Path) -> None:
    """Its place in the table is empty at once."""

    async def main() -> None:
        url = postgres.new_database()
        async with opened(url) as store:
            await store.run(spec("r1", tmp_path), counting([], "a"))
            leases = store._leases
            assert await soon_in(lambda: store.me in leases.beats())
        async with opened(url) as store:
            await store.run(spec("r2", tmp_path), counting([], "a"))
            assert set(store._leases.beats()) == {store.me}

    held(main)
