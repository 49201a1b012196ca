"""Bars, sparklines and lines of time, all that there are: numbers in, text out, as many cells as were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

FULL, EMPTY, NOTHING = "█", "░", " "
HEIGHTS = "▁▂▃▄▅▆▇█"
IN_ASCII = str.maketrans(
    {
        **dict(zip(HEIGHTS, "._-=+*%#", strict=True)),
        EMPTY: ".",
        "▒": ":",
        "▓": "*",
        "━": "=",
        "╌": "-",
        "╸": "+",
        "…": "~",
        "·": ".",
    }
    | {"▲": "^", "▼": "v", "✗": "x", "✓": "v", "▸": ">", "├": "|", "│": "|", "└": "`", "─": "-"}
)
"""What stands in their place where the output has no such characters: all of the same width."""


def share(part: float, whole: float | None, cells: int) -> str:
    """How much of the whole is gone; without a whole there is none to be gone."""
    if not whole or whole < 0:
        return EMPTY * cells
    full = max(0, min(cells, round(cells * part / whole)))
    return FULL * full + EMPTY * (cells - full)


def amount(number: float, most: float, cells: int) -> str:
    """As long as the number is large beside the largest one; what there is at all is seen."""
    if number <= 0 or most <= 0:
        return ""
    return FULL * max(1, min(cells, round(cells * number / most)))


def stretch(begin: int, end: int, whole: int, cells: int) -> str:
    """Where a stretch lies in the whole; a short one is seen, too."""
    first = min(begin * cells // whole, cells - 1)
    last = max(first + 1, -(-end * cells // whole))
    return NOTHING * first + FULL * (last - first)


def spark(values: Sequence[float], cells: int) -> str:
    """The last of them, each as high as it is beside the highest one. It begins at zero, so half is half as high."""
    shown = values[-cells:] if cells > 0 else []
    most = max(shown, default=0.0)
    if most <= 0:
        return HEIGHTS[0] * len(shown)
    top = len(HEIGHTS) - 1
    return "".join(HEIGHTS[max(0, min(top, round(top * value / most)))] for value in shown)


def track(
    span: float, strokes: Iterable[tuple[float, float, str]], marks: Iterable[tuple[float, str]], cells: int
) -> str:
    """A line of time: strokes from one second to another, later ones over earlier ones, and marks at a second."""
    if span <= 0 or cells <= 0:
        return ""

    def at(when: float) -> int:
        return max(0, min(cells - 1, int(cells * when / span)))

    line = [NOTHING] * cells
    for begin, end, stroke in strokes:
        for cell in range(at(begin), at(end) + 1):
            line[cell] = stroke
    for when, mark in marks:
        line[at(when)] = mark
    return "".join(line)
