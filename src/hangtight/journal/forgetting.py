"""Runs are forgotten: all that the journal tells of them. Their generations stay, which are numbers and no texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from hangtight.drivers import clock
from hangtight.journal import tables
from hangtight.journal.address import Refused
from hangtight.journal.reading import JournalError
from hangtight.journal.run_writing import delete_runs
from hangtight.journal.store import Store, in_short, refuse_unknown, version_of

TOGETHER: Final = 20
"""Runs in one transaction: whoever writes meanwhile waits no longer than for these."""
PATIENCE: Final = 5.0  # seconds in which somebody else may have the turn


def forget_runs(url: str, runs: Iterable[str]) -> None:
    """Blocks. Raises JournalError where that cannot be; one that is not there has nothing to forget."""
    wanted = list(runs)
    try:
        store = Store(url)
        try:
            if store.exists():
                for at in range(0, len(wanted), TOGETHER):
                    _forget(store, wanted[at : at + TOGETHER])
        finally:
            store.close()
    except Refused as refused:
        raise JournalError(str(refused)) from refused
    except SQLAlchemyError as problem:
        raise JournalError(f"the journal cannot be written: {in_short(problem)}") from problem


def _forget(store: Store, runs: list[str]) -> None:
    until = clock.now() + PATIENCE
    while True:
        try:
            with store.engine.begin() as connection:
                found = version_of(connection)
                if found is not None:
                    refuse_unknown(found)
                if found == tables.VERSIONS[-1]:  # an older one has no runs
                    delete_runs(connection, runs)
            return
        except OperationalError:  # SQLite: it waits for its turn a moment, and then says so
            if clock.now() > until:
                raise
