"""What every command does as a process: its exit codes, the signals that end it, bytes out at once."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from textwrap import wrap
from threading import Thread

from hangtight.cli.telling import printable

OK = 0
FAILED = 1
TIMED_OUT = 124  # what timeout(1) exits with
SIGNALLED = 128
READER_LEFT = SIGNALLED + 13  # SIGPIPE, which Windows has no name for
STDOUT, STDERR = 1, 2
MOST_WAITING = 1 << 20


def write_all(fd: int, piece: bytes) -> None:
    """At once, and all of it: a token that waits in a buffer is a token that was not there."""
    view = memoryview(piece)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody made it non-blocking for us too
            select.select([], [fd], [])


class Writer:
    """Writes from a thread of its own: who does not read stops neither our clocks nor our signals."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._queue: SimpleQueue[tuple[bytes, Future[None]]] = SimpleQueue()
        self._last: Future[None] | None = None
        self._waiting = 0
        Thread(target=self._run, name="hangtight-writer", daemon=True).start()

    def write(self, piece: bytes) -> Future[None]:
        """The future says when it is written, or why it cannot be."""
        done: Future[None] = Future()
        self._last = done
        self._waiting += len(piece)
        self._queue.put((piece, done))
        return done

    def post(self, piece: bytes) -> None:
        """Write it some time; what does not fit into a megabyte that nobody reads is left out."""
        if self._waiting < MOST_WAITING:
            self.write(piece)

    async def flush(self, limit: float) -> None:
        """Wait until what was posted is written, but not for ever."""
        if self._last is not None:
            done, _ = await asyncio.wait({asyncio.wrap_future(self._last)}, timeout=limit)
            for writing in done:
                writing.exception()  # heard, and no reason to end differently

    def _run(self) -> None:
        while True:
            piece, done = self._queue.get()
            if not done.set_running_or_notify_cancel():
                self._waiting -= len(piece)
                continue
            try:
                write_all(self._fd, piece)
            except OSError as error:
                done.set_exception(error)
            else:
                done.set_result(None)
            self._waiting -= len(piece)


def say(text: str) -> None:
    """To stderr, without what a terminal would obey. A stderr that is gone is no reason to end differently."""
    with suppress(OSError, ValueError):
        sys.stderr.write(printable(text))
        sys.stderr.flush()


def fitted(text: str) -> str:
    """The same, broken between words where stderr is a terminal. What is to be typed stays in one piece."""
    try:
        room = os.get_terminal_size(STDERR).columns - 1
    except OSError:
        return text
    return "\n".join(part for line in text.split("\n") for part in _fitted(line, room)) if room > 0 else text


def _fitted(line: str, room: int) -> list[str]:
    if len(line) <= room:
        return [line]
    why, typed, command = line.partition(":  ")
    if typed:
        return [*_fitted(f"{why}:", room), f"  {command}"]
    return wrap(line, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


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
