"""A model that is a program and no server: one process for each request, ended with it.

To the rest of the fleet it is a model server without a process of its own: it is up while requests are at it, so that
the groups hold for it as for any other, and its place is free when the last of its processes is gone.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import tempfile
from contextlib import suppress
from functools import partial
from typing import IO, TYPE_CHECKING

from hangtight.core.process.facts import Ending, Fact, Gone, Healthy, PutAway, Rest, Spawned, Why
from hangtight.core.process.orders import Level, Order, Tell
from hangtight.core.process.phases import Phase
from hangtight.drivers.child import ChildOutput
from hangtight.errors import BackendError
from hangtight.supervisor.family import Family, start_of
from hangtight.supervisor.guarding import Marks, marked
from hangtight.supervisor.hands import Hands
from hangtight.supervisor.orphans import Leftover, digest_of
from hangtight.supervisor.prompts import asked_with, takes_prompt
from hangtight.supervisor.server import ModelServer
from hangtight.supervisor.spawning import SpawnFailed, why_not
from hangtight.supervisor.stopping import stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.rules.running import Running
    from hangtight.supervisor.prompts import Question
    from hangtight.supervisor.speaking import Voice
    from hangtight.supervisor.waiting import Held
    from hangtight.supervisor.yard import Yard

NO_PROCESS = 0
"""The id of a server that is none."""
BAD_GATEWAY, UNAVAILABLE = 502, 503


def _nothing_to_tell() -> None:
    """How a load gets on is told in the answer itself."""


class Talks(Hands):
    """The requests of one model. To the machine it is a process that is there at once."""

    def __init__(self, running: Running, yard: Yard, note: Callable[[Fact], None]) -> None:
        super().__init__(running, yard, note, _nothing_to_tell)
        self._numbers = itertools.count(1)
        self._talks: dict[asyncio.Task[None], int] = {}
        """Those whose processes may still run, by number."""
        self._quiet = asyncio.Event()
        """No process runs."""
        self._quiet.set()

    @property
    def numbers(self) -> list[int]:
        return list(self._talks.values())

    def start(self) -> None:
        self._note(Spawned(NO_PROCESS))

    def probe(self) -> None:
        self._note(Healthy())

    def stop(self) -> None:
        """Nobody waits for what still runs, or is to wait for it any longer."""
        self._do("end", self._end_all())

    def kill(self) -> None:
        self.stop()

    async def _end_all(self) -> None:
        for talk in list(self._talks):
            talk.cancel()
        await self._quiet.wait()
        self._note(Gone())

    # -- one request --------------------------------------------------------------------------------------------

    async def answer(self, question: Question, voice: Voice) -> None:
        """From its start to its verified end. Raises BackendError."""
        task = asyncio.current_task()
        assert task is not None, "a request is answered by a task"
        self._talks[task] = next(self._numbers)
        self._quiet.clear()
        try:
            await self._talk(question, voice)
        finally:
            del self._talks[task]
            if not self._talks:
                self._quiet.set()

    async def _talk(self, question: Question, voice: Voice) -> None:
        running = self.running
        with _held("" if takes_prompt(running.command) else question.prompt) as stdin:
            talk = _Process(running, asked_with(running.command, question), self._yard)
            output = talk.output(stdin.fileno(), voice)
            try:
                async for text in output:
                    if text:
                        await voice.say(str(text))
            except (OSError, ValueError) as error:
                if talk.family is not None:  # it runs: this is about its client
                    raise
                raise SpawnFailed(why_not(running.command[0], output.env, error)) from error
            finally:
                try:
                    await output.aclose()
                finally:
                    await talk.see_it_gone()


class Talker(ModelServer):
    """One model that is run anew for each request."""

    def __init__(self, running: Running, yard: Yard) -> None:
        super().__init__(running, yard)
        self._hands: Talks = Talks(running, yard, self.note)

    @property
    def talks(self) -> list[int]:
        """Those that still run, by number."""
        return self._hands.numbers

    def left(self, held: Held, end: Ending) -> None:
        super().left(held, end)
        if not self.leases and self.machine.phase is Phase.READY:
            self.note(PutAway(Rest.STOP, Why.TTL))

    def _obey(self, order: Order) -> None:
        match order:
            case Tell(Level.INFO):
                return  # of a start and a stop that are none
            case _:
                super()._obey(order)

    async def answer(self, question: Question, voice: Voice) -> None:
        """The whole of it. Its process is gone before the last word of the answer."""
        if not self.leases:
            await voice.fail(UNAVAILABLE, f"{self.name}: this request has no place here any more", "not_running")
            return
        try:
            await self._hands.answer(question, voice)
        except BackendError as error:
            self._yard.say(self.name, Level.ERROR, str(error))
            await voice.fail(BAD_GATEWAY, str(error))
        else:
            await voice.finish()


class _Process:
    """The process of one request, as the guard and the record know it."""

    def __init__(self, running: Running, command: list[str], yard: Yard) -> None:
        self.model = running.name
        self.family: Family | None = None
        """None until it runs."""
        self._command, self._env, self._yard = command, dict(running.env), yard
        self._mark = (yard.guard.marks if yard.guard is not None else Marks()).new()

    def output(self, stdin: int, voice: Voice) -> ChildOutput:
        env = marked({**os.environ, **self._env}, self._mark)
        heard = partial(self._heard, voice)
        output = ChildOutput(self._command, text=True, env=env, cwd=None, stdin=stdin, stderr=heard, keeps=False)
        output.on_start = self._runs
        return output

    def _heard(self, voice: Voice, data: bytes) -> None:
        """What it complains about is for the log; what it answers is for nobody but its client."""
        self._yard.printed(self.model, data)
        voice.gets_on()

    def _runs(self, pid: int) -> None:
        self.family = family = Family(pid, start_of(pid), self._mark)
        if self._yard.guard is not None:
            with suppress(OSError):  # it bears the mark, and is found by that
                self._yard.guard.tell(pid, family.started, signal.SIGTERM, 0.0)
        digest = digest_of(self._command[:1], self._env)
        self._yard.runs_now(Leftover(self.model, pid, family.started, pid, digest, None, self._mark))

    async def see_it_gone(self) -> None:
        """With all that it started, also what left its group."""
        family = self.family
        if family is None:
            return
        ended = await stopped(family, seconds=0.0)  # it is not asked first: it has said all, or nobody listens
        if ended.left:
            left = ", ".join(map(str, ended.left))
            self._yard.say(self.model, Level.ERROR, f"process stuck - killed, and still there: {left}")
        else:
            if self._yard.guard is not None:
                self._yard.guard.forget(family.pid)
            self._yard.is_gone(family.pid)
        family.close()


def _held(text: str) -> IO[bytes]:
    """The text as something to read from, of any length, that has no name and is gone when nobody reads it any more."""
    making = getattr(os, "memfd_create", None)
    file: IO[bytes] = os.fdopen(making("prompt"), "w+b") if making else tempfile.TemporaryFile()  # noqa: SIM115
    file.write(text.encode())
    file.seek(0)
    return file
