"""All settings, from all places, or all that is wrong with them.

The environment alone needs nothing installed and touches no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hangtight.rules import keys
from hangtight.rules.dotenv import read_dotenv, read_strictly, variables_in
from hangtight.rules.environment import Environment, Told, chosen_mode, told_by, understood
from hangtight.rules.errors import Problem, SettingsErrors, not_installed, one_of
from hangtight.rules.finding import RULES, Found, Origin, Where, candidates, find
from hangtight.rules.journals import standing_beside
from hangtight.rules.settings import Settings

Lookup = Callable[[str], str | None]
"""The value of a variable, or None where it is not set."""


class Named(NamedTuple):
    """The settings file that somebody named, and who."""

    file: str | None
    origin: Origin | None


def load(
    *, config: str | None, environment: Mapping[str, str], folder: Path, home: Path, search: bool = True
) -> Settings:
    """The settings that hold in a folder. Without `search`, files are read only if one was named.

    Raises SettingsErrors with all that is wrong, in all files and in the environment.
    """
    where = Where(folder, home, environment)
    told, named, reads = _told(where, config, search)
    found = find(where, named.file) if reads else ()
    origin = _origin(where, found, named)
    look_ups = (_variables(where), _variables_to_run(where, found, origin))
    return replace(_together(found, understood(told), folder, look_ups), origin=origin)


def watched(
    *, config: str | None, environment: Mapping[str, str], folder: Path, home: Path, search: bool = True
) -> tuple[Path, ...]:
    """All files on which `load` depends, those among them that are not there yet."""
    where = Where(folder, home, environment)
    _, named, reads = _told(where, config, search)
    return candidates(where, named.file) if reads else ()


def _variables(where: Where) -> Lookup:
    """A variable by its name: of the process, or below it of the `.env`, which is read when the first is asked for."""
    below: dict[str, str] = {}

    def look_up(name: str) -> str | None:
        if name in where.environment:
            return where.environment[name]
        if not below:
            below.update(variables_in(where.dotenv()))
        return below.get(name)

    return look_up


def _variables_to_run(where: Where, found: Sequence[Found], origin: Origin) -> Lookup:
    """What becomes part of a command is a variable of the process itself.

    The `.env` of the working folder counts only beside a settings file that somebody named there: in a folder that
    somebody sent it could have any program started.
    """
    was_named = origin in (Origin.NAMED, Origin.ENVIRONMENT)
    if was_named and any(each.path.parent == where.folder for each in found if not each.of_a_project):
        return _variables(where)
    return where.environment.get


def _origin(where: Where, found: Sequence[Found], named: Named) -> Origin:
    path = next((each.path for each in found if not each.of_a_project), None)
    if path is None:
        return Origin.NOWHERE
    if named.origin is not None:
        return named.origin
    return Origin.FOLDER if path.parent == where.folder else Origin.OF_THE_USER


def check(path: Path, *, folder: Path, home: Path) -> Settings:
    """The settings of one file alone: a `hangtight.yaml`, one of llama-swap, a `.qwencoderules`, a `.env`.

    The variables that are named in it may be set elsewhere only.
    """
    shown = Where(folder, home, {}).shown(folder / path)
    if path.name == ".env" or path.suffix == ".env":
        told, remarks = read_strictly(folder / path, shown)
        settings = _together((), understood(told), folder)
        return replace(settings, files=(shown,), remarks=(*settings.remarks, *remarks))
    found = Found(folder / path, shown, RULES.lstrip(".") in path.name)
    return replace(_together([found], Environment(), folder), origin=Origin.NAMED)


def _told(where: Where, config: str | None, search: bool) -> tuple[list[Told], Named, bool]:
    """The variables, the file that was named, and whether files are read at all."""
    told = told_by(where.environment)
    named = Named(config, Origin.NAMED) if config else _named(told, Origin.ENVIRONMENT)
    reads = search or named.file is not None
    if reads:
        path = where.dotenv()
        told += read_dotenv(path, where.shown(path))
        named = named if named.file else _named(told, Origin.DOTENV)
    return told, named, reads


def _named(told: Sequence[Told], origin: Origin) -> Named:
    file = _text(told, keys.CONFIG)
    return Named(file, origin if file else None)


def _text(told: Sequence[Told], key: str) -> str | None:
    return next((each.text.strip() for each in told if each.key == key), None)


def _together(
    found: Sequence[Found],
    above: Environment,
    folder: Path,
    look_ups: tuple[Lookup | None, Lookup | None] = (None, None),
) -> Settings:
    problems = list(above.problems)
    settings = Settings()
    if found:
        settings, wrong = _of_files(found, *look_ups)
        problems += wrong
    settings = _on_top(settings, above, folder)
    if above.mode is not None and settings.default_mode is not None and settings.default_mode not in settings.modes:
        wanted = one_of(settings.modes, settings.default_mode)
        problems.append(Problem(above.mode.file, above.mode.line, above.mode.key, settings.default_mode, wanted))
    if problems:
        raise SettingsErrors(problems)
    return settings


def _of_files(
    found: Sequence[Found], look_up: Lookup | None, look_up_to_run: Lookup | None
) -> tuple[Settings, list[Problem]]:
    try:
        from hangtight.rules.building import built
    except ModuleNotFoundError as missing:
        raise not_installed(missing) from None
    result = built(found, look_up, look_up_to_run)
    return result.settings, result.problems


def _on_top(settings: Settings, above: Environment, folder: Path) -> Settings:
    """The environment above the files."""
    places = dict(settings.places)
    told = {"default_mode": above.mode, "step_timeout": above.step_timeout, "journal": above.journal}
    places |= {name: each.place for name, each in told.items() if each is not None}
    if above.intent is not None:
        places["intent"] = above.intent[1]
    journal = settings.journal
    if above.journal is not None:
        journal = standing_beside(above.journal.text.strip(), folder)
    return replace(
        settings,
        below=(*above.layers, *settings.below),
        default_mode=settings.default_mode if above.mode is None else chosen_mode(above.mode),
        of_all=settings.of_all if above.intent is None else above.intent,
        step=settings.step if above.step_timeout is None else above.step,
        journal=journal,
        places=places,
        remarks=(*settings.remarks, *above.remarks),
    )
