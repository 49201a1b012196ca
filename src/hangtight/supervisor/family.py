"""A process and all that it started, also what left its group: who of them runs, and how they are ended."""

from __future__ import annotations

import asyncio
import os
import sys

LOOK = 0.25
OWNER = "HANGTIGHT_OWNER"

if sys.platform == "win32":
    from hangtight.drivers.job import Job

    def start_of(pid: int) -> str:
        """Nothing outlives us there, so nobody asks when it was started."""
        return ""

    class Family:
        """The job of a process."""

        def __init__(self, pid: int, started: str = "", mark: str = "", *, continuous: bool = True) -> None:
            self.pid, self.started, self.mark = pid, started, mark
            self._job = Job(pid)

        def remaining(self) -> list[int]:
            """Not who, only whether."""
            return [] if self._job.is_empty() else [self.pid]

        def ask_to_end(self, number: int) -> None:
            """Windows has no signal that a console process without our console would hear."""
            self._job.terminate()

        def kill(self) -> None:
            self._job.terminate()

        async def exited(self) -> str:
            while self.remaining():  # noqa: ASYNC110 - nothing tells when a job is empty
                await asyncio.sleep(LOOK)
            return "ended"

        def close(self) -> None:
            self._job.close()

else:
    import signal
    from typing import TYPE_CHECKING

    from hangtight.supervisor import guard
    from hangtight.supervisor.guard import bears, children_of, mark_of, of_group, seen, send

    if TYPE_CHECKING:
        from hangtight.supervisor.guard import Seen

    start_of = guard.start_of

    class Family:
        """The group of a process that was started in a session of its own, and who bears its mark, and their children.

        `started` is the process's start time: an id that was given to somebody else meanwhile is not ours.
        `continuous`: we have known of it without a break. Else a group without its leader may be somebody else's by
        now, and only who bears the mark counts.
        """

        def __init__(self, pid: int, started: str, mark: str = "", *, continuous: bool = True) -> None:
            self.pid, self.started, self.mark = pid, started, mark
            self._continuous = continuous
            self._bytes = mark_of(mark, whole=True) if mark else b""
            self._known: dict[int, str] = {}
            """Who was found once: an orphan may have lost all by which we knew it."""

        def remaining(self) -> list[int]:
            """Who of them runs. Reads /proc, which takes milliseconds: in an event loop better done by a thread."""
            return sorted(self._look())

        def _look(self) -> dict[int, Seen]:
            here = seen()
            here.pop(os.getpid(), None)
            ours = {pid for pid, started in self._known.items() if pid in here and here[pid].started == started}
            ours |= self._group(here)
            if self._bytes:
                ours |= {pid for pid in here if pid not in ours and bears(pid, self._bytes)}
            while more := children_of(here, ours):
                ours |= more
            self._known = {pid: here[pid].started for pid in ours}
            return {pid: here[pid] for pid in ours}

        def _group(self, here: dict[int, Seen]) -> set[int]:
            return of_group(here, self.pid, self.started) if self._continuous or self.pid in here else set()

        def ask_to_end(self, number: int) -> None:
            """All of them, the group by one call, so that nobody slips through by a fork."""
            remaining = self._look()
            group = self._group(remaining)
            if group:
                try:
                    os.killpg(self.pid, number)
                except OSError:
                    group = set()
            for pid in remaining.keys() - group:
                send(pid, number)

        def kill(self) -> None:
            self.ask_to_end(signal.SIGKILL)

        async def exited(self) -> str:
            """The end of the first of them, for who is not its parent. The kernel tells where it can, else we look."""
            told = await self._told()
            while not told and start_of(self.pid) == self.started != "":  # noqa: ASYNC110
                await asyncio.sleep(LOOK)
            return "ended"

        async def _told(self) -> bool:
            """Waits on a descriptor of the process, as Linux has them. Whether there was one."""
            opening = getattr(os, "pidfd_open", None)
            if opening is None:
                return False
            try:
                process = opening(self.pid)
            except OSError:
                return False
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            try:
                if start_of(self.pid) == self.started:  # after the opening: now it cannot become somebody else
                    loop.add_reader(process, ended.set)
                    await ended.wait()
                return True
            finally:
                loop.remove_reader(process)
                os.close(process)

        def close(self) -> None:
            """Nothing is held."""
