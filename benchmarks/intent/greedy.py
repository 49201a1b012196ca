"""Real degenerate output: an n-gram model of characters, trained on what it is given, that always takes the likeliest.

Greedy decoding runs into a circle by itself, after a while that differs with the order and the beginning.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

ORDERS = (3, 4, 5, 6, 8, 12, 16)
BEGINNINGS = ("The ", "Permission is hereby ", "You may ", "THE SOFTWARE ", "If any ")
LENGTH = 12_000
PART = 60_000


class Model:
    """What follows so many characters most often; shorter contexts where these never came."""

    def __init__(self, text: str, order: int) -> None:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for size in {order, 2, 1}:
            for at in range(len(text) - size):
                counts[text[at : at + size]][text[at + size]] += 1
        self.order = order
        self.next = {context: min(seen, key=lambda each: (-seen[each], each)) for context, seen in counts.items()}

    def write(self, beginning: str, length: int) -> str:
        text = beginning
        while len(text) < length:
            text += next(self.next[text[-size:]] for size in (self.order, 2, 1) if text[-size:] in self.next)
        return text


def texts(trained_on: str) -> Iterator[tuple[str, str]]:
    """Each order learns from a part of its own, so that not all end in the same circle."""
    for index, order in enumerate(ORDERS):
        model = Model(trained_on[index * PART : (index + 1) * PART], order)
        for beginning in BEGINNINGS:
            yield f"greedy, order {order}, {beginning.strip()!r}", model.write(beginning, LENGTH)
