"""The tables of ours beside those of DBOS, and of which version they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, MetaData, Table, Text, insert, inspect, select
from sqlalchemy.schema import CreateTable

from hangtight.errors import HangtightError

if TYPE_CHECKING:
    from sqlalchemy import Connection

TABLES: Final = 1
"""Goes up when one of them changes."""
metadata: Final = MetaData()
version: Final = Table("durable_version", metadata, Column("tables", Integer, nullable=False))
workers: Final = Table(
    "durable_workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("beats", BigInteger, nullable=False),
    Column("seen", Float, nullable=False),
)
holds: Final = Table(
    "durable_holds",
    metadata,
    Column("run", Text, primary_key=True),
    Column("worker", Text, nullable=False, index=True),
    Column("epoch", BigInteger, nullable=False),
    Column("stopping", Boolean, nullable=False),
)
steps: Final = Table(
    "durable_steps",
    metadata,
    Column("run", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("output", Text, nullable=False),
    Column("began", Float, nullable=False),
    Column("ended", Float, nullable=False),
    Column("epoch", BigInteger, nullable=False),
)
STEP_COLUMNS: Final = tuple(each.name for each in steps.columns)


def make(connection: Connection) -> None:
    """Those that are not there. The caller sees to it that nobody else does so now."""
    if not inspect(connection).has_table(version.name):
        workers.drop(connection, checkfirst=True)  # from before there were versions; it holds only who lives
    for each in metadata.sorted_tables:
        connection.execute(CreateTable(each, if_not_exists=True))
        for index in each.indexes:
            index.create(connection, checkfirst=True)
    if not check(connection):
        connection.execute(insert(version).values(tables=TABLES))


def check(connection: Connection) -> bool:
    """Whether they say of which version they are. Raises where they are of a newer one than ours."""
    found = connection.execute(select(version.c.tables)).scalars().first()
    if found is not None and found > TABLES:
        raise HangtightError(
            f"the runs there are kept by a newer hangtight: version {found} of its tables, this one knows {TABLES}\n"
            "to go on with them:  pip install --upgrade hangtight"
        )
    return found is not None
