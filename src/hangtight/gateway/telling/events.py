"""What happens in the gateway, told to whoever listens at /hangtight/events while it happens.

A listener that does not keep up loses the oldest events and is told how many. Nobody else waits for it: neither a
generation nor another listener.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from hangtight.core.circuit import Change
from hangtight.gateway.looking.looker import Found
from hangtight.gateway.telling import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hangtight.core.heartbeat import Heartbeat
    from hangtight.core.orders import Moved
    from hangtight.gateway.calls import GatewayCall
    from hangtight.gateway.exchange import Exchange
    from hangtight.gateway.looking.looker import Seen
    from hangtight.gateway.outlet import Headers, Outlet
    from hangtight.gateway.readings import GatewayReading
    from hangtight.gateway.telling.shown import Ended

    News = Change | Seen

KEPT: Final = 256
"""Events that wait for one listener. The newest are kept: they say how it stands."""
SIGN_EVERY: Final = 15.0  # seconds
SIGN: Final = b": hangtight\n\n"
HELLO: Final = b"retry: 3000\n\n"  # milliseconds until a browser asks again
HEADERS: Final[Headers] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would collect them
]
LLM_HEARTBEAT: Final = "LLM_HEARTBEAT"
RUN_FINISHED: Final = "run_finished"
OF_A_SERVER: Final = ("model", "phase", "requests", "waiting", "why")
"""What is told of a server that we run. Its command may hold secrets, and is for those who ask for it."""


def event(name: str, told: Any) -> bytes:
    """One event. Its JSON is plain ASCII on one line, so no name of a model can end it."""
    return f"event: {name}\ndata: {json.dumps(told, default=str)}\n\n".encode()


def still_waiting(beat: Heartbeat) -> bytes:
    """The sign of life in the form that older readers know. It is a contract, to the byte."""
    words = f"Still waiting on {beat.model}... {beat.elapsed:.0f}s elapsed"
    return event(LLM_HEARTBEAT, {"type": LLM_HEARTBEAT, "payload": words})


class Listener:
    """One who listens: for everything, for one run, for one model."""

    __slots__ = ("_flight", "_lost", "_news", "_waiting", "is_open", "model", "outlet", "run", "to_its_end")

    def __init__(self, outlet: Outlet, run: str = "", model: str = "") -> None:
        self.outlet = outlet
        self.run = run
        self.model = model
        self.to_its_end = False
        """Of the run; otherwise as long as it likes."""
        self.is_open = True
        self._waiting: deque[bytes] = deque(maxlen=KEPT)
        self._flight: bytes | None = None
        self._lost = 0
        self._news = asyncio.Event()

    def wants(self, run: str, models: tuple[str, ...]) -> bool:
        return (not self.run or self.run == run) and (not self.model or self.model in models)

    def tell(self, told: bytes) -> None:
        """Never waits."""
        self._lost += len(self._waiting) == KEPT
        self._waiting.append(told)
        self._news.set()

    def tell_flight(self, told: bytes) -> None:
        """How all stands. One that was not read yet gives way: old news of this kind is no news."""
        if self._flight is not None:
            with suppress(ValueError):  # it was lost with other events
                self._waiting.remove(self._flight)
        self._flight = told
        self.tell(told)

    @property
    def has_flight(self) -> bool:
        """Such news still waits."""
        return self._flight is not None

    @property
    def has_news(self) -> bool:
        return bool(self._waiting)

    async def next(self) -> bytes:
        """All that there is to say, as soon as there is something; a sign of life where there is nothing for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SIGN_EVERY):
                await self._news.wait()
        self._news.clear()
        if not self._waiting:
            return SIGN
        told = b"".join(self._waiting)
        self._waiting.clear()
        self._flight = None
        lost, self._lost = self._lost, 0
        return event("lost", {"lost": lost}) + told if lost else told

    def leave(self) -> None:
        """What waits is the last that is told."""
        self.is_open = False
        self._news.set()

    def close(self) -> None:
        """Nothing more is told. A connection that is not read has no last words either."""
        self.is_open = False
        self._news.set()
        if self.outlet.is_slow:
            self.outlet.close()


def _unheard(reading: GatewayReading, seen: Seen) -> None:
    """Nobody keeps it."""


