"""All model servers that we run: who is up, who goes for whom, and what is seen and done of them from outside.

This is what the gateway knows as its steward. It has one loop, and lives from `begin` to `close`.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hangtight.core.process.facts import Hung, PutAway, Rest, Why
from hangtight.core.process.orders import Level
from hangtight.core.process.phases import Phase
from hangtight.core.process.snapshot import snapshot_of
from hangtight.core.time import FOREVER, Instant, between
from hangtight.drivers import clock
from hangtight.rules.running import PROCESS, changes
from hangtight.supervisor.guarding import Guard
from hangtight.supervisor.listening import Listener
from hangtight.supervisor.logs import Logs
from hangtight.supervisor.orphans import Leftover, Record, end_all, fate_of, guards_done, left_over
from hangtight.supervisor.server import NOT_RUN, ModelServer
from hangtight.supervisor.talker import Talker
from hangtight.supervisor.turns import Turns
from hangtight.supervisor.waiting import Held, Refused, Waiting

if TYPE_CHECKING:
    from hangtight.rules.running import Running
    from hangtight.rules.settings import Settings

LEVELS = {"debug": Level.INFO, "info": Level.INFO, "warn": Level.WARN, "error": Level.ERROR}
ORDER = (Level.INFO, Level.WARN, Level.ERROR)
RESTING = (Phase.STOPPED, Phase.ASLEEP, Phase.FAILED)
GUARDS_TAKE = 15.0  # seconds for the guard of an earlier life to end what it has to
WIDTH = 8  # of the level in a line of the log


def _unknown(model: str) -> Instant | None:
    """Nobody tells when a token came."""
    return None


def _nowhere(data: bytes) -> None:
    """What is said stays in the log."""


def _untold(told: Mapping[str, Any]) -> None:
    """Nobody wants to know."""


def _unheard(words: str) -> None:
    """Nobody waits for it."""


class Nobody:
    """Waits for a server without a request: somebody has said in person that it shall be ready."""

    patience = 0.0

    def loading(self) -> None:
        """It goes on."""

    def cut(self, why: str) -> None:
        """It has left already."""


class Fleet:
    """The servers of one gateway."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        progress: Callable[[str], Instant | None] = _unknown,
        output: Callable[[bytes], object] = _nowhere,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.now = clock.clock_of(self.loop)
        self.guard: Guard | None = None
        self.logs = Logs()
        self.progress = progress
        self.on_change: Callable[[Mapping[str, Any]], object] = _untold
        """Told when a server comes into another phase, with how it stands."""
        self.on_orphan: Callable[[str], object] = _unheard
        """Told in words before anything of an earlier life is ended, which may take long."""
        self._output = output
        self._folder = folder
        self._settings = settings
        self._servers: dict[str, ModelServer] = {}
        self._phases: dict[str, Phase] = {}
        """As they were told last."""
        self._turns = Turns(self._servers)
        self._record: Record | None = None
        self._listener: Listener | None = None
        """As soon as there is a model that is a process for each request."""
        self._going: set[asyncio.Task[None]] = set()
        """Servers that are in no file any more, on their way out; and what is started with us."""
        self._begun = self._closing = False
        self._take_up()

    # -- its life -----------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """End what an earlier life has left, and start what is to be there from the beginning."""
        self._begun = True
        await self._end_orphans()
        self._watch_over()
        for name in self._settings.preload:
            if name in self._servers:
                self._keep(self._preload(name))

    def _watch_over(self) -> None:
        """As soon as there is something to be run."""
        if self._begun and self.guard is None and self._servers:
            self.guard = Guard()
            self.guard.start()
            self._record = Record(self._folder, self.guard.pid)
            self._keep(self.guard.kept_alive(self._guarded_by))

    def _guarded_by(self, guard: int) -> None:
        self.say("hangtight", Level.WARN, f"the guard has died, and was started anew (process {guard})")
        self._write(lambda record: record.guarded_by(guard))

    async def _end_orphans(self) -> None:
        if not await asyncio.to_thread(left_over, self._folder):
            return
        await guards_done(self._folder, GUARDS_TAKE)
        found = await asyncio.to_thread(left_over, self._folder)
        for process in found:
            self.on_orphan(f"ending what an earlier life left: {process.model} (process {process.pid})")
        for process, ended in await end_all(found, self._runs):
            how = await fate_of(process, ended)
            self.say(process.model, Level.WARN, f"left over from an earlier life, {how} (process {process.pid})")
        await asyncio.to_thread(left_over, self._folder, found)  # throws away the records of what is gone now

    async def _preload(self, name: str) -> None:
        with suppress(Refused):
            (await self.ready(name, Nobody())).end()

    def _keep(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def close(self) -> None:
        """End all of them. What does not end is killed, and told about."""
        self._closing = True
        servers = [*self._servers.values(), *self._turns.going]
        for server in servers:
            server.note(PutAway(Rest.STOP, Why.SHUTDOWN, urgent=True))
        await asyncio.gather(*(server.until(*RESTING) for server in servers))
        await asyncio.gather(*(self._end_asleep(server) for server in servers))
        for task in list(self._going):
            task.cancel()
        for server in servers:
            await server.close()
        if self._listener is not None:
            await self._listener.close()
        self.logs.close()
        if self._record is not None and not any(server.machine.lingers for server in servers):
            self._record.close()
        if self.guard is not None:
            await self.guard.close()

    def hurry(self) -> None:
        """While it closes: nothing is waited for any more, all are killed."""
        for server in (*self._servers.values(), *self._turns.going):
            server.note(PutAway(Rest.STOP, Why.SHUTDOWN, urgent=True))

    async def _end_asleep(self, server: ModelServer) -> None:
        if server.machine.phase is Phase.ASLEEP:
            server.note(PutAway(Rest.STOP, Why.SHUTDOWN, urgent=True))
            await server.until(Phase.STOPPED, Phase.FAILED)

    # -- the settings -------------------------------------------------------------------------------------------

    def renew(self, settings: Settings) -> None:
        """The settings have changed: only the models that changed are touched."""
        if settings is self._settings or self._closing:
            return
        before, self._settings = self._runs, settings
        found = changes(before, self._runs)
        others = [name for name in found.restarted if self._runs[name].kind != before[name].kind]
        for name in (*found.removed, *others):
            self._turns.going.append(self._servers[name])
            self._keep(self._remove(self._servers.pop(name)))
        for name in (each for each in found.changed if each not in others):
            self._servers[name].renew(self._runs[name])
        for name in (each for each in found.restarted if each not in others):
            self._servers[name].note(PutAway(Rest.STOP, Why.RELOAD))
        self._take_up()
        self._watch_over()
        self._turns.take()

    @property
    def _runs(self) -> Mapping[str, Running]:
        """Commands of a file that nobody has named are not run."""
        return self._settings.runs if self._settings.may_run else {}

    def _take_up(self) -> None:
        for name, running in self._runs.items():
            if name not in self._servers:
                self._servers[name] = (Talker if running.kind == PROCESS else ModelServer)(running, self)
        self._turns.regroup(self._settings.groups.values())

    async def _remove(self, server: ModelServer) -> None:
        """It is in no file any more. Its requests in flight end first, and nobody takes its place until then."""
        server.turn_away(NOT_RUN, FOREVER)
        server.note(PutAway(Rest.STOP, Why.OPERATOR))  # who took it out of the file
        await server.until(Phase.STOPPED, Phase.FAILED)
        self._turns.going.remove(server)
        await server.close()
        if server.name not in self._servers:
            self.logs.drop(server.name)
        self._turns.take()

    # -- for the gateway ----------------------------------------------------------------------------------------

    def runs(self, model: str) -> bool:
        return model in self._servers

    def base(self, model: str) -> str:
        """Where this model is asked, if it is a process for each request."""
        if self._listener is None:
            self._listener = Listener(self._talker)
            self._keep(self._listener.begin())
        return self._listener.base(model)

    def _talker(self, model: str) -> Talker | None:
        found = self._servers.get(model)
        return found if isinstance(found, Talker) else None

    def lease(self, model: str, who: Waiting) -> Held | None:
        """At once, where its server is ready."""
        server = self._servers.get(model)
        return None if server is None else server.lease(who)

    async def ready(self, model: str, who: Waiting, *, insists: bool = False) -> Held:
        """When its server is ready. Raises Refused."""
        server = self._servers.get(model)
        if server is None or self._closing:
            raise Refused(f"{model}: {NOT_RUN}", 1.0)
        future = server.queue(who)
        self._turns.want(model, insists=insists)
        return await server.entered(future)

    async def still_running(self, model: str, base: str, since: Instant) -> None:
        """It goes on with a request that was cancelled then. A prefill does, and is over some day.

        Where it lasts for `hang` seconds, and no token comes for anybody either, the server shall end when its other
        requests have ended. Who sees it stop meanwhile cancels this.
        """
        server = self._servers.get(model) or next(
            (each for each in self._servers.values() if (each.running.proxy or "").rstrip("/") == base), None
        )
        if server is not None and await server.is_quiet_for_long(since):
            server.note(Hung("it goes on with a request that was cancelled"))

    # -- for people ---------------------------------------------------------------------------------------------

    def shown(self) -> list[dict[str, Any]]:
        return [self._shown(server) for server in self._servers.values()]

    def _shown(self, server: ModelServer) -> dict[str, Any]:
        running, now = server.running, self.now()
        seen, serving = snapshot_of(server.machine, now), self._settings.serving(server.name)
        return {
            "model": server.name,
            "phase": seen.phase.value,
            "for": round(seen.lasts, 3),
            "requests": seen.running,
            "waiting": len(server.waiting),
            "leaving": None if seen.leaving is None else seen.leaving.value,
            "clock": None if seen.nearest is None else seen.nearest.value,
            "rings_in": None if seen.rings_in is None else round(seen.rings_in, 3),
            "pid": seen.pid,
            "failures": seen.failures,
            "pause": round(seen.pause, 3),
            "why": seen.why,
            "quiet": None if seen.quiet is None else round(seen.quiet, 3),
            "cmd": shlex.join(running.shown or running.command),
            "proxy": running.proxy,
            "ttl": running.ttl or 0,
            "name": getattr(serving, "title", "") or "",
            "description": getattr(serving, "description", "") or "",
        }

    async def put(self, model: str, into: str) -> Mapping[str, Any]:
        """`wake`, `sleep` or `stop` it; tells how that ended when it has."""
        server, began = self._servers.get(model), self.now()
        if server is None:
            return {"model": model, "ok": False, "phase": "stopped", "why": "it is not run any more", "took": 0.0}
        if into == "wake":
            why = await self._wake(server) or server.fell_back("wake", began)
        else:
            why = await self._put_away(server, Rest.SLEEP if into == "sleep" else Rest.STOP)
        took = round(between(began, self.now()), 3)
        return {"model": model, "ok": not why, "phase": server.machine.phase.value, "why": why, "took": took}

    async def _wake(self, server: ModelServer) -> str:
        try:
            (await self.ready(server.name, Nobody(), insists=True)).end()
        except Refused as refused:
            return str(refused)
        return ""

    async def _put_away(self, server: ModelServer, to: Rest) -> str:
        wanted = Phase.ASLEEP if to is Rest.SLEEP else Phase.STOPPED
        if server.machine.phase is wanted:
            return ""
        if to is Rest.SLEEP and not server.running.sleeps:
            return (
                f"it cannot sleep: it has no cmdSleep and cmdWake, or sleepEndpoints and wakeEndpoints, in {self._file}"
            )
        if to is Rest.SLEEP and server.machine.phase in RESTING:
            return "it does not run"
        began = self.now()
        server.note(PutAway(to, Why.OPERATOR))
        phase = await server.until(*(RESTING if to is Rest.SLEEP else (Phase.STOPPED, Phase.FAILED)))
        if phase is wanted:
            return ""
        return server.fell_back("sleep", began) or server.machine.failures.why or f"it is {phase}"

    @property
    def _file(self) -> str:
        return self._settings.files[0] if self._settings.files else "hangtight.yaml"

    async def unload(self) -> None:
        await asyncio.gather(*(self._put_away(server, Rest.STOP) for server in self._servers.values()))

    # -- what is said -------------------------------------------------------------------------------------------

    def log(self, model: str | None) -> bytes:
        log = self.logs.all if model is None else self.logs.of(model)
        return log.text().encode()

    def follow(self, model: str | None, *, history: bool) -> AsyncIterator[bytes]:
        log = self.logs.all if model is None else self.logs.of(model)
        return log.follow(history=history)

    def say(self, model: str, level: Level, words: str) -> None:
        """A line of ours."""
        said = self._settings.logging
        if ORDER.index(level) < ORDER.index(LEVELS[said.level]):
            return
        line = f"{f'[{level}]'.ljust(WIDTH)}<{model}> {words}\n".encode()
        self.logs.ended(model)
        self.logs.write(model, line)
        if said.to_stdout in ("proxy", "both"):
            self._output(line)

    def printed(self, model: str, data: bytes) -> None:
        self.logs.write(model, data)
        if self._settings.logging.to_stdout in ("upstream", "both"):
            self._output(data)

    # -- what the servers share ---------------------------------------------------------------------------------

    def runs_now(self, process: Leftover) -> None:
        self._write(lambda record: record.note(process))

    def is_gone(self, pid: int) -> None:
        self._write(lambda record: record.forget(pid))

    def _write(self, change: Callable[[Record], None]) -> None:
        if self._record is None:
            return
        try:
            change(self._record)
        except OSError as error:
            record, self._record = self._record, None
            self.say("hangtight", Level.WARN, f"cannot keep a record of what runs in {record.path}: {error}")

    def changed(self, server: ModelServer) -> None:
        phase = server.machine.phase
        if phase is not self._phases.get(server.name, Phase.STOPPED):
            self._phases[server.name] = phase
            self.on_change(self._shown(server))
        self._turns.take()

    def answered(self, server: ModelServer) -> None:
        self._turns.answered(server)
