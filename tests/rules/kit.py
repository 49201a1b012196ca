"""A folder with settings files in it, and what is read there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hangtight.core.layers import Value
from hangtight.core.resolve import resolve
from hangtight.rules.errors import Problem, SettingsErrors
from hangtight.rules.loading import load
from hangtight.rules.settings import Settings


@dataclass
class Place:
    """A working folder in a home folder, both empty at first."""

    home: Path
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def load(self, config: str | None = None, *, search: bool = True) -> Settings:
        return load(config=config, environment=self.environment, folder=self.folder, home=self.home, search=search)

    def problems(self, config: str | None = None) -> tuple[Problem, ...]:
        try:
            self.load(config)
        except SettingsErrors as errors:
            return seen(errors)
        return ()


def place(tmp_path: Path) -> Place:
    folder = tmp_path / "home" / "project"
    folder.mkdir(parents=True)
    return Place(tmp_path / "home", folder)


def seen(errors: SettingsErrors) -> tuple[Problem, ...]:
    """What is wrong; one line that can be printed for each."""
    lines = str(errors).split("\n")
    assert len(lines) == len(errors.problems) > 0
    assert all(line.isprintable() for line in lines)
    return errors.problems


def values(
    settings: Settings, mode: str | None = None, model: str = "m", *, in_step: bool = False
) -> Mapping[str, Value]:
    return resolve(settings.layers(mode, model, in_step)).values
