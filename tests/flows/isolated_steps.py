"""Functions that another process finds by their names."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path


def who() -> int:
    print("this is seen, and is no output")
    return os.getpid()


async def double(number: int) -> int:
    return 2 * number


def fails() -> None:
    raise KeyError("missing")


def hangs(note: str) -> None:
    started = subprocess.Popen(["sleep", "300"])
    Path(note).write_text(f"{os.getpid()} {started.pid}")
    time.sleep(300)
