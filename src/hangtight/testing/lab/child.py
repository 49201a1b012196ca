"""A model as a process, for everything that watches one from outside: it loads, talks, hangs and dies as told.

It sleeps for real: it is what is watched, not part of the clockwork.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import TextIO

from hangtight.core.time import Seconds
from hangtight.drivers.clock import sleep
from hangtight.testing.lab.script import RATE, TOKENS, Answer
from hangtight.testing.lab.words import said

PROGRESS_REPORTS = 5
FOREVER = Seconds(3600.0)
"""Longer than any test and any patience, and still the end of a process that everybody forgot."""

GRANDCHILD = f"import threading; threading.Event().wait({FOREVER})"


class ChildError(ValueError):
    """Options that no child can follow."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How the child ends. `after` is None where it says all its tokens first; by default it exits with 0."""

    mute: bool = False
    after: int | None = None
    code: int = 0
    signal: signal.Signals | None = None


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What makes a child hard to stop, and what it complains about."""

    ignores_term: bool = False
    grandchild: bool = False
    stderr: str = ""


@dataclass(frozen=True, kw_only=True)
class Child:
    """What a child does. Lengths are in seconds; `shows_load` prints the progress of the load."""

    load: float = 0.0
    shows_load: bool = False
    tokens: int = TOKENS
    rate: float = RATE
    ending: Ending = Ending()
    habits: Habits = Habits()

    def __post_init__(self) -> None:
        if not (isfinite(self.load) and self.load >= 0):
            raise ChildError(f"a child cannot load for {self.load} seconds")
        if not (isfinite(self.rate) and self.rate > 0):
            raise ChildError(f"a child cannot say {self.rate} tokens a second")


def signal_named(name: str) -> signal.Signals:
    """The signal with this name, with or without SIG."""
    wanted = "SIG" + name.upper().removeprefix("SIG")
    try:
        return signal.Signals[wanted]
    except KeyError as unknown:
        raise ChildError(f"there is no signal {name!r} here: try SIGSEGV, SIGKILL or SIGTERM") from unknown


def play(child: Child) -> int:
    """Do all of it; returns the exit code, unless a signal or a hang comes first."""
    _take_habits(child.habits)
    _load(child)
    for text in _texts(child):
        sleep(Seconds(1 / child.rate))
        _say(sys.stdout, text)
    if child.ending.mute:
        sleep(FOREVER)
    if child.ending.signal is not None:
        os.kill(os.getpid(), child.ending.signal)
        sleep(FOREVER)  # a signal that does not kill leaves a child that hangs
    return child.ending.code


def _texts(child: Child) -> Iterator[str]:
    answer = Answer(tokens=child.tokens, rate=child.rate)
    after = child.ending.after
    return (said(answer, index) for index in range(child.tokens if after is None else after))


def _take_habits(habits: Habits) -> None:
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whose reader is gone dies without a traceback, like any tool
    if habits.ignores_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if habits.stderr:
        _say(sys.stderr, habits.stderr + "\n")
    if habits.grandchild:
        started = subprocess.Popen([sys.executable, "-c", GRANDCHILD])
        _say(sys.stderr, f"grandchild {started.pid}\n")


def _load(child: Child) -> None:
    for part in range(1, PROGRESS_REPORTS + 1):
        sleep(Seconds(child.load / PROGRESS_REPORTS))
        if child.shows_load:
            _say(sys.stderr, f"load_tensors: {100 * part // PROGRESS_REPORTS} %\n")


def _say(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()
