"""A driver in virtual time: it obeys the orders of a process, and a script says how the model server behaves."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from hangtight.core.process.facts import (
    Entered,
    Exited,
    Fact,
    Gone,
    Healthy,
    Left,
    PutAway,
    Rest,
    SleepDone,
    SleepFailed,
    Spawned,
    SpawnFailed,
    Stubborn,
    WakeDone,
    WakeFailed,
    Wanted,
    Why,
)
from hangtight.core.process.machine import Process
from hangtight.core.process.orders import (
    BreakOff,
    CutOff,
    FellBack,
    Kill,
    Open,
    Order,
    Probe,
    ProbeNoMore,
    RunSleep,
    RunWake,
    Start,
    Stop,
    Tell,
    TurnAway,
)
from hangtight.core.process.phases import Phase
from hangtight.core.process.terms import Terms
from hangtight.core.time import NEVER, Instant, Seconds, after

NEVER_ENDS = Seconds(1e9)
SLEEP = PutAway(Rest.SLEEP, Why.SWAP)


@dataclass(slots=True, kw_only=True)
class Script:
    """How long each thing takes, and what goes wrong."""

    start: Seconds = Seconds(5.0)
    sleep: Seconds = Seconds(2.0)
    wake: Seconds = Seconds(1.0)
    stop: Seconds = Seconds(1.0)
    no_command: str = ""
    sleep_fails: str = ""
    wake_fails: str = ""
    survives: str = ""


def twin(process: Process) -> Process:
    """Another that is just like it."""
    other = copy.copy(process)
    other.failures = copy.copy(process.failures)
    return other


class World:
    """`now` only moves by `run`. What was told stands in `lines`, as the log would have it."""

    def __init__(self, terms: Terms, script: Script | None = None, model: str = "gpt-oss-20b") -> None:
        self.now = Instant(0.0)
        self.script = script or Script()
        self.model = model
        self.process = Process(terms, self.now)
        self.due: dict[str, tuple[Instant, Fact]] = {}
        self.lines: list[str] = []
        self.orders: list[Order] = []
        self.waiting = 0
        self.refused: list[TurnAway] = []
        self.errors: list[str] = []
        self.enters = True
        """Who waits goes in as soon as it may."""

    def phase(self) -> Phase:
        return self.process.phase

    def want(self, *, insists: bool = False) -> None:
        """A request comes; it waits, unless it may go in at once."""
        self.waiting += 1
        self.tell(Wanted(insists))

    def tell(self, fact: Fact) -> None:
        self._obey(self.process.record(fact, self.now))

    def run(self, until: float) -> None:
        """Everything that happens up to then, in its order; what comes at the instant of an alarm comes before it."""
        while True:
            name = min(self.due, key=lambda name: self.due[name][0], default=None)
            at = NEVER if name is None else self.due[name][0]
            first = min(at, self.process.next_wakeup())
            if first > until:
                break
            self.now = max(self.now, first)
            if name is not None and at <= first:
                self.tell(self.due.pop(name)[1])
            else:
                self._obey(self.process.wake(self.now))
        self.now = Instant(until)

    def kinds(self) -> list[str]:
        """The orders so far, without what is only told."""
        return [type(order).__name__ for order in self.orders if not isinstance(order, Tell)]

    def _later(self, name: str, length: Seconds, fact: Fact) -> None:
        self.due[name] = after(self.now, length), fact

    def _obey(self, orders: tuple[Order, ...]) -> None:
        self.orders += orders
        for order in orders:
            self._do(order)

    def _do(self, order: Order) -> None:
        script = self.script
        match order:
            case Start():
                fact = SpawnFailed(script.no_command) if script.no_command else Spawned(100)
                self._later("spawn", Seconds(0.0), fact)
            case Probe():
                self._later("probe", script.start, Healthy())
            case ProbeNoMore():
                self.due.pop("probe", None)
            case RunSleep():
                failed = SleepFailed(script.sleep_fails) if script.sleep_fails else SleepDone()
                self._later("command", script.sleep, failed)
            case RunWake():
                woken = WakeFailed(script.wake_fails) if script.wake_fails else WakeDone()
                self._later("command", script.wake, woken)
            case BreakOff():
                self.due.pop("command", None)
            case Stop():
                self._later("end", script.stop, Gone())
            case Kill():
                self._later("end", Seconds(0.1), Stubborn(script.survives) if script.survives else Gone())
            case Open():
                entering, self.waiting = self.waiting, 0
                for _ in range(entering if self.enters else 0):
                    self.tell(Entered())
            case CutOff():
                self._later("cut", Seconds(0.0), Left())
            case TurnAway():
                self.refused.append(order)
                self.waiting = 0
            case FellBack(error):
                self.errors.append(error)
            case Tell(level, words):
                self.lines.append(f"{f'[{level}]':<7} <{self.model}> {words}")

    def crash(self, why: str = "exit code 1") -> None:
        self.due.pop("end", None)
        self.tell(Exited(why))


def ready(terms: Terms, script: Script | None = None, *, busy: bool = False) -> World:
    """A world whose model is ready at 5; with one request inside where it is busy."""
    world = World(terms, script)
    world.want()
    world.run(5.0)
    if not busy:
        world.tell(Left())
    world.lines.clear()
    world.orders.clear()
    return world


def sleeper(**lengths: Seconds) -> Terms:
    return Terms(can_sleep=True, **lengths)  # type: ignore[arg-type]


def asleep(terms: Terms, script: Script | None = None) -> World:
    world = ready(terms, script)
    world.tell(SLEEP)
    world.run(10.0)
    assert world.phase() is Phase.ASLEEP
    world.lines.clear()
    world.orders.clear()
    return world
