"""`watch` in a `for` loop: threads, sockets, and what is left behind when a source cannot be stopped."""

from __future__ import annotations

import contextvars
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import hangtight
from hangtight.core.heartbeat import Heartbeat
from hangtight.drivers.watchdog import COURIER, WATCHDOG

pytestmark = pytest.mark.real

CALLED_BY = contextvars.ContextVar("called_by", default="nobody")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = {thread for thread in threading.enumerate() if thread not in before and thread.name != WATCHDOG}
    assert not {thread.name for thread in left if not _ends(thread)}


def _ends(thread: threading.Thread) -> bool:
    thread.join(5)
    return not thread.is_alive()


class Gate:
    """A source that blocks until the test opens it: nothing can interrupt it from outside."""

    def __init__(self, words: int = 0) -> None:
        self.words = words
        self.opened = threading.Event()
        self.closed = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.words:
            self.words -= 1
            return "word "
        self.opened.wait()
        raise StopIteration

    def close(self) -> None:
        self.closed = True


def over_a_socket(*words: bytes) -> Iterator[bytes]:
    """A generator of the user's own that reads a socket nobody told us about, and then hears nothing more."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as lines:
        for word in words:
            theirs.sendall(word)
            yield lines.readline()
        while line := lines.readline():
            yield line


def words(count: int) -> Iterator[str]:
    for _ in range(count):
        yield "word "


def test_every_chunk_comes_through_and_the_report_tells() -> None:
    watched = hangtight.watch(words(3), model="m")
    assert list(watched) == ["word "] * 3
    assert (watched.outcome, watched.tokens, watched.partial) == ("finished", 3, "word word word ")


def test_a_list_is_a_stream_too_and_next_reads_it() -> None:
    watched = hangtight.watch(["a", "b"])
    assert next(watched) == "a"
    assert next(watched) == "b"
    with pytest.raises(StopIteration):
        next(watched)
    assert watched.outcome == "finished"


def test_nothing_is_read_ahead() -> None:
    asked: list[int] = []

    def source() -> Iterator[str]:
        for index in range(3):
            asked.append(index)
            yield "word "

    seen = [list(asked) for _ in hangtight.watch(source())]
    assert seen == [[0], [0, 1], [0, 1, 2]]


def test_an_unknown_source_that_blocks_for_ever_is_left_running_and_the_error_says_so() -> None:
    gate = Gate(words=2)
    with pytest.raises(hangtight.IdleTimeout) as caught:
        list(hangtight.watch(gate, idle=0.1))
    assert (caught.value.left_running, caught.value.partial, caught.value.tokens) == (True, "word word ", 2)
    assert "left running" in caught.value.__notes__[0]
    gate.opened.set()


def test_an_unknown_source_that_reads_a_socket_is_stopped_for_good() -> None:
    with pytest.raises(hangtight.IdleTimeout) as caught:
        list(hangtight.watch(over_a_socket(b"one\n", b"two\n"), idle=0.1))
    assert (caught.value.left_running, caught.value.partial) == (False, "one\ntwo\n")


def test_a_function_that_does_not_return_is_bounded_too() -> None:
    gate = threading.Event()

    def opening() -> list[str]:
        gate.wait()
        return []

    with pytest.raises(hangtight.FirstTokenTimeout) as caught:
        list(hangtight.watch(opening, first_token=0.1))
    assert caught.value.left_running
    gate.set()


def test_a_function_that_fails_passes_its_error_untouched() -> None:
    def opening() -> list[str]:
        raise ConnectionError("refused")

    watched = hangtight.watch(opening)
    with pytest.raises(ConnectionError, match="refused"):
        list(watched)
    assert watched.outcome == "failed"


def test_a_client_library_that_would_try_again_is_ended_in_its_thread() -> None:
    calls: list[int] = []

    def opening() -> list[str]:
        for attempt in range(100):
            calls.append(attempt)
            try:
                return [str(piece) for piece in over_a_socket()]
            except Exception:
                continue
        return []

    with pytest.raises(hangtight.FirstTokenTimeout) as caught:
        list(hangtight.watch(opening, first_token=0.1))
    assert not caught.value.left_running
    assert len(calls) <= 2, "one call, and at most the beginning of the next"


def test_the_callers_context_is_seen_in_the_reading_thread() -> None:
    CALLED_BY.set("the test")

    def source() -> Iterator[str]:
        yield CALLED_BY.get()

    assert list(hangtight.watch(source())) == ["the test"]


def test_leaving_early_closes_the_source() -> None:
    gate = Gate(words=5)
    watched = hangtight.watch(gate)
    for _ in watched:
        break
    assert (watched.outcome, gate.closed) == ("left", True)


def test_an_error_in_the_body_closes_the_source_and_passes_untouched() -> None:
    gate = Gate(words=5)
    with pytest.raises(ZeroDivisionError), hangtight.watch(gate) as chunks:
        for _ in chunks:
            raise ZeroDivisionError
    assert (chunks.outcome, gate.closed) == ("left", True)


def test_a_block_that_never_reads_closes_the_source_too() -> None:
    gate = Gate()
    with hangtight.watch(gate):
        pass
    assert gate.closed


def test_peeking_at_the_first_chunk_and_then_looping_reads_on() -> None:
    watched = hangtight.watch(words(3))
    assert next(watched) == "word "
    assert list(watched) == ["word "] * 2


def test_closing_from_outside_the_loop_closes_the_source() -> None:
    for reads in (0, 1):
        gate = Gate(words=5)
        watched = hangtight.watch(gate)
        reading = iter(watched)
        for _ in range(reads):
            next(reading)
        watched.close()
        assert gate.closed


def test_a_source_whose_closing_fails_does_not_hide_how_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: complaints.append(args.exc_value))

    class Fragile(Gate):
        def close(self) -> None:
            raise OSError("already gone")

    with pytest.raises(ZeroDivisionError), hangtight.watch(Fragile(words=2)) as chunks:
        for _ in chunks:
            raise ZeroDivisionError
    assert [str(error) for error in complaints] == ["already gone"]


def test_a_lock_in_the_opening_function_is_never_left_locked() -> None:
    lock, over = threading.Lock(), threading.Event()

    def opening() -> list[str]:
        while not over.is_set():
            with lock:
                pass
        return []

    for _ in range(3):
        with pytest.raises(hangtight.TotalTimeout) as caught:
            list(hangtight.watch(opening, total=0.03))
        assert caught.value.left_running
    over.set()
    assert lock.acquire(timeout=5)
    lock.release()


def test_an_abandoned_stream_is_forgotten_by_the_watchdog() -> None:
    class Reader:
        def __init__(self) -> None:
            self.flow = iter(hangtight.watch(Gate(words=5), on_heartbeat=self.tell))
            next(self.flow)

        def tell(self, beat: Heartbeat) -> None: ...

    before = threading.active_count()
    for _ in range(5):
        Reader()
    gc.collect()
    rings(lambda: threading.active_count() <= before + 1)


def test_the_sources_own_timeout_passes_untouched() -> None:
    def source() -> Iterator[str]:
        yield "word "
        raise TimeoutError("theirs")

    watched = hangtight.watch(source())
    with pytest.raises(TimeoutError) as caught:
        list(watched)
    assert not isinstance(caught.value, hangtight.GenerationTimeout)
    assert watched.outcome == "failed"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send itself SIGINT alone")
def test_ctrl_c_while_waiting_is_not_a_timeout() -> None:
    gate = Gate(words=1)
    watched = hangtight.watch(gate)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(watched)
    assert watched.outcome == "cancelled"
    gate.opened.set()


def test_total_that_passes_while_the_reader_holds_a_token_is_told_when_it_asks_again() -> None:
    watched = hangtight.watch(words(100), total=0.1)
    with pytest.raises(hangtight.TotalTimeout):
        for _ in watched:
            rings(lambda: watched.outcome == "timeout")
    assert watched.tokens == 1


def rings(holds: Callable[[], bool]) -> None:
    """Wait until the watchdog has rung, with a bound."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_waiting_on_a_tool_is_not_silence() -> None:
    watched = hangtight.watch(words(2), idle=0.1)
    for _ in watched:
        with watched.paused("tool"):
            threading.Event().wait(0.2)
    assert watched.outcome == "finished"


