"""Rows of runs into the database: what changed is put into the row that is there, or a new one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, delete, select

from hangtight.journal.run_rows import NEW_RUN, NEW_STEP, RunRows
from hangtight.journal.tables import run_events, run_steps, runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DELETED_AT_ONCE = 20
"""Runs. Each may have thousands of events."""
SEEN = "first_seen"


def write_runs(connection: Connection, insert: Any, rows: RunRows) -> None:
    """In the transaction that is open. `insert` is that of the database. In an order of their own: no two wait in a
    circle."""
    for key, values in sorted(rows.runs.items()):
        changed = {name: value for name, value in values.items() if name != SEEN}
        _upsert(connection, insert(runs), {"id": key}, changed, {**NEW_RUN, "began": values[SEEN]})
    for (run, step), values in sorted(rows.steps.items()):
        _upsert(connection, insert(run_steps), {"run": run, "step": step}, values, NEW_STEP)
    if rows.events:
        connection.execute(insert(run_events).on_conflict_do_nothing(), rows.events)


def _upsert(
    connection: Connection, insert: Any, key: Mapping[str, Any], changed: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    statement = insert.values({**new, **changed, **key})
    if changed:
        statement = statement.on_conflict_do_update(index_elements=list(key), set_=dict(changed))
    else:
        statement = statement.on_conflict_do_nothing()
    connection.execute(statement)


def delete_older_runs(connection: Connection, oldest: float) -> bool:
    """Deletes some that began before, with all that is known of them."""
    old = select(runs.c.id).where(runs.c.began < oldest).limit(DELETED_AT_ONCE)
    ids = list(connection.execute(old).scalars())
    delete_runs(connection, ids)
    return bool(ids)


def delete_runs(connection: Connection, ids: Sequence[str]) -> None:
    """With all that is known of them."""
    for column in (run_events.c.run, run_steps.c.run, runs.c.id):
        table = column.table
        assert isinstance(table, Table)
        connection.execute(delete(table).where(column.in_(ids)))
