"""Flows in Python: functions that are steps, and steps of text and of commands made with one call.

>>> @step(timeout=300)
... def tidy(plan: str) -> str:
...     return plan.strip()
>>> tidy(" 1. Begin ")
'1. Begin'
>>> Flow("notes", [tidy, generate("plan", "Plan ${input.idea}")]).inputs
('idea',)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import unwrap
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack, overload

from hangtight.core.limits import Unset
from hangtight.flows.definition.steps import STEP, Flow, Kind, Step

F = TypeVar("F", bound=Callable[..., Any])


class Settings(TypedDict, total=False):
    """What may be said of any step. The numbers are seconds; None is no limit."""

    after: Sequence[str]
    timeout: float | Unset | None
    weight: float
    critical: bool
    minimum: float
    retries: int
    output: str


class OfModels(Settings, total=False):
    """And of one that asks models."""

    limits: Mapping[str, Any]
    model: str | None
    mode: str | None


class OfFunctions(OfModels, total=False):
    """And of one that is a function."""

    isolate: bool


class OfPrompts(OfModels, total=False):
    """And of one that is a prompt."""

    fallback: Sequence[str] | None
    split: Mapping[str, Any] | str | None
    system: str


@overload
def step(function: F, /) -> F: ...


@overload
def step(*, name: str = ..., **settings: Unpack[OfFunctions]) -> Callable[[F], F]: ...


def step(function: F | None = None, /, *, name: str = "", **settings: Unpack[OfFunctions]) -> F | Callable[[F], F]:
    """A function, plain or async, as a step. It stays what it is, and can be called as before.

    A parameter with the name of another step gets what that one has put out, `model` the step's model, `workspace`
    its folder, and any other one an input of the run.
    """

    def keep(made_of: F) -> F:
        said: Any = settings
        told = name or getattr(made_of, "__name__", "")
        setattr(made_of, STEP, Step(told, Kind.PYTHON, function=made_of, source=place_of(made_of), **said))
        return made_of

    return keep if function is None else keep(function)


def generate(name: str, prompt: str, **settings: Unpack[OfPrompts]) -> Step:
    """A step that asks a model. `${plan}` in the prompt is what that step has put out, `${input.idea}` an input."""
    said: Any = settings
    return Step(name, Kind.GENERATE, prompt=prompt, **said)


def tool(name: str, command: str | Sequence[str], **settings: Unpack[Settings]) -> Step:
    """A step that runs a command, without a shell; its places are filled in after it was cut into words."""
    said: Any = {"command": command, **settings}
    return Step(name, Kind.TOOL, **said)


def place_of(function: Callable[..., Any]) -> str:
    """Where a function is written: `notes.py:12`."""
    code = getattr(unwrap(function), "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code else ""


__all__ = ["Flow", "generate", "step", "tool"]
