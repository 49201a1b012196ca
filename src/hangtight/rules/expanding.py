"""The macros of a file in their places, and a port for each model that asks for one.

Looks at what is written before it is checked, so that all that is wrong is told at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hangtight.rules.commands import without_comments
from hangtight.rules.errors import Problem
from hangtight.rules.filling import Lookup
from hangtight.rules.macros import (
    MODEL_ID,
    OF_A_REQUEST,
    PID,
    PORT,
    RESERVED,
    Macros,
    Refuse,
    Room,
    Scalar,
    as_text,
    names_in,
)
from hangtight.rules.ports import PORTS
from hangtight.rules.reading import Tree
from hangtight.rules.running import COMMANDS, FIRST_PORT, GATEWAY_PORT, PROCESS
from hangtight.rules.schema_running import LAST_PORT, RunningModel
from hangtight.rules.schema_shown import ShownModel
from hangtight.rules.trees import Branch

EXPANDED = (
    *(key for key in (*RunningModel.model_fields, *ShownModel.model_fields) if key != "macros"),
    "proxy",
    "useModelName",
)
"""The keys of a model in which macros are filled in. Those that may be secrets know variables alone: see `filling`."""
TEXTS = (*COMMANDS, "env", "proxy", "checkEndpoint", "name", "description", "useModelName")
"""Here a number that comes out of a macro is text."""
PROXY = "http://localhost:${PORT}"
"""Where a model is asked that says only how it is run, as in llama-swap."""

Models = Mapping[str, dict[str, Any]]


def expanded(data: dict[str, Any], tree: Tree, look_up: Lookup | None) -> tuple[dict[str, Any], list[Problem]]:
    """The data with macros and ports in their places, and a problem for each that is none.

    Without `look_up` variables of the environment stay as they are written.
    """
    walk = _Expanding(data, tree, look_up)
    walk.check_macros(walk.of_file, {}, "macros")
    models = data.get("models")
    if not isinstance(models, dict):
        return data, walk.problems
    sections: Models = {name: said for name, said in models.items() if isinstance(said, dict)}
    ports = walk.ports(sections)
    filled = {name: walk.model(name, said, ports.get(name)) for name, said in sections.items()}
    return {**data, "models": {**models, **filled}}, walk.problems


class _Expanding:
    """One walk over a file."""

    def __init__(self, data: dict[str, Any], tree: Tree, look_up: Lookup | None) -> None:
        self.data = data
        self.tree = tree
        self.look_up = look_up
        self.of_file = macros_of(data)
        self.room = Room()
        self.problems: list[Problem] = []
        self._told: set[tuple[str, object]] = set()

    def check_macros(self, own: Mapping[str, Scalar], outer: Mapping[str, Scalar], *path: str) -> None:
        """A macro may use those above it, those of the file, and the reserved names."""
        above = {*RESERVED, *OF_A_REQUEST, *outer}
        for name, value in own.items():
            for used in names_in(value):
                if used not in above and not used.startswith("env."):
                    wanted = f"made of macros that stand above it, and {used} does not"
                    self._refuse((*path, name), f"${{{used}}}", wanted)
            above.add(name)

    def ports(self, models: Models) -> dict[str, int]:
        """A port for each model whose command uses one, in the order of the names; who had one keeps it."""
        users = sorted(name for name, said in models.items() if self._uses_port(name, said))
        found = self.data.get("startPort")
        is_port = isinstance(found, int) and not isinstance(found, bool) and 1 <= found <= LAST_PORT
        first = found if is_port and isinstance(found, int) else FIRST_PORT
        if first + len(users) - 1 > LAST_PORT:
            self._refuse(("startPort",), first, f"low enough for {len(users)} models that use ${{PORT}}")
            return dict.fromkeys(users, LAST_PORT)
        had = PORTS.get({})
        kept = {name: had[name] for name in users if first <= had.get(name, 0) <= LAST_PORT}
        taken = {*kept.values(), GATEWAY_PORT}
        free = (port for port in range(first, LAST_PORT + 1) if port not in taken)
        given = {name: kept[name] if name in kept else next(free) for name in users}
        had.clear()
        had.update(given)
        return given

    def _uses_port(self, name: str, said: dict[str, Any]) -> bool:
        command = said.get("cmd")
        if not isinstance(command, str) or "*" in name:
            return False
        return self._macros(said).uses(without_comments(command), PORT)

    def _macros(self, said: dict[str, Any], **given: Scalar) -> Macros:
        values = {**self.of_file, **macros_of(said)}  # one of the model stands where that of the file stood
        return Macros(values, given, self.look_up, self.room)

    def model(self, name: str, said: dict[str, Any], port: int | None) -> dict[str, Any]:
        """The section of a model, with all macros in their places."""
        self.check_macros(macros_of(said), self.of_file, "models", name, "macros")
        given: dict[str, Scalar] = {} if "*" in name else {MODEL_ID: name}
        if port is not None:
            given[PORT] = port
        kept = OF_A_REQUEST if said.get("kind") == PROCESS else ()
        asking = self._macros(said, **given, **{each: f"${{{each}}}" for each in kept})
        macros = self._macros(said, **given)
        stopping = self._macros(said, **given, **{PID: f"${{{PID}}}"})
        if self._needs_a_proxy(name, said, port):
            said = {**said, "proxy": PROXY}
        special = {"cmd": asking, "cmdStop": stopping}
        return {
            key: self._inside(special.get(key, macros), value, ("models", name, key)) if key in EXPANDED else value
            for key, value in said.items()
        }

    def _needs_a_proxy(self, name: str, said: dict[str, Any], port: int | None) -> bool:
        """Whether nothing says where the model is asked that is run. Without a port that cannot be told."""
        is_run = isinstance(said.get("cmd"), str) and "*" not in name and said.get("kind") != PROCESS
        if not is_run or said.get("proxy") is not None:
            return False
        if port is None:
            wanted = "a command with ${PORT} in it, or one with a `proxy` beside it that says where the model is asked"
            self._refuse(("models", name, "cmd"), said["cmd"], wanted)
        return port is not None

    def _inside(self, macros: Macros, value: Any, path: Branch) -> Any:
        match value:
            case str():
                return self._text(macros, value, path)
            case dict():
                return {
                    self._key(macros, key, path): self._inside(macros, one, (*path, key)) for key, one in value.items()
                }
            case list():
                return [self._inside(macros, one, (*path, place)) for place, one in enumerate(value)]
            case _:
                return value

    def _text(self, macros: Macros, text: str, path: Branch) -> Scalar:
        is_command = path[2] in COMMANDS
        filled = macros.filled(without_comments(text) if is_command else text, self._refusing(path))
        return as_text(filled) if path[2] in TEXTS else filled

    def _key(self, macros: Macros, key: Any, path: Branch) -> Any:
        """Names of the model may be made of its own name."""
        return as_text(macros.filled(key, self._refusing((*path, key)))) if isinstance(key, str) else key

    def _refusing(self, path: Branch) -> Refuse:
        """What is wrong in a macro is told where the macro stands, and once."""

        def refuse(written: str, wanted: str, within: str | None) -> None:
            if within is None:
                self._refuse(path, written, wanted)
                return
            of_model = (*path[:2], "macros", within)
            self._refuse(of_model if of_model in self.tree.lines else ("macros", within), written, wanted)

        return refuse

    def _refuse(self, path: Branch, found: object, wanted: str) -> None:
        key = ".".join(str(part) for part in path if isinstance(part, str))
        problem = Problem(self.tree.file, self.tree.line(*path), key, found, wanted)
        if (key, found) not in self._told:
            self._told.add((key, found))
            self.problems.append(problem)


def macros_of(section: Mapping[str, Any]) -> dict[str, Scalar]:
    """The macros of a section that can be used; what is wrong with the others is told when it is checked."""
    found = section.get("macros")
    return dict(_usable(found)) if isinstance(found, dict) else {}


def _usable(found: Mapping[Any, Any]) -> Iterator[tuple[str, Scalar]]:
    for name, value in found.items():
        if isinstance(name, str) and name not in RESERVED and isinstance(value, str | int | float):
            yield name, value
