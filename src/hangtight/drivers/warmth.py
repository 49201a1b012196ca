"""Which models gave a sign of life lately, so that a silence of theirs is not taken for a load."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hangtight.core.time import Instant

STAYS_WARM = 300.0  # Ollama's keep-alive, the shortest among the usual servers
REMEMBERED = 1000

_seen: dict[tuple[object, ...], Instant] = {}


def saw(key: tuple[object, ...], at: Instant) -> None:
    """Progress came from this model at this instant."""
    _seen.pop(key, None)
    _seen[key] = at
    while len(_seen) > REMEMBERED:
        _seen.pop(next(iter(_seen)), None)


def is_warm(key: tuple[object, ...], at: Instant) -> bool:
    seen = _seen.get(key)
    return seen is not None and 0 <= at - seen < STAYS_WARM


def forget() -> None:
    _seen.clear()
