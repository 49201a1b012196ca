"""Why a generation has the time that it has, and what happened to it: `explain` and `log` of one, for the dashboard."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from hangtight.core.explaining import Explained, allowances, intended, lines_of
from hangtight.core.telling import WHY as SEE_MORE
from hangtight.drivers.record import SHORT
from hangtight.drivers.standing import recorder
from hangtight.drivers.whys import command_of
from hangtight.errors import HangtightError
from hangtight.gateway.telling import known, shown
from hangtight.gateway.telling.answers import Receive, Scope, put, refuse
from hangtight.journal.entries import Kind
from hangtight.journal.words import armed, in_words, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.gateway.outlet import Outlet
    from hangtight.gateway.state import State
    from hangtight.gateway.telling.shown import Ended, Members, Under
    from hangtight.journal.reading import Decision, Reading, Row, Told

WHY: Final = "why"
NO_JOURNAL: Final = "no journal is kept: HANGTIGHT_JOURNAL or the settings say off"
NOT_THERE: Final = "the journal has nothing about it yet"
NOT_KEPT: Final = "What each of these overruled is not in the journal."
PATIENCE: Final = 0.5  # seconds for what has just happened to be in the journal
PAGES: Final = "docs/errors"


async def why(name: str, state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    """One that is in flight, one of the last that ended, or one that only the journal knows."""
    exchange, ended = known.in_flight(state, name), known.finished(state, name)
    about: Members | None = None
    under: Under | None = None
    if exchange is not None:
        about = shown.in_full(exchange)
        under = None if exchange.reading is None else shown.under(exchange.reading.session)
    elif ended is not None:
        about, under = ended.told(), ended.under
    told, hint = await _in_journal(str(about["id"]) if about is not None else name)
    if about is None and told is None:
        await refuse(outlet, 404, "generation_not_found", known.unknown(name))
        return
    if about is None and told is not None:
        about = _of_row(told[0].row)
    explain = _explained(under) if under is not None else _of_limits(told[0].row.limits) if told else ""
    log = [] if told is None else list(_merged(told))
    found = None if exchange is not None else _said(ended, told)
    await put(outlet, 200, {"about": about, **(found or UNSAID), "explain": explain, "log": log, "hint": hint})


# -- the verdict ------------------------------------------------------------------------------------------------------

UNSAID: Final[Members] = {"verdict": [], "page": ""}


def _said(ended: Ended | None, told: list[Told] | None) -> Members | None:
    """The lines of its error, and the page about it. The journal alone does not know the line to change."""
    if ended is not None and ended.verdict is not None:
        kind, words = ended.verdict
        lines = words.replace(SEE_MORE, f"\n{SEE_MORE.lstrip()}").splitlines()
        page = re.sub(r"(?<!^)(?=[A-Z])", "-", kind).lower()
        return {"verdict": [f"{kind}: {lines[0]}", *lines[1:]], "page": f"{PAGES}/{page}.md"}
    if not told or not (told[-1].row.broken_limit or told[-1].row.error):
        return None
    row, keeping = told[-1].row, recorder()
    command = command_of(row.id[:SHORT], keeping.url if keeping is not None else "")
    return {"verdict": [verdict(row), f"{SEE_MORE.lstrip()}{command}"], "page": ""}


# -- each limit -------------------------------------------------------------------------------------------------------


def _explained(under: Under) -> str:
    """As `hangtight explain` says it, of this very call."""
    terms, resolved = under.terms, under.resolved
    lines = list(lines_of(shown.limits_under(under)))
    wanted = terms.intent(under.model)
    lines += ["", intended((wanted.intent, wanted.source), resolved)]
    if more := allowances(resolved, terms.situation):
        lines += ["", "on top of these:", *(f"  {line}" for line in more)]
    if fallback := terms.fallback(under.model):
        lines += ["", "if it fails:", f"  {', then '.join(fallback)}"]
    return "\n".join(lines)


def _of_limits(limits: Mapping[str, Any]) -> str:
    """The same from the journal, which knows what held and not what it overruled."""
    told = [
        Explained(name, said.get("value"), str(said.get("source", "")), ())
        for name, said in limits.items()
        if isinstance(said, dict) and isinstance(said.get("value"), int | float | None) and "source" in said
    ]
    return "\n".join([*lines_of(told), "", NOT_KEPT])


# -- what happened ----------------------------------------------------------------------------------------------------


async def _in_journal(name: str) -> tuple[list[Told] | None, str]:
    """Each attempt of this call, in order; or why there is none to be told of."""
    keeping = recorder()
    if keeping is None:
        return None, NO_JOURNAL
    try:
        found = await asyncio.to_thread(_attempts, keeping.url, name, keeping.flush)
    except HangtightError as error:
        return None, " ".join(str(error).split())
    return (found, "") if found else (None, NOT_THERE)


def _attempts(url: str, name: str, flush: Callable[[float], object]) -> list[Told]:
    from hangtight.journal.reading import Reading

    flush(PATIENCE)
    reading = Reading(url)
    told = reading.find(name)
    if told is None:
        return []
    return sorted((told, *_others(reading, told)), key=lambda each: each.row.started)


def _others(reading: Reading, told: Told) -> Iterator[Told]:
    for row in told.others:
        if (other := reading.find(row.id)) is not None:
            yield other


def _merged(told: Iterable[Told]) -> Iterator[Members]:
    """The time lines of all attempts as one, from the beginning of the first."""
    began: float | None = None
    for each in told:
        row = each.row
        began = row.started if began is None else began
        since, about = row.started - began, {"id": row.id, "model": row.model}
        yield {"after": shown.rounded(since), "kind": "armed", "words": f"armed: {armed(row.limits)}", **about}
        for one in each.decisions:
            at = shown.rounded(since + one.after)
            yield {"after": at, "kind": one.kind, "words": in_words(one), **_counted(one), **about}
        if row.outcome is not None:
            after = shown.rounded(since + (row.elapsed or 0.0))
            yield {"after": after, "kind": row.outcome, "words": verdict(row), **about}


def _counted(one: Decision) -> Members:
    """Of a heartbeat what it says of the model, so that many can be told as one."""
    if one.kind != Kind.HEARTBEAT or not isinstance(one.told, dict):
        return {}
    return {name: one.told[name] for name in ("phase", "tokens") if name in one.told}


def _of_row(row: Row) -> Members:
    """What the journal alone knows, by the names that it has in `/hangtight/generations`."""
    ended = None if row.ended is None else shown.iso(row.ended)
    return {
        **{name: getattr(row, name) for name in ("id", "call", "model", "mode", "run", "step", "tokens", "error")},
        "server": row.host,
        "began": shown.iso(row.started),
        "ended": ended,
        "outcome": row.outcome,
        "limit": row.broken_limit or None,
        "waited": shown.rounded(row.waited),
        "source": row.source,
        "elapsed": shown.rounded(row.elapsed),
        "first_token": shown.rounded(row.first_token),
    }
