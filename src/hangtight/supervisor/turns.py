"""Whose turn it is to come up, where not all models can be up at once: who asked first, and one claim for each model.

A model that another one waits for goes when it has served those who waited for it. So two that are wanted all the time
take turns, and neither waits for more than the other's requests in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hangtight.core.process.facts import PutAway, Wanted, Why
from hangtight.core.process.phases import RESTING, Phase
from hangtight.core.process.swapping import DEFAULT, Grouping, Standing, by_member, conflict, evictions
from hangtight.supervisor.server import ModelServer

UP = (Phase.READY, Phase.STARTING, Phase.WAKING)
THERE = Standing(Phase.READY)


class Turns:
    """Of one fleet. `take` is called whenever something has changed."""

    def __init__(self, servers: Mapping[str, ModelServer]) -> None:
        self._groups: dict[str, Grouping] = {}
        """By member."""
        self._all_groups: tuple[Grouping, ...] = (DEFAULT,)
        self.going: list[ModelServer] = []
        """Those that are in no file any more, and still take a place. Another one may have the name of one by now."""
        self._servers = servers
        self._claims: dict[str, bool] = {}
        """Who is wanted, the first first, and whether somebody insists."""
        self._taking = self._again = False

    def regroup(self, groups: Iterable[Grouping]) -> None:
        """From now on these hold."""
        self._all_groups = (DEFAULT, *groups)
        self._groups = by_member(self._all_groups)

    def want(self, name: str, *, insists: bool = False) -> None:
        """It shall be ready. A claim that is there keeps its place."""
        self._claims[name] = self._claims.get(name, False) or insists
        self.take()

    def answered(self, server: ModelServer) -> None:
        """Who waited for it waits no longer."""
        if self._servers.get(server.name) is server:
            self._claims.pop(server.name, None)

    def take(self) -> None:
        """Let those come up whose turn it is. What this changes calls it again, and is looked at afterwards.

        It comes to an end because each look either changes nothing, or takes a machine one step nearer to a rest.
        """
        self._again = True
        if self._taking:
            return
        self._taking = True
        try:
            while self._again:
                self._again = False
                self._look()
        finally:
            self._taking = False

    def _look(self) -> None:
        earlier: list[str] = []
        for name, insists in list(self._claims.items()):
            server = self._servers.get(name)
            if server is None or not (server.waiting or server.machine.wanted):
                self._claims.pop(name, None)  # who asked has left, and nothing was begun for him
            elif not insists and (refusal := server.refusal()) is not None:
                server.turn_away(*refusal)  # nobody goes for one that may not start yet
            elif not server.machine.wanted and not self._yields(name, earlier) and self._makes_room(name):
                server.note(Wanted(insists))
            if name in self._claims:
                earlier.append(name)

    def _yields(self, name: str, earlier: Iterable[str]) -> bool:
        """Whether one that was wanted earlier cannot be up beside it."""
        return any(
            evictions(name, {other: THERE}, self._groups) or evictions(other, {name: THERE}, self._groups)
            for other in earlier
        )

    def _makes_room(self, name: str) -> bool:
        """Whether its place is free. Else those in its way are asked to go."""
        server = self._servers[name]
        if server.machine.phase in UP:
            return True
        in_the_way = evictions(name, self._up_beside(name), self._groups)
        for eviction in in_the_way:
            other = self._servers[eviction.model]
            goes_on = other.machine.phase in UP and other.machine.leaving is None
            if goes_on or other.machine.phase is Phase.FAILED:  # what was killed in vain is killed once more
                other.note(PutAway(eviction.how, Why.SWAP))
        return not in_the_way and not any(self._waits_for(name, other) for other in self.going)

    def _up_beside(self, name: str) -> dict[str, Standing]:
        """Those that are up and in a group that cannot be: with a thousand models only these are worth a look."""
        own, groups, up = self._groups.get(name, DEFAULT), self._groups, {}
        clashes = {other.name for other in self._all_groups if conflict(own, other)}
        for each, other in self._servers.items():
            machine = other.machine
            if (machine.phase not in RESTING or machine.lingers) and groups.get(each, DEFAULT).name in clashes:
                up[each] = standing_of(other)
        return up

    def _waits_for(self, name: str, other: ModelServer) -> bool:
        """Whether one that is on its way out for good must be gone first. It may have the same port."""
        return name == other.name or bool(evictions(name, {other.name: THERE}, self._groups))


def standing_of(server: ModelServer) -> Standing:
    machine = server.machine
    return Standing(
        machine.phase, machine.running, machine.busy_at, can_sleep=machine.terms.can_sleep, lingers=machine.lingers
    )
