"""Generations that never happened, and ways to look at what became of them."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import OperationalError

from hangtight.core.layers import Layer, Rank
from hangtight.core.resolve import resolve
from hangtight.journal.entries import Begun, Ended, Entry, Kind, Noted
from hangtight.journal.recording import Recorder
from hangtight.journal.rollups import Upkeep
from hangtight.journal.store import Store
from hangtight.journal.tables import generations

NOW = 1_800_000_000.0
RESOLVED = resolve([Layer(Rank.CALL, "the call", {"idle": 20.0})])
COMMON = """
import os, sys, threading, time
from tests.journal.kit import *
"""


class Wall:
    """The wall clock of a test."""

    def __init__(self, at: float = NOW) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def begun(key: str, at: float = NOW, **more: Any) -> Begun:
    usual: dict[str, Any] = {"call": key, "resolved": RESOLVED, "model": "qwen3", "mode": "deep"}
    return Begun(id=key, at=at, **(usual | more))


def ended(key: str, after: float = 3.0, outcome: str = "finished", **more: Any) -> Ended:
    usual: dict[str, Any] = {"tokens": 10, "first_token": 0.5}
    return Ended(id=key, after=after, outcome=outcome, **(usual | more))


def whole(key: str, at: float = NOW, *, after: float = 3.0, **more: Any) -> list[Entry]:
    """A generation from its beginning to its end."""
    return [begun(key, at, **more), Noted(key, 1.0, Kind.REMARK, "half way"), ended(key, after)]


def put(recorder: Recorder, entries: list[Entry]) -> None:
    for entry in entries:
        recorder.put(entry)


def several(count: int, seed: int, begin: float, span: float) -> list[Entry]:
    """Generations of every kind, spread evenly over `span` seconds."""
    dice = random.Random(seed)
    entries: list[Entry] = []
    for at in range(count):
        key = f"{seed:04x}{at:08x}"
        model, mode, step = (dice.choice(names) for names in (("a", "b"), ("", "deep", "fast"), ("", "plan")))
        entries.append(begun(key, begin + span * at / count, model=model, mode=mode, step=step))
        outcome = dice.choice(("finished", "finished", "finished", "timeout", "failed", ""))
        limit = dice.choice(("idle", "first_token", "total")) if outcome == "timeout" else ""
        first = dice.choice((None, dice.lognormvariate(0, 1)))
        if outcome:
            entries.append(
                ended(
                    key, 0.5 + dice.lognormvariate(2, 1.5), outcome, tokens=dice.randrange(500), first_token=first,
                    longest_gap=dice.choice((None, dice.random())), limit=limit, waited=dice.random() * 40,
                )
            )  # fmt: skip
    return entries


def soon(holds: Callable[[], bool], limit: float = 15.0) -> bool:
    deadline = time.monotonic() + limit
    while not holds():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


def keep_up(url: str, now: float, keep: float | None = None) -> None:
    """All of the upkeep that is due. Who finds the journal locked begins again, as the writer does."""
    is_due = True
    while is_due:
        store = Store(url)
        upkeep = Upkeep(now, keep)
        try:
            with store.engine.connect() as connection:
                while is_due:
                    is_due = upkeep.step(store, connection)
        except OperationalError as problem:
            if "locked" not in str(problem):
                raise
        finally:
            store.close()


def asked(url: str, question: Callable[[Connection], Any]) -> Any:
    store = Store(url)
    with store.engine.begin() as connection:
        return question(connection)


def count(url: str) -> int:
    return int(
        asked(url, lambda connection: connection.execute(select(func.count()).select_from(generations)).scalar())
    )


def child(script: str, *arguments: str, **settings: Any) -> subprocess.Popen[str]:
    """A process that runs `script` with all of this kit at hand."""
    command = [sys.executable, "-c", COMMON + script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


def said(process: subprocess.Popen[str], limit: float = 150) -> str:
    """What a process said that ended well. `limit` is for what hangs: each of them loads all of SQLAlchemy."""
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, err
    return out.strip()
