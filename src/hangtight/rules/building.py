"""From the files to settings: each number becomes part of a layer, with its line and the line to change.

Needs pydantic and ruamel.yaml; loaded when the first file is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import BaseModel

from hangtight.core.intents import Intent, Placed
from hangtight.core.layers import EXTENSION_OF_A_MODE, MODES, Layer, Rank, mode_layer
from hangtight.core.limits import AUTO, Setting
from hangtight.core.time import plain
from hangtight.rules.checking import set_aside, validated
from hangtight.rules.errors import Problem, SettingsErrors, one_of
from hangtight.rules.expanding import expanded
from hangtight.rules.filling import Lookup, filled
from hangtight.rules.finding import Found
from hangtight.rules.journals import standing_beside
from hangtight.rules.lines import NAME, line_to_change
from hangtight.rules.projects import of_ours
from hangtight.rules.reading import Tree, read
from hangtight.rules.runs import misfits, odd_runs, run_places, runs_of
from hangtight.rules.schema import LIMITS, Common, ConfigFile, ModelSection, ModeSection, RulesFile
from hangtight.rules.served import aliases_in, clashes, gateway_of, places_in, said_of
from hangtight.rules.settings import DAY, KEEP, Learning, Mode, Model, Settings
from hangtight.rules.winning import losers

DEFAULT_MODE_OF_A_PROJECT = "deep"


class Said(NamedTuple):
    """One file that can be used."""

    tree: Tree
    file: Common
    path: Path

    def has(self, key: str) -> bool:
        return key in self.file.model_fields_set


@dataclass(slots=True)
class Built:
    """What the files come to, and all that is wrong with them."""

    settings: Settings
    problems: list[Problem]


def built(found: Sequence[Found], look_up: Lookup | None = None, look_up_to_run: Lookup | None = None) -> Built:
    """The settings of these files, the highest first. Without a way to look them up variables stay as they are written.

    What is run has a way of its own: see `loading`.
    """
    problems: list[Problem] = []
    remarks: list[str] = []
    trees: list[tuple[Found, Tree]] = []
    for place in found:
        try:
            trees.append((place, read(place.path, place.shown)))
        except SettingsErrors as errors:
            problems += errors.problems
    modes = _modes_of_configs(trees)
    said: list[Said] = []
    for place, tree in trees:
        file, wrong, told = _checked(tree, place.of_a_project, modes, (look_up, look_up_to_run))
        problems += wrong
        remarks += told
        if file is not None:
            said.append(Said(tree, file, place.path))
        else:
            problems += _unknown_default(tree, modes)
    settings = _settings(said, remarks, tuple(place.shown for place in found))
    return Built(settings, [*problems, *_unknown_modes(said, settings)])


def _unknown_default(tree: Tree, modes: set[str]) -> list[Problem]:
    """Of a file that cannot be used otherwise either: all that is wrong shall be told at once."""
    own = tree.data.get("modes")
    known = {*modes, *(own if isinstance(own, dict) else ())}
    found = tree.data.get("default_mode")
    if not isinstance(found, str) or found in known:
        return []
    return [Problem(tree.file, tree.line("default_mode"), "default_mode", found, one_of(sorted(known), found))]


def _modes_of_configs(trees: Iterable[tuple[Found, Tree]]) -> set[str]:
    """The names of modes, known before the rules of a project are read, which may only prefer models for them."""
    sections = [tree.data.get("modes") for place, tree in trees if not place.of_a_project]
    return {*MODES, *(name for section in sections if isinstance(section, dict) for name in section)}


def _checked(
    tree: Tree, of_a_project: bool, modes: set[str], look_ups: tuple[Lookup | None, Lookup | None]
) -> tuple[Common | None, list[Problem], list[str]]:
    if of_a_project:
        data, remarks = of_ours(tree, modes)
        file, problems = validated(data, tree, RulesFile)
        return file, problems, remarks
    data, remarks = set_aside(tree)
    data, unset = filled(data, tree, look_ups[0])
    data, wrong = expanded(data, tree, look_ups[1])
    told = {(each.line, each.key) for each in wrong}
    config, problems = validated(data, tree, ConfigFile)
    problems = [each for each in problems if (each.line, each.key) not in told]
    return config, [*problems, *unset, *wrong, *clashes(data, tree), *misfits(data, tree)], remarks


def _settings(said: Sequence[Said], remarks: list[str], files: tuple[str, ...]) -> Settings:
    below = tuple(layer for each in said for layer in _below(each))
    modes, models = _modes(said), _models(said)
    default_mode, places = _default_mode(said), {}
    for each in reversed(said):
        for key in ("default_mode", "step_timeout", "journal", "learning", "priorities"):
            if each.has(key):
                places[key] = each.tree.place(key)
    of_all = next((meant for each in said if (meant := _intent(each, each.file)) is not None), None)
    if of_all is not None:
        places["intent"] = of_all[1]
    config = next((each for each in said if isinstance(each.file, ConfigFile)), None)
    if config is not None:
        for places_of in (places_in, run_places):
            places |= places_of(cast("ConfigFile", config.file), config.tree)
    settings = Settings(
        below=below,
        modes=modes,
        default_mode=default_mode,
        models=models,
        of_all=of_all,
        step=_step(said),
        priorities={step: word for each in reversed(said) for step, word in each.file.priorities.items()},
        files=files,
        places=places,
        **(_of_config(config) if config else {}),
    )
    return replace(settings, remarks=(*remarks, *_odd(said), *losers(settings)))


def _of_config(said: Said) -> dict[str, Any]:
    file = cast("ConfigFile", said.file)
    journal, learning = file.journal, file.learning
    runs = runs_of(file, said.tree)
    keep = journal.keep if "keep" in journal.model_fields_set else KEEP / DAY
    return {
        "journal": standing_beside(journal.url, said.path.parent),
        "keep": None if keep is None else keep * DAY,
        "learning": Learning(learning.samples, learning.floors.model_dump()),
        "gateway": gateway_of(file, said.path.parent),
        "aliases": aliases_in(file),
        "runs": runs.runs,
        "groups": runs.groups,
        "preload": runs.preload,
        "logging": runs.logging,
        "flows": None if file.flows is None else str(said.path.parent / os.path.expanduser(file.flows)),
    }


# -- layers -----------------------------------------------------------------------------------------------------------


def _layer(
    said: Said, rank: Rank, source: str, values: Mapping[str, Setting], path: tuple[str, ...], *, name: str = NAME
) -> Layer:
    """A layer of what stands under one path. `name` is the key there, where it is not the name of the limit."""
    tree = said.tree
    sources = {limit: tree.place(*path, limit if name == NAME else name) for limit in values}
    return Layer(rank, source, values, line_to_change(tree.kind, tree.file, path, name), sources)


def _extension(layer: Layer, said: Said, name: str) -> list[Layer]:
    """How far the total of a mode may be moved where its file does not say it: right below, as nobody wrote it."""
    total = layer.values.get("total", AUTO)
    section = said.file.modes.get(name)
    if total is AUTO or (section is not None and "extend_to" in section.model_fields_set):
        return []
    source = f"{plain(EXTENSION_OF_A_MODE)} x total ({layer.sources['total']})"
    change = line_to_change(said.tree.kind, said.tree.file, ("modes", name))
    return [Layer(layer.rank, source, {"extend_to": None if total is None else EXTENSION_OF_A_MODE * total}, change)]


def _intent(said: Said, section: Common | ModeSection | ModelSection | None, *path: str) -> Placed | None:
    meant = cast("Intent | None", section.intent) if section is not None else None
    return None if meant is None else (meant, said.tree.place(*path, "intent"))


def _limits(section: BaseModel) -> dict[str, Setting]:
    return {name: getattr(section, name) for name in LIMITS if name in section.model_fields_set}


def _below(said: Said) -> list[Layer]:
    source, layers = said.tree.file, []
    if values := _limits(said.file.limits):
        layers.append(_layer(said, Rank.FILE, source, values, ("limits",)))
    if said.has("heartbeat"):
        layers.append(_layer(said, Rank.FILE, source, {"heartbeat": said.file.heartbeat}, ()))
    return layers


def _step(said: Sequence[Said]) -> Layer | None:
    for each in said:
        if each.has("step_timeout"):
            seconds = each.file.step_timeout
            values = {"total": seconds}
            return (
                _layer(each, Rank.STEP, "step_timeout", values, (), name="step_timeout")
                if seconds is not None
                else None
            )
    return None


def _default_mode(said: Sequence[Said]) -> str | None:
    for each in said:
        if each.has("default_mode"):
            return each.file.default_mode
    return DEFAULT_MODE_OF_A_PROJECT if any(isinstance(each.file, RulesFile) for each in said) else None


def _modes(said: Sequence[Said]) -> dict[str, Mode]:
    names = list(MODES)
    for each in reversed(said):
        names += [name for name in (*each.file.modes, *_budgets(each)) if name not in names]
    return {name: _mode(name, said) for name in names}


def _mode(name: str, said: Sequence[Said]) -> Mode:
    source, layers = f"mode {name}", []
    models: tuple[str, ...] | None = None
    intent: Placed | None = None
    for each in said:
        budgets, section = _budgets(each), each.file.modes.get(name)
        preferred = each.file.preferred_models.get(name) if isinstance(each.file, RulesFile) else None
        models = models if models is not None else preferred
        intent = intent or _intent(each, section, "modes", name)
        if section is not None:
            models = models if models is not None else section.models
            if values := _limits(section):
                layers.append(_layer(each, Rank.MODE, source, values, ("modes", name)))
                layers += _extension(layers[-1], each, name)
        if name in budgets:
            layers.append(_layer(each, Rank.MODE, source, {"total": budgets[name]}, ("budgets",), name=name))
            layers += _extension(layers[-1], each, name)
    shipped = mode_layer(name) if name in MODES else Layer(Rank.MODE, source)
    return Mode(name, (*layers, shipped), models or (), intent)


def _budgets(said: Said) -> Mapping[str, float | None]:
    return said.file.budgets if isinstance(said.file, RulesFile) else {}


def _models(said: Sequence[Said]) -> dict[str, Model]:
    models: dict[str, Model] = {}
    for each in said:
        for name, section in each.file.models.items():
            own = _model(each, name, section)
            above = models.get(name)
            models[name] = own if above is None else _merged(above, own)
    return models


def _model(said: Said, name: str, section: ModelSection) -> Model:
    source, layers = f"models.{name} in {said.tree.file}", []
    if values := _limits(section.limits):
        layers.append(_layer(said, Rank.MODEL, source, values, ("models", name, "limits")))
    if "heartbeat" in section.model_fields_set:
        layers.append(_layer(said, Rank.MODEL, source, {"heartbeat": section.heartbeat}, ("models", name)))
    proxy = None if section.proxy and "${" in section.proxy else section.proxy
    intent = _intent(said, section, "models", name)
    return Model(name, tuple(layers), section.fallback, proxy, section.reasons, intent, said_of(section))


def _merged(above: Model, below: Model) -> Model:
    return Model(
        above.name,
        (*above.layers, *below.layers),
        below.fallback if above.fallback is None else above.fallback,
        below.proxy if above.proxy is None else above.proxy,
        below.reasons if above.reasons is None else above.reasons,
        below.intent if above.intent is None else above.intent,
        {**below.serving, **above.serving},
    )


# -- what does not fit together ---------------------------------------------------------------------------------------


def _unknown_modes(said: Sequence[Said], settings: Settings) -> list[Problem]:
    """A default mode must be one; whether it is can be said only when all files are read."""
    return [
        Problem(each.tree.file, each.tree.line("default_mode"), "default_mode", name, one_of(settings.modes, name))
        for each in said
        if each.has("default_mode") and (name := each.file.default_mode) is not None and name not in settings.modes
    ]


def _odd(said: Sequence[Said]) -> Iterable[str]:
    for each in said:
        tree = each.tree
        for name, section in each.file.models.items():
            if section.fallback and name in section.fallback:
                yield f"{tree.place('models', name, 'fallback')}: models.{name}.fallback names the model itself"
        if isinstance(each.file, ConfigFile):
            yield from odd_runs(each.file, tree)
        if isinstance(each.file, RulesFile):
            for name in each.file.preferred_models:
                if name not in _modes(said):
                    yield f"{tree.place('preferred_models', name)}: preferred_models.{name} can never win: no such mode"
