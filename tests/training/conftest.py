"""What several of these tests stand on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from hangtight.training import vigil
from tests.training.ringing_kit import here, in_a_thread, unix


@pytest.fixture
def gently(monkeypatch: pytest.MonkeyPatch) -> None:
    """The criterion is given time to be asked: on a busy machine one token takes longer than its usual grace."""
    monkeypatch.setattr(vigil, "LEAST", vigil.MOST)


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
