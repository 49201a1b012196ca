"""Puts a guard around `generate`: that of one model, or that of all models of transformers for the code of one context.

What is wrapped is put back exactly, whoever else has wrapped it meanwhile, and in whatever order they leave.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from threading import Lock
from typing import Any, cast

Around = Callable[[Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Told the model, what generates, and with what; returns what that returns."""

NAME = "generate"
COPIES = "__reduce_ex__"
STATE = 2
"""Where in what that returns the attributes stand."""
MISSING = object()
HERE: ContextVar[tuple[Around, ...]] = ContextVar("hangtight-training", default=())
"""The guards around this code, the innermost last. Another thread has none."""

_lock = Lock()


class Wrapped:
    """Stands in the place of a model's own `generate` while a guard holds."""

    def __init__(self, model: Any, around: Around) -> None:
        self.model, self.around = model, around
        self.before = vars(model).get(NAME, MISSING)
        """What stood on this very model, where anything did."""
        self._asked = getattr(model, NAME)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.around not in HERE.get():
            return self._beneath()(*args, **kwargs)
        return self.around(self.model, self._beneath(), args, kwargs)

    def _beneath(self) -> Callable[..., Any]:
        """Looked up at the call: its class may have been wrapped since, by a guard for all models."""
        if self.before is not MISSING:
            return cast("Callable[..., Any]", self.before)
        found = getattr(type(self.model), NAME, None)
        return cast("Callable[..., Any]", self._asked) if found is None else functools.partial(found, self.model)

    @property
    def __wrapped__(self) -> Any:
        """For who wants to know what arguments it takes."""
        return self._asked

    def put(self) -> None:
        with _lock:
            vars(self.model)[NAME] = self
            vars(self.model)[COPIES] = functools.partial(_unguarded, self.model)

    def take_away(self) -> None:
        with _lock:
            top = vars(self.model).get(NAME)
            if top is self:
                if self.before is MISSING:
                    del vars(self.model)[NAME]
                else:
                    vars(self.model)[NAME] = self.before
            if not isinstance(vars(self.model).get(NAME), Wrapped):
                vars(self.model).pop(COPIES, None)
            while isinstance(top, Wrapped):
                if top.before is self:
                    top.before = self.before
                top = top.before


def _unguarded(model: Any, protocol: Any) -> Any:
    """How `copy.deepcopy` and `pickle` take the model apart: a guard is of this very model, and no part of a copy."""
    kind: Any = type(model)
    how = kind.__reduce_ex__(model, protocol)
    if not isinstance(how, tuple) or len(how) <= STATE or not isinstance(how[STATE], dict):
        return how
    state = dict(how[STATE])
    state.pop(COPIES, None)
    generate = state.pop(NAME, MISSING)
    while isinstance(generate, Wrapped):
        generate = generate.before
    if generate is not MISSING:
        state[NAME] = generate
    return (*how[:STATE], state, *how[STATE + 1 :])


class Wrapping:
    """While it holds each `generate` of this model, in this context, goes through `around`; without a model, of all."""

    def __init__(self, model: Any, around: Around) -> None:
        self._one = None if model is None else Wrapped(model, around)
        self._around = around if model is not None else ForAll(around)
        self._held = False

    def begin(self) -> None:
        if self._one is None:
            EVERYWHERE.hold()
        else:
            self._one.put()
        self._held = True
        HERE.set((*HERE.get(), self._around))

    def end(self) -> None:
        """May be asked twice."""
        if not self._held:
            return
        self._held = False
        HERE.set(tuple(each for each in HERE.get() if each is not self._around))
        if self._one is None:
            EVERYWHERE.release()
        else:
            self._one.take_away()


class Everywhere:
    """`GenerationMixin.generate`, wrapped as long as anybody needs it."""

    def __init__(self) -> None:
        self._holders = 0
        self._before: Any = None
        self.dispatch: Any = None
        """What we have put there; None while nobody needs it."""

    def hold(self) -> None:
        from transformers import GenerationMixin

        with _lock:
            self._holders += 1
            if self._holders == 1:
                self._before = GenerationMixin.generate
                self.dispatch = GenerationMixin.generate = _dispatching(self._before)

    def release(self) -> None:
        from transformers import GenerationMixin

        with _lock:
            self._holders -= 1
            if not self._holders:
                if GenerationMixin.generate is self.dispatch:
                    GenerationMixin.generate = self._before
                self.dispatch = None  # under what somebody has put over it meanwhile, it does nothing any more


class ForAll:
    """A guard for all models: what `GenerationMixin.generate` looks for among the guards of its context."""

    def __init__(self, around: Around) -> None:
        self.around = around

    def __call__(self, model: Any, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.around(model, call, args, kwargs)


def _dispatching(generate: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(generate)
    def dispatch(model: Any, *args: Any, **kwargs: Any) -> Any:
        call: Callable[..., Any] = functools.partial(generate, model)
        for around in HERE.get() if EVERYWHERE.dispatch is dispatch else ():
            if isinstance(around, ForAll):
                call = functools.partial(_through, around, model, call)
        return call(*args, **kwargs)

    return dispatch


def _through(around: Around, model: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return around(model, call, args, kwargs)


EVERYWHERE = Everywhere()
