"""What it costs to run workflows: for each step, with many steps in flight, in the database, and at a deadline.

With PostgreSQL where its programs are on this machine; without them those rows are left out.
"""

from __future__ import annotations

from benchmarks.row import Row


def rows() -> list[Row]:
    from benchmarks.flows.measure import measured

    return measured()
