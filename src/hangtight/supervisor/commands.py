"""Commands that are run to do something to a model server: cmdSleep, cmdWake, cmdStop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangtight.core.time import spoken
from hangtight.drivers import clock
from hangtight.supervisor.spawning import ended_in_words, nobody_listens, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hangtight.supervisor.guarding import Guard
    from hangtight.supervisor.spawning import OnOutput, Spawned

TAIL = 4096
LAST_LINES = 20
LAST_WAIT = 1.0  # for the kernel to carry out a kill
LOOK = 0.02


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command went."""

    code: int | None
    """None: its time was over, and it was killed with all that it started."""
    tail: str
    """The last lines of what it said."""
    took: float

    @property
    def timed_out(self) -> bool:
        return self.code is None

    @property
    def why(self) -> str:
        """Why it failed, with what it said last; empty if it did not."""
        if self.code == 0:
            return ""
        how = f"timed out after {spoken(self.took)}" if self.timed_out else ended_in_words(self.code)
        return f"{how}; it said last:\n{self.tail}" if self.tail else how


class Tail:
    """The last lines of an output, however long they are."""

    def __init__(self, on_output: OnOutput) -> None:
        self._on_output = on_output
        self._bytes = bytearray()

    def __call__(self, data: bytes) -> None:
        self._bytes += data[-TAIL:]
        del self._bytes[:-TAIL]
        self._on_output(data)

    def text(self) -> str:
        lines = self._bytes.decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-LAST_LINES:]).strip()


async def run_command(
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    seconds: float | None = None,
    on_output: OnOutput = nobody_listens,
    *,
    cwd: str | None = None,
    guard: Guard | None = None,
    on_left: Callable[[Spawned], object] | None = None,
) -> Ended:
    """Run it to its end, or for so many seconds. Raises SpawnFailed where it cannot be started at all.

    When its time is over, or the caller's is, it is killed with all that it started. What it leaves in the background
    after its own end goes on, and is ended with us at the latest; `on_left` is told, who may end it earlier.
    """
    tail = Tail(on_output)
    began = clock.now()
    process = await spawn(argv, env, on_output=tail, cwd=cwd, guard=guard, stop_seconds=0)
    try:
        async with asyncio.timeout(seconds) as limit:
            await process.exited()
        await process.said()
    except TimeoutError:
        if not limit.expired():
            raise
        await _end(process)
        return Ended(None, tail.text(), clock.now() - began)
    except asyncio.CancelledError:
        await _end(process)
        raise
    finally:
        await process.release()
    if on_left is not None:
        children = await asyncio.to_thread(process.remaining)
        if children:
            on_left(process)
    return Ended(process.returncode, tail.text(), clock.now() - began)


async def _end(process: Spawned) -> None:
    """Without asking first: it had its time. What is not gone after the last wait, nobody can end."""
    await asyncio.shield(asyncio.to_thread(process.kill))
    try:
        async with asyncio.timeout(LAST_WAIT):
            await process.exited()
            while await asyncio.to_thread(process.remaining):  # noqa: ASYNC110 - nothing tells when a grandchild is gone
                await asyncio.sleep(LOOK)
    except TimeoutError:
        return
