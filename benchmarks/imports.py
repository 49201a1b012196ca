"""What it costs to import the library and to start the command, as whole processes beside a bare one."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.row import Row

RUNS = 15
PRINTS_MODULES = "import sys; before = set(sys.modules); import hangtight; print(*sorted(set(sys.modules) - before))"


def wall(*words: str) -> float:
    """Milliseconds of one run."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1000


def rows() -> list[Row]:
    bare, ours, helped = [], [], []
    for _ in range(RUNS):
        bare.append(wall("-c", "pass"))
        ours.append(wall("-c", "import hangtight"))
        helped.append(wall("-m", "hangtight", "--help"))
    added = subprocess.run([sys.executable, "-c", PRINTS_MODULES], check=True, capture_output=True, text=True)
    return [
        Row("import hangtight, over a bare interpreter", statistics.median(ours) - statistics.median(bare), "ms", 30),
        Row("modules loaded by import hangtight", len(added.stdout.split()), "", 1),
        Row("hangtight --help, whole process", statistics.median(helped), "ms", 300),
    ]
