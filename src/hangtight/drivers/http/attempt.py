"""The course of one call, told once for both kinds of client: each step is a function to be called, or awaited.

A generator yields what is to be done next and gets back what came of it, or the error. What differs between a thread
and a loop is in the `Reading` that does it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from hangtight.core.facts import Absent, Broke, Contact, Fact, Handed, Ready, Whole
from hangtight.core.time import Instant
from hangtight.core.timers import Timer
from hangtight.drivers.http.answers import (
    ASK_AGAIN,
    LAST_WORDS,
    REFUSED,
    Answer,
    assembled,
    failed_early,
    is_waiting_for_its_model,
    refusal_of,
)
from hangtight.drivers.http.call import Again, Call, Plan
from hangtight.drivers.servers import OK, UNAVAILABLE
from hangtight.drivers.sources import EXTENSION

Step = Callable[[], Any]
Course = Generator[Step, Any, Any]

MODEL = "x-hangtight-model"
RETRY = "x-should-retry"


class Reading(ABC):
    """One attempt under its clocks. A thread's and a loop's kind of it do what is different; here that is Any."""

    @abstractmethod
    def send(self, pool: float | None) -> Any:
        """The head of the answer."""

    @abstractmethod
    def collect(self, response: Any) -> Any:
        """A short body, whole."""

    @abstractmethod
    def nap(self, seconds: float) -> Any:
        """Wait before the server is asked again."""

    @abstractmethod
    def read(self) -> Any:
        """The next bytes; None at the end. Raises what the end is for the caller."""

    @abstractmethod
    def leave(self) -> Any:
        """Nobody reads on. The connection is closed, unless it was read to its end."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.session = call.session()
        self.answer: Answer | None = None
        self.stream: Any = None
        """The body as the network gives it."""
        self.over = False
        self._left_at: Instant | None = None
        self.in_lane = False
        """The last bytes were progress, past `record`: so is the next question."""

    def begins(self, response: Any) -> Answer:
        """The head is there, and its body can be read."""
        self.answer, self.stream = Answer(self.call, response), response.stream
        self.session.end_of_source = self.answer.end
        if self.answer.is_refusal:
            self.session.failure = f"HTTP {response.status_code}"
        return self.answer

    def ask(self) -> None:
        """Somebody waits for the next bytes."""
        machine = self.session.machine
        if self.in_lane and machine.lane is not None:
            machine.since = self.session.clock()
            machine.waiting = True
        else:
            self.session.ask()

    def count(self) -> None:
        """What the server has counted."""
        self.session.usage = self.answer.usage if self.answer is not None else None

    def hears_last_words(self) -> bool:
        """After the end mark the rest of a body is read, but only for a moment in all."""
        if self.answer is None or not self.answer.is_complete:
            return False
        now = self.session.clock()
        self._left_at = now if self._left_at is None else self._left_at
        return now - self._left_at < LAST_WORDS

    def last_fact(self) -> Fact:
        """What it is when the reader stops here."""
        return Broke() if self.answer is None else self.answer.last_fact()

    @property
    def is_late(self) -> bool:
        """Nothing is left of the time of this call: it need not begin."""
        machine = self.session.machine
        return machine.due(Timer.TOTAL) <= self.session.clock()


def course(call: Call, begin: Callable[[], Reading], body: Callable[[Any, list[bytes]], Any]) -> Course:
    """Answer a request: by the model that it asks, or by one that stands in for it."""
    while True:
        reading = begin()
        try:
            return (yield from _attempt(call, reading, body))
        except Again:
            yield reading.leave
        except Exception as error:
            yield reading.leave
            if not call.goes_on(error, reading.session):
                raise


def _attempt(call: Call, reading: Reading, body: Callable[[Any, list[bytes]], Any]) -> Course:
    response = yield from _head(call, reading)
    answer, session = reading.begins(response), reading.session
    if response.status_code >= REFUSED and call.may_ask_again(response.status_code):
        return (yield from _refusal(call, reading, response))
    if response.status_code == OK:
        call.answered(streamed=answer.is_stream)
    if call.plan is Plan.UPGRADED and answer.is_stream:
        while not answer.is_complete and (yield reading.read) is not None:
            pass
        yield reading.leave
        failed_early(call, answer, session)
        return _marked(call, assembled(call, answer, session))
    if call.plan in (Plan.STREAMED, Plan.UPGRADED) and not answer.is_stream:
        session.note(Whole())
    early: list[bytes] = []
    if call.attempts.may_change and answer.is_stream:
        while not session.machine.tokens and not answer.is_complete and (data := (yield reading.read)) is not None:
            early.append(data)
        failed_early(call, answer, session)
    session.note(Handed())
    if hasattr(response, "_content"):  # the answer of a mock is read already: nobody will read its stream
        while (yield reading.read) is not None:
            pass
    call.attempts.delivered = True
    response.stream = body(reading, early)
    response.extensions[EXTENSION] = session
    return _marked(call, response)


def _head(call: Call, reading: Reading) -> Course:
    """The head of the answer; a server that loads its model is asked again until it has."""
    session, loading = reading.session, False
    while True:
        response = yield partial(reading.send, None)
        if response.status_code != UNAVAILABLE or call.asked.dialect is None:
            break
        body = yield partial(reading.collect, response)
        if not is_waiting_for_its_model(response.status_code, body):
            response.stream = call.lib.ByteStream(body)
            break
        session.note(Contact() if loading else Absent())
        loading = True
        yield partial(reading.nap, ASK_AGAIN)
    if loading:
        session.note(Ready())
    return response


def _refusal(call: Call, reading: Reading, response: Any) -> Course:
    """Something else is tried, or the client above gets the refusal as it is."""
    body = yield partial(reading.collect, response)
    reading.session.note(Broke())
    yield reading.leave
    call.refused(refusal_of(call, response.status_code, body, reading.session), reading.session)
    response.stream = call.lib.ByteStream(body)
    return _marked(call, response)


def _marked(call: Call, response: Any) -> Any:
    """Who answered, where it is not who was asked."""
    if call.attempts.model != call.asked.model or call.attempts.told:
        response.headers[MODEL] = call.attempts.model
        if response.status_code >= REFUSED:
            response.headers[RETRY] = "false"  # all of them were asked: an SDK shall not begin anew
    return response
