"""The synchronous transport: the caller's own thread waits and keeps the clocks; there is no other."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from hangtight.core.facts import Absent, Broke, Cancelled, Contact, Handed, Left, Ready
from hangtight.drivers import clock
from hangtight.drivers.helper import Abandoned, Rang
from hangtight.drivers.http.answers import (
    ASK_AGAIN,
    LAST_WORDS,
    REFUSAL_LIMIT,
    REFUSED,
    Answer,
    assembled,
    failed_early,
    is_waiting_for_its_model,
    refusal_of,
)
from hangtight.drivers.http.call import Again, Call, Plan, Settings
from hangtight.drivers.http.memory import Look, base_of
from hangtight.drivers.http.sdk import dressed
from hangtight.drivers.http.vigil import HERE, Moment, Vigil
from hangtight.drivers.servers import OK, UNAVAILABLE
from hangtight.drivers.sources import EXTENSION
from hangtight.errors import HangtightError

if TYPE_CHECKING:
    from collections.abc import Iterable

Send = Callable[[], Any]


class Reading:
    """One attempt under its clocks: asked for, read, and closed at any end."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.session = call.session()
        self.vigil = Vigil(self.session)
        self.answer: Answer | None = None
        self.over = False
        self._in_lane = False
        """The last bytes were progress, past `record`: so is the next question."""
        self._stream: Any = None
        self._step: Callable[[], bytes] | None = None
        if (base := base_of(call)) is not None:
            self.vigil.look = Look(base, call.attempts.model, self.session.note, self.session.clock())

    # -- the head ---------------------------------------------------------------------------------------------

    def open(self, send: Send) -> Answer:
        """The head of the answer; a server that loads its model is asked again until it has."""
        loading = False
        while True:
            response = self.guarded(send)
            if response.status_code != UNAVAILABLE or self.call.dialect is None:
                break
            body = self.guarded(partial(collected, response.stream))
            if not is_waiting_for_its_model(response.status_code, body):
                response.stream = self.call.lib.ByteStream(body)
                break
            self.session.note(Contact() if loading else Absent())
            loading = True
            self.guarded(self._wait)
        if loading:
            self.session.note(Ready())
        self._stream = response.stream
        self._step = iter(response.stream).__next__
        self.answer = Answer(self.call, response)
        self.session.end_of_source = self.answer.end
        return self.answer

    def _wait(self) -> None:
        """Until the server is asked again; alarms ring meanwhile."""
        until = self.session.clock() + ASK_AGAIN

        def nap(seconds: float) -> None:
            left = until - self.session.clock()
            clock.sleep(min(max(left, 0.0), seconds))
            if left > seconds:
                raise TimeoutError

        self.vigil.until_it_is_there(nap, TimeoutError)

    def guarded(self, work: Callable[[], Any]) -> Any:
        """What this work gives, while the clocks run."""
        before, HERE.vigil = HERE.vigil, self.vigil
        try:
            return work()
        except BaseException as error:
            HERE.vigil = before
            if not self._ended(error):
                raise
        finally:
            HERE.vigil = before
        self.session.settle()
        raise StopIteration

    # -- the body ---------------------------------------------------------------------------------------------

    def read(self) -> bytes:
        """The next bytes. Raises StopIteration at the end, or what the end is for the caller."""
        session, answer, step = self.session, self.answer, self._step
        if self.over or answer is None or step is None:
            raise StopIteration
        machine = session.machine
        if self._in_lane and machine.lane is not None:
            machine.since = session.clock()
            machine.waiting = True
        else:
            session.ask()
        before, HERE.vigil = HERE.vigil, self.vigil
        try:
            data = step()
            self._in_lane = answer.take(session, data)
            return data
        except BaseException as error:
            HERE.vigil = before
            if not self._ended(error):
                raise
        finally:
            HERE.vigil = before
        session.settle()
        raise StopIteration

    def until_a_token(self) -> list[bytes]:
        """What comes before the first token, and that: until then another model may take over."""
        early: list[bytes] = []
        while not self.over and not self.session.machine.tokens:
            try:
                early.append(self.read())
            except StopIteration:
                break
            if self.answer is not None and self.answer.is_complete:
                break
        return early

    def through(self) -> None:
        """Read all of it, as far as its end mark."""
        answer = self.answer
        assert answer is not None, "the head comes first"
        while not answer.is_complete:
            try:
                self.read()
            except StopIteration:
                return
        self.leave()

    # -- the end ----------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Nobody reads on. The connection is closed, unless it was read to its end."""
        if not self.over:
            self._hear_the_last_words()
            self.session.note(self.answer.last_fact() if self.answer is not None else Broke())
            self._ended(None)

    def _hear_the_last_words(self) -> None:
        """Behind the end mark, for a moment: a connection whose body was read to its end can be used again."""
        if self.answer is None or self._step is None or not self.answer.is_complete:
            return
        before, HERE.vigil = HERE.vigil, Moment(LAST_WORDS)
        try:
            while True:
                self._step()
        except Exception:  # noqa: BLE001 - the answer is whole; how its connection ends is nobody's concern
            pass
        finally:
            HERE.vigil = before

    def _ended(self, error: BaseException | None) -> bool:
        """True where the end is for `settle` to judge: the source's own end, or one that we made."""
        self.over = True
        try:
            return self._judge(error)
        finally:
            self.vigil.close()
            if self._stream is not None:
                self._stream.close()
            self.session.close()

    def _judge(self, error: BaseException | None) -> bool:
        session = self.session
        match error:
            case None | Rang():
                return True
            case StopIteration():
                if self.answer is not None:
                    self.answer.close(session)
                return True
            case GeneratorExit() | Abandoned():
                session.note(Left())
                return False
            case KeyboardInterrupt():
                session.note(Cancelled())
                return False
            case _:
                if session.rang is None:
                    session.broke(error)
                return session.rang is not None


