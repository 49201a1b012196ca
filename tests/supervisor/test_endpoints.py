"""A model that sleeps by requests to its own server: the same lines and the same fallbacks as with commands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hangtight.drivers import http11
from hangtight.rules.running import Errand
from hangtight.supervisor.errands import run_errands
from tests.supervisor.fleets import lab, staged
from tests.supervisor.kit import run
from tests.supervisor.test_canary import minded, slept_and_woken
from tests.supervisor.test_readiness import answer, free_port, server

SLEEP, WAKE = Errand("/sleep"), Errand("/wake_up")


def errands(*answers: bytes | None, of: tuple[Errand, ...]) -> tuple[str, int]:
    """Why they failed, and how many were sent."""

    async def scene() -> tuple[str, int]:
        async with server(*answers) as (port, asked):
            return await run_errands(f"http://127.0.0.1:{port}/", of, {}), asked()

    return run(scene())


def test_they_are_sent_in_their_order_and_any_2xx_is_good() -> None:
    assert errands(answer(200), answer(204), answer(202, b"{}"), of=(SLEEP, WAKE, SLEEP)) == ("", 3)


def test_with_the_first_that_fails_it_is_over() -> None:
    why, sent = errands(answer(200), answer(500, b"no memory"), answer(200), of=(SLEEP, WAKE, SLEEP))
    assert (why, sent) == ("POST /wake_up was answered 500; it said last:\nno memory", 2)
    assert errands(answer(302), of=(SLEEP,))[0] == "POST /sleep was answered 302"


def test_one_has_its_own_limit() -> None:
    why, _ = errands(None, of=(Errand("/sleep", seconds=0.05),))
    assert why == "POST /sleep timed out after 0.05s"


def test_where_nobody_listens_is_told() -> None:
    why = run(run_errands(f"http://127.0.0.1:{free_port()}", (SLEEP,), {}))
    assert why.startswith("POST /sleep failed: no connection to 127.0.0.1:")


def test_an_answer_counts_when_it_has_ended() -> None:
    assert errands(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nhalf", of=(SLEEP,))[0].startswith("POST /sleep failed:")


def test_method_body_and_headers_arrive() -> None:
    async def scene() -> None:
        came = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            came.set_result((head.lower(), await reader.readexactly(2)))
            writer.write(answer(200))
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            base = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            assert await run_errands(base, (Errand("/a?b=1", "PUT", "{}"),), {"authorization": "Bearer x"}) == ""
            head, body = await came
        assert head.startswith(b"put /a?b=1 http/1.1\r\n")
        assert body == b"{}"
        for field in (b"content-type: application/json", b"content-length: 2", b"authorization: bearer x"):
            assert field in head

    run(scene())


# -- with a real process ----------------------------------------------------------------------------------------------

LEVEL_2: dict[str, Any] = {
    "sleepMode": "enable",
    "sleepEndpoints": [{"endpoint": "/sleep?level=2"}],
    "wakeEndpoints": [
        {"endpoint": "/wake_up"},
        {"endpoint": "/collective_rpc", "body": {"method": "reload_weights"}},
        {"endpoint": "/reset_prefix_cache"},
    ],
}


@pytest.mark.real
def test_level_2_of_vllm_needs_no_curl_and_its_lines_are_those_of_commands(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": lab(**LEVEL_2, cmdSleepTimeout=12, cmdWakeTimeout=13)}) as stage:
            assert (await slept_and_woken(stage))["ok"]
            async with http11.request("GET", f"{stage.url('a')}/lab/process") as response:
                told = await response.read()
            for word in (b'"levels":[2]', b'"calls":["reload_weights","reset_prefix_cache"]', b'"woken":1'):
                assert word in told.replace(b": ", b":").replace(b", ", b",")
            assert stage.starts("a") == 1
            for line in (
                "[INFO]  <a> Executing cmdSleep (timeout: 12s)\n", "[INFO]  <a> Model sleep completed in ",
                "[INFO]  <a> Executing cmdWake (timeout: 13s)\n", "[INFO]  <a> Model wake completed in ",
            ):  # fmt: skip
                assert line in stage.log("a")

    run(scene())


@pytest.mark.real
@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"cmdSleepTimeout": 0.3}, "cmdSleep timed out after 0.3s, falling back to Stop()"),
        ({"sleepRequestTimeout": 0.3}, "cmdSleep failed, falling back to Stop(): POST /sleep timed out after 0.3s"),
    ],
)
def test_a_sleep_that_takes_too_long_becomes_a_stop(tmp_path: Path, said: dict[str, Any], line: str) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": minded("hangs", canary=False, **said)}) as stage:
            (await stage.held("a")).end()
            told = await stage.fleet.put("a", "sleep")
            assert (told["ok"], told["phase"]) == (False, "stopped")
            assert f"[ERROR] <a> {line}\n" in stage.log("a")

    run(scene())


@pytest.mark.real
def test_a_wake_that_fails_becomes_a_restart_and_says_what_the_server_said(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": minded("tired", canary=False)}) as stage:
            woken = await slept_and_woken(stage)
            assert (woken["ok"], woken["phase"]) == (False, "ready")
            line = "[ERROR] <a> cmdWake failed, restarting process: POST /wake_up was answered 500; it said last:"
            assert f'{line}\n"no memory left"\n' in stage.log("a")

    run(scene())


@pytest.mark.real
def test_a_model_with_its_mode_off_is_stopped(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": minded(sleepMode="disable")}) as stage:
            (await stage.held("a")).end()
            told = await stage.fleet.put("a", "sleep")
            assert (told["ok"], told["phase"]) == (False, "ready")

    run(scene())


@pytest.mark.real
def test_one_that_sleeps_while_the_file_forgets_how_to_wake_it_is_started_anew(tmp_path: Path) -> None:
    async def scene() -> None:
        async with staged(tmp_path, {"a": minded(canary=False)}) as stage:
            (await stage.held("a")).end()
            assert (await stage.fleet.put("a", "sleep"))["ok"]
            stage.renew({"a": minded(canary=False, sleepMode="disable")})
            woken = await stage.fleet.put("a", "wake")
            assert (woken["ok"], woken["phase"]) == (False, "ready")
            assert stage.starts("a") == 2

    run(scene())
