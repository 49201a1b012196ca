"""How large a model is, and how long its server may therefore take to sleep and to wake."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

THOUSAND: Final = 1000.0
SMALL, LARGE = 7.0, 20.0  # billions of parameters: under the one, over the other
IN_A_NAME: Final = re.compile(
    r"(?<![a-z0-9.])(?:(\d{1,3})x)?e?(\d{1,4}(?:\.\d{1,3})?)([bm])(?![a-z0-9])", re.IGNORECASE
)
TOLD: Final = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*([BMK])\s*", re.IGNORECASE)
SCALE: Final = {"b": 1.0, "m": 1 / THOUSAND, "k": 1 / THOUSAND**2}


class Clocks(NamedTuple):
    """Seconds for a sleep and for a wake, and for which sizes."""

    sleep: int
    wake: int
    sizes: str


UNDER_7B: Final = Clocks(30, 30, "under 7B")
TO_20B: Final = Clocks(60, 60, "7B to 20B")
OVER_20B: Final = Clocks(120, 90, "over 20B")
TABLE: Final = (UNDER_7B, TO_20B, OVER_20B)


class Sized(NamedTuple):
    """A model, and what is known of its size."""

    name: str
    billions: float | None = None
    """Of parameters; None where nobody says."""
    source: str = ""
    """Who says it."""

    @property
    def clocks(self) -> Clocks:
        """Those for its size. Where that is not known, those in the middle, which are the defaults too."""
        if self.billions is None:
            return TO_20B
        return UNDER_7B if self.billions < SMALL else OVER_20B if self.billions > LARGE else TO_20B

    @property
    def is_for_chats(self) -> bool:
        """What only makes vectors, or ranks, answers nobody."""
        return not any(word in self.name.lower() for word in ("embed", "rerank", "bge-"))

    @property
    def told(self) -> str:
        if self.billions is None:
            return "size not known"
        small = self.billions < 1
        size = f"{self.billions * THOUSAND:.0f}M" if small else f"{self.billions:.3g}B"
        return f"{size} ({self.source})"

    def as_data(self) -> dict[str, Any]:
        clocks = self.clocks
        return {
            "name": self.name,
            "billions": self.billions,
            "size_from": self.source or None,
            "cmdSleepTimeout": clocks.sleep,
            "cmdWakeTimeout": clocks.wake,
        }


def size_of(name: str, told: str = "") -> Sized:
    """The size that its server tells, as `7.6B`, else the one in its name, as `30b` or `8x7b`."""
    found = TOLD.fullmatch(told)
    if found:
        return Sized(name, float(found[1]) * SCALE[found[2].lower()], "its server says so")
    found = IN_A_NAME.search(name)
    if found:
        return Sized(name, int(found[1] or 1) * float(found[2]) * SCALE[found[3].lower()], "by its name")
    return Sized(name)
