"""A model that is a process: its output is read as it comes, and it is ended with all that it started."""

from __future__ import annotations

import asyncio
import os
import signal
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from hangtight.core.facts import Contact, Fact, LoadProgress
from hangtight.core.telling import Door
from hangtight.core.time import spoken
from hangtight.drivers import clock
from hangtight.drivers.given import AROUND, LimitArgs, given
from hangtight.drivers.terms import terms_of
from hangtight.drivers.tree import SPAWN, Tree
from hangtight.drivers.watch import Watch
from hangtight.errors import BackendError

if TYPE_CHECKING:
    from typing import Self, Unpack

    from hangtight.core.heartbeat import Heartbeat

LAST_LINES = 20
LONGEST_LINE = 4096
DRAIN = 1.0  # how long after the end of a process its pipes may still hold output, if another process keeps them open
GRACE = 3.0  # between asking to end and killing
LAST_WAIT = 1.0  # for the kernel to carry out a kill
LOOK = 0.02
HIGH_WATER = 1 << 20
STDOUT, STDERR = 1, 2

DOOR = Door("hangtight.child([...], {name}={value})")


class Pipes(asyncio.SubprocessProtocol):
    """What the process says, as the loop brings it."""

    def __init__(self, on_stderr: Callable[[bytes], None]) -> None:
        self.on_stderr = on_stderr
        self.transport: asyncio.SubprocessTransport | None = None
        self.waiting: deque[bytes] = deque()
        self.buffered = 0
        self.open = {STDOUT, STDERR}
        self.draining: asyncio.TimerHandle | None = None
        self.exited = asyncio.Event()
        self.news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == STDERR:
            self.on_stderr(data)
            return
        self.waiting.append(data)
        self.buffered += len(data)
        if self.buffered > HIGH_WATER:
            self._reading("pause_reading")
        self.news.set()

    def take(self) -> bytes:
        """The next piece. The process is held back, not us, when nobody reads."""
        data = self.waiting.popleft()
        before, self.buffered = self.buffered, self.buffered - len(data)
        if before > HIGH_WATER >= self.buffered:
            self._reading("resume_reading")
            if self.exited.is_set():
                self._drain()
        return data

    def _reading(self, what: str) -> None:
        pipe = self.transport.get_pipe_transport(STDOUT) if self.transport else None
        if pipe is not None and not pipe.is_closing():
            getattr(pipe, what)()

    @property
    def is_over(self) -> bool:
        """It ended and said all it had to say, on both pipes."""
        return self.exited.is_set() and not self.open and not self.waiting

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.open.discard(fd)
        self.news.set()

    def process_exited(self) -> None:
        self.exited.set()
        self.news.set()
        self._drain()

    def _drain(self) -> None:
        """From now on the pipes get so long, anew each time that we have held them back ourselves."""
        if self.draining is not None:
            self.draining.cancel()
        self.draining = asyncio.get_running_loop().call_later(DRAIN, self._give_up)

    def _give_up(self) -> None:
        """Somebody else keeps the pipes open; what this process had to say is long here."""
        if self.buffered > HIGH_WATER:
            self._drain()
            return
        self.open.clear()
        self.news.set()


