"""Names what hangs, in time, where nothing inside this process can end it: a C call, a GPU, a collective.

The stacks of all threads are written by `faulthandler`, from a thread that needs no lock of the interpreter, so also
while a C call holds that lock. The hook is called as soon as Python runs at all.

`faulthandler` has one such timer per process. All blocks of ours share it; one that somebody else had set (pytest's
`faulthandler_timeout`) can be neither seen nor put back: it is lost while a block of ours runs, and afterwards.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TextIO

from hangtight.core.time import NEVER, Instant, spoken
from hangtight.drivers import clock
from hangtight.training.bell import Bell

NAMER = "hangtight-namer"
HOOK = "hangtight-hang"
STDERR = 2
EXIT = 124
AFTER_THE_STACKS = 0.05  # a hook may end the process: what faulthandler writes is written by then
BESIDE = 1.0  # longer than this a hook does not wait for what we have to say
SOONEST = 0.001
LONGEST = 1e6


@dataclass(frozen=True, slots=True)
class Hang:
    """A block that did not end in time."""

    seconds: float
    """How long it may have taken."""
    thread: str
    """The name of the thread that is in it."""
    stacks: str
    """Of all threads, as soon as Python ran again."""

    def __str__(self) -> str:
        return f"stuck - no end after {spoken(self.seconds)} in thread {self.thread}"


Hook = Callable[[Hang], object]


def named_after(seconds: float, on_hang: Hook | None = None, *, stacks: TextIO | None = None) -> Naming:
    """If the block still runs then: its stacks are written, `.hung` is True, and `on_hang` is called, once.

    The stacks go to `stacks`, which must be a real file, or to the standard error of the process. The hook runs in a
    thread of its own; an error in it is logged. Nothing is ended: a block that returns after all goes on as ever. Where
    a block that is interrupted is to be named, too, put `interrupted_after` inside.
    """
    return Naming(seconds, on_hang, stacks)


def end_this_rank(hang: Hang) -> None:
    """A hook: says why, and ends this process without any clean-up, which would hang. torchrun then ends the others.

    Exit code 124, as after each timeout of ours.
    """
    rank = os.environ.get("RANK")
    who = "this process" if rank is None else f"rank {rank}"
    words = f"hangtight: timeout: {hang}; ending {who}, so that the others do not wait for it\n"
    # Not through sys.stderr: the thread that hangs may hold its lock.
    os.write(STDERR, words.encode(errors="replace"))
    os._exit(EXIT)


class Naming:
    """What `named_after` gives: a block to enter once."""

    def __init__(self, seconds: float, on_hang: Hook | None, stacks: TextIO | None) -> None:
        self.seconds = seconds
        self.on_hang = on_hang
        self.stacks = stacks
        self.due = NEVER
        self.hung = False
        """It was still running when its time was over."""
        self.thread = ""
        self._told = threading.Lock()

    def __enter__(self) -> Self:
        self.thread = threading.current_thread().name
        self.due = Instant(clock.now() + max(0.0, self.seconds))
        if self.due != NEVER:
            NAMER_OF_ALL.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.due == NEVER:
            return
        NAMER_OF_ALL.remove(self)
        if clock.now() >= self.due:
            self.tell()  # a C call may have kept the namer from it until now

    def tell(self) -> None:
        """Once, whoever comes first."""
        if not self._told.acquire(blocking=False):
            return
        self.hung = True
        threading.Thread(target=self._call, name=HOOK, daemon=True).start()

    def _call(self) -> None:
        hang = Hang(self.seconds, self.thread, stacks_now())
        shown = sys.stderr
        if self.stacks is None and shown is not None and shown is not sys.__stderr__:
            # a notebook, where nobody sees the process's own
            beside(lambda: print(f"{hang}\n{hang.stacks}", file=shown))
        if self.on_hang is None:
            return
        try:
            self.on_hang(hang)
        except Exception:
            import logging

            logging.getLogger("hangtight.training").exception("the hook for a generation that is stuck has failed")


def beside(work: Callable[[], object]) -> None:
    """Does something of ours before a hook of the user's is called, which neither its failure nor its hanging stops."""

    def works() -> None:
        with suppress(Exception):
            work()

    with suppress(RuntimeError):  # no new thread, where the process ends or has too many
        thread = threading.Thread(target=works, name=HOOK, daemon=True)
        thread.start()
        thread.join(BESIDE)


def stacks_now() -> str:
    """The stacks of all threads. Empty where they cannot be had."""
    try:
        with tempfile.TemporaryFile("w+", errors="replace") as file:
            faulthandler.dump_traceback(file=file, all_threads=True)
            file.seek(0)
            return file.read()
    except (OSError, ValueError):
        return ""


class Namer:
    """One thread for all blocks, which sleeps to the nearest instant, and faulthandler's timer, set to the same."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Also after a fork: the child has neither our thread nor faulthandler's."""
        self._blocks: set[Naming] = set()
        self._bell = Bell()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._next = NEVER
        self._written = NEVER
        """The instant to which faulthandler is set."""

    def add(self, block: Naming) -> None:
        with self._lock:
            self._blocks.add(block)
            self._set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=NAMER, daemon=True)
                self._thread.start()
        if block.due < self._next:
            self._bell.ring()

    def remove(self, block: Naming) -> None:
        with self._lock:
            self._blocks.discard(block)
            self._set()

    def _set(self) -> None:
        now = clock.now()
        waiting = [block for block in self._blocks if block.due > now]
        block = min(waiting, key=_due, default=None)
        due = NEVER if block is None else block.due
        if due == self._written:
            return
        if self._overdue(now):
            return  # it is just being written, and to cancel it now could come before it
        self._written = due
        if block is None:
            faulthandler.cancel_dump_traceback_later()
            return
        file: Any = STDERR if block.stacks is None else block.stacks
        nap = min(LONGEST, max(SOONEST, due - now))
        try:
            faulthandler.dump_traceback_later(nap, file=file)
        except (OSError, ValueError, RuntimeError, AttributeError):
            self._written = NEVER  # nowhere to write to: the hook is called all the same

    def _overdue(self, now: Instant) -> bool:
        """A block that still runs is to be named within this moment."""
        return any(block.due <= now < block.due + AFTER_THE_STACKS for block in self._blocks)

    def _run(self) -> None:
        while True:
            self._next = NEVER  # until it is known again, whoever comes wakes us
            waiting = [block for block in tuple(self._blocks) if not block.hung]
            self._next = Instant(min((block.due for block in waiting), default=NEVER) + AFTER_THE_STACKS)
            if self._bell.heard_within(self._next - clock.now()):
                continue
            now = clock.now()
            for block in waiting:
                if block.due + AFTER_THE_STACKS <= now and block in self._blocks:
                    block.tell()
            with self._lock:
                self._set()


def _due(block: Naming) -> Instant:
    return block.due


NAMER_OF_ALL = Namer()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=NAMER_OF_ALL.reset)
