"""The status files of training runs, for the dashboard. One that is missing or broken is told, and ends nothing."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hangtight.drivers import clock
from hangtight.drivers.standing import settings
from hangtight.gateway.telling.answers import Receive, Scope, put
from hangtight.gateway.telling.shown import rounded

if TYPE_CHECKING:
    from hangtight.gateway.outlet import Outlet
    from hangtight.gateway.state import State

USUAL: Final = "status/training_status.json"
"""Where the guard of a training run writes it, seen from the folder in which that was begun."""
LARGEST: Final = 256 * 1024  # bytes: more is no status file


async def training(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """Each status file that the settings name; else the one in its usual place, if it is there."""
    said = settings().gateway.training
    await put(outlet, 200, {"cards": await asyncio.to_thread(_cards, said)})


def _cards(said: tuple[str, ...] | None) -> list[dict[str, Any]]:
    if said is None:
        said = (str(Path.cwd() / USUAL),) if Path(USUAL).is_file() else ()
    return [_card(Path(path)) for path in said]


def _card(path: Path) -> dict[str, Any]:
    """What stands in the file, how long ago it was written, and what is wrong with it, if something is."""
    shown = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    about: dict[str, Any] = {"path": shown, "fresh": None}
    try:
        with path.open("rb") as file:
            fresh = rounded(max(0.0, clock.wall() - os.fstat(file.fileno()).st_mtime))
            text = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # the path itself may be none
        return {**about, "trouble": f"it cannot be read: {getattr(error, 'strerror', None) or error}"}
    about["fresh"] = fresh
    if len(text) > LARGEST:
        return {**about, "trouble": f"it is longer than {LARGEST} bytes: this is no status file"}
    try:
        told = json.loads(text, parse_constant=lambda word: None)  # a browser knows no NaN
    except (ValueError, RecursionError):
        return {**about, "trouble": "it is not JSON"}
    if not isinstance(told, dict):
        return {**about, "trouble": "it is no status file: it must be an object"}
    return {**told, **about}
