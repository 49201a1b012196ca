"""What takes its time with a process: starting it, asking it, its commands, its end. Each ends with a fact.

There is one task of each kind. The one before it is of no interest any more.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hangtight.core.process.facts import Exited, Fact, Gone, Healthy, SleepFailed, Stubborn, WakeFailed
from hangtight.core.process.facts import Spawned as SpawnedFact
from hangtight.core.process.facts import SpawnFailed as SpawnFailedFact
from hangtight.core.process.orders import Level
from hangtight.core.time import FOREVER
from hangtight.supervisor.canary import Canary
from hangtight.supervisor.commands import run_command
from hangtight.supervisor.errands import run_errands
from hangtight.supervisor.orphans import Leftover, digest_of, stop_of
from hangtight.supervisor.readiness import Heard, Loading, healthy, somebody_listens
from hangtight.supervisor.spawning import Spawned, SpawnFailed, spawn
from hangtight.supervisor.stages import follow
from hangtight.supervisor.stopping import closed, stopped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from hangtight.rules.running import Running
    from hangtight.supervisor.yard import Yard

HTTPS = 443
HTTP = 80
ASK_AGAIN = 1.0
CLOSES = 1.0  # seconds after a kill in which its port may still answer


class Hands:
    """Of one model server. `note` is told each fact, `gets_on` each sign that the load gets on."""

    def __init__(self, running: Running, yard: Yard, note: Callable[[Fact], None], gets_on: Callable[[], None]) -> None:
        self.running = running
        """How it is run. What has begun goes on as it began."""
        self._yard = yard
        self._note = note
        self._gets_on = gets_on
        self._begun = running
        """How the process was started that runs now."""
        self._spawned: Spawned | None = None
        self._children: list[Spawned] = []
        """What commands have left running."""
        self._settled = asyncio.Event()
        """The last start has come to a process, or to nothing."""
        self._loading: Loading | None = None
        """Only a load is listened to: what a server says later may be much, and tells nothing."""
        self.heard = ""
        """What its check answered last in this start."""
        self._canary = Canary()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    # -- what is ordered ----------------------------------------------------------------------------------------

    def start(self) -> None:
        self._settled.clear()
        self.heard = ""
        self._begun = self.running
        self._do("life", self._live(self.running))

    def probe(self) -> None:
        self._do("probe", self._probe(self.running))

    def probe_no_more(self) -> None:
        self._loading = None
        self._break_off("probe")

    def run(self, command: tuple[str, ...], done: Fact, failed: type[SleepFailed | WakeFailed]) -> None:
        self._do("command", self._run(command, done, failed))

    def run_no_more(self) -> None:
        self._break_off("command")

    def stop(self) -> None:
        """Seen to its end. Without a limit of its own: that is the machine's, which orders a kill then."""
        running = self._of_what_runs
        self._do("end", self._end(running, running.stop_command, FOREVER))

    def kill(self) -> None:
        self._do("end", self._end(self._of_what_runs, (), 0.0))

    @property
    def _of_what_runs(self) -> Running:
        """A file that has changed may say better how it is stopped, but not where what was started before is found."""
        return self.running if self.running.starts_like(self._begun) else self._begun

    async def close(self) -> None:
        """Nothing of ours is left under way. Whoever calls this has seen to it that the process is gone."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        if self._spawned is not None:  # it could not be ended, and the guard tries once more
            self._spawned.close()

    def _do(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        self._break_off(what)
        self._tasks[what] = self._yard.loop.create_task(work, name=f"{what} of {self.running.name}")

    def _break_off(self, what: str) -> None:
        task = self._tasks.pop(what, None)
        if task is not None:
            task.cancel()

    # -- a life -------------------------------------------------------------------------------------------------

    async def _live(self, running: Running) -> None:
        """From its start to its end."""
        self._loading = Loading()
        host, port = place_of(running)
        try:
            if port is not None and await somebody_listens(host, port):
                words = f"port {port} is taken: another program listens at {running.proxy}"
                raise SpawnFailed(f"{words}; end it, or set startPort to where nobody does")
            env = dict(running.env)
            number = signal.Signals[running.signal]
            self._spawned = spawned = await spawn(
                running.command, env, on_output=self._printed, guard=self._yard.guard, stop_signal=number,
                stop_seconds=running.stop,
            )  # fmt: skip
        except SpawnFailed as failed:
            self._settled.set()
            self._note(SpawnFailedFact(str(failed)))
            return
        self._settled.set()
        digest = digest_of(running.command, env)
        stop = stop_of(running)
        self._yard.runs_now(
            Leftover(running.name, spawned.pid, spawned.started, spawned.pid, digest, port, spawned.mark, stop)
        )  # fmt: skip
        self._note(SpawnedFact(spawned.pid))
        how = await spawned.exited()
        if self._spawned is spawned:
            self._note(Exited(how))

    async def _end(self, running: Running, command: tuple[str, ...], seconds: float) -> None:
        await self._settled.wait()  # it may be being started at this very moment
        spawned = self._spawned
        if spawned is None:
            return  # it could not be started, and that has been told
        number, env = signal.Signals[running.signal], dict(running.env)
        ended, *others = await asyncio.gather(
            stopped(spawned, command=command, signal=number, seconds=seconds, env=env, on_output=self._printed),
            *(stopped(child, seconds=seconds) for child in self._children),
        )
        if ended.said:
            self._yard.say(running.name, Level.WARN, f"cmdStop failed: {ended.said}")
        if left := [pid for each in (ended, *others) for pid in each.left]:
            self._note(Stubborn(f"process {', '.join(map(str, left))}"))
            return
        for child in self._children:
            await child.release()
        self._children.clear()
        host, port = place_of(running)
        if port is not None and not await closed(host, port, max(seconds, CLOSES)):
            self._note(Stubborn(f"port {port} still answers"))
            return
        await spawned.said()
        await spawned.release()  # who breaks this off begins the end anew
        self._spawned = None
        self._yard.is_gone(spawned.pid)
        if ended.gpu_freed is False:
            self._yard.say(self.running.name, Level.WARN, "Process stopped, and its GPU memory is not free yet")
        self._note(Gone())

    # -- what is asked of it ------------------------------------------------------------------------------------

    async def _run(self, command: tuple[str, ...], done: Fact, failed: type[SleepFailed | WakeFailed]) -> None:
        running, wakes = self.running, failed is WakeFailed
        if command:
            why = await self._why_failed(command)
        elif errands := running.wake_errands if wakes else running.sleep_errands:
            why = await run_errands(running.proxy or "", errands, dict(running.headers))
        else:  # it fell asleep, and the file has changed since
            why = "nothing says any more how it is done"
        if not why and wakes and running.canary and (trouble := await self._canary.trouble(running)):
            why = f"canary: {trouble}"
        self._note(failed(why) if why else done)

    async def _why_failed(self, command: tuple[str, ...]) -> str:
        try:
            ended = await run_command(
                command, dict(self.running.env), None, self._printed, guard=self._yard.guard,
                on_left=self._children.append,
            )  # fmt: skip
        except SpawnFailed as error:
            return str(error)
        return ended.why

    async def _probe(self, running: Running) -> None:
        if running.check is not None and running.proxy is not None:
            async with asyncio.TaskGroup() as group:
                proxy, headers = running.proxy, dict(running.headers)
                listening = group.create_task(self._insisting(lambda: follow(proxy, self._gets_on, headers=headers)))
                url = proxy.rstrip("/") + running.check
                self.heard = f"GET {running.check} was not answered"
                await self._insisting(lambda: healthy(url, on_heard=self._heard))
                listening.cancel()
        if running.canary and (why := await self._canary.remember(running)):
            self._yard.say(running.name, Level.WARN, f"canary: {why}; there is nothing to compare a wake with")
        self._note(Healthy())

    async def _insisting(self, ask: Callable[[], Awaitable[None]]) -> None:
        """To its end. Whatever odd answer a server gives, it is asked again: its clock says when that is over."""
        told = ""
        while True:
            try:
                return await ask()
            except Exception as error:  # noqa: BLE001 - it must not end the questions without a word
                if (words := f"asking whether it is ready failed: {error!r}") != told:
                    self._yard.say(self.running.name, Level.WARN, told := words)
            await asyncio.sleep(ASK_AGAIN)

    # -- what it says -------------------------------------------------------------------------------------------

    def _printed(self, data: bytes) -> None:
        self._yard.printed(self.running.name, data)
        if self._loading is not None and self._loading.heard(data):
            self._gets_on()

    def _heard(self, heard: Heard) -> None:
        self.heard = f"GET {self.running.check} was answered {heard.status}"
        if heard.progress:
            self._gets_on()


def place_of(running: Running) -> tuple[str, int | None]:
    """Where it will listen."""
    parts = urlsplit(running.proxy or "")
    port = parts.port or {"http": HTTP, "https": HTTPS}.get(parts.scheme)
    return parts.hostname or "localhost", port
