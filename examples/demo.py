"""What `make demo` runs: a slow load that survives, and a hang that is caught. Needs `hangtight[cli]` and no model.

The times are scaled: one second here stands for about half a minute of a real machine.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

FLAT = 1.5
IDLE = 1.0
LOADS = ["lab", "child", "--load", "2.5", "--tokens", "16", "--rate", "16"]
HANGS = ["lab", "child", "--tokens", "16", "--rate", "16", "--mute-after", "10"]
TIMED_OUT = 124

PLAIN, BOLD, DIM, RED, GREEN = "0", "1", "2", "31", "32"


def painted(text: str, colour: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if sys.stdout.isatty() else text


def hangtight() -> list[str]:
    """The command as it is installed beside this Python, or the module."""
    command = shutil.which("hangtight", path=str(Path(sys.executable).parent))
    return [command] if command else [sys.executable, "-m", "hangtight"]


class Screen:
    """Two pipes on one terminal: what comes is shown at once, and a line of stderr never begins inside a line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_start = True

    def text(self, text: str) -> None:
        with self._lock:
            self._write(text)

    def line(self, text: str, colour: str = PLAIN) -> None:
        with self._lock:
            self._write(("" if self._at_start else "\n") + painted(text, colour) + "\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._at_start = text.endswith("\n")


SCREEN = Screen()


@dataclass(frozen=True)
class Seen:
    """What became of a command."""

    code: int
    text: str
    told: list[str]
    seconds: float


def show(*command: str) -> None:
    SCREEN.line(f"$ {shlex.join(command)}", BOLD)


def run(command: list[str], *, flat: float | None = None) -> Seen:
    """Run it with its output on the screen; `flat` is a limit that knows nothing but the clock."""
    began = time.monotonic()
    text: list[str] = []
    told: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        readers = [
            threading.Thread(target=_pass_on, args=(process.stdout, text)),
            threading.Thread(target=_tell, args=(process.stderr, told)),
        ]
        for reader in readers:
            reader.start()
        try:
            process.wait(flat)
        except subprocess.TimeoutExpired:
            process.kill()
        for reader in readers:
            reader.join()
    return Seen(process.returncode, "".join(text), told, time.monotonic() - began)


def _pass_on(pipe: IO[bytes], kept: list[str]) -> None:
    while piece := pipe.read1(4096):  # type: ignore[attr-defined]  # a BufferedReader, which IO does not say
        text = piece.decode()
        kept.append(text)
        SCREEN.text(text)


def _tell(pipe: IO[bytes], told: list[str]) -> None:
    for line in pipe:
        text = line.decode().rstrip()
        told.append(text)
        SCREEN.line(text, DIM if text.startswith("Still waiting") else RED)


def flat_timeout() -> bool:
    SCREEN.line(f"\nA model that loads for 2.5 s, under a flat timeout of {FLAT:g} s:", BOLD)
    show("hangtight", *LOADS)
    seen = run([*hangtight(), *LOADS], flat=FLAT)
    SCREEN.line(f"killed after {seen.seconds:.1f}s with {len(seen.text)} characters: it was loading", RED)
    return seen.code != 0 and not seen.text


def slow_load() -> bool:
    SCREEN.line(f"\nThe same model under hangtight, with {IDLE:g} s of silence allowed in the middle:", BOLD)
    show("hangtight", "run", "--idle", f"{IDLE:g}", "--heartbeat", "2", "--", "hangtight", *LOADS)
    seen = run([*hangtight(), "run", "--idle", f"{IDLE:g}", "--heartbeat", "2", "--", *hangtight(), *LOADS])
    SCREEN.line(f"exit code {seen.code}: {len(seen.text.split())} words in {seen.seconds:.1f}s", GREEN)
    return seen.code == 0 and len(seen.text.split()) == 16


def hang() -> bool:
    SCREEN.line("\nA model that hangs in the middle:", BOLD)
    show("hangtight", "run", "--idle", f"{IDLE:g}", "--", "hangtight", *HANGS)
    seen = run([*hangtight(), "run", "--idle", f"{IDLE:g}", "--", *hangtight(), *HANGS])
    SCREEN.line(f"exit code {seen.code}: caught after {seen.seconds:.1f}s, {len(seen.text.split())} words kept", GREEN)
    return seen.code == TIMED_OUT and len(seen.text.split()) == 10 and len(seen.told) == 3


def main() -> int:
    held = [flat_timeout(), slow_load(), hang()]
    SCREEN.line("\nOn a real machine: 45 s of silence, 60 s more for a load, 600 s in all. `hangtight run --help`", DIM)
    if all(held):
        return 0
    SCREEN.line("this demo did not go as it should have: please report it", RED)
    return 1


if __name__ == "__main__":
    sys.exit(main())
