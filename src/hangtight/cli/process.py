"""What every command does as a process: its exit codes, the signals that end it, bytes out at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress

from hangtight.cli.telling import printable

OK = 0
FAILED = 1
TIMED_OUT = 124  # what timeout(1) exits with
SIGNALLED = 128
READER_LEFT = SIGNALLED + 13  # SIGPIPE, which Windows has no name for
STDOUT, STDERR = 1, 2


def write_all(fd: int, piece: bytes) -> None:
    """At once, and all of it: a token that waits in a buffer is a token that was not there."""
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]


def say(text: str) -> None:
    """To stderr, without what a terminal would obey. A stderr that is gone is no reason to end differently."""
    with suppress(OSError, ValueError):
        sys.stderr.write(printable(text))
        sys.stderr.flush()


def stop_on_signals(interrupted: list[int]) -> None:
    """A signal cancels the current task, which has the time to end what it began: a process, a request upstream."""
    task = asyncio.current_task()
    assert task is not None, "a command runs in a task"
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        interrupted.append(number)
        task.cancel()

    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job in the background, means it
                loop.add_signal_handler(number, stop, int(number))


def code_for_signal(interrupted: list[int]) -> int:
    """What a process exits with that a signal ended; Ctrl-C where nobody could say which."""
    return SIGNALLED + (interrupted[0] if interrupted else signal.SIGINT)
