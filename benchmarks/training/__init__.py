"""What the training guard costs: a token, a step of a real `generate`, a block, and the memory that it keeps."""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks.gateway.load import told
from benchmarks.row import Row

NEEDED = ("torch", "transformers")


def rows() -> list[Row]:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        told(f"training: needs {' and '.join(missing)}, not run; `make test` installs both")
        return []
    from benchmarks.training.measure import measured

    return measured()
