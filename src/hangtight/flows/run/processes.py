"""The process of a step: what it says is heard, and it ends with all that it started, however that comes.

It bears a mark of its step in its environment, by which it is found again where nothing else leads to it: what left its
group, and what was left by a life of the run that was killed.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from hangtight.drivers.child import ChildOutput

if TYPE_CHECKING:
    from pathlib import Path

LOOK = 0.02
LAST_WAIT = 1.0  # seconds, for the kernel to carry out a kill
CLOSING = 5.0


def mark_of(workspace: Path, run: str, step: str) -> str:
    """The same in each life of a run, and for no other step. Each process adds to it what is its own."""
    return sha256("\0".join((str(workspace), run, step)).encode("utf-8", "replace")).hexdigest()[:24] + "."


async def heard(
    command: Sequence[str],
    mark: str,
    hear: Callable[[str], object],
    *,
    cwd: str | None = None,
    stderr: Callable[[bytes], object] | None = None,
) -> None:
    """Run it to its end; `hear` is told what it says. After a clean end, what it left in the background goes on."""
    mark += os.urandom(4).hex()  # another life of the run may be at the same step by the time that this one ends
    output = ChildOutput(
        command,
        text=True,
        env={**os.environ, MARK: mark},
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=stderr,
        keeps=False,
    )
    LIFELINE.tell(mark)
    output.on_start = lambda pid: LIFELINE.tell(mark, pid)
    is_over = False
    try:
        async for text in output:
            hear(str(text))
        is_over = True
    finally:
        try:
            await _ended(output)
        finally:
            if not is_over:
                _kill(mark)
            LIFELINE.forget(mark)


async def _ended(output: ChildOutput) -> None:
    """It is asked to end, then killed; at once where nobody waits for it any more, and it is still seen to go."""
    closing = asyncio.ensure_future(output.aclose())
    stop: asyncio.CancelledError | None = None
    while not closing.done():
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError as cancelled:
            stop = cancelled
            if output.tree is not None:
                output.tree.kill()
    if not closing.cancelled():
        closing.result()
    if stop is not None:
        raise stop


async def swept(mark: str) -> None:
    """What earlier attempts of this step have left is ended: two of them never run side by side."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WAIT):
            while _kill(mark):  # noqa: ASYNC110 - nothing tells when they are gone
                await asyncio.sleep(LOOK)


if sys.platform == "win32":
    MARK = "HANGTIGHT_STEP"

    def _kill(mark: str) -> bool:
        """A job holds all that it started, and nobody can leave it."""
        return False

    class Lifeline:
        """Nothing here ends a job when we are killed."""

        def tell(self, mark: str, group: int = 0) -> None:
            """Nobody hears it."""

        def forget(self, mark: str) -> None:
            """Nobody hears it."""

else:
    from hangtight.flows.run import lifeline
    from hangtight.flows.run.lifeline import MARK

    _kill = lifeline.kill

    class Lifeline:
        """Our end of the line, for the whole program. The other one is started with the first process of a step.

        It cannot work while something else holds the line open, as a fork in C does that never calls exec.
        """

        def __init__(self) -> None:
            self._known: dict[str, str] = {}
            self._process: subprocess.Popen[bytes] | None = None
            self._one_at_a_time = threading.Lock()

        def tell(self, mark: str, group: int = 0) -> None:
            """Somebody with this mark will run, or does in this group."""
            with self._one_at_a_time:
                line = self._known[mark] = f"+ {mark} {group}" if group else f"+ {mark}"
                self._say(line)

        def forget(self, mark: str) -> None:
            """It is gone."""
            with self._one_at_a_time:
                if self._known.pop(mark, None) is not None:
                    self._say(f"- {mark}")

        def _say(self, line: str) -> None:
            """Where somebody has ended who listened, another one is told all of it."""
            process = self._process
            if process is not None and process.poll() is None:
                with suppress(BrokenPipeError):
                    self._write(process, line)
                    return
            self._start()

        def _write(self, process: subprocess.Popen[bytes], line: str) -> None:
            assert process.stdin is not None
            process.stdin.write(f"{line}\n".encode())

        def _start(self) -> None:
            """Without our own mark: a step in which we run may be ended, and this has to outlive it for a moment."""
            self._hang_up()
            env = {name: value for name, value in os.environ.items() if name != MARK}
            process = self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", lifeline.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=env,
                cwd="/",
                start_new_session=True,
                bufsize=0,
            )
            assert process.stdin is not None
            os.set_blocking(process.stdin.fileno(), False)  # a line that is lost costs less than a loop that waits
            for line in self._known.values():
                self._write(process, line)

        def close(self) -> None:
            """The program ends."""
            process = self._process
            self._hang_up()
            if process is not None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(CLOSING)

        def _hang_up(self) -> None:
            process, self._process = self._process, None
            if process is not None and process.stdin is not None:
                process.stdin.close()

        def forked(self) -> None:
            """In a fork of this program: what runs is not its own."""
            if self._process is not None:
                self._process.returncode = 0
            self._hang_up()
            self._known, self._one_at_a_time = {}, threading.Lock()


LIFELINE = Lifeline()
if sys.platform != "win32":
    atexit.register(LIFELINE.close)
    os.register_at_fork(after_in_child=LIFELINE.forked)
