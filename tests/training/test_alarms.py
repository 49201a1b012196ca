"""Blocks in the main thread: the signal that rings there, and all that others do with signals and alarms."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from hangtight.training import alarms as alarms_room
from hangtight.training.interrupting import interrupted_after
from tests.training.ringing_kit import LITTLE, busy, many_short_blocks, unix

pytestmark = pytest.mark.timeout(60, method="thread")


@unix
def test_the_handler_and_what_is_left_of_the_alarm_are_as_before(alarms: list[float]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, 50, 7)
    with interrupted_after(2 * LITTLE):
        busy()
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert signal.getsignal(signal.SIGALRM) is before
    assert 30 < left <= 50 - 2 * LITTLE
    assert interval == 7
    assert alarms == []


@unix
def test_an_earlier_alarm_rings_inside_the_block_in_its_time(alarms: list[float]) -> None:
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, LITTLE)
    with interrupted_after(4 * LITTLE) as interruption:
        busy(lambda: bool(alarms))
        assert not interruption.rang
        busy()
    assert interruption.rang
    assert len(alarms) == 1
    assert alarms[0] - began >= LITTLE
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@unix
def test_an_earlier_interval_goes_on_inside_and_after(alarms: list[float]) -> None:
    signal.setitimer(signal.ITIMER_REAL, LITTLE, LITTLE)
    with interrupted_after(30), interrupted_after(30):
        busy(lambda: len(alarms) >= 3)
    inside = len(alarms)
    busy(lambda: len(alarms) >= inside + 2)
    assert signal.getitimer(signal.ITIMER_REAL)[1] == pytest.approx(LITTLE)


@unix
def test_an_earlier_handler_may_set_the_next_alarm_itself(alarms: list[float]) -> None:
    rang: list[int] = []

    def handler(*_: object) -> None:
        rang.append(1)
        if len(rang) < 3:
            signal.setitimer(signal.ITIMER_REAL, LITTLE)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, LITTLE)
    with interrupted_after(30):
        busy(lambda: len(rang) >= 3)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is handler


@unix
def test_an_earlier_handler_may_raise(alarms: list[float]) -> None:
    def handler(*_: object) -> None:
        raise ZeroDivisionError

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, LITTLE)
    with pytest.raises(ZeroDivisionError), interrupted_after(30):
        busy()
    assert signal.getsignal(signal.SIGALRM) is handler


@unix
def test_an_alarm_that_came_due_while_nobody_could_ring_rings_right_after(alarms: list[float]) -> None:
    signal.setitimer(signal.ITIMER_REAL, LITTLE)
    with interrupted_after(30):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        try:
            time.sleep(2 * LITTLE)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    busy(lambda: bool(alarms))
    assert len(alarms) == 1


@unix
def test_an_alarm_that_is_ignored_ends_nothing(alarms: list[float]) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, LITTLE)
    with interrupted_after(3 * LITTLE) as interruption:
        busy()
    assert interruption.rang
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN


@unix
@pytest.mark.real
def test_an_alarm_that_nobody_handles_ends_the_process_as_it_would_have() -> None:
    script = (
        "import signal\nfrom hangtight.training.interrupting import interrupted_after\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.1)\nwith interrupted_after(20):\n  while True: pass\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGALRM


@unix
def test_a_handler_that_was_not_set_from_python_is_put_back_and_called(alarms: list[float]) -> None:
    with tempfile.TemporaryFile("w+") as file:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.register(signal.SIGALRM, file=file)
        try:
            signal.setitimer(signal.ITIMER_REAL, LITTLE)
            with interrupted_after(3 * LITTLE) as interruption:
                busy()
            assert interruption.rang
            inside = os.fstat(file.fileno()).st_size
            assert inside > 0
            signal.raise_signal(signal.SIGALRM)
            assert os.fstat(file.fileno()).st_size > inside
        finally:
            faulthandler.unregister(signal.SIGALRM)


@unix
def test_code_that_sets_an_alarm_and_a_handler_of_its_own_and_leaves_them_keeps_them(alarms: list[float]) -> None:
    own: list[int] = []

    def handler(*_: object) -> None:
        own.append(1)

    with interrupted_after(30):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, LITTLE)
    assert signal.getsignal(signal.SIGALRM) is handler
    busy(lambda: bool(own))
    assert alarms == []


@unix
@pytest.mark.parametrize("polite", [True, False], ids=["and puts back what it found", "and only takes it away"])
def test_code_that_uses_the_alarm_of_the_process_does_not_stop_ours(alarms: list[float], polite: bool) -> None:
    with interrupted_after(2 * LITTLE) as interruption:
        found, left = signal.signal(signal.SIGALRM, lambda *_: None), signal.getitimer(signal.ITIMER_REAL)
        signal.alarm(5)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, found)
        if polite:
            signal.setitimer(signal.ITIMER_REAL, *left)
        busy()
    assert interruption.rang
    assert alarms == []


@unix
def test_code_that_sets_only_the_timer_wakes_the_handler_that_it_knew(alarms: list[float]) -> None:
    with interrupted_after(10 * LITTLE) as interruption:
        signal.setitimer(signal.ITIMER_REAL, LITTLE)
        busy(lambda: bool(alarms))
        assert not interruption.rang
        busy()
    assert interruption.rang
    assert len(alarms) == 1


@unix
def test_blocks_that_are_left_in_another_order_leave_nothing_behind(alarms: list[float]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    outer, inner = interrupted_after(30), interrupted_after(30)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    inner.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@unix
def test_ctrl_c_passes_and_disarms(alarms: list[float]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(KeyboardInterrupt), interrupted_after(30):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@unix
@pytest.mark.real
def test_a_process_that_was_forked_inside_a_block_is_not_guarded() -> None:
    script = (
        "import os, signal, time\nfrom hangtight.training.interrupting import interrupted_after\n"
        "with interrupted_after(20):\n"
        "  pid = os.fork()\n"
        "  if pid == 0:\n"
        "    assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL\n"
        "if pid == 0:\n"
        "  assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL\n"
        "  os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@unix
def test_many_short_blocks_leave_an_alarm_that_ticks_alone(alarms: list[float]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, 2e-3, 2e-3)
    many_short_blocks(7, 1.0)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[1] == pytest.approx(2e-3)
    assert len(alarms) > 50


@unix
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_each_alarm_that_is_sent_from_outside_is_heard_by_whom_it_is_for(alarms: list[float], depth: int) -> None:
    with ExitStack() as stack:
        for _ in range(depth):
            stack.enter_context(interrupted_after(30))
        for sent in range(1, 6):
            os.kill(os.getpid(), signal.SIGALRM)
            busy(lambda sent=sent: len(alarms) == sent)  # type: ignore[misc]


@unix
def test_a_block_rings_inside_the_handler_of_somebody_that_runs_inside_another_block(alarms: list[float]) -> None:
    inside: list[bool] = []

    def handler(*_: object) -> None:
        with interrupted_after(LITTLE) as inner:
            busy()
        inside.append(inner.rang)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, LITTLE)
    with interrupted_after(30):
        busy(lambda: bool(inside))
    assert inside == [True]


@unix
def test_who_uses_our_signal_too_hears_it_and_has_his_handler_back() -> None:
    heard: list[int] = []

    def handler(number: int, _: object) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGURG, handler)
    try:
        with interrupted_after(30), interrupted_after(LITTLE):
            signal.raise_signal(signal.SIGURG)
            assert heard == [signal.SIGURG]
            busy()
        assert heard == [signal.SIGURG], "what rang was ours"
        assert signal.getsignal(signal.SIGURG) is handler
    finally:
        signal.signal(signal.SIGURG, before)


@unix
@pytest.mark.parametrize("how", ["blocked", "ignored", "handled"])
def test_where_our_signal_does_not_come_through_an_exception_rings(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms_room, "UNHEARD", LITTLE)
    before = signal.getsignal(signal.SIGURG)
    try:
        with interrupted_after(LITTLE) as interruption:
            if how == "blocked":
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGURG])
            else:
                signal.signal(signal.SIGURG, signal.SIG_IGN if how == "ignored" else lambda *_: None)
            busy()
        assert interruption.rang
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGURG])
        signal.signal(signal.SIGURG, before)
    with interrupted_after(LITTLE) as after:
        time.sleep(30)
    assert after.rang


@unix
def test_a_block_that_another_thread_leaves_takes_nothing_with_it() -> None:
    def guarded() -> Iterator[None]:
        with interrupted_after(30):
            yield

    before = signal.getsignal(signal.SIGURG)
    with interrupted_after(2 * LITTLE) as outer:
        steps = guarded()
        next(steps)
        thread = threading.Thread(target=steps.close)  # type: ignore[attr-defined]
        thread.start()
        thread.join()
        busy()
    assert outer.rang
    assert signal.getsignal(signal.SIGURG) is before


@unix
@pytest.mark.real
@pytest.mark.parametrize(
    "inside",
    [
        "os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(0.5); print(1)'])",
        "loop = asyncio.new_event_loop(); loop.add_signal_handler(signal.SIGURG, print); loop.close(); print(1)",
        "loop = asyncio.new_event_loop(); loop.add_signal_handler(signal.SIGALRM, print); loop.close(); print(1)",
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(0.5); print(1)'])",
        "os.fork() or (time.sleep(0.5), print(1), os._exit(0)); os.wait()",
    ],
    ids=["another program", "a loop with our signal", "a loop with an alarm", "a child", "a fork"],
)
def test_no_process_ends_by_a_block_that_it_has_left(inside: str) -> None:
    script = (
        "import asyncio, os, signal, subprocess, sys, time\n"
        "from hangtight.training.interrupting import interrupted_after\n"
        f"with interrupted_after(0.2):\n  {inside}\n  time.sleep(0.4)\ntime.sleep(0.2)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@unix
@pytest.mark.real
def test_a_signal_that_another_thread_takes_late_ends_no_process() -> None:
    """It is for the process: any thread may take it, when the block it was meant for is long left."""
    script = (
        "import sys, threading, time\nfrom hangtight.training.interrupting import interrupted_after\n"
        "sys.setswitchinterval(1e-4)\n"
        "def idle():\n  while True: time.sleep(1e-4)\n"
        "def busy():\n  while True: sum(range(50))\n"
        "for work in [idle] * 8 + [busy] * 2: threading.Thread(target=work, daemon=True).start()\n"
        "over = time.monotonic() + 2\n"
        "while time.monotonic() < over:\n"
        "  until = time.monotonic() + 1e-3\n"
        "  with interrupted_after(1e-3), interrupted_after(1.1e-3):\n"
        "    while time.monotonic() < until: pass\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
