"""Blocks that end when their time is over: the alarm, the asynchronous exception, and what was there before."""

from __future__ import annotations

import ctypes
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from hangtight.core.time import Instant
from hangtight.training import ringing
from hangtight.training.interrupting import Interruption, Rung, interrupted_after
from hangtight.training.leaving import Exit
from hangtight.training.outcome import Layer
from tests.training.ringing_kit import LITTLE, SLEEPS, Somewhere, busy, in_a_thread, many_short_blocks, unix

pytestmark = pytest.mark.timeout(60, method="thread")


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


def after_a_c_call_that_looks_at_nothing(seed: int, seconds: float) -> None:
    """The last step is an operator in C that gives up the interpreter, so the exception waits for `__exit__` itself."""
    chance = random.Random(seed)
    over = time.monotonic() + seconds

    while time.monotonic() < over:
        limit = chance.choice([1e-4, 1e-3])
        with interrupted_after(limit):
            SLEEPS[2 * limit]


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
