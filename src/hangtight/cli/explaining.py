"""How `hangtight explain` finds and tells why each limit is what it is."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from hangtight.cli.journals import quiet_logs, without_password
from hangtight.cli.printing import Cell, Column, has_colours, line_of, put_json, put_lines, table, width
from hangtight.cli.process import OK
from hangtight.cli.settings import USAGE, fail, use
from hangtight.core.explaining import Explained, allowances, explained, intended, number
from hangtight.core.intents import Intent, meant
from hangtight.core.layers import Situation
from hangtight.core.limits import AUTO
from hangtight.core.resolve import resolve
from hangtight.drivers.servers import is_nearby
from hangtight.drivers.standing import journal_of, paces, recorder
from hangtight.errors import SettingsError
from hangtight.rules.finding import DOTENV
from hangtight.rules.running import CLOCKS, Running
from hangtight.rules.settings import Settings

if TYPE_CHECKING:
    from hangtight.core.pace import Learned

PATIENCE = 1.0
"""Seconds for which the history is waited for, where something is learned from it."""
INDENT = "  "


class Call(NamedTuple):
    """The call that may come."""

    model: str
    mode: str | None
    step: str | None
    remaining: float | None
    prompt_tokens: int


class Intended(NamedTuple):
    """What intent may do to it."""

    intent: Intent
    source: str
    told: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is told about it."""

    mode: str | None
    limits: tuple[Explained, ...]
    intent: Intended
    allowances: tuple[str, ...]
    remarks: tuple[str, ...]


def explain_command(call: Call, config: str | None, *, as_json: bool) -> int:
    """Explain, and return the exit code."""
    quiet_logs()
    settings = use(config, keeps=False)
    try:
        told = explanation(settings, call, config)
    except SettingsError as error:
        fail(str(error), USAGE)
    if as_json:
        put_json(as_object(settings, call, told))
    else:
        put_lines(as_text(settings, call, told))
    return OK


def explanation(settings: Settings, call: Call, config: str | None = None) -> Explanation:
    """What holds for this call. Raises SettingsError for a mode that nobody knows."""
    named = settings.mode(call.mode)
    mode = named.name if named is not None else None
    layers = settings.layers(call.mode, call.model, in_step=call.step is not None)
    auto = {name for layer in layers for name, value in layer.values.items() if value is AUTO}
    missing = history(settings, config) if auto else ()
    learned = _learned(settings, call, mode or "", auto)
    situation = Situation(
        remaining=call.remaining,
        prompt_tokens=call.prompt_tokens,
        nearby=_is_nearby(settings, call.model),
        reasons=bool(settings.reasons(call.model)),
    )
    resolved = resolve(layers, situation, learned)
    limits = explained(layers, resolved, learned)
    wanted = settings.learning.samples
    unknown = [
        f"{each.name} is auto, and not learned yet: that takes {wanted} calls" for each in limits if _waits(each)
    ]
    remarks = (*settings.remarks, *(missing or unknown))
    said = meant(settings.intent(call.mode, call.model), layers, mode)
    intent = Intended(*said, intended(said, resolved))
    return Explanation(mode, limits, intent, allowances(resolved, situation), remarks)


def _waits(each: Explained) -> bool:
    return each.auto and each.learned is None


def history(settings: Settings, config: str | None) -> tuple[str, ...]:
    """Wait a moment for what the journal knows; what keeps it from being known."""
    url = journal_of(settings, None, keeps=True)
    if url is None:
        return ("nothing is learned: no journal is kept",)
    if _is_missing(url):
        return (f"nothing is learned yet: there is no journal at {without_password(url)}",)
    use(config)
    keeping = recorder()
    paces()  # who asks is told the history: it is on its way now
    if keeping is None or keeping.flush(PATIENCE):
        return ()
    trouble = keeping.trouble or f"the journal was not read within {PATIENCE:g} s"
    keeping.close(0.0)
    return (f"nothing is learned: {' '.join(trouble.split())}",)


def _is_missing(url: str) -> bool:
    """Asking must not make one."""
    try:
        from hangtight.journal.store import path_of
    except ImportError:  # the recorder says what is missing
        return False
    path = path_of(url)
    return path is not None and not path.is_file()


def _learned(settings: Settings, call: Call, mode: str, auto: set[str]) -> dict[str, Learned]:
    learning, found = settings.learning, {}
    for name in auto:
        told = paces().learned(name, call.model, mode, call.prompt_tokens, learning.floors, learning.samples)
        if told is not None:
            found[name] = told
    return found


def _is_nearby(settings: Settings, model: str) -> bool:
    """Without a server in the settings it is one of this machine."""
    proxy = settings.proxy(model)
    return proxy is None or is_nearby(urlsplit(proxy).hostname or "")


# -- for people -------------------------------------------------------------------------------------------------------


