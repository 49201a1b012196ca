"""`hangtight.budget`: one deadline over a whole task, which every call of ours inside inherits."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import parse_qsl, urlencode
from weakref import WeakSet

from hangtight.core import budget as core
from hangtight.core.pauses import PERSON
from hangtight.core.time import Instant, Seconds, plain, spoken
from hangtight.drivers import clock
from hangtight.drivers.budget.marks import Marks
from hangtight.drivers.budget.parts import checked_name, parts_of, seconds
from hangtight.drivers.budget.shares import Share, current
from hangtight.drivers.standing import recorder, settings
from hangtight.errors import BudgetSpent, SettingsError

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType
    from typing import Self

    from hangtight.drivers.record import Record

P = ParamSpec("P")
T = TypeVar("T")

HEADER = "X-Hangtight-Budget"
"""Under this name `to_header()` travels, where it travels over HTTP."""
FIELDS = 16  # of a header; it has three
LONGEST = 1e9  # seconds; what really is left is set afterwards, and may be less than minimums ask for
BUDGET_STILL = "the budget has not begun: use `with`"


class Budget:
    """A time budget for a task, in seconds, from `with` on. Steps share it out; calls inside cannot outlive it.

    `steps` names them with their weights, or with `"low"`, `"high"`, `"critical"`, or with all of it:
    `{"weight": 2, "minimum": 10, "priority": "high"}`. What a step is allotted is soft: when it is used up
    `on_wrap_up` is told, and `should_wrap_up` is true. `reserve` is kept at the end for work without a model.
    `hard=True` (with `async with`) interrupts the block itself when the time is over.

    >>> with Budget(120, steps={"analyze": 1, "plan": 1, "generate": "critical"}) as task:
    ...     [round(task.allotted(step)) for step in ("analyze", "plan", "generate")]
    [36, 36, 48]
    """

    change = ""
    """The line to change, as a template; empty where it is the one that made it."""

    def __init__(
        self,
        total: float,
        *,
        steps: Mapping[str, Any] | Iterable[str] = (),
        reserve: float = 0.0,
        hard: bool = False,
        name: str = "",
        on_wrap_up: Callable[[Step], object] | None = None,
    ) -> None:
        self.asked = seconds("budget", total)
        self.reserve = seconds("reserve", reserve, least=0.0)
        self.parts = parts_of(steps, settings().priorities)
        self.hard = hard
        if inspect.iscoroutinefunction(on_wrap_up) and clock.loop_here() is None:
            raise SettingsError("on_wrap_up", on_wrap_up, "a plain function, where no event loop runs")
        self.name = checked_name("name", name) or os.urandom(4).hex()
        """How it is known in the journal: as a run."""
        kept = self.reserve + sum(part.minimum for part in self.parts.values())
        if kept > self.asked:
            wanted = f"more than the {plain(kept)} seconds of its reserve and of its steps' minimums"
            raise SettingsError("budget", total, wanted)
        self.total = self.asked
        """What there is: what was asked for, or less where a budget around it has less."""
        self.now: Callable[[], Instant] = clock.now
        self.of_step = ""
        """The step of the task in another process that this one works for."""
        self.around: Share | None = None
        self.records: WeakSet[Record] = WeakSet()
        """The journal's of the generations under way."""
        self._on_wrap_up = on_wrap_up
        self._machine: core.Budget | None = None
        self.begun: core.Budget
        """The machine, for those who stand inside: there it is one."""
        self._lock = Lock()
        self._share: Share | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._marks: Marks | None = None
        self._scope: asyncio.Timeout | None = None

    # -- the block --------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self.hard:
            raise SettingsError("hard", True, "left out, or given with `async with`: a thread cannot be interrupted")
        return self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    async def __aenter__(self) -> Self:
        self._begin()
        if self.hard:
            import asyncio

            self._loop = asyncio.get_running_loop()
            self._scope = asyncio.timeout(self.remaining())
            await self._scope.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope, self._scope = self._scope, None
        self._end()
        if scope is None:
            return
        try:
            await scope.__aexit__(kind, error, trace)
        except TimeoutError:
            if not scope.expired():
                raise
            raise self.spent(Share(self, None), 0.0, 0.0) from None

    def _begin(self) -> Self:
        if self._machine is not None:
            raise RuntimeError("this budget has been used already: make another one")
        self.around = current()
        self.now = clock.here().now
        if self.around is not None:
            self.total = min(self.asked, self.around.left())
        machine = core.Budget(Seconds(self.total), self.parts, self.now(), reserve=Seconds(self.reserve))
        self._machine = self.begun = machine
        if self._on_wrap_up is not None or recorder() is not None:
            self._marks = Marks(self._machine, self.now, self._lock, self._tell)
        self._share = Share(self, None)
        self._share.enter()
        return self

    def _end(self) -> None:
        if self._marks is not None:
            self._marks.stop()
        if self._share is not None:
            self._share.leave()

    # -- how it stands ----------------------------------------------------------------------------------------

    @property
    def machine(self) -> core.Budget:
        if self._machine is None:
            raise RuntimeError(BUDGET_STILL)
        return self._machine

    def remaining(self) -> float:
        """Seconds that are left of the task, its reserve included."""
        return self.asked if self._machine is None else self._machine.remaining(self.now())

    @property
    def elapsed(self) -> float:
        """Seconds since it began, without those in which a person was waited for."""
        return 0.0 if self._machine is None else self._machine.elapsed(self.now())

    @property
    def exhausted(self) -> bool:
        """Nothing is left for another call."""
        return self._machine is not None and self._machine.exhausted(self.now())

    def allotted(self, step: str) -> float:
        """Seconds that this step is given, as things stand. Soft: passing it asks to wrap up, and ends nothing."""
        with self._lock:
            return self.machine.allotted(self._known(step), self.now())

    def planned(self) -> dict[str, float]:
        """Seconds that each step is given if all take what they are given, as it stands before the first one."""
        return core.shared_out(max(0.0, self.total - self.reserve), self.parts)

    # -- steps ------------------------------------------------------------------------------------------------

    def step(self, name: str) -> Step:
        """The block of one step: `with task.step("plan"):` or `async with`."""
        return Step(self, self._known(name))

    def _known(self, name: str) -> str:
        if self.parts and name not in self.parts:
            raise SettingsError("step", name, f"one of {', '.join(self.parts)}")
        return name

    def note(self, fact: core.Fact) -> None:
        """Something happened to the task."""
        with self._lock:
            self.machine.record(fact, self.now())
        if self._marks is not None:
            self._marks.changed()
        if self._scope is not None and isinstance(fact, core.Halted | core.Resumed):
            self._move_the_end()

    def _move_the_end(self) -> None:
        """A person stops the clock that interrupts, too."""
        scope, loop = self._scope, self._loop
        if scope is None or loop is None or scope.expired():
            return
        if clock.loop_here() is not loop:
            loop.call_soon_threadsafe(self._move_the_end)
            return
        scope.reschedule(None if self.machine.halted else loop.time() + self.remaining())

    def _tell(self, name: str) -> object:
        for record in list(self.records):
            record.wrapped_up(name)
        return self._on_wrap_up(Step(self, name)) if self._on_wrap_up is not None else None

    @contextmanager
    def paused(self, owner: str) -> Iterator[None]:
        """While the block runs the time of the task, and of all around it, stands still, if `owner` is a person."""
        with ExitStack() as stack:
            for task in self._with_all_around() if owner == PERSON else ():
                task.note(core.Halted())
                stack.callback(task.note, core.Resumed())
            yield

    def _with_all_around(self) -> Iterator[Budget]:
        task: Budget | None = self
        while task is not None:
            yield task
            task = task.around.budget if task.around is not None else None

    # -- elsewhere --------------------------------------------------------------------------------------------

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call this function inside the budget, whatever thread we are in: `pool.submit(task.run, function, ...)`.

        If one step is under way and no other, it counts for that step.
        """
        running = list(self.machine.running)
        return _run_in(Share(self, running[0] if len(running) == 1 else None), function, *args, **kwargs)

    def to_header(self) -> str:
        """What is left, as text for another process: `from_header` takes it up there."""
        left, step, here = self.remaining(), "", current()
        if self._machine is not None:
            own = here if here is not None and here.budget is self else Share(self, None)
            left, step = own.left(), own.step or ""
        return urlencode({"remaining": f"{left:.3f}", "run": self.name, "step": step})

    @classmethod
    def from_header(cls, header: str, **settings: Any) -> Budget:
        """The budget of another process, from now on: it can only be shorter here."""
        wanted = "what `to_header()` gave: remaining=41.250&run=..."
        try:
            fields = parse_qsl(header, keep_blank_values=True, max_num_fields=FIELDS)
            told = dict(fields)
            if len(told) < len(fields) or not told["remaining"].isascii() or "_" in told["remaining"]:
                raise ValueError(header)
            left = seconds(HEADER, float(told["remaining"]), least=0.0)
        except (KeyError, ValueError, TypeError, AttributeError):
            raise SettingsError(HEADER, header, wanted) from None
        budget = cls(LONGEST, **{"name": checked_name(HEADER, told.get("run", "")), **settings})
        budget.total = budget.asked = left
        budget.of_step = checked_name(HEADER, told.get("step", ""))
        return budget

    def spent(self, share: Share, left: float, needed: float) -> BudgetSpent:
        """The error for a call that cannot fit any more."""
        error, step = BudgetSpent(), share.step
        error.remaining, error.needed, error.step = left, needed, step or ""
        error.total, error.elapsed = self.total, self.elapsed
        where = f"step {step}" if step else "the task"
        wants = f"; {where} needs {spoken(needed)}" if needed else ""
        error.add_note(f"the budget of {spoken(self.total)} timed out: {spoken(left)} are left for {where}{wants}")
        error.add_note(f"to have longer:  {share.parent[1].format()}")
        return error


budget = Budget
"""As people know it: `with hangtight.budget(120) as task:`."""


class Step:
    """One step of a task."""

    def __init__(self, budget: Budget, name: str) -> None:
        self.budget = budget
        self.name = name
        self._shares: list[Share] = []

    def __enter__(self) -> Self:
        self.budget.note(core.Begun(self.name))
        share = Share(self.budget, self.name)
        share.enter()
        self._shares.append(share)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here = current()  # of several tasks that are inside each leaves its own
        share = here if here is not None and here in self._shares else self._shares[-1]
        self._shares.remove(share)
        share.leave()
        self.budget.note(core.Ended(self.name))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    @property
    def allotted(self) -> float:
        """Seconds that it is given. Soft."""
        return self.budget.allotted(self.name)

    @property
    def elapsed(self) -> float:
        """Seconds that it has run."""
        return self.budget.machine.spent(self.name, self.budget.now())

    @property
    def should_wrap_up(self) -> bool:
        """It has used what was allotted to it."""
        return self.budget.machine.should_wrap_up(self.name, self.budget.now())

    def remaining(self) -> float:
        """Seconds that a call in it may take at most: hard."""
        return Share(self.budget, self.name).left()

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call this function inside the step, whatever thread we are in: `pool.submit(step.run, function, ...)`."""
        return _run_in(Share(self.budget, self.name), function, *args, **kwargs)


def _run_in(share: Share, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    share.enter()
    try:
        return function(*args, **kwargs)
    finally:
        share.leave()
