"""A flow as plain data and back: a run keeps it, and another process goes on with it, whatever became of its file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from hangtight.core.limits import AUTO, Unset
from hangtight.errors import SettingsError
from hangtight.flows.definition.checks import OF_A_FLOW, OF_A_STEP
from hangtight.flows.definition.finding import is_named, reference
from hangtight.flows.definition.overriding import overridden
from hangtight.flows.definition.reading import load, read_tree
from hangtight.flows.definition.steps import Flow, Kind, Step
from hangtight.flows.port import Json, RunSpec

WORK: Final = {"prompt": Kind.GENERATE.value, "command": Kind.TOOL.value}
USUAL: Final = {field.name: field.default for field in fields(Step)}


def definition(flow: Flow) -> Json:
    """What a file of this flow would say, as JSON. None where a function of it has no name that others could find."""
    steps = {step.name: _told(step) for step in flow.steps.values()}
    if any(step.function is not None and Kind.PYTHON not in steps[step.name] for step in flow.steps.values()):
        return None
    told = {name: getattr(flow, name) for name in OF_A_FLOW if not isinstance(getattr(flow, name), Unset)}
    return {"flow": flow.name, **told, "steps": steps, "source": flow.source, "folder": str(_folder(flow.source))}


def from_definition(data: Json) -> Flow:
    """The flow that a definition was made of."""
    if not isinstance(data, dict):
        raise SettingsError("definition", data, "keys and values, as definition() has made them")
    from hangtight.rules.reading import Tree

    tree = Tree(str(data.get("source") or "definition"), "json", data)
    return read_tree(tree, Path(data.get("folder", ".")), "flow", kept=True).flow


def flow_of(spec: RunSpec) -> Flow:
    """The flow of a run, with the models and settings that were given for this run."""
    if spec.definition is None and not spec.source:
        wanted = "in a module or a file: its functions can be found by no other process"
        raise SettingsError(f"the flow of run {spec.id}", spec.flow, wanted)
    flow = load(spec.source) if spec.definition is None else from_definition(spec.definition)
    return overridden(flow, spec.models, spec.changes)


def _told(step: Step) -> dict[str, Any]:
    told: dict[str, Any] = {"source": step.source} if step.source else {}
    if step.function is not None and (name := step.called or reference(step.function)):
        told[Kind.PYTHON.value] = name
    for key in OF_A_STEP:
        value = getattr(step, key)
        if key == "name" or isinstance(value, Unset) or (key != "limits" and value == USUAL[key]):
            continue
        if key == "limits":
            value = {name: AUTO.value if number is AUTO else number for name, number in value.items()}
        if value != {}:
            told[WORK.get(key, key)] = list(value) if isinstance(value, tuple) else value
    return told


def _folder(source: str) -> Path:
    """Where the functions of a flow are looked for."""
    return Path(source.rpartition(":")[0] if is_named(source) else source).parent.resolve()
