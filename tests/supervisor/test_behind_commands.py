"""What runs behind a command, where no signal reaches it: a daemon that another one started, and what cmdSleep left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from hangtight.supervisor import spawning
from hangtight.supervisor.commands import run_command
from hangtight.supervisor.family import start_of
from hangtight.supervisor.orphans import Leftover, Record, stop_of
from hangtight.supervisor.spawning import Spawned
from tests.supervisor.fleets import QUICK, Stage, free_ports, quick, staged
from tests.supervisor.kit import NAMELESS, SLEEPS, Heard, is_gone, listed, python, run, soon, until

pytestmark = pytest.mark.real

DAEMON = Path(__file__).with_name("daemon.py")


def docked(folder: Path, stop: str = "stop", **said: Any) -> dict[str, Any]:
    """As `docker run` and `docker stop` are: the server is no child of ours, and does not bear our mark."""
    program = f"{sys.executable} -I -S {DAEMON}"
    pid = folder / "daemon.pid"
    return {
        "cmd": f"{program} run {pid} {QUICK} ${{PORT}}",
        "cmdStop": f"{program} {stop} {pid}",
        "proxy": "http://127.0.0.1:${PORT}",
        **said,
    }


def daemon(folder: Path) -> int:
    """The id of the one that serves; it is ended with the test."""
    path = folder / "daemon.pid"
    assert soon(path.exists)
    pid = int(path.read_text())
    NAMELESS.add(psutil.Process(pid))
    return pid


def test_a_stop_reaches_what_is_behind_the_command(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": docked(tmp_path)}) as stage:
            assert await stage.served("a") == 200
            served = daemon(tmp_path)
            assert (await stage.fleet.put("a", "stop"))["ok"]
            assert is_gone(served)

    run(scene())


def test_one_whose_client_was_killed_is_ended_by_the_command_before_anybody_says_it_is_gone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": docked(tmp_path)}) as stage:
            assert await stage.served("a") == 200
            served = daemon(tmp_path)
            os.kill(stage.pid("a"), signal.SIGKILL)
            await stage.until("a", "stopped", "failed")
            assert is_gone(served)
            assert await stage.served("a") == 200, "and its port is free for the next"
            daemon(tmp_path)

    run(scene())


def test_one_that_the_command_does_not_end_is_told_and_not_called_stopped(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": docked(tmp_path, stop="pretend", unloadTimeout=0.5)}) as stage:
            assert await stage.served("a") == 200
            served = daemon(tmp_path)
            told = await stage.fleet.put("a", "stop")
            port = stage.url("a").rpartition(":")[2]
            assert not told["ok"]
            assert f"port {port} still answers" in told["why"]
            os.kill(served, signal.SIGKILL)
            assert (await stage.fleet.put("a", "stop"))["ok"], "once it is gone a stop sees that"

    run(scene())


# -- of an earlier life ---------------------------------------------------------------------------------------


def left_behind(stage: Stage) -> int:
    """We and our guard were killed: the client ended, what is behind it did not, and a record tells of both."""
    running, folder = stage.fleet._servers["a"].running, stage.folder
    docker = subprocess.Popen(running.command, start_new_session=True)
    served, started = daemon(folder), start_of(docker.pid)
    docker.kill()
    docker.wait()
    port = int(stage.url("a").rpartition(":")[2])
    told = Leftover("a", docker.pid, started, docker.pid, "digest", port, stop=stop_of(running))
    records = folder / "processes"
    Record(records).note(told)
    [path] = records.iterdir()
    whole = json.loads(path.read_text()) | {"owner": [os.getpid(), "an earlier time"]}
    path.rename(records / "processes-1.json").write_text(json.dumps(whole))
    return served


@pytest.mark.parametrize("same", [True, False])
def test_the_next_start_ends_it_where_the_file_still_has_that_very_command(tmp_path: Path, same: bool) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, {"a": docked(tmp_path)})
        served = left_behind(stage)
        await asyncio.sleep(0.1)
        if not same:
            stage.renew({"a": docked(tmp_path, stop="pretend")})
        told: list[str] = []
        stage.fleet.on_orphan = told.append
        try:
            await stage.fleet.begin()
            assert [line.partition(" (")[0] for line in told] == ["ending what an earlier life left: a"]
            assert is_gone(served) == same
            assert ("still there: port" in stage.log("a")) != same
            assert not list((tmp_path / "processes").glob("processes-1.json")), "told once, and not at each start"
        finally:
            await stage.fleet.close()

    run(scene())


# -- what a command left --------------------------------------------------------------------------------------


def test_what_the_sleep_command_left_running_ends_with_the_model(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    sleeps = f"/bin/sh -c '{sys.executable} -c \"{SLEEPS}\" & echo $! > {pids}'"

    async def scene() -> None:
        async with staged(tmp_path, {"a": quick(cmdSleep=sleeps, cmdWake="/bin/true")}) as stage:
            await stage.served("a")
            assert (await stage.fleet.put("a", "sleep"))["ok"]
            [child] = listed(pids)
            assert not is_gone(child)
            assert (await stage.fleet.put("a", "stop"))["ok"]
            assert is_gone(child)

    run(scene())


def test_who_keeps_the_pipe_of_a_command_open_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawning, "DRAIN", 3600.0)

    async def scene() -> None:
        heard = Heard()
        left: list[Spawned] = []
        command = python("import subprocess, sys; subprocess.Popen(['sleep', '60']); print('x' * 300_000 + 'end')")
        ended = await run_command(command, on_output=heard, on_left=left.append)
        assert ended.code == 0
        assert heard.text.endswith("end\n"), "all that it said itself is here"
        [child] = left
        child.kill()
        await until(child.is_gone)

    run(scene())


# -- a file that has changed ----------------------------------------------------------------------------------


def test_an_old_process_is_stopped_as_it_was_started(tmp_path: Path) -> None:
    """The new file has another port, and so another command to stop it: that one would stop somebody else."""
    told = tmp_path / "told"

    def model(port: int) -> dict[str, Any]:
        stop = f"/bin/sh -c 'echo {port} $WHO >> {told}; kill ${{PID}}'"
        return quick(cmdStop=stop, env=[f"WHO=of-{port}"], proxy=f"http://127.0.0.1:{port}") | {
            "cmd": f"{sys.executable} -I -S {QUICK} {port}"
        }

    async def scene() -> None:
        first = free_ports(2)
        async with staged(tmp_path, {"a": model(first)}) as stage:
            await stage.served("a")
            stage.renew({"a": model(first + 1)})
            await stage.until("a", "stopped")
            assert told.read_text() == f"{first} of-{first}\n"
            await stage.served("a")
        assert told.read_text().splitlines()[1] == f"{first + 1} of-{first + 1}"

    run(scene())


def test_a_stop_that_was_mended_in_the_file_holds_for_what_runs(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": quick(cmdStop="/bin/false")}) as stage:
            await stage.served("a")
            stage.renew({"a": quick(cmdStop="/bin/sh -c 'kill ${PID}'")})
            assert (await stage.fleet.put("a", "stop"))["ok"]
            assert "cmdStop failed" not in stage.log("a")

    run(scene())
