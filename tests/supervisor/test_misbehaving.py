"""Model servers that misbehave, each as a real process, through the whole fleet. None of them gets in another's way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from hangtight.core.time import Instant
from hangtight.drivers import clock
from hangtight.supervisor import hands
from hangtight.supervisor.readiness import Heard, healthy
from tests.supervisor.fleets import Stage, lab, quick, shell, staged
from tests.supervisor.kit import is_gone, run, until

pytestmark = pytest.mark.real
SOUND = quick()


def broken(folder: Path, model: Mapping[str, Any], *words: str) -> None:
    """It never gets ready: who waits is told why, so is the log, and the other one is served meanwhile."""

    async def scene() -> None:
        async with staged(folder, {"a": model, "b": SOUND}) as stage:
            why, served = await asyncio.gather(stage.refused("a"), stage.served("b"))
            for word in words:
                assert word in why
                assert word in stage.log("a")
            assert served == 200
            assert stage.phase("a") in ("failed", "stopping", "stopped")

    run(scene())


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    command = {"cmd": "/no/such/server --port ${PORT}"}
    broken(tmp_path, command, "cmd failed: cannot start /no/such/server: no such program")


def test_a_command_that_is_no_program(tmp_path: Path) -> None:
    broken(tmp_path, {"cmd": f"{tmp_path} ${{PORT}}"}, "cmd failed", "it is a folder")


def test_a_port_at_which_a_stranger_listens(tmp_path: Path) -> None:
    """He would answer the probe, and be taken for the model."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        broken(tmp_path, quick(proxy=f"http://127.0.0.1:{port}"), f"port {port} is taken")


def test_one_that_exits_at_once(tmp_path: Path) -> None:
    broken(tmp_path, lab("--exit-code 7"), "process exited (exit code 7) before it was ready")


def test_one_that_exits_well_at_once_is_no_server_either(tmp_path: Path) -> None:
    broken(tmp_path, shell("exit 0"), "process exited (exit code 0) before it was ready")


def test_one_that_exits_while_it_loads(tmp_path: Path) -> None:
    broken(tmp_path, lab("--load-time 60", "--exit-after 0.2"), "process exited (exit code 1) before it was ready")


def test_one_that_never_becomes_healthy(tmp_path: Path) -> None:
    why = "start timed out after 1s; GET /health was answered 503"
    broken(tmp_path, lab("--load-time 600", healthCheckTimeout=1), why)


def test_one_that_never_answers_its_check(tmp_path: Path) -> None:
    why = "start timed out after 0.3s; GET /health was not answered"
    broken(tmp_path, shell("exec sleep 600", healthCheckTimeout=0.3), why)


def test_one_that_answers_in_a_way_that_nobody_foresaw_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hands, "ASK_AGAIN", 0.05)
    odd = iter([ZeroDivisionError("odd"), ZeroDivisionError("odd")])

    async def oddly(url: str, *, on_heard: Callable[[Heard], object]) -> None:
        for error in odd:
            raise error
        await healthy(url, on_heard=on_heard)

    monkeypatch.setattr(hands, "healthy", oddly)

    async def scene() -> None:
        async with staged(tmp_path, {"a": quick()}) as stage:
            assert await stage.served("a") == 200
            assert stage.log("a").count("asking whether it is ready failed: ZeroDivisionError('odd')") == 1

    run(scene())


def test_one_whose_load_gets_stuck(tmp_path: Path) -> None:
    script = "echo loading shard 1/8; exec sleep 600"
    broken(tmp_path, shell(script, load={"stall": 0.3, "ceiling": 600}), "load stuck - no progress for 0.3s")


def test_a_load_that_is_slow_and_gets_on_is_left_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        slow = lab("--load-time 2", "--load-progress", load={"stall": 1, "ceiling": 600})
        async with staged(tmp_path, {"a": slow}) as stage:
            assert await stage.served("a") == 200

    run(scene())


