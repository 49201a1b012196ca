"""`hangtight flow rm`: runs that nobody needs any more, out of the database, out of the journal, out of the folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from hangtight.cli.journals import AGO, asking, journal_at, opened, quiet_logs, since
from hangtight.cli.keeping import MEMORY, is_there, store_at, troubles, workspaces
from hangtight.cli.printing import line_of, put_lines
from hangtight.cli.process import FAILED, OK, say
from hangtight.cli.settings import USAGE, fail, use
from hangtight.drivers import clock

if TYPE_CHECKING:
    from hangtight.cli.runs import Places
    from hangtight.flows.durable.run_record import Known
    from hangtight.flows.durable.store import Durable
    from hangtight.journal.run_reading import Run

EVERY = 1_000_000
SURELY_LOST = 86_400.0
"""Seconds after which a run that only the journal knows is over, though nobody has said so."""
BUSY = ("running", "waiting")


class OneRun(NamedTuple):
    """One run, wherever it is known."""

    id: str
    kept: Known | None
    noted: Run | None

    @property
    def last(self) -> float:
        """When it was last heard of."""
        if self.kept is not None:
            return self.kept.updated
        assert self.noted is not None
        return self.noted.ended or self.noted.began

    @property
    def is_over(self) -> bool:
        if self.kept is not None:
            return self.kept.status not in BUSY
        assert self.noted is not None
        return self.noted.outcome is not None or clock.wall() - self.noted.began > SURELY_LOST


def remove_command(places: Places, runs: Sequence[str], older_than: str | None, *, files: bool) -> int:
    """Remove them, and return the exit code."""
    quiet_logs()
    if not runs and older_than is None:
        fail("name the runs that are to be removed, or those that are old:  --older-than 30d", USAGE)
    before = None if older_than is None else _instant(older_than)
    use(places.config, keeps=False)
    journal = journal_at(places.journal, places.config)
    with asking():
        reading = None if journal is None else opened(journal)
        noted = [] if reading is None else reading.runs(limit=EVERY)
    with troubles():
        return asyncio.run(_remove(places.url, journal, noted, _Wanted(tuple(runs), before, files)))


class _Wanted(NamedTuple):
    runs: tuple[str, ...]
    before: float | None
    files: bool


def _instant(ago: str) -> float:
    if not AGO.fullmatch(ago.strip()):
        fail(f"--older-than {ago!r} cannot be used: it must be like 12h, 30d or 4w", USAGE)
    at = since(ago)
    assert at is not None
    return at


async def _remove(url: str | None, journal: str | None, noted: Sequence[Run], wanted: _Wanted) -> int:
    store = None if url == MEMORY or (url is None and not is_there()) else store_at(url)
    try:
        kept = [] if store is None else await store.list_runs(EVERY)
        told = {each.id: each for each in noted}
        known = {each.spec.id: OneRun(each.spec.id, each, told.get(each.spec.id)) for each in kept}
        if url in (None, MEMORY):  # who names a database means the runs of that one
            known = {each.id: OneRun(each.id, None, each) for each in noted} | known
        chosen, code = _chosen(known, wanted)
        for each in chosen:
            await _remove_one(each, store, journal, files=wanted.files)
    finally:
        if store is not None:
            await store.close()
    if chosen or not wanted.runs:
        put_lines([f"{len(chosen)} {'run is' if len(chosen) == 1 else 'runs are'} removed"])
    return code


def _chosen(known: dict[str, OneRun], wanted: _Wanted) -> tuple[list[OneRun], int]:
    """What is named must be there and over; what is only old is passed over while it runs."""
    found, code = {}, OK
    for word in wanted.runs:
        each = _named(known, word)
        if each is None:
            say(f"hangtight: nothing is known of run {line_of(word)}\n")
            code = FAILED
        elif not each.is_over:
            say(f"hangtight: run {each.id} is not over\nto end it:  hangtight flow cancel {each.id}\n")
            code = FAILED
        else:
            found[each.id] = each
    if wanted.before is not None:
        found |= {each.id: each for each in known.values() if each.is_over and each.last < wanted.before}
    return list(found.values()), code


def _named(known: dict[str, OneRun], word: str) -> OneRun | None:
    alike = [known[word]] if word in known else [each for key, each in known.items() if word and key.startswith(word)]
    if len(alike) > 1:
        fail(f"{line_of(word)} may be any of {', '.join(line_of(each.id) for each in alike[:20])}", USAGE)
    return alike[0] if alike else None


async def _remove_one(each: OneRun, store: Durable | None, journal: str | None, *, files: bool) -> None:
    """Its files first, and the journal: as long as something of it is left, it can be named again."""
    from hangtight.flows.removing import remove_files
    from hangtight.journal.forgetting import forget_runs

    if files and each.kept is not None:
        await asyncio.to_thread(remove_files, each.kept.spec, each.kept.updated, workspaces())
    elif files:
        say(f"hangtight: what run {each.id} has put out is not known any more: its files stay\n")
    if each.noted is not None and journal is not None:
        await asyncio.to_thread(forget_runs, journal, [each.id])
    if each.kept is not None and store is not None:
        await asyncio.to_thread(store.files.remove, each.id)
