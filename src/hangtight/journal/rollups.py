"""Upkeep: complete hours are summed up, and what is older than it should be is deleted. In small steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, delete, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from hangtight.journal.run_writing import delete_older_runs
from hangtight.journal.tables import days, decisions, generations, hours, unrolled
from hangtight.journal.tally import Tally, tallied

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.journal.store import Store

HOUR = 3_600
DAY = 24 * HOUR
ROLLED_AT_ONCE = 1_000
DELETED_AT_ONCE = 500
SUMMED = (
    "id", "model", "mode", "step", "started", "outcome", "broken_limit", "waited",
    "tokens", "counted_answer", "first_token", "longest_gap", "elapsed",
)  # fmt: skip

Key = tuple[int, str, str, str]


class Upkeep:
    """One round of it, as of `now`. Several processes may do the same at once: they take turns, step by step."""

    def __init__(self, now: float, keep: float | None) -> None:
        self.until = begin_of(HOUR, now)
        self.oldest = None if keep is None else now - keep

    def step(self, store: Store, connection: Connection) -> bool:
        """One transaction. False where nothing is left to do."""
        with connection.begin():
            store.lock(connection)
            if roll_up(store, connection, self.until):
                return True
            if self.oldest is None:
                return False
            return delete_older(connection, self.oldest) or delete_older_runs(connection, self.oldest)


def begin_of(length: int, at: float) -> int:
    """The first second of the hour, or day, in which `at` lies."""
    return int(at // length) * length


def roll_up(store: Store, connection: Connection, until: float) -> bool:
    """Adds some generations that began before `until` to their hours; one that ends late is added late."""
    own = generations.c
    found = connection.execute(
        select(*(own[name] for name in SUMMED))
        .where(unrolled, own.started < until)
        .order_by(own.started)
        .limit(ROLLED_AT_ONCE)
    ).all()
    if not found:
        return False
    for table, length in ((hours, HOUR), (days, DAY)):
        tallies = tallied(found, _key_of(length))
        _merge_stored(connection, table, tallies)
        rows = [dict(zip(KEY, key, strict=True)) | tally.sums() for key, tally in tallies.items()]
        insert: Any = sqlite.insert(table) if store.is_sqlite else postgresql.insert(table)
        given = {column.name: insert.excluded[column.name] for column in table.c if column.name not in KEY}
        connection.execute(insert.on_conflict_do_update(index_elements=list(KEY), set_=given), rows)
    connection.execute(update(generations).where(own.id.in_([row.id for row in found])).values(rolled=True))
    return True


def delete_older(connection: Connection, oldest: float) -> bool:
    """Deletes some that began before. What ended stays until it is summed up."""
    own = generations.c
    finished_with = or_(own.rolled, own.outcome.is_(None))
    old = select(own.id).where(own.started < oldest, finished_with).limit(DELETED_AT_ONCE)
    ids = list(connection.execute(old).scalars())
    if not ids:
        return False
    connection.execute(delete(decisions).where(decisions.c.generation.in_(ids)))
    connection.execute(delete(generations).where(own.id.in_(ids)))
    return True


KEY = ("began", "model", "mode", "step")


def _key_of(length: int) -> Callable[[Any], Key]:
    return lambda row: (begin_of(length, row.started), row.model, row.mode, row.step)


def _merge_stored(connection: Connection, table: Table, tallies: dict[Key, Tally]) -> None:
    wanted = select(table).where(tuple_(*(table.c[name] for name in KEY)).in_(list(tallies)))
    for row in connection.execute(wanted):
        tallies[row.began, row.model, row.mode, row.step].merge(row)
