"""A real terminal for a test: a shell in tmux, of so many columns and rows, that can be typed into and looked at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.cli.kit import SOURCES
from tests.gateway.watching import until

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
OURS = ("NO_COLOR", "FORCE_COLOR", "TMUX", "TERM", "COLUMNS", "LINES")


class Pane:
    """The shell's folder is `folder`; `hangtight` in it is the command of this checkout."""

    def __init__(self, folder: Path, *, columns: int = 80, rows: int = 24, **more: str) -> None:
        self._sockets = tempfile.mkdtemp()  # not the test's folder: the name of a socket must be short
        kept = {name: value for name, value in os.environ.items() if name not in OURS}
        self._environment = kept | {
            "TMUX_TMPDIR": self._sockets, "LC_ALL": "C.UTF-8", "HOME": str(folder), "PYTHONPATH": SOURCES,
            **more,
        }  # fmt: skip
        self._folder = folder
        self._count = 0
        self._size = ("-x", str(columns), "-y", str(rows))
        (folder / "hangtight").write_text(f'#!/bin/sh\nexec {sys.executable} -m hangtight "$@"\n')
        (folder / "hangtight").chmod(0o755)

    def __enter__(self) -> Self:
        self._tmux(
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            *self._size,
            "-c",
            str(self._folder),
            "PS1='$ ' HISTFILE= bash --norc",
        )
        until(lambda: "$" in self.shown)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._tmux("kill-server")
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _tmux(self, *words: str) -> str:
        told = subprocess.run(
            ["tmux", "-u", *words], capture_output=True, text=True, check=True, env=self._environment, timeout=20
        )
        return told.stdout

    def type(self, line: str) -> None:
        """A command, on an empty screen."""
        self._tmux("send-keys", "-l", f"clear; {line.replace('hangtight ', './hangtight ', 1)}")
        self._tmux("send-keys", "Enter")

    def done(self, line: str) -> list[str]:
        """What is seen when this command has ended, without our own line below it."""
        self._count += 1  # what the command before has left is seen until the screen is empty
        end = f"done-{self._count}"
        self.type(f"{line}; echo {end}")
        until(lambda: end in self.lines)
        return self.lines[: self.lines.index(end)]

    def interrupt(self) -> None:
        self._tmux("send-keys", "C-c")

    @property
    def shown(self) -> str:
        return self._tmux("capture-pane", "-p")

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.shown.rstrip("\n").splitlines()]

    @property
    def joined(self) -> list[str]:
        """The lines as they were written: those that the terminal had to wrap are one again."""
        return [line.rstrip() for line in self._tmux("capture-pane", "-p", "-J").rstrip("\n").splitlines()]

    @property
    def escapes(self) -> str:
        """With its colours."""
        return self._tmux("capture-pane", "-p", "-e")

    @property
    def is_as_before(self) -> bool:
        """The cursor is seen, and no other screen hides this one."""
        return self._tmux("display", "-p", "#{cursor_flag} #{alternate_on}").split() == ["1", "0"]
