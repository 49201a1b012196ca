"""Where one event ends and the next begins: only there may something of ours stand between them."""

from __future__ import annotations

BORDERS = (b"\n\n", b"\r\n\r\n", b"\r\r")
LONGEST = 4


class Borders:
    """Hands on whole events and keeps back the beginning of one."""

    __slots__ = ("_border", "_lines", "_tail")

    def __init__(self, *, lines: bool) -> None:
        self._lines = lines
        self._border = b"\n" if lines else b"\n\n"
        self._tail = bytearray()

    def whole(self, data: bytes) -> bytes:
        """All that is whole by now."""
        tail = self._tail
        if not tail and data.endswith(self._border):
            return data
        seen = max(0, len(tail) - LONGEST)
        tail += data
        cut = self._last_border(seen)
        if not cut:
            return b""
        whole = bytes(tail[:cut])
        del tail[:cut]
        return whole

    def _last_border(self, since: int) -> int:
        """The end of the last border at or behind `since`; 0 where there is none."""
        if self._lines:
            return self._tail.rfind(b"\n", since) + 1
        return max(at + len(border) if (at := self._tail.rfind(border, since)) >= 0 else 0 for border in BORDERS)

    @property
    def holds(self) -> bool:
        """The beginning of an event is here."""
        return bool(self._tail)

    def rest(self) -> bytes:
        """What is left at the end of a stream."""
        rest = bytes(self._tail)
        self._tail.clear()
        return rest
