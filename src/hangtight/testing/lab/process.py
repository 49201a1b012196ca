"""The lab as a process of its own: what it starts and prints, which signals it hears, and when it ends.

It sleeps for real: it is what is watched, not part of the clockwork.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from hangtight.core.time import Seconds
from hangtight.drivers.clock import sleep
from hangtight.testing.lab.child import GRANDCHILD
from hangtight.testing.lab.lab import serve
from hangtight.testing.lab.manners import Manners

MB = 1_000_000
CANNOT_LISTEN = 1
LINE = b"a line of a log that somebody has to read or throw away".ljust(999, b".") + b"\n"
RUBBISH = bytes(byte for byte in range(256) if byte not in b"\r\n") * 16
"""Every byte but the ends of lines, so not UTF-8 either."""
RUBBISH_EVERY = Seconds(0.01)
"""Some 400 KB/s: without end, and no load worth mentioning."""


def be_server(
    host: str, port: int, say: Callable[[str], None], *, model: str | None = None, manners: Manners | None = None
) -> int:
    """Serve until a signal or the manners end it; returns the exit status. What it started is left running."""
    manners = manners or Manners()
    if manners.ending.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # before the children: they inherit it, as real ones do
    for pid in _start(manners.company.children):
        say(f"child {pid}")
    _fill_log(manners.company.chatty)
    if manners.ending.at_once:
        return manners.ending.code

    def announce(line: str) -> None:
        with suppress(OSError):  # whoever read the log is gone: no reason to end
            say(line)

    try:
        return asyncio.run(serve(host, port, announce, model=model, manners=manners, ready=lambda: _talk(manners)))
    except OSError as taken:
        sys.stderr.write(f"cannot listen on {host}:{port}: {taken.strerror or taken}\n")
        return CANNOT_LISTEN


def _start(children: int) -> list[int]:
    """Processes that stay, also when the server ends; the first is in a session of its own, out of its group."""
    return [
        subprocess.Popen([sys.executable, "-I", "-S", "-c", GRANDCHILD], start_new_session=number == 0).pid
        for number in range(children)
    ]


def _fill_log(size: float) -> None:
    """Print so many MB before anything else: it waits for whoever has the other end of the pipe."""
    for _ in range(round(size * MB / len(LINE))):
        sys.stdout.buffer.write(LINE)
    sys.stdout.flush()


def _talk(manners: Manners) -> None:
    if manners.company.rubbish:
        Thread(target=_print_rubbish, name="rubbish", daemon=True).start()


def _print_rubbish() -> None:
    with suppress(OSError, ValueError):  # nobody reads it any more, or the interpreter ends
        while True:
            sys.stdout.buffer.write(RUBBISH)
            sys.stdout.flush()
            sleep(RUBBISH_EVERY)
