"""The laws of the generation machine, and a search for a history that breaks one.

Instants are quarters of a second, so that sums are exact and `==` means equal.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hangtight.core.facts import (
    Absent,
    Admitted,
    Advised,
    Asked,
    Broke,
    Calling,
    Cancelled,
    Closed,
    Contact,
    Content,
    End,
    Fact,
    Finished,
    Handed,
    Left,
    LoadProgress,
    Paused,
    PrefillProgress,
    Progress,
    Queued,
    Ready,
    Reasoning,
    Resident,
    Resumed,
    Slept,
    Whole,
)
from hangtight.core.generation import Generation
from hangtight.core.orders import Cancel, CancelAgain, Order
from hangtight.core.pauses import PERSON
from hangtight.core.phases import LEGAL, IllegalFact, Outcome, Phase
from hangtight.core.silence import Silence
from hangtight.core.time import FOREVER, NEVER, Instant, Seconds
from hangtight.core.timers import Clocks, Timer, TotalFrom
from hangtight.intent.findings import Act, Doing, Finding

SOONEST = 0.25
SOUND, SUSPECT, LOOP = (Finding(act=act, doing=Doing.CODING) for act in (Act.EXTEND, Act.HOLD, Act.CUT))
ADVICE = (Advised(SOUND), Advised(SOUND), Advised(SUSPECT), Advised(SUSPECT, shorten=True), Advised(LOOP))
STARTS = (Phase.WAITING, Phase.WAITING, Phase.WAITING, Phase.LOADING, Phase.QUEUED, Phase.UNSTREAMED)
OWNERS = ("tool", "child", PERSON)
PLAIN_FACTS: tuple[Fact, ...] = (
    Queued(),
    Admitted(),
    Resident(),
    Whole(),
    Absent(),
    LoadProgress(),
    Ready(),
    PrefillProgress(),
    Contact(),
    Finished(),
)
ENDS: tuple[Fact, ...] = (*map(Closed, End), Broke(), Left(), Cancelled())
EVERY_FACT: tuple[Fact, ...] = (
    *PLAIN_FACTS,
    *ENDS,
    Content(),
    Reasoning(),
    Calling(),
    Advised(SOUND),
    Asked(),
    Handed(),
    Paused("tool"),
    Slept(1.0),
    Paused(PERSON),
    Resumed("tool"),
)

quarters = st.sampled_from([Seconds(length) for length in (0.75, 1.0, 1.25, 2.0, 3.25, 5.0, 8.0, 13.0)])
lengths = st.one_of(st.just(FOREVER), st.just(FOREVER), quarters)
"""Most limits are off in most lives: of many alarms only the first is ever seen."""


@st.composite
def lives(draw: st.DrawFn) -> tuple[Clocks, Phase]:
    """Clocks as `resolve` may make them, and a phase to start in that fits."""
    phase = draw(st.sampled_from(STARTS))
    froms = [TotalFrom.CALL]
    froms += [TotalFrom.READY] * (phase in (Phase.LOADING, Phase.QUEUED))
    froms += [TotalFrom.FIRST_PROGRESS] * (phase is not Phase.LOADING)
    total_from = draw(st.sampled_from(froms))
    can_be_cold = phase is not Phase.LOADING and total_from is not TotalFrom.READY
    cold = draw(st.one_of(st.just(Seconds(0.0)), quarters)) if can_be_cold else Seconds(0.0)
    clocks = Clocks(
        total=draw(lengths),
        total_from=total_from,
        extend_to=draw(
            st.one_of(st.just(Seconds(0.0)), st.just(FOREVER), st.sampled_from([Seconds(13.5), Seconds(30.0)]))
        ),
        ceiling=draw(lengths),
        cold=cold,
        late=draw(quarters) if total_from is TotalFrom.FIRST_PROGRESS else Seconds(0.0),
        first_token=Seconds(draw(lengths) + cold),
        reasons=draw(st.booleans()),
        idle=draw(lengths),
        thinking=draw(lengths),
        queue=draw(lengths),
        load=draw(lengths),
        unstreamed=draw(lengths),
        cancel=draw(lengths),
        heartbeat=draw(st.one_of(st.just(FOREVER), quarters)),
    )
    return clocks, phase


def slots(machine: Generation) -> dict[str, Any]:
    """Everything that a machine knows, as values that can be compared."""
    known: dict[str, Any] = {name: getattr(machine, name) for name in Generation.__slots__}
    known |= {name: getattr(machine, name) for name in Silence.__slots__}
    pauses, deadline = known.pop("pauses"), known.pop("deadline")
    return (
        known
        | {f"deadline.{name}": getattr(deadline, name) for name in deadline.__slots__}
        | {name: getattr(pauses, name) for name in pauses.__slots__ if name != "_owners"}
        | {"_owners": list(pauses._owners)}
    )


def double(machine: Generation) -> Generation:
    twin = copy.copy(machine)
    twin.pauses, twin.deadline = copy.copy(machine.pauses), copy.copy(machine.deadline)
    twin.pauses._owners = list(machine.pauses._owners)
    return twin


class Lives(RuleBasedStateMachine):
    """One generation as a driver lives it: one alarm at `armed_until`, facts in between, `wake` when it rings.

    Beside it run a twin that takes the fast lane, and a model that adds up silence second by second.
    """

    @initialize(life=lives())
    def is_born(self, life: tuple[Clocks, Phase]) -> None:
        clocks, phase = life
        self.now = Instant(8.0)
        self.machine = Generation(clocks, self.now, phase=phase)
        self.twin = Generation(clocks, self.now, phase=phase)
        self.clocks = clocks
        self.held: type[Progress] | None = None
        self.waiting = False
        self.pauses: list[str] = []
        self.quiet = 0.0
        self.by_person = 0.0
        self.cancelled = 0
        self.verdict: Outcome | None = None
        self.load_was_seen = False
        self.given = 0.0
        self.arm()

    # -- the driver -------------------------------------------------------------------------------------------

    def arm(self) -> None:
        self.promised = self.machine.armed_until(self.now)
        self.alarm = Instant(max(self.promised, self.now + SOONEST))

    def obey(self, orders: tuple[Order, ...]) -> None:
        self.cancelled += sum(isinstance(order, Cancel) for order in orders)

    def pass_time(self, length: float) -> None:
        self.now = Instant(self.now + length)
        if self.waiting and not self.pauses:
            self.quiet += length
        if PERSON in self.pauses:
            self.by_person += length

    def note(self, fact: Fact) -> None:
        """Record it with the machine, its twin and its model, or see it refused by both machines."""
        before, clocks, due = self.machine.phase, self.machine.clocks, self.machine.next_wakeup()
        if type(fact) not in LEGAL[before]:
            known = slots(self.machine)
            for machine in (self.machine, self.twin):
                with pytest.raises(IllegalFact):
                    machine.record(fact, self.now)
            assert slots(self.machine) == known
            return
        self.obey(self.machine.record(fact, self.now))
        self.twin_takes(fact)
        self.model_takes(fact, before, clocks)
        if self.machine.phase is Phase.CANCELLING is not before or isinstance(fact, Advised):
            self.arm()  # who ends a generation closes its source then and there; who brings advice arms anew
        if isinstance(fact, Contact):
            assert self.machine.next_wakeup() == due
        self.no_earlier_than_promised()

    def twin_takes(self, fact: Fact) -> None:
        """The same through the lane, as the drivers do it: a chunk, then the question that follows it."""
        twin = self.twin
        if isinstance(fact, Progress):
            self.held = type(fact)
            if type(fact) is twin.lane and twin.waiting:  # a driver has asked for whatever comes
                twin.longest = max(twin.longest, self.now - twin.since)
                twin.since, twin.waiting = self.now, False
                twin.tokens += 1
                return
        elif isinstance(fact, Asked):
            held, self.held = self.held, None
            if held is not None and held is twin.lane:
                twin.since, twin.waiting = self.now, True
                return
        elif isinstance(fact, Handed):
            self.held = None
        twin.record(fact, self.now)

    def model_takes(self, fact: Fact, before: Phase, clocks: Clocks) -> None:
        phase = self.machine.phase
        moved = phase is not before
        match fact:
            case Content() | Reasoning() | Calling():
                self.quiet, self.waiting = 0.0, False
            case Asked():
                self.waiting = True
            case Handed():
                self.waiting = False
            case Finished() if before is not Phase.CLOSING:
                self.quiet = 0.0
            case LoadProgress() | PrefillProgress() if before in (Phase.LOADING, Phase.WAITING):
                self.quiet = 0.0
            case Ready() if before is Phase.WAITING and clocks.cold:
                self.quiet = 0.0
            case Queued() | Admitted() | Absent() | PrefillProgress() | Ready() | Resident() | Whole() if moved:
                self.quiet = 0.0
            case Resident() if before is Phase.WAITING and not clocks.reasons:
                late = self.quiet >= clocks.first_token - clocks.cold
                self.quiet -= min(self.quiet, clocks.cold) if late else 0.0
            case Closed() | Broke():
                self.waiting = False
            case _:
                pass

    # -- what may happen --------------------------------------------------------------------------------------

    @rule(length=st.sampled_from((0, 1, 1, 2, 2, 3, 4, 6, 10, 30)))
    def time_passes(self, length: int) -> None:
        until = self.now + length / 4
        while self.machine.phase is not Phase.ENDED and self.alarm <= until:
            self.pass_time(self.alarm - self.now)
            self.it_rings()
        self.pass_time(until - self.now)

    def it_rings(self) -> None:
        while self.machine.next_wakeup() <= self.now:
            assert self.machine.next_wakeup() != NEVER
            for machine in (self.machine, self.twin):
                orders = machine.wake(self.now)
                assert orders
                assert not any(isinstance(order, Cancel) for order in orders[:-1])
            self.obey(orders)
        self.arm()

    @rule(fact=st.sampled_from(PLAIN_FACTS))
    def something_happens(self, fact: Fact) -> None:
        self.note(fact)

    @rule(fact=st.sampled_from(PLAIN_FACTS), length=st.sampled_from((1, 2, 3, 5, 9)))
    def something_happens_while_somebody_waits(self, fact: Fact, length: int) -> None:
        self.note(Asked())
        self.time_passes(length)
        self.note(fact)

    @rule()
    def somebody_asks(self) -> None:
        self.note(Asked())

    @rule(fact=st.sampled_from((Content(), Content(), Reasoning(), Calling())))
    def progress_comes_and_the_reader_has_it(self, fact: Progress) -> None:
        self.note(fact)

    @rule(fact=st.sampled_from(ADVICE))
    def the_text_says_something(self, fact: Advised) -> None:
        lives, cancelled = self.machine.outcome is None, self.cancelled
        length, was_short = self.machine.due(Timer.TOTAL), self.machine.deadline.is_short
        self.note(fact)
        if fact.finding.act is not Act.CUT:
            assert self.cancelled == cancelled, "suspicion alone never ends a generation"
            assert (self.machine.outcome is None) == lives
            given = self.machine.due(Timer.TOTAL) > length
            assert not given or was_short, "nothing is given before it is needed, but for what was taken away"
            assert self.machine.due(Timer.TOTAL) > self.now or length <= self.now, "nor does it bring the end about"
        elif lives and self.machine.phase is not Phase.ENDED:
            assert self.machine.outcome in (Outcome.LOOPING, Outcome.FINISHED)

    @rule(
        facts=st.lists(st.sampled_from((Content(), Reasoning(), Calling())), max_size=4),
        length=st.sampled_from((0, 1, 5)),
    )
    def progress_flows(self, facts: list[Fact], length: int) -> None:
        for fact in facts:
            self.time_passes(length)
            self.note(fact)
            self.time_passes(length)
            self.note(Asked())

    @rule(length=st.integers(0, 4))
    def a_ping_comes_and_the_reader_has_it_for_a_while(self, length: int) -> None:
        self.note(Contact())
        self.note(Handed())
        self.time_passes(length)
        self.note(Asked())

    @rule()
    def a_ping_is_held(self) -> None:
        self.note(Handed())

    @precondition(lambda self: len(self.pauses) < 3)
    @rule(owner=st.sampled_from(OWNERS))
    def a_pause_begins(self, owner: str) -> None:
        self.note(Paused(owner))
        if self.machine.phase is not Phase.ENDED:
            self.pauses.append(owner)

    @precondition(lambda self: self.pauses and self.machine.phase is not Phase.ENDED)
    @rule(which=st.integers(0, 2))
    def a_pause_ends(self, which: int) -> None:
        owner = self.pauses.pop(which % len(self.pauses))
        self.note(Resumed(owner))

    @rule(late=st.integers(1, 100))
    def we_slept(self, late: int) -> None:
        if self.machine.phase is Phase.ENDED:
            return
        total = self.machine.due(Timer.TOTAL)
        before = self.silence()
        self.note(Slept(late / 4))
        after = self.silence()
        assert max(0.0, before - late / 4) <= after <= before
        assert self.machine.due(Timer.TOTAL) == total
        self.quiet = after

    @precondition(lambda self: self.now > 18 or self.machine.phase is Phase.CANCELLING)
    @rule(fact=st.sampled_from(ENDS))
    def it_ends(self, fact: Fact) -> None:
        self.note(fact)
        if self.machine.phase is Phase.ENDED:
            self.waiting = False

    # -- the laws ---------------------------------------------------------------------------------------------

    def silence(self) -> float:
        return self.machine.quiet_until(self.now) - self.machine.since

    def no_earlier_than_promised(self) -> None:
        assert self.machine.next_wakeup() >= self.promised

    @invariant()
    def there_is_at_most_one_verdict(self) -> None:
        machine = self.machine
        assert self.cancelled <= 1
        assert self.verdict in (None, machine.outcome)
        self.verdict = machine.outcome
        assert (machine.outcome is None) == (machine.phase not in (Phase.CANCELLING, Phase.ENDED))
        assert (machine.outcome is None) == (machine.ended_at is None)
        assert (machine.broken is not None) == (machine.outcome is Outcome.TIMEOUT)
        assert (machine.looped is not None) == (machine.outcome is Outcome.LOOPING)

    @invariant()
    def the_alarm_never_has_to_be_pulled_forward(self) -> None:
        assert self.machine.armed_until(self.now) <= self.machine.next_wakeup()
        self.no_earlier_than_promised()

    @invariant()
    def whatever_happened_now_the_alarm_would_be_early_enough(self) -> None:
        promised = self.machine.armed_until(self.now)
        legal = LEGAL[self.machine.phase]
        for fact in (*EVERY_FACT[:-1], *map(Resumed, self.pauses[:2])):
            if type(fact) in legal:
                other = double(self.machine)
                other.record(fact, self.now)
                if other.phase is not Phase.CANCELLING or self.machine.phase is Phase.CANCELLING:
                    assert other.next_wakeup() >= promised, fact

    @invariant()
    def being_early_is_harmless(self) -> None:
        if self.now < self.machine.next_wakeup():
            known = slots(self.machine)
            assert self.machine.wake(self.now) == ()
            self.machine.snapshot(self.now)
            assert slots(self.machine) == known

    @invariant()
    def the_lane_is_record(self) -> None:
        assert slots(self.twin) == slots(self.machine)

    @invariant()
    def silence_is_the_time_without_progress_while_somebody_waits_for_the_model(self) -> None:
        machine = self.machine
        if machine.outcome is not None:
            return
        assert self.silence() == self.quiet
        limit = machine.clocks.silence(machine.phase)
        counts = self.waiting and not self.pauses and limit is not None
        expected = self.now + limit[1] - self.quiet if counts and limit else NEVER
        assert machine.due(Timer.SILENCE) == expected

    @invariant()
    def a_live_machine_has_a_wakeup_unless_unlimited_or_paused_by_a_person(self) -> None:
        machine, clocks = self.machine, self.machine.clocks
        if machine.phase is Phase.ENDED:
            assert machine.next_wakeup() == NEVER
        elif machine.phase is Phase.CANCELLING:
            assert (machine.next_wakeup() == NEVER) == (clocks.cancel == FOREVER)
        else:
            silence = clocks.silence(machine.phase)
            assert silence is not None
            if self.waiting and not self.pauses and silence[1] != FOREVER:
                assert machine.next_wakeup() != NEVER
            if PERSON not in self.pauses:
                limited = clocks.ceiling if clocks.total_from is TotalFrom.READY else min(clocks.total, clocks.ceiling)
                assert (machine.due(Timer.TOTAL) == NEVER) == (limited == FOREVER)

    @invariant()
    def only_a_load_or_a_queue_keeps_total_waiting(self) -> None:
        if self.machine.clocks.total_from is not TotalFrom.CALL and self.machine.outcome is None:
            assert self.machine.phase not in (Phase.THINKING, Phase.STREAMING, Phase.CLOSING)

    @invariant()
    def a_child_never_outlives_its_parent(self) -> None:
        if self.machine.outcome is None:
            assert self.now < 8.0 + self.clocks.ceiling + self.by_person or PERSON in self.pauses

    @invariant()
    def total_is_never_longer_than_given_and_the_allowance(self) -> None:
        self.load_was_seen |= self.machine.clocks.total_from is TotalFrom.READY
        if self.machine.outcome is None and not self.load_was_seen and PERSON not in self.pauses:
            most = max(self.clocks.total, self.clocks.extend_to)
            assert self.now < 8.0 + self.clocks.late + most + self.by_person

    @invariant()
    def what_may_be_stuck_has_no_more_than_it_was_promised(self) -> None:
        deadline = self.machine.deadline
        assert deadline.moved <= max(0.0, self.clocks.extend_to - self.clocks.total)
        if deadline.advice.act is not Act.EXTEND and self.machine.outcome is None:
            assert deadline.moved <= self.given
        self.given = deadline.moved


def test_no_history_breaks_a_law() -> None:
    run_state_machine_as_test(Lives, settings=settings(max_examples=150, stateful_step_count=30))


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("fact", EVERY_FACT, ids=lambda fact: type(fact).__name__)
def test_every_fact_in_every_phase_is_legal_or_refused(fact: Fact, phase: Phase) -> None:
    machine = Generation(Clocks(), Instant(0.0), phase=phase)
    if isinstance(fact, Resumed):
        machine.pauses.begin(fact.owner, Instant(0.0))
    if type(fact) in LEGAL[phase]:
        machine.record(fact, Instant(1.0))
        assert machine.phase is LEGAL[phase][type(fact)]
    else:
        with pytest.raises(IllegalFact, match=f"{type(fact).__name__} cannot happen to a generation that is {phase}"):
            machine.record(fact, Instant(1.0))
        assert machine.phase is phase


def test_the_table_has_a_row_for_each_phase_and_knows_no_strange_facts() -> None:
    assert set(LEGAL) == set(Phase)
    facts = {type(fact) for fact in EVERY_FACT}
    assert all(set(row) <= facts for row in LEGAL.values())


def test_whatever_lives_can_be_asked_be_paused_be_stopped_and_end() -> None:
    always = {Asked, Handed, Contact, Advised, Paused, Resumed, Slept, Closed, Broke, Left, Cancelled}
    assert all(always <= set(row) for phase, row in LEGAL.items() if phase is not Phase.ENDED)
    assert LEGAL[Phase.ENDED] == {}


@given(st.lists(quarters, max_size=12), st.lists(quarters, max_size=3))
def test_cancelling_asks_again_until_it_is_confirmed(naps: list[float], late: list[float]) -> None:
    machine = Generation(Clocks(), Instant(0.0))
    machine.record(Left(), Instant(0.0))
    asked, now = 0, 0.0
    for nap in (*naps, *late):
        now += nap
        for order in machine.wake(Instant(now)):
            assert isinstance(order, CancelAgain)
            assert order.asked == asked + 1
            asked = order.asked
        assert now < machine.next_wakeup() <= now + 5
    machine.record(Closed(), Instant(now))
    assert machine.next_wakeup() == NEVER
    assert machine.outcome is Outcome.LEFT


@pytest.mark.parametrize("phase", [phase for phase in Phase if Asked in LEGAL[phase]])
@pytest.mark.parametrize("waiting", [False, True])
def test_asking_and_hearing_without_ceremony_is_what_record_does(phase: Phase, waiting: bool) -> None:
    """`asked` and `heard` are the fast ways of two facts each; nothing else may differ."""
    plain, quick = Generation(Clocks(), Instant(0.0)), Generation(Clocks(), Instant(0.0))
    for machine in (plain, quick):
        machine.phase = phase
        machine.waiting = waiting
        machine.since = Instant(1.0)
    plain.record(Contact(), Instant(5.0))
    plain.record(Handed(), Instant(5.0))
    quick.heard(Instant(5.0))
    plain.record(Asked(), Instant(7.0))
    quick.asked(Instant(7.0))
    quick._set_lane()
    assert slots(plain) == slots(quick)
