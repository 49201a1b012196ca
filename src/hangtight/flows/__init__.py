"""Workflows: steps with their own clocks, heartbeats while a model works, and runs that survive a crash.

>>> from hangtight.flows import Engine, Flow, generate, step
>>> flow = Flow("notes", [generate("plan", "Plan ${input.idea}", timeout=300)])

Every name below is loaded when it is first used.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hangtight.flows.definition.making import generate as generate
    from hangtight.flows.definition.making import step as step
    from hangtight.flows.definition.making import tool as tool
    from hangtight.flows.definition.reading import load as load
    from hangtight.flows.definition.steps import Flow as Flow
    from hangtight.flows.definition.steps import Kind as Kind
    from hangtight.flows.definition.steps import Step as Step
    from hangtight.flows.engine import Engine as Engine
    from hangtight.flows.events import Event as Event
    from hangtight.flows.events import EventType as EventType

_WHERE = {
    "Engine": "engine",
    "Event": "events",
    "EventType": "events",
    "Flow": "definition.steps",
    "Kind": "definition.steps",
    "Step": "definition.steps",
    "generate": "definition.making",
    "load": "definition.reading",
    "step": "definition.making",
    "tool": "definition.making",
}

__all__ = [*_WHERE]  # noqa: PLE0604 - names of the table above


def __getattr__(name: str) -> object:
    """As the front door of the house does it: PEP 562."""
    if name not in _WHERE:
        raise AttributeError(f"module 'hangtight.flows' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"hangtight.flows.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
