"""How long `stats` takes over a million generations."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.row import Row
from hangtight.journal.reading import Reading
from hangtight.journal.rollups import Upkeep
from hangtight.journal.store import Store
from hangtight.journal.tables import generations

MILLION = 1_000_000
DAYS = 30
DAY = 86_400.0


def generation(dice: random.Random, key: int, started: float) -> dict[str, Any]:
    first, elapsed = dice.lognormvariate(0, 1), dice.lognormvariate(3, 1)
    hung = dice.random() < 0.01
    return {
        "id": f"{key:012x}", "call": f"{key:012x}", "started": started, "ended": started + elapsed,
        "model": f"model-{dice.randrange(5)}", "mode": dice.choice(("fast", "deep", "search")), "run": "",
        "step": dice.choice(("analyze", "plan", "generate", "review")), "host": "127.0.0.1:11434", "prompt_tokens": 900,
        "counted_prompt": 900, "counted_answer": None, "tokens": dice.randrange(20, 900), "first_token": first,
        "longest_gap": dice.lognormvariate(-2, 1), "elapsed": first + elapsed,
        "outcome": "timeout" if hung else "finished", "broken_limit": "idle" if hung else "",
        "waited": 45.0 if hung else None, "source": "default" if hung else "", "error": "", "budget_left": None,
        "limits": "{}",
    }  # fmt: skip


def fill(url: str, count: int) -> float:
    """A month of generations, and their sums by our own code; returns seconds per million summed."""
    store = Store(url)
    store.prepare()
    dice = random.Random(8)
    with store.engine.connect() as connection:
        for rows in batches(dice, count):
            with connection.begin():
                connection.execute(generations.insert(), rows)
        before = time.perf_counter()
        upkeep = Upkeep(DAYS * DAY, None)
        while upkeep.step(store, connection):
            pass
    store.close()
    return (time.perf_counter() - before) * MILLION / count


def batches(dice: random.Random, count: int, size: int = 20_000) -> Iterator[list[dict[str, Any]]]:
    for begin in range(0, count, size):
        keys = range(begin, min(count, begin + size))
        yield [generation(dice, key, (DAYS * DAY + 1800) * key / count) for key in keys]


def took(question: Callable[[], object]) -> float:
    before = time.perf_counter()
    question()
    return time.perf_counter() - before


def rows(count: int = MILLION) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        url = str(Path(folder) / "journal.db")
        summing = fill(url, count)
        reading = Reading(url)
        whole = max(took(lambda: reading.stats(by="model")) for _ in range(3))
        month = max(took(lambda: reading.stats(1234.5, "step")) for _ in range(3))
        receipt = took(lambda: reading.receipt(DAYS * DAY - DAY + 1234.5))
        found = took(lambda: reading.find("00000000abcd"))
    return [
        Row(f"journal: stats by model over {count:,} generations", whole, "s", 2),
        Row("journal: the same by step, since the middle of an hour", month, "s", 2),
        Row("journal: the receipt of a day", receipt, "s", 0.5),
        Row("journal: a generation found by its id", found, "s", 0.1),
        Row("journal: summing up, per million generations", summing, "s", 600),
    ]


if __name__ == "__main__":
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else MILLION):
        print(f"{row.what:<66} {row.figure:>9.3f} {row.unit:<3} {'ok' if row.reached else 'MISSED'}")
