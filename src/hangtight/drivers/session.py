"""One watched generation between its machine and the world: what both the async and the sync driver need."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from hangtight.core.attempts import Fault
from hangtight.core.facts import (
    Asked,
    Broke,
    Closed,
    Contact,
    End,
    Fact,
    Finished,
    Handed,
    PrefillProgress,
    Resident,
)
from hangtight.core.generation import Generation
from hangtight.core.orders import Cancel, Excused, Order
from hangtight.core.phases import Outcome, Phase
from hangtight.core.telling import timeout_error
from hangtight.dialects.pieces import Kind, Reader, model_of, reader_for
from hangtight.drivers import warmth
from hangtight.drivers.faults import attempt_of
from hangtight.drivers.sources import Origin
from hangtight.drivers.tap import Tapped, tap
from hangtight.errors import BackendError, GenerationTimeout, Truncated

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.core.heartbeat import Heartbeat
    from hangtight.core.time import Instant
    from hangtight.drivers.terms import Terms

UNKNOWN = "the model"


class Forgotten(list[str]):
    """The text so far of a stream whose text nobody will ask for."""

    def append(self, text: str) -> None:
        """It is not kept."""


class Session:
    """One generation under way. The machine is made when the clocks start, not before."""

    __slots__ = (
        "__weakref__",
        "clock",
        "deputy",
        "end_of_source",
        "excused",
        "host",
        "left_running",
        "lock",
        "machine",
        "model",
        "on_heartbeat",
        "on_taken",
        "parts",
        "place",
        "rang",
        "reader",
        "remembers",
        "resolved",
        "tapped",
        "terms",
    )

    def __init__(
        self,
        terms: Terms,
        clock: Callable[[], Instant],
        *,
        model: str | None = None,
        on_heartbeat: Callable[[Heartbeat], object] | None = None,
        phase: Phase = Phase.WAITING,
        place: object = None,
        host: str | None = "",
    ) -> None:
        self.terms = terms
        self.clock = clock
        self.on_heartbeat = on_heartbeat
        self.place = place
        """Whose clock it is: instants of a virtual loop mean nothing elsewhere."""
        self.remembers = host is not None
        """What gave tokens lately is in memory now; not so for a process, which loads anew each time."""
        self.model = model
        self.host = host or ""
        self.parts: list[str] = []
        self.reader: Reader | None = None
        self.tapped: Tapped | None = None
        self.end_of_source: Callable[[], End] | None = None
        self.deputy: Session | None = None
        """The session of a client of ours, which keeps the clocks in our stead."""
        self.on_taken: Callable[[], object] | None = None
        self.rang: Cancel | None = None
        self.left_running = False
        self.excused = 0.0
        self.lock = Lock()
        now = clock()
        warm = True if self._is_warm(now) else None
        self.resolved = terms.resolved(warm, on_heartbeat is not None)
        phase = Phase.LOADING if self.resolved.absent else phase
        self.machine = Generation(self.resolved.clocks, now, phase=phase, model=model or UNKNOWN)
        self.note(Asked())

    def _is_warm(self, now: Instant) -> bool:
        return self.remembers and bool(self.model) and warmth.is_warm((self.place, self.model or ""), self.host, now)

    def take_over(self, watching: Session) -> None:
        """From now on this is the session of that watch: its clocks stand still, and its report is ours."""
        watching.deputy = self
        watching.machine, watching.lock, watching.parts = self.machine, self.lock, self.parts
        watching.terms, watching.resolved, watching.model = self.terms, self.resolved, self.model
        if watching.on_taken is not None:
            watching.on_taken()

    def renew(self, terms: Terms) -> None:
        """Other terms hold from now on: a watch was put around a stream that is open already."""
        self.terms = terms
        self.resolved = terms.resolved(None if self.machine.clocks.late else True, self.on_heartbeat is not None)
        with self.lock:
            self.machine.renew(self.resolved.clocks, self.clock())

    # -- facts ------------------------------------------------------------------------------------------------

    def note(self, fact: Fact) -> tuple[Order, ...]:
        """Record a fact now. What it orders has already been seen to, except what only a driver can do."""
        with self.lock:
            if self.machine.phase is Phase.ENDED:
                return ()
            orders = self.machine.record(fact, self.clock())
        for order in orders:
            if isinstance(order, Excused):
                self.excused += order.late
        return orders

    def opened(self, source: object) -> Origin:
        """The stream is open: learn from it what can be learnt."""
        if (attach := getattr(source, "attach", None)) is not None:
            attach(self.note)
            self.end_of_source = getattr(source, "end", None)
        origin = Origin(source)
        if origin.session is not None and self.deputy is None:
            inner: Session = origin.session
            inner.on_heartbeat = self.on_heartbeat or inner.on_heartbeat
            inner.renew(self.terms.on_top_of(inner.terms))
            inner.take_over(self)
        if self.deputy is not None:
            return origin
        self._is(origin.model)
        self.host = self.host or origin.host
        if self._is_warm(self.clock()):
            self.note(Resident())
        if origin.response is not None:
            self.tapped = tap(origin.response, self._contact)
        return origin

    def _contact(self) -> None:
        """Bytes went by beneath. Written past `record`, like the fast lane: it decides nothing."""
        self.machine.contact_at = self.clock()

    def _is(self, model: str | None) -> None:
        if model and not self.model:
            self.model = self.machine.model = model

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

    def receive(self, kind: Kind, text: str, finished: bool) -> None:
        """A chunk came that the fast lane does not take."""
        if kind is None:
            self.note(Contact())
        else:
            self.note(kind())
        if kind is None or kind is PrefillProgress:
            self.note(Handed())
        if text:
            self.parts.append(text)
        if finished:
            self.note(Finished())

    def broke(self, error: BaseException) -> None:
        """The source raised an error that is not ours. One that we made ourselves is given the text so far."""
        self.note(Broke())
        if isinstance(error, BackendError) and not error.partial:
            error.partial = self.partial

    # -- ends -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The source is closed, however it came to that."""
        self.note(Closed(self._end()))
        self.tapped = self.end_of_source = self.on_taken = None  # they lead back to us
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
        error = self._verdict()
        if error is not None:
            try:
                raise error
            finally:
                del error  # a frame that keeps its own error is a cycle, and there may be thousands

    def _verdict(self) -> GenerationTimeout | BackendError | None:
        machine = self.machine
        if machine.broken is not None:
            return self.timeout()
        if machine.outcome is Outcome.TRUNCATED:
            error = Truncated(
                f"{machine.model}: the stream ended after {machine.tokens} tokens without a finish reason "
                "and without its end mark; what came is in .partial"
            )
            error.elapsed, error.partial = self.elapsed, self.partial
            return error
        return None

    def timeout(self) -> GenerationTimeout:
        broken = self.machine.broken
        assert broken is not None, "only a broken limit makes a timeout"
        door = self.terms.door if self.partial else self.terms.door._replace(kept="")
        error = timeout_error(broken, self.machine, self.resolved, elapsed=self.elapsed, door=door)
        error.partial, error.left_running = self.partial, self.left_running
        error.attempts = (attempt_of(error, Fault.TIMEOUT, model=self.machine.model, elapsed=self.elapsed),)
        if self.left_running:
            error.add_note("its source could not be stopped and is left running (.left_running)")
        return error

    @property
    def elapsed(self) -> float:
        machine = self.machine
        return machine.earlier + (machine.ended_at or self.clock()) - machine.born

    @property
    def partial(self) -> str:
        return "".join(self.parts)
