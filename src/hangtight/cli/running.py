"""How `hangtight run` runs its command: bytes through, signals in, one exit code out."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hangtight.cli.below import Below, answer_is_elsewhere, can_be_drawn
from hangtight.cli.journals import leave_journal, quiet_logs
from hangtight.cli.process import (
    FAILED,
    READER_LEFT,
    SIGNALLED,
    STDERR,
    STDOUT,
    TIMED_OUT,
    Writer,
    code_for_signal,
    say,
    stop_on_signals,
)
from hangtight.cli.settings import USAGE, fail, use
from hangtight.cli.telling import printable, status_line, worth_keeping
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.telling import Door
from hangtight.drivers.child import child
from hangtight.drivers.watch import Watch
from hangtight.errors import BackendError, GenerationTimeout, HangtightError, Looping, SettingsError

NOT_FOUND, NOT_EXECUTABLE = 127, 126
LOOK = 0.2  # how often a write that blocks looks whether the time is up
DRAW = 0.5  # how often the line on stderr is drawn anew
LAST_WORDS = 5.0  # for whoever reads our stderr
DOOR = Door("hangtight run --{flag} {value} -- ...", kept="")


def run_command(
    command: list[str], model: str | None, mode: str | None, limits: dict[str, Any], config: str | None = None
) -> int:
    """Run it to its end, whatever that is, and return the exit code for it."""
    quiet_logs()
    use(config)
    code = asyncio.run(_run(command, model, mode, limits))
    leave_journal()
    return code


class OutputLost(HangtightError):
    """Our stdout does not take what the process says: a full disk, a closed descriptor."""


class Said:
    """What the process says goes out here: to stdout piece by piece, to stderr beside it."""

    def __init__(self, *, draws: bool = False) -> None:
        """`draws`: a line on stderr says how it stands."""
        self.mid_line = False
        self._out, self._err = Writer(STDOUT), Writer(STDERR)
        self._below = Below(lambda text: self._err.post(text.encode())) if draws else None
        self._can_draw = draws
        """The process does not stand in the middle of a line of its own."""

    async def piece(self, piece: bytes, output: Watch[bytes]) -> None:
        """Done when it is written, or when the time of the run is up: then nobody may ever read it."""
        self.mid_line = not piece.endswith(b"\n")
        writing = asyncio.wrap_future(self._out.write(piece))
        while not writing.done() and output.outcome is None:
            await asyncio.wait({writing}, timeout=LOOK)
        if writing.done() and (error := writing.exception()) is not None:
            if isinstance(error, BrokenPipeError):
                raise error
            raise OutputLost(f"the output cannot be written: {getattr(error, 'strerror', None) or error}")

    def on_stderr(self, piece: bytes) -> None:
        """Nobody may be listening there, and the process works all the same."""
        self._make_room()
        self._can_draw = piece.endswith(b"\n")
        self._err.post(piece)

    def draw(self, output: Watch[bytes]) -> None:
        """How it stands, where that disturbs nobody."""
        if self._below is not None and self._can_draw:
            self._below.draw(status_line(output.snapshot(), self._below.room, total=output.limits.total))

    def _make_room(self) -> None:
        if self._below is not None:
            self._below.clear()

    async def flush(self) -> None:
        self._make_room()
        await self._err.flush(LAST_WORDS)

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        self.end_line()
        if self._below is None:
            say(f"{heartbeat}\n")
        else:
            self.on_stderr(f"{printable(str(heartbeat))}\n".encode())

    def end_line(self) -> None:
        if self.mid_line and sys.stdout.isatty() and sys.stderr.isatty():
            self.mid_line = False
            say("\n")


async def _run(command: list[str], model: str | None, mode: str | None, limits: dict[str, Any]) -> int:
    interrupted: list[int] = []
    draws = can_be_drawn() and answer_is_elsewhere()
    said = Said(draws=draws)
    stop_on_signals(interrupted)
    listens = limits.get("heartbeat") if "heartbeat" in limits else sys.stderr.isatty() and not draws
    try:
        output = child(
            command,
            text=False,
            stdin=subprocess.DEVNULL if sys.stdin is None or sys.stdin.isatty() else None,
            stderr=said.on_stderr,
            model=model,
            mode=mode,
            on_heartbeat=said.heartbeat if listens else None,
            keeps=False,
            door=DOOR,
            **limits,
        )
        async with output as pieces, _drawing(said, pieces if draws else None):
            async for piece in pieces:
                await said.piece(piece, pieces)
        await said.flush()
    except asyncio.CancelledError:
        if draws:
            await said.flush()
        return code_for_signal(interrupted)
    except (HangtightError, OSError) as error:
        await said.flush()
        said.end_line()
        return _end(error, command)
    return 0


@asynccontextmanager
async def _drawing(said: Said, output: Watch[bytes] | None) -> AsyncIterator[None]:
    """While the block runs, the line is drawn anew."""
    if output is None:
        yield
        return

    async def draw() -> None:
        while True:
            await asyncio.sleep(DRAW)
            said.draw(output)

    drawing = asyncio.create_task(draw())
    try:
        yield
    finally:
        drawing.cancel()
        await asyncio.wait({drawing})


def _end(error: HangtightError | OSError, command: list[str]) -> int:
    """What the end was, in words on stderr and as an exit code."""
    match error:
        case GenerationTimeout():
            kept = worth_keeping(error, "on stdout") if isinstance(error, Looping) else ""
            say(f"{type(error).__name__}: {error}\n{kept}")
            return TIMED_OUT
        case BackendError(returncode=int(code)):
            say(f"hangtight: {str(error).partition('; it said last')[0]}\n")
            return SIGNALLED - code if code < 0 else code
        case SettingsError():
            fail(str(error), USAGE)
        case BrokenPipeError():
            return READER_LEFT
        case FileNotFoundError():
            fail(f"{command[0]}: command not found", NOT_FOUND)
        case PermissionError():
            fail(f"{command[0]}: not executable", NOT_EXECUTABLE)
        case OutputLost():
            fail(str(error), FAILED)
        case OSError():
            fail(f"{command[0]}: cannot be run: {error.strerror or error}", NOT_EXECUTABLE)
        case _:
            pass
    raise error
