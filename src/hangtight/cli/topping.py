"""How `hangtight top` asks a gateway and shows what it tells."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from hangtight.cli.gateways import Gateway, NoGateway
from hangtight.cli.printing import (
    DIM,
    RED,
    YELLOW,
    Cell,
    Column,
    has_colours,
    line_of,
    put_json,
    put_lines,
    table,
    width,
)
from hangtight.cli.process import FAILED, OK, SIGNALLED, code_for_signal, say, stop_on_signals
from hangtight.cli.telling import WORTH_SAYING, at_work, seconds
from hangtight.drivers.servers import OK as ANSWERED

PATH = "/hangtight/generations"
EVERY = 1.0  # seconds
SOON = 5.0  # seconds before an alarm in which it is worth a colour
SHORT = 8  # characters of an id that are enough to find it


async def told_by(gateway: Gateway) -> dict[str, Any]:
    """What is in flight there. Raises NoGateway."""
    status, told = await gateway.ask("GET", PATH)
    if status != ANSWERED or not _is_list(told):
        raise gateway.missing(f"what answers there is no gateway (HTTP {status})")
    found: dict[str, Any] = told
    return found


def _is_list(told: Any) -> bool:
    found = told.get("generations") if isinstance(told, dict) else None
    return isinstance(found, list) and all(isinstance(each, dict) for each in found)


def top_command(gateway: Gateway, *, once: bool, as_json: bool) -> int:
    """Show it, and return the exit code."""
    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not (once or as_json)
    return asyncio.run(_live(gateway) if live else _once(gateway, as_json=as_json))


async def _once(gateway: Gateway, *, as_json: bool) -> int:
    try:
        told = await told_by(gateway)
    except NoGateway as missing:
        say(f"hangtight: {missing}\n")
        return FAILED
    if as_json:
        put_json(told)
    else:
        put_lines(lines(told, gateway.url, room=width(), colours=has_colours()))
    return OK


async def _live(gateway: Gateway) -> int:
    """Until Ctrl-C, which is how it is meant to end. A gateway that goes may come back."""
    interrupted: list[int] = []
    stop_on_signals(interrupted)
    try:
        told = await told_by(gateway)
        await _draw_on(gateway, told)
    except NoGateway as missing:
        say(f"hangtight: {missing}\n")
        return FAILED
    except asyncio.CancelledError:
        code = code_for_signal(interrupted)
        return OK if code == SIGNALLED + signal.SIGINT else code
    return OK


async def _draw_on(gateway: Gateway, told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    trouble = ""
    with Live(console=Console(), auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            shown = lines(told, gateway.url, room=width() - 1, colours=has_colours())
            if trouble:
                shown[0] = trouble
            live.update(Text.from_ansi("\n".join(shown), no_wrap=True), refresh=True)
            await asyncio.sleep(EVERY)
            try:
                told, trouble = await told_by(gateway), ""
            except NoGateway as missing:
                trouble = line_of(str(missing).partition("\n")[0])


# -- the table ------------------------------------------------------------------------------------------------------

COLUMNS = (
    Column("id"),
    Column("model", least=8),
    Column("phase", least=8),
    Column("elapsed", right=True),
    Column("tokens", right=True),
    Column("silence", right=True),
    Column("next alarm", least=6),
    Column("place", right=True),
)


def lines(told: Mapping[str, Any], url: str, *, room: int, colours: bool) -> list[str]:
    """How many there are, and one line for each."""
    found = told["generations"]
    waiting = sum(1 for each in found if each.get("position") is not None)
    queue = f", {waiting} of them in the queue" if waiting else ""
    draining = ", and it is about to stop" if told.get("draining") else ""
    head = f"{line_of(url)}: {len(found) or 'nothing'} in flight{queue}{draining}"
    if not found:
        return [head]
    return [head, "", *table(COLUMNS, [_row(each) for each in found], room=room, colours=colours)]


def _row(each: Mapping[str, Any]) -> list[Cell]:
    silence = _number(each.get("silence"))
    pings = bool(each.get("in_contact")) and silence is not None and silence >= WORTH_SAYING
    alarm = each.get("nearest")
    rings_in = _number(alarm.get("rings_in")) if isinstance(alarm, dict) else None
    name = str(alarm.get("limit", "")).replace("_", " ") if isinstance(alarm, dict) else ""
    position = each.get("position")
    return [
        Cell(_text(each.get("id"))[:SHORT], DIM),
        Cell(_text(each.get("model"))),
        Cell(_phase(each)),
        Cell(_seconds(_number(each.get("elapsed")))),
        Cell(_text(each.get("tokens", ""))),
        Cell(f"{_seconds(silence)} (pings)" if pings else _seconds(silence), YELLOW if pings else ""),
        Cell(
            "none" if rings_in is None else f"{name} in {seconds(rings_in)}",
            RED if rings_in is not None and rings_in < SOON else "",
        ),
        Cell("" if position is None else _text(position)),
    ]


def _phase(each: Mapping[str, Any]) -> str:
    phase, doing = _text(each.get("phase")), at_work(_text(each.get("doing")))
    return f"{phase}, {doing}" if doing else phase


def _seconds(found: float | None) -> str:
    return "" if found is None else seconds(found)


def _number(found: Any) -> float | None:
    return float(found) if isinstance(found, int | float) else None


def _text(found: Any) -> str:
    return "" if found is None else str(found)
