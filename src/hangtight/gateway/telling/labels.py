"""The values that labels of `/metrics` may have, and the borders of its histograms."""

from __future__ import annotations

from typing import Final

OTHER: Final = "other"
LONGEST_LABEL = 128  # characters
BUCKETS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 1800)
"""Seconds. The default limits are borders, so that what came in time can be told from what did not."""


class Labels:
    """The values of one label. Whoever scrapes keeps each of them for ever, so there are only so many."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int) -> None:
        self._known: set[str] = set()
        self._most = most

    def add(self, name: str) -> str:
        """The name, if there is room for it, or else `other`."""
        if name in self._known:
            return name
        if not name or len(name) > LONGEST_LABEL or len(self._known) >= self._most:
            return OTHER
        self._known.add(name)
        return name

    def of(self, name: str) -> str:
        """The name, if it was added, or else `other`."""
        return name if name in self._known else OTHER
