"""The rules of others, written from what is said about them in public: where each would have ended a text first.

- gemini-cli: windows of 50 characters, one at each character; a window that was there ten times at an average distance
  of at most 75 ends it. It starts anew at fences, tables, lists, headings and quotations, looks away inside of fences,
  and remembers 1,000 characters.
- vLLM (`repetition_detection`): the last tokens are so many copies of a pattern of at most so many tokens. It is off
  until somebody gives numbers; those here were proposed in public for structured output and for reasoning.
- A zlib ratio above 2.4, as Whisper uses it, over the last characters.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Callable
from functools import partial

PIECE = 20
"""What arrives at once, in characters; gemini-cli looks at each arrival by itself."""
WINDOW, TIMES, FARTHEST, HISTORY = 50, 10, 75.0, 1_000
ANEW = re.compile(r"```|(?:^|\n)(?:\s*(?:\|.*\||[|+-]{3,}|[*+-]\s|\d+\.\s)|#+\s|>\s)")
DIVIDER = re.compile(r"[+-_=*\u2500-\u257F]+")
TOKEN = re.compile(r"\s?[^\W\d_]{1,4}|\d{1,3}|[^\w\s]{1,4}|\s+|_+")
"""About four characters; like real ones, these begin anew at each word, so a loop is one in tokens, too."""
RATIO, LAST, EACH = 2.4, 1_200, 300


def pieces(text: str) -> list[str]:
    """As it would arrive; a line's end also ends a piece, which is kind to rules about the beginnings of lines."""
    found = []
    for line in text.splitlines(keepends=True):
        found += [line[at : at + PIECE] for at in range(0, len(line), PIECE)]
    return found


class Gemini:
    """Its rule about content."""

    def __init__(self) -> None:
        self.fenced = False
        self.forget()

    def forget(self) -> None:
        self.text = ""
        self.looked = 0
        self.dropped = 0
        self.seen: dict[str, list[int]] = {}

    def feed(self, piece: str) -> bool:
        if ANEW.search(piece) or DIVIDER.fullmatch(piece):
            self.forget()
        was = self.fenced
        self.fenced ^= piece.count("```") % 2 == 1
        if was or self.fenced or DIVIDER.fullmatch(piece):
            return False
        self.text += piece
        if (much := len(self.text) - HISTORY) > 0:
            self.text = self.text[much:]
            self.dropped += much
        return self.circles()

    def circles(self) -> bool:
        first, last = max(self.looked, self.dropped), self.dropped + len(self.text) - WINDOW
        self.looked = max(self.looked, last + 1)
        for at in range(first, last + 1):
            window = self.text[at - self.dropped : at - self.dropped + WINDOW]
            places = self.seen.get(window)
            if places is None:
                self.seen[window] = [at]
                continue
            places.append(at)
            places[:] = [place for place in places if place >= self.dropped]
            if len(places) >= TIMES and (places[-1] - places[-TIMES]) / (TIMES - 1) <= FARTHEST:
                return True
        return False


def gemini(text: str) -> int | None:
    rule, read = Gemini(), 0
    for piece in pieces(text):
        read += len(piece)
        if rule.feed(piece):
            return read
    return None


def vllm(text: str, least: int, most: int, count: int) -> int | None:
    """A pattern of least to most tokens, so many times."""
    tokens = TOKEN.findall(text)
    names: dict[str, int] = {}
    numbers = array("I", [names.setdefault(token, len(names) + 1) for token in tokens])
    ends = [
        same + size * count
        for size in range(least, min(most, len(tokens) // count) + 1)
        if (same := first_same(numbers, size, size * (count - 1))) is not None
    ]
    return sum(map(len, tokens[: min(ends)])) if ends else None


def first_same(numbers: array[int], size: int, run: int) -> int | None:
    """The first place from which so many numbers in a row are the same as those `size` further on."""
    raw, wide = numbers.tobytes(), numbers.itemsize
    one, other = int.from_bytes(raw[size * wide :], "big"), int.from_bytes(raw[: -size * wide], "big")
    differs = (one ^ other).to_bytes(len(raw) - size * wide, "big")
    wanted = bytes(run * wide)
    at = differs.find(wanted)
    while at >= 0 and at % wide:
        whole = at + wide - at % wide
        if differs[whole : whole + run * wide] == wanted:
            return whole // wide
        at = differs.find(wanted, at + 1)
    return at // wide if at >= 0 else None


def ratio(text: str) -> int | None:
    for end in range(LAST, len(text) + 1, EACH):
        raw = text[end - LAST : end].encode()
        if len(raw) > RATIO * len(zlib.compress(raw)):
            return end
    return None


RULES: dict[str, Callable[[str], int | None]] = {
    "gemini-cli": gemini,
    "vLLM 1-20 x 3": partial(vllm, least=1, most=20, count=3),
    "vLLM 4-128 x 4": partial(vllm, least=4, most=128, count=4),
    "zlib > 2.4": ratio,
}
