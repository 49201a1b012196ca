"""`python -m benchmarks.training`: the figures of the training guard. Exits 1 where a goal is missed."""

from __future__ import annotations

import sys

from benchmarks.gateway.__main__ import show
from benchmarks.training import rows

if __name__ == "__main__":
    found = rows()
    show(found)
    sys.exit(0 if all(row.reached for row in found) else 1)
