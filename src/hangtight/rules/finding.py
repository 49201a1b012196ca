"""Which files are read: the one that was named, or the first that is found; and the rules of the project."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

CONFIG = "hangtight.yaml"
RULES = ".qwencoderules"
DOTENV = ".env"


class Origin(StrEnum):
    """How a settings file was found, which says how far it is trusted."""

    NOWHERE = "nowhere"
    NAMED = "named"
    """With `--config`, or by a program."""
    ENVIRONMENT = "environment"
    """By a variable of the process."""
    DOTENV = "dotenv"
    """By the `.env` of the working folder, which came with that folder."""
    FOLDER = "folder"
    """It lay in the working folder."""
    OF_THE_USER = "user"
    """It stands in the user's configuration folder."""


class Found(NamedTuple):
    """A file to be read."""

    path: Path
    shown: str
    of_a_project: bool = False
    """A `.qwencoderules`, of which only some keys are ours."""


class Where(NamedTuple):
    """From where files are looked for."""

    folder: Path
    home: Path
    environment: Mapping[str, str]
    platform: str = sys.platform

    def config(self, named: str) -> Path:
        """The file that somebody named, from the working folder."""
        path = self.home / named[2:] if named.startswith("~/") else Path(named)
        return self.folder / path

    def configs(self) -> Iterator[Path]:
        """The places where a `hangtight.yaml` that nobody named may stand, the first wins."""
        yield self.folder / CONFIG
        for folder in self._user_folders():
            yield folder / "hangtight" / CONFIG

    def _user_folders(self) -> Iterator[Path]:
        given = self.environment.get("XDG_CONFIG_HOME", "")
        if given and Path(given).is_absolute():  # the standard says: a relative one is to be ignored
            yield Path(given)
            return
        if self.platform == "win32":
            given = self.environment.get("APPDATA", "")
            yield Path(given) if given else self.home / "AppData" / "Roaming"
        elif self.platform == "darwin":
            yield self.home / "Library" / "Application Support"
            yield self.home / ".config"
        else:
            yield self.home / ".config"

    def rules(self) -> Iterator[Path]:
        """The places where the rules of the project may stand: upwards, to the root or the home folder."""
        for folder in (self.folder, *self.folder.parents):
            yield folder / RULES
            if folder == self.home:
                return

    def dotenv(self) -> Path:
        return self.folder / DOTENV

    def shown(self, path: Path) -> str:
        """As people know a file: from the working folder or from home, where it stands below."""
        if path.is_relative_to(self.folder):
            return str(path.relative_to(self.folder))
        if path.is_relative_to(self.home):
            return f"~{os.sep}{path.relative_to(self.home)}"
        return str(path)


def find(where: Where, named: str | None) -> tuple[Found, ...]:
    """The files to be read, the highest first. One that was named is read even if it is not there, to say so."""
    rules = next(filter(_is_there, where.rules()), None)
    config = where.config(named) if named else next(filter(_is_there, where.configs()), None)
    found = []
    if rules is not None:
        found.append(Found(rules, where.shown(rules), of_a_project=True))
    if config is not None and config != rules:
        found.append(Found(config, where.shown(config), of_a_project=config.name == RULES))
    return tuple(found)


def candidates(where: Where, named: str | None) -> tuple[Path, ...]:
    """All files that `find` would look at, there or not: what must be watched."""
    configs = [where.config(named)] if named else where.configs()
    return (*where.rules(), *configs, where.dotenv())


def _is_there(path: Path) -> bool:
    """What may not be looked at does not count as there."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True
