"""Settings that follow their files: a change is picked up, and a broken edit keeps what held before and says so."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hangtight.errors import HangtightError
from hangtight.rules.keys import KEYS
from hangtight.rules.loading import load, watched
from hangtight.rules.ports import PORTS
from hangtight.rules.settings import Settings

LOOK_EVERY = 1.0  # seconds
LOG = logging.getLogger("hangtight.rules")


class Stamp(NamedTuple):
    """What differs between two versions of a file."""

    time: int
    size: int
    number: int


class Look(NamedTuple):
    """What stood there at one instant."""

    stamps: Mapping[Path, Stamp | None]
    environment: tuple[str | None, ...]


class Following:
    """Settings as they stand now. May be asked from any thread, on an event loop too: only the first asking reads.

    What changed later is read by a thread of its own, while the settings before still hold.
    """

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
        self._places: tuple[Path, ...] = ()
        self._seen: Look | None = None
        self._emptied: frozenset[Path] = frozenset()
        self._reader: threading.Thread | None = None
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

    def look_now(self) -> None:
        """Somebody says that there is something to see: the next who asks looks, whatever the time is."""
        with self._lock:
            self._due, self._seen = float("-inf"), None

    def settle(self, limit: float = 30.0) -> bool:
        """Wait until a change that was noticed has been read; False where that takes longer. For tests."""
        reader = self._reader
        if reader is not None:
            reader.join(limit)
        return reader is None or not reader.is_alive()

    def _first(self, now: float) -> Settings:
        with self._lock:
            if self._settings is None:
                self._places = tuple(self._paths())
                seen = self._look()
                self._settings = self._load()
                self._keep_in_sight(seen)
                self._due = now + LOOK_EVERY
            return self._settings

    def _look_again(self, now: float) -> None:
        self._due = now + LOOK_EVERY
        if self._reader is not None and self._reader.is_alive():
            return
        seen = self._look()
        if seen == self._seen:
            self._emptied = frozenset()
            return
        emptied = self._emptied_since(seen)
        if not emptied <= self._emptied:  # somebody may be about to write it: not yet
            self._emptied = emptied
            return
        self._reader = threading.Thread(target=self._read_again, name="hangtight-settings", daemon=True)
        with suppress(RuntimeError):  # at the end of the program none can be started, and none is needed
            self._reader.start()

    def _read_again(self) -> None:
        self._places = tuple(self._paths())
        seen = self._look()
        if not self._emptied_since(seen) <= self._emptied:
            return
        try:
            settings = self._load()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            self._warn(str(error) if isinstance(error, HangtightError) else f"{type(error).__name__}: {error}")
        else:
            if not self._emptied_since(self._look()) <= self._emptied:  # perhaps it was read in that moment
                return
            self._settings = settings
            self.trouble, self._warned = None, ""
        self._emptied = frozenset()
        self._keep_in_sight(seen)

    def _keep_in_sight(self, seen: Look) -> None:
        """Other files may count from now on; what happened to them before is not known, so all is read again."""
        places = tuple(self._paths())
        self._seen = seen if places == self._places else None
        self._places = places

    def _warn(self, text: str) -> None:
        self.trouble = text
        if text != self._warned:
            self._warned = text
            LOG.warning("the settings were changed and cannot be used; those before still hold\n%s", text)

    def _look(self) -> Look:
        """What stands there, taken before it is read: a change in between is seen the next time."""
        stamps = {path: _stamp(path) for path in self._places}
        return Look(stamps, tuple(self._environment.get(key) for key in KEYS))

    def _emptied_since(self, seen: Look) -> frozenset[Path]:
        """The files that hold nothing and held something when they were read."""
        before = self._seen.stamps if self._seen is not None else {}
        return frozenset(
            path
            for path, stamp in seen.stamps.items()
            if stamp is not None and stamp.size == 0 and (was := before.get(path)) is not None and was.size > 0
        )


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino)


def following(
    *, config: str | None, environment: Mapping[str, str], folder: Path, home: Path, search: bool = True
) -> Following:
    """The settings that hold in a folder, now and later. Takes what `load` takes."""
    ports: dict[str, int] = {}

    def read() -> Settings:
        given = dict(ports)
        before = PORTS.set(given)
        try:
            settings = load(config=config, environment=environment, folder=folder, home=home, search=search)
        finally:
            PORTS.reset(before)
        ports.clear()
        ports.update(given)
        return settings

    def places() -> tuple[Path, ...]:
        return watched(config=config, environment=environment, folder=folder, home=home, search=search)

    return Following(read, places, environment)
