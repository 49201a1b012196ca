"""The proof of the intent room: healthy text, loops, a brute force that knows the truth, and the rules of others."""

from __future__ import annotations

from benchmarks.row import Row


def rows() -> list[Row]:
    """The figures alone; `python -m benchmarks.intent` is the proof."""
    from benchmarks.intent import measure

    return measure.rows()
