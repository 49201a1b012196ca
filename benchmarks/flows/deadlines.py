"""How close to its deadline a run ends, beside a bare timer of the same length: whatever its steps do."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hangtight.flows import Engine, Flow, generate, step, tool

Made = Any
"""A step, or a function that is one."""
BUDGET, STEPS, SHORT, LONG = 3.0, 5, 0.2, 60.0
SLEEPS = "import sys, time; time.sleep(float(sys.argv[1]))"


def asked(name: str, seconds: float, after: tuple[str, ...]) -> Made:
    """A model that says so many seconds long a word ten times a second."""
    return generate(name, "Write.", model=f"tokens={int(seconds * 10)},rate=10", after=after)


def command(name: str, seconds: float, after: tuple[str, ...]) -> Made:
    return tool(name, [sys.executable, "-c", SLEEPS, str(seconds)], after=after)


def thread(name: str, seconds: float, after: tuple[str, ...]) -> Made:
    def sleeps() -> None:
        time.sleep(seconds)

    return step(name=name, after=after)(sleeps)


def coroutine(name: str, seconds: float, after: tuple[str, ...]) -> Made:
    async def sleeps() -> None:
        await asyncio.sleep(seconds)

    return step(name=name, after=after)(sleeps)


KINDS: dict[str, Callable[[str, float, tuple[str, ...]], Made]] = {
    "a generation": asked,
    "a command": command,
    "a thread": thread,
    "a coroutine": coroutine,
}


def chain(kind: Callable[[str, float, tuple[str, ...]], Made]) -> Flow:
    """Four short steps, one after the other, and a fifth that does not end."""
    steps: list[Made] = []
    for at in range(STEPS):
        after = (f"s{at - 1}",) if at else ()
        steps.append(kind(f"s{at}", LONG if at == STEPS - 1 else SHORT, after))
    return Flow("chain", steps, total=BUDGET)


async def beyond(kind: Callable[[str, float, tuple[str, ...]], Made], folder: Path) -> float:
    """Seconds by which the run ends later than the timer; both begin together."""

    async def timer() -> float:
        await asyncio.sleep(BUDGET)
        return time.perf_counter()

    async def run() -> float:
        result = await engine.arun(chain(kind))
        assert result.outcome == "timeout", result
        return time.perf_counter()

    engine = Engine(folder)
    bare, whole = await asyncio.gather(timer(), run())
    await engine.aclose()
    return abs(whole - bare)