def collected(stream: Iterable[bytes]) -> bytes:
    """A short body, whole."""
    body = bytearray()
    for data in stream:
        body += data
        if len(body) > REFUSAL_LIMIT:
            break
    stream.close()  # type: ignore[attr-defined]
    return bytes(body)


def handle(lib: Any, send: Callable[[Any], Any], settings: Settings, request: Any) -> Any:
    """Answer one request of a client: by the model it asks, or by one that stands in for it."""
    call = Call(lib, request, settings, clock.OURS)
    while True:
        reading = Reading(call)
        try:
            return _attempt(call, reading, lambda: send(call.to_send()))
        except Again:
            reading.leave()
        except Exception as error:
            if not call.goes_on(error, reading.session):
                raise
            reading.leave()


def _attempt(call: Call, reading: Reading, send: Send) -> Any:
    answer = reading.open(send)
    response = answer.response
    if response.status_code >= REFUSED and call.may_ask_again(response.status_code):
        body = reading.guarded(lambda: collected(response.stream))
        reading.leave()
        call.refused(refusal_of(call, response.status_code, body, reading.session), reading.session)
        response.stream = call.lib.ByteStream(body)
        return response
    if response.status_code == OK:
        call.answered(streamed=answer.is_stream)
    if call.plan is Plan.UPGRADED and answer.is_stream:
        reading.through()
        failed_early(call, answer, reading.session)
        return assembled(call, answer, reading.session)
    early: list[bytes] = []
    if call.attempts.may_change and answer.is_stream:
        early = reading.until_a_token()
        failed_early(call, answer, reading.session)
    reading.session.note(Handed())
    response.stream = body_kind(call.lib)(reading, early)
    response.extensions[EXTENSION] = reading.session
    return response


@cache
def body_kind(lib: Any) -> Callable[[Reading, list[bytes]], Any]:
    """The body of a response, of this library's own base class."""

    class Body(lib.SyncByteStream):  # type: ignore[misc]
        def __init__(self, reading: Reading, early: list[bytes]) -> None:
            self.reading = reading
            self.early = early

        def __iter__(self) -> Body:
            return self

        def __next__(self) -> bytes:
            if self.early:
                return self.early.pop(0)
            try:
                return self.reading.read()
            except HangtightError as error:
                raise self.reading.call.for_the_caller(error) from error.__cause__

        def close(self) -> None:
            self.reading.leave()

    return Body


@cache
def transport_kind(lib: Any) -> Any:
    """The transport, of this library's own base class."""

    class Transport(lib.BaseTransport):  # type: ignore[misc]
        """A synchronous transport that keeps the time contract."""

        def __init__(self, inner: Any, settings: Settings) -> None:
            self.inner = inner
            self.settings = settings

        def handle_request(self, request: Any) -> Any:
            try:
                return handle(lib, self.inner.handle_request, self.settings, request)
            except HangtightError as error:
                raise dressed(error, request.headers) from error.__cause__

        def __enter__(self) -> Transport:
            self.inner.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            self.inner.__exit__(*error)

        def close(self) -> None:
            self.inner.close()

    return Transport
