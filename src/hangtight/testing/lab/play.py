"""Plays a script onto a connection: does what the plan says, and nothing on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hangtight.testing.lab import plan
from hangtight.testing.lab.counts import Entry
from hangtight.testing.lab.http import JSON, Reply
from hangtight.testing.lab.pause import Schedule, for_ever
from hangtight.testing.lab.residency import Residency
from hangtight.testing.lab.script import Script
from hangtight.testing.lab.wire import LOADING, Ask, Wire

REFUSED = "this model refuses on request of its name"
STREAM_ONLY = "this model only answers streamed: set 'stream' to true"
WHOLE_ONLY = "streaming is not supported"
NO_OPTIONS = "unknown field: stream_options"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a script is played: the connection's answer, the counts, and what kills the server."""

    reply: Reply
    entry: Entry
    residency: Residency
    gone: asyncio.Event
    die: Callable[[], None]


class Player:
    """One generation, from the request to its end."""

    def __init__(self, script: Script, ask: Ask, wire: Wire, stage: Stage) -> None:
        self.script = script
        self.ask = ask
        self.wire = wire
        self.stage = stage

    async def play(self) -> None:
        start = self.script.start
        if start.silent:
            await for_ever()
        warm = self.stage.residency.begin(self.script.name, start.load) if self._loads() else False
        if start.headers is not None:
            await Schedule().wait(start.headers)
        if refused := self._refusal(warm):
            await self._refuse(*refused)
            return
        if start.headers is not None:
            await self._begin(200)
        load = await self.stage.residency.loaded(self.script.name, start.load)
        steps = plan.streamed if self.ask.stream else plan.unstreamed
        if self.ask.stream and not self.stage.reply.begun:
            await self._begin(200)
        schedule = Schedule()
        for step in steps(self.script, self.ask, self.wire, load):
            if self._client_left() and not self.script.ending.ignores_cancel:
                return
            await self._do(step, schedule)

    def _loads(self) -> bool:
        return self._refused() is None

    def _refusal(self, warm: bool) -> tuple[int, str] | None:
        if refused := self._refused():
            return refused
        return (503, LOADING) if self.script.start.unavailable and not warm else None

    def _refused(self) -> tuple[int, str] | None:
        """What is answered without so much as looking for the model."""
        refusal, ask = self.script.refusal, self.ask
        if refusal.status is not None:
            return refusal.status, REFUSED
        if refusal.unstreamed and not ask.stream:
            return 400, STREAM_ONLY
        if refusal.streamed and ask.stream:
            return 400, WHOLE_ONLY
        return (400, NO_OPTIONS) if refusal.stream_options and ask.extras.stream_options else None

    async def _refuse(self, status: int, message: str) -> None:
        self.stage.entry.spoiled()
        after = self.script.refusal.retry_after
        headers = {} if after is None else {"Retry-After": f"{after:g}"}
        await self.stage.reply.whole(status, self.wire.refusal(status, message), headers)

    async def _do(self, step: plan.Step, schedule: Schedule) -> None:
        match step:
            case plan.Wait(seconds):
                await schedule.wait(seconds)
            case plan.Send(data):
                await self._send(data)
            case plan.Made(data):
                self.stage.entry.token(wasted=self._client_left())
                await self._send(data)
            case plan.Hang():
                await for_ever()
            case plan.Cut(reset):
                self.stage.entry.spoiled()
                (self.stage.die if reset else self.stage.reply.cut)()
            case plan.Failed(data, status):
                self.stage.entry.spoiled()
                await self._end(data, status)
            case plan.Finish(data, lingers):
                if not self._client_left():
                    self.stage.entry.finished()
                await self._end(data, lingers=lingers)

    def _client_left(self) -> bool:
        """Whether nobody listens any more; counted here too, for this may be seen before `attend` wakes."""
        if self.stage.gone.is_set():
            self.stage.entry.left()
        return self.stage.gone.is_set()

    async def _send(self, data: bytes) -> None:
        if not data or self.stage.gone.is_set():
            return
        with suppress(ConnectionError):  # `gone` says the same, and who watches it decides what that means
            if not self.stage.reply.begun:
                await self._begin(200)
            await self.stage.reply.send(data)

    async def _end(self, data: bytes, status: int = 200, *, lingers: bool = False) -> None:
        if lingers:
            await self._send(data)
            await for_ever()
        if self.stage.gone.is_set():
            return
        with suppress(ConnectionError):
            if self.stage.reply.begun:
                await self.stage.reply.end(data)
            else:
                await self.stage.reply.whole(status, data)

    async def _begin(self, status: int) -> None:
        await self.stage.reply.begin(status, self.wire.stream_type if self.ask.stream else JSON)


async def attend(
    playing: Coroutine[Any, Any, None], gone: asyncio.Event, left: Callable[[], None], stays: bool
) -> None:
    """Play until it ends or the client leaves; where the generation stays, it is played to its end for nobody."""
    play = asyncio.create_task(playing)
    watch = asyncio.create_task(gone.wait())
    try:
        await asyncio.wait({play, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not play.done():
            left()
        if play.done() or stays:
            await play
    finally:
        play.cancel()
        watch.cancel()
        await asyncio.wait({play, watch})
