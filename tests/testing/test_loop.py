import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hangtight.testing.loop import Deadlock, JumpingLoop, TasksLeft, jumping


def test_an_hour_of_slow_tokens_passes_at_once_and_lands_exactly() -> None:
    async def tokens() -> list[float]:
        seen = []
        for _ in range(3600):
            await asyncio.sleep(1)
            seen.append(JumpingLoop.here().time())
        return seen

    assert jumping(tokens()) == [float(n) for n in range(1, 3601)]


def test_the_clock_starts_at_zero_and_does_not_move_while_something_is_ready() -> None:
    async def busy() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return JumpingLoop.here().time()

    assert jumping(busy()) == 0.0


def test_timers_run_in_the_order_of_their_instants_and_see_exactly_those() -> None:
    async def scenario() -> list[tuple[str, float]]:
        loop = JumpingLoop.here()
        seen: list[tuple[str, float]] = []

        def note(name: str) -> None:
            seen.append((name, loop.time()))

        for name, at in (("c", 0.3), ("a", 0.1), ("b", 0.1), ("d", 1e6)):
            loop.call_at(at, note, name)
        await asyncio.sleep(2e6)
        return seen

    assert jumping(scenario()) == [("a", 0.1), ("b", 0.1), ("c", 0.3), ("d", 1e6)]


@pytest.mark.parametrize("far", [86400.0 * 30, 1e9, 1e15])
def test_far_timers_run_too_although_a_nanosecond_is_nothing_there(far: float) -> None:
    async def scenario() -> float:
        await asyncio.sleep(far)
        await asyncio.sleep(0.5)
        await asyncio.sleep(far)
        return JumpingLoop.here().time()

    assert jumping(scenario()) == pytest.approx(2 * far)


def test_asyncio_timeouts_ring_on_the_virtual_clock() -> None:
    async def scenario() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await asyncio.Event().wait()
        return JumpingLoop.here().time()

    assert jumping(scenario()) == 600.0


async def wait_for_what_never_comes(event: asyncio.Event) -> None:
    await event.wait()


async def pieces_that_never_come() -> AsyncIterator[str]:
    await asyncio.Event().wait()
    yield "never"


async def read_pieces() -> None:
    async for _ in pieces_that_never_come():
        pass


class Ticket:
    def __await__(self) -> Any:
        return wait_for_what_never_comes(asyncio.Event()).__await__()


async def hold_a_ticket() -> None:
    await Ticket()


def line_of(function: Callable[..., object], offset: int) -> str:
    return f"{__file__}:{function.__code__.co_firstlineno + offset} "


def test_a_deadlock_is_reported_with_every_task_and_the_line_where_it_waits() -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_what_never_comes(asyncio.Event()), name="events")
            group.create_task(read_pieces(), name="pieces")
            group.create_task(hold_a_ticket(), name="ticket")
            await asyncio.sleep(5)

    with pytest.raises(Deadlock) as caught:
        jumping(scenario())
    first, *lines = str(caught.value).splitlines()
    assert "5s" in first
    where = {line.split(":")[0].strip(): line for line in lines}
    assert len(where) == 4
    assert line_of(wait_for_what_never_comes, 1) in where["events"]
    assert line_of(pieces_that_never_come, 1) in where["pieces"]
    assert line_of(wait_for_what_never_comes, 1) in where["ticket"]
    assert any(line_of(scenario, 1) in line for line in lines)


def test_a_bare_future_is_a_deadlock_and_so_is_a_timer_at_infinity() -> None:
    async def bare() -> None:
        await JumpingLoop.here().create_future()

    with pytest.raises(Deadlock):
        jumping(bare())
    with pytest.raises(Deadlock):
        jumping(asyncio.sleep(math.inf))


def test_the_loop_without_any_task_reports_too() -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner, pytest.raises(Deadlock):
        runner.get_loop().run_forever()


def test_after_a_deadlock_tasks_are_cancelled_and_clean_up() -> None:
    cleaned = []

    async def scenario() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(10)
            cleaned.append(JumpingLoop.here().time())

    with pytest.raises(Deadlock):
        jumping(scenario())
    assert cleaned == [10.0]


def test_a_suspended_machine_runs_its_timers_late_and_all_at_the_new_time() -> None:
    async def scenario() -> list[tuple[int, float]]:
        loop = JumpingLoop.here()
        seen: list[tuple[int, float]] = []

        def note(due: int) -> None:
            seen.append((due, loop.time()))

        for due in (10, 20, 200):
            loop.call_at(due, note, due)
        await asyncio.sleep(5)
        loop.suspend(100)
        assert loop.time() == 105.0
        assert seen == []
        await asyncio.sleep(100)
        return seen

    assert jumping(scenario()) == [(10, 105.0), (20, 105.0), (200, 200.0)]


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_machine_sleeps_for_a_finite_time_forward(seconds: float) -> None:
    async def scenario() -> None:
        with pytest.raises(ValueError, match="finite"):
            JumpingLoop.here().suspend(seconds)

    jumping(scenario())


def bounce(loop: JumpingLoop, times: int = 50) -> None:
    """Called in a thread: make the loop go round often, so that it would have jumped if it could."""
    for _ in range(times):
        heard = threading.Event()
        loop.call_soon_threadsafe(heard.set)
        assert heard.wait(20)


def test_work_in_a_thread_holds_the_clock() -> None:
    async def scenario() -> float:
        async with asyncio.timeout(0.001):
            await asyncio.to_thread(bounce, JumpingLoop.here())
        return JumpingLoop.here().time()

    assert jumping(scenario()) == 0.0


