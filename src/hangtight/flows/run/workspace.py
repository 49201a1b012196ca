"""The folder of a run: what its steps put out, each a file that is either there as a whole or not at all.

While a step still writes, its text stands beside it in `plan.md.partial`, and is kept there when the step fails, with
the reason in `plan.md.error`. A half of a character pair, which no file and no database takes, is written as U+FFFD.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hangtight.errors import SettingsError
from hangtight.flows.definition.steps import Kind

if TYPE_CHECKING:
    from hangtight.flows.definition.steps import Step

PARTIAL, ERROR, WRITING = ".partial", ".error", ".writing"
ENDINGS: Final = {Kind.GENERATE: ".md", Kind.TOOL: ".txt", Kind.PYTHON: ".txt"}
"""Of the file of a step that names none, where it puts out text; else it is `.json`."""
LARGE: Final = 1 << 20
"""Characters: more than this is written piece by piece, or in a thread, so that a loop is never held for long."""


def well_formed(text: str) -> str:
    """The same without halves of characters, as JSON can bring them. Two that belong together become one.

    >>> well_formed("a\\ud83d\\ude00 b\\ud800")
    'a😀 b�'
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class Workspace:
    """One folder; nothing is written outside of it."""

    def __init__(self, folder: str | os.PathLike[str], sure: Callable[[], bool] = lambda: True) -> None:
        self.folder = Path(folder).absolute()
        self.sure = sure
        """Whether the run is still ours: who does it now may be writing the same drafts."""

    def place(self, name: str) -> Path:
        """A file in it. Refuses names that lead out, also over a link."""
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise SettingsError("output", name, "a file inside the workspace")
        return path

    def file_of(self, step: Step, value: Any = "") -> str:
        """The name of the file for what a step puts out."""
        return step.output or step.name + (ENDINGS[step.kind] if isinstance(value, str) else ".json")

    def draft(self, step: Step) -> Draft:
        """Where the text of a step is collected while it comes."""
        return Draft(self, self.file_of(step))

    def write(self, name: str, text: str) -> Path:
        """All of it or nothing, whatever happens meanwhile."""
        path = self.place(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        writing = path.with_name(f"{path.name}.{os.getpid()}{WRITING}")
        try:
            with _named(path):
                with writing.open("wb") as opened:
                    for at in range(0, len(text), LARGE):
                        opened.write(well_formed(text[at : at + LARGE]).encode())
                writing.replace(path)
        except BaseException:
            with suppress(OSError):
                writing.unlink()
            raise
        return path

    def stands(self, step: Step, value: Any, since: float) -> bool:
        """Whether its file was written since then, by whatever."""
        with suppress(OSError):
            return self.place(self.file_of(step, value)).stat().st_mtime >= since
        return False

    def keep(self, step: Step, value: Any) -> str:
        """What a step has put out, in its file; what is no text as JSON, and nothing as nothing. Returns its name."""
        if value is None:
            return ""
        name = self.file_of(step, value)
        self.write(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2) + "\n")
        return name


class Draft:
    """The output of one step, while it is written."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.name = name
        self._workspace = workspace
        self._written = ""
        self._added = 0
        self._size = 0
        self._is_whole = False

    @property
    def path(self) -> Path:
        return self._workspace.place(self.name)

    @property
    def partial(self) -> Path:
        path = self.path
        return path.with_name(path.name + PARTIAL)

    @property
    def error(self) -> Path:
        path = self.path
        return path.with_name(path.name + ERROR)

    def update(self, text: str) -> None:
        """The text so far: what is new is added; another text, as of another model, takes its place."""
        if text == self._written or not self._workspace.sure():
            return
        more = bool(self._written) and text.startswith(self._written)
        self._put(text[len(self._written) :] if more else text, "a" if more else "w")
        self._written = text

    def add(self, pieces: Sequence[str]) -> bool:
        """All pieces so far, of which no earlier one ever changes: what is new is added. False where nothing is."""
        if not self._workspace.sure():
            return False
        new = "".join(pieces[self._added :])
        if new:
            self._put(new, "a" if self._added else "w")
        self._added = len(pieces)
        return bool(new)

    def _put(self, text: str, how: str) -> None:
        partial, data = self.partial, well_formed(text).encode()
        partial.parent.mkdir(parents=True, exist_ok=True)
        with _named(partial), partial.open(f"{how}b") as opened:
            opened.write(data)
        self._size = len(data) + (self._size if how == "a" else 0)

    def begin(self) -> None:
        """What an attempt before has left is gone. Raises where the step could not write what it will put out."""
        self._written, self._added, self._is_whole = "", 0, False
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
        if self._workspace.sure():
            self._put("", "w")

    def close(self, pieces: Sequence[str]) -> str:
        """The text of these pieces is whole, and all of it in the file beside its place."""
        self.add(pieces)
        self._is_whole = self._added == len(pieces)
        return "".join(pieces)

    def finish(self, text: str) -> None:
        """The text is whole: it takes its place in one move."""
        partial = self.partial
        if self._is_whole and partial.is_file() and partial.stat().st_size == self._size:
            partial.replace(self.path)
        else:  # a tool may have cleaned the folder
            self._workspace.write(self.name, text)
        self.done()

    def done(self) -> None:
        """The step has ended well: nothing beside its output is left of it."""
        self._forget(self.partial)
        self._forget(self.error)

    def failed(self, reason: str) -> None:
        """The text so far is kept, and why there is no more."""
        with suppress(OSError):
            if not self.partial.stat().st_size:
                self.partial.unlink()
        beside = str(self.error.relative_to(self._workspace.folder))
        self._workspace.write(beside, reason.rstrip() + "\n")

    def _forget(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """A full disk does not say of itself which file it was."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
