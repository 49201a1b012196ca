"""The engine: gives a flow what it runs with, has it run, and says how it ended."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hangtight.core.limits import UNSET, Unset, checked
from hangtight.drivers import clock
from hangtight.drivers.portal import Portal
from hangtight.errors import SettingsError
from hangtight.flows.definition.as_data import definition, flow_of
from hangtight.flows.definition.overriding import overridden
from hangtight.flows.definition.reading import load
from hangtight.flows.definition.steps import inputs_of
from hangtight.flows.event_delivery import Teller
from hangtight.flows.interval import usual_heartbeat, usual_timeout
from hangtight.flows.port import Ended, InMemory, RunSpec
from hangtight.flows.run.attempt import as_json
from hangtight.flows.run.body import CANCELLED, FINISHED, Running
from hangtight.flows.run.claims import claimed, claimed_in_turn, spare_its_own
from hangtight.flows.run.time_limit import Leftovers
from hangtight.flows.run.wording import PYTHON, of_the_run
from hangtight.rules.errors import one_of

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from hangtight.flows.definition.steps import Flow
    from hangtight.flows.events import Listener
    from hangtight.flows.port import Steps, Store

SETTLING: Final = 5.0  # seconds that `close` waits for what steps have left behind
LAST_WORDS: Final = 1.0
OF_A_PIECE: Final = "/"
"""In the name under which a piece of a step is kept."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended."""

    id: str
    outcome: str
    """`finished`, `failed`, `timeout`, `cancelled`."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """By step, of those that have ended well."""
    elapsed: float = 0.0
    """Seconds since it began, also in a life before."""
    error: str = ""
    """Why it ended early, with the elapsed time."""
    step: str = ""
    """At which step that was."""
    cause: BaseException | None = field(default=None, compare=False)
    """The error itself, where the run was done by this engine."""

    @property
    def finished(self) -> bool:
        return self.outcome == FINISHED


class Engine:
    """Runs flows in a folder. Without a store a run does not survive this process.

    >>> from hangtight.flows import Flow, tool
    >>> with Engine(getfixture("tmp_path")) as engine:      # doctest: +SKIP
    ...     engine.run(Flow("greeting", [tool("hello", "echo hello")])).outputs
    {'hello': 'hello\\n'}
    """

    def __init__(
        self,
        workspace: str | os.PathLike[str] = ".",
        *,
        heartbeat: float | Unset | None = UNSET,
        timeout: float | Unset | None = UNSET,
        on_event: Listener | None = None,
        store: Store | None = None,
    ) -> None:
        self.workspace = Path(workspace)
        self.heartbeat = heartbeat
        self._timeout = timeout if isinstance(timeout, Unset) else checked("timeout", timeout)
        self.words = PYTHON
        """How runs are asked for here, for the lines to change in their errors."""
        self.store: Store = InMemory() if store is None else store
        self._listeners: list[Listener] = [] if on_event is None else [on_event]
        self._asked: dict[str, tuple[RunSpec, Flow]] = {}
        self._lives: dict[str, Running] = {}
        self._leftovers = Leftovers()
        self._portal: Portal | None = None
        self._finalizer: weakref.finalize[..., Engine] | None = None

    @property
    def heartbeat(self) -> float | None:
        """Seconds between two signs of life, None where they are off; of a flow that says nothing itself."""
        return usual_heartbeat() if isinstance(self._heartbeat, Unset) else self._heartbeat

    @heartbeat.setter
    def heartbeat(self, value: float | Unset | None) -> None:
        self._heartbeat = value if isinstance(value, Unset) else checked("heartbeat", value)

    @property
    def timeout(self) -> float | None:
        """Of a step that has none itself, in a flow that has none."""
        return usual_timeout() if isinstance(self._timeout, Unset) else self._timeout

    def listen(self, listener: Listener) -> None:
        """One more who is told the events of all runs that begin from now on, or are taken up."""
        self._listeners.append(listener)

    # -- running ----------------------------------------------------------------------------------------------

    def run(
        self,
        flow: Flow | str | Path,
        *,
        total: float | None = None,
        models: Mapping[str, str] | None = None,
        changes: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        **inputs: Any,
    ) -> Result:
        """The same as `arun`, for code that is not asynchronous. Ctrl-C cancels the run."""
        if self._portal is None:
            self._portal = Portal()
            self._finalizer = weakref.finalize(self, _end, self._portal, self._leftovers)
        told: dict[str, Any] = {"total": total, "models": models, "changes": changes, "run_id": run_id}
        result: Result = self._portal.call(self.arun(flow, **told, **inputs))
        return result

    async def arun(
        self,
        flow: Flow | str | Path,
        *,
        total: float | None = None,
        models: Mapping[str, str] | None = None,
        changes: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        **inputs: Any,
    ) -> Result:
        """Run a flow, or the one of a file or of `module:flow`, to its end. Nothing that a step raises is raised here.

        `total` is for the whole run: only that makes a budget, which the steps share. `models` stand in for those of
        steps, which keep their limits; `changes` are other settings of steps: `{"coder.total": 900}`. What cannot be
        meant is refused with SettingsError before anything begins.
        """
        spec, wanted = self.prepared(flow, total=total, models=models, changes=changes, run_id=run_id, inputs=inputs)
        self._asked[spec.id] = spec, wanted
        try:
            with claimed(spec, wanted):
                ended = await self.store.run(spec, self.body)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            life = self._lives.get(spec.id)
            elapsed = clock.wall() - spec.began if life is None else life.elapsed
            ended = Ended(CANCELLED, "cancelled", elapsed=elapsed)
        finally:
            self._asked.pop(spec.id, None)
            life = self._lives.pop(spec.id, None)
        return await self._result(spec, ended, life)

    def prepared(
        self,
        flow: Flow | str | Path,
        *,
        total: float | None = None,
        models: Mapping[str, str] | None = None,
        changes: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        inputs: Mapping[str, Any],
    ) -> tuple[RunSpec, Flow]:
        """All that tells a run which begins now, and its flow as it will run. Refuses what cannot be meant."""
        raw = load(flow) if isinstance(flow, str | Path) else flow
        wanted = overridden(raw, models, changes)
        given = as_json("inputs", dict(inputs))
        _check_inputs(wanted, given)
        whole = wanted.total if checked("total", total) is None else total
        kept = sum(step.minimum for step in wanted.steps.values())
        if whole is not None and kept > whole:
            raise SettingsError("total", whole, f"at least the {kept:g} seconds of its steps' minimums")
        began = clock.wall()
        source = flow if isinstance(flow, str) else str(flow) if isinstance(flow, Path) else raw.source
        spare_its_own(wanted, source, self.workspace)
        spec = RunSpec(
            id=run_id or os.urandom(6).hex(),
            flow=wanted.name,
            source=source,
            definition=as_json("definition", definition(raw)),
            inputs=given,
            models=dict(models or {}),
            changes=dict(changes or {}),
            workspace=str(self.workspace.absolute()),
            began=began,
            deadline=None if whole is None else began + whole,
            heartbeat=self._heartbeat_of(wanted),
            timeout=self.timeout,
            longer=of_the_run(raw, total, "total" in (changes or {}), self.words),
            sets=self.words.set,
        )
        return spec, wanted

    def _heartbeat_of(self, flow: Flow) -> float | None:
        if isinstance(self._heartbeat, Unset) and not isinstance(flow.heartbeat, Unset):
            return flow.heartbeat
        return self.heartbeat

    async def body(self, spec: RunSpec, steps: Steps) -> Ended:
        """One life of a run, for whoever keeps runs: also of one that another process has begun."""
        asked, given = self._asked.get(spec.id, (None, None))
        flow = given if given is not None and _same_flow(spec, asked) else flow_of(spec)
        tell = Teller(spec, self._listeners)
        life = Running(spec, flow, steps, tell, self._leftovers)
        if asked is not None:
            self._lives[spec.id] = life
        try:
            async with claimed_in_turn(spec, flow) if asked is None else nullcontext():
                return await life.go()
        finally:
            await tell.close()

    async def _result(self, spec: RunSpec, ended: Ended, life: Running | None) -> Result:
        outputs = {} if life is None else dict(life.outputs)
        if life is None or life.error is not None:  # it ended elsewhere, or did not come to what was done before
            kept = await self.store.outputs(spec.id)
            outputs |= {name: value for name, value in kept.items() if OF_A_PIECE not in name}
        cause = None if life is None or ended.outcome == FINISHED else life.error
        return Result(spec.id, ended.outcome, outputs, ended.elapsed, ended.error, ended.step, cause)

    # -- the end ----------------------------------------------------------------------------------------------

    async def cancel(self, run: str) -> bool:
        """End a run wherever it is done; False where nobody knows it, or it has ended."""
        return await self.store.cancel(run)

    def close(self) -> None:
        """End what steps have left behind, and let go of the store."""
        portal = self._portal or Portal()
        self._portal = None
        if self._finalizer is not None:
            self._finalizer.detach()
        if portal.call(self._settled()):
            portal.close()  # else its thread ends with the program, as what is left in it does

    async def _settled(self) -> bool:
        settled = await self._leftovers.settle(SETTLING)
        await self.store.close()
        return settled

    async def aclose(self) -> None:
        """The same for asynchronous code."""
        await self._settled()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _end(portal: Portal, leftovers: Leftovers) -> None:
    """Nobody has the engine any more, or the program ends: processes of steps must not outlive it."""
    if portal.call(leftovers.settle(LAST_WORDS)):
        portal.close()


def _same_flow(kept: RunSpec, asked: RunSpec | None) -> bool:
    """Whether it may be taken as it was given, with its functions: what a run began with does not change."""
    return asked is not None and all(
        getattr(asked, what) == getattr(kept, what) for what in ("flow", "definition", "models", "changes")
    )


def _check_inputs(flow: Flow, given: Mapping[str, Any]) -> None:
    """Everything that the flow needs is given, and nothing that it does not know."""
    known = inputs_of(flow.steps.values())
    for name, must in known.items():
        if must and name not in given:
            raise SettingsError(f"input.{name}", None, f"given: flow {flow.name} needs it")
    for name in given:
        if name not in known:
            told = one_of(known, name) if known else f"left out: flow {flow.name} has no inputs"
            raise SettingsError(f"input.{name}", given[name], told)
