"""The end of a `with` that an exception from outside cannot tear.

An asynchronous exception comes at the first step of whatever Python function runs next. If that is `__exit__`, no `try`
of its own has begun, and the exception leaves the block that was to swallow it. So `__exit__` here is not a Python
function: `io.IOBase` has one that is written in C and calls `close()`, and `close` goes on with a generator that waits
inside its `try`.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, cast

from hangtight.training.ringing import Rung

Left = Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], bool]
TRIES = 8


class _Door(io.IOBase):
    closed = True  # so that its finalizer closes nothing

    def __init__(self, way: Generator[bool]) -> None:
        self.close = way.__next__  # type: ignore[method-assign, assignment]


class Exit:
    """`__exit__` of a class.

    `first` names the method that disarms: it is begun anew when it is interrupted, and what interrupted it is held back
    until nothing is armed any more. `then` names the one that is asked once, with the error that passes or None,
    whether to swallow it; it may raise another.
    """

    def __init__(self, *, first: str, then: str) -> None:
        self._first = first
        self._then = then

    def __get__(self, block: Any, owner: Any = None) -> Left:
        if block is None:  # an ExitStack asks the class, and calls it from Python: that much can be torn
            return cast("Left", self._plain)
        way = self._way(block, sys.exc_info()[1])
        next(way)
        return cast("Left", _Door(way).__exit__)

    def _plain(
        self, block: Any, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        held: BaseException | None = None
        for _ in range(TRIES):
            try:
                getattr(block, self._first)()
                break
            except BaseException as torn:  # noqa: BLE001 - raised when nothing is armed any more
                held = torn
        return self._end(block, held, error)

    def _way(self, block: Any, before: BaseException | None) -> Generator[bool]:
        held: BaseException | None = None
        passing: BaseException | None = None
        begun = False
        for _ in range(TRIES):
            try:
                if not begun:
                    begun = True
                    yield False
                passing = sys.exc_info()[1]
                getattr(block, self._first)()
                break
            except GeneratorExit:  # it was never entered
                return
            except BaseException as torn:  # noqa: BLE001 - raised when nothing is armed any more
                held = torn
        swallowed = self._end(block, held, None if passing is before else passing)
        held = passing = before = None  # they hold whole stacks
        while True:
            yield swallowed

    def _end(self, block: Any, held: BaseException | None, passing: BaseException | None) -> bool:
        if isinstance(held, Rung) and held.block.left:
            held.block.heard -= 1  # the code had ended by itself a moment before
            held = None
        then: Callable[[BaseException | None], bool] = getattr(block, self._then)
        swallowed = then(passing if held is None else held)
        if held is not None and not swallowed:
            raise held
        return bool(swallowed)
