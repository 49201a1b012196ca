"""Is anything new said? Counts the segments of a text in which all was said before, in a few kilobytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import compress, pairwise
from struct import pack
from zlib import crc32

from hangtight.intent.findings import Act, Channel, Doing, Finding, Rule

SEGMENT = 512
GRAM = 8
"""So many words of `ANCHOR` letters or more, in a row make one gram; of scripts without spaces, so many characters."""
SAMPLED = 0b11
"""Of the grams, those count whose first two words differ in none of these bits of their checksums: one in four."""
FEWEST = 6
"""A segment with fewer grams to look at proves nothing."""
STALE_SHARE = 0.1
"""A segment is stale if at most this share of its grams is new. One new word alone makes eight new grams."""
ANCHOR = 4
"""From so many letters on a word that was never there before is news by itself."""
ANCHORS = 0b100
"""Every other one is looked for: words whose checksum has not this bit. What is new brings several."""
NUMERIC = 0.08
"""From this share of digits on the numbers are what is said; whether they only count is for another rule to see."""
HOLD_AT = 3
"""Stale segments in a row. However many there are, it is a suspicion: copied licences say nothing new either."""

SLOTS = 4_096
FULL = 500
"""An eighth of the slots. Where more are taken, too many new things would look like old ones, so a new field begins."""

_NONE = b""
_ONLY_LETTERS = bytes(byte if byte > 127 or byte == 95 or chr(byte).isalpha() else 0x20 for byte in range(256))
_DIGITS = re.compile(r"\d+")
_DENSE_SCRIPT = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_IS_DENSE = re.compile(f"[{_DENSE_SCRIPT}]" + "{4}")
_FIRSTS = "".join(
    chr(code)
    for first, last in ((0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7AF))
    for code in range(first, last + 1)
    if crc32(chr(code).encode()) % 16 == 0
)
_DENSE_GRAMS = re.compile(f"(?=([{_FIRSTS}].{{{GRAM - 1}}}))", re.DOTALL)
_LONGEST_WORD = 64


class Seen:
    """Remembers what was there lately: two bit fields, the older of which is forgotten when the newer is full."""

    __slots__ = ("_new", "_old", "_taken")

    def __init__(self) -> None:
        self._new = bytearray(SLOTS // 8)
        self._old = bytearray(SLOTS // 8)
        self._taken = 0

    def unseen(self, marks: Iterable[int]) -> int:
        """How many of these were not there before; from now on they were."""
        new, old, count, taken = self._new, self._old, 0, 0
        for mark in marks:
            slot = mark % SLOTS
            at, bit = slot >> 3, 1 << (slot & 7)
            if not new[at] & bit:
                new[at] |= bit
                taken += 1
                if not old[at] & bit:
                    count += 1
        self._taken += taken
        if self._taken >= FULL:
            self._new, self._old, self._taken = bytearray(SLOTS // 8), new, 0
        return count


class Novelty:
    """Follows one channel's text. `stale` is the number of segments in a row that said nothing new."""

    __slots__ = ("_before", "_dense_rest", "_rest", "_seen", "stale")

    def __init__(self) -> None:
        self.stale = 0
        self._seen = Seen()
        self._before: list[int] = []
        self._rest = self._dense_rest = _NONE

    def feed(self, segment: str) -> None:
        """Takes the next segment, and counts."""
        raw = segment.encode("utf-8", "replace")
        dense = not segment.isascii() and _IS_DENSE.search(segment) is not None
        grams, anchors = self._dense(segment) if dense else self._spaced(raw)
        new_grams = self._seen.unseen(grams)
        news = self._seen.unseen(anchors)
        numeric = len(raw) - len(raw.translate(None, b"0123456789")) > NUMERIC * len(segment)
        if numeric or news or new_grams > STALE_SHARE * len(grams):
            self.stale = 0
        elif len(grams) >= FEWEST:
            self.stale += 1

    def _spaced(self, raw: bytes) -> tuple[list[int], set[int]]:
        words = (self._rest + raw).translate(_ONLY_LETTERS).split()
        self._rest = self._dense_rest = _NONE
        if words and raw[-1:].translate(_ONLY_LETTERS) != b" " and len(words[-1]) < _LONGEST_WORD:
            # its end may stand in the next segment
            self._rest = words.pop()
        marks = [crc32(word) for word in words if len(word) >= ANCHOR]
        anchors = {mark for mark in marks if not mark & ANCHORS}
        marks = self._before + marks
        self._before = marks[1 - GRAM :]
        flat = pack(f"<{len(marks)}I", *marks)
        sampled = [not (mark ^ following) & SAMPLED for mark, following in pairwise(marks)]
        starts = compress(range(0, 4 * (len(marks) - GRAM + 1), 4), sampled)
        return [crc32(flat[at : at + 4 * GRAM]) for at in starts], anchors

    def _dense(self, segment: str) -> tuple[list[int], set[int]]:
        """Scripts without spaces: each character is a word. No word of theirs can be told as an anchor."""
        text = self._dense_rest.decode() + segment.encode("utf-8", "replace").decode()
        self._before, self._rest = [], _NONE
        self._dense_rest = text[1 - GRAM :].encode()
        return [crc32(gram.encode()) for gram in _DENSE_GRAMS.findall(_DIGITS.sub("0", text))], set()

    def finding(self, offset: int, channel: Channel, patience: float = 1.0) -> Finding | None:
        """The suspicion, if there is one. It is never evidence for an end."""
        if self.stale < HOLD_AT * patience:
            return None
        return Finding(
            act=Act.HOLD,
            doing=Doing.STUCK,
            rule=Rule.NOVELTY,
            channel=channel,
            offset=offset,
            start=max(0, offset - self.stale * SEGMENT),
            period=SEGMENT,
            copies=self.stale,
            confidence=min(0.9, 0.4 + 0.05 * self.stale),
        )
