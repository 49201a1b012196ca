"""Errors of ours that reach a caller through the client library above us as what they are, and once.

anthropic turns whatever its transport raises into "Connection error." and asks twice more, except for errors of its
own: there the class that is raised derives from that library's base error too. openai and ollama let ours pass.
"""

from __future__ import annotations

import sys
from typing import Any

from hangtight.errors import HangtightError

ANTHROPIC = "anthropic"


def dressed(error: HangtightError, headers: Any) -> HangtightError:
    """The same error, in a class that passes through the client that sent these headers."""
    if "anthropic-version" not in headers or ANTHROPIC not in sys.modules:
        return error
    try:
        kind = kind_for(type(error), ANTHROPIC)
        twin: HangtightError = kind.__new__(kind, *error.args)
    except TypeError:  # a base that does not get along with this class: then ours is at least the cause
        return error
    twin.args = error.args
    twin.__dict__.update(error.__dict__)
    return twin


_KINDS: dict[type[HangtightError], type[HangtightError]] = {}


def kind_for(kind: type[HangtightError], library: str) -> type[HangtightError]:
    """This class of ours as one that a client library takes for its own."""
    if kind in _KINDS:
        return _KINDS[kind]
    base = sys.modules[library].AnthropicError
    told = {"__doc__": kind.__doc__, "__module__": kind.__module__, "__reduce__": _reduce}
    _KINDS[kind] = type(kind.__name__, (kind, base), told)
    return _KINDS[kind]


def _reduce(error: HangtightError) -> tuple[Any, ...]:
    """Elsewhere the library may not be there: the plain error travels."""
    plain = type(error).__bases__[0]
    twin = plain.__new__(plain, *error.args)
    twin.__dict__.update(error.__dict__)
    reduced: tuple[Any, ...] = twin.__reduce__()
    return reduced
