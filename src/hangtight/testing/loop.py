"""An event loop whose clock jumps: an hour of slow tokens takes milliseconds.

The clock starts at 0.0 and moves only when nothing is left to do: then it jumps to the next timer. Where no timer is
left and nothing outside can wake the loop, it says who waits where (`Deadlock`) instead of waiting too.

What it knows of, and waits for in real time while its clock stands still: work given to `run_in_executor` or
`asyncio.to_thread` (name look-ups too), and whatever happens inside `with loop.hold():`.

What it cannot promise:

- Real sockets live in real time. Before each jump they get `grace` real seconds to become ready. Where both ends are
  on this loop and on loopback that is enough; a peer in another thread or process that thinks longer is jumped over.
- It does not see threads that it did not hand out (`threading.Thread`, anyio's workers). Hold the clock for them.
- A thread that it handed out and that itself waits for a timer of this loop waits for ever: the clock stands still
  for it. So does the loop, for `patience` real seconds, and then reports that.
- Child processes are refused: none of their time is virtual.
"""

import asyncio
import gc
import inspect
import math
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Events = list[tuple[selectors.SelectorKey, int]]

GRACE = 0.001  # epoll's own resolution; loopback delivers within microseconds
PATIENCE = 30.0  # half of what our tests allow one test


class Deadlock(RuntimeError):
    """Nothing is ready, no timer is set and nothing outside can wake the loop; the message says who waits where."""


class TasksLeft(AssertionError):
    """The coroutine came to its end and left tasks behind; the message names them."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that jumps to its next timer instead of waiting for it.

    `grace`: real seconds that real sockets get before each jump. `patience`: real seconds to wait for threads, sockets
    and signals when only they can wake the loop; after that it is a `Deadlock` too.
    """

    virtual = True  # by this the drivers know to read `loop.time()` and not the machine's clock

    _scheduled: list[asyncio.TimerHandle]
    _clock_resolution: float

    def __init__(self, *, grace: float = GRACE, patience: float = PATIENCE) -> None:
        self._now = 0.0
        self._grace = grace
        self._patience = patience
        self._holds = 0
        self._threads: Executor | None = None
        self._sources = _Sources(self._wait)
        super().__init__(self._sources)

    @classmethod
    def here(cls) -> "JumpingLoop":
        """The running loop, which must be a jumping one."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, cls):
            raise RuntimeError(f"needs a JumpingLoop, runs on {type(loop).__name__}")
        return loop

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def suspend(self, seconds: float) -> None:
        """The machine slept: it is later at once, and every timer due meanwhile runs late, at the new time.

        Only from the loop's own thread.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"a machine sleeps for a finite time that is not negative, not for {seconds}")
        self._move_to(self._now + seconds)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the clock where it is: something that the loop cannot see will wake it.

        Only from the loop's own thread.
        """
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    def set_default_executor(self, executor: ThreadPoolExecutor) -> None:  # type: ignore[override]
        """As in asyncio, which takes nothing but thread pools either."""
        super().set_default_executor(executor)
        self._threads = executor

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As in asyncio; the clock stands still until the work is done, even where its future was cancelled before."""
        if executor is None:
            if self._threads is None:
                self.set_default_executor(ThreadPoolExecutor(thread_name_prefix="jumping"))
            executor = self._threads
            assert executor is not None
        work: Future[T] = executor.submit(func, *args)
        result = asyncio.wrap_future(work, loop=self)
        # After wrap_future's own callback: the loop must get the result before it may jump again.
        self._holds += 1
        work.add_done_callback(self._work_is_done)
        return result

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """As in asyncio, without its time limit: that would count virtual seconds for real threads."""
        with self.hold():
            await super().shutdown_default_executor()

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        raise RuntimeError("a JumpingLoop starts no child processes: their time is real; use an ordinary loop")

    subprocess_shell = subprocess_exec

    def _work_is_done(self, work: Future[T]) -> None:
        try:
            self.call_soon_threadsafe(self._release)
        except RuntimeError:
            if not self.is_closed():
                raise

    def _release(self) -> None:
        self._holds -= 1

    def _move_to(self, instant: float) -> None:
        self._now = max(self._now, instant)
        # asyncio runs what is due before now + resolution; from 1e7 s on a nanosecond vanishes in that sum, and a
        # timer that is due exactly now would never run.
        self._clock_resolution = max(1e-9, math.ulp(self._now))

    def _wait(self, timeout: float | None) -> Events:
        """What `select` does on this loop: look, then jump; wait really only for what lives outside."""
        events = self._sources.look(0)
        if events or timeout == 0:
            return events
        # The timer itself and not `timeout`: that is cut to a day, and adding it would round. One at infinity is none.
        alarm = self._scheduled[0].when() if self._scheduled else math.inf
        if self._holds:
            return self._wait_outside()
        if alarm == math.inf:
            return self._wait_outside() if self._outside() else self._report("no timer is set")
        if self._sources.real():
            events = self._sources.look(self._grace)
        if not events:
            self._move_to(alarm)
        return events

    def _wait_outside(self) -> Events:
        events = self._sources.look(self._patience)
        return events or self._report(f"{self._outside()} did not wake the loop in {self._patience:g} real seconds")

    def _outside(self) -> str:
        """What outside of the loop could still wake it; empty: nothing."""
        counted = {
            "hold(s) of the clock (threads at work)": self._holds,
            "socket(s)": self._sources.real(),
            "signal handler(s)": len(getattr(self, "_signal_handlers", ())),
        }
        return ", ".join(f"{count} {what}" for what, count in counted.items() if count)

    def _report(self, why: str) -> NoReturn:
        lines = [_describe(task) for task in _in_order(asyncio.all_tasks(self))]
        raise Deadlock(
            "\n  ".join([f"stuck at {self._now:g}s: nothing is ready, {why}; waiting:", *(lines or ["no task"])])
        )