def as_text(settings: Settings, call: Call, told: Explanation) -> Iterator[str]:
    room, colours = width(), has_colours()
    yield from _wrapped(_about(settings, call, told), room)
    yield ""
    columns = (Column("limit"), Column("value", right=True), Column("from", least=20))
    rows = [[Cell(each.name), Cell(number(each.value)), Cell(each.origin)] for each in told.limits]
    heads = table(columns, rows, room=10**6, colours=colours)
    yield heads[0]
    indent = " " * (heads[1].index(line_of(rows[0][2].text)))
    for line, each in zip(heads[1:], told.limits, strict=True):
        yield from _wrapped(line, room, indent)
        if each.overruled:
            over = f"over {', '.join(map(str, each.overruled))}"
            yield from _wrapped(indent + line_of(over), room, indent + "     ")
    yield ""
    yield from _wrapped(line_of(told.intent.told), room, INDENT)
    for title, lines in _below(settings, call, told):
        yield ""
        yield f"{title}:"
        for line in lines:
            yield from _wrapped(INDENT + line_of(line), room, INDENT * 2)


def _about(settings: Settings, call: Call, told: Explanation) -> str:
    where = settings.places.get("default_mode")
    mode = f"mode {told.mode}" if told.mode else "no mode"
    if told.mode and call.mode is None:
        mode += f" (the default mode{f', {where}' if where else ''})"
    parts = [mode, f"model {call.model}" if call.model else "any model"]
    if call.step is not None:
        parts.append(f"step {call.step}")
    return line_of(", ".join(parts))


def _below(settings: Settings, call: Call, told: Explanation) -> Iterator[tuple[str, list[str]]]:
    """What else there is to say, under a title each."""
    named = settings.mode(call.mode)
    if told.allowances:
        yield "on top of these", list(told.allowances)
    if named is not None and named.models:
        yield f"models of mode {line_of(named.name)}", [", ".join(named.models)]
    if running := settings.running(call.model):
        yield (
            "clocks of its server, which is run by us",
            [f"{name} {number(value)} ({source})" for name, value, source in clocks(running)],
        )
    if call.model and (fallback := settings.fallback(call.mode, call.model)):
        yield "if it fails", [f"{', then '.join(fallback)}"]
    if settings.priorities:
        yield "priorities of steps", [", ".join(f"{step}: {word}" for step, word in settings.priorities.items())]
    yield "files that were read", files(settings) or ["none"]
    if told.remarks:
        yield "remarks", list(told.remarks)


def clocks(running: Running) -> Iterator[tuple[str, float | None, str]]:
    """The clock of each phase of a model server: its key, its seconds, and where that stands."""
    said = {key: getattr(running, field) for key, (field, _) in CLOCKS.items()}
    if running.stall is not None:  # then the whole start is bounded by the ceiling
        del said["healthCheckTimeout"]
        said = {"load.stall": running.stall, "load.ceiling": running.start, **said}
    for key, value in (*said.items(), ("ttl", running.ttl)):
        yield key, value, running.sources[key.partition(".")[0]]


def files(settings: Settings) -> list[str]:
    """Those of the settings; and the `.env`, which belongs to others, where something in it counts."""
    layers = (*settings.below, settings.step) if settings.step is not None else settings.below
    places = (*settings.places.values(), *(place for layer in layers for place in layer.sources.values()))
    found = any(place.startswith(f"{DOTENV}:") for place in places)
    return [*([DOTENV] if found and DOTENV not in settings.files else []), *settings.files]


def _wrapped(line: str, room: int, indent: str = "") -> list[str]:
    """On as many lines as it takes. Long names are not broken."""
    return textwrap.wrap(
        line, max(room, 40), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False,
        drop_whitespace=True, expand_tabs=False, replace_whitespace=False,
    )  # fmt: skip


# -- for programs -----------------------------------------------------------------------------------------------------


def as_object(settings: Settings, call: Call, told: Explanation) -> Mapping[str, Any]:
    return {
        "limits": {each.name: _limit(each) for each in told.limits},
        "intent": _intent(told.intent),
        "mode": told.mode,
        "model": call.model or None,
        "step": call.step,
        "default_mode": settings.default_mode,
        "allowances": told.allowances,
        "fallback": settings.fallback(call.mode, call.model) if call.model else (),
        "server": _server(settings.running(call.model)),
        "priorities": dict(settings.priorities),
        "files": files(settings),
        "remarks": told.remarks,
    }


def _server(running: Running | None) -> dict[str, Any] | None:
    if running is None:
        return None
    return {name: {"value": value, "source": source} for name, value, source in clocks(running)}


def _intent(said: Intended) -> dict[str, Any]:
    intent = said.intent
    return {"on": intent.on, "source": said.source, "shorten": intent.shorten, "ladder": intent.ladder}


def _limit(each: Explained) -> dict[str, Any]:
    overruled = [
        {"value": AUTO.value if said.value is AUTO else said.value, "source": said.source} for said in each.overruled
    ]
    told: dict[str, Any] = {"value": each.value, "source": each.source, "overruled": overruled}
    if each.auto:
        told["samples"] = each.learned.samples if each.learned else 0
        told["level"] = each.learned.level if each.learned else None
    return told
