"""How `hangtight model` asks a gateway about the servers that it runs, and shows what it tells."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from hangtight.cli.gateways import Gateway, NoGateway
from hangtight.cli.printing import (
    DIM,
    GREEN,
    RED,
    YELLOW,
    Cell,
    Column,
    has_colours,
    put_json,
    put_lines,
    room_for_table,
    table,
)
from hangtight.cli.process import FAILED, OK, code_for_signal, say, stop_on_signals
from hangtight.core.words import seconds
from hangtight.drivers.servers import OK as ANSWERED

PATH = "/hangtight/models"
ELSE = 409
DONE = {"wake": "is ready", "sleep": "sleeps", "stop": "has stopped"}
DOING = {"wake": "waking", "sleep": "putting to sleep", "stop": "stopping"}
SHOW_EVERY = 1.0  # seconds
COLOURS = {"ready": GREEN, "failed": RED, "asleep": DIM, "stopped": DIM}
COLUMNS = (
    Column("model", least=8),
    Column("phase", least=8),
    Column("for", right=True),
    Column("requests", right=True),
    Column("next clock", least=6),
    Column("pid", right=True),
    Column("why", least=6),
)


def list_command(gateway: Gateway, *, as_json: bool) -> int:
    """Show all of them, and return the exit code."""
    try:
        status, told = asyncio.run(gateway.ask("GET", PATH))
        models = told.get("models") if isinstance(told, dict) else None
        if status != ANSWERED or not isinstance(models, list) or not all(isinstance(each, dict) for each in models):
            raise gateway.missing(f"what answers there runs no models (HTTP {status})")
    except NoGateway as missing:
        say(f"hangtight: {missing}\n")
        return FAILED
    if as_json:
        put_json(told)
    elif not models:
        say("no model is run there\nto have one run:  models: {NAME: {cmd: ...}} in hangtight.yaml\n")
    else:
        put_lines(lines(models, room=room_for_table(), colours=has_colours()))
    return OK


def lines(models: Iterable[Mapping[str, Any]], *, room: int, colours: bool) -> list[str]:
    """One for each model."""
    return table(COLUMNS, [_row(each) for each in models], room=room, colours=colours)


def _row(each: Mapping[str, Any]) -> list[Cell]:
    phase, rings = str(each.get("phase", "")), each.get("rings_in")
    clock = f"{each.get('clock')} in {seconds(float(rings))}" if isinstance(rings, int | float) else ""
    since = each.get("for")
    return [
        Cell(str(each.get("model", ""))),
        Cell(phase, COLOURS.get(phase, YELLOW)),
        Cell(seconds(float(since)) if isinstance(since, int | float) else ""),
        Cell(str(each.get("requests", ""))),
        Cell(clock),
        Cell(str(each.get("pid") or ""), DIM),
        Cell(str(each.get("why") or "").partition("\n")[0]),
    ]


def act_command(gateway: Gateway, model: str, action: str, *, as_json: bool) -> int:
    """Do it, wait for the end, and return the exit code."""
    interrupted: list[int] = []
    try:
        return asyncio.run(_act(gateway, model, action, interrupted, as_json=as_json))
    except NoGateway as missing:
        say(f"hangtight: {missing}\n")
        return FAILED
    except asyncio.CancelledError:
        say("\nnobody waits for it any more; it goes on\n")
        return code_for_signal(interrupted or [signal.SIGINT])


async def _act(gateway: Gateway, model: str, action: str, interrupted: list[int], *, as_json: bool) -> int:
    stop_on_signals(interrupted)
    showing = asyncio.ensure_future(_show(f"{DOING[action]} {model}")) if sys.stderr.isatty() else None
    try:
        status, told = await gateway.ask("POST", f"{PATH}/{quote(model, safe='/:')}/{action}", patience=None)
    finally:
        if showing is not None:
            showing.cancel()
            with suppress(asyncio.CancelledError):
                await showing
    if not isinstance(told, dict) or status not in (ANSWERED, ELSE):
        raise NoGateway(_complaint(told) or f"{gateway.url} answered with HTTP {status}")
    if as_json:
        put_json(told)
    else:
        took = told.get("took")
        spoken = f" after {seconds(float(took))}" if isinstance(took, int | float) else ""
        words = DONE[action] if told.get("ok") else f"is {told.get('phase')} now: {told.get('why')}"
        put_lines([f"{model} {words}{spoken}"])
    return OK if told.get("ok") else FAILED


def _complaint(told: Any) -> str:
    error = told.get("error") if isinstance(told, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else str(error or "")


async def _show(words: str) -> None:
    """How long it takes so far, on one line that is gone at the end."""
    passed = 0.0
    try:
        while True:
            await asyncio.sleep(SHOW_EVERY)
            passed += SHOW_EVERY
            sys.stderr.write(f"\r{words}, {seconds(passed)}\x1b[K")
            sys.stderr.flush()
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
