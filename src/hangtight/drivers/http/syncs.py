"""The synchronous client: the caller's own thread waits and keeps the clocks. No other is needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from hangtight.core.facts import Cancelled, Left
from hangtight.drivers import clock
from hangtight.drivers.helper import Abandoned, Rang
from hangtight.drivers.http.answers import LAST_WORDS, REFUSAL_LIMIT
from hangtight.drivers.http.attempt import Course, Reading, course
from hangtight.drivers.http.call import Call, Settings
from hangtight.drivers.http.memory import Look, wanted_by
from hangtight.drivers.http.sdk import dressed
from hangtight.drivers.http.vigil import HERE, Moment, Vigil
from hangtight.errors import HangtightError

Send = Callable[[Any], Any]


class SyncReading(Reading):
    """One attempt whose clocks are kept by the thread that waits."""

    def __init__(self, call: Call, send: Send) -> None:
        super().__init__(call)
        self.vigil = Vigil(self.session)
        self._send = send
        self._step: Callable[[], bytes] | None = None
        if (wanted := wanted_by(call)) is not None:
            self.vigil.look = Look(*wanted, self.session.note, self.session.clock())

    def send(self, pool: float | None) -> Any:
        return self._guarded(self._sent)

    def _sent(self) -> Any:
        if self.session.rang is not None:
            raise Rang
        if self.is_late:
            self.vigil.ring(self.session.clock())
        send = self._send
        return self.vigil.once(
            lambda left: send(self.call.to_send(self.session, left)),
            self.call.lib.PoolTimeout,
            self.call.timeout.get("pool"),
        )

    def collect(self, response: Any) -> bytes:
        return bytes(self._guarded(lambda: _collected(response.stream)))

    def nap(self, seconds: float) -> None:
        until = self.session.clock() + seconds

        def doze(most: float) -> None:
            left = until - self.session.clock()
            clock.sleep(min(max(left, 0.0), most))
            if left > most:
                raise TimeoutError

        self._guarded(lambda: self.vigil.until_it_is_there(doze, TimeoutError))

    def _guarded(self, work: Callable[[], Any]) -> Any:
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
        raise Rang

    def read(self) -> bytes | None:
        session, answer = self.session, self.answer
        if self.over or answer is None:
            return None
        if self._step is None:
            self._step = iter(self.stream).__next__
        if answer.is_complete:
            return self._last_words(self._step)
        if session.rang is not None:
            self._end()
        self.ask()
        before, HERE.vigil = HERE.vigil, self.vigil
        try:
            data = self._step()
            self.in_lane = answer.take(session, data)
            return data
        except BaseException as error:
            HERE.vigil = before
            if not self._ended(error):
                raise
        finally:
            HERE.vigil = before
        session.settle()
        return None

    def _last_words(self, step: Callable[[], bytes]) -> bytes | None:
        """Behind the end mark, for a moment: a connection whose body was read to its end can be used again."""
        if self.hears_last_words():
            before, HERE.vigil = HERE.vigil, Moment(LAST_WORDS)
            try:
                return step()
            except (StopIteration, self.call.lib.ReadTimeout):
                pass
            finally:
                HERE.vigil = before
        self._left()
        return None

    def leave(self) -> None:
        if self.over:
            return
        try:
            while self.hears_last_words() and self.read() is not None:
                pass
        except Exception:  # noqa: BLE001 - the answer is whole; how its connection ends is nobody's concern
            pass
        finally:
            self._left()

    def _left(self) -> None:
        if not self.over:
            self.session.note(self.last_fact())
            self._ended(None)

    def _end(self) -> None:
        self._ended(None)
        self.session.settle()

    def _ended(self, error: BaseException | None) -> bool:
        """True where the end is for `settle` to judge: the source's own end, or one that we made."""
        self.over = True
        try:
            return self._judge(error)
        finally:
            self.count()
            self.vigil.close()
            if self.stream is not None:
                self.stream.close()
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
                return session.judge(error)


def _collected(stream: Any) -> bytearray:
    body = bytearray()
    for data in stream:
        body += data
        if len(body) > REFUSAL_LIMIT:
            break
    stream.close()
    return body


def followed(course: Course) -> Any:
    """Do what the course of a call asks for, one step after the other, to its response."""
    try:
        step = next(course)
        while True:
            try:
                answer = step()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the course to judge
                step = course.throw(error)
            else:
                step = course.send(answer)
    except StopIteration as done:
        return done.value


@cache
def body_kind(lib: Any) -> Callable[[SyncReading, list[bytes]], Any]:
    """The body of a response, of this library's own base class."""

    class Body(lib.SyncByteStream):  # type: ignore[misc]
        def __init__(self, reading: SyncReading, early: list[bytes]) -> None:
            self.reading = reading
            self.early = early

        def __iter__(self) -> Body:
            return self

        def __next__(self) -> bytes:
            if self.early:
                return self.early.pop(0)
            try:
                data = self.reading.read()
            except HangtightError as error:
                raise self.reading.call.for_the_caller(error) from error.__cause__
            if data is None:
                raise StopIteration
            return data

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
                call = Call(lib, request, self.settings, clock.OURS)
                return followed(course(call, partial(SyncReading, call, self.inner.handle_request), body_kind(lib)))
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