class ChildOutput:
    """The stdout of a process, piece by piece: started when the first piece is asked for, ended by `aclose`."""

    bridged = True
    """A synchronous loop reads it too, through an event loop in a thread."""
    loads_anew = True
    """That this program spoke a minute ago does not make it warm."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        text: bool,
        env: Mapping[str, str] | None,
        cwd: str | None,
        stdin: int | None,
        stderr: Callable[[bytes], object] | None,
        keeps: bool = True,
    ) -> None:
        if isinstance(command, str | bytes):
            raise TypeError(f"hangtight.child needs a list of words, the program first, not {command!r}")
        self.keeps = keeps
        """The text is kept for `.partial`."""
        self.command = [os.fspath(word) for word in command]
        if not self.command:
            raise ValueError("hangtight.child needs a command: a list of words, the program first")
        self.env = dict(os.environ if env is None else env)
        self.env.setdefault("PYTHONUNBUFFERED", "1")
        self.cwd, self.stdin, self.stderr = cwd, stdin, stderr
        self.decode = getincrementaldecoder("utf-8")("replace").decode if text else None
        self.note: Callable[[Fact], object] | None = None
        self.on_start: Callable[[int], object] | None = None
        """Told the id of the process as soon as it runs."""
        self.pipes: Pipes | None = None
        self.tree: Tree | None = None
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.line = b""
        self.spoke = False
        self.started = 0.0

    def attach(self, note: Callable[[Fact], object]) -> None:
        """The generation to which this process belongs: what it says on stderr is a fact for it."""
        self.note = note

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        if self.pipes is None:
            await self._start()
        pipes = self.pipes
        assert pipes is not None, "a process that has started has pipes"
        while not pipes.waiting and not pipes.is_over:
            pipes.news.clear()
            await pipes.news.wait()
        if pipes.waiting:
            self.spoke = True
            data = pipes.take()
            return self.decode(data) if self.decode else data
        self._check_end()
        raise StopAsyncIteration

    async def _start(self) -> None:
        self.started = clock.now()
        loop = asyncio.get_running_loop()
        transport, pipes = await loop.subprocess_exec(
            lambda: Pipes(self._on_stderr),
            *self.command,
            stdin=self.stdin,
            env=self.env,
            cwd=self.cwd,
            **cast("dict[str, Any]", SPAWN),
        )
        self.pipes = pipes
        self.tree = Tree(transport.get_pid())
        if self.on_start is not None:
            self.on_start(transport.get_pid())

    def _on_stderr(self, data: bytes) -> None:
        """Load progress until the first output, contact after it; the last lines are kept for the error."""
        if self.note is not None:
            self.note(Contact() if self.spoke else LoadProgress())
        if self.stderr is not None:
            self.stderr(data)
        *lines, self.line = (self.line + data).split(b"\n")
        self.line = self.line[-LONGEST_LINE:]
        self.last_lines.extend(line.decode("utf-8", "replace").rstrip("\r")[-LONGEST_LINE:] for line in lines)

    @property
    def returncode(self) -> int | None:
        transport = self.pipes.transport if self.pipes else None
        return None if transport is None else transport.get_returncode()

    def _check_end(self) -> None:
        """A process that died is an error at once, with what it said last."""
        code = self.returncode
        if not code:
            return
        elapsed = clock.now() - self.started
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        lines = [*self.last_lines, *([self.line.decode("utf-8", "replace")] if self.line else [])][-LAST_LINES:]
        said = "\n".join(lines)
        name = os.path.basename(self.command[0])
        error = BackendError(f"{name} {how} after {spoken(elapsed)}" + (f"; it said last:\n{said}" if said else ""))
        error.returncode, error.stderr, error.elapsed = code, said, elapsed
        raise error

    async def aclose(self) -> None:
        """End the process with all that it started, and see that it is gone.

        After a clean end, what it left in the background goes on, unless that keeps its output open.
        """
        pipes, tree = self.pipes, self.tree
        if pipes is None or tree is None or pipes.transport is None:
            return
        try:
            if not pipes.exited.is_set() or not self._closed_by_itself():
                await self._end_tree(pipes, tree)
        finally:
            pipes.transport.close()
            tree.close()

    def _closed_by_itself(self) -> bool:
        pipe = self.pipes.transport.get_pipe_transport(STDOUT) if self.pipes and self.pipes.transport else None
        return pipe is None or pipe.is_closing()

    async def _end_tree(self, pipes: Pipes, tree: Tree) -> None:
        try:
            tree.ask_to_end()
            await self._gone(pipes, tree, GRACE)
        finally:
            if not (pipes.exited.is_set() and tree.is_gone()):
                tree.kill()
        await self._gone(pipes, tree, LAST_WAIT)

    async def _gone(self, pipes: Pipes, tree: Tree, limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                await pipes.exited.wait()
                while not tree.is_gone():  # noqa: ASYNC110 - nothing tells when a grandchild is gone
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            return


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def child(
    command: Sequence[str],
    *,
    text: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: int | None = None,
    stderr: Callable[[bytes], object] | None = None,
    mode: str | None = None,
    model: str | None = None,
    on_heartbeat: Callable[[Heartbeat], object] | None = None,
    keeps: bool = True,
    door: Door = DOOR,
    **limits: Unpack[LimitArgs],
) -> Watch[Any]:
    """Run a model process under the time contract and read its output as it comes.

    Yields text (`text=False`: bytes). What it writes to stderr counts as load progress until its first output and
    as contact after it; `stderr` is called with those bytes. A process that dies raises BackendError at once. With
    `keeps=False` nothing is kept for `.partial`, however much it says.

    >>> "".join(child(["printf", "hello"]))
    'hello'
    """
    output = ChildOutput(command, text=text, env=env, cwd=cwd, stdin=stdin, stderr=stderr, keeps=keeps)
    name = model or os.path.basename(output.command[0])
    return Watch(output, terms_of(given(limits, mode), *AROUND.get(), door=door), model=name, on_heartbeat=on_heartbeat)


achild = child
"""The same for `async for`: what `child` returns is read either way."""
