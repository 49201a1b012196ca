"""The database in which runs are kept: SQLite by default, PostgreSQL by its address. One engine for DBOS and for us."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from hangtight.errors import SettingsError
from hangtight.journal.address import Refused, file_of, shown_address

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import ExceptionContext

BUSY: Final = 30_000
"""Milliseconds that SQLite waits for a lock: a run must not fail because another one is written down."""
SETTINGS: Final = ("foreign_keys = ON", "secure_delete = ON")  # what a model wrote is gone when its run is removed
CONNECT: Final = 3
SILENT_NETWORK: Final = 10_000
HALF_DONE: Final = 10_000
"""Milliseconds after which PostgreSQL ends a transaction of a process that was stopped in the middle of it."""
CONNECTIONS: Final = 12
REFUSED: Final = re.compile(r"FATAL:(?!.*(starting up|shutting down|in recovery|too many|connection slots))")
"""The server is there and does not want us: a wrong password is no better the second time."""
POSTGRES: Final = ("postgres", "postgresql", "postgresql+psycopg")


def opened(url: str) -> Engine:
    """Nothing is connected yet; a file of SQLite is made with its folder."""
    try:
        path = file_of(url)
    except Refused as refused:
        raise SettingsError("store", shown_address(url), "a path, or postgresql://...") from refused
    return _sqlite(path) if path is not None else _postgres(url)


def _sqlite(path: Path) -> Engine:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # what models wrote is nobody else's to read
    engine = create_engine(
        f"sqlite:///{path}", pool_size=CONNECTIONS, max_overflow=0, connect_args={"timeout": BUSY / 1000}
    )
    event.listen(engine, "connect", _settle)
    return engine


def _settle(connection: Any, _record: Any) -> None:
    connection.isolation_level = "IMMEDIATE"  # as DBOS has it: who writes waits at the beginning, not in the middle
    for setting in ("journal_mode = WAL", "synchronous = NORMAL", f"busy_timeout = {BUSY}", *SETTINGS):
        connection.execute(f"PRAGMA {setting}").close()


def _postgres(url: str) -> Engine:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as unreadable:
        raise SettingsError("store", shown_address(url), "a path, or postgresql://...") from unreadable
    if address.drivername.lower() not in POSTGRES:
        raise SettingsError("store", address.drivername, "a path of SQLite, or postgresql://...")
    settings: dict[str, Any] = {
        "connect_timeout": CONNECT,
        "application_name": "hangtight",
        "tcp_user_timeout": SILENT_NETWORK,
        "options": f"-c idle_in_transaction_session_timeout={HALF_DONE}",
    }
    engine = create_engine(
        address.set(drivername="postgresql+psycopg"),
        pool_size=CONNECTIONS,
        max_overflow=0,
        connect_args={name: value for name, value in settings.items() if name not in address.query},
    )
    event.listen(engine, "handle_error", _say_that_it_is_away)
    return engine


def _say_that_it_is_away(context: ExceptionContext) -> None:
    """DBOS tries again where a connection is lost. That none can be had it knows by words that psycopg no longer says,
    and what a run put out in such a moment would not be written down at all."""
    if context.connection is None and not REFUSED.search(str(context.original_exception)):
        context.is_disconnect = True


def is_away(problem: BaseException) -> bool:
    """The database cannot be asked just now, or was busy: the same question may be asked again."""
    from sqlalchemy.exc import InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolEmpty

    if isinstance(problem, DBAPIError) and problem.connection_invalidated:
        return True
    return isinstance(problem, OperationalError | InterfaceError | PoolEmpty)
