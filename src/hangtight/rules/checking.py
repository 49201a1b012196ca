"""A tree against its schema: what is wrong with it, line by line, and what in it does nothing yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from hangtight.errors import SettingsError
from hangtight.rules.errors import KNOWN_HERE, MASK, Problem, nearest
from hangtight.rules.filling import is_secret
from hangtight.rules.reading import Tree
from hangtight.rules.schema import LIMITS, NOT_YET
from hangtight.rules.trees import Branch

File = TypeVar("File", bound=BaseModel)
LISTED = 12  # more names than that help nobody


def set_aside(tree: Tree) -> tuple[dict[str, Any], list[str]]:
    """The data without the keys of later versions, and a remark for each of those."""
    remarks: list[str] = []

    def sift(section: Any, path: Branch, place: str) -> Any:
        if not isinstance(section, dict):
            return section
        for key in section:
            if key in NOT_YET[place]:
                told = ".".join(map(str, (*path, key)))
                remarks.append(f"{tree.place(*path, key)}: {told} does nothing yet: it is for a later version")
        return {key: value for key, value in section.items() if key not in NOT_YET[place]}

    data: dict[str, Any] = sift(tree.data, (), "")
    if isinstance(data.get("models"), dict):
        data["models"] = {name: sift(said, ("models", name), "models") for name, said in data["models"].items()}
        for name, model in data["models"].items():
            if isinstance(model, dict) and "timeouts" in model:
                model["timeouts"] = sift(model["timeouts"], ("models", name, "timeouts"), "timeouts")
    return data, remarks


def validated(data: dict[str, Any], tree: Tree, kind: type[File]) -> tuple[File | None, list[Problem]]:
    """The file as its sections, or all that is wrong with it."""
    try:
        return kind.model_validate(data), []
    except ValidationError as error:
        told = error.errors(include_url=False)
    return None, [_problem(one, data, tree, kind) for one in told]


def _problem(told: Any, data: dict[str, Any], tree: Tree, kind: type[BaseModel]) -> Problem:
    path, found = _reached(told["loc"], data)
    if path[:1] == ("preferred_models",) and path not in tree.lines and ("models", *path[1:]) in tree.lines:
        path = ("models", *path[1:])
    if told["type"] == "extra_forbidden":
        found = None
    elif found is not None and is_secret(path):
        found = MASK
    elif path[:1] == ("models",):  # a macro may have brought what nobody shall see
        found = _as_written(tree.data, path, found)
    return Problem(tree.file, tree.line(*path), ".".join(map(str, path)), found, _wanted(told, kind))


def _reached(loc: Iterable[str | int], data: Any) -> tuple[Branch, Any]:
    """How much of a path is really written: the total of a bare number is not."""
    path: Branch = ()
    for part in loc:
        if not (isinstance(data, dict) and part in data):
            break
        path, data = (*path, part), data[part]
    return path, data


def _as_written(written: Any, path: Branch, filled: Any) -> Any:
    for part in path:
        if not (isinstance(written, dict) and part in written):
            return filled
        written = written[part]
    return written


def _wanted(told: Any, kind: type[BaseModel]) -> str:
    error = told.get("ctx", {}).get("error")
    if isinstance(error, SettingsError):
        return error.wanted
    if told["type"] == "extra_forbidden":
        return known_instead(told["loc"][-1], _section(kind, told["loc"][:-1]))
    return "keys and values, like {idle: 60}"  # the only other thing that a section can be is no section


def known_instead(key: str, section: type[BaseModel]) -> str:
    """What was probably meant by a key that is not known in a section."""
    known = list(section.model_fields)
    near = nearest(key, known)
    if near is None and "limits" in known and (limit := nearest(key, LIMITS)):
        near = f"limits.{limit}"
    if near:
        return f"{KNOWN_HERE}; did you mean {near}?"
    return f"{KNOWN_HERE}: {', '.join(known[:LISTED])}"


def _section(kind: type[BaseModel], path: Branch) -> type[BaseModel]:
    """The section that stands at a path."""
    place: Any = kind
    for part in path:
        inner = get_args(place)[1] if get_origin(place) is dict else place.model_fields[part].annotation
        place = get_args(inner)[0] if get_origin(inner) is Annotated else inner
    return cast("type[BaseModel]", place)
