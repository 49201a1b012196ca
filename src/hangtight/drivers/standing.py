"""What stands for this process: the settings in force, the journal, and what was learned from it.

A library touches no file unasked. The environment's own limits hold always; files are read after `configure`, or
where `HANGTIGHT_CONFIG` names one; a journal is kept after `configure`, or where `HANGTIGHT_JOURNAL` or a settings
file says so.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from hangtight.core.time import Instant
from hangtight.drivers import clock
from hangtight.rules.keys import KEYS
from hangtight.rules.settings import NOTHING, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from hangtight.core.pace import Learner
    from hangtight.journal.recording import Recorder
    from hangtight.rules.following import Following

OFF = "off"
LOOK_EVERY = 1.0  # seconds


class Standing:
    """One for each process. Who asks is answered at once; settings that changed are looked for once a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """As a process begins: the environment holds, no file is read, no journal kept."""
        self._following: Following | None = None
        self._journal: str | None = None
        self._keeps = False
        self._chosen_for: Settings | None = None
        self._recorder: Recorder | None = None
        self._paces: Learner | None = None
        self._due = Instant(0.0)
        self._is_named = False
        self.answers_others = False
        """Who reads our errors stands elsewhere, with settings and an environment of their own."""

    def configure(self, config: str | None, journal: str | None, *, search: bool) -> Settings:
        """Read the settings from now on as told. Raises what is wrong with them, and then all stays as it was."""
        found = followed(config, search=search)
        settings = found.settings(clock.now())
        with self._lock:
            self._following, self._journal, self._keeps = found, journal, True
            self._is_named = config is not None or journal is not None
            self._chosen_for = None
        self.recorder()
        return settings

    def settings(self) -> Settings:
        """The settings in force."""
        found, now = self._following, clock.now()
        if found is None:
            if now < self._due:
                return NOTHING
            self._due = Instant(now + LOOK_EVERY)
            if not any(key in os.environ for key in KEYS):  # the readers of settings need not even be loaded
                return NOTHING
            found = self._following = followed(None, search=False)
        return found.settings(now)

    def look_now(self) -> None:
        """Read the files again, although they look as they did."""
        if self._following is not None:
            self._following.look_now()

    @property
    def paces(self) -> Learner:
        """What was learned about how fast models are."""
        if self._paces is None:
            from hangtight.core.pace import Paces

            self._paces = Paces()
        if self._recorder is not None:
            self._recorder.want_history()  # nobody waits for it, and most never ask
        return self._paces

    @property
    def trouble(self) -> str | None:
        """Why the settings files as they stand now cannot be used."""
        return self._following.trouble if self._following is not None else None

    def recorder(self) -> Recorder | None:
        """Who keeps the journal; None where none is kept."""
        settings = self.settings()
        if settings is not self._chosen_for:
            with self._lock:
                self._choose(settings)
        return self._recorder

    def must_name(self, url: str) -> bool:
        """Whether a command that is typed without the address of this journal looks into another one."""
        return (self._is_named or self.answers_others) and url != usual_journal()

    def _choose(self, settings: Settings) -> None:
        """Where the journal stands may have changed with the settings."""
        if settings is self._chosen_for:
            return
        wanted = journal_of(settings, self._journal, keeps=self._keeps)
        former = self._recorder
        if former is not None and former.url == wanted:
            former.keep = settings.keep
        else:
            self._recorder = None
            if wanted is not None:
                from hangtight.journal.recording import Recorder

                self._paces = None
                self._recorder = Recorder(wanted, wall=clock.wall, keep=settings.keep, paces=self.paces, history=False)
                self._recorder.start()
            # The former one stays: what began with it, ends in it.
        self._chosen_for = settings


def followed(config: str | None, *, search: bool) -> Following:
    """The settings of this process's environment and working folder."""

    from hangtight.rules.following import following

    return following(config=config, environment=os.environ, folder=working_folder(), home=home_folder(), search=search)


def home_folder() -> Path:
    from pathlib import Path

    try:
        return Path.home()
    except RuntimeError:  # a user without a name and without $HOME
        return Path(os.sep)


def working_folder() -> Path:
    from pathlib import Path

    try:
        return Path.cwd()
    except FileNotFoundError:  # somebody deleted it under us
        return Path(os.sep)


def journal_of(settings: Settings, given: str | None, *, keeps: bool) -> str | None:
    """Where the journal is kept: as given, as the settings say, else in the user's data folder; None for nowhere."""
    wanted = given or settings.journal or (usual_journal() if keeps else None)
    return None if wanted == OFF else wanted


def usual_journal() -> str:
    """Where one is kept that nobody has a place for, and where the commands look first."""
    return str(data_folder() / "journal.db")


def data_folder() -> Path:
    """Where a program of this user keeps what is its own."""
    from pathlib import Path

    if sys.platform == "win32":
        given = os.environ.get("LOCALAPPDATA", "")
        return (Path(given) if given else home_folder() / "AppData" / "Local") / "hangtight"
    if sys.platform == "darwin":
        return home_folder() / "Library" / "Application Support" / "hangtight"
    given = os.environ.get("XDG_DATA_HOME", "")
    return (Path(given) if given and Path(given).is_absolute() else home_folder() / ".local" / "share") / "hangtight"


def _standing(journal: str | os.PathLike[str]) -> str:
    """The same file wherever the program goes afterwards."""
    named = os.fspath(journal)
    return named if named == OFF or "://" in named else os.path.abspath(os.path.expanduser(named))


STANDING = Standing()
settings = STANDING.settings
recorder = STANDING.recorder


def paces() -> Learner:
    """What was learned about how fast models are."""
    return STANDING.paces


def configure(config: str | os.PathLike[str] | None = None, journal: str | os.PathLike[str] | None = None) -> Settings:
    """Use settings files and keep a journal from now on: those named here, else those that are found.

    `config` is a `hangtight.yaml`; without one it is looked for, like the project's `.qwencoderules`. `journal` is a
    path, a URL, or `"off"`; without one it is where the settings say, else in the user's data folder. Raises
    SettingsErrors with all that is wrong.
    """
    return STANDING.configure(
        None if config is None else os.fspath(config), None if journal is None else _standing(journal), search=True
    )
