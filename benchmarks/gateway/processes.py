"""Processes that are measured: started on loopback, read from the kernel's accounting, ended by their id."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
MEGABYTE = 2**20
TO_END = 10.0
"""Seconds between asking a process to end and ending it."""
USUAL_FILES = 1024
"""Open files that a process may have where nobody raised it: what we measure must cope with that by itself."""
LOOKED_EACH = 0.005


@dataclass(frozen=True)
class Peer:
    """Something that stands between client and model; with all processes that it started."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    begun: float
    """The instant of the monotonic clock when it was started."""

    def cpu(self) -> float:
        """Seconds of CPU so far, of all its processes that live, to the nanosecond."""
        return sum(map(cpu_of, tree(self.process.pid)))

    def system(self) -> float:
        """Of these, what was spent in the kernel; only to a hundredth."""
        return sum(int(fields[12]) for pid in tree(self.process.pid) if (fields := stat(pid))) / TICK

    def rss(self) -> float:
        """Megabytes in memory; pages that its processes share count for each."""
        return sum(map(rss_of, tree(self.process.pid)))

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def cpu_of(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) makes of a process id on Linux
    except OSError:
        return 0.0


def rss_of(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / MEGABYTE
    except OSError:
        return 0.0


def stat(pid: int) -> list[str]:
    """What stands behind the name in /proc/PID/stat; nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def tree(root: int) -> list[int]:
    """A process and all that it started, and those started."""
    children = defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := stat(int(name))):
            children[int(fields[1])].append(int(name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def more_files() -> None:
    """As many open files as we may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def environment(**more: str) -> dict[str, str]:
    """Ours, with this checkout on the path, so that a peer may be started in any folder."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**os.environ, "PYTHONPATH": path, **more}


@contextmanager
def started(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    folder: Path,
    within: float,
    more: Mapping[str, str] | None = None,
    health: str = "/health",
) -> Iterator[Peer]:
    """A peer that answers; what it printed is in the folder, and in the error where it does not come up."""
    limited = ["sh", "-c", f'ulimit -Sn {USUAL_FILES}; exec "$@"', "sh", *command]
    printed = folder / f"{name}.out"
    with printed.open("wb") as out:
        begun = time.monotonic()
        process = subprocess.Popen(
            limited, cwd=folder, env=environment(**(more or {})), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    peer = Peer(name, port, process, begun)
    try:
        _answers(peer, health, printed, within)
        yield peer
    finally:
        end(process)


def _answers(peer: Peer, health: str, printed: Path, within: float) -> None:
    while not healthy(peer.port, health):
        if peer.process.poll() is not None or time.monotonic() > peer.begun + within:
            last = printed.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{peer.name} did not answer within {within:g} s:\n{last}")
        time.sleep(LOOKED_EACH)


def healthy(port: int, path: str = "/health") -> bool:
    """Whether it says 200."""
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
