"""A record on disk of what runs, so that the next start finds what an earlier life could not end.

Each supervisor has a file of its own in the folder, named by its process id. What is in the file of one that still
lives is not left over; neither is a process whose id belongs to somebody else by now, or anything from before the
machine was started.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hangtight.supervisor.family import Family, start_of
from hangtight.supervisor.readiness import somebody_listens
from hangtight.supervisor.stopping import stopped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from hangtight.rules.running import Running
    from hangtight.supervisor.stopping import Stopped

BOOT = Path("/proc/sys/kernel/random/boot_id")
PATTERN = "processes-*.json"
LOOK = 0.05


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process in the record: who it is, and what it was started as."""

    model: str
    pid: int
    started: str
    """Its start time, by the kernel's clock."""
    group: int
    digest: str
    """Of its command and its environment: one that was started in another way than it would be now is of no use."""
    port: int | None = None
    mark: str = ""
    stop: str = ""
    """Of the command that stops it, as `stop_of` gives it. With one, more may run than we could see."""

    @property
    def family(self) -> Family:
        """What `stopped` takes."""
        return Family(self.group, self.started, self.mark, continuous=False)


def digest_of(command: Sequence[str], env: Mapping[str, str]) -> str:
    """The same for the same command and environment; tells nothing of what stands in them."""
    text = json.dumps([list(command), sorted(env.items())])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def stop_of(running: Running) -> str:
    """Of its cmdStop; empty where it has none."""
    return digest_of(running.stop_command, {}) if running.stop_command else ""


class Record:
    """This process's file: written anew, as a whole, at each change."""

    def __init__(self, folder: Path, guard: int = 0) -> None:
        """`guard` is the id of the guard: as long as it lives, it ends what we left."""
        self.path = folder / f"processes-{os.getpid()}.json"
        self._guard = [guard, start_of(guard) if guard else ""]
        self._running: dict[int, Leftover] = {}

    def guarded_by(self, guard: int) -> None:
        """Another one, from now on."""
        self._guard = [guard, start_of(guard)]
        if self._running:
            self._write()

    def note(self, process: Leftover) -> None:
        """It runs. Raises OSError where it cannot be written."""
        self._running[process.pid] = process
        self._write()

    def forget(self, pid: int) -> None:
        """It is gone."""
        if self._running.pop(pid, None) is not None:
            self._write()

    def close(self) -> None:
        """Nothing is left to be found."""
        self._running.clear()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        told = {
            "boot": _boot(),
            "owner": [os.getpid(), start_of(os.getpid())],
            "guard": self._guard,
            "processes": [asdict(process) for process in self._running.values()],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(told, file)
        os.replace(beside, self.path)


def left_over(folder: Path, ended: Collection[Leftover] = ()) -> list[Leftover]:
    """What earlier lives recorded, and what still runs. Files that tell of nothing that runs are thrown away.

    One with a command that stops it may run where we cannot see it, until it is among those that were `ended`.
    """
    owned: set[tuple[int, str]] = set()
    found: dict[tuple[int, str], Leftover] = {}
    for path in sorted(folder.glob(PATTERN)):
        told = _read(path)
        processes = _processes(told)
        running = [each for each in processes if each.started and _may_run(each, each not in ended)]
        if _lives(told.get("owner")):
            owned |= {(process.pid, process.started) for process in running}
        elif running:
            found |= {(process.pid, process.started): process for process in running}
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return [process for name, process in found.items() if name not in owned]


async def guards_done(folder: Path, seconds: float) -> bool:
    """Waits for the guards of earlier lives: what they are about to end must not be adopted. Whether they are done."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while _guards_at_work(folder):  # noqa: ASYNC110 - they are not our children: nothing tells
                await asyncio.sleep(LOOK)
            return True
    return False


def _may_run(process: Leftover, unseen: bool) -> bool:
    return bool((unseen and process.stop) or process.family.remaining())


async def end_all(
    leftovers: Iterable[Leftover], runs: Mapping[str, Running] | None = None, *, seconds: float = 10.0
) -> list[tuple[Leftover, Stopped]]:
    """Ends them, all at the same time, and says of each how that went. `runs`: how the models are run now."""
    those = list(leftovers)
    how = await asyncio.gather(*(_ended(process, (runs or {}).get(process.model), seconds) for process in those))
    return list(zip(those, how, strict=True))


async def _ended(process: Leftover, running: Running | None, seconds: float) -> Stopped:
    """By its own command only where the settings of today have that very command: a record is no reason to run one."""
    if running is None or stop_of(running) != process.stop or not process.stop:
        return await stopped(process.family, seconds=seconds)
    return await stopped(
        process.family, command=running.stop_command, seconds=max(seconds, running.stop), env=dict(running.env)
    )


async def fate_of(process: Leftover, ended: Stopped) -> str:
    """In words: what became of it."""
    if ended.left:
        return f"still there: {', '.join(map(str, ended.left))}"
    if process.stop and process.port is not None and await somebody_listens("127.0.0.1", process.port):
        return f"still there: port {process.port} answers{'; cmdStop failed: ' * bool(ended.said)}{ended.said}"
    return "ended"


def _guards_at_work(folder: Path) -> bool:
    told = [_read(path) for path in folder.glob(PATTERN)]
    return any(not _lives(one.get("owner")) and _lives(one.get("guard")) for one in told)


def _read(path: Path) -> dict[str, Any]:
    """A file that is broken, or from before the machine was started, tells of nothing."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) and told.get("boot") == _boot() else {}


def _processes(told: dict[str, Any]) -> list[Leftover]:
    try:
        return [Leftover(**process) for process in told.get("processes", ())]
    except TypeError:  # another version wrote it
        return []


def _lives(named: Any) -> bool:
    try:
        pid, started = named
        return bool(started) and start_of(pid) == started
    except (TypeError, ValueError):
        return False


def _boot() -> str:
    """A name for the time since the machine was started; start times count from there."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""
