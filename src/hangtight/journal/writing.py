"""The writer: the one thread that talks to the database. It batches, retries, and tells paces what is committed."""

from __future__ import annotations

import logging
import os
from collections import deque
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, delete, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError, StatementError

from hangtight.journal.address import Refused, shown_address
from hangtight.journal.batch import About, Batch, digest
from hangtight.journal.entries import Ended, Entry
from hangtight.journal.line import MOST_WAITING, Flush, Learns, Line, Stop, discard, needs
from hangtight.journal.rollups import HOUR, Upkeep
from hangtight.journal.run_writing import write_runs
from hangtight.journal.store import LOOKS, Store, in_short
from hangtight.journal.tables import decisions, generations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAUSE = 0.25
"""How long a first entry waits for others, in seconds. A killed process loses this and one transaction."""
FIRST_RETRY, LAST_RETRY = 0.25, 5.0
BETWEEN_UPKEEP = 0.02
UPKEEP_RETRY = 60.0
FIRST_UPKEEP = 5.0
"""A process that is over sooner than that leaves upkeep to others, in seconds."""
MOST_AT_ONCE = 2_000
MOST_KNOWN = 20_000
MOST_UNDER_WAY = 2_000
LATEST = 5_000
NUMBERS = 24  # bits of a decision's id that count; the rest are this writer's own

FIXED = ("id", "rolled")

logger = logging.getLogger("hangtight.journal")


