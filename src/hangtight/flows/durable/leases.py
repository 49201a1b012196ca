"""Who does which run, and what its steps have put out: tables of ours beside those of DBOS.

A worker shows that it lives by counting up its `beats`. Nobody compares clocks: who sees the same count for a while
takes the worker for dead. Each time that a run is taken, its `epoch` goes up. A result is written together with the
question whether the epoch is still the writer's, in one transaction: who was taken for dead and wakes up, writes
nothing.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Float, cast, column, delete, literal_column, select, table, text, update

from hangtight.drivers.clock import wall
from hangtight.errors import HangtightError
from hangtight.flows.durable import tables
from hangtight.flows.durable.names import is_gone
from hangtight.flows.durable.tables import STEP_COLUMNS, holds, steps, workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Engine, Table

    from hangtight.flows.port import Json

LOCK_KEY: Final = 0x68616E68  # one above the journal's: both may live in one database
WALL: Final = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch FROM clock_timestamp())",
}
"""The clock of the database: of one alone, whoever asks."""


class Taken(HangtightError):
    """Another worker does this run now: nothing more of ours counts."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a step has put out, and by whose leave."""

    run: str
    epoch: int
    step: str
    output: str
    began: float
    ended: float

    @property
    def plain(self) -> Json:
        """As another life would see it."""
        return json.loads(self.output)


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step in the record."""

    name: str
    output: Json
    began: float
    ended: float


class Leases:
    """The questions and answers. All of them block: they are asked in threads."""

    def __init__(self, engine: Engine, me: str) -> None:
        self.engine, self.me = engine, me
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._clock = cast(literal_column(WALL[engine.dialect.name]), Float)
        self._theirs = table(
            "workflow_status",
            column("workflow_uuid"),
            column("status"),
            column("executor_id"),
            schema=None if self.is_sqlite else "dbos",
        )

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that has its turn from its first question on."""
        with self.engine.begin() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def _insert(self, into: Table) -> Any:
        from sqlalchemy.dialects import postgresql, sqlite

        return sqlite.insert(into) if self.is_sqlite else postgresql.insert(into)

    def prepare(self) -> None:
        with self._writing() as connection:
            if not self.is_sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))
            tables.make(connection)

    def renew(self) -> None:
        """Here I am. Whoever has taken me for dead has taken my runs, too: `standing` tells."""
        with self._writing() as connection:
            mine = self._insert(workers).values(id=self.me, beats=1, seen=self._clock)
            again = {"beats": workers.c.beats + 1, "seen": self._clock}
            connection.execute(mine.on_conflict_do_update(index_elements=["id"], set_=again))

    def beats(self) -> dict[str, int]:
        with self.engine.connect() as connection:
            return {row.id: row.beats for row in connection.execute(select(workers))}

    def living(self, lost: float) -> frozenset[str]:
        """Who has shown of late that it lives, for one that looks only once. To take a run it must be looked longer."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(workers.c.id).where(workers.c.seen > self._clock - lost))
            return frozenset(row.id for row in rows if not is_gone(row.id))

    def forget(self, worker: str) -> None:
        with self._writing() as connection:
            connection.execute(delete(workers).where(workers.c.id == worker))

    def take(self, run: str) -> tuple[int, dict[str, Json]]:
        """My epoch of it, and what its steps have put out. Raises Taken where DBOS has given it to somebody else."""
        theirs = self._theirs.c
        with self._writing() as connection:
            asked = select(theirs.status, theirs.executor_id).where(theirs.workflow_uuid == run)
            row = connection.execute(asked.with_for_update(read=True)).one_or_none()
            if row is None or row.status != "PENDING" or row.executor_id != self.me:
                raise Taken(f"run {run} is not given to this worker any more")
            taken = self._insert(holds).values(run=run, worker=self.me, epoch=1, stopping=False)
            again = {"worker": self.me, "epoch": holds.c.epoch + 1, "stopping": False}
            epoch = connection.execute(
                taken.on_conflict_do_update(index_elements=["run"], set_=again).returning(holds.c.epoch)
            ).scalar_one()
            done = connection.execute(select(steps.c.step, steps.c.output).where(steps.c.run == run)).all()
        return epoch, {row.step: json.loads(row.output) for row in done}

    def claim(self, run: str, alive: Iterable[str]) -> bool:
        """Take it from the dead, so that only one of the living hands it on. From now on the dead write nothing."""
        with self._writing() as connection:
            free = holds.c.worker.notin_(list(alive))
            claimed = {"worker": self.me, "epoch": holds.c.epoch + 1}
            if connection.execute(update(holds).where(holds.c.run == run, free).values(claimed)).rowcount:
                return True
            new = self._insert(holds).values(run=run, worker=self.me, epoch=1, stopping=False)
            return bool(connection.execute(new.on_conflict_do_nothing()).rowcount)

    def stop(self, run: str) -> None:
        with self._writing() as connection:
            connection.execute(update(holds).where(holds.c.run == run).values(stopping=True))

    def standing(self) -> dict[str, tuple[int, bool]]:
        """What I hold: run, epoch, and whether somebody wants it to stop."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(holds).where(holds.c.worker == self.me))
            return {row.run: (row.epoch, row.stopping) for row in rows}

    def drop(self, runs: Sequence[str]) -> None:
        """They have ended: nobody holds them."""
        with self._writing() as connection:
            connection.execute(update(holds).where(holds.c.run.in_(runs), holds.c.worker == self.me).values(worker=""))

    def record(self, batch: Sequence[Result]) -> list[bool]:
        """Which of them count; those are in the record when this returns."""
        with self._writing() as connection:
            asked = select(holds.c.run, holds.c.epoch).where(holds.c.run.in_({each.run for each in batch}))
            held = {row.run: row.epoch for row in connection.execute(asked.with_for_update(read=True))}
            mine = [held.get(each.run) == each.epoch for each in batch]
            rows = [
                {name: getattr(each, name) for name in STEP_COLUMNS}
                for each, counts in zip(batch, mine, strict=True)
                if counts
            ]
            if rows:  # a commit whose answer was lost is tried again, and finds its own rows
                connection.execute(self._insert(steps).on_conflict_do_nothing(), rows)
        return mine

    def remove(self, run: str) -> None:
        """What its steps have put out. Who still does it writes nothing any more."""
        with self._writing() as connection:
            for each in (steps, holds):
                connection.execute(delete(each).where(each.c.run == run))

    def steps_of(self, run: str) -> list[StepDone]:
        asked = select(steps).where(steps.c.run == run).order_by(steps.c.ended)
        with self.engine.connect() as connection:
            rows = connection.execute(asked).all()
        return [StepDone(row.step, json.loads(row.output), row.began, row.ended) for row in rows]


def result(run: str, epoch: int, step: str, output: Json, began: float) -> Result:
    """Refuses what is not plain JSON here, and not in a thread where nobody sees it."""
    return Result(run, epoch, step, json.dumps(output, allow_nan=False), began, wall())
