"""What steps have started ends when we do, however that comes: one small process listens until we are gone.

Run as a program it reads a line for each process group of ours, and ends those that are left when its input ends, also
after `kill -9`:

    + MARK              somebody will run who bears this mark in his environment: said before he is started
    + MARK GROUP        he does, and this is his group
    - MARK              he is gone, and was waited for: until then the system gives his group's id to nobody else

It stands alone, without any other file of hangtight, because it runs for as long as we do and should weigh little.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

assert sys.platform != "win32", "there are no process groups there"

MARK = "HANGTIGHT_STEP"
"""The variable that tells for which step a process works: the only trace of one that left its group."""
GRACE = 3.0  # seconds between asking and killing
LOOK = 0.05
UNSEEN = 0.3  # seconds in which one that is just being started comes to bear his mark
SIGNALS = (1, 2, 15)  # of a terminal that closes, of Ctrl-C, of a service that ends: it still has its work to do
SIGTERM, SIGKILL = 15, 9  # the same everywhere


def bearing(mark: str) -> Iterator[int]:
    """Who runs and has a mark that begins like this. Nobody, where there is no /proc."""
    wanted = f"\0{MARK}={mark}".encode()
    here = os.getpid()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit() and int(name) != here:
            try:
                with open(f"/proc/{name}/environ", "rb") as file:  # empty, of one that waits to be reaped
                    if wanted in b"\0" + file.read():
                        yield int(name)
            except OSError:
                continue


def kill(mark: str) -> bool:
    """All of them, at once. Whether there was any."""
    found = list(bearing(mark))
    for pid in found:
        try:
            os.kill(pid, SIGKILL)
        except OSError:
            continue
    return bool(found)


def _send(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True


def _heard() -> dict[str, int]:
    """What runs when the line to us goes dead: groups by their mark, 0 where none is known yet."""
    running: dict[str, int] = {}
    for line in sys.stdin:
        match line.split():
            case ["+", mark]:
                running[mark] = 0
            case ["+", mark, group]:
                running[mark] = int(group)
            case ["-", mark]:
                running.pop(mark, None)
            case _:
                continue
    return running


def main() -> None:
    import signal
    from select import select

    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    running = _heard()
    asked = [group for group in running.values() if group and _send(group, SIGTERM)]
    unseen = [mark for mark, group in running.items() if not group]
    passed = 0.0
    while (asked and passed < GRACE) or (unseen and passed < UNSEEN):
        select([], [], [], LOOK)
        passed += LOOK
        asked = [group for group in asked if _send(group, 0)]
        for mark in unseen:
            kill(mark)
    for group in asked:
        _send(group, SIGKILL)
    for mark in running:
        kill(mark)


if __name__ == "__main__":
    main()