class Writer:
    """Lives in its own thread. Whatever goes wrong is told in `line.trouble` and tried again."""

    def __init__(
        self, url: str, line: Line, wall: Callable[[], float], keep: Callable[[], float | None], paces: Learns | None
    ) -> None:
        self.url, self.line, self.wall, self.keep, self.paces = url, line, wall, keep, paces
        self._queue: SimpleQueue[Entry | Flush] = line.queue
        self._waiting: deque[tuple[int, Entry]] = deque()
        self._marks: list[Flush] = []
        self._known: dict[str, About] = {}
        self._under_way: dict[str, dict[str, Any]] = {}
        self._ids = 0
        self._store: Store | None = None
        self._connection: Connection | None = None
        self._identity: object = None
        self._retry = 0.0
        self._upkeep: Upkeep | None = None
        self._next_upkeep = wall() + FIRST_UPKEEP
        self._filled = paces is None

    def run(self) -> None:
        stopped = False
        while not stopped:
            self._wait()
            stopped = self._drain()
            try:
                self._settle()
            except Refused as refused:
                return self._give_up(str(refused), stopped)
            except Exception as problem:  # noqa: BLE001 - a thread that nobody watches must outlive all
                self._fail(problem)
            if not stopped and not self._retry:
                self._tell_marks()
                self._keep_up()
        with self.line.at_work:
            self._close()
        self._tell_marks()
        return None

    def _wait(self) -> None:
        if self._retry:
            self.line.hurry.wait(self._retry)
        elif self._upkeep is not None:
            self.line.hurry.wait(BETWEEN_UPKEEP)
        else:
            self._take(self._queue.get())
            if not self._marks:
                self.line.hurry.wait(PAUSE)
        self.line.hurry.clear()

    def _drain(self) -> bool:
        """Everything that is there now; True where nothing is to come any more."""
        for _ in range(self._queue.qsize()):
            self._take(self._queue.get())
        surplus = len(self._waiting) - MOST_WAITING
        for _ in range(surplus):
            self._waiting.popleft()
        self.line.lost += max(0, surplus)
        return any(isinstance(mark, Stop) for mark in self._marks)

    def _take(self, item: Entry | Flush) -> None:
        if isinstance(item, Flush):
            self._marks.append(item)
            return
        if not self._ids % (1 << NUMBERS):  # random upper bits: no other writer counts from here
            self._ids = int.from_bytes(os.urandom(8), "big") >> (NUMBERS + 1) << NUMBERS
        self._ids += 1
        self._waiting.append((self._ids, item))

    def _settle(self) -> None:
        while self._waiting or self._store is None:
            with self.line.at_work:
                self._open()
                chunk = list(islice(self._waiting, MOST_AT_ONCE))
                self._write(chunk)
            for _ in chunk:
                self._waiting.popleft()
        with self.line.at_work:
            self._fill()
        if self._retry:
            logger.warning("the journal is written again: %s", self._where())
            self._retry, self.line.trouble = 0.0, None

    def _open(self) -> None:
        if self._store is not None and self._store.identity() != self._identity:
            logger.warning("the journal was taken away and is made anew: %s", self._where())
            self._close()
        if self._store is not None:
            return
        try:
            store = Store(self.url)
            store.prepare()
        except ImportError as missing:
            raise Refused(needs(missing)) from missing
        self._connection = store.engine.connect()
        self._store, self._identity = store, store.identity()
        self._bring_back()
        self.line.opened = True

    def _bring_back(self) -> None:
        """It may be another database than before: what is under way began in the other one."""
        assert self._connection is not None
        if self._under_way:
            with self._connection.begin():
                rows = list(self._under_way.values())
                self._connection.execute(self._insert(generations).on_conflict_do_nothing(), rows)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        store, self._store = self._store, None
        try:
            if connection is not None:
                connection.close()
            if store is not None:
                store.close()
        except Exception:  # it was broken already
            logger.debug("the journal did not close", exc_info=True)

    def _write(self, chunk: Sequence[tuple[int, Entry]]) -> None:
        """One transaction. What the database will never take is found by halving, and dropped alone."""
        if not chunk:
            return
        try:
            batch = digest(chunk)
            self._commit(batch)
        except Exception as problem:
            if not _never_fits(problem):
                raise
            if len(chunk) == 1:
                self.line.lost += 1
                logger.debug("an entry of the journal cannot be written", exc_info=True)
                return
            middle = len(chunk) // 2
            self._write(chunk[:middle])
            self._write(chunk[middle:])
        else:
            self._follow(batch)
            self._learn(batch)

    def _commit(self, batch: Batch) -> None:
        connection = self._connection
        assert connection is not None
        with connection.begin():
            if batch.new:
                connection.execute(_upsert(self._insert), list(batch.new.values()))
            for names, rows in _alike(batch.changed).items():
                connection.execute(_change(names), rows)
            if batch.decisions:
                connection.execute(self._insert(decisions).on_conflict_do_nothing(), batch.decisions)
            if batch.gone:
                ids = sorted(batch.gone)
                connection.execute(delete(decisions).where(decisions.c.generation.in_(ids)))
                connection.execute(delete(generations).where(generations.c.id.in_(ids)))
            write_runs(connection, self._insert, batch.runs)

    @property
    def _insert(self) -> Any:
        return sqlite.insert if self._store is not None and self._store.is_sqlite else postgresql.insert

    def _follow(self, batch: Batch) -> None:
        """The rows of those that have no verdict yet, some of them."""
        self._under_way.update(batch.new)
        for key, values in batch.changed.items():
            if key in self._under_way:
                self._under_way[key] |= values
        for key in (*batch.new, *batch.changed):
            if self._under_way.get(key, {}).get("outcome") is not None:
                del self._under_way[key]
        for key in batch.gone:
            self._under_way.pop(key, None)
        while len(self._under_way) > MOST_UNDER_WAY:
            del self._under_way[next(iter(self._under_way))]

    def _learn(self, batch: Batch) -> None:
        """What is committed may be learned from. Before the past is known there is no hurry: this is part of it."""
        self._known.update(batch.known)
        for key, model in batch.named.items():
            if key in self._known:
                self._known[key] = self._known[key]._replace(model=model)
        for end in batch.ends:
            about = self._known.pop(end.id, None)
            if about is not None and self.paces is not None and self._filled and end.id not in batch.gone:
                self._observe(about, end)
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def _observe(self, about: About, end: Ended) -> None:
        from hangtight.core.pace import Observation

        assert self.paces is not None
        self._guarded(
            self.paces.observe,
            Observation(
                *about, end.first_token, end.longest_gap, end.after, end.tokens, end.outcome, end.limit, end.waited
            ),
        )

    def _fill(self) -> None:
        if self._filled or self.paces is None or not self.line.wants_history.is_set():
            return
        from hangtight.journal.latest import latest

        self._filled = True
        assert self._connection is not None
        self._connection.execution_options(**{LOOKS: True})
        with self._connection.begin():
            observations = latest(self._connection, LATEST)
        self._connection.execution_options(**{LOOKS: False})
        self._guarded(self.paces.fill, observations)

    @staticmethod
    def _guarded(learn: Callable[[Any], None], what: object) -> None:
        try:
            learn(what)
        except Exception:  # a learner that fails is no reason not to record
            logger.debug("nothing was learned", exc_info=True)

    def _keep_up(self) -> None:
        """Once an hour, in small steps: what waits in the queue goes first."""
        now = self.wall()
        if self._upkeep is None:
            if self._next_upkeep - HOUR <= now < self._next_upkeep:
                return
            self._upkeep = Upkeep(now, self.keep())
        try:
            with self.line.at_work:
                assert self._store is not None
                assert self._connection is not None
                more = self._upkeep.step(self._store, self._connection)
        except Exception as problem:  # the sums can wait; what happens now cannot
            busy = isinstance(problem, OperationalError)
            logger.log(logging.DEBUG if busy else logging.WARNING, "the journal is not summed up", exc_info=True)
            self._upkeep, self._next_upkeep = None, now + (UPKEEP_RETRY if busy else HOUR)
            with self.line.at_work:
                self._close()
        else:
            if not more:
                self._upkeep, self._next_upkeep = None, now + HOUR

    def _fail(self, problem: Exception) -> None:
        reason = f"{self._where()} cannot be written: {in_short(problem)}"
        self.line.trouble = f"the journal {reason}"
        if not self._retry:
            logger.warning("the journal %s; up to %d entries wait in memory", reason, MOST_WAITING)
        self._retry = min(LAST_RETRY, self._retry * 2 or FIRST_RETRY)
        with self.line.at_work:
            self._close()

    def _give_up(self, why: str, stopped: bool) -> None:
        self.line.trouble = why
        self.line.lost += len(self._waiting)
        logger.warning("%s", why)
        self._tell_marks(kept=False)
        with self.line.at_work:
            self._close()
        if not stopped:
            discard(self.line)

    def _tell_marks(self, kept: bool = True) -> None:
        for mark in self._marks:
            mark.settle(kept and not self._waiting)
        self._marks.clear()

    def _where(self) -> str:
        return shown_address(self.url)