@pytest.mark.parametrize("options", ["--rubbish", "--chatty 8"], ids=["rubbish", "much"])
def test_one_that_prints_rubbish_or_very_much_is_served_and_keeps_a_log_that_ends(tmp_path: Path, options: str) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": lab(options)}) as stage:
            assert await stage.served("a") == 200
            await until(lambda: len(stage.fleet.log("a")) > 50_000)
            assert len(stage.fleet.logs.of("a")._kept) <= 100 * 1024
            assert await stage.served("a") == 200

    run(scene())


def test_one_that_ignores_sigterm_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": lab("--ignore-sigterm", unloadTimeout=0.2), "b": SOUND}) as stage:
            await stage.served("a")
            before = stage.pid("a")
            assert await stage.served("b") == 200
            assert is_gone(before)
            assert "stop timed out after 0.2s, killing process" in stage.log("a")

    run(scene())


def test_one_that_forks_leaves_no_child_also_when_it_dies_by_itself(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": lab("--children 3")}) as stage:
            await stage.served("a")
            server = psutil.Process(stage.pid("a"))
            children = [child.pid for child in server.children(recursive=True)]
            assert len(children) == 3
            server.kill()
            await stage.until("a", "stopped", "failed")
            assert all(map(is_gone, children))
            assert await stage.served("a") == 200

    run(scene())


def test_one_that_closes_its_health_port_is_not_ill(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": lab("--closes-health 0.2")}) as stage:
            (await stage.held("a")).end()
            before = stage.pid("a")
            async with asyncio.timeout(10):
                while await stage.served("a", seconds=0.5) == 200:  # noqa: ASYNC110 - until it answers no probe any more
                    await asyncio.sleep(0.05)
            assert stage.phase("a") == "ready"
            assert stage.pid("a") == before

    run(scene())


async def hung(stage: Stage) -> int:
    """A request is inside, and no token comes. The id of the process, when it has been found out."""
    guest = await stage.held("a")
    before = stage.pid("a")
    await guest.cut_off.wait()
    guest.end()
    return before


def test_one_that_hangs_while_it_looks_well_is_found_and_started_anew(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": lab("--hangs-after 0", hang=0.4), "b": SOUND}) as stage:
            before = await hung(stage)
            assert "process stuck - no output for 0.4s with 1 request running" in stage.log("a")
            assert await stage.served("a") == 200
            assert is_gone(before)
            assert await stage.served("b") == 200

    run(scene())


def test_one_from_which_tokens_come_is_not_called_hung(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": quick(hang=0.4)}) as stage:
            guest = await stage.held("a")
            for _ in range(10):
                stage.progress["a"] = clock.now()
                await asyncio.sleep(0.1)
            assert not guest.cut_off.is_set()
            await guest.cut_off.wait()  # now nothing comes any more
            guest.end()

    run(scene())


def test_one_that_goes_on_with_a_request_that_was_cancelled_ends_when_the_others_have_been_served(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": quick()}) as stage:
            guest = await stage.held("a")
            before = stage.pid("a")
            await stage.fleet.still_running("a", "", Instant(clock.now() - 300))
            assert stage.phase("a") == "draining"
            next_one = asyncio.create_task(stage.served("a"))
            await asyncio.sleep(0.05)
            assert not guest.cut_off.is_set()
            guest.end()
            assert await next_one == 200
            assert is_gone(before)

    run(scene())


def test_a_stop_command_that_fails_is_told_and_followed_by_the_signal(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": quick(cmdStop="/bin/sh -c 'echo cannot; exit 3'")}) as stage:
            await stage.served("a")
            before = stage.pid("a")
            assert (await stage.fleet.put("a", "stop"))["ok"]
            assert is_gone(before)
            assert "cmdStop failed: exit code 3" in stage.log("a")

    run(scene())


def test_one_that_fails_again_and_again_is_not_started_for_each_request(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": shell("exit 1"), "b": SOUND}) as stage:
            await stage.served("b")
            await stage.refused("a")
            await stage.served("b")
            before = stage.pid("b")
            for _ in range(20):
                await stage.refused("a")
            assert stage.starts("a") == 1
            assert stage.pid("b") == before, "nobody goes for one that may not start yet"
            told = await stage.fleet.put("a", "wake")
            assert not told["ok"]
            assert stage.starts("a") == 2, "who says so in person does not wait for the pause"

    run(scene())
