"""A model that is a process, with real processes that really die, hang, and leave others behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import hangtight
from hangtight.core.heartbeat import Heartbeat

pytestmark = pytest.mark.real

PYTHON = sys.executable


def python(script: str) -> list[str]:
    return [PYTHON, "-c", script]


def soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not holds():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def read(watched: hangtight.Watch[Any]) -> list[Any]:
    return [piece async for piece in watched]


def test_its_output_comes_as_text_or_as_bytes_in_both_kinds_of_loop() -> None:
    command = python("print('gr\\u00fcn')")
    env = {**os.environ, "PYTHONUTF8": "1"}
    assert "".join(hangtight.child(command, env=env)).strip() == "grün"
    assert b"".join(hangtight.child(command, env=env, text=False)).strip() == "grün".encode()
    assert "".join(asyncio.run(read(hangtight.achild(command, env=env)))).strip() == "grün"


def test_it_reports_like_any_watched_generation() -> None:
    watched = hangtight.child(python("print('a')"), model="llamafile")
    list(watched)
    assert (watched.outcome, watched.partial.strip()) == ("finished", "a")
    assert watched.limits == hangtight.Limits()


def test_a_process_that_dies_is_an_error_at_once_with_its_code_and_its_last_twenty_lines() -> None:
    script = "import sys\nprint('so far')\nfor n in range(30): print('line', n, file=sys.stderr)\nsys.exit(7)"
    watched = hangtight.child(python(script))
    with pytest.raises(hangtight.BackendError) as caught:
        list(watched)
    assert caught.value.returncode == 7
    assert caught.value.stderr.splitlines() == [f"line {n}" for n in range(10, 30)]
    assert "ended with exit code 7 after" in str(caught.value)
    assert (watched.outcome, watched.partial.strip()) == ("failed", "so far")
    assert caught.value.partial.strip() == "so far"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to die by")
def test_a_process_that_a_signal_ends_says_which() -> None:
    with pytest.raises(hangtight.BackendError, match="was ended by SIGSEGV") as caught:
        list(hangtight.child(python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")))
    assert caught.value.returncode == -signal.SIGSEGV


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        list(hangtight.child(["no-such-program"]))
    with pytest.raises(ValueError, match="a list of words"):
        hangtight.child([])
    with pytest.raises(TypeError, match="not 'ls'"):
        hangtight.child("ls")


def test_what_nobody_will_ask_for_is_not_kept() -> None:
    watched = hangtight.child(python("print('a')"), keeps=False)
    assert "".join(watched).strip() == "a"
    assert (watched.partial, watched.outcome) == ("", "finished")


def test_what_it_says_on_stderr_keeps_a_load_alive_and_a_silent_stream_not() -> None:
    loading = "import sys, time\nfor n in range(8): print(n, file=sys.stderr); time.sleep(0.5)\nprint('done')"
    heard: list[bytes] = []
    watched = hangtight.child(python(loading), first_token=3, stderr=heard.append)
    assert "".join(watched).strip() == "done"
    assert b"".join(heard).split() == [b"%d" % n for n in range(8)]

    talking = "import sys, time\nprint('one')\nwhile True: print('alive', file=sys.stderr); time.sleep(0.05)"
    with pytest.raises(hangtight.IdleTimeout):
        list(hangtight.child(python(talking), idle=0.5))


def test_it_is_ended_with_all_that_it_started() -> None:
    script = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(p.pid)\ntime.sleep(600)"
    )
    with pytest.raises(hangtight.IdleTimeout) as caught:
        list(hangtight.child(python(script), idle=0.3))
    assert soon(lambda: is_gone(int(caught.value.partial)))


@pytest.mark.skipif(sys.platform == "win32", reason="there a job is ended without asking")
def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangtight.drivers.child.GRACE", 0.2)
    script = (
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid())\ntime.sleep(600)"
    )
    with pytest.raises(hangtight.IdleTimeout) as caught:
        list(hangtight.child(python(script), idle=0.3))
    assert is_gone(int(caught.value.partial))


def test_a_grandchild_that_keeps_the_pipe_open_does_not_keep_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangtight.drivers.child.DRAIN", 0.2)
    script = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\nprint(p.pid)"
    )
    watched = hangtight.child(python(script), idle=30)
    pid = int("".join(watched))
    assert watched.outcome == "finished"
    assert soon(lambda: is_gone(pid))


def test_leaving_early_ends_it() -> None:
    script = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
    with hangtight.child(python(script)) as pieces:
        for piece in pieces:
            pid = int(piece)
            break
    assert (pieces.outcome, soon(lambda: is_gone(pid))) == ("left", True)


def test_cancelling_the_task_ends_it() -> None:
    started: list[int] = []

    async def main() -> None:
        script = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)"

        async def consume() -> None:
            async for piece in hangtight.achild(python(script)):
                started.extend(int(word) for word in piece.split())
                speaking.set()

        speaking = asyncio.Event()
        task = asyncio.create_task(consume())
        await speaking.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert soon(lambda: is_gone(started[0]))


def test_heartbeats_go_out_while_it_is_silent() -> None:
    beats: list[Heartbeat] = []
    list(hangtight.child(python("import time; time.sleep(0.5)"), heartbeat=0.1, on_heartbeat=beats.append))
    assert len(beats) >= 2


def test_a_flood_of_output_is_held_back_and_comes_through_whole() -> None:
    watched = hangtight.child(python("print('x' * 5_000_000, end='')"), text=False)
    assert sum(len(piece) for piece in watched) == 5_000_000


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors are counted through /proc")
def test_nothing_is_left_no_thread_no_descriptor() -> None:
    list(hangtight.child(python("print('a')")))
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for command in ("print('a')", "import sys; sys.exit(3)", "import time; print('a'); time.sleep(600)"):
        try:
            list(hangtight.child(python(command), idle=0.2))
        except (hangtight.BackendError, hangtight.IdleTimeout):
            continue
    assert soon(lambda: threading.active_count() <= threads)
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_a_second_run_of_the_same_program_is_as_cold_as_the_first() -> None:
    for _ in range(2):
        watched = hangtight.child(python("print('a')"))
        list(watched)
        assert watched._session is not None
        assert float(watched._session.resolved.clocks.cold) == 60.0
