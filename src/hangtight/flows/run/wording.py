"""The lines to change in the errors of a run, as they are typed where the run, its flow or its step was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hangtight.core.telling import LONGER
from hangtight.core.time import plain
from hangtight.flows.definition.checks import LIMITS
from hangtight.flows.definition.finding import is_named

if TYPE_CHECKING:
    from hangtight.flows.definition.steps import Flow, Step
    from hangtight.flows.port import RunSpec

TIMEOUTS: Final = ("timeout", "total")


class Words(NamedTuple):
    """How somebody asks for a run: templates with `{name}` and `{value}`."""

    total: str
    set: str
    """Another setting of a step, for this run."""


PYTHON: Final = Words("total={value}", 'changes: "{name}": {value}')
COMMAND: Final = Words("--total {value}", "--set {name}={value}")
HTTP: Final = Words("?total={value}", "?set={name}={value}")


def is_of_a_file(flow: Flow) -> bool:
    """Its settings are written as YAML."""
    return bool(flow.source) and not is_named(flow.source)


def as_it_is(text: str) -> str:
    """Of a template what is none."""
    return text.replace("{", "{{").replace("}", "}}")


def of_the_run(flow: Flow, total: float | None, changed: bool, words: Words) -> str:
    """The template for another total of the whole run: what is nearest to the caller wins."""
    if total is not None:
        return words.total
    if changed:
        return words.set.replace("{name}", "total")
    if is_of_a_file(flow):
        return f"total: {{value}}  at {as_it_is(flow.total_at or flow.source)}"
    return "Flow(total={value})"


def longer_run(run: RunSpec) -> str:
    """The line for a run that may take longer. It is no template any more."""
    whole = (run.deadline or 0.0) - run.began
    return run.longer.format(name="total", value=plain(round(LONGER * whole, 1)))


def of_the_step(step: Step, flow: Flow) -> str:
    """The line for a limit that the step gives itself, or could give."""
    if is_of_a_file(flow):
        return f"{{name}}: {{value}}  for step {step.name}"
    return f"{{name}}={{value}}  for step {step.name}"


def of_the_flow(flow: Flow) -> str:
    """The line for the timeout of all its steps."""
    if is_of_a_file(flow):
        return f"timeout: {{value}}  for flow {as_it_is(flow.name)}"
    return "Flow(timeout={value})"


def changed_here(run: RunSpec, step: str) -> dict[str, str]:
    """By limit, the place by which this run was given another one for the step: `coder.limits.idle`."""
    placed = ((place, *place.partition(".")[::2]) for place in run.changes)
    found = {key.removeprefix("limits."): place for place, name, key in placed if name == step}
    return {key: place for key, place in found.items() if key in LIMITS or key in TIMEOUTS}
