"""The folder of a run: what its steps put out, each a file that is either there as a whole or not at all.

While a step still writes, its text stands beside it in `plan.md.partial`, and is kept there when the step fails, with
the reason in `plan.md.error`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hangtight.errors import SettingsError
from hangtight.flows.definition.steps import Kind

if TYPE_CHECKING:
    from hangtight.flows.definition.steps import Flow, Step

PARTIAL, ERROR, WRITING = ".partial", ".error", ".writing"
ENDINGS: Final = {Kind.GENERATE: ".md", Kind.TOOL: ".txt", Kind.PYTHON: ".txt"}
"""Of the file of a step that names none, where it puts out text; else it is `.json`."""


class Workspace:
    """One folder; nothing is written outside of it."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()

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
            writing.write_text(text, encoding="utf-8", newline="")
            writing.replace(path)
        except BaseException:
            with suppress(OSError):
                writing.unlink()
            raise
        return path

    def outputs(self, flow: Flow) -> dict[str, Any]:
        """What the steps of a run that somebody else has done have put out, as far as it is in files."""
        found: dict[str, Any] = {}
        for step in flow.steps.values():
            for name in dict.fromkeys((self.file_of(step), self.file_of(step, None))):
                with suppress(OSError, ValueError):
                    text = self.place(name).read_text(encoding="utf-8")
                    found[step.name] = json.loads(text) if name.endswith(".json") and not step.output else text
                    break
        return found

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
        if text == self._written:
            return
        more = bool(self._written) and text.startswith(self._written)
        self._put(text[len(self._written) :] if more else text, "a" if more else "w")
        self._written = text

    def add(self, pieces: Sequence[str]) -> bool:
        """All pieces so far, of which no earlier one ever changes: what is new is added. False where nothing is."""
        new = "".join(pieces[self._added :])
        if new:
            self._put(new, "a" if self._added else "w")
        self._added = len(pieces)
        return bool(new)

    def _put(self, text: str, how: str) -> None:
        partial = self.partial
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open(how, encoding="utf-8", newline="") as opened:
            opened.write(text)

    def begin(self) -> None:
        """What an attempt before has left is gone."""
        self._written, self._added = "", 0
        self._forget(self.partial)

    def finish(self, text: str) -> None:
        """The text is whole: it takes its place in one move."""
        self._workspace.write(self.name, text)
        self.done()

    def done(self) -> None:
        """The step has ended well: nothing beside its output is left of it."""
        self._forget(self.partial)
        self._forget(self.error)

    def failed(self, reason: str) -> None:
        """The text so far is kept, and why there is no more."""
        beside = str(self.error.relative_to(self._workspace.folder))
        self._workspace.write(beside, reason.rstrip() + "\n")

    def _forget(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink()
