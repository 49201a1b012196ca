"""One watched generation between its machine and the world: what both the async and the sync driver need."""

from __future__ import annotations

import weakref
from threading import Lock
from typing import TYPE_CHECKING, Any

from hangtight.core.facts import (
    Broke,
    Calling,
    Closed,
    Content,
    End,
    Fact,
    Finished,
    Handed,
    PrefillProgress,
    Reasoning,
    Resident,
)
from hangtight.core.generation import Generation
from hangtight.core.orders import Cancel, Excused, Moved, Order
from hangtight.core.phases import Phase
from hangtight.core.timers import Timer
from hangtight.dialects.pieces import Kind, Reader, model_of, reader_for
from hangtight.drivers import warmth
from hangtight.drivers.faults import failure_of
from hangtight.drivers.handover import WITNESS
from hangtight.drivers.heeding import Heeding
from hangtight.drivers.sources import Origin
from hangtight.drivers.standing import recorder
from hangtight.drivers.tap import Tapped, tap
from hangtight.drivers.verdicts import verdict
from hangtight.drivers.whys import how_to_keep, with_why
from hangtight.errors import BackendError, BudgetSpent

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.core.heartbeat import Heartbeat
    from hangtight.core.layers import Resolved
    from hangtight.core.time import Instant
    from hangtight.dialects.reading import Usage
    from hangtight.drivers.clock import Timepiece
    from hangtight.drivers.record import Record
    from hangtight.drivers.terms import Terms

UNKNOWN = "the model"


def _unheard(move: Moved) -> None:
    """Nobody wants to know."""


