"""Runs in processes that are really killed: a body that leaves marks in a file, and lives that can be ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hangtight.flows.durable.store import Durable
from hangtight.flows.durable.worker import work
from hangtight.flows.port import Ended, RunSpec, Steps

BEAT, LOST = 0.2, 3.0
"""Seconds. A life that only had to wait for the machine, or for its database, is not taken for a dead one."""
COMMON = "import asyncio, sys\nfrom tests.flows.lives import *\n"


def spec(run: str, folder: Path, **inputs: Any) -> RunSpec:
    """`steps` one after the other, each `takes` seconds; the one named `gate` waits until the file `open` is there."""
    usual: dict[str, Any] = {"steps": 3, "takes": 0.01, "gate": "", "marks": str(folder / "marks")}
    return RunSpec(
        id=run, flow="three", source="tests", inputs=usual | inputs, began=time.time(), deadline=time.time() + 600
    )


def mark(path: str, *words: object) -> None:
    """One line, written at once: several processes write."""
    with Path(path).open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


def marks(folder: Path) -> list[list[str]]:
    path = folder / "marks"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


async def body(spec: RunSpec, step: Steps) -> Ended:
    given = spec.inputs
    begun = time.monotonic()

    async def one(name: str) -> dict[str, Any]:
        mark(given["marks"], "begun", spec.id, name, os.getpid(), spec.deadline)
        await asyncio.sleep(given["takes"])
        gate = Path(given["marks"]).parent / "open"
        while name == given["gate"] and not gate.exists():  # noqa: ASYNC110 - another process opens it
            await asyncio.sleep(0.02)
        return {"said": name, "by": os.getpid()}

    try:
        for at in range(given["steps"]):
            name = f"s{at}"
            out = await step(name, lambda name=name: one(name))  # type: ignore[misc]
            mark(given["marks"], "done", spec.id, name, os.getpid(), out["by"])
    except BaseException as problem:
        mark(given["marks"], "lost", spec.id, type(problem).__name__, os.getpid(), time.time())
        raise
    return Ended("finished", elapsed=time.monotonic() - begun)


async def stay(url: str, told: RunSpec) -> None:
    store = Durable(url, beat=BEAT, lost=LOST)
    ended = await store.run(told, body)
    print(ended.outcome, flush=True)
    await store.close()


async def serve(url: str) -> None:
    await work(url, body, beat=BEAT, lost=LOST)


def life(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMON + script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def a_run(url: str, told: RunSpec) -> subprocess.Popen[str]:
    return life(f"asyncio.run(stay(sys.argv[1], RunSpec(**{_told(told)!r})))", url)


def a_worker(url: str) -> subprocess.Popen[str]:
    return life("asyncio.run(serve(sys.argv[1]))", url)


def _told(told: RunSpec) -> dict[str, Any]:
    return {name: getattr(told, name) for name in ("id", "flow", "source", "inputs", "began", "deadline")}


def end(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def soon(holds: Callable[[], object], limit: float = 60.0) -> bool:
    deadline = time.monotonic() + limit
    while not holds():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.02)
    return True


async def soon_in(holds: Callable[[], object], limit: float = 60.0) -> bool:
    return await asyncio.to_thread(soon, holds, limit)


__all__ = [
    "Durable",
    "RunSpec",
    "a_run",
    "a_worker",
    "end",
    "life",
    "marks",
    "serve",
    "soon",
    "soon_in",
    "spec",
    "stay",
]
