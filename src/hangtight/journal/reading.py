"""What the journal knows, for people to read. Nothing is written, and a journal that is not there is not made."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from hangtight.errors import HangtightError
from hangtight.journal.address import Refused, file_is_there, shown_address
from hangtight.journal.line import needs
from hangtight.journal.rollups import DAY, HOUR, SUMMED, begin_of
from hangtight.journal.run_reading import Run, ToldRun, ids_like, run_in, runs_in
from hangtight.journal.run_sums import FlowStat, StepTook, flow_stats, steps_took
from hangtight.journal.store import Store, in_short, refuse_foreign, refuse_unknown, version_of
from hangtight.journal.tables import days, decisions, generations, hours, unrolled
from hangtight.journal.tally import A_USUAL_TIMEOUT, FINISHED, Quantiles, Tally

MOST_NAMED = 20
WITH_SUMS, WITH_RUNS = "0002", "0003"
"""The versions of the tables that first had them."""

By = Literal["model", "mode", "step"]
Tallies = defaultdict[str, Tally]


class JournalError(HangtightError):
    """The journal cannot be read. Says why."""


class Ambiguous(HangtightError):
    """Several generations, or runs, begin like that; the first of them are in `.ids`, newest first."""

    def __init__(self, prefix: str, ids: Sequence[str]) -> None:
        super().__init__(f"{prefix!r} may be any of {', '.join(ids)}")
        self.prefix, self.ids = prefix, tuple(ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One generation. `outcome` is None while it runs, and for ever where its process was killed."""

    id: str
    call: str
    """The id of the first attempt of the same call."""
    started: float
    ended: float | None
    model: str
    mode: str
    run: str
    step: str
    host: str
    prompt_tokens: int
    counted_prompt: int | None
    counted_answer: int | None
    tokens: int
    first_token: float | None
    longest_gap: float | None
    elapsed: float | None
    outcome: str | None
    broken_limit: str
    waited: float | None
    source: str
    error: str
    budget_left: float | None
    limits: Mapping[str, Any]
    """Per limit `value` and `source`; under `clocks` the lengths that differ from it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One time decision, or a sign of life."""

    after: float
    kind: str
    told: Any


@dataclass(frozen=True, slots=True)
class Told:
    """All about one generation."""

    row: Row
    decisions: tuple[Decision, ...]
    others: tuple[Row, ...]
    """The other attempts of the same call, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What some generations that ended come to. `key` is the model, mode or step; empty for all.

    First tokens and gaps count wherever they were seen; elapsed and tokens per second only of finished answers.
    """

    key: str
    count: int
    outcomes: Mapping[str, int]
    timeouts: Mapping[str, int]
    """By the limit that was broken."""
    tokens: int
    elapsed_sum: float
    first_token: Quantiles | None
    longest_gap: Quantiles | None
    elapsed: Quantiles | None
    tokens_per_second: Quantiles | None
    would_have_died: int
    """Finished answers that a 30 s timeout would have killed."""
    hangs: int
    """Ended for silence."""
    hang_seconds: float
    """How long these were waited for, in all."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The product in one line."""

    answers: int
    would_have_died: int
    hangs: int
    hang_seconds: float