def test_work_in_an_executor_of_the_callers_own_holds_the_clock_too() -> None:
    async def scenario() -> list[float]:
        loop = JumpingLoop.here()
        sleeping = asyncio.create_task(asyncio.sleep(1))
        with ThreadPoolExecutor(1) as own:
            await loop.run_in_executor(own, bounce, loop)
        before = loop.time()
        await sleeping
        return [before, loop.time()]

    assert jumping(scenario()) == [0.0, 1.0]


def test_a_thread_whose_task_was_cancelled_holds_the_clock_until_it_is_done() -> None:
    async def scenario() -> None:
        loop, gate, finished = JumpingLoop.here(), threading.Event(), threading.Event()

        def work() -> None:
            gate.wait(20)
            bounce(loop)
            finished.set()

        task = asyncio.create_task(asyncio.to_thread(work))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        await asyncio.sleep(1)
        assert finished.is_set()

    jumping(scenario())


def test_a_failing_thread_releases_the_clock() -> None:
    async def scenario() -> float:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        await asyncio.sleep(7)
        return JumpingLoop.here().time()

    assert jumping(scenario()) == 7.0


def test_a_foreign_thread_is_waited_for_inside_a_hold() -> None:
    async def scenario() -> float:
        loop = JumpingLoop.here()
        heard = asyncio.Event()
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(heard.set))
        alarm = asyncio.create_task(asyncio.sleep(10))
        with loop.hold():
            thread.start()
            await heard.wait()
            at = loop.time()
        thread.join()
        await alarm
        return at

    assert jumping(scenario()) == 0.0


def test_a_thread_that_waits_for_a_timer_of_the_loop_is_reported_when_patience_ends() -> None:
    gate = threading.Event()

    async def scenario() -> None:
        JumpingLoop.here().call_later(1, gate.set)
        await asyncio.to_thread(gate.wait, 20)

    loop = JumpingLoop(patience=0.01)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        with pytest.raises(Deadlock, match="1 hold"):
            runner.run(scenario())
        gate.set()


def test_a_server_and_its_client_on_this_loop_talk_over_real_sockets_in_virtual_time() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(20):
            await asyncio.sleep(30)
            writer.write(b"token\n")
        writer.close()
        await writer.wait_closed()

    async def scenario() -> tuple[int, float]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            count = 0
            while True:
                async with asyncio.timeout(45):
                    if not await reader.readline():
                        break
                count += 1
            writer.close()
            await writer.wait_closed()
        return count, JumpingLoop.here().time()

    assert jumping(scenario()) == (20, 600.0)


def test_a_silent_socket_is_waited_for_really_when_no_timer_is_left_and_then_reported() -> None:
    heard = []

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            thread = threading.Thread(target=theirs.send, args=[b"late"])
            JumpingLoop.here().call_soon(thread.start)
            heard.append(await JumpingLoop.here().sock_recv(ours, 10))
            thread.join()
            await JumpingLoop.here().sock_recv(ours, 10)

    loop = JumpingLoop(patience=0.05)
    with asyncio.Runner(loop_factory=lambda: loop) as runner, pytest.raises(Deadlock, match="1 socket"):
        runner.run(scenario())
    assert heard == [b"late"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows loops have no signal handlers")
def test_a_signal_handler_may_wake_the_loop() -> None:
    async def scenario() -> None:
        loop, heard = JumpingLoop.here(), asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, heard.set)
        thread = threading.Thread(target=os.kill, args=[os.getpid(), signal.SIGUSR1])
        loop.call_soon(thread.start)
        await heard.wait()
        thread.join()
        loop.remove_signal_handler(signal.SIGUSR1)

    jumping(scenario())


def test_child_processes_are_refused() -> None:
    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="real"):
            await asyncio.create_subprocess_exec(sys.executable, "-V", stdout=subprocess.DEVNULL)
        with pytest.raises(RuntimeError, match="real"):
            await asyncio.create_subprocess_shell("true")

    jumping(scenario())


def test_tasks_left_behind_are_an_error_that_names_them() -> None:
    async def scenario() -> None:
        task = asyncio.create_task(asyncio.sleep(60), name="forgotten")
        await asyncio.sleep(0)
        del task

    with pytest.raises(TasksLeft, match="forgotten"):
        jumping(scenario())


def test_the_error_of_the_coroutine_comes_before_the_tasks_it_left() -> None:
    async def scenario() -> None:
        raise LookupError(asyncio.create_task(asyncio.sleep(60)).get_name())

    with pytest.raises(LookupError):
        jumping(scenario())


def test_ctrl_c_cancels_the_coroutine_closes_the_loop_and_gives_the_handler_back() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    async def scenario() -> None:
        loop = JumpingLoop.here()
        loop.call_later(5, signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            seen.append((loop, loop.time()))

    with pytest.raises(KeyboardInterrupt):
        jumping(scenario())
    [(loop, at)] = seen
    assert loop.is_closed()
    assert at == 5.0
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_ends_a_real_wait() -> None:
    async def scenario() -> None:
        thread = threading.Thread(target=os.kill, args=[os.getpid(), signal.SIGINT])
        JumpingLoop.here().call_soon(thread.start)
        try:
            with JumpingLoop.here().hold():
                await asyncio.Event().wait()
        finally:
            thread.join()

    with pytest.raises(KeyboardInterrupt):
        jumping(scenario())


def test_here_refuses_an_ordinary_loop_and_drivers_can_tell_them_apart() -> None:
    async def scenario() -> None:
        assert not getattr(asyncio.get_running_loop(), "virtual", False)
        with pytest.raises(RuntimeError, match="JumpingLoop"):
            JumpingLoop.here()

    asyncio.run(scenario())
    assert JumpingLoop.virtual
