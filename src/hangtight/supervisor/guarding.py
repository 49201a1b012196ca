"""Our end of the guard: who runs is told to it, and it is started again if somebody ended it."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from typing import TYPE_CHECKING

from hangtight.supervisor.family import OWNER, start_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SECONDS = 10.0  # between asking and killing, for who was never told of
MARKS = itertools.count(1)
"""One row for the whole process, so that no two of its supervisors give the same mark."""


def owner_here() -> str:
    """A name for this process that no other one has had since the machine was started."""
    return f"{os.getpid()}-{start_of(os.getpid())}"


class Marks:
    """What a process that we start bears in its environment, so that it can be told from all others later."""

    def __init__(self) -> None:
        self.owner = owner_here()

    def new(self) -> str:
        return f"{self.owner}.{next(MARKS)}"


def marked(env: Mapping[str, str], mark: str) -> dict[str, str]:
    return {**env, OWNER: mark}


if sys.platform == "win32":
    from hangtight.supervisor.lasting import end_with_us

    class Guard:
        """Windows does it by itself: we are in a job, and with us all that we start. With our handle it ends."""

        pid = 0

        def __init__(self, seconds: float = SECONDS) -> None:
            self.marks = Marks()

        def start(self) -> None:
            end_with_us()

        def tell(self, group: int, started: str, number: int = signal.SIGTERM, seconds: float = SECONDS) -> None:
            """The job knows."""

        def forget(self, group: int) -> None:
            """The job knows."""

        async def kept_alive(self, on_new: Callable[[int], object]) -> None:
            """The job lives as long as we do."""

        async def close(self) -> None:
            """The job goes with the process."""

else:
    import subprocess
    from contextlib import contextmanager, suppress

    from hangtight.supervisor import guard

    LAST_WAIT = 1.0
    PAUSE = 1.0
    LOOK = 5.0  # seconds, where no event tells that a process has ended

    async def _ended(process: subprocess.Popen[bytes]) -> None:
        """The kernel tells, where it can."""
        opening = getattr(os, "pidfd_open", None)
        with suppress(OSError):
            ends = opening(process.pid) if opening else None
            if ends is not None:
                loop, ended = asyncio.get_running_loop(), asyncio.Event()
                try:
                    loop.add_reader(ends, ended.set)
                    await ended.wait()
                finally:
                    loop.remove_reader(ends)
                    os.close(ends)
        while process.poll() is None:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(LOOK)

    @contextmanager
    def _blocked(*numbers: signal.Signals) -> Iterator[None]:
        """What is started meanwhile never hears these signals, from its very first moment. We hear them later."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    class Guard:
        """One for a whole supervisor, started before the first process.

        It works for as long as this process lives, also after `kill -9`. It cannot work where a fork of this process
        that never calls exec keeps its pipe open.
        """

        def __init__(self, seconds: float = SECONDS) -> None:
            self.marks = Marks()
            self._seconds = seconds
            self._known: dict[int, str] = {}
            self._process: subprocess.Popen[bytes] | None = None

        @property
        def pid(self) -> int:
            """Of the guard itself. 0 while it does not run."""
            return 0 if self._process is None or self._process.poll() is not None else self._process.pid

        def start(self) -> None:
            """Without our environment: the mark of another supervisor in it would make the guard a prey itself."""
            words = [sys.executable, "-I", "-S", guard.__file__, self.marks.owner, str(int(signal.SIGTERM))]
            env = {name: value for name, value in os.environ.items() if name != OWNER}
            with _blocked(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._process = subprocess.Popen(
                    [*words, str(self._seconds)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=env,
                    cwd="/",
                    start_new_session=True,
                    bufsize=0,
                )
            self._say("".join(self._known.values()))

        def tell(self, group: int, started: str, number: int = signal.SIGTERM, seconds: float = SECONDS) -> None:
            """This group runs. To be said as soon as it does; until then its mark must do."""
            if not started:
                return
            self._known[group] = f"+ {group} {started} {int(number)} {seconds}\n"
            self._say_or_start_anew(self._known[group])

        def forget(self, group: int) -> None:
            """It is gone, and somebody looked."""
            if self._known.pop(group, None) is not None:
                self._say_or_start_anew(f"- {group}\n")

        def _say_or_start_anew(self, line: str) -> None:
            if self._process is None:
                return
            try:
                if not self.pid:
                    raise BrokenPipeError
                self._say(line)
            except BrokenPipeError:
                self._hang_up()
                self.start()

        def _say(self, line: str) -> None:
            """At once: the lines of hundreds of groups fit into a pipe that nobody reads for a while."""
            assert self._process is not None
            assert self._process.stdin is not None
            if line:
                self._process.stdin.write(line.encode())

        def _hang_up(self) -> None:
            if self._process is not None and self._process.stdin is not None:
                with suppress(OSError):
                    self._process.stdin.close()

        async def kept_alive(self, on_new: Callable[[int], object]) -> None:
            """Whenever it has died another one is started, and `on_new` is told its id. Runs until it is cancelled."""
            while (process := self._process) is not None:
                await _ended(process)
                if self._process is process:  # else it was noticed already, when something was to be told to it
                    self._hang_up()
                    self.start()
                on_new(self.pid)
                await asyncio.sleep(PAUSE)  # something may kill each of them at once

        async def close(self) -> None:
            """Nothing is left to do for it, or it does it now. Waits for its end, for as long as that may take."""
            process, self._process = self._process, None
            if process is None:
                return
            if process.stdin is not None:
                process.stdin.close()
            longest = self._seconds + guard.LAST_WAIT + LAST_WAIT
            try:
                await asyncio.to_thread(process.wait, longest)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
