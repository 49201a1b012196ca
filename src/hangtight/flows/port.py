"""Where runs live: the narrow port behind which a durable engine stands, or nothing but memory.

A run is told completely by its `RunSpec`, which is plain JSON: another process, on another machine, can go on with it.
The engine brings the body of a run; the store calls it, here or wherever a worker takes the run up, and keeps what its
steps have put out: a step that has finished is never done twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

AT_ONCE: Final = 50
"""Runs that one process does for others, where nobody says it: each may have many steps, and commands in them."""
Json = Any
"""What `json.dumps` can write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One run, from its beginning on."""

    id: str
    flow: str
    """The name of the flow."""
    source: str
    """Where it comes from: `flows/quarkus.yaml`, or `module:flow`."""
    definition: Json = None
    """The flow itself, where it is data: an edit of its file does not change a run that has begun."""
    inputs: Mapping[str, Json] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    """Other models, by step."""
    changes: Mapping[str, Json] = field(default_factory=dict)
    """Other settings of steps, as `--set coder.total=900` gives them."""
    workspace: str = "."
    began: float = 0.0
    """Seconds since the epoch, as is the deadline: both survive a crash."""
    deadline: float | None = None
    heartbeat: float | None = 15.0
    timeout: float | None = 300.0
    """Of a step that says nothing itself."""
    longer: str = "total={value}"
    """The line to change for another deadline, and that for a setting of a step in `changes`: as they are typed where
    the run was asked for."""
    sets: str = 'changes: "{name}": {value}'


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended. Plain JSON, too."""

    outcome: str
    """`finished`, `failed`, `timeout`, `cancelled`."""
    error: str = ""
    step: str = ""
    """At which step it ended early."""
    elapsed: float = 0.0


Work = Callable[[], Awaitable[Json]]
"""One attempt of a step after the other, until it has put something out. May be cancelled."""


class Hold:
    """By what right a run is done here. Of this one nobody can take it: it lives nowhere else."""

    __slots__ = ()

    def stopped(self) -> str:
        """What it means for the run that its body is told to stop: `cancelled`; `interrupted`, where it goes on later;
        nothing, where somebody else does it now."""
        return "cancelled"

    def sure(self) -> bool:
        """Whether it is still ours, as far as that can be said at once."""
        return True

    async def ours(self) -> bool:
        """The same, asked where it is not known. What ends early is told only after that."""
        return True


class Steps(Protocol):
    """What the body of a run calls for each of its steps."""

    @property
    def hold(self) -> Hold:
        """By what right."""

    @property
    def resumed(self) -> bool:
        """Some steps were done in a life before this one."""

    async def __call__(self, name: str, work: Work) -> Json:
        """What the step has put out: done now, or recorded before. Raises what the step raises."""


@dataclass(frozen=True, slots=True)
class Calling:
    """Steps that are done by a function."""

    step: Callable[[str, Work], Awaitable[Json]]
    resumed: bool = False
    hold: Hold = field(default_factory=Hold)

    async def __call__(self, name: str, work: Work) -> Json:
        return await self.step(name, work)


Body = Callable[[RunSpec, Steps], Awaitable[Ended]]


class Store(Protocol):
    """Keeps runs and has them done."""

    async def begin(self, spec: RunSpec, body: Body) -> None:
        """Keep a new one, and return when it cannot be lost. It is done here in its turn; `run` waits for its end."""

    async def run(self, spec: RunSpec, body: Body) -> Ended:
        """Do it here, and wait for its end. One that is known already goes on where it was."""

    async def outputs(self, run: str) -> Mapping[str, Json]:
        """By step, of those that have ended well, as far as that is kept."""

    async def cancel(self, run: str) -> bool:
        """End it wherever it is done; False where nobody knows it, or it has ended."""

    async def close(self) -> None:
        """Nothing is done here any more."""


class InMemory:
    """A store that forgets: for runs that need not survive us. `at_once` bounds them; the others wait."""

    def __init__(self, at_once: int | None = None) -> None:
        import asyncio

        self._tasks: dict[str, asyncio.Task[Ended]] = {}
        self._room = nullcontext() if at_once is None else asyncio.Semaphore(at_once)

    async def begin(self, spec: RunSpec, body: Body) -> None:
        import asyncio

        self._tasks[spec.id] = asyncio.ensure_future(self._in_turn(spec, body))

    async def _in_turn(self, spec: RunSpec, body: Body) -> Ended:
        async def step(name: str, work: Work) -> Json:
            return await work()

        async with self._room:
            return await body(spec, Calling(step))

    async def run(self, spec: RunSpec, body: Body) -> Ended:
        if spec.id not in self._tasks:
            await self.begin(spec, body)
        try:
            return await self._tasks[spec.id]
        finally:
            del self._tasks[spec.id]

    async def outputs(self, run: str) -> Mapping[str, Json]:
        return {}

    async def cancel(self, run: str) -> bool:
        task = self._tasks.get(run)
        return task is not None and task.cancel()

    async def close(self) -> None:
        """Nothing is kept."""
