"""The budget as people use it: threads, processes, hooks, persons, and what is said about nonsense."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import hangtight
from hangtight.drivers.budget.shares import CURRENT, Share
from hangtight.errors import SettingsError
from hangtight.testing import jumping
from hangtight.testing.scripted import Hang, ScriptedModel, Tokens


def test_it_carries_into_threads_by_its_own_run() -> None:
    def seen() -> tuple[str, float] | None:
        share = CURRENT.get()
        return None if share is None else (share.step or "", share.left())

    with ThreadPoolExecutor(1) as pool, hangtight.budget(50, steps={"a": 1, "b": {"minimum": 20}}) as task:
        assert pool.submit(seen).result() is None
        outside = pool.submit(task.run, seen).result()
        assert outside is not None
        assert outside[0] == ""
        with task.step("a") as step:
            for run in (step.run, task.run):
                inside = pool.submit(run, seen).result()
                assert inside is not None
                assert inside[0] == "a"
                assert inside[1] <= 30
        assert pool.submit(seen).result() is None


def test_it_crosses_a_process_border_as_a_header_and_only_shortens() -> None:
    with hangtight.budget(50, steps={"a": 1, "b": {"minimum": 20}}, name="nightly") as task:
        with task.step("a"):
            header = task.to_header()
        whole = task.to_header()
    there = hangtight.budget.from_header(header, steps=["x"])
    assert there.name == "nightly"
    with there as other:
        assert 29 < other.remaining() <= 30
        with hangtight.budget.from_header(whole) as nested:
            assert nested.remaining() <= 30
    assert 29 < hangtight.budget.from_header(whole).remaining() <= 30


def test_a_budget_that_arrives_spent_begins_no_call() -> None:
    with hangtight.budget.from_header("remaining=0.000&run=x&step="), pytest.raises(hangtight.BudgetSpent):
        list(hangtight.watch(["a"]))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "remaining=",
        "remaining=x",
        "run=a",
        "remaining=-1",
        "remaining=nan",
        "\x00",
        "remaining=5&remaining=9",
        "remaining=1_0",
        "remaining=\u0665",
    ],
)
def test_a_header_that_nobody_wrote_is_refused(header: str) -> None:
    with pytest.raises(SettingsError):
        hangtight.budget.from_header(header)


def test_passing_what_is_allotted_tells_the_hook_once_and_ends_nothing() -> None:
    async def main() -> None:
        told: list[tuple[str, float]] = []
        loop = asyncio.get_running_loop()

        def hook(step: Any) -> None:
            told.append((step.name, loop.time()))

        with hangtight.budget(120, steps={"a": 1, "b": 2}, on_wrap_up=hook) as task:
            async with task.step("a") as step:
                start = loop.time()
                await asyncio.sleep(39)
                assert not step.should_wrap_up
                await asyncio.sleep(20)
                assert step.should_wrap_up
                assert step.elapsed == 59
                assert told == [("a", start + 40)]
            async with task.step("b") as step:
                assert step.allotted == pytest.approx(61)
        await asyncio.sleep(200)
        assert len(told) == 1

    jumping(main())


def test_a_hook_may_be_asynchronous_and_one_that_fails_hurts_nobody() -> None:
    async def main() -> None:
        loop, told, shown = asyncio.get_running_loop(), [], []
        loop.set_exception_handler(lambda _, context: shown.append(context["message"]))

        async def hook(step: Any) -> None:
            await asyncio.sleep(1)
            told.append(step.name)

        def fails(step: Any) -> None:
            raise ValueError(step.name)

        for wrap_up in (hook, fails):
            with hangtight.budget(120, steps=["a", "b"], on_wrap_up=wrap_up) as task, task.step("a"):
                await asyncio.sleep(100)
        assert told == ["a"]
        assert shown == ["on_wrap_up of hangtight raised"]

    jumping(main())


@pytest.mark.real
def test_without_a_loop_the_hook_is_told_from_a_thread() -> None:
    told = threading.Event()
    with hangtight.budget(0.2, steps={"a": 1, "b": 9}, on_wrap_up=lambda step: told.set()) as task, task.step("a"):
        assert told.wait(10)
        assert task.step("a").should_wrap_up


def test_a_person_stops_the_clock_of_the_task_and_of_all_around_it() -> None:
    async def main() -> None:
        with hangtight.budget(100) as outer, hangtight.budget(50, hard=False) as inner:
            with inner.paused("person"):
                await asyncio.sleep(1000)
            with inner.paused("tool"):
                await asyncio.sleep(10)
            assert inner.remaining() == 40
            assert outer.remaining() == 90
            watched = hangtight.watch(ScriptedModel(Tokens(3)))
            async for _ in watched:
                with watched.paused("person"):
                    await asyncio.sleep(500)
            assert inner.remaining() == 37

    jumping(main())


def test_a_person_stops_the_clock_that_interrupts_too() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        with pytest.raises(hangtight.BudgetSpent):
            async with hangtight.budget(50, hard=True) as task:
                await asyncio.sleep(10)
                with task.paused("person"):
                    await asyncio.sleep(1000)
                await asyncio.sleep(1000)
        assert loop.time() - start == 1050

    jumping(main())


def test_a_hard_budget_leaves_the_cancellation_and_the_errors_of_others_alone() -> None:
    async def main() -> None:
        async with hangtight.budget(50, hard=True):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(10):
                    await asyncio.sleep(20)
        with pytest.raises(TimeoutError, match="mine"):
            async with hangtight.budget(50, hard=True):
                raise TimeoutError("mine")
        with pytest.raises(hangtight.BudgetSpent):
            async with hangtight.budget(80, hard=True), hangtight.budget(90):
                await asyncio.sleep(100)

        async def waits() -> None:
            async with hangtight.budget(50, hard=True):
                await asyncio.sleep(100)

        task = asyncio.create_task(waits())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    jumping(main())


def test_a_thread_cannot_be_interrupted_and_says_so() -> None:
    with pytest.raises(SettingsError, match="async with"), hangtight.budget(1, hard=True):
        pass


def test_a_call_under_way_is_ended_by_its_budget_and_says_which_line_to_change() -> None:
    async def main() -> None:
        with hangtight.budget(40, steps=["plan"]) as task, task.step("plan"):
            with pytest.raises(hangtight.TotalTimeout) as caught:
                async for _ in hangtight.watch(ScriptedModel(Tokens(1000))):
                    pass
            assert caught.value.elapsed == 40
            assert caught.value.source.startswith("the budget, in step plan")
            assert "hangtight.budget(80, ...)" in str(caught.value)
            with pytest.raises(hangtight.BudgetSpent) as spent:
                await hangtight.watch(asyncio.sleep(0))
        error = pickle.loads(pickle.dumps(spent.value))
        assert str(error) == "[Budget exhausted] Task incomplete."
        assert (error.step, error.total, error.remaining) == ("plan", 40, 0)
        assert any("timed out" in note for note in error.__notes__)
        assert any("hangtight.budget(80, ...)" in note for note in error.__notes__)

    jumping(main())


def test_a_step_that_cannot_have_its_minimum_begins_no_call() -> None:
    async def main() -> None:
        with hangtight.budget(100, steps={"a": 1, "b": {"minimum": 30}}) as task:
            await asyncio.sleep(85)
            with task.step("b"), pytest.raises(hangtight.BudgetSpent) as spent:
                await hangtight.watch(asyncio.sleep(0))
            assert (spent.value.needed, spent.value.remaining) == (30, 15)

    jumping(main())


def test_outside_of_it_nothing_is_inherited_and_it_is_used_once() -> None:
    task = hangtight.budget(10)
    assert task.remaining() == 10
    assert not task.exhausted
    assert task.elapsed == 0
    with pytest.raises(RuntimeError, match="not begun"):
        task.allotted("a")
    with task:
        assert isinstance(CURRENT.get(), Share)
    assert CURRENT.get() is None
    with pytest.raises(RuntimeError, match="already"), task:
        pass


def test_a_generator_that_is_abandoned_inside_a_budget_leaves_no_trace() -> None:
    async def main() -> None:
        async def talks() -> Any:
            with hangtight.budget(10) as task, task.step("a"):
                yield 1
                yield 2

        flowing = talks()
        assert await anext(flowing) == 1
        await asyncio.create_task(flowing.aclose())

    jumping(main())


@pytest.mark.parametrize(
    ("total", "settings"),
    [
        (0, {}),
        (-1, {}),
        (float("nan"), {}),
        (float("inf"), {}),
        (True, {}),
        ("60", {}),
        (None, {}),
        (10**400, {}),
        (60, {"reserve": -1}),
        (60, {"reserve": 61}),
        (60, {"steps": "plan"}),
        (60, {"steps": {"plan": 0}}),
        (60, {"steps": {"plan": "urgent"}}),
        (60, {"steps": {"plan": {"weigth": 1}}}),
        (60, {"steps": {"plan": {"minimum": 70}}}),
        (60, {"steps": {"plan": {"priority": 3}}}),
        (60, {"steps": {"": 1}}),
    ],
)
def test_what_cannot_be_meant_is_refused(total: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        hangtight.budget(total, **settings)


def test_a_step_that_was_not_announced_is_refused_with_those_that_were() -> None:
    with hangtight.budget(60, steps=["plan", "code"]) as task, pytest.raises(SettingsError, match="plan, code"):
        task.step("paln")


def test_steps_in_parallel_share_one_deadline() -> None:
    async def main() -> None:
        async def one(task: Any, name: str) -> float:
            async with task.step(name):
                with pytest.raises(hangtight.GenerationTimeout) as caught:
                    async for _ in hangtight.watch(ScriptedModel(Tokens(1), Hang()), idle=1000):
                        pass
                return float(caught.value.elapsed)

        async with hangtight.budget(60, steps=["a", "b"]) as task:
            took = list(await asyncio.gather(one(task, "a"), one(task, "b")))
        assert took == [13, 13], "idle is a fifth of what is left, after the first token at 1"

    jumping(main())


@pytest.mark.real
def test_a_synchronous_budget_ends_a_synchronous_stream() -> None:
    def slowly() -> Any:
        while True:
            time.sleep(0.01)
            yield "token "

    start = time.monotonic()
    with hangtight.budget(0.3), pytest.raises(hangtight.TotalTimeout) as caught:
        list(hangtight.watch(slowly()))
    assert caught.value.waited <= 0.3
    assert time.monotonic() - start < 20  # a bound for what hangs: when it rang is in the line above
