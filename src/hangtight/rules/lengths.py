"""How a length is written as text, in a variable or as an option of a command: `45`, `90s`, `20m`, `1h`."""

from __future__ import annotations

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST = 1e9
"""Seconds: thirty years. What is longer is a slip, and sums of it would leave what a clock can count."""
AT_MOST = f"at most {LONGEST:.0f} seconds"
NO_LIMIT = ("none", "off")


def seconds_in(text: str) -> float:
    """The seconds that are written. Raises ValueError for what is no length."""
    word = text.strip().lower()
    unit = UNITS.get(word[-1:], 0.0)
    return float(word[:-1]) * unit if unit else float(word)
