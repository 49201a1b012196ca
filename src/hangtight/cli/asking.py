"""How `hangtight ask` asks: find the server, read the answer under the clocks, one exit code out."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from hangtight.cli.faces import Face, face_for
from hangtight.cli.journals import leave_journal, quiet_logs
from hangtight.cli.process import FAILED, OK, READER_LEFT, SIGNALLED, TIMED_OUT, code_for_signal, say, stop_on_signals
from hangtight.cli.settings import USAGE, fail, use
from hangtight.cli.telling import worth_keeping
from hangtight.core.attempts import Attempt
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.telling import Door
from hangtight.drivers.asking import Asking, watched
from hangtight.drivers.servers import Server, choose_model, find_server, listed
from hangtight.drivers.standing import settings
from hangtight.errors import BackendError, GenerationTimeout, HangtightError, Looping, SettingsError, Truncated

DOOR = Door("hangtight ask --{flag} {value} ...", kept="")
STDIN = "-"
TICK = 0.1  # the line below is drawn ten times a second at most
UNKNOWN_MODEL = (400, 404)
NO_KEY = (401, 403)


@dataclass(frozen=True, slots=True)
class Whom:
    """Who is to answer; None where nobody said."""

    model: str | None
    url: str | None
    fallback: tuple[str, ...] = ()
    proxy: str | None = None
    """The server that has the model, as the settings say."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was written on the command line."""

    words: list[str]
    whom: Whom
    mode: str | None
    think: bool
    as_json: bool
    limits: dict[str, Any]


def ask_command(wish: Wish, config: str | None = None) -> int:
    """Ask, whatever comes of it, and return the exit code for that."""
    quiet_logs()
    use(config)
    try:
        prompt = _prompt(wish.words)
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    if not prompt.strip():
        fail('ask needs a question:  hangtight ask "Why is the sky blue?"', USAGE)
    face = face_for(as_json=wish.as_json)
    code = asyncio.run(_run(wish, prompt, face))
    if face.watched is not None:
        leave_journal()
    return code


def _prompt(words: list[str]) -> str:
    """The words of the question, with stdin in place of a `-`; without any, a pipe's text."""
    if not words and sys.stdin is not None and not sys.stdin.isatty():
        words = [STDIN]
    if STDIN not in words:
        return " ".join(words)
    piped = sys.stdin.buffer.read().decode("utf-8", "replace")
    return "\n\n".join(piped if word == STDIN else word for word in words)


async def _run(wish: Wish, prompt: str, face: Face) -> int:
    interrupted: list[int] = []
    stop_on_signals(interrupted)
    try:
        return await _ask(wish, prompt, face)
    except asyncio.CancelledError:
        face.end(BackendError("interrupted"))
        return code_for_signal(interrupted)
    except BrokenPipeError:
        return READER_LEFT
    except OSError as error:
        face.make_room()
        fail(f"the answer cannot be written: {error.strerror or error}", FAILED)


async def _ask(wish: Wish, prompt: str, face: Face) -> int:
    server, told = None, 0
    try:
        whom = _by_the_settings(wish.whom, wish.mode)
        server = await _server(whom)
        model = await choose_model(server, whom.model)
        asking = Asking(server, model, prompt, think=wish.think)
        listener = _tell if wish.limits.get("heartbeat") and not face.is_live else None
        limits = {"fallback": whom.fallback or _fallback(whom, model, wish.mode), **wish.limits}
        reading = watched(asking, mode=wish.mode, on_heartbeat=listener, door=DOOR, **limits)
        face.begin(asking, reading, chosen=whom != wish.whom or not whom.model)
        async with reading as chunks, _ticking(face):
            async for _ in chunks:
                if len(reading.attempts) > told:
                    face.make_room()
                    told = _tell_attempts(reading.attempts, told)
                face.show()
    except HangtightError as error:
        face.end(error)
        _tell_attempts(error.attempts[:-1], told)
        return _end(error, server, face.place)
    face.end()
    return OK


def _by_the_settings(whom: Whom, mode: str | None) -> Whom:
    """Who is asked where nobody said: the model that the mode prefers, at the server that has it."""
    known = settings()
    named = known.mode(mode)
    model = whom.model or (named.models[0] if named is not None and named.models else None)
    return replace(whom, model=model, proxy=known.proxy(model) if model and whom.url is None else None)


async def _server(whom: Whom) -> Server:
    """A key of the environment is for a server that the user named, not for one that a file in this folder names."""
    if whom.proxy is not None:
        return await find_server(whom.proxy, {})
    return await find_server(whom.url, os.environ)


def _fallback(whom: Whom, model: str, mode: str | None) -> tuple[str, ...]:
    """The stand-ins of the settings, those that the same server has."""
    known = settings()
    names = known.fallback(mode, model) if model else ()
    return tuple(name for name in names if whom.url is not None or known.proxy(name) in (None, whom.proxy))


@asynccontextmanager
async def _ticking(face: Face) -> AsyncIterator[None]:
    """While the block runs, time is seen to pass."""
    ticking = asyncio.create_task(_tick(face)) if face.is_live else None
    try:
        yield
    finally:
        if ticking is not None:
            ticking.cancel()
            await asyncio.wait({ticking})


async def _tick(face: Face) -> None:
    with suppress(OSError):  # a terminal that is gone is noticed where the answer is written
        while True:
            await asyncio.sleep(TICK)
            face.tick()


def _end(error: HangtightError, server: Server | None, place: str) -> int:
    """What the end was, in words on stderr and as an exit code; `place` is where the text is."""
    match error:
        case GenerationTimeout():
            kept = worth_keeping(error, place) if isinstance(error, Looping) else ""
            say(f"{type(error).__name__}: {error}\n{kept}")
            return TIMED_OUT
        case SettingsError():
            say(f"hangtight: {error}\n")
            return USAGE
        case _:
            say(f"hangtight: {error}{_advice(error, server)}\n")
            return FAILED


def _advice(error: HangtightError, server: Server | None) -> str:
    """One more line: what to do about it, where that can be said."""
    match error:
        case Truncated():
            return "\nthe server, or something between, broke it off: its log says why"
        case BackendError(status=int(status)) if status in UNKNOWN_MODEL and server and "model" in str(error):
            return listed(server)
        case BackendError(status=int(status)) if status in NO_KEY:
            return "\nto send a key:  OPENAI_API_KEY=... hangtight ask --url URL ..."
        case _:
            return ""


def _tell_attempts(attempts: Sequence[Attempt], told: int) -> int:
    """Say which models failed before, those that were not told of yet."""
    for attempt in attempts[told:]:
        say(f"hangtight: {attempt}\n")
    return max(told, len(attempts))


def _tell(heartbeat: Heartbeat) -> None:
    say(f"{heartbeat}\n")
