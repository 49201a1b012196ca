"""Somebody else's code inside a training, which may hang like a model: ended at a limit, or at least named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hangtight.core.time import spoken
from hangtight.training.hanging import named_after
from hangtight.training.interrupting import interrupted_after

T = TypeVar("T")


class OwnTimeoutError(TimeoutError):
    """The limit that was broken is ours."""


def within(
    limit: float | None,
    what: str,
    work: Callable[[], T],
    *,
    on_hang: Callable[[Any], object] | None = None,
    alone: bool = True,
) -> T:
    """What `work` returns. `alone` is False where other ranks wait for this one at the same place: it is named only."""
    if limit is None:
        return work()
    with named_after(2 * limit, on_hang):
        if not alone:
            return work()
        with interrupted_after(limit, where=what):  # swallows what it raised
            return work()
    raise OwnTimeoutError(f"timed out after {spoken(limit)} in {what}")
