"""From a file to the models that we run, their groups, and what is wrong with how they fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from hangtight.rules.commands import words_of
from hangtight.rules.errors import Problem, one_of
from hangtight.rules.expanding import expanded
from hangtight.rules.reading import Tree
from hangtight.rules.running import COMMANDS, OTHERS, PROCESS, Group, Logging, Running, Written, running_of, sleep_mode
from hangtight.rules.schema import ConfigFile
from hangtight.rules.schema_running import RunningFile, RunningModel, said_in
from hangtight.rules.serving import PROTECTED
from hangtight.rules.trees import Branch

OF_ONE = (*COMMANDS, "env", "kind", "macros")
"""Keys for the section of one model alone: nothing of them can be meant for many."""
ASKED = ("useModelName", "key", "headers")
"""What the gateway needs of a server is needed, too, by who looks after it."""
USELESS_WITHOUT_A_COMMAND = tuple(key for key in RunningModel.model_fields if key not in ("cmd", "macros"))


@dataclass(frozen=True, slots=True)
class Runs:
    """All that a file says about what is run."""

    runs: Mapping[str, Running] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    logging: Logging = field(default_factory=Logging)


def runs_of(file: ConfigFile, tree: Tree) -> Runs:
    """The models that are run by this file."""
    of_all = _written(file, RunningFile, tree)
    run = [name for name, section in file.models.items() if section.cmd]
    groups = _groups(file, run)
    group_of = {member: group.name for group in groups.values() for member in group.members}
    preload = tuple(dict.fromkeys(file.hooks.on_startup.preload or ()))
    written = _written_of_models(file, tree)
    shown = _shown(tree, run)
    runs: dict[str, Running] = {}
    for name in run:
        sections = (_with_proxy(file, name, written[name]), *_patterns(name, written))
        running = running_of(name, sections, of_all, group_of.get(name, OTHERS), name in preload)
        if running is not None:
            runs[name] = replace(running, shown=shown[name])
    usual = Logging()
    logging = Logging(file.logLevel or usual.level, file.logToStdout or usual.to_stdout)
    return Runs(runs, groups, preload, logging)


def _shown(tree: Tree, run: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The commands of these models with all in its place but variables of the environment."""
    data, _ = expanded(tree.data, tree, None)
    shown: dict[str, tuple[str, ...]] = {}
    for name in run:
        text = data["models"][name]["cmd"]
        try:
            shown[name] = words_of(text)
        except ValueError:  # a variable brings a quote that is missing without it
            shown[name] = (text,)
    return shown


def _written_of_models(file: ConfigFile, tree: Tree) -> dict[str, Written]:
    found = {}
    for name, section in file.models.items():
        written = _written(section, RunningModel, tree, "models", name)
        asked = {key: getattr(section, key) for key in ASKED if key in section.model_fields_set}
        found[name] = written._replace(said={**written.said, **asked})
    return found


def _patterns(name: str, written: Mapping[str, Written]) -> list[Written]:
    return [each for key, each in written.items() if "*" in key and fnmatchcase(name, key)]


def _with_proxy(file: ConfigFile, name: str, written: Written) -> Written:
    return written._replace(said={**written.said, "proxy": file.models[name].proxy})


def _written(section: Any, kind: type[RunningFile] | type[RunningModel], tree: Tree, *path: str) -> Written:
    said = said_in(section, kind)
    return Written(said, {key: tree.place(*path, key) for key in said})


def _groups(file: ConfigFile, run: list[str]) -> dict[str, Group]:
    """The groups that are written down, and one of all models that stand in none."""
    groups = {
        name: Group(
            name,
            tuple(dict.fromkeys(said.members or ())),
            swap=said.swap is not False,
            exclusive=said.exclusive is not False,
            persistent=bool(said.persistent),
        )
        for name, said in file.groups.items()
    }
    placed = {member for group in groups.values() for member in group.members}
    others = tuple(name for name in run if name not in placed)
    return {**groups, OTHERS: Group(OTHERS, others)} if others else groups


def run_places(file: ConfigFile, tree: Tree) -> dict[str, str]:
    """Where each of these settings stands."""
    paths: list[tuple[str, ...]] = [(key,) for key in RunningFile.model_fields if key in file.model_fields_set]
    for name, section in file.models.items():
        paths += [("models", name, key) for key in RunningModel.model_fields if key in section.model_fields_set]
        if section.cmd and "proxy" in tree.data["models"][name]:  # without it one is made up from its port
            paths.append(("models", name, "proxy"))
    return {".".join(path): tree.place(*path) for path in paths}


# -- what does not fit together ---------------------------------------------------------------------------------------


def misfits(data: Mapping[str, Any], tree: Tree) -> Iterator[Problem]:
    """What each section may say, and all of them together may not. Looks at what is written, to tell all at once."""
    models = {name: said for name, said in _sections(data.get("models")) if isinstance(said, dict)}
    for name, said in models.items():
        if not name.strip() or not name.isprintable():  # it stands in lines of the log
            yield Problem(tree.file, tree.line("models", name), "models", name, "models with names that can be printed")
        yield from _in_a_model(tree, name, said)
    run = [name for name, said in models.items() if said.get("cmd") is not None and "*" not in name]
    yield from _in_groups(tree, data.get("groups"), run)
    hooks = data.get("hooks")
    on_startup = hooks.get("on_startup") if isinstance(hooks, dict) else None
    preload = on_startup.get("preload") if isinstance(on_startup, dict) else None
    yield from _unknown(tree, preload, run, "hooks", "on_startup", "preload")


