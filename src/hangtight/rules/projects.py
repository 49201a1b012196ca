"""The rules file of a project, `.qwencoderules`: what of it is ours. The rest belongs to others and is left alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from hangtight.rules.errors import nearest
from hangtight.rules.reading import Tree
from hangtight.rules.schema import ConfigFile, RulesFile, TimedModel
from hangtight.rules.schema_running import RunningModel
from hangtight.rules.schema_serving import ServedModel

OURS_IN_A_MODEL = tuple(name for name in TimedModel.model_fields if name != "proxy")
OF_CONFIG = (*ServedModel.model_fields, *RunningModel.model_fields)
"""What a project never says: a folder that somebody sent must not start anything."""


def of_ours(tree: Tree, modes: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """The keys about time, and remarks on keys that look as if they were meant to be."""
    known = RulesFile.model_fields
    remarks: list[str] = []
    data = {key: value for key, value in tree.data.items() if key in known}
    remarks += _near_misses(tree, (), [key for key in tree.data if key not in known], list(known))
    for key in tree.data:
        if key in ConfigFile.model_fields and key not in known:
            remarks.append(_of_config(tree, key))
    for key in ("priorities", "models", "preferred_models"):
        if key in data and not isinstance(data[key], dict | None):
            remarks.append(f"{tree.place(key)}: {key} is left alone: it has no keys and values")
            del data[key]
    listed = {*modes, *_keys(data.get("modes")), *_keys(data.get("budgets"))}
    if data.get("models"):
        preferred, data["models"], told = _split(tree, data["models"], listed)
        data["preferred_models"] = preferred | (data.get("preferred_models") or {})
        remarks += told
    return data, remarks


def _split(
    tree: Tree, models: dict[str, Any], modes: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """`models: {fast: [..]}` are the preferred ones of a mode; `models: {qwen3: {limits: ..}}` is about a model."""
    preferred: dict[str, Any] = {}
    rules: dict[str, Any] = {}
    remarks: list[str] = []
    for name, said in models.items():
        if isinstance(said, dict):
            rules[name] = {key: value for key, value in said.items() if key in OURS_IN_A_MODEL}
            elsewhere = [key for key in said if key in OF_CONFIG]
            remarks += [_of_config(tree, "models", name, key) for key in elsewhere]
            others = [key for key in said if key not in OURS_IN_A_MODEL and key not in elsewhere]
            remarks += _near_misses(tree, ("models", name), others, OURS_IN_A_MODEL)
        elif name in modes:
            preferred[name] = [said] if isinstance(said, str) else said
        else:
            remarks += _near_misses(tree, ("models",), [name], list(modes))
    return preferred, rules, remarks


def _of_config(tree: Tree, *path: str) -> str:
    return f"{tree.place(*path)}: {'.'.join(path)} is left alone here: it belongs in hangtight.yaml"


def _near_misses(tree: Tree, path: tuple[str, ...], keys: list[str], known: Collection[str]) -> Iterator[str]:
    for key in keys:
        if near := nearest(key, known):
            told = ".".join((*path, key))
            yield f"{tree.place(*path, key)}: {told} is not known and left alone; did you mean {near}?"


def _keys(section: Any) -> Collection[str]:
    return section.keys() if isinstance(section, dict) else ()
