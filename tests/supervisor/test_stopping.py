"""A stop is asked for, waited for, forced, and looked after; commands have their time and end with all of theirs."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from hangtight.supervisor import commands, family, gpu, guard, stopping
from hangtight.supervisor.commands import Ended, run_command
from hangtight.supervisor.guarding import Guard
from hangtight.supervisor.spawning import Spawned, SpawnFailed, spawn
from hangtight.supervisor.stopping import How, Stopped, stopped
from tests.supervisor.kit import FORKS, IGNORES_SIGTERM, SLEEPS, Heard, is_gone, python, run, soon, until

pytestmark = pytest.mark.real


async def stop(script: str, says: str = "", **how: Any) -> tuple[Stopped, Spawned]:
    heard = Heard()
    process = await spawn(python(script), on_output=heard)
    await until(lambda: says in heard)
    told = await stopped(process, **how)
    process.close()
    return told, process


def test_what_ends_when_asked_is_gone() -> None:
    told, process = run(stop(SLEEPS))
    assert (told.how, told.left, told.said) == (How.GONE, (), "")
    assert is_gone(process.pid)


def test_what_does_not_listen_is_killed_when_its_time_is_over() -> None:
    told, process = run(stop(IGNORES_SIGTERM, "deaf", seconds=0.2))
    assert (told.how, told.left) == (How.KILLED, ())
    assert told.took >= 0.2
    assert is_gone(process.pid)


def test_the_signal_can_be_another_one() -> None:
    script = f"import signal, sys; signal.signal(signal.SIGINT, lambda *_: sys.exit(0)); print('deaf'); {SLEEPS}"
    told, process = run(stop(script, "deaf", signal=2))
    assert (told.how, process.returncode) == (How.GONE, 0)


def test_the_whole_tree_is_gone_also_who_left_the_group() -> None:
    async def scene() -> None:
        heard = Heard()
        process = await spawn(python(FORKS), on_output=heard)
        children = await heard.children()
        assert (await stopped(process)).how is How.GONE
        assert all(is_gone(child) for child in children)
        process.close()

    run(scene())


def test_who_ended_by_itself_leaves_children_that_are_ended() -> None:
    async def scene() -> None:
        heard = Heard()
        process = await spawn(["/bin/sh", "-c", "sleep 600 & echo children $!"], on_output=heard)
        (child,) = await heard.children()
        await process.exited()
        assert (await stopped(process)).how is How.GONE
        assert is_gone(child)
        assert (await stopped(process)).how is How.GONE  # again: nothing is left to do
        process.close()

    run(scene())


def test_a_command_of_your_own_stops_it_and_is_told_its_id() -> None:
    told, process = run(stop(SLEEPS, command=["/bin/sh", "-c", "kill -INT ${PID}"]))
    assert (told.how, told.said) == (How.GONE, "")
    assert process.returncode is not None


@pytest.mark.parametrize(
    ("command", "why"),
    [(["/bin/sh", "-c", "echo no such container; exit 4"], "exit code 4; it said last:\nno such container"),
     (["no-such-program-here"], "cannot start no-such-program-here: no such program on the PATH")],
)  # fmt: skip
def test_a_command_that_fails_is_followed_by_the_signal(command: list[str], why: str) -> None:
    told, process = run(stop(SLEEPS, command=command))
    assert (told.how, told.said) == (How.GONE, why)
    assert process.returncode == -15


def test_a_command_that_hangs_is_ended_with_its_time_and_what_it_should_have_stopped_too() -> None:
    told, process = run(stop(SLEEPS, command=["sleep", "600"], seconds=0.2))
    assert (told.how, told.said) == (How.KILLED, "cmdStop timed out")
    assert is_gone(process.pid)


def test_a_command_that_works_but_stops_nothing_is_followed_by_the_kill() -> None:
    told, _ = run(stop(SLEEPS, command=["true"], seconds=0.2))
    assert (told.how, told.said) == (How.KILLED, "")


class Unkillable:
    """A process that hangs in the kernel, which a test cannot have."""

    pid = os.getpid()

    async def exited(self) -> str:
        await asyncio.sleep(3600)
        return ""

    def remaining(self) -> list[int]:
        return [71, 72]

    def ask_to_end(self, number: int) -> None:
        """It does not hear."""

    def kill(self) -> None:
        """It cannot."""


def test_what_cannot_be_ended_is_told_by_its_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LAST_WAIT", 0.1)
    told = run(stopped(Unkillable(), seconds=0.1))
    assert (told.how, told.left) == (How.REMAINS, (71, 72))


def test_a_caller_that_is_cancelled_leaves_nothing_behind() -> None:
    async def scene() -> None:
        heard = Heard()
        process = await spawn(python(IGNORES_SIGTERM), on_output=heard)
        await until(lambda: "deaf" in heard)
        stop = asyncio.create_task(stopped(process, seconds=600))
        await asyncio.sleep(0.1)
        stop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stop
        assert await process.exited() == "killed by SIGKILL"
        process.close()

    run(scene())


def test_nobody_waits_while_all_processes_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """With thousands of them one look takes as long as a token of a fast model."""
    looked: list[int] = []

    def look() -> dict[int, guard.Seen]:
        looked.append(threading.get_ident())
        return seen()

    seen = guard.seen
    monkeypatch.setattr(family, "seen", look)

    async def scene() -> None:
        with_guard = Guard()
        with_guard.start()
        try:
            await run_command(["/bin/sh", "-c", "exit 0"], guard=with_guard)
            await run_command(python(FORKS), seconds=0.3, guard=with_guard)
            deaf = await spawn(python(IGNORES_SIGTERM), guard=with_guard)
            for work in (run_command(python(SLEEPS)), stopped(deaf, seconds=600), deaf.release()):
                task = asyncio.create_task(work)
                await asyncio.sleep(0.1)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        finally:
            await with_guard.close()

    run(scene())
    assert looked
    assert threading.get_ident() not in looked


def test_a_command_says_how_it_went() -> None:
    heard = Heard()
    ended = run(run_command(["/bin/sh", "-c", "echo $LEVEL; exit 7"], {"LEVEL": "two"}, 10, heard))
    assert (ended.code, ended.tail, ended.timed_out) == (7, "two", False)
    assert ended.why == "exit code 7; it said last:\ntwo"
    assert heard.text == "two\n"
    assert run(run_command(["true"])).why == ""
    assert Ended(-11, "", 1).why == "killed by SIGSEGV"
    with pytest.raises(SpawnFailed):
        run(run_command(["no-such-program-here"]))


def test_of_what_a_command_says_the_last_lines_are_kept_however_long_they_are() -> None:
    ended = run(run_command(python("print(*range(100), sep='\\n')"), None, 10))
    assert ended.tail.splitlines() == [str(n) for n in range(80, 100)]
    ended = run(run_command(python("print('x' * 10_000_000, end='end')"), None, 10))
    assert len(ended.tail) <= commands.TAIL
    assert ended.tail.endswith("xend")


def test_a_command_whose_time_is_over_is_killed_with_all_that_it_started() -> None:
    heard = Heard()
    ended = run(run_command(python(IGNORES_SIGTERM + "\n" + FORKS), None, 0.3, heard))
    assert (ended.code, ended.timed_out) == (None, True)
    assert ended.why.startswith("timed out after ")
    forked = Heard()
    run(run_command(python(FORKS), None, 0.5, forked))
    assert all(soon(lambda pid=pid: is_gone(pid)) for pid in run(forked.children()))  # type: ignore[misc]


def test_a_command_whose_caller_is_cancelled_is_killed() -> None:
    async def scene() -> None:
        heard = Heard()
        work = asyncio.create_task(run_command(python(FORKS), None, None, heard))
        children = await heard.children()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await until(lambda: all(is_gone(child) for child in children))

    run(scene())


def driver(*tables: dict[int, int | None]) -> Any:
    """NVIDIA's library, with what it tells at each question; the last answer stays."""
    answers = list(tables)

    def processes(device: object) -> list[SimpleNamespace]:
        table = answers.pop(0) if len(answers) > 1 else answers[0]
        return [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in table.items()]

    return SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetComputeRunningProcesses=processes,
    )


def test_memory_of_a_gpu_is_looked_after_where_the_driver_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver({7: 100, 8: None, 9: 50}))
    assert run(gpu.held_by([7, 8])) == 101
    assert run(gpu.freed([7], seconds=0.2)) is False
    monkeypatch.setitem(sys.modules, "pynvml", driver({7: 100}, {7: 100}, {}))
    assert run(gpu.freed([7])) is True


def test_where_no_driver_tells_the_answer_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert run(gpu.held_by([7])) is None
    assert run(gpu.freed([7])) is None
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace())  # a library without a driver raises
    assert run(gpu.held_by([7])) is None


def test_a_driver_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    go = threading.Event()
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=go.wait))
    assert run(gpu.held_by([7], seconds=0.05)) is None
    go.set()


def test_a_stop_says_whether_the_memory_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def held(pids: object, seconds: float = 0) -> int:
        return 1 << 30

    async def freed(pids: object, seconds: float = 0) -> bool:
        return True

    monkeypatch.setattr(gpu, "held_by", held)
    monkeypatch.setattr(gpu, "freed", freed)
    told, _ = run(stop(SLEEPS))
    assert told.gpu_freed is True
