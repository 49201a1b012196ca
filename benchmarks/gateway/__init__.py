"""The gateway, measured: a bare model server behind it, many clients before it, and nginx beside it."""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks.row import Row

NEEDED = ("uvloop", "uvicorn", "httptools")


def rows() -> list[Row]:
    """The short ones; `python -m benchmarks.gateway all` has the others. None where what it needs is not installed."""
    if any(find_spec(name) is None for name in NEEDED):
        return []
    from benchmarks.gateway import measure
    from benchmarks.gateway.peers import Stage

    with Stage() as stage:
        return [row for name in measure.SHORT for row in measure.measured(name, stage)]
