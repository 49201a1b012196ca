"""DBOS at home: its state is process-wide, so it lives once, in a thread with a loop of its own, and leaves the loop
and the threads of the caller alone."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hangtight.errors import HangtightError

if TYPE_CHECKING:
    from dbos import DBOS
    from sqlalchemy import Engine

APPLICATION: Final = "hangtight"
WORKFLOW: Final = "hangtight_run"
VERSION: Final = "hangtight-runs-1"
"""Of how runs are kept, not of the program: an update of hangtight goes on with what an older one began."""
SHARED: Final = "hangtight-runs"
"""The queue of all workers."""
PARKED: Final = "hangtight-parked"
"""Nobody listens here: a run that was stopped, until it is asked for again."""
POLL: Final = 0.2
THREADS: Final = {"sqlite": 4, "postgresql": 12}
"""Of DBOS. SQLite writes one thing at a time, and its waiters would only get in one another's way."""
PATIENCE: Final = 10.0
Entry = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
T = TypeVar("T")


class Home:
    """DBOS, launched. `entry` does a run whose turn it is. Raises what keeps it from starting."""

    def __init__(self, engine: Engine, me: str, listens: list[str], entry: Entry, at_once: int | None = None) -> None:
        _move_in(self)
        self._at_once = at_once
        self._engine, self._me, self._listens, self.entry = engine, me, listens, entry
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._dbos: DBOS | None = None
        self.loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self._thread = threading.Thread(target=self._live, name="hangtight-runs", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            _move_out(self)
            raise self._failure

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Have it done at home, from any loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def close(self) -> None:
        """All threads have ended when this returns. It takes up to a second."""
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        _move_out(self)

    def _live(self) -> None:
        from dbos import DBOS

        try:
            asyncio.run(self._stay())
        except BaseException as failure:  # noqa: BLE001 - who waits for us to be ready must learn of it
            self._failure = failure
        finally:
            self._give_up()
            DBOS.destroy()
            self._ready.set()

    def _give_up(self) -> None:
        """A thread of DBOS that waits for its database waits for ever, and the end of the process for that thread."""
        database = getattr(self._dbos, "_sys_db_field", None)
        if database is not None:
            database._retry_connection_errors = False

    async def _stay(self) -> None:
        from dbos import DBOS, DBOSConfig

        self.loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        _be_quiet()
        _register()
        settings: DBOSConfig = {
            "name": APPLICATION,
            "system_database_engine": self._engine,
            "application_version": VERSION,
            "executor_id": self._me,
            "serializer": portable(),
            "log_level": "CRITICAL",
            "use_listen_notify": False,  # we wait for nothing that is told in this way
            "notification_listener_polling_interval_sec": 0.1,  # with nothing to look for; it bounds the closing
            "max_executor_threads": THREADS[self._engine.dialect.name],
        }
        self._dbos = DBOS(config=settings)
        DBOS.listen_queues(self._listens)
        DBOS.launch()
        if self._at_once is not None:
            _bound(self._dbos, self._at_once)
        if SHARED in self._listens:
            await listen(SHARED)
        self._ready.set()
        await self._over.wait()


def _bound(dbos: DBOS, at_once: int) -> None:
    """So many runs of each queue here. DBOS would keep that number with the queue: one for all processes, which may be
    of very different size."""
    database = dbos._sys_db
    take = database.start_queued_workflows

    def bounded(queue: Any, *given: Any, **more: Any) -> Any:
        queue._worker_concurrency = at_once
        return take(queue, *given, **more)

    database.start_queued_workflows = bounded  # type: ignore[method-assign]


_at_home: Home | None = None
_door: Final = threading.Lock()


def _move_in(new: Home) -> None:
    global _at_home  # noqa: PLW0603 - DBOS's own state is as global
    with _door:
        if _at_home is not None:
            raise HangtightError(
                "runs are kept by another Durable of this process already: close() it first, or use that one"
            )
        _at_home = new


def _move_out(old: Home) -> None:
    global _at_home  # noqa: PLW0603
    with _door:
        if _at_home is old:
            _at_home = None


def portable() -> Any:
    """Plain JSON in the database, no pickles: another language may read it, and nothing in it runs."""
    from dbos import DBOSPortableJSONSerializer

    return DBOSPortableJSONSerializer()


def _be_quiet() -> None:
    """Without a handler DBOS would give itself one that writes to the terminal."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _register() -> None:
    """Once in a process; the run then goes to whoever lives here."""
    global _registered  # noqa: PLW0603
    if _registered:
        return
    from dbos import DBOS

    @DBOS.workflow(name=WORKFLOW)
    async def hangtight_run(spec: dict[str, Any]) -> dict[str, Any]:
        home = _at_home
        if home is None:
            raise HangtightError("nobody does runs here any more")
        return await home.entry(spec)

    globals()["hangtight_run"] = hangtight_run
    _registered = True


_registered = False


async def listen(queue: str) -> None:
    """At home: to one of those queues that were named at the beginning. It takes up to a second."""
    from dbos import DBOS

    await DBOS.register_queue_async(queue, polling_interval_sec=POLL)


async def start(run: str, spec: dict[str, Any]) -> Any:
    """At home: begin it here and now. Returns DBOS's handle."""
    from dbos import DBOS, SetWorkflowID

    with SetWorkflowID(run):
        return await DBOS.start_workflow_async(globals()["hangtight_run"], spec)


async def result_of(run: str, spec: dict[str, Any] | None = None) -> Any:
    """At home: what it has put out, begun here with `spec`, or by whoever has it."""
    from dbos import DBOS

    if spec is not None:
        handle = await start(run, spec)
    else:
        handle = await DBOS.retrieve_workflow_async(run)
    return await handle.get_result(polling_interval_sec=POLL)
