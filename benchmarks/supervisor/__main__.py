"""`python -m benchmarks.supervisor`: the figures of the supervisor. Exits 1 where a goal is missed."""

from __future__ import annotations

import sys

from benchmarks.gateway.__main__ import show
from benchmarks.supervisor import rows

if __name__ == "__main__":
    found = rows()
    show(found)
    sys.exit(0 if all(row.reached for row in found) else 1)
