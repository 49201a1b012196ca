"""Ending a process so that it is known to be gone: asked, waited for, killed, looked after."""

from __future__ import annotations

import asyncio
import signal as signals
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from hangtight.drivers import clock
from hangtight.supervisor import gpu
from hangtight.supervisor.commands import run_command
from hangtight.supervisor.readiness import somebody_listens
from hangtight.supervisor.spawning import SpawnFailed, nobody_listens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hangtight.supervisor.spawning import OnOutput

PID = "${PID}"
LAST_WAIT = 2.0  # for the kernel to carry out a kill
FIRST_LOOK, LONGEST_LOOK = 0.01, 0.1


class Stoppable(Protocol):
    """What can be ended: a `Spawned`, or the `Family` of a process that somebody else started."""

    @property
    def pid(self) -> int: ...

    async def exited(self) -> str: ...

    def remaining(self) -> list[int]: ...

    def ask_to_end(self, number: int) -> None: ...

    def kill(self) -> None: ...


class How(Enum):
    """How a stop went."""

    GONE = "gone"
    KILLED = "killed"
    """Asked in vain; then killed, and gone."""
    REMAINS = "remains"
    """Killed, and still something is there."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a stop went, and what is left of the tree."""

    how: How
    took: float
    left: tuple[int, ...] = ()
    """The ids of what is still there."""
    said: str = ""
    """Why the command that was to stop it was of no help."""
    gpu_freed: bool | None = None
    """None: nobody can tell."""


async def stopped(
    process: Stoppable,
    *,
    command: Sequence[str] = (),
    signal: int = signals.SIGTERM,
    seconds: float = 10.0,
    env: Mapping[str, str] | None = None,
    on_output: OnOutput = nobody_listens,
) -> Stopped:
    """Ends it and all that it started, and looks whether they are gone.

    The command (with `${PID}` filled in), or the signal, has `seconds`; a command that fails is followed by the
    signal. Then all are killed. A caller that is cancelled meanwhile leaves nothing behind but a kill. Where nothing
    is left of what we started the command is run all the same: it may know of more, as `docker stop` does.
    """
    began = clock.now()
    said: list[str] = []
    how, limit = How.GONE, asyncio.timeout(seconds)
    try:
        whole = await asyncio.to_thread(process.remaining)
        used = await gpu.held_by(whole) if whole else None
        async with limit:
            if whole or (command and not any(PID in word for word in command)):
                await _asked(process, said, command=command, signal=signal, env=env, on_output=on_output)
            await gone(process)
    except TimeoutError:
        if not limit.expired():
            raise
        how = How.KILLED
        await asyncio.to_thread(process.kill)
        await _gone_or_not(process)
    except asyncio.CancelledError:
        await asyncio.shield(asyncio.to_thread(process.kill))
        raise
    left = tuple(await asyncio.to_thread(process.remaining))
    freed = await gpu.freed(whole) if used else None
    failed = "".join(said) if whole else ""  # where there was nothing to be ended it is no wonder
    return Stopped(How.REMAINS if left else how, clock.now() - began, left, failed, freed)


async def _asked(
    process: Stoppable,
    said: list[str],
    *,
    command: Sequence[str],
    signal: int,
    env: Mapping[str, str] | None,
    on_output: OnOutput,
) -> None:
    if command:
        said.append("cmdStop timed out")  # unless it comes back before the caller's limit rings
        words = [word.replace(PID, str(process.pid)) for word in command]
        try:
            said[:] = [(await run_command(words, env, None, on_output)).why]
        except SpawnFailed as failed:
            said[:] = [str(failed)]
        if not said[0]:
            return
    await asyncio.to_thread(process.ask_to_end, signal)


async def gone(process: Stoppable) -> None:
    """Waits until nothing of it runs. Its own end is told; that of what it started has to be looked for."""
    await process.exited()
    look = FIRST_LOOK
    while await asyncio.to_thread(process.remaining):
        await asyncio.sleep(look)
        look = min(2 * look, LONGEST_LOOK)


async def closed(host: str, port: int, seconds: float) -> bool:
    """Whether nobody answers there any more, now or within so many seconds: what we never saw may run behind it."""
    began, look = clock.now(), FIRST_LOOK
    while await somebody_listens(host, port):
        if clock.now() - began >= seconds:
            return False
        await asyncio.sleep(look)
        look = min(2 * look, LONGEST_LOOK)
    return True


async def _gone_or_not(process: Stoppable) -> None:
    try:
        async with asyncio.timeout(LAST_WAIT):
            await gone(process)
    except TimeoutError:
        return
