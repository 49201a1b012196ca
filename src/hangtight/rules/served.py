"""From a file to the settings of the gateway, and what is wrong with the names of its models."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from hangtight.rules.errors import Problem
from hangtight.rules.reading import Tree
from hangtight.rules.schema import ConfigFile, ModelSection
from hangtight.rules.schema_serving import MostSection, ServedFile, ServedModel
from hangtight.rules.schema_shown import ShownModel, shown_in
from hangtight.rules.serving import PROXY_SILENCE, CircuitSettings, Gateway

RAISES: Mapping[str | None, bool | None] = {"raise": True, "cut": False, None: None}


def gateway_of(file: ConfigFile, folder: Path) -> Gateway:
    """How the gateway treats its clients, by this file, which stands in this folder."""
    door = file.gateway
    most = {name: getattr(file.most, name) for name in MostSection.model_fields}
    circuit = cast("CircuitSettings | Literal[False] | None", file.circuit)
    is_said = "proxy_silence" in file.model_fields_set
    return Gateway(
        keys=file.apiKeys or (),
        lists_aliases=bool(file.includeAliasesInList),
        may_raise=RAISES[file.headers],
        proxy_silence=file.proxy_silence if is_said else PROXY_SILENCE,
        proxy_is_said=is_said,
        places=file.queue or 0,
        loading_state=bool(file.sendLoadingState),
        routes=tuple(file.routes.items()),
        most={name: seconds for name, seconds in most.items() if seconds is not None},
        hosts=tuple(host.lower().strip("[]") for host in door.hosts or ()),
        origins=door.origins or (),
        body=door.body,
        head=door.headers,
        patience=door.patience,
        circuit=CircuitSettings() if circuit is None else circuit or None,
        training=None
        if file.training is None
        else tuple(str(folder / os.path.expanduser(path)) for path in file.training),
    )


def said_of(section: ModelSection) -> dict[str, Any]:
    """What is written about how a model is served, by key."""
    own = [key for key in ServedModel.model_fields if key not in ShownModel.model_fields]
    said = {key: getattr(section, key) for key in own if key in section.model_fields_set} | shown_in(section)
    timeouts = said.pop("timeouts", None)
    if timeouts is not None and "connect" in timeouts.model_fields_set:
        said["connect"] = timeouts.connect
    return said


def places_in(file: ConfigFile, tree: Tree) -> dict[str, str]:
    """Where each of these settings stands."""
    written = [(key,) for key in ServedFile.model_fields if key in file.model_fields_set]
    of_models = [
        ("models", name, key)
        for name, section in file.models.items()
        for key in ServedModel.model_fields
        if key in section.model_fields_set
    ]
    return {".".join(path): tree.place(*path) for path in (*written, *of_models)}


def aliases_in(file: ConfigFile) -> dict[str, str]:
    """The other names of models, and which is meant."""
    return {
        alias: name
        for name, section in file.models.items()
        for alias in (*(section.aliases or ()), *(section.filters.setParamsByID or ()))
        if alias != name
    }


def clashes(data: Mapping[str, Any], tree: Tree) -> Iterable[Problem]:
    """Aliases that do not tell which model is meant. Looks at what is written, so that all is told at once."""
    found = data.get("models")
    models: Mapping[str, Any] = found if isinstance(found, dict) else {}
    claimed: dict[str, str] = {}
    for name, alias, *path in _written(models):
        wanted = None
        if "*" in name:
            wanted = f"in the section of one model: {name} stands for many"
        elif alias in models:
            wanted = "a name that no model has, and there is a model of this name"
        elif claimed.setdefault(alias, name) != name:
            wanted = f"a name that is claimed once, and models.{claimed[alias]} claims it already"
        if wanted is not None:
            line = tree.line("models", name, *path)
            yield Problem(tree.file, line, f"models.{name}.{path[0]}", alias, wanted)


def _written(models: Mapping[str, Any]) -> Iterable[tuple[str, str, str, str | int]]:
    """Each other name of a model, and where it stands. A name for which there are parameters is one, too."""
    for name, said in models.items():
        aliases = said.get("aliases") if isinstance(said, dict) else None
        for place, alias in enumerate(aliases if isinstance(aliases, list) else ()):
            if isinstance(alias, str):
                yield name, alias, "aliases", place
        filters = said.get("filters") if isinstance(said, dict) else None
        by_id = filters.get("setParamsByID") if isinstance(filters, dict) else None
        for alias in by_id if isinstance(by_id, dict) else ():
            if alias != name:
                yield name, alias, "filters", "setParamsByID"
