"""What an answer is worth: one to read as a stream, one to put together, a refusal, something that is not ours."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

from hangtight.core.facts import Broke, Closed, Contact, Content, End, Fact, Left
from hangtight.dialects.chat import complaint
from hangtight.dialects.dialect import Assembly, Body, Unfit
from hangtight.dialects.reading import Piece
from hangtight.dialects.wire import Wire
from hangtight.drivers.http.call import Call, Plan
from hangtight.drivers.servers import OK, is_loading
from hangtight.drivers.session import Session
from hangtight.drivers.sources import EXTENSION
from hangtight.drivers.sse import EventTooLarge
from hangtight.errors import BackendError, Truncated

ASK_AGAIN = 1.0  # seconds between two questions to a server that is loading its model
LAST_WORDS = 0.05  # seconds for the end of a body whose end mark is there, so that its connection can be used again
REFUSED = 400  # and above
REFUSAL_LIMIT = 1024 * 1024
ABOUT_THE_BODY = ("content-length", "content-type", "content-encoding", "transfer-encoding")
JSON = "application/json"
PAGE = "text/html"


class Answer:
    """How one answer is read: its bytes pass as they are, and what they mean goes to the clocks."""

    def __init__(self, call: Call, response: Any) -> None:
        self.call = call
        self.response = response
        self.assembly: Assembly | None = None
        self.wire: Wire | None = None
        headers = {name.lower(): value for name, value in response.headers.raw}
        self._kind = headers.get(b"content-type", b"").decode("latin-1")
        self._unpack = _unpacker(headers.get(b"content-encoding", b""))
        if call.dialect is not None and self._is_stream():
            self.assembly = call.dialect.assembly() if call.plan is Plan.UPGRADED else None
            self.wire = Wire(call.dialect, self.assembly)

    def _is_stream(self) -> bool:
        """Whether it is the stream that was asked for; JSON in its place is a server that does not stream."""
        call, kind = self.call, self._kind
        if self.response.status_code != OK or call.plan not in (Plan.STREAMED, Plan.UPGRADED):
            return False
        lines = call.dialect is not None and call.dialect.lines
        return not kind.startswith(PAGE) and (lines or not kind.startswith(JSON))

    @property
    def is_stream(self) -> bool:
        return self.wire is not None

    @property
    def is_complete(self) -> bool:
        """Nothing more is wanted: the end mark was there, or an error in its place."""
        return self.wire is not None and (self.wire.marked or self.wire.refusal is not None)

    def take(self, session: Session, data: bytes) -> bool:
        """What these bytes say. True where it was noted past `record`, in the fast lane."""
        if self.wire is None:
            session.note(Content() if self.call.plan is Plan.FOREIGN else Contact())
            return False
        try:
            return record(session, self.wire.feed(self._unpack(data)))
        except EventTooLarge as huge:
            raise BackendError(f"{self.call.place} sent what nobody can read: {huge}") from huge

    def close(self, session: Session) -> None:
        """The body has ended; an end without its border may still say something."""
        if self.wire is None:
            return
        try:
            pieces = self.wire.close()
        except EventTooLarge:
            pieces = []
        if pieces:
            record(session, pieces)
        if self.wire.refusal is not None:
            session.note(Broke())

    def end(self) -> End:
        return End.WHOLE if self.wire is None else self.wire.end

    def last_fact(self) -> Fact:
        """What it is when the reader stops here."""
        if self.response.status_code != OK or (self.wire is not None and self.wire.refusal is not None):
            return Broke()
        return Closed(self.wire.end) if self.wire is not None and self.wire.marked else Left()


def record(session: Session, pieces: list[Piece]) -> bool:
    """What one read brought, to the machine; True where that went past `record`, because the fast lane is open."""
    machine = session.machine
    lane = machine.lane
    if not pieces:
        session.receive(None, "", False)
    elif lane is not None and all(kind is lane and not finished for kind, _, finished in pieces):
        machine.since = session.clock()
        machine.waiting = False
        machine.tokens += len(pieces)
        session.parts.extend([text for _, text, _ in pieces if text])
        return True
    else:
        for kind, text, finished in pieces:
            session.receive(kind, text, finished)
    return False


def is_waiting_for_its_model(status: int, body: bytes) -> bool:
    return is_loading(status, body.decode("utf-8", "replace"))


def refusal_of(call: Call, status: int, body: bytes, session: Session) -> BackendError:
    """A refusal, as an error that tells whether another model may be asked."""
    words = complaint(body.decode("utf-8", "replace")) or "no reason given"
    error = BackendError(f"{call.place} refused with {status}: {words}")
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
    status: int = OK
    body: Body
    if wire.refusal is not None:
        status, body = wire.refusal
    else:
        try:
            body = assembly.answer()
        except Unfit as unfit:
            raise _incomplete(wire, session, str(unfit)) from unfit
    kept = [(name, value) for name, value in answer.response.headers.multi_items() if name not in ABOUT_THE_BODY]
    return call.lib.Response(
        status,
        headers=[*kept, ("content-type", JSON)],
        content=json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"),
        request=call.request,
        extensions={"http_version": answer.response.extensions.get("http_version", b"HTTP/1.1"), EXTENSION: session},
    )


def _incomplete(wire: Wire, session: Session, why: str) -> BackendError:
    """Half an answer is no answer for somebody who asked for the whole."""
    if wire.broken:
        error = BackendError(f"{session.machine.model}: the server sent broken JSON: {wire.broken!r}")
    else:
        error = Truncated(f"{session.machine.model}: the answer did not come whole ({why}); what came is in .partial")
    error.elapsed, error.partial = session.elapsed, session.partial
    return error


def _unpacker(encoding: bytes) -> Callable[[bytes], bytes]:
    """We ask for no compression; a server that compresses all the same is read where the standard library can."""
    match encoding.strip().lower():
        case b"gzip" | b"x-gzip" | b"deflate":
            return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress
        case _:
            return bytes
