"""The parameters of a function that is a step: by their names it gets what it needs.

`plan` is what that step has put out (`read-me` is `read_me`), `model` the model of the step, `workspace` its folder,
and every other name an input of the run. One with a default need not be given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from typing import Any, Final

from hangtight.errors import SettingsError

GIVEN: Final = ("model", "workspace")
"""What the engine itself gives to those who ask for it."""
BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def parameters_of(function: Callable[..., Any]) -> dict[str, bool]:
    """The names of what it gets, and whether it must have it."""
    try:
        found = signature(function).parameters.values()
    except (TypeError, ValueError):  # some that are not written in Python say nothing
        return {}
    for each in found:
        if each.kind is Parameter.POSITIONAL_ONLY and each.default is Parameter.empty:
            wanted = "a parameter that can be given by its name"
            raise SettingsError(f"{getattr(function, '__name__', 'function')}({each.name})", each.name, wanted)
    return {each.name: each.default is Parameter.empty for each in found if each.kind in BY_NAME}


def steps_in(function: Callable[..., Any], names: Iterable[str], own: str) -> tuple[str, ...]:
    """The steps among these that its parameters name."""
    by_parameter = {name.replace("-", "_"): name for name in names if name != own}
    return tuple(by_parameter[name] for name in parameters_of(function) if name in by_parameter and name not in GIVEN)


def inputs_in(function: Callable[..., Any], names: Iterable[str], own: str) -> dict[str, bool]:
    """The inputs that it gets, and whether it must have each."""
    steps = {name.replace("-", "_") for name in names if name != own}
    wanted = parameters_of(function)
    return {name: must for name, must in wanted.items() if name not in steps and name not in GIVEN}


def arguments(
    function: Callable[..., Any],
    outputs: Mapping[str, Any],
    inputs: Mapping[str, Any],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """What a call of it is given: `outputs` by step, `given` are its model and its workspace.

    >>> arguments(lambda plan, idea="none", *, model: ..., {"plan": "1. ..."}, {}, {"model": "qwen3-coder"})
    {'plan': '1. ...', 'model': 'qwen3-coder'}
    """
    known = {**inputs, **{name.replace("-", "_"): put_out for name, put_out in outputs.items()}, **given}
    return {name: known[name] for name in parameters_of(function) if name in known}
