"""Runs the flows of one folder for whoever asks over HTTP: each run on its own, its events told as they come.

Runs that were interrupted by an end of the process go on with the next one, where a store keeps them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from hangtight.drivers.clock import wall
from hangtight.drivers.through import through
from hangtight.errors import HangtightError, SettingsError
from hangtight.flows.definition.overriding import value_of
from hangtight.flows.definition.reading import load
from hangtight.flows.definition.steps import NAME
from hangtight.flows.engine import Engine
from hangtight.flows.events import Event, EventType, plain
from hangtight.flows.run.wording import HTTP
from hangtight.journal.entries import Happened
from hangtight.journal.run_rows import NEW_RUN, RunRows, Shares, far_in

if TYPE_CHECKING:
    from hangtight.flows.port import Ended, RunSpec, Steps, Store

ENDINGS: Final = (".yaml", ".yml")
WAITING, RUNNING = "waiting", "running"
REMEMBERED: Final = 100
"""Runs that have ended, for whoever looks."""
LAST_EVENT: Final = 1.0  # seconds in which what a run has told comes here: another thread brings it


class Order(Protocol):
    """What is asked for."""

    @property
    def flow(self) -> str: ...
    @property
    def inputs(self) -> Mapping[str, Any]: ...
    @property
    def total(self) -> float | None: ...
    @property
    def models(self) -> Mapping[str, str]: ...
    @property
    def changes(self) -> Mapping[str, str]: ...


class Stage:
    """Lives in one loop. `workspaces` is the folder in which each run gets one of its own."""

    def __init__(self, folder: Path, workspaces: Path, store: Store | None = None) -> None:
        self.folder, self.workspaces = folder, workspaces
        self.on_event: Callable[[Mapping[str, Any]], object] = lambda told: None
        self._engine = Engine(workspaces, on_event=self._heard, store=store)
        self._engine.words = HTTP
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._kept: dict[str, asyncio.Future[None]] = {}
        """Done when a new run cannot be lost any more."""
        self._runs: dict[str, RunRows] = {}
        self._far: dict[str, Mapping[str, Any]] = {}
        """How far each run is."""
        self._heard_out: dict[str, asyncio.Event] = {}
        """Set when the run has told its end here."""
        self._ended: set[str] = set()
        """Runs whose last event was told."""
        self._shares: dict[str, Shares] = {}
        """What its budget gives each step, by run."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self.address: asyncio.Future[str | None] | None = None
        """Of the gateway that we belong to: its models are asked there. No run begins before it is known."""

    # -- flows ------------------------------------------------------------------------------------------------

    def flows(self) -> list[dict[str, Any]]:
        """All of the folder, also those that cannot be used. Blocks."""
        return [self._told(name, path) for name, path in sorted(self._files().items())]

    def _told(self, name: str, path: Path) -> dict[str, Any]:
        try:
            flow = load(path)
        except HangtightError as error:
            return {"name": name, "trouble": str(error)}
        return {"name": name, "inputs": list(flow.inputs), "steps": list(flow.steps), "total": flow.total}

    def _files(self) -> dict[str, Path]:
        """By name: only what stands in the folder itself, so that no name leads out of it."""
        with suppress(OSError):
            found = [path for path in self.folder.iterdir() if path.suffix in ENDINGS and path.is_file()]
            return {path.stem: path for path in found if NAME.fullmatch(path.stem)}
        return {}

    # -- runs -------------------------------------------------------------------------------------------------

    async def begin(self, order: Order, run: str) -> None:
        """Returns when it is kept. Raises LookupError for a flow that is not there, SettingsError for what cannot be
        meant, ConnectionError where it cannot be kept."""
        spec = await asyncio.to_thread(self._prepared, order, run)
        kept = self._kept[run] = asyncio.get_running_loop().create_future()
        self._start(spec)
        await asyncio.shield(kept)  # whoever asks may leave meanwhile

    def _prepared(self, order: Order, run: str) -> RunSpec:
        path = self._files().get(order.flow)
        if path is None:
            raise LookupError(order.flow)
        changes = {place: value_of(place, value) for place, value in order.changes.items()}
        spec, _ = self._engine.prepared(
            path, total=order.total, models=order.models, changes=changes, run_id=run, inputs=order.inputs
        )
        return replace(spec, workspace=str((self.workspaces / run).absolute()))

    def _start(self, spec: RunSpec) -> None:
        self._loop = asyncio.get_running_loop()
        while len(self._runs) > REMEMBERED + len(self._tasks):
            oldest = next(run for run in self._runs if run not in self._tasks)
            del self._runs[oldest]
            self._far.pop(oldest, None)
            self._shares.pop(oldest, None)
        rows = self._runs[spec.id] = RunRows()
        rows.runs[spec.id] = {
            "flow": spec.flow, "source": spec.source, "workspace": spec.workspace, "began": spec.began,
            "deadline": spec.deadline, "status": WAITING,
        }  # fmt: skip
        self._heard_out[spec.id] = asyncio.Event()
        task = self._tasks[spec.id] = self._loop.create_task(self._run(spec))
        task.add_done_callback(lambda _: self._over(spec))

    def _over(self, spec: RunSpec) -> None:
        self._tasks.pop(spec.id, None)
        self._heard_out.pop(spec.id, None)
        if self._loop is not None:
            self._loop.call_later(LAST_EVENT, self._make_sure, spec)

    def _make_sure(self, spec: RunSpec) -> None:
        """Whoever follows a run to its end learns of it, also where the run itself never came to say so."""
        if spec.id not in self._ended and spec.id in self._runs:
            row = self._runs[spec.id].runs[spec.id]
            told = {name: row.get(name) for name in ("outcome", "elapsed", "error")}
            self.on_event(plain(Event(EventType.RUN_FINISHED, spec.id, spec.flow, wall(), told=told)))
        self._ended.discard(spec.id)

    async def _run(self, spec: RunSpec) -> None:
        row = self._runs[spec.id].runs[spec.id]
        try:
            if spec.id in self._kept and not await self._keep(spec):
                return
            ended = await self._engine.store.run(spec, self._body)
            await self._last_words(spec)
        except asyncio.CancelledError:
            elapsed = wall() - spec.began
            row |= {"outcome": row.get("outcome") or "cancelled", "elapsed": elapsed, "ended": spec.began + elapsed}
            raise
        except Exception as error:  # noqa: BLE001 - the store may fail in any way; whoever asks is told
            row |= {"outcome": "failed", "error": str(error)}
            return
        row |= {
            "outcome": ended.outcome, "error": ended.error, "elapsed": ended.elapsed, "at_step": ended.step,
            "ended": spec.began + ended.elapsed,
        }  # fmt: skip

    async def _body(self, spec: RunSpec, steps: Steps) -> Ended:
        address = None if self.address is None else await asyncio.shield(self.address)
        with through(address):
            return await self._engine.body(spec, steps)

    async def _last_words(self, spec: RunSpec) -> None:
        """A run may be over in the record before its steps have told their ends: it is shown as over with them."""
        if self._runs[spec.id].runs[spec.id]["status"] == RUNNING:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_EVENT):
                    await self._heard_out[spec.id].wait()

    async def _keep(self, spec: RunSpec) -> bool:
        kept = self._kept[spec.id]
        failure: BaseException = ConnectionError("no run is begun any more: this process ends")
        try:
            await self._engine.store.begin(spec, self._body)
            kept.set_result(None)
            return True
        except SettingsError as odd:
            failure = odd
        except Exception as problem:  # noqa: BLE001 - as above
            from hangtight.journal.store import in_short

            failure = ConnectionError(f"the run cannot be kept: {in_short(problem)}")
        finally:
            del self._kept[spec.id]
            if not kept.done():
                del self._runs[spec.id]
                kept.set_exception(failure)
        return False

    async def go_on(self, specs: Iterable[RunSpec]) -> int:
        """Those of them that were begun here in a life before; how many."""
        own = [spec for spec in specs if Path(spec.workspace).parent == self.workspaces.absolute()]
        for spec in own:
            if spec.id not in self._tasks:
                self._start(spec)
        return len(own)

    async def cancel(self, run: str) -> bool:
        """Also one that is just being begun."""
        if run in self._kept:
            await asyncio.wait({self._kept[run]})
        return await self._engine.cancel(run)

    async def close(self) -> None:
        """Runs are ended here. What a store keeps can go on later."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._engine.aclose()

    # -- how they stand ---------------------------------------------------------------------------------------

    def shown(self) -> list[dict[str, Any]]:
        """The newest first, without their steps."""
        return [self._row(run) for run in reversed(self._runs)]

    def one(self, run: str) -> dict[str, Any] | None:
        if run not in self._runs:
            return None
        rows = {step: row for (_, step), row in self._runs[run].steps.items()}
        return {**self._row(run), "steps": self._shares.get(run, Shares()).with_all(rows)}

    def _row(self, run: str) -> dict[str, Any]:
        row = {**NEW_RUN, "id": run, **self._runs[run].runs[run], **self._far.get(run, {})}
        row["status"] = row["outcome"] or row["status"]
        return {name: value for name, value in row.items() if name not in ("first_seen", "steps")}

    def _heard(self, event: Event) -> None:
        """In a thread of the run."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended, and nobody looks any more
                self._loop.call_soon_threadsafe(self._take, event)

    def _take(self, event: Event) -> None:
        rows = self._runs.get(event.run)
        if rows is not None and (far := far_in(event.told, event.at)):
            self._far[event.run] = far
        if rows is not None:
            self._shares.setdefault(event.run, Shares()).hear(event.type, event.step, event.told)
        if rows is not None and event.type in (EventType.RUN_STARTED, EventType.RUN_RESUMED):
            rows.runs[event.run]["status"] = RUNNING
        if rows is not None and event.type not in (EventType.RUN_STARTED, EventType.RUN_FINISHED):
            rows.add(0, Happened(event.run, event.at, event.type, event.flow, event.step, event.payload, event.told))
            rows.events.clear()
        if event.type is EventType.RUN_FINISHED:
            if rows is not None:  # who hears of the end and looks finds it
                rows.runs[event.run] |= {"ended": event.at} | {
                    name: event.told[name] for name in ("outcome", "error", "elapsed") if name in event.told
                }
            self._ended.add(event.run)
            if event.run in self._heard_out:
                self._heard_out[event.run].set()
        self.on_event(plain(event))
