"""Which generation is meant by an id, or by the beginning of one: among those in flight, and the last that ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hangtight.gateway.exchange import Exchange
    from hangtight.gateway.state import State
    from hangtight.gateway.telling.shown import Ended

SHORTEST: Final = 4  # characters of an id that may stand for the whole of it


def in_flight(state: State, name: str) -> Exchange | None:
    """By its id, or by the beginning of it, if that is the beginning of one alone."""
    if name in state.exchanges:
        return state.exchanges[name]
    if len(name) < SHORTEST:
        return None
    found = [exchange for key, exchange in state.exchanges.items() if key.startswith(name)]
    return found[0] if len(found) == 1 else None


def finished(state: State, name: str) -> Ended | None:
    if len(name) < SHORTEST:
        return None
    return next((each for each in reversed(state.finished) if each.id.startswith(name)), None)


def unknown(name: str) -> str:
    return f"no generation {name!r} is in flight, and none of the last that ended was it\nto see them:  hangtight top"
