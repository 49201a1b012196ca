"""How `hangtight flow ls` and `show` tell about runs: from the journal, and from where runs are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from hangtight.cli.journals import asking, began, how_to_keep_one, iso, journal_at, midnight, opened, quiet_logs, since
from hangtight.cli.keeping import MEMORY, MOST, is_there, store_at, that_place, troubles
from hangtight.cli.printing import (
    DIM,
    GREEN,
    RED,
    YELLOW,
    Cell,
    Column,
    has_colours,
    line_of,
    put_json,
    put_lines,
    room_for_table,
    table,
)
from hangtight.cli.process import FAILED, OK, say
from hangtight.cli.runlines import told_about
from hangtight.cli.settings import USAGE, fail, use
from hangtight.core.time import spoken

if TYPE_CHECKING:
    from hangtight.flows.durable.run_record import Known
    from hangtight.journal.reading import Reading
    from hangtight.journal.run_reading import ToldRun

LOST = "running or lost"
COLOURS = {"finished": GREEN, "cancelled": DIM, LOST: DIM, "running": YELLOW, "waiting": YELLOW, "interrupted": YELLOW}
COLUMNS = (
    Column("began"),
    Column("run"),
    Column("flow", least=6),
    Column("outcome", least=9),
    Column("step", least=4),
    Column("took", right=True),
    Column("why", least=8),
)
GOES_ON = "to go on with it:  hangtight flow resume {run}{there}"


class Places(NamedTuple):
    """Where to look: the database of runs, the journal, and the settings that say so."""

    url: str | None
    journal: str | None
    config: str | None


def list_command(places: Places, since_when: str | None, limit: int, *, as_json: bool) -> int:
    """Show them, and return the exit code."""
    quiet_logs()
    begin = since(since_when)
    use(places.config, keeps=False)
    url = journal_at(places.journal, places.config)
    with asking():
        reading = None if url is None else opened(url)
        told = {} if reading is None else {each.id: asdict(each) for each in reading.runs(begin, limit=limit)}
    there = {
        known.spec.id: {**_together(told.get(known.spec.id), known), **_why(known)}
        for known in _kept(places.url, limit)
        if begin is None or known.spec.began >= begin
    }
    shown = told | there if places.url in (None, MEMORY) else there  # who names a database wants the runs of that one
    newest = sorted(shown.values(), key=lambda each: -float(each["began"]))[:limit]
    if as_json:
        put_json([{**each, **{key: iso(each[key]) for key in ("began", "ended", "deadline")}} for each in newest])
    elif newest:
        put_lines(lines(newest, room=room_for_table(), colours=has_colours()))
    else:
        say(f"hangtight: {how_to_keep_one(url) if reading is None else 'no run is known'}\n")
    return OK


def lines(runs: Iterable[Mapping[str, Any]], *, room: int, colours: bool) -> list[str]:
    """One for each run."""
    today = midnight()
    return table(COLUMNS, [_row(each, today) for each in runs], room=room, colours=colours)


def _row(run: Mapping[str, Any], today: float) -> list[Cell]:
    outcome = str(run["outcome"] or run.get("status") or LOST)
    elapsed = run["elapsed"]
    return [
        Cell(began(float(run["began"]), today)),
        Cell(str(run["id"])),
        Cell(str(run["flow"])),
        Cell(outcome, COLOURS.get(outcome, RED)),
        Cell(str(run["at_step"]), DIM),
        Cell("" if elapsed is None else spoken(elapsed)),
        Cell(str(run["error"]).partition("\n")[0], DIM),
    ]


def show_command(places: Places, run: str, *, as_json: bool) -> int:
    """Tell about one, and return the exit code."""
    quiet_logs()
    use(places.config, keeps=False)
    url = journal_at(places.journal, places.config)
    with asking():
        told = _found(None if url is None else opened(url), run)
    wanted = told.run.id if told is not None else run
    known = next((each for each in _kept(places.url, MOST) if each.spec.id.startswith(wanted)), None)
    if told is None and known is None:
        fail(f"nothing is known of run {line_of(run)}: hangtight flow ls lists those that are", FAILED)
    about = _together({**asdict(told.run), **told.far} if told is not None else None, known) | _why(known)
    if as_json:
        put_json(_object(about, told))
        return OK
    put_lines(told_about(about, told, room=room_for_table(), colours=has_colours()))
    if why := _why(known).get("error"):
        put_lines(["why it ended:", *(f"  {line_of(line)}" for line in why.splitlines())])
    if about.get("status") in ("interrupted", "failed", "timeout", "cancelled"):
        put_lines([GOES_ON.format(run=about["id"], there=that_place(places.url))])
    return OK


def _why(known: Known | None) -> dict[str, str]:
    """In all its words, which the journal has not; where the run is kept, its answers are kept, too."""
    ended = None if known is None else known.ended
    return {} if ended is None or not ended.error or ended.outcome == "finished" else {"error": ended.error}


def _found(reading: Reading | None, run: str) -> ToldRun | None:
    from hangtight.journal.reading import Ambiguous

    try:
        return None if reading is None else reading.find_run(run)
    except Ambiguous as several:
        fail(f"{line_of(run)} may be any of {', '.join(map(line_of, several.ids))}", USAGE)


def _object(about: Mapping[str, Any], told: ToldRun | None) -> dict[str, Any]:
    run = {**about, **{key: iso(about[key]) for key in ("began", "ended", "deadline", "as_of") if key in about}}
    if told is None:
        return {"run": run, "steps": [], "events": []}
    lives = [{**asdict(each), "began": iso(each.began), "ended": iso(each.ended)} for each in told.lives]
    steps = [
        {**asdict(each), "began": iso(each.began), "ended": iso(each.ended)}
        | {"lives": [life for life in lives if life["step"] == each.step]}
        for each in told.steps
    ]
    events = [{**asdict(each), "after": each.at - told.run.began, "at": iso(each.at)} for each in told.events]
    return {"run": run, "steps": steps, "events": events}


def _together(told: Mapping[str, Any] | None, known: Known | None) -> dict[str, Any]:
    """What the journal tells of a run, and how it stands where it is kept."""
    if known is None:
        return {**(told or {}), "status": None}
    spec, ended = known.spec, known.ended
    usual = {
        "id": spec.id, "flow": spec.flow, "source": spec.source, "workspace": spec.workspace, "began": spec.began,
        "deadline": spec.deadline, "ended": None, "elapsed": None, "outcome": None, "at_step": "", "error": "",
        "steps": (),
    }  # fmt: skip
    about = {**usual, **(told or {}), "source": spec.source, "workspace": spec.workspace, "status": known.status}
    if ended is None:
        return {**about, "outcome": None, "ended": None}
    if about["outcome"] != ended.outcome:  # what is kept is what counts, whatever was told after it
        about |= {"outcome": ended.outcome, "elapsed": ended.elapsed, "error": ended.error, "at_step": ended.step}
        about["ended"] = spec.began + ended.elapsed
    return about


def _kept(url: str | None, limit: int) -> list[Known]:
    """Those of the database of runs; none where there is none, or what reads it is not installed."""
    if url == MEMORY or (url is None and not is_there()):
        return []
    with troubles():
        return asyncio.run(_listed(url, limit))


async def _listed(url: str | None, limit: int) -> list[Known]:
    store = store_at(url)
    if store is None:
        return []
    try:
        return await store.list_runs(limit)
    finally:
        await store.close()
