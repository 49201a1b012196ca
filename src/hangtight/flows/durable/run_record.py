"""What the database knows of a run, in our words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from hangtight.errors import SettingsError
from hangtight.flows.durable import tables
from hangtight.flows.durable.dbos_thread import APPLICATION, PARKED, SHARED, WORKFLOW, portable
from hangtight.flows.port import Ended, RunSpec

if TYPE_CHECKING:
    from dbos import DBOSClient, WorkflowStatus
    from sqlalchemy import Engine

    from hangtight.flows.durable.leases import Leases, StepDone

OWN: Final = "hangtight-"
"""The queue of one process: its name, with this before it."""
OPEN: Final = ("waiting", "running", "interrupted")


@dataclass(frozen=True, slots=True)
class Known:
    """A run."""

    spec: RunSpec
    status: str
    """`waiting`, `running`, `interrupted`, or how it ended: `finished`, `failed`, `timeout`, `cancelled`."""
    updated: float
    """Seconds since the epoch."""
    worker: str = ""
    queue: str = ""
    ended: Ended | None = None
    steps: tuple[StepDone, ...] = ()
    """Those that have finished, in the order in which they did. Of one run alone, not in a list."""

    @property
    def holder(self) -> str:
        """The process that does it, or is about to; nothing where any worker may."""
        return self.worker or ("" if self.queue in (SHARED, PARKED) else self.queue.removeprefix(OWN))


def plain(spec: RunSpec) -> dict[str, Any]:
    """As it is kept. Refuses what would not come back as it is."""
    told = {each.name: getattr(spec, each.name) for each in fields(spec)}
    told = {name: dict(value) if isinstance(value, Mapping) else value for name, value in told.items()}
    try:
        kept: dict[str, Any] = json.loads(json.dumps(told, allow_nan=False))
    except (TypeError, ValueError) as odd:
        raise SettingsError(f"run {spec.id}", str(odd), "plain JSON: a run must be told to other processes") from odd
    return kept


def must_be_the_same(asked: RunSpec, kept: RunSpec) -> None:
    """Nobody who asks for something else gets what another flow has put out, or what came of other inputs."""
    if asked.flow != kept.flow:
        raise SettingsError("run_id", asked.id, f"another one: with this a run of the flow {kept.flow} was begun")
    if plain(asked)["inputs"] != kept.inputs:
        raise SettingsError("run_id", asked.id, "another one: with this a run was begun that was given other inputs")


def spec_of(kept: Mapping[str, Any]) -> RunSpec:
    """What a newer version has added is left alone."""
    names = {each.name for each in fields(RunSpec)}
    return RunSpec(**{name: value for name, value in kept.items() if name in names})


def ended_of(kept: Mapping[str, Any]) -> Ended:
    return Ended(**{each.name: kept[each.name] for each in fields(Ended) if each.name in kept})


def known_of(status: WorkflowStatus) -> Known:
    kept = status.input["args"][0] if status.input else {"id": status.workflow_id, "flow": "", "source": ""}
    spec = spec_of(kept)
    updated = (status.updated_at or status.created_at or 0) / 1000
    ended: Ended | None = None
    match status.status:
        case "SUCCESS":
            ended = ended_of(status.output or {"outcome": "finished"})
        case "CANCELLED":
            ended = Ended("cancelled", elapsed=max(0.0, updated - spec.began))
        case "ERROR" | "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
            said = str(status.error) if status.error else "its workers died again and again"
            ended = Ended("failed", error=said, elapsed=max(0.0, updated - spec.began))
        case "PENDING" | "ENQUEUED" | "DELAYED":
            pass
    at = "running" if status.status == "PENDING" else "interrupted" if status.queue_name == PARKED else "waiting"
    return Known(
        spec=spec,
        status=ended.outcome if ended else at,
        updated=updated,
        worker=(status.executor_id or "") if status.status == "PENDING" else "",
        queue=status.queue_name or "",
        ended=ended,
    )


class Files:
    """Asks and changes the record, from any process; does no runs. All of it blocks."""

    def __init__(self, engine: Engine, leases: Leases) -> None:
        self._engine, self._leases = engine, leases
        self._made: DBOSClient | None = None

    def exist(self) -> bool:
        """Nothing is made by looking."""
        from sqlalchemy import inspect

        schema = None if self._leases.is_sqlite else "dbos"
        there = inspect(self._engine)
        if not (there.has_table("workflow_status", schema=schema) and there.has_table(tables.version.name)):
            return False
        with self._engine.connect() as connection:
            return tables.check(connection)

    @property
    def client(self) -> DBOSClient:
        if self._made is None:
            from dbos import DBOSClient

            self._made = DBOSClient(
                system_database_engine=self._engine,
                serializer=portable(),
                application_name=APPLICATION,
                lazy=True,
                retry_connection_errors=False,
            )
        return self._made

    def all(self, limit: int) -> list[Known]:
        if not self.exist():
            return []
        found = self.client.list_workflows(name=WORKFLOW, limit=limit, sort_desc=True)
        return [known_of(each) for each in found]

    def one(self, run: str, *, steps: bool = False) -> Known | None:
        if steps and not self.exist():
            return None
        for each in self.client.list_workflows(name=WORKFLOW, workflow_ids=[run]):
            known = known_of(each)
            return replace(known, steps=tuple(self._leases.steps_of(run))) if steps else known
        return None

    def as_they_stand(self, found: list[Known], lost: float) -> list[Known]:
        """Also those whose process has died, and nobody was there to see it: they are interrupted."""
        if not any(each.holder for each in found):
            return found
        living = self._leases.living(lost)
        return [
            replace(each, status="interrupted")
            if each.holder and not each.ended and each.holder not in living
            else each
            for each in found
        ]

    def runs_of(self, worker: str, *, waiting: bool = True) -> list[str]:
        """What it was doing, and those that wait for their turn there."""
        light: dict[str, Any] = {"name": WORKFLOW, "load_input": False, "load_output": False}
        doing = self.client.list_workflows(executor_id=worker, status="PENDING", **light)
        if waiting:
            doing += self.client.list_workflows(queue_name=OWN + worker, status="ENQUEUED", **light)
        return [each.workflow_id for each in doing]

    def send(self, run: str, queue: str) -> None:
        """To whoever listens there. A run that ended early begins again behind the steps that it has finished."""
        known = self.one(run)
        if known is not None and known.status in (*OPEN, "cancelled"):
            self.client.resume_workflow(run, queue_name=queue)
        elif known is not None and known.status != "finished":
            self.client.rewind_workflow(run, start_step=1, queue_name=queue)

    def remove(self, run: str) -> None:
        """All that is kept of it. It stands in the list until the last of it is gone."""
        self._leases.remove(run)
        self.client.delete_workflow(run)

    def close(self) -> None:
        if self._made is not None:
            self._made.destroy()