def _sections(found: Any) -> Iterable[tuple[str, Any]]:
    return found.items() if isinstance(found, dict) else ()


def _in_a_model(tree: Tree, name: str, said: Mapping[str, Any]) -> Iterator[Problem]:
    def problem(key: str, wanted: str) -> Problem:
        return _problem(tree, ("models", name, key), "...", wanted)

    for pair in (("cmdSleep", "cmdWake"), ("sleepEndpoints", "wakeEndpoints")):
        for one, other in (pair, pair[::-1]):
            if said.get(one) is not None and said.get(other) is None:
                yield problem(one, f"written together with {other}: one without the other is half of a sleep")
    if said.get("cmdSleep") is not None and said.get("sleepEndpoints") is not None:
        yield problem("sleepEndpoints", "without cmdSleep beside it: a model is put to sleep in one way")
    if "*" in name:
        for key in OF_ONE:
            if said.get(key) is not None:
                yield problem(key, f"in the section of one model: {name} stands for many")
    if said.get("load") is not None and said.get("healthCheckTimeout") is not None:
        yield problem("load", "without healthCheckTimeout beside it: load.ceiling takes its place")
    if said.get("kind") == PROCESS:
        for key in ("proxy", "cmdSleep", "cmdStop", "checkEndpoint", "load", "sleepEndpoints", "canary"):
            if said.get(key) is not None:
                yield problem(key, "without `kind: process`: such a process answers one request, and ends")


def _in_groups(tree: Tree, groups: Any, run: list[str]) -> Iterator[Problem]:
    claimed: dict[str, str] = {}
    for group, said in _sections(groups):
        if group == OTHERS:
            yield _problem(tree, ("groups", group), group, "another name: this is the group of all other models")
        members = said.get("members") if isinstance(said, dict) else None
        if not members:
            yield _problem(tree, ("groups", group), members or "...", "a group with `members`")
        yield from _unknown(tree, members, run, "groups", group, "members")
        for place, member in enumerate(members if isinstance(members, list) else ()):
            if isinstance(member, str) and claimed.setdefault(member, group) != group:
                wanted = f"in one group, and groups.{claimed[member]} has it already"
                yield _problem(tree, ("groups", group, "members", place), member, wanted)


def _unknown(tree: Tree, names: Any, run: list[str], *path: str) -> Iterator[Problem]:
    for place, name in enumerate(names if isinstance(names, list) else ()):
        if isinstance(name, str) and name.strip() and name not in run:
            known = one_of(run, name) if run else "a model that is run, and none has a `cmd`"
            yield _problem(tree, (*path, place), name, known)


def _problem(tree: Tree, path: Branch, found: object, wanted: str) -> Problem:
    key = ".".join(str(part) for part in path if isinstance(part, str))
    return Problem(tree.file, tree.line(*path), key, found, wanted)


# -- what does nothing ------------------------------------------------------------------------------------------------


def odd_runs(file: ConfigFile, tree: Tree) -> Iterator[str]:
    """Remarks on what is allowed and does nothing."""
    for name, section in file.models.items():
        if "*" not in name and not section.cmd:
            for key in USELESS_WITHOUT_A_COMMAND:
                if key in section.model_fields_set and getattr(section, key) is not None:
                    where = tree.place("models", name, key)
                    yield f"{where}: models.{name}.{key} does nothing: the model has no cmd, so it is not run by us"
        yield from _protected(file, tree, name)
    yield from _sleepless(file, tree)


def _sleepless(file: ConfigFile, tree: Tree) -> Iterator[str]:
    """Requests that nobody switches on, and a switch with nothing behind it."""
    written, of_all = _written_of_models(file, tree), said_in(file, RunningFile)
    for name in (name for name, section in file.models.items() if section.cmd):
        own: dict[str, Any] = {}
        for each in (written[name], *_patterns(name, written)):
            own = {**each.said, **own}
        mode, asks = sleep_mode(own, of_all), bool(own.get("sleepEndpoints"))
        if asks and mode is None:
            where = tree.place("models", name, "sleepEndpoints")
            yield f"{where}: models.{name}.sleepEndpoints does nothing without `sleepMode: enable`"
        if mode == "enable" and not asks and not own.get("cmdSleep") and written[name].said.get("sleepMode"):
            where = tree.place("models", name, "sleepMode")
            yield f"{where}: models.{name}.sleepMode does nothing: the model has no sleepEndpoints and no cmdSleep"


def _protected(file: ConfigFile, tree: Tree, name: str) -> Iterator[str]:
    filters = file.models[name].filters
    by_id = filters.setParamsByID or {}
    for key, names in (
        ("stripParams", filters.stripParams or ()),
        ("setParams", filters.setParams or ()),
        ("setParamsByID", {each for said in by_id.values() for each in said}),
    ):
        if PROTECTED in names:
            where = tree.place("models", name, "filters", key)
            yield f"{where}: models.{name}.filters.{key}: {PROTECTED} stays as it is; no filter touches it"
