"""The name of a process that does runs: others on the same machine see by it at once that the process is gone."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Final
from uuid import uuid4

PROC: Final = Path("/proc")
BOOT: Final = PROC / "sys/kernel/random/boot_id"
STATE, STARTED = 0, 19  # of /proc/PID/stat, behind the name in parentheses
ENDED: Final = ("Z", "X")
PARTS: Final = 4


def new_name() -> str:
    """A new one for this process. Where there is no /proc it tells nothing, and only the beats count."""
    here, stat = _machine(), _stat(os.getpid())
    return f"{here}-{os.getpid()}-{stat[STARTED]}-{uuid4().hex[:12]}" if here and stat else uuid4().hex


def is_gone(name: str) -> bool:
    """Whether we can see that it has ended; what cannot be seen from here may live."""
    parts = name.split("-")
    if len(parts) != PARTS or parts[0] != _machine() or not parts[1].isdecimal():
        return False
    try:
        os.kill(int(parts[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's: it may be hidden from us
        return False
    stat = _stat(int(parts[1]))
    return bool(stat) and (stat[STATE] in ENDED or stat[STARTED] != parts[2])


@cache
def _machine() -> str:
    """Where a number means the same process: this boot of this machine, and this container of it."""
    try:
        seen = BOOT.read_text() + os.readlink(PROC / "self/ns/pid")
    except OSError:
        return ""
    return hashlib.blake2s(seen.encode(), digest_size=6).hexdigest()


def _stat(process: int) -> list[str]:
    try:
        return (PROC / str(process) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
