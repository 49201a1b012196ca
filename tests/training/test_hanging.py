"""A generation that nothing here can end is named in time: its stacks, a hook, and the end of a rank."""

from __future__ import annotations

import logging
import re
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import TextIO

import pytest

from hangtight.training.hanging import Hang, named_after

LITTLE = 0.1
AMPLE = 10.0


class Told:
    """A hook that remembers."""

    def __init__(self) -> None:
        self.hangs: list[Hang] = []
        self.thread = ""
        self.came = threading.Event()

    def __call__(self, hang: Hang) -> None:
        self.hangs.append(hang)
        self.thread = threading.current_thread().name
        self.came.set()


def wait_in_c_without_the_lock(seconds: float) -> None:
    select.select([], [], [], seconds)


def held_by_c() -> Callable[[], object]:
    """A C call that holds the interpreter's lock for some tenths of a second at least, on this machine."""
    pattern = re.compile("(a+)+b")
    length = 18
    while True:
        text = "a" * length
        began = time.monotonic()
        pattern.match(text)
        if time.monotonic() - began > 4 * LITTLE:
            return lambda: pattern.match(text)
        length += 1


@pytest.fixture
def file() -> TextIO:
    return tempfile.TemporaryFile("w+")


def text_of(file: TextIO) -> str:
    file.seek(0)
    return file.read()


def test_a_c_call_that_gives_up_the_lock_is_named_while_it_runs(file: TextIO) -> None:
    told = Told()
    with file, named_after(LITTLE, told, stacks=file) as naming:
        began = time.monotonic()
        while not told.came.is_set() and time.monotonic() - began < AMPLE:
            wait_in_c_without_the_lock(10 * LITTLE)
        assert naming.hung
        assert "wait_in_c_without_the_lock" in text_of(file)
    (hang,) = told.hangs
    assert hang.seconds == LITTLE
    assert hang.thread == threading.current_thread().name
    assert "wait_in_c_without_the_lock" in hang.stacks
    assert told.thread != hang.thread
    assert "stuck" in str(hang)


def test_a_c_call_that_keeps_the_lock_is_written_in_time_and_the_hook_comes_when_it_can(file: TextIO) -> None:
    told = Told()
    call = held_by_c()
    with file:
        with named_after(LITTLE, told, stacks=file) as naming:
            call()
        assert naming.hung
        assert told.came.wait(AMPLE)
        assert "most recent call first" in text_of(file)
    assert len(told.hangs) == 1


@pytest.mark.real
def test_what_keeps_the_lock_for_good_is_on_the_standard_error_of_the_process() -> None:
    script = (
        "import re\nfrom hangtight.training.hanging import named_after\n"
        "def stuck(): re.match('(a+)+b', 'a' * 99)\n"
        "with named_after(0.2): stuck()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    try:
        assert any("in stuck" in line for line in child.stderr)
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


def test_what_ends_in_time_is_not_named(file: TextIO) -> None:
    told = Told()
    with file:
        with named_after(LITTLE, told, stacks=file) as naming:
            pass
        assert not told.came.wait(2 * LITTLE)
        assert text_of(file) == ""
    assert not naming.hung


def test_without_a_limit_nothing_is_armed() -> None:
    with named_after(float("inf")) as naming:
        pass
    assert not naming.hung


def test_an_error_of_the_code_passes(file: TextIO) -> None:
    with file, pytest.raises(KeyError), named_after(AMPLE, stacks=file):
        raise KeyError("a")


def test_blocks_in_one_another_are_each_named_at_their_own_time(file: TextIO) -> None:
    first, second = Told(), Told()
    with file, named_after(3 * LITTLE, second, stacks=file) as outer:
        with named_after(LITTLE, first, stacks=file):
            assert first.came.wait(AMPLE)
            assert not outer.hung
        once = text_of(file).count("Timeout")
        assert once == 1
        assert second.came.wait(AMPLE)
        assert text_of(file).count("Timeout") == 2


def test_blocks_in_several_threads_share_the_one_timer(file: TextIO) -> None:
    hooks = [Told() for _ in range(4)]

    def run(told: Told) -> None:
        with named_after(LITTLE, told, stacks=file):
            told.came.wait(AMPLE)

    with file:
        threads = [threading.Thread(target=run, args=(told,)) for told in hooks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [len(told.hangs) for told in hooks] == [1, 1, 1, 1]
    assert {hang.thread for told in hooks for hang in told.hangs} == {thread.name for thread in threads}


def test_a_hook_that_fails_is_logged_and_hurts_nobody(file: TextIO, caplog: pytest.LogCaptureFixture) -> None:
    came = threading.Event()

    def fails(hang: Hang) -> None:
        came.set()
        raise RuntimeError("a hook")

    with file, caplog.at_level(logging.ERROR), named_after(LITTLE, fails, stacks=file):
        assert came.wait(AMPLE)
        began = time.monotonic()
        while "stuck" not in caplog.text and time.monotonic() - began < AMPLE:
            wait_in_c_without_the_lock(0.01)
    assert "stuck" in caplog.text
    other = Told()
    with tempfile.TemporaryFile("w+") as again, named_after(LITTLE, other, stacks=again):
        assert other.came.wait(AMPLE)


def test_a_file_that_is_none_does_not_keep_the_hook_from_coming() -> None:
    import io

    told = Told()
    with named_after(LITTLE, told, stacks=io.StringIO()):
        assert told.came.wait(AMPLE)


@pytest.mark.real
def test_a_rank_that_hangs_ends_with_its_stacks_and_the_code_of_a_timeout() -> None:
    script = (
        "import time\nfrom hangtight.training.hanging import end_this_rank, named_after\n"
        "with named_after(0.2, end_this_rank): time.sleep(99)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, env={**_env(), "RANK": "1"}
    )
    assert ended.returncode == 124
    assert "most recent call first" in ended.stderr
    assert "rank 1" in ended.stderr
    assert "timeout" in ended.stderr


def _env() -> dict[str, str]:
    import os

    return dict(os.environ)
