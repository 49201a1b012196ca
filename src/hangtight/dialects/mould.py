"""The chunk that comes a thousand times: the same bytes around another piece of text.

A server that streams says the same JSON again and again, and only the text in it is another. Once such a chunk has been
read, the next one is known by its beginning and its end. What stands between them is the text, if it could stand in
JSON as it is: then nothing has to be parsed. Anything else is read in full, and the mould is made anew from it.
"""

from __future__ import annotations

from typing import Final

from hangtight.core.facts import Content, Reasoning
from hangtight.dialects.reading import Kind, Piece

TRIES: Final = 16
"""So often a mould is made that then fits nothing. Some APIs number their chunks: there it never will."""


class Mould:
    """What stands around the text."""

    __slots__ = ("_after", "_before", "_left", "kind")

    def __init__(self) -> None:
        self.kind: Kind = None
        """What the text is; None where there is no mould."""
        self._before = b""
        self._after = b""
        self._left = TRIES

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
        self.kind = kind
        self._left -= 1

    def text(self, data: bytes, start: int, end: int) -> str | None:
        """The text of the event that stands in `data` from `start` to `end`; None where it is another kind of event."""
        if not (data.startswith(self._before, start) and data.endswith(self._after, start, end)):
            return None
        said = data[start + len(self._before) : end - len(self._after)]
        if not said or b'"' in said or b"\\" in said:
            return None
        try:
            text = said.decode()
        except UnicodeDecodeError:
            return None
        if not text.isprintable():  # a bare control character is no JSON
            return None
        self._left = TRIES
        return text