class Reading:
    """The journal at `url`. Each question sees one state of it. Raises JournalError where it cannot be read."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._store = Store(url, reads=True)
        except Refused as refused:
            raise JournalError(str(refused)) from refused
        except ImportError as missing:
            raise JournalError(needs(missing)) from missing

    @property
    def exists(self) -> bool:
        with self._asking() as asked:
            return asked is not None

    def find(self, prefix: str) -> Told | None:
        """The generation whose id begins so. Raises Ambiguous where it is not one."""
        prefix = prefix.strip().lower()
        if not prefix.isalnum() or not prefix.isascii():
            return None
        own = generations.c
        with self._asking() as asked:
            if asked is None:
                return None
            alike = select(own.id).where(own.id >= prefix, own.id < prefix + "g").order_by(own.started.desc())
            ids = list(asked.connection.execute(alike.limit(MOST_NAMED)).scalars())
            if prefix in ids:
                ids = [prefix]
            if len(ids) > 1:
                raise Ambiguous(prefix, ids)
            return asked.told(ids[0]) if ids else None

    def calls(
        self, since: float | None = None, run: str | None = None, model: str | None = None, limit: int = 50
    ) -> list[Row]:
        """Newest first. `since` is in seconds since the epoch."""
        own = generations.c
        wanted = _rows().order_by(own.started.desc(), own.id).limit(limit)
        if since is not None:
            wanted = wanted.where(own.started >= since)
        for column, given in ((own.run, run), (own.model, model)):
            if given is not None:
                wanted = wanted.where(column == given)
        with self._asking() as asked:
            return [] if asked is None else asked.rows(wanted)

    def runs(self, since: float | None = None, flow: str | None = None, limit: int = 50) -> list[Run]:
        """Runs of workflows, newest first. `since` is in seconds since the epoch."""
        with self._asking() as asked:
            return runs_in(asked.connection, since, flow, limit) if asked is not None and asked.runs else []

    def find_run(self, prefix: str) -> ToldRun | None:
        """The run whose id begins so. Raises Ambiguous where it is not one."""
        with self._asking() as asked:
            if asked is None or not asked.runs or not prefix.strip():
                return None
            ids = ids_like(asked.connection, prefix.strip())
            if len(ids) > 1:
                raise Ambiguous(prefix, ids)
            return run_in(asked.connection, ids[0]) if ids else None

    def flow_stats(self, since: float | None = None) -> list[FlowStat]:
        """How long runs of workflows and their steps took, and how they ended."""
        with self._asking() as asked:
            return flow_stats(asked.connection, since) if asked is not None and asked.runs else []

    def steps_took(self, flow: str, most: int = 100) -> dict[str, list[StepTook]]:
        """How long the steps of the latest runs of a flow took that ended well, by name."""
        with self._asking() as asked:
            return steps_took(asked.connection, flow, most) if asked is not None and asked.runs else {}

    def stats(self, since: float | None = None, by: By | None = None, *, usual: float = A_USUAL_TIMEOUT) -> list[Stat]:
        """By what began since, the most frequent first. Without `by` there is one, if there is anything."""
        with self._asking() as asked:
            tallies = {} if asked is None else asked.tallies(since, by, usual)
        ordered = sorted(tallies.items(), key=lambda item: (-item[1].count, item[0]))
        return [_stat(key, tally) for key, tally in ordered]

    def receipt(self, since: float | None = None, *, usual: float = A_USUAL_TIMEOUT) -> Receipt:
        """What a timeout of `usual` seconds would have cost."""
        for stat in self.stats(since, usual=usual):
            return Receipt(stat.outcomes.get(FINISHED, 0), stat.would_have_died, stat.hangs, stat.hang_seconds)
        return Receipt(0, 0, 0, 0.0)

    @contextmanager
    def _asking(self) -> Iterator[_Asked | None]:
        """One transaction; None where there is no journal."""
        try:
            if self._store.path is not None and not file_is_there(self._store.path):
                yield None
                return
            with self._store.engine.connect() as connection:
                version = version_of(connection)
                if version is None:
                    refuse_foreign(connection, self._store.where)
                else:
                    refuse_unknown(version)
                yield None if version is None else _Asked(connection, version)
        except Refused as refused:
            raise JournalError(str(refused)) from refused
        except (SQLAlchemyError, OSError) as problem:
            where = shown_address(self.url)
            raise JournalError(f"the journal cannot be read: {where}: {in_short(problem)}") from problem


class _Asked:
    """The questions, within one transaction."""

    def __init__(self, connection: Connection, version: str) -> None:
        self.connection = connection
        self.sums = version >= WITH_SUMS
        """An older journal has single rows only; whoever writes next brings it up to date."""
        self.runs = version >= WITH_RUNS

    def rows(self, wanted: Any) -> list[Row]:
        found = self.connection.execute(wanted).mappings()
        return [Row(**{**row, "limits": _members(row["limits"])}) for row in found]

    def told(self, key: str) -> Told:
        own, noted = generations.c, decisions.c
        row = self.rows(_rows().where(own.id == key))[0]
        others = _rows().where(own.call == row.call, own.id != row.id).order_by(own.started, own.id)
        wanted = select(noted.after, noted.kind, noted.told).where(noted.generation == key)
        found = self.connection.execute(wanted.order_by(noted.after, noted.id))
        told = tuple(Decision(after, kind, _value(text)) for after, kind, text in found)
        return Told(row, told, tuple(self.rows(others)))

    def tallies(self, since: float | None, by: By | None, usual: float) -> Tallies:
        """Sums of the complete days, then of the complete hours, and single rows of the rest."""
        own = generations.c
        ended = select(*(own[name] for name in SUMMED)).where(own.outcome.is_not(None))
        if not self.sums or usual != A_USUAL_TIMEOUT:  # the sums know of no other
            tallies: Tallies = defaultdict(partial(Tally, usual=usual))
            return self._add(tallies, ended if since is None else ended.where(own.started >= since), by)
        rest = select(*(own[name] for name in SUMMED)).where(unrolled)
        if since is None:
            return self._add(self._merge(defaultdict(Tally), select(days), by), rest, by)
        hour, day = -begin_of(HOUR, -since), -begin_of(DAY, -since)
        tallies = self._merge(defaultdict(Tally), select(days).where(days.c.began >= day), by)
        self._merge(tallies, select(hours).where(hours.c.began >= hour, hours.c.began < day), by)
        self._add(tallies, rest.where(own.started >= hour), by)
        return self._add(tallies, ended.where(own.started >= since, own.started < hour), by)

    def _merge(self, tallies: Tallies, wanted: Any, by: By | None) -> Tallies:
        for row in self.connection.execute(wanted):
            tallies[getattr(row, by) if by else ""].merge(row)
        return tallies

    def _add(self, tallies: Tallies, wanted: Any, by: By | None) -> Tallies:
        for row in self.connection.execute(wanted):
            tallies[getattr(row, by) if by else ""].add(row)
        return tallies


def _value(text: str) -> Any:
    """What somebody else wrote there is no reason to show nothing."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _members(text: str) -> Mapping[str, Any]:
    value = _value(text)
    return value if isinstance(value, dict) else {}


def _rows() -> Any:
    return select(*(column for column in generations.c if column.name != "rolled"))


def _stat(key: str, tally: Tally) -> Stat:
    return Stat(
        key=key,
        count=tally.count,
        outcomes=dict(tally.outcomes),
        timeouts=dict(tally.limits),
        tokens=tally.tokens,
        elapsed_sum=tally.elapsed,
        first_token=tally.quantiles("first_token"),
        longest_gap=tally.quantiles("longest_gap"),
        elapsed=tally.quantiles("elapsed"),
        tokens_per_second=tally.quantiles("rate"),
        would_have_died=tally.would_have_died,
        hangs=tally.hangs,
        hang_seconds=tally.hang_seconds,
    )
