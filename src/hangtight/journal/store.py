"""One database, SQLite or PostgreSQL: what its address means, how it is opened, and what it lacks or refuses."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from hangtight.journal import tables
from hangtight.journal.address import Refused, file_is_there, file_of, path_of, shown_address

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

__all__ = ["Refused", "Store", "in_short", "path_of", "refuse_foreign", "refuse_unknown", "shown_address", "version_of"]

BUSY = 300
"""Milliseconds that SQLite waits for a lock before it gives up. The writer tries again anyway, and a command that waits
half a second for its journal should know of the trouble by then."""
UNCHANGING = "mode=ro&immutable=1"
LOOKS = "looks"  # an option of a connection
CONNECT = 3
STATEMENT = 10_000
LOCK_KEY = 0x68616E67  # "hang": PostgreSQL's advisory locks are numbers
POSTGRES = ("postgres", "postgresql", "postgresql+psycopg")
NO_HOST = ("resolve host", "translate host name", "name or service not known", "nodename nor servname")
NO_ROOM = ("disk i/o error", "unable to open")


class Store:
    """An opened or openable database. `reads` opens it without the right to write or to create."""

    def __init__(self, url: str, *, reads: bool = False) -> None:
        self.reads = reads
        self.path = file_of(url)
        self.engine = self._sqlite(self.path) if self.path else self._postgres(url)
        self.where = shown_address(url)

    @property
    def is_sqlite(self) -> bool:
        return self.path is not None

    def exists(self) -> bool:
        """There is a journal in it. A file that is missing is not made."""
        if self.path is not None and not file_is_there(self.path):
            return False
        with self.engine.connect() as connection:
            return version_of(connection) is not None

    def identity(self) -> object:
        """Which file it is: another one may stand at the same path tomorrow, and nobody would notice."""
        if self.path is None:
            return None
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return None
        return stat.st_dev, stat.st_ino

    def prepare(self) -> None:
        """Make what is not there, and bring up what is old. Raises Refused for what is newer than we are."""
        if self.path is not None:
            self._make_file(self.path)
        with self.engine.connect() as connection:
            connection.execution_options(**{LOOKS: True})
            found = version_of(connection)
            if self.is_sqlite:
                if found is None:
                    refuse_foreign(connection, self.where)
                _use_wal(connection)
        if found == tables.VERSIONS[-1]:
            return
        with self.engine.begin() as connection:
            self.lock(connection)
            if not self.is_sqlite:
                connection.execute(text("SET LOCAL statement_timeout = 0"))  # a migration takes what it takes
            found = version_of(connection)
            if found is None:
                refuse_foreign(connection, self.where)
                tables.metadata.create_all(connection, checkfirst=True)
                connection.execute(tables.version.insert().values(version_num=tables.VERSIONS[-1]))
            elif found != tables.VERSIONS[-1]:
                refuse_unknown(found)
                from hangtight.journal.migrating import migrate

                migrate(connection)

    def lock(self, connection: Connection) -> None:
        """Until the transaction ends nobody else makes tables, migrates, or rolls up. On SQLite nobody writes."""
        if not self.is_sqlite:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))

    def close(self) -> None:
        self.engine.dispose()

    def _sqlite(self, path: Path) -> Engine:
        def connect() -> sqlite3.Connection:
            if not self.reads:
                return _opened(path, "mode=rw")
            try:
                return _opened(path, _mode_to_read(path), looks=True)
            except sqlite3.OperationalError as problem:  # no room for the side files that a reader makes
                if not any(words in str(problem).lower() for words in NO_ROOM):
                    raise
                return _opened(path, UNCHANGING, looks=True)

        engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

        def begin(connection: Connection) -> None:
            """Who only looks takes no turn from those who write: many processes open it at once."""
            looks = self.reads or connection.get_execution_options().get(LOOKS)
            connection.exec_driver_sql("BEGIN" if looks else "BEGIN IMMEDIATE")

        event.listen(engine, "begin", begin)
        return engine

    def _postgres(self, url: str) -> Engine:
        try:
            address = make_url(url)
        except (ArgumentError, ValueError) as unreadable:
            raise Refused("the journal's address cannot be read: it must be a path or postgresql://...") from unreadable
        if address.drivername.lower() not in POSTGRES:
            raise Refused(f"the journal cannot be kept in {address.drivername}: only in SQLite or PostgreSQL")
        settings: dict[str, Any] = {
            "connect_timeout": CONNECT,
            "application_name": "hangtight",
            "tcp_user_timeout": STATEMENT,
        }
        engine = create_engine(
            address.set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            execution_options={"postgresql_readonly": self.reads},
            isolation_level="REPEATABLE READ" if self.reads else "READ COMMITTED",
            connect_args={name: value for name, value in settings.items() if name not in address.query},
        )
        event.listen(engine, "connect", _bound_statements)
        return engine

    @staticmethod
    def _make_file(path: Path) -> None:
        """The journal is nobody else's to read: SQLite gives its side files the rights of the file."""
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file_is_there(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def version_of(connection: Connection) -> str | None:
    """The version of the tables in this database; None where there are none."""
    if not inspect(connection).has_table(tables.version.name):
        return None
    found: str | None = connection.execute(select(tables.version.c.version_num)).scalar()
    return found


def refuse_unknown(found: str) -> None:
    if found not in tables.VERSIONS:
        raise Refused(
            f"the journal was written by a newer hangtight (its tables are {found}, this one knows "
            f"{tables.VERSIONS[-1]}): update this one, or give it a journal of its own"
        )


def refuse_foreign(connection: Connection, where: str) -> None:
    """Where there is no journal: a table of somebody else's may have the name of one of ours."""
    theirs = sorted(set(inspect(connection).get_table_names()) & set(tables.metadata.tables))
    if theirs:
        raise Refused(
            f"{where}: the database has a table {theirs[0]!r} that is not of a journal: "
            "give the journal a database of its own"
        )


def in_short(problem: Exception) -> str:
    """The database's own words, without the statement and its values; and of a host none, it may be half a password."""
    original = problem.orig if isinstance(problem, DBAPIError) else problem
    if isinstance(original, OSError):
        return original.strerror or str(original)
    words = (str(original).strip().splitlines() or [type(problem).__name__])[0]
    if any(each in words.lower() for each in NO_HOST):
        return "host not found; in a password write @ as %40"
    return words


def _opened(path: Path, mode: str, *, looks: bool = False) -> sqlite3.Connection:
    """`looks`: fail now and not at the first question."""
    address = f"{path.absolute().as_uri()}?{mode}"
    opened = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    try:
        opened.execute(f"PRAGMA busy_timeout = {BUSY}")
        opened.execute("PRAGMA synchronous = NORMAL")
        if looks:
            opened.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.Error:
        opened.close()
        raise
    return opened


def _mode_to_read(path: Path) -> str:
    """In a folder that is not ours, with no writer about, SQLite has to be told that nothing will change."""
    quiet = not path.with_name(f"{path.name}-wal").exists() and not os.access(path.parent, os.W_OK)
    return UNCHANGING if quiet else "mode=ro"


def _use_wal(connection: Connection) -> None:
    raw = connection.connection.driver_connection
    if raw is not None and raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.rollback()
        raw.execute("PRAGMA journal_mode = WAL")


def _bound_statements(connection: Any, _record: Any) -> None:
    """Nothing that hangs survives, our own statements included."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = {STATEMENT}")
        cursor.execute(f"SET lock_timeout = {STATEMENT}")
    connection.commit()
