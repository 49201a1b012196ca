"""Blocks that end when their time is over: the alarm, the asynchronous exception, and what was there before."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from hangtight.core.time import Instant
from hangtight.training import alarms as alarms_room
from hangtight.training import ringing
from hangtight.training.interrupting import Interruption, Rung, interrupted_after
from hangtight.training.leaving import Exit
from hangtight.training.outcome import Layer

pytestmark = pytest.mark.timeout(60, method="thread")
unix = pytest.mark.skipif(sys.platform == "win32", reason="there is no alarm on Windows")
LITTLE = 0.05


def busy(until: Callable[[], bool] = lambda: False) -> None:
    while not until():
        pass


def in_a_thread(work: Callable[[], None]) -> None:
    """Errors come back, a Rung that escaped among them."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "a block was not ended"
    if errors:
        raise errors[0]


def here(work: Callable[[], None]) -> None:
    work()


@pytest.fixture(params=[pytest.param(here, marks=unix), in_a_thread], ids=["main thread", "another thread"])
def somewhere(request: pytest.FixtureRequest) -> Callable[[Callable[[], None]], None]:
    where: Callable[[Callable[[], None]], None] = request.param
    return where


@pytest.fixture
def alarms() -> Iterator[list[float]]:
    """An alarm of somebody else: when it rang."""
    rang: list[float] = []
    old = signal.signal(signal.SIGALRM, lambda *_: rang.append(time.monotonic()))
    try:
        yield rang
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


Somewhere = Callable[[Callable[[], None]], None]


def test_a_busy_loop_is_ended_when_its_time_is_over(somewhere: Somewhere) -> None:
    def work() -> None:
        began = time.monotonic()
        with interrupted_after(LITTLE) as interruption:
            busy()
        assert interruption.rang
        assert time.monotonic() - began >= LITTLE

    somewhere(work)


@unix
def test_it_says_what_rings() -> None:
    with interrupted_after(1) as interruption:
        assert interruption.layer is Layer.ALARM

    def work() -> None:
        with interrupted_after(1) as interruption:
            assert interruption.layer is Layer.EXCEPTION

    in_a_thread(work)


def test_code_that_is_done_in_time_is_left_alone(somewhere: Somewhere) -> None:
    def work() -> None:
        with interrupted_after(LITTLE) as interruption:
            pass
        over = time.monotonic() + 2 * LITTLE
        busy(lambda: time.monotonic() > over)
        assert not interruption.rang

    somewhere(work)


@pytest.mark.parametrize("seconds", [0, -1])
def test_no_time_rings_at_once(somewhere: Somewhere, seconds: float) -> None:
    def work() -> None:
        with interrupted_after(seconds) as interruption:
            busy()
        assert interruption.rang

    somewhere(work)


def test_infinity_never_rings(somewhere: Somewhere) -> None:
    def work() -> None:
        with interrupted_after(float("inf")) as interruption:
            if interruption.layer is Layer.ALARM:
                assert getattr(signal.getsignal(signal.SIGALRM), "__self__", None) is None
        assert not interruption.rang

    somewhere(work)


def test_code_that_ended_by_itself_was_not_interrupted_however_late(somewhere: Somewhere) -> None:
    def work() -> None:
        some, others = [0] * 5_000_000, [0] * 5_000_000
        with interrupted_after(1e-3) as interruption:
            _ = some == others  # as a product of matrices: one step, in C, which looks at nothing
        assert not interruption.rang

    somewhere(work)


def test_an_error_of_the_code_passes(somewhere: Somewhere) -> None:
    def work() -> None:
        with pytest.raises(KeyError), interrupted_after(1):
            raise KeyError("a")

    somewhere(work)


def test_code_that_swallows_it_is_told_again(somewhere: Somewhere) -> None:
    def work() -> None:
        heard = 0
        with interrupted_after(LITTLE) as interruption:
            while heard < 2:
                try:
                    busy()
                except BaseException:
                    heard += 1
        assert heard == 2
        assert interruption.rang

    somewhere(work)


