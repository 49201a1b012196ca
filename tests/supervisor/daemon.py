"""Plays `docker`: `daemon.py run FILE SERVER PORT` has a server run that is no child of its own, and waits for its end.

`daemon.py stop FILE` ends it, `pretend` only says so. The id of the server is in FILE.
"""

import os
import signal
import sys
import time
from contextlib import suppress


def run(file: str, server: str, port: str) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(nothing, number)
            beside = f"{file}.new"
            with open(beside, "w") as told:
                told.write(str(os.getpid()))
            os.replace(beside, file)
            os.execve(sys.executable, [sys.executable, "-I", "-S", server, port], {})
        os._exit(0)
    os.wait()
    while not os.path.exists(file):
        time.sleep(0.01)
    with open(file) as told:
        pid = int(told.read())
    while runs(pid):
        time.sleep(0.05)


def stop(file: str) -> None:
    with suppress(OSError):
        with open(file) as told:
            pid = int(told.read())
        os.kill(pid, signal.SIGTERM)
        while runs(pid):
            time.sleep(0.01)
        os.unlink(file)


def runs(pid: int) -> bool:
    """A daemon that has ended may wait for a first process that reaps nobody."""
    with suppress(OSError), open(f"/proc/{pid}/stat") as told:
        return told.read().rpartition(")")[2].split()[0] != "Z"
    return False


if __name__ == "__main__":
    match sys.argv[1]:
        case "run":
            run(*sys.argv[2:])
        case "stop":
            stop(*sys.argv[2:])
        case _:
            print("done")
