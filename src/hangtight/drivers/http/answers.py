"""What an answer is worth: one to read as a stream, one to put together, a refusal, something that is not ours."""

from __future__ import annotations

import json
import zlib
from contextlib import nullcontext
from typing import Any

from hangtight.core.facts import Broke, Closed, Content, End, Fact, Left
from hangtight.dialects.chat import complaint
from hangtight.dialects.dialect import Assembly, Body, Unfit
from hangtight.dialects.reading import Piece, Usage
from hangtight.dialects.sse import EVENT_LIMIT, EventTooLarge
from hangtight.dialects.wire import Wire
from hangtight.drivers.http.call import Call, Plan
from hangtight.drivers.servers import OK, is_loading
from hangtight.drivers.session import Session
from hangtight.drivers.sources import EXTENSION
from hangtight.errors import BackendError, Truncated

ASK_AGAIN = 1.0  # seconds between two questions to a server that is loading its model
LAST_WORDS = 0.05  # seconds for the end of a body whose end mark is there, so that its connection can be used again
REFUSED = 400  # and above
REFUSAL_LIMIT = 16 * 1024 * 1024
ASSEMBLY_LIMIT = 64 * 1024 * 1024
"""Bytes of a stream that is put together: a hundred times the longest answer of a model."""
ABOUT_THE_BODY = ("content-length", "content-type", "content-encoding", "transfer-encoding")
JSON = "application/json"
EVENTS, LINES = b"event-stream", b"ndjson"
HEAD = 2  # bytes
READ = (b"", b"identity", b"gzip", b"x-gzip", b"deflate")
"""The kinds of compression that we can read."""


class Answer:
    """How one answer is read: its bytes pass as they are, and what they mean goes to the clocks."""

    def __init__(self, call: Call, response: Any) -> None:
        self.call = call
        self.response = response
        self.assembly: Assembly | None = None
        self.wire: Wire | None = None
        self.unread = b""
        """Of a stream that was to be put together: what came before the first event."""
        self._unpack: Unpack | None = None
        self._held = 0
        headers = {name.lower(): value for name, value in response.headers.raw}
        dialect, encoding = call.asked.dialect, headers.get(b"content-encoding", b"").strip().lower()
        if dialect is None or response.status_code != OK or call.plan not in (Plan.STREAMED, Plan.UPGRADED):
            return
        kind = headers.get(b"content-type", b"").lower()
        if encoding in READ and (not kind or (LINES if dialect.lines else EVENTS) in kind):
            self._unpack = None if encoding in (b"", b"identity") else Unpack()
            self.assembly = dialect.assembly() if call.plan is Plan.UPGRADED else None
            self.wire = Wire(dialect, self.assembly)

    @property
    def is_stream(self) -> bool:
        """The stream that was asked for; else a server that does not stream, or what nobody here can read."""
        return self.wire is not None

    @property
    def comes_plain(self) -> bool:
        """What is read of it is what came: nothing is unpacked."""
        return self._unpack is None

    @property
    def is_complete(self) -> bool:
        """Nothing more is wanted: the end mark was there, or an error in its place."""
        return self.wire is not None and (self.wire.marked or self.wire.refusal is not None)

    def take(self, session: Session, data: bytes) -> bool:
        """What these bytes say. True where it was noted past `record`, in the fast lane."""
        if self.wire is None:
            if self.is_refusal:
                session.hear()
            else:
                session.note(Content())  # we cannot see into it, so we believe that it is content
            return False
        try:
            if self._unpack is not None:
                data = self._unpack(data)
            pieces = self.wire.feed(data)
        except (EventTooLarge, Unreadable) as error:
            raise BackendError(f"{self.call.asked.place} sent what nobody can read: {error}") from error
        in_lane = record(session, pieces, ends=self.is_complete)
        if self.assembly is not None:
            self.holds(len(data))
            self.unread = b"" if session.machine.tokens or len(self.unread) > REFUSAL_LIMIT else self.unread + data
        return in_lane

    def holds(self, more: int) -> None:
        """So much more stands in the memory of what is put together. Raises BackendError where that is too much."""
        self._held += more
        if self._held > ASSEMBLY_LIMIT:
            said = f"{ASSEMBLY_LIMIT} bytes came of what was asked for whole"
            raise BackendError(f"{self.call.asked.place} answers without end: {said}")

    def close(self, session: Session) -> None:
        """The body has ended; an end without its border may still say something."""
        if self.wire is None:
            if self.is_refusal:
                session.note(Broke())
            return
        try:
            pieces = self.wire.close()
        except EventTooLarge:
            pieces = []
        if pieces:
            record(session, pieces, ends=True)
        if self.wire.refusal is not None:
            session.note(Broke())

    @property
    def is_refusal(self) -> bool:
        """The server's no. It goes to the caller as it is, and is no answer of a model."""
        return bool(self.response.status_code >= REFUSED)

    @property
    def usage(self) -> Usage | None:
        return self.wire.usage if self.wire is not None else None

    def end(self) -> End:
        if self.wire is None or (self.unread and _whole_after_all(self)):
            return End.WHOLE
        return self.wire.end

    def last_fact(self) -> Fact:
        """What it is when the reader stops here."""
        if self.response.status_code != OK or (self.wire is not None and self.wire.refusal is not None):
            return Broke()
        return Closed(self.wire.end) if self.wire is not None and self.wire.marked else Left()