class Events:
    """Who listens, and what each of them is told. As long as nobody does, it costs next to nothing."""

    def __init__(self, looked: Callable[[GatewayReading, Seen], object] = _unheard) -> None:
        self._listeners: set[Listener] = set()
        self._looked = looked
        """Told what was seen at a server, whether anybody listens or not."""

    # -- what happens -----------------------------------------------------------------------------------------

    def began(self, exchange: Exchange) -> None:
        if self._listeners:
            told = {"path": exchange.path, "server": exchange.call.target.place}
            told |= shown.of_event(exchange.call)
            self._send(exchange.call, event("began", {**told, "streams": exchange.streams}))

    def beat(self, exchange: Exchange, beat: Heartbeat) -> None:
        """The machine's own heartbeat: each listener gets it in both forms."""
        if not self._listeners:
            return
        if beat.moved is not None:
            self._moved(exchange.call, beat.moved)
        self._send(exchange.call, event("heartbeat", shown.heartbeat(exchange, beat.now)))
        self._send(exchange.call, still_waiting(beat))

    def _moved(self, call: GatewayCall, move: Moved) -> None:
        name = "extended" if move.after > move.before else "shortened"
        self._send(call, event(name, {**shown.of_event(call), **shown.moved(move)}))

    def ended(self, exchange: Exchange, told: Ended) -> None:
        if not self._listeners:
            return
        reading = exchange.reading
        if reading is not None and (move := reading.session.machine.deadline.tell()) is not None:
            self._moved(exchange.call, move)
        self._send(exchange.call, event("ended", told.told()))

    def news(self, reading: GatewayReading, news: News) -> None:
        """What an end has changed for its model, or what was seen at the server afterwards."""
        if not isinstance(news, Change):
            self._looked(reading, news)
        if not self._listeners:
            return
        lane, call = reading.lane, reading.call
        if isinstance(news, Change):
            state = lane.circuit.state.value if lane.circuit is not None else None
            told = event("circuit", {"model": lane.name, "change": news.value, "state": state})
            self._send_all("", (lane.name,), told)
            return
        name = "still_running" if news.found is Found.RUNNING else "looked"
        about = {**shown.of_event(call), "model": lane.name, "server": lane.house.base, **shown.seen(news)}
        self._send(call, event(name, about))

    def model(self, told: Mapping[str, Any]) -> None:
        """A server that we run came into another phase. It is of no run."""
        if self._listeners:
            about = {name: told[name] for name in OF_A_SERVER if name in told}
            self._send_all("", (told["model"],), event("model", about))

    def happened(self, told: Mapping[str, Any]) -> None:
        """In a run of a workflow: its sign of life in both forms, as of a generation."""
        if not self._listeners:
            return
        run, model, kind = told["run"], told.get("model"), told["type"]
        models = (model,) if isinstance(model, str) else ()
        about = {name: value for name, value in told.items() if name != "type"}
        if kind == LLM_HEARTBEAT:
            self._send_all(run, models, event("heartbeat", about))
            self._send_all(run, models, event(LLM_HEARTBEAT, {"type": kind, "payload": told["payload"]}))
            return
        self._send_all(run, models, event(kind, about))
        if kind == RUN_FINISHED:
            for listener in self._listeners:
                if listener.to_its_end and listener.run == run:
                    listener.leave()

    def _send(self, call: GatewayCall, told: bytes) -> None:
        self._send_all(shown.run_of(call)[0], (call.asked.model, call.attempts.model), told)

    def _send_all(self, run: str, models: tuple[str, ...], told: bytes) -> None:
        for listener in self._listeners:
            if listener.wants(run, models):
                listener.tell(told)

    # -- who listens ------------------------------------------------------------------------------------------

    def listen(self, outlet: Outlet, run: str = "", model: str = "", *, to_its_end: bool = False) -> Listener:
        """One more who is told what happens from now on; it waits for him until he is followed."""
        listener = Listener(outlet, run, model)
        listener.to_its_end = to_its_end
        self._listeners.add(listener)
        return listener

    def forget(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    async def follow(self, receive: Callable[[], Awaitable[Any]], listener: Listener) -> None:
        """Tell this one, until it leaves, its run has ended, or the gateway drains."""
        outlet = listener.outlet
        leaving = asyncio.get_running_loop().create_task(_left(receive, listener))
        try:
            outlet.start(200, HEADERS)
            outlet.push(HELLO)
            while listener.is_open or (listener.to_its_end and listener.has_news and not outlet.finished):
                told = await listener.next()
                if not outlet.finished:
                    outlet.push(told)
                if outlet.is_slow:
                    await outlet.settled()
        finally:
            self.forget(listener)
            leaving.cancel()
        await outlet.finish()

    def close(self) -> None:
        """The gateway drains: who listens may ask another one."""
        for listener in list(self._listeners):
            listener.close()


async def _left(receive: Callable[[], Awaitable[Any]], listener: Listener) -> None:
    """Until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.outlet.close()
    listener.close()
