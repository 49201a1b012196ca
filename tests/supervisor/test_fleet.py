"""A fleet with real processes: they start when they are wanted, leave room for each other, and end with us."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from hangtight.errors import HangtightError
from hangtight.supervisor.waiting import Refused
from tests.supervisor.fleets import lab, quick, shell, sleepy, staged
from tests.supervisor.kit import is_gone, run, until

pytestmark = pytest.mark.real
LOADS = "--load-time 0.3"
NEVER_READY = shell("exec sleep 600")


# -- start and swap -------------------------------------------------------------------------------------------


def test_twenty_at_once_start_one_server_and_are_all_served(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": lab(LOADS)}) as stage:
            assert stage.phase("a") == "stopped"
            assert await asyncio.gather(*(stage.served("a") for _ in range(20))) == [200] * 20
            assert stage.starts("a") == 1

    run(scene())


def test_a_ready_one_is_leased_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": quick()}) as stage:
            await stage.served("a")
            guest = await stage.held("a")
            assert stage.shown("a")["requests"] == 1
            guest.end()
            guest.end()
            assert stage.shown("a")["requests"] == 0

    run(scene())


def test_one_goes_for_the_other_and_its_whole_tree_with_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": lab("--children 2"), "b": quick()}) as stage:
            await stage.served("a")
            tree = [process.pid for process in psutil.Process(stage.pid("a")).children(recursive=True)]
            assert len(tree) == 2
            await stage.served("b")
            assert stage.phases() == {"a": "stopped", "b": "ready"}
            assert all(map(is_gone, tree))

    run(scene())


def test_a_swap_waits_for_the_requests_in_flight(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": quick(), "b": quick()}) as stage:
            busy = await stage.held("a")
            other = asyncio.create_task(stage.held("b"))
            await stage.until("a", "draining")
            assert not busy.cut_off.is_set()
            assert not other.done()
            busy.end()
            (await other).end()
            assert not busy.cut_off.is_set()

    run(scene())


def test_a_swap_cuts_off_who_is_still_there_when_the_drain_timed_out(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": quick(drainTimeout=0.2), "b": quick()}) as stage:
            busy = await stage.held("a")
            (await stage.held("b")).end()
            assert busy.cut_off.is_set()
            busy.end()
            assert "drain timed out after 0.2s, cutting off 1 request" in stage.log()

    run(scene())


def test_one_that_can_sleep_is_put_to_sleep_for_the_other_and_keeps_its_process(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": sleepy(), "b": quick()}) as stage:
            await stage.served("a")
            before = stage.pid("a")
            await stage.served("b")
            assert stage.phases() == {"a": "asleep", "b": "ready"}
            await stage.served("a")
            assert stage.pid("a") == before
            assert stage.phases() == {"a": "ready", "b": "stopped"}
            assert "<a> Model wake completed in" in stage.log()

    run(scene())


def test_a_wake_that_fails_becomes_a_restart_and_who_waits_is_served(tmp_path: Path) -> None:
    async def scene() -> None:
        model = quick(cmdSleep="/bin/sh -c 'exit 0'", cmdWake="/bin/sh -c 'echo no memory; exit 3'")
        async with staged(tmp_path, {"a": model}) as stage:
            await stage.served("a")
            before = stage.pid("a")
            assert (await stage.fleet.put("a", "sleep"))["ok"]
            told = await stage.fleet.put("a", "wake")
            assert not told["ok"]
            assert told["phase"] == "ready"
            assert "no memory" in told["why"]
            assert stage.pid("a") != before
            assert "cmdWake failed, restarting process" in stage.log("a")

    run(scene())


def test_a_sleep_that_times_out_becomes_a_stop(tmp_path: Path) -> None:
    async def scene() -> None:
        model = quick(cmdSleep="/bin/sh -c 'sleep 600'", cmdWake="/bin/sh -c 'exit 0'", cmdSleepTimeout=0.2)
        async with staged(tmp_path, {"a": model}) as stage:
            await stage.served("a")
            told = await stage.fleet.put("a", "sleep")
            assert (told["ok"], told["phase"]) == (False, "stopped")
            assert told["why"] == "sleep command timed out after 0.2s"

    run(scene())


def test_groups_decide_who_is_up_beside_whom(tmp_path: Path) -> None:
    groups = {
        "together": {"members": ["a", "b"], "swap": False},
        "always": {"members": ["p"], "persistent": True, "exclusive": False},
    }

    async def scene() -> None:
        async with staged(tmp_path, dict.fromkeys("abcp", quick()), groups=groups) as stage:
            await asyncio.gather(*map(stage.served, "pab"))
            assert stage.phases() == {"a": "ready", "b": "ready", "c": "stopped", "p": "ready"}
            await stage.served("c")
            assert stage.phases() == {"a": "stopped", "b": "stopped", "c": "ready", "p": "ready"}

    run(scene())


def test_one_that_nobody_asks_goes_after_its_ttl(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": quick(ttl=1)}) as stage:
            await stage.served("a")
            await stage.until("a", "stopped")
            assert "Idle for 1s (ttl)" in stage.log("a")

    run(scene())


def test_what_is_to_be_there_from_the_beginning_is(tmp_path: Path) -> None:
    async def scene() -> None:
        preload = {"on_startup": {"preload": ["a"]}}
        async with staged(tmp_path, {"a": quick(), "b": quick()}, hooks=preload) as stage:
            await stage.until("a", "ready")
            assert stage.phase("b") == "stopped"

    run(scene())


def test_a_server_that_died_is_started_again_for_the_next_request(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": quick()}) as stage:
            await stage.served("a")
            before = stage.pid("a")
            psutil.Process(before).kill()
            await stage.until("a", "failed", "stopped")
            assert await stage.served("a") == 200
            assert stage.pid("a") != before
            assert "process exited (killed by SIGKILL) while ready" in stage.log("a")

    run(scene())


def test_a_load_that_shows_progress_is_told_to_who_waits(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": lab("--load-time 0.5", "--load-progress")}) as stage:
            guest = await stage.held("a")
            guest.end()
            assert guest.loads > 1

    run(scene())


def test_who_gives_up_leaves_the_load_running(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": lab(LOADS)}) as stage:
            waits = asyncio.create_task(stage.held("a"))
            await stage.until("a", "starting")
            waits.cancel()
            await stage.until("a", "ready")

    run(scene())


def test_unload_stops_all_and_the_next_request_starts_again(tmp_path: Path) -> None:
    async def scene() -> None:
        groups = {"together": {"members": ["a", "b"], "swap": False}}
        async with staged(tmp_path, {"a": quick(), "b": sleepy()}, groups=groups) as stage:
            await asyncio.gather(stage.served("a"), stage.served("b"))
            await stage.fleet.unload()
            assert stage.phases() == {"a": "stopped", "b": "stopped"}
            assert await stage.served("a") == 200

    run(scene())


# -- what is said ---------------------------------------------------------------------------------------------


def test_what_it_prints_is_in_its_log_and_in_that_of_all_and_goes_out_where_it_is_wanted(tmp_path: Path) -> None:
    async def scene() -> None:
        talks = shell("echo hello from the server; exec sleep 600", checkEndpoint="none")
        async with staged(tmp_path, {"a": talks}, logToStdout="both") as stage:
            news: list[bytes] = []

            async def read() -> None:
                async for piece in stage.fleet.follow("a", history=False):
                    news.append(piece)  # noqa: PERF401 - they are looked at while they come

            reader = asyncio.create_task(read())
            await asyncio.sleep(0)
            (await stage.held("a")).end()
            await until(lambda: "hello from the server" in stage.log("a"))
            assert "hello from the server" in stage.log()
            assert b"hello from the server" in stage.output
            await until(lambda: b"hello from the server" in b"".join(news))
        await reader  # it ends with the fleet

    run(scene())


# -- the settings change --------------------------------------------------------------------------------------


def together(*names: str) -> dict[str, object]:
    return {"together": {"members": [*names], "swap": False}}


def test_a_reload_touches_only_what_changed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, dict.fromkeys("abc", quick()), groups=together(*"abc")) as stage:
            await asyncio.gather(*map(stage.served, "abc"))
            pids = {name: stage.pid(name) for name in "abc"}
            changed = {"a": quick(ttl=500), "b": quick("other"), "c": quick(), "d": quick()}
            stage.renew(changed, groups=together(*"abcd"))
            await stage.until("b", "stopped")
            assert [stage.pid(name) for name in "ac"] == [pids["a"], pids["c"]]
            assert stage.shown("a")["ttl"] == 500
            await asyncio.gather(*map(stage.served, "bd"))
            assert is_gone(pids["b"])
            del changed["c"], changed["d"]
            stage.renew(changed, groups=together(*"ab"))
            await until(lambda: is_gone(pids["c"]))
            assert not stage.fleet.runs("c")
            assert stage.pid("a") == pids["a"]

    run(scene())


def test_a_file_that_is_wrong_changes_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": quick()}) as stage:
            await stage.served("a")
            before = stage.pid("a")
            with pytest.raises(HangtightError):
                stage.renew({"a": quick(cmdSleepTimeout=-1)})
            assert stage.pid("a") == before
            assert await stage.served("a") == 200

    run(scene())


def test_the_first_model_of_a_file_that_had_none_is_run(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {}) as stage:
            assert stage.fleet.guard is None
            stage.renew({"a": quick()})
            assert await stage.served("a") == 200
            assert stage.fleet.guard is not None

    run(scene())


# -- the end --------------------------------------------------------------------------------------------------


def test_the_end_finds_servers_in_every_phase(tmp_path: Path) -> None:
    slow = {"cmdSleep": "/bin/sh -c 'sleep 600'", "cmdWake": "/bin/sh -c 'sleep 600'"}
    models = {
        "starting": NEVER_READY,
        "ready": quick(),
        "busy": quick(),
        "draining": quick(),
        "sleeping": quick(**slow),
        "asleep": sleepy(),
        "waking": quick(cmdSleep="/bin/sh -c 'exit 0'", cmdWake="/bin/sh -c 'sleep 600'"),
        "stopping": quick("deaf"),
        "failed": shell("exit 1"),
        "stopped": quick(),
    }
    groups = {"together": {"members": list(models), "swap": False}}

    async def scene() -> None:
        async with staged(tmp_path, models, groups=groups) as stage:
            fleet = stage.fleet
            waits = asyncio.create_task(stage.refused("starting"))
            up = ("ready", "busy", "draining", "sleeping", "asleep", "waking", "stopping")
            await asyncio.gather(*map(stage.served, up))
            await stage.refused("failed")
            busy, draining = await stage.held("busy"), await stage.held("draining")
            for name in ("asleep", "waking"):
                await fleet.put(name, "sleep")
            wishes = [("draining", "stop"), ("sleeping", "sleep"), ("waking", "wake"), ("stopping", "stop")]
            others = [asyncio.create_task(fleet.put(*wish)) for wish in wishes]
            for name in (*models.keys() - {"busy"},):
                await stage.until(name, name)
            await fleet.close()
            assert "shutting down" in await waits
            assert busy.cut_off.is_set()
            assert draining.cut_off.is_set()
            await asyncio.gather(*others)
            with pytest.raises(Refused):
                await stage.held("ready")

    run(scene())


def test_the_end_takes_those_along_that_are_in_no_file_any_more(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": quick(), "b": quick()}) as stage:
            busy = await stage.held("a")
            before = stage.pid("a")
            stage.renew({"b": quick()})
            await asyncio.sleep(0.05)
            assert not is_gone(before)
        assert busy.cut_off.is_set()
        assert is_gone(before)

    run(scene())


def test_what_is_shown_of_a_command_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t")

    async def scene() -> None:
        async with staged(tmp_path, {"a": quick("${env.TOKEN}")}) as stage:
            assert await stage.served("a") == 200
            assert "s3cr3t" not in str(stage.shown("a"))
            assert "${env.TOKEN}" in stage.shown("a")["cmd"]

    run(scene())
