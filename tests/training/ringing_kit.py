"""What the tests of blocks with a time of their own have in common."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable

import pytest

from hangtight.training.interrupting import interrupted_after

LITTLE = 0.05
unix = pytest.mark.skipif(sys.platform == "win32", reason="there is no alarm on Windows")
Somewhere = Callable[[Callable[[], None]], None]


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


class Sleeps:
    __getitem__ = staticmethod(time.sleep)


SLEEPS = Sleeps()
"""`SLEEPS[seconds]` is a sleep without a call."""