def _never_fits(problem: Exception) -> bool:
    """True where the entry is at fault and not the database."""
    if isinstance(problem, DataError | IntegrityError):
        return True
    if isinstance(problem, StatementError):
        return not isinstance(problem, DBAPIError)
    return not isinstance(problem, SQLAlchemyError | OSError | MemoryError)


def _upsert(insert: Any) -> Any:
    """A row that is there already was written by an attempt of ours that did not learn so; it may have ended since."""
    statement = insert(generations)
    given = {column.name: statement.excluded[column.name] for column in generations.c if column.name not in FIXED}
    return statement.on_conflict_do_update(
        index_elements=[generations.c.id], set_=given, where=generations.c.outcome.is_(None)
    )


def _alike(changed: dict[str, dict[str, Any]]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for key, values in changed.items():
        parameters = {f"new_{name}": value for name, value in values.items()} | {"of": key}
        if values:
            groups.setdefault(tuple(values), []).append(parameters)
    return groups


def _change(names: tuple[str, ...]) -> Any:
    values: dict[str, Any] = {name: bindparam(f"new_{name}", type_=generations.c[name].type) for name in names}
    if "elapsed" in names:
        values["ended"] = generations.c.started + values["elapsed"]
    statement = update(generations).where(generations.c.id == bindparam("of"), generations.c.outcome.is_(None))
    return statement.values(values)
