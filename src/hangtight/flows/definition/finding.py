"""What `module:name` and `folder/file.py:name` mean: functions and flows that are written in Python."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hangtight.errors import SettingsError

WANTED = "module:name or file.py:name"


def is_named(text: str) -> bool:
    """Whether this names something in Python, rather than a file. `C:\\flow.yaml` is a file."""
    place, colon, name = text.rpartition(":")
    return bool(colon and place) and all(part.isidentifier() for part in name.split("."))


def found(text: str, folder: Path) -> Any:
    """What has this name. `folder` is where files are looked for, and modules, after all other places."""
    place, _, name = text.rpartition(":")
    if not is_named(text):
        raise SettingsError("python", text, WANTED)
    there: Any = _of_a_file(folder / place, text) if place.endswith(".py") else _module(place, folder, text)
    for part in name.split("."):
        try:
            there = getattr(there, part)
        except AttributeError:
            raise SettingsError("python", text, f"{WANTED}; {place} has no {part}") from None
    return there


def reference(function: Callable[..., Any]) -> str | None:
    """`module:name`, where another process would find the same there."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not isinstance(module, str) or module == "__main__" or not is_named(f"{module}:{name}"):
        return None
    there: Any = sys.modules.get(module)
    for part in name.split("."):
        there = getattr(there, part, None)
    return f"{module}:{name}" if there is function else None


def _of_a_file(path: Path, text: str) -> ModuleType:
    """The module of a file, under the name of the file, as if we were started beside it: its functions can travel."""
    if not path.is_file():
        raise SettingsError("python", text, f"{WANTED}; there is no file {path}")
    module = _module(path.stem, path.parent, text)
    here = getattr(module, "__file__", None)
    if here is None or not Path(here).samefile(path):
        raise SettingsError("python", text, f"a file of another name: {path.stem} is a module already")
    return module


def _module(name: str, folder: Path, text: str) -> ModuleType:
    if (place := str(folder.resolve())) not in sys.path:
        sys.path.append(place)  # at the end: nothing that is installed is hidden
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever that module does while it is imported
        why = f"{type(error).__name__}: {error}"
        raise SettingsError("python", text, f"{WANTED} that can be imported ({why})") from error