def record(session: Session, pieces: list[Piece], *, ends: bool) -> bool:
    """What one read brought, to the machine; True where that went past `record`, because the fast lane is open."""
    if not pieces:
        session.receive(None, "", False)
    elif not ends and _past_record(session, pieces):
        return True
    else:
        over = ends or any(finished for _, _, finished in pieces)
        with session.whole_already() if over else nullcontext():
            for piece in pieces:
                if not _past_record(session, [piece]):
                    session.receive(*piece)
    return False


def _past_record(session: Session, pieces: list[Piece]) -> bool:
    """More of what flows already, written as the fast lane may; False for anything else."""
    machine = session.machine
    lane = machine.lane
    if lane is None or not _are_steady(pieces, lane):
        return False
    now = session.clock()
    machine.longest = max(machine.longest, now - machine.since)
    machine.since = now
    machine.waiting = False
    machine.tokens += len(pieces)
    session.texts(lane).extend([text for _, text, _ in pieces if text])
    if machine.tokens >= session.look_at:
        session.look()
    return True


def _are_steady(pieces: list[Piece], lane: type) -> bool:
    if len(pieces) == 1:
        kind, _, finished = pieces[0]
        return kind is lane and not finished
    return all(kind is lane and not finished for kind, _, finished in pieces)


def is_waiting_for_its_model(status: int, body: bytes) -> bool:
    return is_loading(status, body.decode("utf-8", "replace"))


def refusal_of(call: Call, status: int, body: bytes, session: Session) -> BackendError:
    """A refusal, as an error that tells whether another model may be asked."""
    words = complaint(body.decode("utf-8", "replace")) or "no reason given"
    error = BackendError(f"{call.asked.place} refused with {status}: {words}")
    error.status, error.elapsed = status, session.elapsed
    return error


def failed_early(call: Call, answer: Answer, session: Session) -> None:
    """An error event in place of a token: another model may be asked, or the event reaches the client as it is."""
    wire = answer.wire
    if wire is None or wire.refusal is None or not call.attempts.may_change:
        return
    status, body = wire.refusal
    call.refused(refusal_of(call, status, json.dumps(body).encode(), session), session)


def assembled(call: Call, answer: Answer, session: Session) -> Any:
    """The stream, as the response that the server would have given to the request as it was."""
    wire, assembly = answer.wire, answer.assembly
    assert wire is not None, "only a stream is put together"
    assert assembly is not None
    status, content = OK, b""
    if wire.refusal is not None:
        status, content = wire.refusal.status, _written(wire.refusal.body)
    else:
        try:
            if wire.broken:
                raise Unfit("an event of it cannot be read")
            content = _written(assembly.answer())
        except Unfit as unfit:
            content = _whole_after_all(answer)
            if not content:
                raise _incomplete(wire, session, str(unfit)) from unfit
            call.answered(streamed=False)
    kept = [(name, value) for name, value in answer.response.headers.multi_items() if name not in ABOUT_THE_BODY]
    return call.lib.Response(
        status,
        headers=[*kept, ("content-type", JSON), ("content-length", str(len(content)))],
        stream=call.lib.ByteStream(content),
        extensions={"http_version": answer.response.extensions.get("http_version", b"HTTP/1.1"), EXTENSION: session},
    )


def _written(body: Body) -> bytes:
    return json.dumps(body).encode()


def _whole_after_all(answer: Answer) -> bytes:
    """Some servers do not stream and do not say so: then one JSON object is all that came."""
    try:
        found = json.loads(answer.unread) if answer.unread else None
        return answer.unread if isinstance(found, dict) and not (answer.wire and answer.wire.finished) else b""
    except (ValueError, RecursionError):
        return b""


def _incomplete(wire: Wire, session: Session, why: str) -> BackendError:
    """Half an answer is no answer for somebody who asked for the whole."""
    if wire.broken:
        error = BackendError(f"{session.machine.model}: the server sent broken JSON: {wire.broken!r}")
    else:
        error = Truncated(f"{session.machine.model}: the answer did not come whole ({why}); what came is in .partial")
    error.elapsed, error.partial = session.elapsed, session.partial
    return error


class Unreadable(ValueError):
    """Compressed bytes that are none, or far too many."""


class Unpack:
    """We ask for no compression; a server that compresses all the same is read with the standard library."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._is_first = True
        self._head = b""

    def __call__(self, data: bytes) -> bytes:
        try:
            return self._inflated(data)
        except zlib.error as error:
            raise Unreadable(f"its compression is broken ({error})") from error

    def _inflated(self, data: bytes) -> bytes:
        found = b""
        if self._is_first:  # two bytes tell which kind it is
            data, self._head = self._head + data, b""
            if len(data) < HEAD:
                self._head = data
                return b""
        while data:
            try:
                found += self._inflate.decompress(data, EVENT_LIMIT)
            except zlib.error:
                if not self._is_first:
                    raise
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)  # deflate without its header, as some send it
                found += self._inflate.decompress(data, EVENT_LIMIT)
            self._is_first = False
            if self._inflate.unconsumed_tail or len(found) > EVENT_LIMIT:
                raise Unreadable(f"one piece of it is larger than {EVENT_LIMIT} bytes")
            data = self._inflate.unused_data
            if data:
                self._inflate, self._is_first = zlib.decompressobj(zlib.MAX_WBITS | 32), True
        return found
