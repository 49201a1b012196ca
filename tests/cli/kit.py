"""The real command in a folder of its own, and a journal with generations that never happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hangtight
from hangtight.core.attempts import Attempt, Fault
from hangtight.core.heartbeat import Heartbeat, Snapshot
from hangtight.core.layers import Layer, Rank, Situation
from hangtight.core.limits import Limit
from hangtight.core.orders import Broken
from hangtight.core.phases import Phase
from hangtight.core.resolve import resolve
from hangtight.core.time import Seconds
from hangtight.drivers import clock
from hangtight.journal.entries import Begun, Ended, Entry, Kind, Noted
from hangtight.journal.recording import Recorder

SOURCES = str(Path(hangtight.__file__).parents[1])
DAY = 86_400.0
HUNG, STOOD_IN, LOST, OLD = "7f3a21bc0d11", "7f3a21bc0d22", "abc000000001", "01d000000001"
EVIL = "qwen3\x1b[31m\n\x9b2J\u202e\x07"
SECRET = "what the model said"
OF_A_FILE = Layer(Rank.FILE, "hangtight.yaml", {"idle": 60.0}, sources={"idle": "hangtight.yaml:14"})
RESOLVED = resolve([OF_A_FILE], Situation(prompt_tokens=500))
STOOD = Snapshot(
    phase=Phase.STREAMING, elapsed=15.0, tokens=312, silence=8.0, in_contact=True, first_token=3.1,
    nearest=Limit.IDLE, rings_in=37.0,
)  # fmt: skip


def command(
    folder: Path, *words: str, keeps: bool = False, stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """`keeps`: a journal in the folder of this test."""
    kept = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    environment = {**kept, "PYTHONPATH": SOURCES, "PYTHONIOENCODING": "utf-8", "HOME": str(folder)}
    if keeps:
        environment |= {"XDG_DATA_HOME": str(folder / "data")}
        del environment["HANGTIGHT_JOURNAL"]
    return subprocess.run(
        [sys.executable, "-m", "hangtight", *words],
        capture_output=True, text=True, check=False, cwd=folder, input=stdin, env=environment | more, timeout=50,
    )  # fmt: skip


def on_a_terminal(folder: Path, *words: str, **more: str) -> tuple[int, str]:
    """The exit code, and all that was written to a terminal."""
    import pty

    screen, inside = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment = {**kept, "PYTHONPATH": SOURCES, "TERM": "xterm-256color", "HOME": str(folder)} | more
    with subprocess.Popen(
        [sys.executable, "-m", "hangtight", *words],
        stdin=inside, stdout=inside, stderr=inside, cwd=folder, env=environment,
    ) as asking:  # fmt: skip
        os.close(inside)
        written = b""
        try:
            while piece := os.read(screen, 65536):
                written += piece
        except OSError:  # how Linux says that nobody has the other end open any more
            pass
        os.close(screen)
    return asking.returncode, written.decode().replace("\r\n", "\n")


def entries(now: float) -> list[Entry]:
    """A call that hung and was answered by another model, one that is lost, and an old one."""
    of_a_run: Any = {"mode": "deep", "run": "nightly", "step": "generate", "prompt_tokens": 500}
    return [
        Begun(HUNG, HUNG, now - 90, RESOLVED, model="qwen3-coder", host="127.0.0.1:11434", left=64.0, **of_a_run),
        Noted(HUNG, 0.1, Kind.LOADING),
        Noted(HUNG, 15.0, Kind.HEARTBEAT, Heartbeat(STOOD, "qwen3-coder")),
        Noted(HUNG, 78.2, Kind.RANG, Broken(Limit.IDLE, Seconds(45.0))),
        Noted(HUNG, 78.2, Kind.CANCEL_SENT),
        Noted(HUNG, 78.22, Kind.CANCEL_CONFIRMED, 0.02),
        Ended(HUNG, 78.2, "timeout", 312, 3.1, 45.0, "idle", 45.0, "hangtight.yaml:14"),
        Begun(STOOD_IN, HUNG, now - 12, RESOLVED, model="qwen3:1.7b", **of_a_run),
        Noted(STOOD_IN, 0.0, Kind.FALLBACK, Attempt("qwen3-coder", Fault.TIMEOUT, SECRET, 78.2, "idle", 312)),
        Ended(STOOD_IN, 34.0, "finished", 800, 0.4, 0.9),
        Begun(LOST, LOST, now - 5, RESOLVED, model=EVIL, run=EVIL),
        Begun(OLD, OLD, now - 3 * DAY, RESOLVED, model="qwen3-coder"),
        Ended(OLD, 3.0, "finished", 10, 0.5, 0.2),
    ]


def journal(folder: Path) -> str:
    """A journal with these in it; a call that began on the same day whenever the test runs."""
    url = str(folder / "journal.db")
    recorder = Recorder(url, wall=clock.wall, keep=None)
    for entry in entries(clock.wall()):
        recorder.put(entry)
    assert recorder.close(10.0)
    return url


def visible(text: str) -> bool:
    """Nothing in it that a terminal would obey."""
    return all(char.isprintable() or char == "\n" for char in text)
