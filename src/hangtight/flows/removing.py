"""The files of a run that nobody wants any more: those that its steps have put out, and no others of the folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hangtight.errors import SettingsError
from hangtight.flows.run.workspace import ENDINGS, ERROR, PARTIAL, Workspace

if TYPE_CHECKING:
    from hangtight.flows.port import RunSpec

LATER: Final = 2.0
"""Seconds after the end of a run in which a file may still be its own: clocks of file systems are coarse."""


def remove_files(spec: RunSpec, ended: float, own: Path) -> int:
    """How many there were. What was written after its end is another run's, or yours, and stays.

    A folder in `own`, where each run was given one for itself, goes as a whole. Raises OSError where that cannot be.
    """
    folder = Path(spec.workspace)
    if folder == own / spec.id:
        count = sum(1 for each in folder.rglob("*") if each.is_file())
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
        return count
    count = 0
    for path in _written(Workspace(folder), spec):
        if spec.began <= path.lstat().st_mtime <= ended + LATER:
            path.unlink()
            count += 1
            with suppress(OSError):  # there are others in it
                _leave(path.parent, folder.absolute())
    return count


def _leave(folder: Path, top: Path) -> None:
    while folder != top and folder.is_relative_to(top):
        folder.rmdir()
        folder = folder.parent


def _written(workspace: Workspace, spec: RunSpec) -> Iterator[Path]:
    steps = spec.definition.get("steps", {}) if isinstance(spec.definition, Mapping) else {}
    for name, told in steps.items():
        for file in _names(name, told):
            with suppress(SettingsError):
                path = workspace.place(file)
                yield from (each for each in _beside(path) if os.path.lexists(each) and not each.is_dir())
        if told.get("split"):
            yield from (each for each in sorted((workspace.folder / name).rglob("*")) if not each.is_dir())


def _names(step: str, told: Mapping[str, Any]) -> list[str]:
    """As `Workspace.file_of` gives them, without the flow: its functions may be gone, and nobody runs it."""
    output = told.get("output")
    return [str(output)] if output else [f"{step}{each}" for each in (*dict.fromkeys(ENDINGS.values()), ".json")]


def _beside(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + each) for each in (PARTIAL, ERROR))]
