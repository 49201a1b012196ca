"""A process and all that it started, ended together: a process group, or a Job object on Windows."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

if sys.platform == "win32":
    from hangtight.drivers.job import Job

    class Tree:
        """The process with this id, and from now on all that it starts."""

        def __init__(self, pid: int) -> None:
            self._job = Job(pid)

        def ask_to_end(self) -> None:
            """Windows has no signal that a console process without our console would hear."""
            self._job.terminate()

        def kill(self) -> None:
            self._job.terminate()

        def is_gone(self) -> bool:
            return self._job.is_empty()

        def close(self) -> None:
            self._job.close()

    SPAWN: dict[str, object] = {"creationflags": 0x00000200}  # CREATE_NEW_PROCESS_GROUP: our Ctrl-C is not theirs

else:

    class Tree:
        """The group of a process that was started in a session of its own."""

        def __init__(self, pid: int) -> None:
            self._group = pid

        def ask_to_end(self) -> None:
            self._signal(signal.SIGTERM)

        def kill(self) -> None:
            self._signal(signal.SIGKILL)

        def is_gone(self) -> bool:
            """No process of the group runs. One that has ended and waits to be reaped by init holds nothing."""
            try:
                os.killpg(self._group, 0)
            except ProcessLookupError:
                return True
            except PermissionError:
                return False
            return not _runs_in(self._group)

        def close(self) -> None:
            """Nothing is held."""

        def _signal(self, number: int) -> None:
            try:
                os.killpg(self._group, number)
            except (ProcessLookupError, PermissionError):
                return

    SPAWN: dict[str, object] = {"start_new_session": True}

    PROCESSES = Path("/proc")
    STATE, GROUP = 0, 2  # fields of /proc/PID/stat after the name in parentheses

    def _runs_in(group: int) -> bool:
        """Whether a process of the group is more than a zombie. Where nothing can be looked up, it is."""
        if not PROCESSES.is_dir():
            return True
        for folder in PROCESSES.glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[GROUP] == str(group) and fields[STATE] not in "ZX":
                return True
        return False
