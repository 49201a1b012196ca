"""How all that is in flight stands, several times a second, to those who listen and asked for it.

Each gets `event: flight` with one row per request. It is computed once for all who asked alike, in slices, so that
nobody's token waits for it; not at all where nobody asked, nor for those who have not read the last one yet.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hangtight.core.phases import Phase
from hangtight.drivers import clock
from hangtight.gateway.telling import shown

if TYPE_CHECKING:
    from hangtight.gateway.exchange import Exchange
    from hangtight.gateway.telling.events import Listener

OFTENEST, RAREST = 0.2, 5.0  # seconds
AT_ONCE: Final = 32  # rows made in one turn of the loop
FIELDS: Final = (
    *("id", "model", "run", "step", "mode", "phase", "elapsed", "tokens", "silence", "in_contact", "limit"),
    *("rings_in", "total", "budget_left", "expected", "doing", "position", "cancellable"),
)
SHORT: Final = json.JSONEncoder(separators=(",", ":")).encode
HEAD: Final = SHORT(FIELDS)


def interval(text: str) -> float:
    """How often, in seconds, and never oftener or rarer than is good. Raises ValueError for what is no number."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not isfinite(seconds):
        raise ValueError(f"flight={text!r} cannot be used: it must be seconds, like 0.5")
    return round(min(max(seconds, OFTENEST), RAREST), 1)


def row(exchange: Exchange) -> tuple[Any, ...]:
    """How one request stands: the values of `FIELDS`."""
    call, reading = exchange.call, exchange.reading
    about = shown.of_event(call)
    known = (about["id"], about["model"], about["run"], about["step"], call.terms.mode)
    if reading is None:
        nothing = (None,) * (len(FIELDS) - len(known) - 6)
        return (*known, Phase.QUEUED.value, 0.0, 0, 0.0, False, *nothing, exchange.cancellable)
    session = reading.session
    now = session.clock()
    stood = session.machine.snapshot(now)
    return (
        *known,
        stood.phase.value,
        shown.rounded(stood.elapsed),
        stood.tokens,
        shown.rounded(stood.silence),
        stood.in_contact,
        None if stood.nearest is None else stood.nearest.value,
        shown.rounded(stood.rings_in),
        shown.rounded(stood.total),
        shown.budget_left(session),
        shown.expected(session),
        stood.doing,
        reading.position,
        exchange.cancellable,
    )


class Asked(NamedTuple):
    """What those of one group want: how often, and of which run and model."""

    every: float
    run: str
    model: str


class Flights:
    """Who is told how all stands."""

    def __init__(self, exchanges: Mapping[str, Exchange]) -> None:
        self._exchanges = exchanges
        self._groups: dict[Asked, Group] = {}

    @contextmanager
    def telling(self, listener: Listener, every: float) -> Iterator[None]:
        """As long as he listens."""
        asked = Asked(every, listener.run, listener.model)
        group = self._groups.get(asked)
        if group is None:
            group = self._groups[asked] = Group(asked, self._exchanges)
        group.add(listener)
        try:
            yield
        finally:
            group.remove(listener)
            if group.is_over:
                self._groups.pop(asked, None)


class Group:
    """Those who asked alike, and the task that tells them."""

    def __init__(self, asked: Asked, exchanges: Mapping[str, Exchange]) -> None:
        self._asked = asked
        self._exchanges = exchanges
        self._listeners: dict[Listener, bool] = {}
        """And whether the last that each was told is that nothing is in flight."""
        self._somebody_new = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, listener: Listener) -> None:
        self._listeners[listener] = False
        self._somebody_new.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._tell())

    def remove(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    @property
    def is_over(self) -> bool:
        return not self._listeners

    async def _tell(self) -> None:
        while True:
            self._somebody_new.clear()
            if self._is_wanted():
                rows = await self._rows()
                self._send(rows)
            try:
                async with asyncio.timeout(self._asked.every):
                    await self._somebody_new.wait()
            except TimeoutError:
                pass

    def _is_wanted(self) -> bool:
        """Somebody has read the last one, and there is something to say, or to take back."""
        return any(
            not listener.has_flight and not (knows and not self._exchanges)
            for listener, knows in self._listeners.items()
        )

    async def _rows(self) -> list[str]:
        """Those that are still in flight when all of them are made: who was told of an end is not told otherwise."""
        made: dict[str, str] = {}
        for count, exchange in enumerate(list(self._exchanges.values()), 1):
            if self._is_asked_for(exchange):
                made[exchange.id] = SHORT(row(exchange))
            if not count % AT_ONCE:
                await asyncio.sleep(0)
        return [told for own, told in made.items() if own in self._exchanges]

    def _is_asked_for(self, exchange: Exchange) -> bool:
        asked, call = self._asked, exchange.call
        return (not asked.run or asked.run == shown.run_of(call)[0]) and (
            not asked.model or asked.model in (call.asked.model, call.attempts.model)
        )

    def _send(self, rows: list[str]) -> None:
        at = round(clock.wall(), shown.DIGITS)
        body = ",".join(rows)
        told = f'event: flight\ndata: {{"at":{at},"fields":{HEAD},"rows":[{body}]}}\n\n'.encode()
        for listener, knows in self._listeners.items():
            if rows or not knows:
                listener.tell_flight(told)
                self._listeners[listener] = not rows
