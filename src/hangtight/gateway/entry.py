"""What a request needs before it is sent: a permit of the circuit, a slot of the model, and a server that is up."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from hangtight.core.facts import Absent, Admitted, Queued, Ready, Whole
from hangtight.core.limits import Limit
from hangtight.core.phases import Outcome, Phase
from hangtight.core.process.facts import Ending
from hangtight.core.time import FOREVER, Seconds
from hangtight.drivers import clock
from hangtight.gateway.lanes import Lane, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.core.budget import Priority
    from hangtight.core.circuit import Permit
    from hangtight.drivers.session import Session
    from hangtight.gateway.upstream.steward import Lease, Steward, Waiting


class Load(Enum):
    """How it stands with a server that has to be ready first."""

    BEGINS = "begins"
    READY = "ready"
    FAILED = "failed"


def untold(load: Load) -> None:
    """Nobody wants to know."""


SILENCES = (Limit.FIRST_TOKEN, Limit.IDLE, Limit.THINKING)
"""Limits on a server that says nothing."""


class Entry:
    """Of one attempt. None of this waiting is the server's silence."""

    __slots__ = ("_lane", "_rearm", "_session", "_unstreamed", "lease", "on_load", "permit", "probes", "ticket")

    def __init__(self, lane: Lane, session: Session, rearm: Callable[[], object]) -> None:
        self._lane = lane
        self._session = session
        self._rearm = rearm
        self._unstreamed = session.machine.phase is Phase.UNSTREAMED
        """Nothing shows that it gets on, before the whole answer is there."""
        self.ticket: Ticket | None = None
        self.permit: Permit | None = None
        self.probes = False
        """The circuit waits for what comes of this."""
        self.lease: Lease | None = None
        """Where somebody runs its server: that it stays up."""
        self.on_load: Callable[[Load], object] = untold

    async def enter(self, priority: Priority, steward: Steward | None, who: Waiting) -> None:
        """Through the circuit and the queue to a server that is ready."""
        lane = self._lane
        self._admit()
        self.ticket = ticket = Ticket(priority)
        if not lane.arrive(ticket):
            await self._queue(ticket)
            lane.judged(self.permit, None)  # what let it in may be long ago
            self._admit()
        if steward is not None and steward.runs(lane.name):
            self.lease = steward.lease(lane.name, who)
            if self.lease is None:
                await (self._load if self._session.remembers else self._await_place)(steward, who)

    def _admit(self) -> None:
        self.permit = None
        if self._lane.house.ghosts or self._lane.circuit is not None:
            self.permit = self._lane.admit()
            self.probes = self.permit is not None and self.permit.probes

    async def _queue(self, ticket: Ticket) -> None:
        session = self._session
        session.note(Queued(self.position))
        self._rearm()
        try:
            await ticket.given
        finally:
            self._lane.metrics.queue_time(clock.now() - ticket.since)
        session.note(Admitted())
        self._go_on()

    async def _load(self, steward: Steward, who: Waiting) -> None:
        """Its server is started or woken. That goes on where this one gives up."""
        session = self._session
        if self._unstreamed:
            session.note(Queued())
        session.note(Absent())
        self._rearm()
        self.on_load(Load.BEGINS)
        try:
            self.lease = await steward.ready(self._lane.name, who)
        except BaseException:
            self.on_load(Load.FAILED)
            raise
        self.on_load(Load.READY)
        session.note(Ready())
        self._go_on()

    async def _await_place(self, steward: Steward, who: Waiting) -> None:
        """A process for each request: what is waited for is its place, and the load is still to come."""
        session = self._session
        session.note(Queued())
        self._rearm()
        self.lease = await steward.ready(self._lane.name, who)
        session.note(Admitted())
        self._go_on()

    def _go_on(self) -> None:
        if self._unstreamed:
            self._session.note(Whole())
        self._session.ask()

    @property
    def position(self) -> int | None:
        """In the queue; 1 is the next to go."""
        return None if self.ticket is None else self._lane.admission.position(self.ticket, clock.now())

    @property
    def patience(self) -> Seconds:
        """The silence that this request is ready to bear of its server. Where no token can be seen, any."""
        session = self._session
        if self._unstreamed or not session.terms.situation.generates:
            return FOREVER
        clocks = session.machine.clocks
        return max(clocks.idle, clocks.thinking if clocks.reasons else clocks.first_token)

    def give_back(self) -> None:
        """The lease, with what this end says about the server."""
        lease, self.lease = self.lease, None
        if lease is None:
            return
        machine = self._session.machine
        end = Ending.OTHER
        if machine.outcome in (Outcome.FINISHED, Outcome.UNFINISHED):
            end = Ending.WELL
        elif machine.broken is not None and machine.broken.limit in SILENCES:
            end = Ending.SILENT
        lease.end(end)
