"""Which models gave a sign of life lately, so that a silence of theirs is not taken for a load."""

from __future__ import annotations

from hangtight.core.time import Instant

STAYS_WARM = 300.0  # Ollama's keep-alive, the shortest among the usual servers
REMEMBERED = 1000

Model = tuple[object, str]
"""Whose clock the instants are on, and the name of the model."""

_seen: dict[Model, dict[str, Instant]] = {}


def saw(model: Model, host: str, at: Instant) -> None:
    """Progress came from this model at this instant."""
    hosts = _seen.pop(model, {})
    hosts[host] = at
    _seen[model] = hosts
    while len(_seen) > REMEMBERED:
        _seen.pop(next(iter(_seen)), None)


def is_warm(model: Model, host: str, at: Instant) -> bool:
    """Whether it is known to be in memory there. Before its host is known, one that has only ever had one counts."""
    hosts = _seen.get(model, {})
    if not host and len(hosts) == 1:
        host = next(iter(hosts))
    seen = hosts.get(host)
    return seen is not None and 0 <= at - seen < STAYS_WARM


def forget() -> None:
    _seen.clear()
