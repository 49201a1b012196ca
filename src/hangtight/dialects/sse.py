"""Bytes, in whatever pieces they come, to events: server-sent events and JSON by lines.

Both decoders give a list for every `feed` and one for `close`: an `Event` for each piece of content, and a `Contact`
for each sign of life without any (comments, blocks without data, empty lines), which the standard drops but a clock
wants to hear of. They hold at most one event, of at most `limit` bytes, and the work is linear in the bytes however
they are cut.
"""

from abc import ABC, abstractmethod
from typing import Final, NamedTuple

EVENT_LIMIT: Final = 16 * 1024 * 1024  # of one event: an image as base64 fits, a server gone mad does not
RETRY_DIGITS: Final = 15  # milliseconds; int() refuses texts of thousands of digits, and nobody waits that long

BOM: Final = b"\xef\xbb\xbf"
CR: Final = 13
LF: Final = 10


class EventTooLarge(ValueError):
    """One event is larger than the limit; those before it have been handed out."""


class Event(NamedTuple):
    """One server-sent event, or one line of JSON."""

    data: str
    event: str = "message"
    id: str = ""
    """The last id that the stream gave, by this event or an earlier one."""
    complete: bool = True
    """False: the stream ended inside of it. A browser would drop it; some servers end every stream like this."""


class Contact(NamedTuple):
    """A sign of life without content."""

    text: str = ""
    """The comment, if it was one."""


Item = Event | Contact


class _Decoder(ABC):
    """Keeps the line that is not complete yet, and the error until all before it is handed out."""

    def __init__(self, *, limit: int = EVENT_LIMIT) -> None:
        if limit < 1:
            raise ValueError(f"the limit of an event is at least one byte, not {limit}")
        self._limit = limit
        self._tail = bytearray()
        self._size = 0  # of the lines before the tail that belong to the same event
        self._fresh = True
        self._error: EventTooLarge | None = None

    def feed(self, data: bytes) -> list[Item]:
        """What these bytes complete. An event over the limit raises EventTooLarge, from then on each time."""
        if self._error is not None:
            raise self._error
        items: list[Item] = []
        try:
            self._decode(self._complete(data), items)
            # The mark and the line break's first half may be taken off when the line is complete.
            if self._size + len(self._tail) > self._limit + len(BOM) + 1:
                raise self._too_large()
        except EventTooLarge as error:
            # What came before it must not depend on how the bytes were cut: first that, the error next time.
            self._error = error
            if not items:
                raise
        return items

    def close(self) -> list[Item]:
        """The stream has ended: what is left, as an event that is not complete."""
        if self._error is not None:
            raise self._error
        items: list[Item] = []
        rest = self._marked(bytes(self._tail))
        self._tail.clear()
        self._finish([rest] if rest else [], items)
        return items

    def _join(self, lines: list[bytes], ended: bool) -> list[bytes]:
        """Put the kept start before the first line; keep the last one where it has not ended."""
        tail = self._tail
        if tail and (len(lines) > 1 or ended):
            tail += lines[0]
            lines[0] = bytes(tail)
            tail.clear()
        if not ended:
            tail += lines.pop()
        if self._fresh and lines:
            lines[0] = self._marked(lines[0])
        return lines

    def _marked(self, line: bytes) -> bytes:
        """The first line of a stream may begin with a byte order mark."""
        line = line.removeprefix(BOM) if self._fresh else line
        self._fresh = False
        return line

    def _too_large(self) -> EventTooLarge:
        return EventTooLarge(f"one event is larger than {self._limit} bytes")

    @abstractmethod
    def _complete(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete, without their ends."""

    @abstractmethod
    def _decode(self, lines: list[bytes], items: list[Item]) -> None:
        """Add to the items what these lines mean."""

    @abstractmethod
    def _finish(self, lines: list[bytes], items: list[Item]) -> None:
        """The same for the line, if any, at which the stream ended."""


class SSEDecoder(_Decoder):
    """Server-sent events as the HTML standard has them; `retry` is the last one given, in milliseconds."""

    def __init__(self, *, limit: int = EVENT_LIMIT) -> None:
        super().__init__(limit=limit)
        self.retry: int | None = None
        self._after_cr = False
        self._data: list[bytes] = []
        self._event = ""
        self._id = ""
        self._heard = False

    def _complete(self, data: bytes) -> list[bytes]:
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == LF:
                data = data[1:]
        if not data:
            return []
        last = data[-1]
        # An event that ends with CR is handed out now; whether a LF follows is only known with the next bytes.
        self._after_cr = last == CR
        return self._join(data.splitlines(), last in (LF, CR))

    def _decode(self, lines: list[bytes], items: list[Item]) -> None:
        for line in lines:
            if not line:
                self._dispatch(items)
                continue
            size = self._size + len(line)
            if size > self._limit:
                raise self._too_large()
            if line.startswith(b"data: "):
                self._data.append(line[6:])
                self._size = size
            else:
                self._field(line, items)

    def _finish(self, lines: list[bytes], items: list[Item]) -> None:
        self._decode(lines, items)
        if self._data:
            self._dispatch(items, complete=False)

    def _field(self, line: bytes, items: list[Item]) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
                self._size += len(line)
            case b"":
                items.append(Contact(value.decode("utf-8", "replace")))
                self._heard = True
            case b"event":
                self._event = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
            case b"retry" if value.isdigit() and len(value) <= RETRY_DIGITS:
                self.retry = int(value)

    def _dispatch(self, items: list[Item], *, complete: bool = True) -> None:
        """End of a block. Each gives at least one item, so that none passes unheard."""
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            items.append(Event(data.decode("utf-8", "replace"), self._event or "message", self._id, complete))
            self._data.clear()
            self._size = 0
        elif not self._heard:
            items.append(Contact())
        self._event = ""
        self._heard = False


class NDJSONDecoder(_Decoder):
    """One JSON text per line, as Ollama sends it; what is in the line is the caller's to parse."""

    def _complete(self, data: bytes) -> list[bytes]:
        return self._join(data.split(b"\n"), ended=False)

    def _decode(self, lines: list[bytes], items: list[Item], *, complete: bool = True) -> None:
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if len(line) > self._limit:
                raise self._too_large()
            blank = not line or line.isspace()
            items.append(Contact() if blank else Event(line.decode("utf-8", "replace"), complete=complete))

    def _finish(self, lines: list[bytes], items: list[Item]) -> None:
        self._decode(lines, items, complete=False)