def test_a_model_that_catches_every_exception_does_not_catch_it(somewhere: Somewhere) -> None:
    def work() -> None:
        with interrupted_after(LITTLE) as interruption:
            while True:
                with suppress(Exception):
                    busy()
        assert interruption.rang

    somewhere(work)


def test_it_carries_whose_it_is_and_says_where(somewhere: Somewhere) -> None:
    def work() -> None:
        heard: list[Rung] = []
        with interrupted_after(LITTLE, where="the loss") as interruption:
            try:
                busy()
            except Rung as rung:
                heard.append(rung)
                raise
        assert heard[0].block is interruption._block
        assert "timed out" in str(heard[0])
        assert "the loss" in str(heard[0])

    somewhere(work)


def test_the_block_outside_ends_the_one_inside(somewhere: Somewhere) -> None:
    def work() -> None:
        after: list[str] = []
        with interrupted_after(LITTLE) as outer:
            with interrupted_after(2 * LITTLE) as inner:
                busy()
            after.append("the outer one goes on")
        assert (outer.rang, inner.rang, after) == (True, False, [])

    somewhere(work)


def test_nested_blocks_ring_each_at_its_own_time(somewhere: Somewhere) -> None:
    def work() -> None:
        with interrupted_after(3 * LITTLE) as outer:
            with interrupted_after(LITTLE) as inner:
                busy()
            assert inner.rang
            assert not outer.rang
            with interrupted_after(LITTLE) as second:
                busy()
            assert second.rang
            busy()
        assert outer.rang

    somewhere(work)


def test_with_the_same_instant_the_wider_one_wins(somewhere: Somewhere) -> None:
    def work() -> None:
        with interrupted_after(0) as outer, interrupted_after(0):
            busy()
        assert outer.rang

    somewhere(work)


def test_a_block_outside_that_was_swallowed_inside_still_ends(somewhere: Somewhere) -> None:
    def work() -> None:
        with interrupted_after(LITTLE) as outer:
            with interrupted_after(10 * LITTLE), suppress(BaseException):
                busy()
            busy()
        assert outer.rang

    somewhere(work)


def test_it_works_through_an_exit_stack_and_a_context_manager(somewhere: Somewhere) -> None:
    @contextmanager
    def wrapped() -> Iterator[Interruption]:
        with interrupted_after(LITTLE) as interruption:
            yield interruption

    def work() -> None:
        with wrapped() as interruption:
            busy()
        assert interruption.rang
        with ExitStack() as stack:
            other = stack.enter_context(interrupted_after(LITTLE))
            busy()
        assert other.rang

    somewhere(work)


def test_a_block_is_entered_once(somewhere: Somewhere) -> None:
    def work() -> None:
        block = interrupted_after(1)
        with block:
            pass
        with pytest.raises(RuntimeError), block:
            pass

    somewhere(work)


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


def many_short_blocks(seed: int, seconds: float) -> None:
    """None of them may be lost, and nothing may come out of one; also where the time is over just as it is left."""
    chance = random.Random(seed)
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        limit = chance.choice([0.0, 1e-6, 1e-4, 1e-3, 3e-3])
        spends = limit + chance.choice([-1e-4, 0.0, 1e-5, 5e-5, 1e-4, 1e-3])
        style = chance.randrange(4)
        with interrupted_after(limit) as interruption:
            until = time.monotonic() + spends
            if style == 0:
                busy()
            elif style == 1:
                busy(lambda until=until: time.monotonic() >= until)  # type: ignore[misc]
            elif style == 2:
                time.sleep(max(0.0, spends))
            else:
                with interrupted_after(chance.choice([1e-4, 2e-3])):
                    busy()
        if style == 0:
            assert interruption.rang


def after_a_c_call_that_looks_at_nothing(seed: int, seconds: float) -> None:
    """The last step is an operator in C that gives up the interpreter, so the exception waits for `__exit__` itself."""
    chance = random.Random(seed)
    over = time.monotonic() + seconds

    while time.monotonic() < over:
        limit = chance.choice([1e-4, 1e-3])
        with interrupted_after(limit):
            SLEEPS[2 * limit]


