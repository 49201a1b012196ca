"""What a gateway knows while it runs, and what all of its rooms share."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from random import getrandbits
from typing import TYPE_CHECKING, Any

from hangtight.drivers import clock
from hangtight.drivers.servers import NOTHING_THERE, PORTS, Place, Server, find_servers
from hangtight.drivers.standing import settings
from hangtight.errors import HangtightError
from hangtight.gateway.calls import Retries
from hangtight.gateway.door.gatekeeper import Gatekeeper
from hangtight.gateway.lanes import Lane, Lanes
from hangtight.gateway.telling import shown
from hangtight.gateway.telling.events import Events
from hangtight.gateway.telling.flight import Flights
from hangtight.gateway.telling.metrics import Metrics
from hangtight.gateway.telling.receipt import Receipts
from hangtight.gateway.telling.shown import Ended
from hangtight.gateway.telling.tracing import Tracing
from hangtight.gateway.upstream.pool import Upstream
from hangtight.gateway.upstream.targets import VERSION, Target, Targets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hangtight.core.heartbeat import Heartbeat
    from hangtight.core.time import Instant
    from hangtight.gateway.exchange import Exchange
    from hangtight.gateway.flows_port import Flows
    from hangtight.gateway.looking.looker import Seen
    from hangtight.gateway.readings import GatewayReading
    from hangtight.gateway.upstream.steward import Steward
    from hangtight.rules.settings import Settings

OWN_NAME = "hangtight"
LOOK_EVERY = 5.0  # seconds between two looks for servers, where a model is asked for that nobody knows
FOLLOW_EVERY = 0.5  # seconds: an edit is seen by the second look after it, and read before the next
REMEMBERED = 100
"""Exchanges that have ended, for whoever looks."""
MOST_REFUSED = 1000


class State:
    """Of one gateway."""

    def __init__(self, found: tuple[Server, ...] = (), steward: Steward | None = None) -> None:
        self.found = found
        """The servers of this machine, for the case that the settings name none."""
        self.upstream = Upstream()
        self.keeper = Gatekeeper()
        self.retries = Retries()
        self.refused: dict[tuple[str, str, str], Instant] = {}
        """Who did not stream an answer that was wanted whole, and when: what a client of ours keeps in its settings."""
        self.metrics = Metrics()
        self.tracing = Tracing()
        self.lanes = Lanes(self.metrics, self.tracing)
        self.exchanges: dict[str, Exchange] = {}
        self.finished: deque[Ended] = deque(maxlen=REMEMBERED)
        self.events = Events(self._looked)
        self.flights = Flights(self.exchanges)
        self.receipts = Receipts()
        self.flows: Flows | None = None
        """Who runs workflows."""
        self.readers: set[asyncio.Future[None]] = set()
        """Who follows a log."""
        self.is_draining = False
        self.id = f"{getrandbits(64):016x}"
        """Of this life of this gateway: a request that carries it has been here before."""
        self.began_at = clock.wall()
        self.own_port = 0
        self._looked_at = -LOOK_EVERY
        self._loop: asyncio.AbstractEventLoop | None = None
        self._follower: asyncio.TimerHandle | None = None
        self._settings: Settings | None = None
        self._targets: Targets | None = None
        if steward is not None:
            self.engage(steward)

    @property
    def targets(self) -> Targets:
        """The models as the settings name them now."""
        current = settings()
        if self._targets is None or current is not self._settings:
            self._settings, self._targets = current, Targets(current, self.found, self.lanes.steward)
            self._renew(self._targets)
        return self._targets

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Obey edits of the settings without being asked, as long as this loop is there."""
        if self._loop is None or self._loop.is_closed():
            self._loop = loop
            self._look(loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._follower = loop.call_later(FOLLOW_EVERY, self._look, loop)
        with suppress(HangtightError):  # who asks is told
            self.keeper.gate  # noqa: B018 - both are made anew by being looked at
            self.targets  # noqa: B018

    def _renew(self, targets: Targets) -> None:
        said = settings()
        for lane in self.lanes.all():
            target = targets.find(lane.name)
            if target is None:
                self.lanes.forget(lane)
            else:
                lane.renew(said.serving(lane.name), said.gateway.circuit, self.lanes.house(target.base))
        self.metrics.knows(targets.names)
        if self.lanes.steward is not None:
            self.lanes.steward.renew(said)

    def engage(self, steward: Steward) -> None:
        """From now on he runs those servers that are his."""
        self.lanes.steward, self._targets = steward, None
        steward.on_change = self._changed
        for each in steward.shown():
            self.metrics.knows([each["model"]])
            self.metrics.of(each["model"]).stands(each["phase"])

    def _changed(self, told: Mapping[str, Any]) -> None:
        """A server that we run came into another phase."""
        self.metrics.knows([told["model"]])
        self.metrics.of(told["model"]).came_into(told["phase"])
        self.events.model(told)

    def stage(self, flows: Flows) -> None:
        """From now on he runs workflows here."""
        self.flows = flows
        flows.on_event = self._happened

    def _happened(self, told: Mapping[str, Any]) -> None:
        """In a run of a workflow."""
        self.metrics.flows.hear(told)
        self.events.happened(told)

    def discovered(self, found: tuple[Server, ...]) -> None:
        """What stands on this machine now. Whose names were known and who tells none just now keeps them."""
        known = {server.url: server for server in self.found if server.models}
        self.found = tuple(known.get(server.url, server) if server.is_loading else server for server in found)
        self._targets = None

    async def find(self) -> list[tuple[Place, Server | str]]:
        """Look for the servers of this machine: each usual place, with what is there or why nothing is."""
        self._looked_at = clock.now()
        ports = {port: owners for port, owners in PORTS.items() if port != self.own_port and owners != OWN_NAME}
        seen = await find_servers(ports)
        self.discovered(tuple(filter(None, (self._at(place, found) for place, found in seen))))
        return seen

    def _at(self, place: Place, found: Server | str) -> Server | None:
        """Who is at this place. One that was there, is busy and did not answer in time is still there."""
        if isinstance(found, Server):
            return found
        known = {server.url.removesuffix(VERSION): server for server in self.found}
        return None if found == NOTHING_THERE else known.get(place.url)

    async def look_again(self) -> bool:
        """Where the settings name no server: whether those of this machine were looked for once more."""
        if self.targets.are_written or clock.now() < self._looked_at + LOOK_EVERY:
            return False
        await self.find()
        return True

    def lane(self, target: Target) -> Lane:
        said = settings()
        return self.lanes.of(target.name, target.base, said.serving(target.name), said.gateway.circuit)

    def begins(self, exchange: Exchange) -> None:
        """It is under way; whoever says so says when it has ended, too."""
        self.exchanges[exchange.id] = exchange
        self.events.began(exchange)

    def ended(self, exchange: Exchange) -> None:
        del self.exchanges[exchange.id]
        while len(self.refused) > MOST_REFUSED:  # under a pattern with `*` anybody may make up names
            del self.refused[next(iter(self.refused))]
        told = shown.ended(exchange)
        self.finished.append(told)
        self.receipts.seen.add(told)
        self.events.ended(exchange, told)
        exchange.over.set()

    def _looked(self, reading: GatewayReading, seen: Seen) -> None:
        """What its server did is known now, mostly after its end; once more where it stops at last."""
        for at, told in enumerate(self.finished):
            if told.is_of(reading):
                self.finished[at] = told._replace(at_server=seen)

    def beat(self, own: str, beat: Heartbeat) -> None:
        """A request of this id still runs."""
        exchange = self.exchanges.get(own)
        if exchange is not None:
            self.events.beat(exchange, beat)

    def drains(self) -> None:
        """Nothing new begins. Who only watches need not be waited for."""
        self.is_draining = True
        self.events.close()
        for reader in list(self.readers):
            reader.cancel()

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
        self._loop = self._follower = None
        self.events.close()
        await self.lanes.close()
        self.upstream.close()
