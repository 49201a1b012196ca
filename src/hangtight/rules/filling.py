"""`${env.NAME}` in keys and headers, and which values of a file may be secrets: nobody is shown those."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hangtight.rules.errors import Problem
from hangtight.rules.reading import Tree
from hangtight.rules.trees import Branch

Lookup = Callable[[str], str | None]
"""The value of a variable, or None where it is not set."""
MACRO = re.compile(r"\$\{([^{}]*)\}?")
FILLED = ("key", "headers")
"""Keys of a model in which only variables are filled in; in others there may be macros: see `macros`."""
SECRET = tuple((key,) for key in (*FILLED, "env", "sleepEndpoints", "wakeEndpoints"))
"""Where in a model there may be secrets: those of the last two stand in a body."""
VARIABLE = re.compile(r"env\.([A-Za-z_]\w*)", re.ASCII)


def is_secret(path: Branch) -> bool:
    """Whether what stands there may be a secret."""
    return path[:1] == ("apiKeys",) or (path[:1] == ("models",) and path[2:3] in SECRET)


class _Filling:
    """One walk over the secrets of a file."""

    def __init__(self, tree: Tree, look_up: Lookup | None) -> None:
        self.tree = tree
        self.look_up = look_up
        self.problems: list[Problem] = []

    def inside(self, value: Any, *path: str | int) -> Any:
        match value:
            case str():
                return MACRO.sub(lambda found: self._filled(found, path), value)
            case dict():
                return {key: self.inside(one, *path, key) for key, one in value.items()}
            case list():
                return [self.inside(one, *path, place) for place, one in enumerate(value)]
            case _:
                return value

    def _filled(self, found: re.Match[str], path: Branch) -> str:
        """What stays as it is was told, or nobody wants to know."""
        written = found[0]
        variable = VARIABLE.fullmatch(found[1]) if written.endswith("}") else None
        if variable is None:
            self._refuse(path, written, "written ${env.NAME}: no other macro is filled in here")
            return written
        if self.look_up is None:
            return written
        value = self.look_up(variable[1])
        if not value:
            how = "is not set" if value is None else "is empty"
            self._refuse(path, written, f"a variable of the environment that is set, and {variable[1]} {how}")
        return value or written

    def _refuse(self, path: Branch, written: str, wanted: str) -> None:
        key = ".".join(str(part) for part in path if isinstance(part, str))
        self.problems.append(Problem(self.tree.file, self.tree.line(*path), key, written, wanted))


def filled(data: dict[str, Any], tree: Tree, look_up: Lookup | None) -> tuple[dict[str, Any], list[Problem]]:
    """The data with variables in their places, and a problem for each that is not set.

    Without a way to look them up they stay as they are written: a file can be checked where its secrets are not.
    """
    filling = _Filling(tree, look_up)
    data = dict(data)
    if "apiKeys" in data:
        data["apiKeys"] = filling.inside(data["apiKeys"], "apiKeys")
    models = data.get("models")
    if isinstance(models, dict):
        data["models"] = {name: _of_model(filling, name, said) for name, said in models.items()}
    return data, filling.problems


def _of_model(filling: _Filling, name: str, said: Any) -> Any:
    if not isinstance(said, dict):
        return said
    return {key: filling.inside(value, "models", name, key) if key in FILLED else value for key, value in said.items()}