class Sleeps:
    __getitem__ = staticmethod(time.sleep)


SLEEPS = Sleeps()


def test_many_short_blocks_in_many_threads_lose_nothing_and_let_nothing_out() -> None:
    errors: list[BaseException] = []

    def run(seed: int) -> None:
        try:
            many_short_blocks(seed, 1.5)
            after_a_c_call_that_looks_at_nothing(seed, 0.3)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(seed,), daemon=True) for seed in range(4)]
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[1]
    for thread in threads:
        thread.start()
    many_short_blocks(99, 1.5)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert errors == []
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[1]) == before


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


def test_an_exception_that_somebody_else_has_sent_is_not_taken_back(somewhere: Somewhere) -> None:
    def work() -> None:
        tell = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
        here, what = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(ZeroDivisionError)
        with pytest.raises(ZeroDivisionError):
            with interrupted_after(30):
                threading.Timer(LITTLE, tell, (here, what)).start()
                SLEEPS[4 * LITTLE]  # so that it waits for the end of the block
            busy()

    somewhere(work)


def test_a_jump_that_python_has_left_out_of_its_with_is_waited_for() -> None:
    """As Python 3.13 does at the end of a loop; the numbers are below 64, and so one byte each."""
    code = compile("with a:\n  for b in c:\n    d()\n", "", "exec")
    jump = next(at for at in range(0, len(code.co_code), 2) if code.co_code[at] in ringing.BACK)
    without, within, behind = ([1, end - 1, 0, 0] for end in (jump // 2, jump // 2 + 1, jump // 2 - 1))
    assert ringing._falls_through(code.replace(co_exceptiontable=bytes(without)), jump)
    for table in (within, behind, []):
        assert not ringing._falls_through(code.replace(co_exceptiontable=bytes(table)), jump)
    assert not ringing._falls_through(code.replace(co_exceptiontable=bytes(without)), jump - 2)


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
def test_what_cannot_be_asked_how_long_it_may_take_is_told_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def moves() -> Instant:
        asked.append(1)
        if threading.current_thread() is not threading.main_thread() and len(asked) == 1:
            raise ZeroDivisionError
        return Instant(0.0)

    def work() -> None:
        with interrupted_after(LITTLE, moves=moves) as interruption:
            busy()
        assert interruption.rang

    in_a_thread(work)
    assert len(asked) == 2
    assert "cannot be rung" in caplog.text


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


@unix
def test_many_short_blocks_inside_context_managers_lose_nothing_and_let_nothing_out() -> None:
    @contextmanager
    def wrapped(limit: float) -> Iterator[Interruption]:
        with ExitStack() as stack:
            yield stack.enter_context(interrupted_after(limit))

    before = signal.getsignal(signal.SIGALRM)
    chance = random.Random(3)
    over = time.monotonic() + 1
    while time.monotonic() < over:
        limit = chance.choice([0.0, 1e-5, 1e-4, 1e-3])
        until = time.monotonic() + limit + chance.choice([-1e-4, 0.0, 1e-5, 5e-5, 1e-4])
        with wrapped(limit):
            busy(lambda until=until: time.monotonic() >= until)  # type: ignore[misc]
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_end_that_cannot_be_torn_is_for_other_blocks_too(somewhere: Somewhere) -> None:
    class Around:
        """Holds an interruption, and does something of its own when it is left."""

        def __enter__(self) -> Around:
            self.left: list[BaseException | None] = []
            self.interruption = interrupted_after(1e-3)
            self.interruption.__enter__()
            return self

        __exit__ = Exit(first="disarm", then="leave")

        def disarm(self) -> None:
            self.interruption.disarm()

        def leave(self, error: BaseException | None) -> bool:
            self.left.append(error)
            return isinstance(error, Rung)

    def work() -> None:
        for _ in range(100):
            with Around() as around:
                SLEEPS[2e-3]
            assert len(around.left) == 1
            assert around.left[0] is None or around.interruption.rang
        with pytest.raises(KeyError), Around() as around:
            raise KeyError("a")
        assert isinstance(around.left[0], KeyError)

    somewhere(work)
