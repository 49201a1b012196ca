"""The part of a session that reads along: what is collected, when it is looked at, and what the machine is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from hangtight.core.facts import Advised, Content
from hangtight.core.orders import Cancel
from hangtight.core.phases import Phase
from hangtight.core.timers import Timer
from hangtight.drivers.attention import FIRST, IGNORED, NEVER_LOOKED, Attention, Read
from hangtight.drivers.relay import Relay
from hangtight.intent.findings import NOTHING, Act
from hangtight.journal.entries import Kind

if TYPE_CHECKING:
    from hangtight.core.facts import Fact, Progress
    from hangtight.core.orders import Order
    from hangtight.core.time import Instant
    from hangtight.dialects.exchanges import Exchange
    from hangtight.drivers.record import Record
    from hangtight.drivers.session import Session
    from hangtight.drivers.terms import Terms


def _nothing() -> None:
    """There is no alarm to be set."""


def _none() -> bool:
    return False


class Heeding(Relay):
    """What the text says moves the deadline."""

    __slots__ = ("attention", "history", "look_at", "nudge", "others", "prompt", "rang")

    if TYPE_CHECKING:
        terms: Terms
        model: str | None
        record: Record | None
        note: Callable[[Fact], tuple[Order, ...]]
        clock: Callable[[], Instant]
        ring: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self.rang: Cancel | None = None
        self.attention: Attention | None = None
        """Who reads along, where the text may move the deadline."""
        self.look_at = NEVER_LOOKED
        """With so many tokens there is enough new text to be read."""
        self.nudge: Callable[[], object] = _nothing
        """Sets the alarm anew: it may have to ring sooner."""
        self.others: Callable[[], bool] = _none
        """Whether another model may take over now."""
        self.prompt: Callable[[], str] | None = None
        """What was asked, where that is known."""
        self.history: Callable[[], list[Exchange]] | None = None
        """The calls of tools that an agent has made before this request."""

    def _attend(self) -> None:
        """Somebody reads along where that is wanted. What was read before is not forgotten."""
        wanted = self.terms.intent(self.model or "")
        if not wanted.intent.on:
            self.attention, self.look_at = None, NEVER_LOOKED
        elif self.attention is None:
            self.attention = Attention(wanted)
            self.look_at = self.machine.tokens + FIRST
            self._tell_what_was_before(self.attention)
        else:
            self.attention.wanted = wanted

    def _tell_what_was_before(self, attention: Attention) -> None:
        if self.prompt is not None:
            attention.knows(self.prompt)
        if self.chief is not None and self.chief.attention is not None:
            attention.go_on_from(self.chief.attention)
        if self.history is not None and (exchanges := self.history()):
            self._heed(attention, attention.recall(exchanges, self.clock()), may_ask=True)

    def texts(self, kind: type[Progress]) -> list[str]:
        """Where text of this kind is collected: the answer's is the caller's, the rest is only read along."""
        if self.attention is not None:
            return self.attention.texts(kind, self.parts)
        return self.parts if kind is Content else IGNORED

    def look(self) -> None:
        """Read what has come since, and tell the machine what that says about the deadline."""
        beat_at = self.machine.beat_at
        orders = self._advise(may_ask=True)
        self.look_at = NEVER_LOOKED if self.attention is None else self.attention.next_look(self.machine.tokens)
        if self.rang is None and orders and self.machine.due(Timer.TOTAL) <= self.clock():
            self.ring()
        elif orders or self.machine.beat_at < beat_at:
            self.nudge()

    @contextmanager
    def whole_already(self) -> Iterator[None]:
        """The end stands in what is noted meanwhile. A loop at the very end of a finished answer is no error."""
        look_at, self.look_at = self.look_at, NEVER_LOOKED
        try:
            yield
        finally:
            self.look_at = look_at

    def hand_back(self) -> None:
        """What was said beneath, and judged here, is not read once more above: it would look like a repetition."""
        chief = self.chief
        if chief is None or chief.attention is None:
            super().hand_back()
            return
        now = self.clock()
        found = NOTHING if self.attention is None else self.attention.read(self.parts, now, self.machine.flows).found
        with chief.attention.passing_over(chief.parts, found, now):
            super().hand_back()

    def _advise(self, *, may_ask: bool) -> tuple[Order, ...]:
        attention = self.attention
        machine = self.machine
        if attention is None or machine.outcome is not None or machine.phase is Phase.CLOSING:
            return ()
        return self._heed(attention, attention.read(self.parts, self.clock(), machine.flows), may_ask=may_ask)

    def _heed(self, attention: Attention, read: Read, *, may_ask: bool) -> tuple[Order, ...]:
        others = read.found.act is Act.CUT and self.others()
        found = attention.decided(read.found, may_ask=may_ask, others=others)
        # Who is asked is asked outside, for the thread that keeps the clocks must not wait for that.
        with attention.telling:
            if attention.is_past(read) and found.act is not Act.CUT:
                return ()
            before = self.machine.deadline.advice
            if found is before or found == before:  # what a model is at stays the same object, and little is compared
                return ()
            if self.record is not None and found.act is Act.HOLD is not before.act:
                kind = Kind.LET_GO_ON if attention.lets_go_on(found) else Kind.SUSPECTED
                self.record.noted(cast("Session", self), kind, str(found))
            if found.act is Act.HOLD is not before.act and "notify" in attention.wanted.intent.ladder:
                self.machine.tell_soon(self.clock())
            orders = self.note(Advised(found, attention.wanted.intent.shorten))
            self.rang = next((order for order in orders if isinstance(order, Cancel)), self.rang)
            return orders
