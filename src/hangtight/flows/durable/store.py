"""Runs that survive us: kept by DBOS, on SQLite or PostgreSQL, behind the port.

A run is one workflow of DBOS, and its `RunSpec` the workflow's input, so another life goes on with the same deadline.
Its steps are not steps of DBOS, which are numbered in the order in which they begin: ours run side by side, in another
order in each life. They are kept by name, in a table of ours.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hangtight.drivers.clock import wall
from hangtight.errors import HangtightError
from hangtight.flows.durable import dbos_thread
from hangtight.flows.durable.databases import is_away, opened
from hangtight.flows.durable.dbos_thread import PARKED, POLL, SHARED, Home
from hangtight.flows.durable.holding import Place, Running
from hangtight.flows.durable.leases import Leases, Taken, result
from hangtight.flows.durable.liveness import BEAT, LOST, Pulse
from hangtight.flows.durable.names import new_name
from hangtight.flows.durable.recording import AGAIN, Recording
from hangtight.flows.durable.run_record import OPEN, OWN, Files, Known, ended_of, must_be_the_same, plain, spec_of
from hangtight.flows.port import Calling, Ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangtight.flows.port import Body, Json, RunSpec, Work

ASKING: Final = 4
"""Threads that ask the database, so that no loop waits for it."""
GONE: Final = 0.01
T = TypeVar("T")


class Durable:
    """A store of runs. To look at runs, to resume and to cancel them launches nothing; `run`, `submit` and `work`
    launch DBOS, of which there is one in a process."""

    def __init__(self, url: str, *, beat: float = BEAT, lost: float = LOST, at_once: int | None = None) -> None:
        """`at_once` bounds what is done here of each queue; the others wait. What `run` begins by itself does not."""
        self.me = new_name()
        self._beat, self._lost, self._at_once = beat, lost, at_once
        self._engine = opened(url)
        self._leases = Leases(self._engine, self.me)
        self.files = Files(self._engine, self._leases)
        self._threads = ThreadPoolExecutor(ASKING, "hangtight-asking")
        self._launching = threading.Lock()
        self._closing = threading.Event()
        self._home: Home | None = None
        self._pulse: Pulse | None = None
        self._recording: Recording | None = None
        self._places: dict[str, Place] = {}
        self._workplace: Place | None = None
        self._running: dict[str, Running] = {}
        self._entered: set[str] = set()
        self._idle: set[str] = set()

    async def run(self, spec: RunSpec, body: Body) -> Ended:
        """Do it here, and wait for its end. Where another process does it, that is waited for; where that dies, or the
        run has ended early, it goes on here. Who stops waiting stops the run, which can go on later."""
        told = plain(spec)
        await self._launch(resumes=spec.id)
        place = self._places.get(spec.id)
        if place is None or not place.begun:
            place = self._place(spec, body)
        waited, place.begun = place.begun, False
        try:
            while (ended := await self._once(spec, told, place, waited)) is None:
                waited = True
                await asyncio.sleep(POLL)
            return ended
        except asyncio.CancelledError:
            if self._closing.is_set():
                raise HangtightError(f"the store was closed while run {spec.id} was done: it can go on later") from None
            await asyncio.shield(self._leave([spec.id]))
            raise
        finally:
            del self._places[spec.id]

    async def begin(self, spec: RunSpec, body: Body) -> None:
        """Keep it: when this returns it cannot be lost. It is done here in its turn, and `run` waits for its end."""
        told = plain(spec)
        await self._launch()
        self._place(spec, body).begun = True
        try:
            await self._ask(self._hear_of_ours)
            await self._ask(self._enqueue, spec.id, told, OWN + self.me)
        except BaseException:
            del self._places[spec.id]
            raise

    def _place(self, spec: RunSpec, body: Body) -> Place:
        if spec.id in self._places:
            raise HangtightError(f"run {spec.id} is done here already")
        place = self._places[spec.id] = Place(asyncio.get_running_loop(), body)
        return place

    async def submit(self, spec: RunSpec) -> None:
        """For whichever worker is free."""
        told = plain(spec)
        await self._launch()
        await self._ask(self._enqueue, spec.id, told, SHARED)

    def _enqueue(self, run: str, told: dict[str, Any], queue: str) -> None:
        about = {"workflow_name": dbos_thread.WORKFLOW, "workflow_id": run, "app_version": dbos_thread.VERSION}
        self.files.client.enqueue({**about, "queue_name": queue}, told)  # type: ignore[typeddict-item]

    async def work(self, body: Body) -> None:
        """Do what was submitted, until this is cancelled; what is not done then is for the other workers."""
        if self._home is not None:
            raise HangtightError("this process does runs of its own already: a worker is a process for itself")
        self._workplace = Place(asyncio.get_running_loop(), body)
        await self._launch(works=True)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.shield(self.close())

    async def list_runs(self, limit: int = 100) -> list[Known]:
        """The newest first, without their steps."""
        return await self._ask(lambda: self.files.as_they_stand(self.files.all(limit), self._lost))

    async def show(self, run: str) -> Known | None:
        """With the steps that it has finished."""

        def found() -> Known | None:
            known = self.files.one(run, steps=True)
            return None if known is None else self.files.as_they_stand([known], self._lost)[0]

        return await self._ask(found)

    async def outputs(self, run: str) -> dict[str, Json]:
        """By step, of those that have finished, and by piece."""
        return {each.name: each.output for each in await self._patiently(self._leases.steps_of, run)}

    async def resume(self, run: str) -> bool:
        """Give it to the workers; False where nobody knows it, it is being done, or has finished."""
        known = await self.show(run)
        if known is None or known.status in ("running", "finished"):
            return False
        await self._ask(self.files.send, run, SHARED)
        return True

    async def cancel(self, run: str) -> bool:
        """End it wherever it is done; False where nobody knows it, or it has ended."""
        known = await self.show(run)
        if known is None or known.status not in OPEN:
            return False
        await self._ask(self.files.client.cancel_workflow, run)
        await self._ask(self._leases.stop, run)
        if run in self._running:
            self._running[run].stop("cancelled")
        return True

    async def close(self) -> None:
        """Nothing is done here any more: what is not done can go on elsewhere, and no thread of ours is left."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._home is not None:
            await self._leave(list(self._running))
        await asyncio.get_running_loop().run_in_executor(None, self._shut)

    def _shut(self) -> None:
        with self._launching:
            self._end()

    def _end(self) -> None:
        if self._home is not None and self._pulse is not None and self._recording is not None:
            self._pulse.close()
            self._home.close()
            self._recording.close()
            try:
                self.files.client.delete_queue(OWN + self.me)
                self._leases.forget(self.me)
            except Exception as problem:  # the others see then that we do not live
                if not is_away(problem):
                    raise
        self._threads.shutdown()
        self.files.close()
        self._engine.dispose()

    async def _launch(self, *, works: bool = False, resumes: str = "") -> None:
        if self._pulse is None and not self._closing.is_set():
            await self._ask(self._once_only, works, resumes)
        if self._closing.is_set():
            raise HangtightError("this Durable is closed")

    def _once_only(self, works: bool, resumes: str) -> None:
        with self._launching:
            if self._pulse is None and not self._closing.is_set():
                self._begin(works, resumes)

    def _begin(self, works: bool, resumes: str) -> None:
        if self.files.exist():
            if works:
                self.files.client.register_queue(SHARED, polling_interval_sec=POLL)
            if resumes and self.files.one(resumes) is not None:
                self._hear_of_ours()
        self._leases.prepare()
        self._leases.renew()  # before a run can be ours
        self._recording = Recording(self._leases)
        queues = [OWN + self.me, SHARED] if works else [OWN + self.me]
        try:
            self._home = Home(self._engine, self.me, queues, self._entry, self._at_once)
        except BaseException:
            self._recording.close()
            self._leases.forget(self.me)
            raise
        bury = self._bury if works else None
        self._pulse = Pulse(self._leases, self._look, self._mend, bury, beat=self._beat, lost=self._lost)

    async def _ask(self, question: Callable[..., T], *given: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, question, *given)

    async def _patiently(self, question: Callable[..., T], *given: Any) -> T:
        """Until the database answers."""
        attempt = 0
        while True:
            try:
                return await self._ask(question, *given)
            except Exception as problem:
                if not is_away(problem) or self._closing.is_set():
                    raise
            await asyncio.sleep(AGAIN[min(attempt, len(AGAIN) - 1)])
            attempt += 1

    async def _once(self, spec: RunSpec, told: dict[str, Any], place: Place, waited: bool) -> Ended | None:
        """None where it is done elsewhere. An end that was waited for is the end, whatever it is."""
        from dbos import error

        assert self._home is not None
        known = await self._patiently(self.files.one, spec.id)
        if known is not None:
            must_be_the_same(spec, known.spec)
            if known.status == "finished" or (waited and known.ended is not None):
                return known.ended
            if not await self._brought_here(known):
                return None
        try:
            kept = await self._home.do(dbos_thread.result_of(spec.id, told if known is None else None))
        except (error.DBOSAwaitedWorkflowCancelledError, error.DBOSWorkflowCancelledError):
            return place.ended or Ended("cancelled", elapsed=max(0.0, wall() - spec.began))
        except Exception:
            if place.raised is not None:
                raise place.raised from None
            raise
        return ended_of(kept)

    async def _brought_here(self, known: Known) -> bool:
        """False as long as somebody else has it who lives."""
        assert self._pulse is not None
        run, alive = known.spec.id, self._pulse.alive
        if known.holder == self.me:
            return True
        if known.status in OPEN and known.holder in alive:
            return False
        if known.status == "running" and not await self._patiently(self._leases.claim, run, alive):
            return False
        await self._patiently(self._hear_of_ours)
        await self._patiently(self.files.send, run, OWN + self.me)
        return True

    async def _entry(self, told: dict[str, Any]) -> dict[str, Any]:
        """At home, called by DBOS: it is this run's turn."""
        spec = spec_of(told)
        place = self._places.get(spec.id, self._workplace)
        self._entered.add(spec.id)
        try:
            if place is None:
                await self._patiently(self.files.send, spec.id, PARKED)
                raise Taken(f"run {spec.id} came to a process whose caller has gone")
            epoch, done = await self._patiently(self._leases.take, spec.id)
            doing = asyncio.run_coroutine_threadsafe(self._live(spec, place, epoch, done), place.loop)
            ended: Ended = await asyncio.wrap_future(doing)
            return asdict(ended)
        except Exception:
            if self._closing.is_set():  # that we go is no end of the run
                raise asyncio.CancelledError from None
            raise
        finally:
            self._entered.discard(spec.id)

    async def _live(self, spec: RunSpec, place: Place, epoch: int, done: dict[str, Json]) -> Ended:
        """In the loop of whoever brought the body."""
        assert self._recording is not None
        task = asyncio.current_task()
        assert task is not None
        running = self._running[spec.id] = Running(task, place.loop, epoch, lambda: self._pulse, self._look_now)
        put = self._recording.put

        async def step(name: str, work: Work) -> Json:
            if name not in done:
                began = wall()
                put_out = result(spec.id, epoch, name, await work(), began)
                try:
                    await asyncio.wrap_future(put(put_out))
                except Taken:
                    running.stop("taken")
                    raise
                done[name] = put_out.plain
            return done[name]

        try:
            ended = await place.body(spec, Calling(step, resumed=bool(done), hold=running))
        except asyncio.CancelledError:
            if running.why == "":
                raise
            ended = Ended("cancelled", elapsed=max(0.0, wall() - spec.began))
        except BaseException as broken:
            place.raised = broken
            raise
        finally:
            if self._running.get(spec.id) is running:
                del self._running[spec.id]
        if running.why == "taken":
            raise Taken(f"run {spec.id} was taken by another worker")
        if running.why == "left":
            raise asyncio.CancelledError
        place.ended = ended
        return ended

    async def _leave(self, runs: list[str]) -> None:
        """Stop them here, in whatever state they are; they can go on later, those of a worker at once."""
        here = {run: running for run in runs if (running := self._running.get(run)) is not None}
        for running in here.values():
            running.stop("left")
        try:
            async with asyncio.timeout(dbos_thread.PATIENCE):
                while any(self._running.get(run) is running for run, running in here.items()):  # noqa: ASYNC110
                    await asyncio.sleep(GONE)  # they may be tasks of other loops
        except TimeoutError:
            pass
        for run in runs:
            try:
                await self._ask(self._hand_back, run)
            except Exception as problem:
                if not is_away(problem):
                    raise

    def _hand_back(self, run: str) -> None:
        known = self.files.one(run)
        if known is not None and known.status == "running" and known.worker == self.me:
            self.files.send(run, SHARED if run not in self._places else PARKED)

    async def _look_now(self) -> None:
        try:
            await self._ask(self._look)
        except Exception as problem:  # what the others do cannot be seen, so it is ours
            if not is_away(problem):
                raise

    def _look(self) -> None:
        """In the thread of the pulse. Who runs is asked first: what is taken meanwhile may not be in the answer."""
        before = dict(self._running)
        if not before:
            return
        standing = self._leases.standing()
        for run, running in before.items():
            epoch, stopping = standing.get(run, (None, False))
            if epoch != running.epoch:
                running.stop("taken")
            elif stopping:
                running.stop("cancelled")

    def _mend(self) -> None:
        """In the thread of the pulse. DBOS may lose a run that it gave us while its database went away: it is ours
        then, and nobody does it. Two looks tell it from one that is just being taken, or written down."""
        idle = {run for run in self.files.runs_of(self.me, waiting=False) if run not in self._entered}
        for run in idle & self._idle:
            if run in self._places:
                self._hear_of_ours()
            self.files.send(run, OWN + self.me if run in self._places else SHARED if self._workplace else PARKED)
        self._idle = idle - self._idle

    def _hear_of_ours(self) -> None:
        """Who took us for dead has deleted it. DBOS looks for queues when it begins, and then once a second."""
        if self.files.client.retrieve_queue(OWN + self.me) is None:
            self.files.client.register_queue(OWN + self.me, polling_interval_sec=POLL)

    def _bury(self, worker: str) -> None:
        """In the thread of the pulse: what a dead worker did is given to the living."""
        assert self._pulse is not None
        for run in self.files.runs_of(worker):
            if self._leases.claim(run, self._pulse.alive):
                self.files.send(run, SHARED)
        self.files.client.delete_queue(OWN + worker)
        self._leases.forget(worker)