class Session(Heeding):
    """One generation under way. The machine is made when the clocks start, not before."""

    __slots__ = (
        "__weakref__",
        "clock",
        "end_of_source",
        "excused",
        "host",
        "left_running",
        "lock",
        "machine",
        "model",
        "on_heartbeat",
        "on_moved",
        "parts",
        "place",
        "reader",
        "record",
        "remembers",
        "resolved",
        "tapped",
        "terms",
        "usage",
    )

    def __init__(
        self,
        terms: Terms,
        timepiece: Timepiece,
        *,
        model: str | None = None,
        on_heartbeat: Callable[[Heartbeat], object] | None = None,
        phase: Phase = Phase.WAITING,
        host: str | None = "",
    ) -> None:
        super().__init__()
        self._admit(terms, model or "")
        self.terms = terms
        self.clock, self.place = timepiece
        self.on_heartbeat = on_heartbeat
        """Whose clock it is: instants of a virtual loop mean nothing elsewhere."""
        self.remembers = host is not None
        """What gave tokens lately is in memory now; not so for a process, which loads anew each time."""
        self.model = model
        self.host = host or ""
        self.parts: list[str] = []
        self.reader: Reader | None = None
        self.tapped: Tapped | None = None
        self.end_of_source: Callable[[], End] | None = None
        self.usage: Usage | None = None
        """How long prompt and answer are, as the server counts them; known to clients of ours."""
        self.on_moved: Callable[[Moved], object] = _unheard
        """Told when the text has moved the deadline."""
        self.left_running = False
        self.excused = 0.0
        self.record: Record | None = None
        self.lock = Lock()
        now = self.clock()
        warm = True if self._is_warm(now) else None
        self.resolved = terms.resolved(warm, self._is_heard, model or "")
        phase = Phase.LOADING if self.resolved.absent else phase
        self.machine = Generation(self.resolved.clocks, now, phase=phase, model=model or UNKNOWN)
        self.machine.asked(now)

    @staticmethod
    def _admit(terms: Terms, model: str) -> None:
        try:
            terms.admit(model)
        except BudgetSpent as spent:
            keeping = recorder()
            told = how_to_keep()
            if keeping is not None:
                from hangtight.drivers.record import not_begun

                told = not_begun(terms, model, keeping)
            spent.__notes__[-1] = with_why(spent.__notes__[-1], told)
            raise

    def begin(self, *, before: Session | None = None, born: Instant | None = None) -> Session:
        """It runs now. The call began at `born`, if that was earlier; `before` is the attempt before this one."""
        machine = self.machine
        if born is not None and born < machine.born:
            if self.terms.share is not None:
                self.resolved = self._resolved(machine.born - born - machine.given_back)
                machine.clocks = self.resolved.clocks
            machine.date_back(born)
        if before is not None:
            self.call, self.replaces = before.call, before.failed_as
            if before.deputy is not None:
                self.call = before.deputy.call
        if self.terms.situation.generates:
            self._keep_record()
            self._attend()
            if (witness := WITNESS.get()) is not None:
                witness(self)
        return self

    def _keep_record(self, began: Instant | None = None) -> None:
        keeping = recorder()
        if keeping is not None:
            from hangtight.drivers.record import Record

            self.record = Record(self, keeping, began)
            self.call = self.record.call

    def _resolved(self, spent: float) -> Resolved:
        warm = None if self.machine.clocks.late else True
        return self.terms.resolved(warm, self._is_heard, self.model or "", spent)

    @property
    def _is_heard(self) -> bool:
        """Somebody is to be told of heartbeats: a listener, or the journal."""
        return self.on_heartbeat is not None or recorder() is not None

    def _is_warm(self, now: Instant) -> bool:
        return self.remembers and bool(self.model) and warmth.is_warm((self.place, self.model or ""), self.host, now)

    def renew(self, terms: Terms) -> None:
        """Other terms hold from now on: a watch was put around a stream that is open already."""
        self.terms = terms
        now = self.clock()
        self.resolved = self._resolved(now - self.machine.born - self.machine.given_back)
        with self.lock:
            self.machine.renew(self.resolved.clocks, now)
        if terms.situation.generates:
            self._attend()

    # -- facts ------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Somebody waits for the next piece."""
        with self.lock:
            if self.machine.phase is not Phase.ENDED:
                self.machine.asked(self.clock())

    def hear(self) -> None:
        """Bytes without content came and were handed on."""
        with self.lock:
            if self.machine.phase is not Phase.ENDED:
                self.machine.heard(self.clock())

    def note(self, fact: Fact) -> tuple[Order, ...]:
        """Record a fact now. What it orders has already been seen to, except what only a driver can do."""
        with self.lock:
            if self.machine.phase is Phase.ENDED:
                return ()
            orders = self.machine.record(fact, self.clock())
        self._learn_from(orders)
        if self.record is not None:
            self.record.happened(fact, self)
            self.record.ordered(orders, self)
        return orders

    def _learn_from(self, orders: tuple[Order, ...]) -> None:
        for order in orders:
            if isinstance(order, Excused):
                self.excused += order.late
            elif isinstance(order, Moved):
                self.on_moved(order)

    def opened(self, source: object) -> Origin:
        """The stream is open: learn from it what can be learnt."""
        if (attach := getattr(source, "attach", None)) is not None:
            attach(self.note)
            self.end_of_source = getattr(source, "end", None)
        self.prompt = getattr(source, "last_prompt", self.prompt)
        if self.attention is not None and self.prompt is not None:
            self.attention.knows(self.prompt)
        origin = Origin(source)
        if origin.session is not None and not self.stands_aside:
            inner: Session = origin.session
            inner.on_heartbeat = self.on_heartbeat or inner.on_heartbeat
            inner.renew(self.terms.on_top_of(inner.terms, silent=not self.tokens))
            inner.hand[0]()  # its alarm may have to ring sooner now
            inner.hand[1]()
            inner.take_over(self)
        if self.stands_aside:
            return origin
        self.lends = origin.response is None and not hasattr(source, "attach")
        self.host = self.host or origin.host or getattr(source, "host", "")
        self._is(origin.model)
        if self._is_warm(self.clock()):
            self.note(Resident())
        if origin.response is not None:
            self.tapped = tap(origin.response, self._contact)
        return origin

    def lent(self) -> weakref.ref[Session] | None:
        """What a client of ours finds beneath, while this source may ask models through it."""
        return weakref.ref(self) if self.lends else None

    def _contact(self) -> None:
        """Bytes went by beneath. Written past `record`, like the fast lane: it decides nothing."""
        self.machine.contact_at = self.clock()

    def _is(self, model: str | None) -> None:
        if model and not self.model:
            self.model = self.machine.model = model
            if self.terms.settings.matching(model):
                self.renew(self.terms)
            if self.record is not None:
                self.record.named(self)

    def kind_of(self, chunk: Any) -> tuple[Kind, str, bool]:
        """Read a chunk whose type the current reader is not made for (the first, or a change of type)."""
        known = self.reader
        if known is None or known.type is not type(chunk):
            found = reader_for(chunk, known)
            if known is not None and found is not known and known.says_finish and not found.says_finish:
                return found.read(chunk)  # one odd chunk in a stream whose dialect is known
            known = self.reader = found
            self._is(model_of(chunk))
        return known.read(chunk)

    def receive(self, kind: Kind, text: str, finished: bool) -> Callable[[str], None]:
        """A chunk came that the fast lane does not take. Returns what keeps the text of those that it may take now."""
        if kind is None:
            self.hear()
        else:
            self.note(kind())
        if kind is PrefillProgress:
            self.note(Handed())
        if text and (kind is Content or kind is Reasoning or kind is Calling):
            self.texts(kind).append(text)
        if finished:
            self.note(Finished())
        elif self.machine.tokens >= self.look_at:
            self.look()
        return self.texts(self.machine.flows).append

    def ring(self) -> None:
        """What is due, is due now: there is nobody to be woken."""
        for order in self.wake(self.clock()):
            if isinstance(order, Cancel):
                self.rang = order

    def wake(self, now: Instant) -> tuple[Order, ...]:
        """The alarm rang: what the machine wants done, written down before it is obeyed."""
        if self.attention is not None and self.machine.due(Timer.TOTAL) <= now:
            self._advise(may_ask=False)
            if self.terms.share is not None:
                self.machine.extend_at_most(self.terms.share.allotted_left())
            if self.rang is not None:
                return (self.rang,)
        with self.lock:
            orders = self.machine.wake(now)
        self._learn_from(orders)
        if orders and self.record is None and self.dropped and any(isinstance(order, Cancel) for order in orders):
            self._keep_record(self.machine.since)  # between two generations beneath it is this watch that ends
        if orders and self.record is not None:
            self.record.ordered(orders, self)
        return orders

    def judge(self, error: BaseException) -> bool:
        """An error came out of the source. True where it is only what an end of ours looks like from above."""
        self.follow_into(error)
        if self.rang is None and self.wrapped is None:
            self.broke(error)
        return self.rang is not None or self.wrapped is not None

    def broke(self, error: BaseException) -> None:
        """The source raised an error that is not ours. One that we made ourselves is given the text so far."""
        self.failure = failure_of(error)
        self.note(Broke())
        if isinstance(error, BackendError) and not error.partial:
            error.partial = self.partial

    # -- ends -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The source is closed, however it came to that."""
        self.follow()
        self.follow_asker()
        self.note(Closed(self._end()))
        self.tapped = self.end_of_source = None  # they lead back to us
        self.prompt = self.history = None  # a request may be long
        self.hand_back()
        if self.record is not None:
            self.record.ended(self)
        machine = self.machine
        if machine.tokens and self.model and machine.ended_at is not None:
            warmth.saw((self.place, self.model), self.host, machine.ended_at)

    def _end(self) -> End:
        """What the end of this source says by itself. Where a mark cannot be seen, we do not claim that it lacks."""
        if self.end_of_source is not None:
            return self.end_of_source()
        if self.reader is None or not self.reader.says_finish:
            return End.WHOLE
        if self.reader.shows_mark:
            return End.MARKED if self.reader.marked else End.CUT
        return End.CUT if self.tapped is not None and not self.tapped.mark_seen else End.MARKED

    def settle(self) -> None:
        """Raise the error that the end of this generation is for its caller, if it is one."""
        error = self.wrapped or verdict(self)
        if error is not None:
            try:
                raise error
            finally:
                del error  # a frame that keeps its own error is a cycle, and there may be thousands

    @property
    def active(self) -> Session:
        """Whose clocks run: those of a client of ours beneath, or our own."""
        return self.deputy if self.stands_aside and self.deputy is not None else self

    @property
    def elapsed(self) -> float:
        machine = self.machine
        return machine.earlier + (machine.ended_at or self.clock()) - machine.born

    @property
    def partial(self) -> str:
        return "".join(self.parts) + (self.apart.partial if self.apart is not None else "")

    @property
    def tokens(self) -> int:
        return self.machine.tokens + (self.apart.tokens if self.apart is not None else 0)
