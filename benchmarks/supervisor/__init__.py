"""What it costs to run model servers: at rest, for each request, and in a swap.

The servers are the lab's, and real processes, but for the eviction among a thousand models: these are only there in
memory, because what is measured is the decision.
"""

from __future__ import annotations

from benchmarks.row import Row


def rows() -> list[Row]:
    from benchmarks.supervisor.measure import measured

    return measured()
