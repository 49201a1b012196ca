"""What the gateway knows of the models while it runs: who has a slot, who fails, and what goes on at their servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from hangtight.core.admission import Admission, Admitted, Queued
from hangtight.core.budget import Priority
from hangtight.core.circuit import Change, Circuit, Fuse, Permit, State
from hangtight.core.phases import Outcome
from hangtight.core.time import Instant, Seconds
from hangtight.drivers import clock
from hangtight.errors import BackendError
from hangtight.gateway.looking.evidence import Evidence
from hangtight.gateway.looking.houses import House
from hangtight.gateway.looking.looker import Found, Seen
from hangtight.gateway.upstream.targets import place_of

if TYPE_CHECKING:
    from hangtight.drivers.session import Session
    from hangtight.gateway.readings import GatewayReading
    from hangtight.gateway.telling.metrics import Metrics, OfModel
    from hangtight.gateway.telling.tracing import Tracing
    from hangtight.gateway.upstream.steward import Steward
    from hangtight.gateway.upstream.targets import Target
    from hangtight.rules.serving import CircuitSettings, Serving

GHOST_PATIENCE = 600.0
"""Seconds for which we look whether a server at last stopped what nobody waits for."""
LONGEST_LOOK = 60.0
"""Seconds for the first look, where `cancel: null` sets no limit: a slot of the model is taken meanwhile."""
MOST_LANES = 1000
ASK_AGAIN = 5.0
"""Seconds after which it is worth asking again, where nobody knows better."""


def unavailable(status: int, code: str, message: str, retry_after: float = ASK_AGAIN) -> BackendError:
    """Not even asked: no slot, no place in the queue, a circuit that is open, a server that does not stop."""
    error = BackendError(message)
    error.status, error.code, error.retry_after = status, code, retry_after
    return error


@dataclass(slots=True)
class Ticket:
    """One who wants a slot."""

    priority: Priority
    given: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    since: Instant = field(default_factory=clock.now)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class LastEnd(NamedTuple):
    """How the last generation of a model ended."""

    outcome: Outcome
    limit: str
    """The one that was broken, if that was the end."""
    error: str
    at: Instant


class Lane:
    """One model."""

    def __init__(
        self, name: str, serving: Serving, fuse: CircuitSettings | None, house: House, metrics: OfModel
    ) -> None:
        self.name = name
        self.house = house
        self.metrics = metrics
        self.admission: Admission[Ticket] = Admission(serving.slots, serving.places)
        self.circuit = Circuit(fuse_of(fuse)) if fuse is not None else None
        self.readings: set[GatewayReading] = set()
        """What is under way."""
        self._last_progress: Instant | None = None
        self.wall_of_progress: float | None = None
        self.last_end: LastEnd | None = None

    def renew(self, serving: Serving, fuse: CircuitSettings | None, house: House) -> None:
        """The settings have changed. Who runs goes on, who waits keeps the place."""
        self.house = house
        if fuse is None:
            self.circuit = None
            self.metrics.circuit(None)
        elif self.circuit is None:
            self.circuit = Circuit(fuse_of(fuse))
        else:
            self.circuit.fuse = fuse_of(fuse)
        self._give(self.admission.resize(serving.slots, serving.places, clock.now()))

    # -- slots ------------------------------------------------------------------------------------------------

    def arrive(self, ticket: Ticket) -> bool:
        """True where the slot is there at once, False where it has to be waited for. Raises where neither can be."""
        match self.admission.arrive(ticket, ticket.priority, clock.now()):
            case Admitted():
                return True
            case Queued():
                self.metrics.queued(self.admission.waiting)
                return False
            case _:
                slots = self.admission.slots
                more = 2 * self.admission.places or 100
                full = f"and {self.admission.places} wait" if self.admission.places else "and nobody may wait"
                raise unavailable(
                    429,
                    "too_many_requests" if not self.admission.places else "queue_full",
                    f"{self.name}: all {slots} slots are taken, {full}\n"
                    f"to have more wait:  models: {{{self.name}: {{queue: {more}}}}} in hangtight.yaml",
                )

    def leave(self, ticket: Ticket) -> None:
        self._give(self.admission.leave(ticket, clock.now()))

    def _give(self, admitted: tuple[Ticket, ...]) -> None:
        for ticket in admitted:
            if not ticket.given.done():
                ticket.given.set_result(None)
        self.metrics.queued(self.admission.waiting)

    # -- the circuit ------------------------------------------------------------------------------------------

    def admit(self) -> Permit | None:
        """Raises where nobody shall be sent there now."""
        now = clock.now()
        if self.house.is_closed(now):
            raise unavailable(
                503,
                "still_running",
                f"{self.name}: its server goes on with a generation that was cancelled; asked again when that stops",
            )
        if self.circuit is None:
            return None
        found = self.circuit.admit(now)
        if found is None:
            left = max(1.0, self.circuit.retry_after(now))
            raise unavailable(
                503,
                "circuit_open",
                f"{self.name}: not asked, because it failed again and again; it is tried again in {left:.0f} s",
                left,
            )
        self.metrics.circuit(self.circuit.state)
        return found

    def spoke(self, permit: Permit | None) -> Change | None:
        """Its first progress came: a probe that speaks has shown enough, however long its answer is."""
        if self.circuit is None or permit is None:
            return None
        change = self.circuit.spoke(permit)
        self.metrics.circuit(self.circuit.state)
        return change

    def judged(self, permit: Permit | None, good: bool | None) -> Change | None:
        """How it ended for the circuit: well, badly, or in a way that tells nothing."""
        if self.circuit is None or permit is None:
            return None
        change = None
        if good is None:
            self.circuit.gave_up(permit)
        else:
            change = self.circuit.ended(permit, good=good, now=clock.now())
        self.metrics.circuit(self.circuit.state)
        return change

    @property
    def is_busy(self) -> bool:
        return bool(self.readings or self.admission.running or self.admission.waiting)

    @property
    def is_idle(self) -> bool:
        """Nothing of it is worth remembering."""
        return not self.is_busy and (self.circuit is None or self.circuit.state is State.CLOSED)

    # -- health -----------------------------------------------------------------------------------------------

    def ended(self, session: Session) -> None:
        """One of its generations is over."""
        machine = session.machine
        if machine.tokens:
            self.progressed(machine.since)
        limit = machine.broken.limit.value if machine.broken is not None else ""
        self.last_end = LastEnd(machine.outcome or Outcome.CANCELLED, limit, session.failure, clock.now())

    def progressed(self, at: Instant) -> None:
        if self._last_progress is None or at > self._last_progress:
            self._last_progress = at
            self.wall_of_progress = clock.wall() - (clock.now() - at)

    @property
    def last_progress(self) -> Instant | None:
        """When any generation last got on."""
        for reading in self.readings:
            machine = reading.session.machine
            if machine.tokens:
                self.progressed(machine.since)
        return self._last_progress

    def without_progress_since(self, now: Instant) -> Seconds | None:
        """For so long something runs and nothing of it got on; None where nothing runs."""
        running = [reading.session.machine for reading in self.readings if reading.session.machine.outcome is None]
        if not running:
            return None
        began = min(machine.born for machine in running)
        last = max((machine.since for machine in running if machine.tokens), default=began)
        return Seconds(max(0.0, now - max(began, last)))


class Cancelled(NamedTuple):
    """A generation that its server may go on with."""

    within: float | None
    """Seconds in which the server should have stopped; the limit `cancel`."""
    told: Callable[[Seen], None]
    """Learns what was seen."""
    free: Callable[[], object]
    """Gives its slot back: when the server has stopped, or takes requests again all the same. More than once, too."""


class Lanes:
    """All of them, made when they are first asked for."""

    def __init__(self, metrics: Metrics, tracing: Tracing, steward: Steward | None = None) -> None:
        self.metrics = metrics
        self.tracing = tracing
        self.steward = steward
        """Who runs the servers of some of them."""
        self._lanes: dict[str, Lane] = {}
        self._houses: dict[str, House] = {}
        self._looks: set[asyncio.Task[None]] = set()

    def of(self, name: str, base: str, serving: Serving, fuse: CircuitSettings | None) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            if len(self._lanes) >= MOST_LANES:
                self._forget_the_idle()
            self.metrics.knows([name])
            lane = self._lanes[name] = Lane(name, serving, fuse, self.house(base), self.metrics.of(name))
        return lane

    def _forget_the_idle(self) -> None:
        """Under a pattern with `*` anybody may make up names."""
        for name in [name for name, lane in self._lanes.items() if lane.is_idle]:
            del self._lanes[name]

    def forget(self, lane: Lane) -> None:
        """It is no model any more. What still runs of it ends first."""
        if not lane.is_busy:
            self._lanes.pop(lane.name, None)

    def house(self, base: str) -> House:
        """One for each server, however its address is written."""
        place = place_of(base)
        found = self._houses.get(place)
        if found is None:
            found = self._houses[place] = House(base)
        return found

    def last_progress(self, name: str) -> Instant | None:
        """When any generation of this model last got on."""
        lane = self._lanes.get(name)
        return None if lane is None else lane.last_progress

    def all(self) -> tuple[Lane, ...]:
        return tuple(self._lanes.values())

    # -- cancellation that is verified -------------------------------------------------------------------------

    def look_after(self, lane: Lane, target: Target, cancelled: Cancelled) -> None:
        """Somebody's generation was cancelled: see whether its server stops. Nobody waits for that."""
        house = self.house(target.base)
        house.looker.shows(target.credentials)
        task = asyncio.get_running_loop().create_task(self._look(lane, house, cancelled))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look(self, lane: Lane, house: House, cancelled: Cancelled) -> None:
        evidence, within = Evidence(), LONGEST_LOOK if cancelled.within is None else cancelled.within
        try:
            seen = await house.looker.freed(house.ours, within, clock.now, evidence)
            cancelled.told(seen)
            if seen.found is Found.RUNNING:
                lane.metrics.left_running()
                await self._look_on(lane, house, cancelled, evidence, seen)
        finally:
            cancelled.free()

    async def _look_on(self, lane: Lane, house: House, cancelled: Cancelled, evidence: Evidence, seen: Seen) -> None:
        """It goes on."""
        house.goes_on(cancelled.free)
        telling = asyncio.get_running_loop().create_task(self._tell_steward(lane, house, seen))
        try:
            cancelled.told(await house.looker.freed(house.ours, GHOST_PATIENCE, clock.now, evidence))
        finally:
            telling.cancel()
            house.has_stopped()

    async def _tell_steward(self, lane: Lane, house: House, seen: Seen) -> None:
        """A server may be restarted for this. Only where we run it nobody else is there: elsewhere it may be theirs."""
        if self.steward is not None and self.steward.runs(lane.name):
            with suppress(Exception):  # whoever helps may fail, too
                await self.steward.still_running(lane.name, house.base, Instant(clock.now() - seen.took))

    async def close(self) -> None:
        looks = list(self._looks)
        for look in looks:
            look.cancel()
        if looks:
            await asyncio.wait(looks)
        for house in self._houses.values():
            await house.close()


def fuse_of(said: CircuitSettings) -> Fuse:
    return Fuse(
        in_a_row=said.in_a_row,
        share=said.share,
        least=said.least,
        window=Seconds(said.window),
        first=Seconds(said.first),
        longest=Seconds(said.longest),
    )
