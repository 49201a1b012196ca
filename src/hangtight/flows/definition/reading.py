"""A flow from a file. What is wrong with the file is told all at once, each thing with its line.

Needs ruamel.yaml, as the settings do; loaded when the first file is read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hangtight.errors import SettingsError
from hangtight.flows.definition import graph
from hangtight.flows.definition.checks import LIMITS, OF_A_FLOW, OF_A_STEP, Check, command, limit
from hangtight.flows.definition.finding import found, is_named
from hangtight.flows.definition.parameters import steps_in
from hangtight.flows.definition.steps import INPUT, PLACE, STEP, Flow, Kind, Step, left_open
from hangtight.rules.errors import KNOWN_HERE, Problem, SettingsErrors, nearest, not_installed, one_of

if TYPE_CHECKING:
    from hangtight.rules.reading import Tree
    from hangtight.rules.trees import Branch

OF_FLOWS: Final = ("flow", *OF_A_FLOW, "steps")
KINDS: Final = tuple(Kind)
OF_STEPS: Final = (*KINDS, *(key for key in OF_A_STEP if key not in ("name", "prompt", "command")))
KEPT: Final = ("source", "folder")
"""What a definition has besides, and a file has not: where things stood when it was made."""
NOT_YET: Final = ("progress",)
"""Keys of later versions: allowed, and told about."""
LIKE: Final = "keys and values, like {generate: Write a plan., timeout: 300}"
LOG = logging.getLogger("hangtight.flows")


@dataclass(frozen=True, slots=True)
class Read:
    """A flow, and what in its file does nothing yet."""

    flow: Flow
    remarks: tuple[str, ...] = ()


def load(source: str | Path) -> Flow:
    """The flow of a file, or of `module:name`, or of `file.py:name`. Raises `SettingsErrors` with all that is wrong."""
    if isinstance(source, str) and is_named(source):
        return _in_python(source)
    read = read_file(Path(source))
    for remark in read.remarks:
        LOG.warning("%s", remark)
    return read.flow


def read_file(path: Path) -> Read:
    """The flow of a file, which people know by the path that they gave."""
    try:
        from hangtight.rules.reading import read
    except ImportError as missing:
        raise not_installed(missing) from missing
    return read_tree(read(path, str(path)), path.parent, path.stem)


def read_tree(tree: Tree, folder: Path, name: str, kept: bool = False) -> Read:
    """The flow of a tree; `kept` says that it is a definition of ours."""
    reader = _Reader(tree, folder, (OF_FLOWS, OF_STEPS) if not kept else ((*OF_FLOWS, *KEPT), (*OF_STEPS, *KEPT)))
    flow = reader.flow(name)
    if flow is None or reader.problems:
        raise SettingsErrors(reader.problems)
    return Read(flow, tuple(reader.remarks))


def _in_python(source: str) -> Flow:
    flow = found(source, Path())
    if not isinstance(flow, Flow):
        raise SettingsError("flow", source, "the name of a hangtight.flows.Flow")
    return flow.changed(source=source)


@dataclass(slots=True)
class _Reader:
    """One walk over one file."""

    tree: Tree
    folder: Path
    keys: tuple[tuple[str, ...], tuple[str, ...]]
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def flow(self, name: str) -> Flow | None:
        data = self.tree.data
        self._known(data, (), self.keys[0])
        told = {key: self._checked((key,), check, data[key]) for key, check in OF_A_FLOW.items() if key in data}
        sections = data.get("steps")
        if not isinstance(sections, dict) or not sections:
            self._wrong(("steps",), sections, "the steps by their names, each with " + LIKE)
            return None
        read = [self._step(name, section) for name, section in sections.items()]
        self._references(sections, {step.name: step for step in read if step is not None})
        if self.problems:
            return None
        source = str(data.get("source", self.tree.file))
        try:
            at = self.tree.place("total") if "total" in data else ""
            return Flow(data.get("flow", name), [step for step in read if step], source=source, total_at=at, **told)
        except SettingsError as error:
            self._refused(error)
            return None

    # -- one step -----------------------------------------------------------------------------------------------------

    def _step(self, name: str, section: Any) -> Step | None:
        path, before = ("steps", name), len(self.problems)
        self._checked(path, OF_A_STEP["name"], name)
        if not isinstance(section, dict):
            self._wrong(path, section, LIKE)
            return None
        self._known(section, path, self.keys[1])
        kinds = [kind for kind in KINDS if kind in section]
        if len(kinds) != 1:
            self._wrong(path, kinds or list(section), f"a step with one of {', '.join(KINDS)}")
        said = {
            key: self._checked((*path, key), check, section[key])
            for key, check in OF_A_STEP.items()
            if key in section and key in OF_STEPS and key != "limits"
        }
        said["limits"] = self._limits(path, section.get("limits"))
        for kind in kinds:
            said |= self._work(path, kind, section[kind])
        if len(self.problems) > before:
            return None
        said["source"] = section.get("source", self.tree.place(*path))
        try:
            return _on_top(said.pop("decorated", None), name, kinds[0], said)
        except SettingsError as error:
            self._refused(error, path)
            return None

    def _work(self, path: Branch, kind: Kind, said: Any) -> dict[str, Any]:
        path = (*path, kind.value)
        match kind:
            case Kind.GENERATE:
                return {"prompt": self._checked(path, OF_A_STEP["prompt"], said)}
            case Kind.TOOL:
                return {"command": self._checked(path, command, said)}
            case Kind.PYTHON:
                function = self._checked(path, self._function, said)
                return {"function": function, "called": said, "decorated": getattr(function, STEP, None)}

    def _function(self, said: Any) -> Any:
        function = found(said, self.folder) if isinstance(said, str) else None
        if not callable(function):
            raise SettingsError("python", said, "the name of a function, like module:function or file.py:function")
        return function

    def _limits(self, path: Branch, section: Any) -> dict[str, Any]:
        path = (*path, "limits")
        if section is None:
            return {}
        if not isinstance(section, dict):
            self._wrong(path, section, "keys and values, like {idle: 60}")
            return {}
        self._known(section, path, LIMITS)
        return {
            name: self._checked((*path, name), partial(limit, name), value)
            for name, value in section.items()
            if name in LIMITS
        }

    # -- what they say of each other ----------------------------------------------------------------------------------

    def _references(self, sections: Mapping[str, Any], read: Mapping[str, Step]) -> None:
        needs: dict[str, list[str]] = {name: [] for name in sections}
        for name, section in sections.items():
            for key, place in _named_in(section if isinstance(section, dict) else {}):
                head, _, rest = place.partition(".")
                if head == INPUT and key != "after":
                    if not rest:
                        self._wrong(("steps", name, key), f"${{{place}}}", "with a name, like ${input.idea}")
                elif head in sections:
                    needs[name].append(head)
                else:
                    shown = place if key == "after" else f"${{{place}}}"
                    known = sections if key == "after" else [*sections, f"{INPUT}.NAME"]
                    self._wrong(("steps", name, key), shown, one_of(known, head))
            for key, text in _texts_of(section if isinstance(section, dict) else {}):
                for place in left_open(text, sections):
                    self._wrong(("steps", name, key), f"${{{place}", f"closed: ${{{place}}}")
            function = read[name].function if name in read else None
            if function is not None:
                needs[name] += steps_in(function, sections, name)
        while around := graph.circle(needs):
            self._wrong(("steps", around[0]), " -> ".join(around), "without a circle: each waits for the next one")
            needs = {name: [need for need in wanted if need not in around] for name, wanted in needs.items()}
            needs = {name: wanted for name, wanted in needs.items() if name not in around}

    # -- telling ------------------------------------------------------------------------------------------------------

    def _known(self, section: Mapping[str, Any], path: Branch, known: tuple[str, ...]) -> None:
        for key in section:
            place = (*path, key)
            if key in NOT_YET and len(path) != 3:
                told = ".".join(map(str, place))
                self.remarks.append(f"{self.tree.place(*place)}: {told} does nothing yet: it is for a later version")
            elif key not in known:
                near = nearest(key, known)
                if near is None and len(path) == 2 and (inner := nearest(key, LIMITS)):
                    near = f"limits.{inner}"
                more = f"; did you mean {near}?" if near else f": {', '.join(key for key in known if key not in KEPT)}"
                self._wrong(place, None, KNOWN_HERE + more)

    def _checked(self, path: Branch, check: Check, value: Any) -> Any:
        try:
            return check(value)
        except SettingsError as error:
            self._wrong(path, value, error.wanted)
            return None

    def _refused(self, error: SettingsError, path: Branch = ("steps",)) -> None:
        """What only the whole step, or the whole flow, could tell: `coder.output`."""
        parts = tuple(error.name.split("."))
        full = next((way for way in (("steps", *parts), parts) if way in self.tree.lines), path)
        self._wrong(full, error.found, error.wanted)

    def _wrong(self, path: Branch, value: Any, wanted: str) -> None:
        wanted = wanted.replace("None", "null")
        self.problems.append(Problem(self.tree.file, self.tree.line(*path), ".".join(map(str, path)), value, wanted))


def _on_top(decorated: Step | None, name: str, kind: Kind, said: Mapping[str, Any]) -> Step:
    """What a file says of a function stands above what its decorator says."""
    if decorated is None:
        return Step(name, kind, **said)
    own = {key: getattr(decorated, key) for key in OF_A_STEP if key != "name"}
    if "timeout" in said or "total" in said["limits"]:
        del own["timeout"]
    return Step(name, kind, **{**own, **said, "limits": {**own["limits"], **said["limits"]}})


def _texts_of(section: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts of a step in which places may stand, and in which of its keys."""
    for key in (Kind.GENERATE.value, "system", Kind.TOOL.value):
        said = section.get(key)
        yield from ((key, text) for text in (said if isinstance(said, list) else [said]) if isinstance(text, str))


def _named_in(section: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The names that a step uses: in which of its keys, and which place. Of what is no text, none."""
    yield from ((key, place) for key, text in _texts_of(section) for place in PLACE.findall(text))
    after = section.get("after")
    for name in after if isinstance(after, list) else [after]:
        if isinstance(name, str):
            yield "after", name