def test_heartbeats_arrive_in_a_courier_thread_and_a_failing_listener_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, str]] = []
    complaints: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: complaints.append(args.exc_value))

    def listener(beat: Heartbeat) -> None:
        told.append((threading.current_thread().name, str(beat)))
        raise ValueError("the listener's own")

    gate = Gate(words=1)
    with pytest.raises(hangtight.IdleTimeout):
        list(hangtight.watch(gate, idle=0.5, heartbeat=0.1, model="m", on_heartbeat=listener))
    assert len(told) >= 2
    assert {name for name, _ in told} == {COURIER}
    assert told[0][1].startswith("Still waiting on m... 0s elapsed")
    assert [str(error) for error in complaints] == ["the listener's own"] * len(told)
    gate.opened.set()


def test_a_listener_that_blocks_does_not_stop_the_clocks() -> None:
    block = threading.Event()
    gate = Gate(words=1)
    with pytest.raises(hangtight.IdleTimeout):
        list(hangtight.watch(gate, idle=0.3, heartbeat=0.1, on_heartbeat=lambda _: block.wait()))
    block.set()
    gate.opened.set()


def test_an_asynchronous_source_is_refused_with_the_way_to_read_it() -> None:
    class Asynchronous:
        def __aiter__(self) -> None: ...

    with pytest.raises(TypeError, match="use `async for`"):
        list(hangtight.watch(Asynchronous()))  # type: ignore[call-overload]


def test_many_streams_in_many_threads_share_one_watchdog() -> None:
    late: list[BaseException] = []
    gates = [Gate(words=1) for _ in range(20)]

    def read(gate: Gate) -> None:
        try:
            list(hangtight.watch(gate, idle=0.2))
        except hangtight.IdleTimeout as error:
            late.append(error)

    threads = [threading.Thread(target=read, args=(gate,)) for gate in gates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(late) == 20
    assert [thread.name for thread in threading.enumerate()].count(WATCHDOG) == 1
    for gate in gates:
        gate.opened.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_after_a_fork_the_child_has_a_watchdog_of_its_own() -> None:
    list(hangtight.watch(words(1)))
    child = os.fork()
    if child == 0:
        try:
            list(hangtight.watch(over_a_socket(b"one\n"), idle=0.1))
        except hangtight.IdleTimeout:
            os._exit(0)
        except BaseException:
            os._exit(2)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
