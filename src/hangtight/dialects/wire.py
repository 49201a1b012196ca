"""The bytes of one streamed answer, in whatever pieces they come, to what they mean. Any bytes: nothing is believed.

What does not have the form of its API is contact. JSON that cannot be read is remembered and reading goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hangtight.core.facts import End
from hangtight.dialects.dialect import MESSAGE, Assembly, Chunk, Dialect, Refusal
from hangtight.dialects.mould import Mould
from hangtight.dialects.quick import loader, patient_load, steady_for
from hangtight.dialects.reading import CONTACT, Piece, Usage, answering_in, reason_in, usage_in
from hangtight.dialects.sse import EVENT_LIMIT, Event, EventTooLarge, Item, NDJSONDecoder, SSEDecoder

DONE: Final = "[DONE]"
LAST_EVENT: Final = b"data: [DONE]\n\n"
ERROR: Final = "error"
LONGEST_SHOWN: Final = 200  # characters of what could not be read

DATA: Final = b"data: "
EVENT: Final = b"event: "
AFTER_DATA: Final = len(DATA)
AFTER_EVENT: Final = len(EVENT)

More = Callable[[str], object]


class Wire:
    """Reads one answer, and adds its chunks to an assembly where one is given."""

    def __init__(self, dialect: Dialect, assembly: Assembly | None = None) -> None:
        self._dialect = dialect
        self._assembly = assembly
        self._reader = dialect.reader()
        self._read = self._reader.read
        self._load = loader()
        # Only while nothing has finished: what comes after a finish is for the reader to weigh.
        self._steady = steady_for(dialect.name) if assembly is None else None
        self._decoder = NDJSONDecoder() if dialect.lines else SSEDecoder()
        self._border = b"\n" if dialect.lines else b"\n\n"
        self._clean = False
        """The decoder stands between two events and holds nothing: a whole event may go past it."""
        self.mould: Mould | None = None
        """For who gets whole events: what fits it may go past us, if `more` gets its text."""
        self.more: More | None = None
        """Adds the text of what fits the mould to what is put together; None where nothing is."""
        self._held = 0
        self._done = False
        self.finished = False
        """Every choice that began has a finish reason."""
        self.refusal: Refusal | None = None
        """The first error event."""
        self.usage: Usage | None = None
        """How long prompt and answer are, as the server counts them."""
        self.model = ""
        """The one that answers, as its server names it."""
        self.reason = ""
        """Why the answer ended, in the word of its server; of several choices, the last one."""
        self.broken = ""
        """The first whole event whose JSON could not be read."""

    @property
    def marked(self) -> bool:
        """The end mark of the dialect was seen."""
        return self._done or self._reader.marked

    @property
    def end(self) -> End:
        return End.MARKED if self.marked else End.CUT

    def feed(self, data: bytes) -> list[Piece]:
        """What these bytes mean, without mere contact. Only EventTooLarge is ever raised."""
        if self._clean and (found := self._alone(data)) is not None:
            return found
        pieces: list[Piece] = []
        if not self._clean:  # as far as to the next border, behind which they may be whole again
            cut = data.find(self._border)
            end = cut + len(self._border) if cut >= 0 else len(data)
            pieces, data = self._decoded(data[:end]), data[end:]
        if self._clean:
            data = self._several(data, pieces)
        try:
            return pieces + self._decoded(data) if data else pieces
        except EventTooLarge:
            if not pieces:
                raise
            return pieces  # first what came before it; the decoder says it again

    def _several(self, data: bytes, pieces: list[Piece]) -> bytes:
        """The whole events at the beginning, each as if it had come alone. Gives back what is left."""
        at = 0
        while not self.marked and (cut := data.find(self._border, at)) >= 0:
            end = cut + len(self._border)
            found = self._alone(data[at:end])
            if found is None:
                break
            pieces += found
            at = end
        return data[at:]

    def _alone(self, data: bytes) -> list[Piece] | None:
        """The common case past the decoder: one whole event, no more and no less. None: it is something else."""
        mould = self.mould
        if mould is not None and mould.kind is not None and (text := mould.text(data, 0, len(data))) is not None:
            if self.more is not None:
                self.more(text)
            return [(mould.kind, text, False)]
        if data == LAST_EVENT:
            self._done = not self._dialect.lines
            return self._learn(data, [])
        pieces = self._line(data) if self._dialect.lines else self._event(data)
        return None if pieces is None else self._learn(data, pieces)

    def _learn(self, data: bytes, pieces: list[Piece]) -> list[Piece]:
        if self.mould is not None:
            self.mould.learn(data, pieces if self._assembly is None or self.more is not None else [])
        return pieces

    def _decoded(self, data: bytes) -> list[Piece]:
        """Any bytes."""
        if self.mould is not None:
            self.mould.kind = None
        self._clean = False
        items = self._decoder.feed(data)
        # Below the limit the decoder cannot be holding back an error.
        self._held += len(data)
        if self._held < EVENT_LIMIT and data.endswith(self._border):
            self._clean = True
            self._held = 0
        return self._pieces(items)

    def close(self) -> list[Piece]:
        """The stream has ended: what was left."""
        self._clean = False
        return self._pieces(self._decoder.close())

    def _event(self, data: bytes) -> list[Piece] | None:
        if not data.endswith(b"\n\n") or len(data) >= EVENT_LIMIT:
            return None
        lines = data.splitlines()
        event = b""
        if len(lines) == 3 and lines[0].startswith(EVENT):
            event = lines[0][AFTER_EVENT:]
            if event == b"error":
                return None
        elif len(lines) != 2:
            return None
        line = lines[-2]
        return self._one(event, line[AFTER_DATA:]) if line.startswith(DATA) else None

    def _line(self, data: bytes) -> list[Piece] | None:
        if not data.startswith(b"{") or data.find(b"\n") != len(data) - 1 or len(data) >= EVENT_LIMIT:
            return None
        return self._one(b"", data)

    def _one(self, event: bytes, data: bytes) -> list[Piece]:
        if self._steady is not None and (steady := self._steady(data)) is not None:
            return [steady]
        try:
            chunk = self._load(data)
        except (ValueError, RecursionError):
            return self._worth(self._patiently(_named(event), data))
        if type(chunk) is not dict:
            return []
        piece = self._read(chunk)
        if piece[0] is None or piece[2] or ERROR in chunk or self._assembly is not None:
            return self._worth(self._judged(_named(event), chunk, piece))
        self.finished = False  # of several choices one had ended, and another goes on
        return [piece]

    def _pieces(self, items: list[Item]) -> list[Piece]:
        pieces: list[Piece] = []
        for item in items:
            if self.marked:
                break  # behind the end mark nobody reads
            if isinstance(item, Event):
                pieces += self._worth(self._take(item.event, item.data, item.complete))
        return pieces

    def _worth(self, piece: Piece) -> list[Piece]:
        return [piece] if piece[0] is not None or piece[2] else []

    def _take(self, event: str, data: str, complete: bool) -> Piece:
        if self._steady is not None and event != ERROR and (steady := self._steady(data)) is not None:
            return steady
        try:
            chunk = self._load(data)
        except (ValueError, RecursionError):
            return self._patiently(event, data, complete)
        return self._judged(event, chunk, self._read(chunk)) if isinstance(chunk, dict) else CONTACT

    def _patiently(self, event: str, data: str | bytes, complete: bool = True) -> Piece:
        """What the quick reader refuses may still be JSON for Python's, and else an end mark or an error in words."""
        try:
            chunk = patient_load(data)
        except (ValueError, RecursionError):
            return self._unread(event, data if isinstance(data, str) else data.decode("utf-8", "replace"), complete)
        return self._judged(event, chunk, self._read(chunk)) if isinstance(chunk, dict) else CONTACT

    def _judged(self, event: str, chunk: Chunk, piece: Piece) -> Piece:
        if piece[2]:
            self._steady = None
        if piece[0] is None or event == ERROR or ERROR in chunk:
            refusal = self._dialect.refusal(event, chunk)
            if refusal is not None:
                self.refusal = self.refusal or refusal
                return CONTACT
        if piece[0] is None or piece[2]:
            self._count(chunk)
            self.model = self.model or answering_in(chunk)
            self.reason = (reason_in(chunk) if piece[2] else "") or self.reason
        if self._assembly is not None:
            self._assembly.add(event, chunk)
            self.more = self._assembly.more(chunk) if self.mould is not None else None
        self.finished = piece[2] or (self.finished and piece[0] is None)
        return piece

    def _count(self, chunk: Chunk) -> None:
        """The server's own count; some tell the prompt's at the beginning and the answer's at the end."""
        told = usage_in(chunk)
        if told is not None:
            known = self.usage or told
            prompt = known.prompt if told.prompt is None else told.prompt
            self.usage = Usage(prompt, known.answer if told.answer is None else told.answer)

    def _unread(self, event: str, text: str, complete: bool) -> Piece:
        if not self._dialect.lines and text.startswith(DONE):
            self._done = True
        elif event == ERROR:
            self.refusal = self.refusal or self._dialect.refusal(event, {"message": text})
        elif complete:
            self.broken = self.broken or text[:LONGEST_SHOWN] or "an empty text"
        return CONTACT


def _named(event: bytes) -> str:
    return event.decode("utf-8", "replace") or MESSAGE
