"""Settings that follow their files: a change is picked up, and a broken edit keeps what held before and says so."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hangtight.errors import HangtightError
from hangtight.rules.keys import KEYS
from hangtight.rules.loading import load, watched
from hangtight.rules.settings import Settings

LOOK_EVERY = 1.0  # seconds
LOG = logging.getLogger("hangtight.rules")

Stamp = tuple[int, int, int] | None


class Following:
    """Settings as they stand now. May be asked from any thread; asking costs next to nothing while nothing is due."""

    def __init__(
        self,
        load: Callable[[], Settings],
        paths: Callable[[], Iterable[Path]] = tuple,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._load = load
        self._paths = paths
        self._environment: Mapping[str, str] = {} if environment is None else environment
        self._lock = threading.Lock()
        self._due = float("-inf")
        self._settings: Settings | None = None
        self._seen: object = None
        self._warned = ""
        self.trouble: str | None = None
        """Why the files as they stand now cannot be used; the settings before them still hold."""

    def settings(self, now: float) -> Settings:
        """The settings at an instant. Raises what is wrong with them the first time; afterwards the old ones hold."""
        if now < self._due and self._settings is not None:
            return self._settings
        if self._settings is None:
            return self._first(now)
        if self._lock.acquire(blocking=False):  # while one thread looks, the others go on with what they have
            try:
                self._look_again(now)
            finally:
                self._lock.release()
        return self._settings

    def _first(self, now: float) -> Settings:
        with self._lock:
            if self._settings is None:
                seen = self._look()
                self._settings = self._load()
                self._seen, self._due = seen, now + LOOK_EVERY
            return self._settings

    def _look_again(self, now: float) -> None:
        self._due = now + LOOK_EVERY
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._settings = self._load()
        except HangtightError as error:
            self._warn(str(error))
        else:
            self.trouble, self._warned = None, ""

    def _warn(self, text: str) -> None:
        self.trouble = text
        if text != self._warned:
            self._warned = text
            LOG.warning("the settings were changed and cannot be used; those before still hold\n%s", text)

    def _look(self) -> object:
        """What stands there, taken before it is read: a change in between is seen the next time."""
        stamps = tuple((str(path), _stamp(path)) for path in self._paths())
        return stamps, tuple(self._environment.get(key) for key in KEYS)


def _stamp(path: Path) -> Stamp:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def following(
    *, config: str | None, environment: Mapping[str, str], folder: Path, home: Path, search: bool = True
) -> Following:
    """The settings that hold in a folder, now and later. Takes what `load` takes."""

    def read() -> Settings:
        return load(config=config, environment=environment, folder=folder, home=home, search=search)

    def places() -> tuple[Path, ...]:
        return watched(config=config, environment=environment, folder=folder, home=home, search=search)

    return Following(read, places, environment)
