"""The laws of the process machine, and a search for a history that breaks one.

The search records any fact that is legal, also such that no driver would ever have: what holds then, holds.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from hangtight.core.process.facts import (
    Adopted,
    Entered,
    Exited,
    Fact,
    Gone,
    Healthy,
    Hung,
    Left,
    LoadProgress,
    Progressed,
    PutAway,
    Renewed,
    Rest,
    SleepDone,
    SleepFailed,
    Slept,
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
    FellBack,
    Kill,
    Open,
    Order,
    Probe,
    ProbeNoMore,
    RunSleep,
    RunWake,
    Start,
    Tell,
    TurnAway,
)
from hangtight.core.process.phases import RESTING, IllegalFact, Phase
from hangtight.core.process.terms import Terms
from hangtight.core.time import FOREVER, NEVER, Instant, Seconds
from tests.core.process.world import twin

MOST_RINGS = 12  # start, drain, sleep, wake, stop and kill, and once again after a restart
RESTED = (*RESTING, Phase.READY)
LENGTHS = st.sampled_from([1.0, 3.0, 20.0, 120.0]).map(Seconds)
TERMS = st.builds(
    Terms,
    start=LENGTHS,
    stall=st.none() | LENGTHS,
    sleep=LENGTHS,
    wake=LENGTHS,
    stop=LENGTHS,
    kill=LENGTHS,
    drain=LENGTHS,
    ttl=LENGTHS | st.just(FOREVER),
    hang=LENGTHS,
    can_sleep=st.booleans(),
    has_stop=st.booleans(),
    most_failures=st.integers(1, 4),
)
FACTS: st.SearchStrategy[Fact] = st.one_of(
    st.builds(Wanted, st.booleans()),
    st.builds(PutAway, st.sampled_from(Rest), st.sampled_from(Why), st.booleans()),
    st.builds(Renewed, TERMS),
    st.sampled_from(
        [
            Adopted(1),
            Spawned(2),
            SpawnFailed("no"),
            LoadProgress(),
            Healthy(),
            Exited("exit code 1"),
            Entered(),
            Entered(FOREVER),
            Left(),
            Left(patience=FOREVER),
            Progressed(),
            SleepDone(),
            SleepFailed("no"),
            WakeDone(),
            WakeFailed("no"),
            Gone(),
            Stubborn("pid 1"),
            Hung("it goes on"),
            Slept(Seconds(5.0)),
        ]
    ),
)


def kinds(orders: tuple[Order, ...]) -> list[type[Order]]:
    return [type(order) for order in orders if not isinstance(order, Tell)]


class ProcessLaws(RuleBasedStateMachine):
    @initialize(terms=TERMS)
    def begin(self, terms: Terms) -> None:
        self.now = Instant(0)
        self.process = Process(terms, self.now)
        self.waits = False
        self.alive = False
        self.probing = self.commanding = False

    @rule(fact=FACTS, moves=st.sampled_from([0.0, 0.25, 5.0]))
    def something_happens(self, fact: Fact, moves: float) -> None:
        self.now = Instant(self.now + moves)
        try:
            orders = self.process.record(fact, self.now)
        except IllegalFact:
            return
        self.waits = self.waits or isinstance(fact, Wanted)
        if isinstance(fact, Gone | SpawnFailed | Exited):
            self.alive = False
        elif isinstance(fact, Adopted):
            self.alive = True
        if isinstance(fact, SleepDone | SleepFailed | WakeDone | WakeFailed):
            self.commanding = False
        self.obey(orders)

    @rule(late=st.sampled_from([0.0, 0.25, 500.0]))
    def the_alarm_rings(self, late: float) -> None:
        at = self.process.next_wakeup()
        if at == NEVER:
            return
        early, prompt = twin(self.process), twin(self.process)
        if at > self.now:
            assert early.wake(self.now) == ()
            assert early.snapshot(self.now) == self.process.snapshot(self.now)
        self.now = max(self.now, Instant(at + late))
        orders = self.process.wake(self.now)
        assert orders, "an alarm that rings has something to say"
        assert kinds(prompt.wake(max(at, self.now))) == kinds(orders)
        assert prompt.phase is self.process.phase, "late or not, it comes to the same"
        self.obey(orders)

    def obey(self, orders: tuple[Order, ...]) -> None:
        for order in orders:
            match order:
                case Start():
                    assert not self.alive, "two at a time"
                    self.alive = True
                case Open() | TurnAway():
                    assert self.waits, "nobody waits"
                    self.waits = False
                case Probe():
                    assert not self.probing
                    self.probing = True
                case ProbeNoMore():
                    assert self.probing
                    self.probing = False
                case RunSleep() | RunWake():
                    assert not self.commanding
                    self.commanding = True
                case BreakOff():
                    assert self.commanding
                    self.commanding = False
                case FellBack() | Kill():
                    assert self.process.phase in (Phase.STOPPING, Phase.FAILED, Phase.STARTING)
                case _:
                    pass

    @invariant()
    def who_waits_is_known(self) -> None:
        assert self.process.wanted == self.waits

    @invariant()
    def nobody_waits_where_nothing_will_happen(self) -> None:
        if self.process.phase in RESTED:
            assert not self.waits

    @invariant()
    def only_what_rests_has_no_alarm(self) -> None:
        clock, at = self.process.alarm()
        assert (clock is None) == (self.process.phase in RESTING)
        assert at != NEVER or self.process.phase in RESTED

    @invariant()
    def a_probe_runs_only_in_a_start_and_a_command_only_where_one_should(self) -> None:
        assert not self.probing or self.process.phase is Phase.STARTING
        assert self.commanding == (self.process.phase in (Phase.SLEEPING, Phase.WAKING))

    @invariant()
    def with_nothing_but_its_clocks_it_comes_to_rest_and_answers_who_waits(self) -> None:
        process, rings = twin(self.process), 0
        while process.phase not in RESTED:
            process.wake(process.next_wakeup())
            rings += 1
            assert rings <= MOST_RINGS, f"it goes round in circles, and is {process.phase}"
        assert not process.wanted

    @invariant()
    def a_wish_to_put_it_away_stays_only_as_long_as_it_is_up(self) -> None:
        assert self.process.leaving is None or self.process.phase not in RESTING


def test_no_history_breaks_a_law() -> None:
    run_state_machine_as_test(ProcessLaws, settings=settings(max_examples=200, stateful_step_count=40, deadline=None))
