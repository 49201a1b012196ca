"""How this command was called, so that the lines that are to be typed can be typed as they stand."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "hangtight"


def as_called() -> str:
    """`hangtight` where that is this one; else its path from here, like `.venv/bin/hangtight`."""
    script, found = Path(sys.argv[0]), shutil.which(NAME)
    if script.stem != NAME:  # python -m hangtight
        beside = found is not None and Path(found).parent == Path(sys.executable).parent
        return NAME if beside else f"{_from_here(sys.executable)} -m {NAME}"
    return NAME if found is not None and _is_same(found, script) else _from_here(script)


def _is_same(found: str, script: Path) -> bool:
    try:
        return os.path.samefile(found, script)
    except OSError:
        return not script.exists()  # a name that the shell has looked up for us


def _from_here(path: str | Path) -> str:
    """Short where it is below this folder."""
    whole = os.path.abspath(path)
    try:
        short = os.path.relpath(whole)
    except (ValueError, OSError):  # another drive, or a folder that is gone
        return shlex.quote(whole)
    if short.startswith(os.pardir):
        return shlex.quote(whole)
    return shlex.quote(short if os.sep in short else os.path.join(os.curdir, short))
