"""How `hangtight check` looks through the file of a flow: `hangtight flow run` refuses it for the same reasons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hangtight.errors import HangtightError
from hangtight.flows.definition.reading import read_file
from hangtight.flows.run.claims import spare_its_own

if TYPE_CHECKING:
    from hangtight.flows.definition.steps import Flow

ENDINGS: Final = (".yaml", ".yml")
MARKS: Final = ("flow", "steps")
"""Keys that no file of settings has."""


def is_flow(file: str) -> bool:
    """Whether it is one, right or wrong. What cannot be read is none."""
    if not file.endswith(ENDINGS):
        return False
    try:
        from hangtight.rules.reading import read

        return any(key in read(Path(file), file).data for key in MARKS)
    except (HangtightError, ImportError, OSError, ValueError):
        return False


def checked(file: str) -> tuple[Flow, tuple[str, ...]]:
    """The flow, and what in its file does nothing yet."""
    found = read_file(Path(file))
    spare_its_own(found.flow, file, Path())
    return found.flow, found.remarks
