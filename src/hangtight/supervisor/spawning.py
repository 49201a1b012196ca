"""Starting a process in a group of its own, and hearing what it says and how it ended."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from hangtight.drivers.tree import SPAWN
from hangtight.errors import BackendError
from hangtight.supervisor.family import Family, start_of
from hangtight.supervisor.guarding import Marks, marked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hangtight.supervisor.guarding import Guard

    OnOutput = Callable[[bytes], object]

STDOUT = 1
TURN = 0.125
MOST_IN_A_TURN = 1 << 20
"""8 MiB a second: hundreds of times what a chatty server says, and one that says more is held back, not us."""
DRAIN = 1.0  # how long after its end somebody else may say more through its output
QUIET = 0.05  # without a word for so long, all that it said itself is here: it was in the pipe when it ended
STOP_SECONDS = 10.0


class SpawnFailed(BackendError):
    """A command that could not be started. Nothing runs."""


class Output(asyncio.SubprocessProtocol):
    """What the process says, handed on as it comes; nothing of it is kept here."""

    def __init__(self, on_output: OnOutput) -> None:
        self.on_output = on_output
        self.transport: asyncio.SubprocessTransport | None = None
        self.exited = asyncio.Event()
        self.said = asyncio.Event()
        """It has ended and its output is here."""
        self._open = True
        self._came = self._all_that_came = 0
        self._turn: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._came += len(data)
        self._all_that_came += len(data)
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_later(TURN, self._next_turn)
        if self._came > MOST_IN_A_TURN:
            self._reading("pause_reading")
        self.on_output(data)

    def _next_turn(self) -> None:
        """Held back for a moment, never for ever: who waits for nobody must not block in a write."""
        self._turn = None
        if self._came > MOST_IN_A_TURN:
            self._reading("resume_reading")
        self._came = 0

    def _reading(self, what: str) -> None:
        pipe = self.transport.get_pipe_transport(STDOUT) if self.transport else None
        if pipe is not None and not pipe.is_closing():
            getattr(pipe, what)()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open = False
        if self.exited.is_set():
            self.said.set()

    def process_exited(self) -> None:
        self.exited.set()
        if self._open:
            self._listen_on(-1, DRAIN)
        else:
            self.said.set()

    def _listen_on(self, before: int, left: float) -> None:
        """What it started may keep the pipe open for ever. While we hold back who says much, quiet tells nothing."""
        held_back = self._came > MOST_IN_A_TURN
        if left <= 0 or (self._all_that_came == before and not held_back):
            self.said.set()
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(QUIET, self._listen_on, self._all_that_came, left - QUIET)

    def close(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if self.transport is not None:
            self.transport.close()


class Spawned:
    """A process that we started, named by its id and its start time."""

    def __init__(self, output: Output, family: Family, guard: Guard | None) -> None:
        self.pid, self.started, self.mark = family.pid, family.started, family.mark
        self._output, self._family, self._guard = output, family, guard

    @property
    def returncode(self) -> int | None:
        """None while it runs; minus the number of the signal that ended it."""
        transport = self._output.transport
        return transport.get_returncode() if transport is not None else None

    async def exited(self) -> str:
        """Waits for its end, and says in words how it came: `exit code 1`, `killed by SIGSEGV`."""
        await self._output.exited.wait()
        return ended_in_words(self.returncode)

    async def said(self) -> None:
        """Waits until its output is here too, or somebody else has kept it open for too long."""
        await self._output.said.wait()

    def remaining(self) -> list[int]:
        """Who runs of it and of all that it started."""
        return self._family.remaining()

    def is_gone(self) -> bool:
        return not self.remaining()

    def ask_to_end(self, number: int = signal.SIGTERM) -> None:
        self._family.ask_to_end(number)

    def kill(self) -> None:
        self._family.kill()

    def close(self) -> None:
        """Lets go of its output; a process that still runs is killed. Call it when `stopped` has said how it went.

        Looks at all processes, which takes milliseconds: where others wait for the loop, `release` it.
        """
        if self.returncode is None:
            self.kill()
        self._let_go(is_gone=self._guard is not None and self.is_gone())

    async def release(self) -> None:
        """`close`, with all that takes time in a thread. Who is cancelled meanwhile has let go of it, too."""
        is_gone = False
        try:
            if self.returncode is None:
                await asyncio.shield(asyncio.to_thread(self.kill))
            is_gone = self._guard is not None and await asyncio.to_thread(self.is_gone)
        finally:
            self._let_go(is_gone=is_gone)

    def _let_go(self, *, is_gone: bool) -> None:
        if self._guard is not None and is_gone:  # a guard forgets only what somebody has seen to be gone
            self._guard.forget(self.pid)
        self._output.close()
        self._family.close()


def ended_in_words(code: int | None) -> str:
    if code is None:
        return "still runs"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def nobody_listens(data: bytes) -> None:
    """Output that is read, so that who writes it does not block, and thrown away."""


async def spawn(
    command: Sequence[str],
    env: Mapping[str, str] | None = None,
    *,
    on_output: OnOutput = nobody_listens,
    cwd: str | None = None,
    guard: Guard | None = None,
    stop_signal: int = signal.SIGTERM,
    stop_seconds: float = STOP_SECONDS,
) -> Spawned:
    """Start it, in a session of its own, with `env` on top of our environment; what it says goes to `on_output`.

    The guard is told of it, with what to do if we are not there any more to do it. `on_output` must not raise: the
    pipe would be closed, and the process with it. Raises SpawnFailed.
    """
    mark = (guard.marks if guard is not None else Marks()).new()
    whole = marked({"PYTHONUNBUFFERED": "1", **os.environ, **(env or {})}, mark)
    _check(command, cwd)
    try:
        transport, output = await asyncio.get_running_loop().subprocess_exec(
            lambda: Output(on_output),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=whole,
            cwd=cwd,
            **cast("dict[str, Any]", SPAWN),
        )
    except (OSError, ValueError) as error:
        raise SpawnFailed(why_not(command[0], whole, error)) from error
    pid = transport.get_pid()
    started = start_of(pid)
    if guard is not None:
        with suppress(OSError):  # without a guard it is a process like any other
            guard.tell(pid, started, stop_signal, stop_seconds)
    return Spawned(output, Family(pid, started, mark), guard)


def _check(command: Sequence[str], cwd: str | None) -> None:
    if not command or not command[0]:
        raise SpawnFailed("cannot start a command without words")
    if any("\0" in word for word in command):
        raise SpawnFailed(f"cannot start {command[0]!r}: there is a NUL in its words, where some loops would cut them")
    if cwd is not None and not os.path.isdir(cwd):
        raise SpawnFailed(f"cannot start {command[0]}: there is no folder {cwd}")


def why_not(program: str, env: Mapping[str, str], error: Exception) -> str:
    """What the system's number means for who wrote the command."""
    found = shutil.which(program, path=env.get("PATH"))
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOENT and found:
        return f"cannot start {program}: what its first line names as interpreter does not exist"
    match number:
        case errno.ENOENT:
            why = "no such program" if os.path.dirname(program) else "no such program on the PATH"
        case errno.EACCES:
            why = "it is a folder" if os.path.isdir(program) else "it is not executable"
        case errno.ENOEXEC:
            why = "it is no program that this machine can run"
        case errno.E2BIG:
            why = "its words and its environment are too long"
        case _:
            why = str(error)
    return f"cannot start {program}: {why}"
