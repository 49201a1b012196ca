"""The guard: one small process that outlives us for a moment, and ends what we started when we cannot any more.

Run as a program it listens on its standard input, one line for each process group:

    + GROUP STARTED SIGNAL SECONDS      this group runs; SECONDS after the signal it is killed
    - GROUP                             this group is gone

When the input ends, we are gone, however that came: `kill -9` included. Then it ends every group that it knows, all
that bears our mark in its environment, and all that these started. A group is told by its leader's id and start time,
so that an id that the system gave away again is never hit.

It hears none of the signals that end us: who starts it has them blocked. It stands alone, without any other file of
hangtight, because it runs for as long as we do and should weigh little. The supervisor imports from here how processes
are seen.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

assert sys.platform != "win32", "a Job object is the guard there"

OWNER = "HANGTIGHT_OWNER"
"""The variable that marks what we started: the only trace of a process that left its group."""

LOOK = 0.05
SETTLED = 4  # looks in a row that must find nothing: between fork and exec a process does not bear the mark yet
LAST_WAIT = 10.0  # for the kernel to carry out the kills; then even a process that cannot die is left
SIGKILL = 9  # the same everywhere; `signal` would load `enum` and more

STATE, PARENT, GROUP, SESSION, STARTED = 0, 1, 2, 3, 19  # of /proc/PID/stat, behind the name in parentheses
ZOMBIE = "ZX"
COLUMNS = "pid=,ppid=,pgid=,stat=,lstart="


class Seen:
    """A process that runs. One that has ended and waits to be reaped holds nothing, and is not seen."""

    __slots__ = ("group", "parent", "pid", "session", "started")

    def __init__(self, pid: int, parent: int, group: int, session: int, started: str) -> None:
        self.pid, self.parent, self.group, self.session, self.started = pid, parent, group, session, started


def seen() -> dict[int, Seen]:
    """Every process that runs, by its id."""
    return seen_in_proc() if os.path.isdir("/proc/self") else seen_by_ps()


def seen_in_proc() -> dict[int, Seen]:
    found = (_read(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process is not None}


def _read(pid: int) -> Seen | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name may hold spaces and parentheses
    if len(fields) <= STARTED or fields[STATE] in ZOMBIE:
        return None
    return Seen(pid, int(fields[PARENT]), int(fields[GROUP]), int(fields[SESSION]), fields[STARTED])


def seen_by_ps(*which: str) -> dict[int, Seen]:
    """The same where there is no /proc. Its start times are whole seconds, and it tells of no session."""
    import subprocess

    command = ["ps", *(which or ("-ax",)), "-o", COLUMNS]
    lines = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    found = {}
    for line in lines.stdout.splitlines():
        pid, parent, group, state, started = line.split(None, 4)
        if state[0] not in ZOMBIE:
            found[int(pid)] = Seen(int(pid), int(parent), int(group), int(group), "_".join(started.split()))
    return found


def start_of(pid: int) -> str:
    """When it was started, by the kernel's clock: with its id the name of a process. Empty: it does not run."""
    process = _read(pid) if os.path.isdir("/proc/self") else seen_by_ps("-p", str(pid)).get(pid)
    return process.started if process is not None else ""


def of_group(here: dict[int, Seen], group: int, started: str) -> set[int]:
    """Who runs in the group whose leader was started then.

    The system gives an id to nobody else while a group bears it. So where the leader has gone, the group is still his:
    each member must only be of the session that he opened.
    """
    leader = here.get(group)
    if leader is not None and leader.started != started:
        return set()
    return {pid for pid, process in here.items() if process.group == group == process.session}


def bears(pid: int, mark: bytes) -> bool:
    """Whether its environment, as it was at its start, holds the mark."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in b"\0" + file.read()
    except OSError:
        return False


def mark_of(owner: str, *, whole: bool) -> bytes:
    """What `bears` looks for: one process's mark, or the beginning that all of an owner's marks share."""
    return f"\0{OWNER}={owner}".encode() + (b"\0" if whole else b".")


def children_of(here: dict[int, Seen], parents: set[int]) -> set[int]:
    return {pid for pid, process in here.items() if process.parent in parents and pid not in parents}


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        return


How = tuple[int, float]
"""The signal that asks, and the seconds until the one that does not."""


class Ending:
    """The last deed of a guard: all that it knows is asked to end, then killed, until nothing is found any more."""

    def __init__(self, told: dict[int, tuple[str, How]], owner: str, untold: How) -> None:
        self.told, self.untold = told, untold
        self.mark = mark_of(owner, whole=False)
        self.known: dict[int, tuple[str, How]] = {}
        self.asked: set[tuple[int, str]] = set()

    def found(self) -> dict[int, tuple[str, How]]:
        """Who of ours runs. Who was ours once stays ours: the parent by whom we knew it may be gone by now."""
        here = seen()
        here.pop(os.getpid(), None)
        ours = {pid: known for pid, known in self.known.items() if pid in here and here[pid].started == known[0]}
        for group, (started, how) in self.told.items():
            ours |= {pid: (here[pid].started, how) for pid in of_group(here, group, started)}
        for pid in here:
            if pid not in ours and bears(pid, self.mark):
                ours[pid] = (here[pid].started, self.untold)
        while more := children_of(here, set(ours)):
            ours |= {pid: (here[pid].started, ours[here[pid].parent][1]) for pid in more}
        self.known = ours
        return ours

    def turn(self, passed: float) -> bool:
        """One look, and what follows from it. Whether anything was found."""
        found = self.found()
        for pid, (started, (number, seconds)) in found.items():
            if passed >= seconds:
                send(pid, SIGKILL)
            elif (pid, started) not in self.asked:
                self.asked.add((pid, started))
                send(pid, number)
        return bool(found)

    def run(self, wait: Callable[[float], object]) -> None:
        longest = max([self.untold[1], *(how[1] for _, how in self.told.values())]) + LAST_WAIT
        quiet, passed = 0, 0.0
        while quiet < SETTLED and passed < longest:
            quiet = 0 if self.turn(passed) else quiet + 1
            wait(LOOK)
            passed += LOOK


def listened(source: int = 0) -> dict[int, tuple[str, How]]:
    """What is known when the line to us goes dead."""
    told: dict[int, tuple[str, How]] = {}
    rest = b""
    while data := os.read(source, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            match line.decode().split():
                case ["+", group, started, number, seconds]:
                    told[int(group)] = (started, (int(number), float(seconds)))
                case ["-", group]:
                    told.pop(int(group), None)
                case _:
                    continue
    return told


def main(owner: str, number: str, seconds: str) -> None:
    from select import select

    Ending(listened(), owner, (int(number), float(seconds))).run(lambda length: select([], [], [], length))


if __name__ == "__main__":
    main(*sys.argv[1:])
