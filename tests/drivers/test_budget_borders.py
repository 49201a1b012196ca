"""The borders of a budget: inside another one, in generators and threads, over forks of control and of processes."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import openai
import pytest

import hangtight
from hangtight.drivers import clock
from hangtight.drivers.budget.shares import current
from hangtight.errors import SettingsError
from hangtight.testing import jumping
from hangtight.testing.lab import Lab
from hangtight.testing.scripted import ScriptedModel, Tokens
from tests.acceptance.test_s1 import MESSAGES, played
from tests.scripted_api import chunk


def left() -> float:
    share = current()
    assert share is not None
    return share.left()


# -- inside each other ----------------------------------------------------------------------------------------


def test_a_step_of_the_outer_task_begun_inside_an_inner_budget_has_no_more_than_the_inner_one() -> None:
    with hangtight.budget(100, steps=["a"]) as outer, hangtight.budget(5), outer.step("a") as step:
        assert left() <= 5
        assert step.remaining() <= 5
        assert outer.to_header().startswith(("remaining=4.", "remaining=5."))


def test_run_of_the_outer_task_inside_an_inner_budget_has_no_more_than_the_inner_one() -> None:
    with hangtight.budget(100) as outer, hangtight.budget(5):
        assert outer.run(left) <= 5


def test_an_error_in_an_outer_step_inside_an_inner_budget_names_the_one_that_ends_first() -> None:
    async def main() -> None:
        with hangtight.budget(100, steps=["a"]) as outer, hangtight.budget(5), outer.step("a"):
            with pytest.raises(hangtight.TotalTimeout) as caught:
                async for _ in hangtight.watch(ScriptedModel(Tokens(100))):
                    pass
            assert "hangtight.budget(10, ...)" in str(caught.value)

    jumping(main())


# -- generators and tasks -------------------------------------------------------------------------------------


def test_an_abandoned_asynchronous_generator_leaves_its_budget_to_nobody() -> None:
    async def talks() -> AsyncIterator[int]:
        async with hangtight.budget(5, steps=["x"]) as task, task.step("x"):
            yield 0
            yield 1

    async def main() -> None:
        async for _ in talks():
            break
        gc.collect()
        await asyncio.sleep(1)
        assert current() is None
        await asyncio.sleep(10)
        assert [each async for each in hangtight.watch(ScriptedModel(Tokens(1)))]

    jumping(main())


def test_synchronous_generators_that_take_turns_each_give_back_what_is_theirs() -> None:
    def talks(seconds: float) -> Iterator[int]:
        with hangtight.budget(seconds):
            yield 1
            yield 2

    def main() -> None:
        first, second = talks(5), talks(100)
        next(first)
        next(second)
        assert list(first) == [2]
        assert left() <= 5, "the second was begun inside the first, and only shortens"
        assert list(second) == [2]
        assert current() is None

    contextvars.copy_context().run(main)


def test_what_runs_on_in_the_background_stays_bound_to_the_budget_in_which_it_was_begun() -> None:
    async def background() -> None:
        await asyncio.sleep(20)
        with pytest.raises(hangtight.BudgetSpent):
            await hangtight.watch(asyncio.sleep(0))

    async def main() -> None:
        with hangtight.budget(10):
            task = asyncio.create_task(background())
            await asyncio.sleep(1)
        assert current() is None
        await task

    jumping(main())


def test_one_step_object_may_be_entered_twice_and_again() -> None:
    async def main() -> None:
        with hangtight.budget(100, steps=["a", "b"]) as task:
            step = task.step("a")

            async def work(seconds: float) -> None:
                async with step:
                    await asyncio.sleep(seconds)
                    share = current()
                    assert share is not None
                    assert share.step == "a"

            with step, step:
                await asyncio.sleep(1)
            await asyncio.gather(work(1), work(2))
            with step:
                assert step.elapsed == 3
            share = current()
            assert share is not None
            assert share.step is None
        assert current() is None

    jumping(main())


# -- threads under a loop -------------------------------------------------------------------------------------


def test_a_step_begun_in_a_thread_under_a_loop_tells_the_hook_when_it_is_due() -> None:
    async def main() -> None:
        told: list[str] = []
        on_time = threading.Event()

        def hook(step: Any) -> None:
            told.append(step.name)
            on_time.set()

        async with hangtight.budget(2, steps={"a": 1, "b": 9}, on_wrap_up=hook) as task:

            def work() -> bool:
                time.sleep(0.1)  # until the loop has nothing to do but to wait
                with task.step("a"):
                    return on_time.wait(20)

            assert await asyncio.to_thread(work), "while the step still runs"
        assert told == ["a"]

    asyncio.run(main())


def test_a_person_who_is_waited_for_in_a_thread_moves_the_end_of_a_hard_budget() -> None:
    async def main() -> None:
        async with hangtight.budget(1, hard=True) as task:

            def work() -> None:
                with task.paused("person"):
                    time.sleep(2)

            await asyncio.to_thread(work)
            await asyncio.sleep(0)
            assert not task.machine.halted
            assert task.remaining() > 0

    asyncio.run(main())


def test_an_asynchronous_hook_without_a_loop_to_run_it_is_refused_at_once() -> None:
    async def hook(step: Any) -> None:
        pass

    with pytest.raises(SettingsError, match="on_wrap_up"):
        hangtight.budget(10, on_wrap_up=hook)


# -- headers, names, weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"reserve": 5}, {"steps": {"a": {"minimum": 10}}}])
def test_a_header_with_less_left_than_reserve_and_minimums_is_a_spent_budget_and_no_mistake(
    settings: dict[str, Any],
) -> None:
    with hangtight.budget.from_header("remaining=3", **settings) as task:
        assert task.total == 3
        if "reserve" in settings:
            assert task.exhausted
        where = task if "reserve" in settings else task.step("a")
        with pytest.raises(hangtight.BudgetSpent):
            where.run(lambda: list(hangtight.watch(["x"])))


@pytest.mark.parametrize("name", ["a\nb", "\x00", "\x1b[31m", "\ud800", "x" * 201, 7])
def test_a_name_that_cannot_be_printed_is_refused_wherever_it_comes_in(name: Any) -> None:
    for wrong in ({"name": name}, {"steps": {name: 1}}):
        with pytest.raises(SettingsError):
            hangtight.budget(10, **wrong)


def test_a_header_cannot_bring_a_name_with_control_characters() -> None:
    with pytest.raises(SettingsError):
        hangtight.budget.from_header("remaining=5&run=%00%0a%1b[31m")


def test_weights_that_no_sum_could_hold_are_refused() -> None:
    with pytest.raises(SettingsError, match="proportions"):
        hangtight.budget(10, steps={"a": 1e308, "b": 1e308})


# -- which budget counts --------------------------------------------------------------------------------------


def test_a_watch_made_outside_counts_in_the_budget_in_which_it_is_read() -> None:
    async def read(watched: Any) -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        with pytest.raises(hangtight.TotalTimeout):
            async for _ in watched:
                pass
        return loop.time() - start

    async def main() -> None:
        watched = hangtight.watch(ScriptedModel(Tokens(1000)))
        with hangtight.budget(20):
            assert await read(watched) == 20
        with hangtight.budget(100):
            watched = hangtight.watch(ScriptedModel(Tokens(1000)))
            with hangtight.budget(20):
                assert await read(watched) == 20

    jumping(main())


def test_a_hard_budget_that_is_inside_a_spent_one_ends_at_once() -> None:
    async def main() -> None:
        with hangtight.budget(10):
            await asyncio.sleep(11)
            with pytest.raises(hangtight.BudgetSpent):
                async with hangtight.budget(10, hard=True):
                    await asyncio.sleep(5)

    jumping(main())


class Answers(httpx2.AsyncBaseTransport):
    """After so many seconds each: a status, and what is said if it is 200."""

    def __init__(self, *plan: tuple[float, int, list[Any]]) -> None:
        self.plan = list(plan)
        self.asked: list[float] = []

    async def handle_async_request(self, request: Any) -> httpx2.Response:
        self.asked.append(asyncio.get_running_loop().time())
        wait, status, steps = self.plan.pop(0)
        await asyncio.sleep(wait)
        if status != 200:
            return httpx2.Response(status, json={"error": {"message": "later"}}, headers={"retry-after": "0"})

        class Body(httpx2.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                for step in steps:
                    if isinstance(step, str):
                        yield chunk("m", step)
                    else:
                        await asyncio.sleep(step)
                yield chunk("m", None, "stop")
                yield b"data: [DONE]\n\n"

        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())


def asking(api: Answers, **settings: Any) -> openai.AsyncOpenAI:
    transport = hangtight.http.async_transport(lib="httpx2", inner=api, **settings)
    return openai.AsyncOpenAI(
        api_key="x", base_url="http://m.local/v1", http_client=httpx2.AsyncClient(transport=transport, timeout=None)
    )


async def answer(client: openai.AsyncOpenAI) -> str:
    stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    return "".join([each.choices[0].delta.content or "" async for each in stream])


def test_the_retries_of_an_sdk_inside_a_budget_are_not_charged_twice() -> None:
    async def main() -> None:
        api = Answers((25, 503, []), (20, 503, []), (1, 200, ["a", 8.0, "b"]))
        with hangtight.budget(100) as task:
            assert await answer(asking(api)) == "ab"
            assert 44 < task.remaining() < 46
        assert len(api.asked) == 3

    played(main)


def test_the_second_call_under_one_watch_is_not_charged_for_the_first() -> None:
    async def main() -> None:
        api = Answers(*[(0, 200, [text, *([9.0, text] * 3)]) for text in "abc"])
        client = asking(api)

        async def agent() -> AsyncIterator[str]:
            for _ in range(3):
                yield await answer(client)

        with hangtight.budget(100) as task:
            assert [each async for each in hangtight.watch(agent())] == ["aaaa", "bbbb", "cccc"]
            assert task.remaining() == pytest.approx(19)

    played(main)


def test_a_request_that_is_no_generation_has_what_the_budget_has() -> None:
    class Silent(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: Any) -> httpx2.Response:
            await asyncio.sleep(1e6)
            raise AssertionError

    async def main() -> float:
        transport = hangtight.http.async_transport(lib="httpx2", inner=Silent())
        client = httpx2.AsyncClient(transport=transport, timeout=None)
        loop = asyncio.get_running_loop()
        start = loop.time()
        with hangtight.budget(30), pytest.raises(hangtight.TotalTimeout, match="budget"):
            await client.get("http://x.local/v1/files")
        return loop.time() - start

    assert played(main) == 30


@pytest.mark.real
def test_a_call_that_is_not_begun_asks_no_server_however_often_the_sdk_would_retry() -> None:
    with Lab() as lab:
        ours = openai.OpenAI(api_key="x", base_url=f"{lab.url}/v1", http_client=hangtight.http.client())
        spent = hangtight.budget.from_header("remaining=0")
        with ours, spent, pytest.raises(hangtight.BudgetSpent):
            ours.chat.completions.create(model="tokens=3", messages=MESSAGES)
        assert lab.counts("tokens=3").asked == 0


# -- where Python itself is in the middle of something --------------------------------------------------------


def test_a_thread_that_is_still_importing_asyncio_breaks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    monkeypatch.setitem(sys.modules, "asyncio", types.ModuleType("asyncio"))
    assert clock.loop_here() is None
    assert clock.here() == clock.OURS
    with hangtight.budget(9):
        assert left() <= 9


@pytest.mark.real
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_generation_read_on_in_a_forked_child_fails_there_and_does_not_hang() -> None:
    flowing = iter(hangtight.watch(["x", "y"], on_heartbeat=lambda _: None))
    assert next(flowing) == "x"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of Python warn of a fork with threads: that is what is tested
        pid = os.fork()
    if pid == 0:  # pragma: no cover - the child
        try:
            list(flowing)
        except RuntimeError as error:
            os._exit(0 if "fork" in str(error) else 2)
        except BaseException:
            os._exit(3)
        os._exit(1)
    assert list(flowing) == ["y"]
    deadline = time.monotonic() + 20
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    if ended == (0, 0):
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert ended[1] == 0, "0 is RuntimeError, 256 is read on, nothing is a hang"
