"""Two runs never write the same files at the same time: each claims those of its steps while it runs.

A claim is a file in the folder `.hangtight` of the workspace, which is locked by whoever does the run. So it ends with
that process, however that ends. One of the same run is no hindrance: it may have been taken up elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from hangtight.core.time import FOREVER
from hangtight.drivers import clock
from hangtight.errors import SettingsError
from hangtight.flows.definition.finding import is_named
from hangtight.flows.definition.steps import ENDINGS

if TYPE_CHECKING:
    from hangtight.flows.definition.steps import Flow, Step
    from hangtight.flows.port import RunSpec

FOLDER: Final = ".hangtight"
LOOK: Final = 0.5
TRIES: Final = 10
"""Another run that ends may take the folder away, just when we have made it."""

if sys.platform == "win32":
    import msvcrt

    BEHIND_ALL: Final = 1 << 30
    """A byte that is locked cannot be read there."""

    def _locked(file: IO[str]) -> bool:
        try:
            os.lseek(file.fileno(), BEHIND_ALL, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            os.lseek(file.fileno(), 0, os.SEEK_SET)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _locked(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


@contextmanager
def claimed(spec: RunSpec, flow: Flow) -> Iterator[None]:
    """Refuses with SettingsError where another run that still runs writes one of the files of this one."""
    folder = Path(spec.workspace) / FOLDER
    files = files_of(flow)
    own = sha256(spec.id.encode("utf-8", "replace")).hexdigest()[:16]
    claim = _made(folder / own, {"run": spec.id, "files": sorted(files)})
    try:
        for other, run in _others(folder, own, files):
            wanted = f"another folder: run {run}, which writes {other} there, has not ended"
            raise SettingsError("workspace", spec.workspace, wanted)
        yield
    finally:
        if claim is not None:
            claim.close()
            with suppress(OSError):
                (folder / own).unlink()
        with suppress(OSError):
            folder.rmdir()


@asynccontextmanager
async def claimed_in_turn(spec: RunSpec, flow: Flow) -> AsyncIterator[None]:
    """The same for a run that was left to a worker: it waits until it can have its files, or its time is over."""
    ends = FOREVER if spec.deadline is None else spec.deadline
    with ExitStack() as held:
        while clock.wall() < ends:
            try:
                held.enter_context(claimed(spec, flow))
                break
            except SettingsError:
                await asyncio.sleep(LOOK)
        yield


def files_of(flow: Flow) -> set[str]:
    """All that its steps may write; on some systems `Plan.md` and `plan.md` are the same."""
    return {file.casefold() for step in flow.steps.values() for file in files_of_step(step)}


def files_of_step(step: Step) -> tuple[str, ...]:
    """One of them is what it puts out."""
    return (step.output,) if step.output else tuple(step.name + ending for ending in ENDINGS[step.kind])


def spare_its_own(flow: Flow, source: str, workspace: Path) -> None:
    """Refuses with SettingsError where a step would write over the file in which its flow stands."""
    own = Path(source.rpartition(":")[0] if is_named(source) else source)
    if not source or not own.is_file():
        return
    for step in flow.steps.values():
        for file in files_of_step(step):
            with suppress(OSError):
                if (workspace / file).samefile(own):
                    raise SettingsError(f"{step.name}.output", file, "another file: in this one the flow stands")


def _made(path: Path, told: object) -> IO[str] | None:
    """Ours, and locked. None where another process has it for the same run, or where nothing can be written."""
    for _ in range(TRIES):
        with suppress(FileNotFoundError):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = path.open("a+", encoding="utf-8")
            except FileNotFoundError:
                raise
            except OSError:  # its steps will say what is wrong with the folder
                return None
            if not _locked(file):
                file.close()
                return None
            file.truncate(0)
            file.write(json.dumps(told))
            file.flush()
            return file
    return None


def _others(folder: Path, own: str, files: set[str]) -> Iterator[tuple[str, str]]:
    """Which file of ours is claimed by another run, and by which. What nobody holds any more is removed."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if path.name == own:
                continue
            with suppress(OSError, ValueError, KeyError), path.open("a+", encoding="utf-8") as file:
                if _locked(file):
                    path.unlink()
                    continue
                file.seek(0)
                told = json.load(file)
                for both in sorted(files.intersection(told["files"])):
                    yield both, told["run"]
