"""By which ways the pieces of a body go on, and what stands in their place where they go nowhere."""

from __future__ import annotations

from collections.abc import Callable

Past = Callable[[bytes], bool]
"""Takes a whole chunk of HTTP, frame and all. False where it could not."""
PassOn = Callable[[bytes], Past | None]
"""Takes a piece of the body, and gives back the way by which chunks that follow may go past it."""


def nothing(data: bytes) -> None:
    """Before it is poured."""


def swallow(data: bytes) -> Past:
    """Of what is put together nobody gets the pieces."""
    return _swallowed


def _swallowed(chunk: bytes) -> bool:
    return True


def blocked(chunk: bytes) -> bool:
    """Something else is in the way of it."""
    return False


def keep_nothing(text: str) -> None:
    """Before there is a lane."""
