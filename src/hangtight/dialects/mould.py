"""The chunk that comes a thousand times: the same bytes around another piece of text.

A server that streams says the same JSON again and again, and only the text in it is another. Once such a chunk has been
read, the next one is known by its beginning and its end. What stands between them is the text, if it could stand in
JSON as it is: then nothing has to be parsed. Where it could not, it is parsed alone. Anything else is read in full, and
the mould is made anew from it.
"""

from __future__ import annotations

from typing import Final

from hangtight.core.facts import Content, Reasoning
from hangtight.dialects.quick import loader
from hangtight.dialects.reading import Kind, Piece

TRIES: Final = 16
"""So often a mould is made that then fits nothing. Some APIs number their chunks: there it never will."""
LONGEST_SIZE: Final = 10
"""Characters of a chunk's size and the line break behind it; a longer one is no token."""
QUOTE, BACKSLASH = b'"\\'
"""As numbers: Python looks for one byte in others ten times as fast when it is given as a number."""
HEADS: Final = 64
"""Lengths of chunks whose beginning is kept."""


class Mould:
    """What stands around the text."""

    __slots__ = ("_after", "_before", "_end", "_heads", "_left", "_load", "kind")

    def __init__(self) -> None:
        self.kind: Kind = None
        """What the text is; None where there is no mould."""
        self._before = b""
        self._after = b""
        self._end = b""
        """Of a chunk of HTTP with nothing else in it."""
        self._heads: dict[int, bytes] = {}
        """The beginnings of such chunks, by how long these are: the same length has the same size before it."""
        self._left = TRIES
        self._load = loader()

    def learn(self, data: bytes, pieces: list[Piece]) -> None:
        """This event was just read in full."""
        self.kind = None
        if len(pieces) != 1 or not self._left:
            return
        kind, text, finished = pieces[0]
        if finished or not text or (kind is not Content and kind is not Reasoning):
            return
        if not text.isprintable() or '"' in text or "\\" in text:
            return
        said = b'"%b"' % text.encode("utf-8", "replace")
        at = data.find(said)
        if at < 0 or data.find(said, at + 1) >= 0:
            return
        self._before, self._after = data[: at + 1], data[at + len(said) - 1 :]
        self._end = self._after + b"\r\n"
        self._heads.clear()
        self.kind = kind
        self._left -= 1

    def text(self, data: bytes, start: int, end: int) -> str | None:
        """The text of the event that stands in `data` from `start` to `end`; None where it is another kind of event."""
        if not (data.startswith(self._before, start) and data.endswith(self._after, start, end)):
            return None
        return self._read(data[start + len(self._before) : end - len(self._after)])

    def framed(self, raw: bytes) -> str | None:
        """The text of the event that fills this chunk of HTTP, frame and all; None where it is another kind."""
        head = self._heads.get(len(raw)) or self._head_of(raw)
        if head is None or not (raw.startswith(head) and raw.endswith(self._end)):
            return None
        return self._read(raw[len(head) : -len(self._end)])

    def _head_of(self, raw: bytes) -> bytes | None:
        """How a chunk of this length begins, its size written as this server writes it."""
        at = raw.find(b"\r\n", 0, LONGEST_SIZE)
        size = len(raw) - at - 4
        if at < 1 or (raw[:at] != b"%x" % size and raw[:at] != b"%X" % size):
            return None
        head = raw[: at + 2] + self._before
        if len(self._heads) < HEADS:
            self._heads[len(raw)] = head
        return head

    def _read(self, said: bytes) -> str | None:
        """What stands between the quotes; None where it could not stand there."""
        if not said:
            return None
        if QUOTE not in said and BACKSLASH not in said:
            try:
                text = said.decode()
            except UnicodeDecodeError:
                return None
            if text.isprintable():
                self._left = TRIES
                return text
        try:  # escaped, or no JSON at all: a bare quote, a bare control character
            text = self._load(b'"%b"' % said)
        except (ValueError, RecursionError):
            return None
        if type(text) is not str or not text:
            return None
        self._left = TRIES
        return text
