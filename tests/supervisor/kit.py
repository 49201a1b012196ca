"""What the tests of the supervisor share: small programs, and looking whether a process is gone."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")
LONGEST = 15.0

NAMELESS: set[psutil.Process] = set()
"""Who may have thrown away the environment by which a test finds what it started."""

SLEEPS = "import time; time.sleep(600)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEPS}"
FORKS = f"""
import subprocess, sys
a = subprocess.Popen([sys.executable, "-c", "{SLEEPS}"])
b = subprocess.Popen([sys.executable, "-c", "{SLEEPS}"], start_new_session=True)
c = subprocess.Popen([sys.executable, "-c", "{SLEEPS}"], start_new_session=True, env={{}})
print("children", a.pid, b.pid, c.pid, flush=True)
{SLEEPS}
"""
"""A child in its group, one in a session of its own, and one there that also threw its environment away."""


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def run(work: Coroutine[Any, Any, T], loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(LONGEST):
            return await work

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(bounded())


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + LONGEST
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - it is other processes that are waited for
        await asyncio.sleep(0.01)


class Heard:
    """What a process said, all of it."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def __call__(self, data: bytes) -> None:
        self.bytes += data

    def __contains__(self, text: str) -> bool:
        return text.encode() in self.bytes

    @property
    def text(self) -> str:
        return self.bytes.decode("utf-8", "replace")

    async def children(self) -> list[int]:
        """The ids that a program like `FORKS` prints."""
        await until(lambda: "children" in self and self.bytes.endswith(b"\n"))
        line = next(line for line in self.text.splitlines() if line.startswith("children"))
        found = [int(word) for word in line.split()[1:]]
        NAMELESS.update(psutil.Process(pid) for pid in found if psutil.pid_exists(pid))
        return found


def listed(path: Path) -> list[int]:
    """The ids in a file that another process writes, once they are there."""
    assert soon(lambda: path.exists() and path.read_text().endswith("\n"))
    return [int(word) for word in path.read_text().split()]
