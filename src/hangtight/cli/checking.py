"""How `hangtight check` looks through a file of settings."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

from hangtight.cli import flow_checking as flows
from hangtight.cli.printing import line_of, put_json, put_lines
from hangtight.cli.process import OK, say
from hangtight.cli.settings import USAGE, fail
from hangtight.core.layers import Layer
from hangtight.drivers.standing import working_folder
from hangtight.errors import HangtightError
from hangtight.rules.errors import Problem, SettingsErrors, shown
from hangtight.rules.loading import check
from hangtight.rules.settings import Settings

LONGEST_NUMBER = 10**15


def check_command(file: str | None, *, as_json: bool) -> int:
    """Check it, and return the exit code."""
    if not file:
        fail("check needs a file:  hangtight check hangtight.yaml", USAGE)
    if flows.is_flow(file):
        return _check_flow(file, as_json=as_json)
    try:
        settings = check(Path(file), folder=working_folder(), home=Path.home())
    except SettingsErrors as errors:
        if as_json:
            put_json(_object(file, errors.problems, ()))
        say(f"{errors}\n")
        return USAGE
    except HangtightError as error:
        fail(str(error), USAGE)
    if as_json:
        put_json({**_object(file, (), settings.remarks), "settings": count(settings)})
        return OK
    number = count(settings)
    put_lines([f"{line_of(file)}: fine, {number} setting{'' if number == 1 else 's'}", *map(line_of, settings.remarks)])
    return OK


def _check_flow(file: str, *, as_json: bool) -> int:
    try:
        flow, remarks = flows.checked(file)
    except SettingsErrors as errors:
        if as_json:
            put_json(_object(file, errors.problems, ()))
        say(f"{errors}\n")
        return USAGE
    except HangtightError as error:
        fail(str(error), USAGE)
    if as_json:
        put_json({**_object(file, (), remarks), "steps": list(flow.steps)})
        return OK
    number = len(flow.steps)
    told = f"{file}: fine, the flow {flow.name} with {number} step{'' if number == 1 else 's'}"
    put_lines([line_of(told), *map(line_of, remarks)])
    return OK


def schema_command() -> int:
    """Print the schema, and return the exit code."""
    try:
        from hangtight.rules.schema import json_schema
    except ModuleNotFoundError as missing:
        from hangtight.rules.errors import not_installed

        fail(str(not_installed(missing)), USAGE)
    put_json(json_schema())
    return OK


def count(settings: Settings) -> int:
    """How many things are set."""
    layers = [*settings.below, *(layer for mode in settings.modes.values() for layer in mode.layers)]
    layers += [layer for model in settings.models.values() for layer in model.layers]
    models = [
        (model.fallback, None if name in settings.runs else model.proxy, model.reasons, model.intent)
        for name, model in settings.models.items()
    ]  # the address of a model that we run stands in `places`, if somebody wrote it
    return (
        sum(map(_written, layers))
        + sum(fact is not None for facts in models for fact in facts)
        + sum(bool(mode.models) + (mode.intent is not None) for mode in settings.modes.values())
        + len(settings.priorities)
        + sum(name != "priorities" for name in settings.places)
    )


def _written(layer: Layer) -> int:
    """How many limits of it stand in a file."""
    return sum(name in layer.sources for name in layer.values)


def _object(file: str, problems: tuple[Problem, ...], remarks: tuple[str, ...]) -> dict[str, Any]:
    told = [{**each._asdict(), "found": _found(each.found), "message": str(each)} for each in problems]
    return {"file": file, "fine": not problems, "problems": told, "remarks": remarks}


def _found(found: object) -> Any:
    """What JSON can say; the rest as it is shown to people."""
    plain = found is None or isinstance(found, str | bool)
    if (
        plain
        or (isinstance(found, int) and abs(found) < LONGEST_NUMBER)
        or (isinstance(found, float) and isfinite(found))
    ):
        return found
    return shown(found)
