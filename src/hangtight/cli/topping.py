"""How `hangtight top` asks a gateway and shows what it tells."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from hangtight.cli.gateways import Gateway, NoGateway
from hangtight.cli.plots import share
from hangtight.cli.printing import (
    BLUE,
    CYAN,
    DIM,
    GREEN,
    RED,
    YELLOW,
    Cell,
    Column,
    cut,
    drawable,
    has_colours,
    height,
    line_of,
    live_width,
    obeys,
    put_json,
    put_lines,
    room_for_table,
    table,
)
from hangtight.cli.process import FAILED, OK, SIGNALLED, code_for_signal, say, stop_on_signals
from hangtight.cli.telling import WORTH_SAYING
from hangtight.core.limits import Limit
from hangtight.core.phases import Phase
from hangtight.core.words import at_work, seconds
from hangtight.drivers.servers import OK as ANSWERED

PATH = "/hangtight/generations"
EVERY = 1.0  # seconds
SOON = 5.0  # seconds before an alarm in which it is worth a colour
SHORT = 8  # characters of an id that are enough to find it
NARROW, WIDE = 60, 100  # columns


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
    live = obeys(sys.stdout) and not (once or as_json)
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
        put_lines(lines(told, gateway.url, room=room_for_table(), colours=has_colours()))
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
            shown = lines(told, gateway.url, room=live_width(), colours=has_colours(), rows=height() - 1)
            if trouble:
                shown[0] = cut(trouble, live_width())
            live.update(Text.from_ansi(drawable("\n".join(shown)), no_wrap=True), refresh=True)
            await asyncio.sleep(EVERY)
            try:
                told, trouble = await told_by(gateway), ""
            except NoGateway as missing:
                trouble = line_of(str(missing).partition("\n")[0])


# -- the table ------------------------------------------------------------------------------------------------------


def columns(room: int) -> tuple[Column, ...]:
    """Who it is, what it is at and what rings next stay longest: those say which one hangs."""
    model, phase = (7, 10) if room < NARROW else (room // 3, 17)
    return (
        Column("id", drops=5),
        Column("model", least=model),
        Column("phase", least=phase),
        Column("elapsed", right=True, drops=1),
        Column("tokens", right=True, drops=2),
        Column("silence", right=True, drops=7),
        Column("", drops=6),
        Column("next alarm"),
        Column("place", right=True, drops=3),
    )


SPEAKING = (Phase.THINKING, Phase.STREAMING)
COLOURS: Mapping[str, str] = {
    Phase.QUEUED: DIM,
    Phase.LOADING: BLUE,
    Phase.WAITING: BLUE,
    Phase.THINKING: CYAN,
    Phase.STREAMING: GREEN,
    Phase.UNSTREAMED: GREEN,
}
HEAD = 4
"""Lines that are no request: how many there are, a blank one, the titles, and how many more."""


def lines(told: Mapping[str, Any], url: str, *, room: int, colours: bool, rows: int | None = None) -> list[str]:
    """How many there are, and one line for each; where there are not so many `rows`, those that ring first."""
    found = told["generations"]
    waiting = sum(1 for each in found if each.get("position") is not None)
    queue = f", {waiting} of them in the queue" if waiting else ""
    draining = ", and it is about to stop" if told.get("draining") else ""
    head = cut(f"{line_of(url)}: {len(found) or 'nothing'} in flight{queue}{draining}", room)
    if not found:
        return [head]
    shown = found if rows is None else _most_urgent(found, max(rows - HEAD, 1))
    left_out = {"" if waiting else "place", "" if room >= WIDE else "silence"} - {""}
    titled = columns(room)
    wanted = [at for at, column in enumerate(titled) if column.title not in left_out]
    cells = [[_row(each, room)[at] for at in wanted] for each in shown]
    more = len(found) - len(shown)
    rest = [cut(f"and {more:,} more, whose alarms are further away", room)] if more else []
    return [head, "", *table([titled[at] for at in wanted], cells, room=room, colours=colours), *rest]


def _most_urgent(found: Sequence[Mapping[str, Any]], number: int) -> Sequence[Mapping[str, Any]]:
    """In the order in which they began."""
    if len(found) <= number:
        return found

    def rings_in(at: int) -> float:
        left = _alarm(found[at])[1]
        return inf if left is None else left

    return [found[at] for at in sorted(sorted(range(len(found)), key=rings_in)[:number])]


def _row(each: Mapping[str, Any], room: int) -> list[Cell]:
    silence = _number(each.get("silence"))
    hangs = _hangs(each, short=room < NARROW)
    name, rings_in = _alarm(each)
    soon = RED if rings_in is not None and rings_in < SOON else ""
    position = each.get("position")
    colour = YELLOW if hangs else COLOURS.get(_text(each.get("phase")), "")
    alarm = "none" if rings_in is None else seconds(rings_in) if room < NARROW else f"{name} in {seconds(rings_in)}"
    return [
        Cell(_text(each.get("id"))[:SHORT], DIM),
        Cell(_text(each.get("model"))),
        Cell(hangs or _phase(each), colour),
        Cell(_seconds(_number(each.get("elapsed")))),
        Cell(_text(each.get("tokens", ""))),
        Cell(_seconds(silence), YELLOW if hangs else ""),
        Cell(_bar(each, 5 if room < NARROW else 7 if room < WIDE else 16), soon or colour or DIM),
        Cell(alarm, soon),
        Cell("" if position is None else _text(position)),
    ]


def _alarm(each: Mapping[str, Any]) -> tuple[str, float | None]:
    """What would ring next, and in how many seconds."""
    alarm = each.get("nearest")
    if not isinstance(alarm, dict):
        return "", None
    return str(alarm.get("limit", "")).replace("_", " "), _number(alarm.get("rings_in"))


def _bar(each: Mapping[str, Any], cells: int) -> str:
    """How much of the time of its nearest alarm is gone: full is when that rings, and a token empties it."""
    name, rings_in = _alarm(each)
    if rings_in is None:
        return ""
    gone = _number(each.get("elapsed" if name == Limit.TOTAL else "silence")) or 0.0
    return share(gone, gone + rings_in, cells)


def _hangs(each: Mapping[str, Any], *, short: bool) -> str:
    """How long nothing has come of one that had begun to speak, as the dashboard says it; empty where it gets on."""
    phase, silence = _text(each.get("phase")), _number(each.get("silence")) or 0.0
    if silence < WORTH_SAYING:
        return ""
    if phase in SPEAKING:
        words = "silent" if not each.get("in_contact") else "pings" if short else "pings only"
        return f"{words} {seconds(silence)}"
    return f"{phase}, pings" if each.get("in_contact") else ""


def _phase(each: Mapping[str, Any]) -> str:
    phase, doing = _text(each.get("phase")), at_work(_text(each.get("doing")))
    return f"{phase}, {doing}" if doing else phase


def _seconds(found: float | None) -> str:
    return "" if found is None else seconds(found)


def _number(found: Any) -> float | None:
    return float(found) if isinstance(found, int | float) else None


def _text(found: Any) -> str:
    return "" if found is None else str(found)
