"""One line of the table."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A figure, and what it should be at most."""

    what: str
    figure: float
    unit: str
    goal: float

    @property
    def reached(self) -> bool:
        return self.figure <= self.goal