def jumping(main: Coroutine[Any, Any, T]) -> T:
    """Run one coroutine to its end on a fresh jumping loop and close everything; a task left behind is an error."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        result = runner.run(main)
        left = _in_order(asyncio.all_tasks(runner.get_loop()))
        if left:
            raise TasksLeft("\n  ".join(["left behind:", *map(_describe, left)]))
        return result


def _describe(task: "asyncio.Task[Any]") -> str:
    """The task's name and the line where it waits: the innermost one outside of asyncio."""
    frames = list(_frames(task.get_coro()))
    ours = [frame for frame in frames if frame.f_globals.get("__package__") != "asyncio"] or frames
    if not ours:
        return f"{task.get_name()}: {task.get_coro()!r}"
    frame = ours[-1]
    what = "" if frame is frames[-1] else f" (in asyncio: {frames[-1].f_code.co_qualname})"
    return f"{task.get_name()}: {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}{what}"


class _Sources(selectors.DefaultSelector):
    """The real selector; whoever waits on it asks the loop."""

    def __init__(self, wait: Callable[[float | None], Events]) -> None:
        super().__init__()
        self._wait = wait

    def select(self, timeout: float | None = None) -> Events:
        return self._wait(timeout)

    def look(self, seconds: float) -> Events:
        return super().select(seconds)

    def real(self) -> int:
        """How many sources there are beside the pipe by which the loop wakes itself."""
        return len(self.get_map()) - 1


def _in_order(tasks: "set[asyncio.Task[Any]]") -> "list[asyncio.Task[Any]]":
    return sorted(tasks, key=lambda task: (len(task.get_name()), task.get_name()))


def _frames(waiting: object) -> Iterator[FrameType]:
    """The frames of a suspended coroutine, outermost first, through everything that it awaits."""
    seen: set[int] = set()
    while waiting is not None and id(waiting) not in seen:
        seen.add(id(waiting))
        for kind in ("cr", "ag", "gi"):
            frame = getattr(waiting, f"{kind}_frame", None)
            if frame is not None:
                yield frame
                waiting = getattr(waiting, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
                break
        else:
            waiting = _hidden(waiting)


def _hidden(wrapper: object) -> object:
    """What `async for` and `__await__` wrap: they have no attribute for it, but the collector knows."""
    if type(wrapper).__name__ not in {
        "async_generator_asend",
        "async_generator_athrow",
        "coroutine_wrapper",
        "anext_awaitable",
    }:
        return None
    return next((o for o in gc.get_referents(wrapper) if inspect.isasyncgen(o) or inspect.isawaitable(o)), None)
