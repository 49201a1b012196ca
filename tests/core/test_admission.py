"""Who runs, who waits, who goes next: by arithmetic on instants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hangtight.core.admission import AGING, Admission, Admitted, Queued, Refused
from hangtight.core.budget import Priority
from hangtight.core.time import Instant

LOW, NORMAL, HIGH, CRITICAL = Priority


def at(seconds: float) -> Instant:
    return Instant(seconds)


def full(places: int = 10) -> Admission[str]:
    """One slot, and somebody in it."""
    admission = Admission[str](1, places)
    admission.arrive("running", NORMAL, at(0.0))
    return admission


def test_the_slots_are_given_at_once_and_then_it_queues() -> None:
    admission = Admission[str](2, 2)
    answers = [admission.arrive(ticket, NORMAL, at(0.0)) for ticket in "abcde"]
    assert answers == [Admitted(), Admitted(), Queued(1), Queued(2), Refused()]
    assert (admission.running, admission.waiting) == (2, 2)


def test_without_places_nobody_waits() -> None:
    admission = full(places=0)
    assert admission.arrive("a", CRITICAL, at(0.0)) == Refused()
    assert admission.leave("running", at(1.0)) == ()
    assert admission.arrive("a", LOW, at(1.0)) == Admitted()


def test_without_a_number_of_slots_all_run() -> None:
    admission = Admission[int](None, 0)
    assert all(admission.arrive(ticket, LOW, at(0.0)) == Admitted() for ticket in range(1000))


def test_who_came_first_goes_first() -> None:
    admission = full()
    for ticket in "abc":
        admission.arrive(ticket, NORMAL, at(0.0))
    assert admission.leave("running", at(1.0)) == ("a",)
    assert [admission.position(ticket, at(1.0)) for ticket in "abc"] == [None, 1, 2]


def test_a_higher_priority_passes() -> None:
    admission = full()
    answers = [admission.arrive(priority.name, priority, at(0.0)) for priority in (NORMAL, LOW, CRITICAL, HIGH)]
    assert answers == [Queued(1), Queued(2), Queued(1), Queued(2)]
    places = [admission.position(priority.name, at(0.0)) for priority in Priority]
    assert places == [4, 3, 2, 1]


def test_who_waited_long_counts_one_higher_for_each_half_minute() -> None:
    admission = full()
    admission.arrive("old", LOW, at(0.0))
    admission.arrive("normal", NORMAL, at(29.0))
    assert admission.position("old", at(29.9)) == 2
    assert admission.position("old", at(30.0)) == 1
    admission.arrive("high", HIGH, at(31.0))
    assert admission.position("old", at(59.9)) == 3
    assert admission.position("old", at(60.0)) == 1
    assert admission.leave("running", at(60.0)) == ("old",)


def test_nobody_counts_higher_than_the_highest_so_nobody_is_passed_for_ever() -> None:
    admission, now = full(places=1000), 0.0
    admission.arrive("low", LOW, at(0.0))
    running = "running"
    for turn in range(200):
        now += 1.0
        admission.arrive(f"critical {turn}", CRITICAL, at(now))
        (running,) = admission.leave(running, at(now))
        if running == "low":
            break
    assert now == 3 * AGING


def test_who_leaves_the_queue_leaves_no_gap() -> None:
    admission = full()
    for ticket in "abc":
        admission.arrive(ticket, NORMAL, at(0.0))
    assert admission.leave("b", at(1.0)) == ()
    assert [admission.position(ticket, at(1.0)) for ticket in "abc"] == [1, None, 2]
    assert admission.waiting == 2


def test_who_is_not_here_changes_nothing_by_leaving() -> None:
    admission = full()
    admission.arrive("a", NORMAL, at(0.0))
    assert admission.leave("nobody", at(0.0)) == ()
    assert (admission.running, admission.waiting) == (1, 1)


@pytest.mark.parametrize("ticket", ["running", "waiting"])
def test_nobody_is_here_twice(ticket: str) -> None:
    admission = full()
    admission.arrive("waiting", NORMAL, at(0.0))
    with pytest.raises(ValueError, match="here already"):
        admission.arrive(ticket, NORMAL, at(1.0))


def test_more_slots_are_given_at_once() -> None:
    admission = full()
    for ticket in "abc":
        admission.arrive(ticket, NORMAL, at(0.0))
    assert admission.resize(3, 10, at(1.0)) == ("a", "b")
    assert admission.resize(None, 10, at(2.0)) == ("c",)


def test_fewer_slots_and_places_end_nothing_that_is_here() -> None:
    admission = Admission[str](3, 3)
    for ticket in "abcdef":
        admission.arrive(ticket, NORMAL, at(0.0))
    assert admission.resize(1, 1, at(1.0)) == ()
    assert (admission.running, admission.waiting) == (3, 3)
    assert admission.arrive("g", CRITICAL, at(1.0)) == Refused()
    assert [admission.leave(ticket, at(2.0)) for ticket in "abc"] == [(), (), ("d",)]


def test_ten_thousand_go_in_the_order_that_their_positions_say() -> None:
    admission = Admission[int](0, 10_000)
    for ticket in range(10_000):
        admission.arrive(ticket, Priority(ticket * 7 % 4), at(ticket / 100))
    now = at(100.0)
    places = [admission.position(ticket, now) for ticket in range(10_000)]
    went = admission.resize(None, 0, now)
    assert [places[ticket] for ticket in went] == list(range(1, 10_001))


class Crowd(RuleBasedStateMachine):
    """People come, go and wait; beside it the same told with one list and a sort."""

    def __init__(self) -> None:
        super().__init__()
        self.slots: int | None = 1
        self.admission = Admission[int](1, 3)
        self.now, self.born = 0.0, 0
        self.running: set[int] = set()
        self.waiting: dict[int, tuple[Priority, float]] = {}

    def turn(self, ticket: int) -> tuple[int, int]:
        priority, since = self.waiting[ticket]
        return -min(int(CRITICAL), priority + int((self.now - since) // AGING)), ticket

    def admitted(self, tickets: tuple[int, ...]) -> None:
        """Just those whose turn it was, in their order, and no more than there are slots for."""
        expected = sorted(self.waiting, key=self.turn)
        free = len(expected) if self.slots is None else max(0, self.slots - len(self.running))
        assert list(tickets) == expected[:free]
        for ticket in tickets:
            del self.waiting[ticket]
            self.running.add(ticket)

    @rule(seconds=st.sampled_from([0.0, 1.0, 10.0, 29.5, 30.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(priority=st.sampled_from(Priority), count=st.integers(1, 5))
    def some_arrive(self, priority: Priority, count: int) -> None:
        for _ in range(count):
            self.born += 1
            match self.admission.arrive(self.born, priority, at(self.now)):
                case Admitted():
                    assert self.slots is None or len(self.running) < self.slots
                    self.running.add(self.born)
                case Queued(position):
                    self.waiting[self.born] = priority, self.now
                    assert sorted(self.waiting, key=self.turn)[position - 1] == self.born
                case Refused():
                    assert len(self.waiting) >= self.admission.places
                    assert self.slots is not None
                    assert len(self.running) >= self.slots

    @rule(data=st.data())
    def one_leaves(self, data: st.DataObject) -> None:
        here = [0, *self.running, *self.waiting]
        ticket = data.draw(st.sampled_from(here))
        left = self.admission.leave(ticket, at(self.now))
        self.running.discard(ticket)
        self.waiting.pop(ticket, None)
        self.admitted(left)

    @rule(slots=st.none() | st.integers(0, 5), places=st.integers(0, 8))
    def the_settings_change(self, slots: int | None, places: int) -> None:
        self.slots = slots
        self.admitted(self.admission.resize(slots, places, at(self.now)))

    @invariant()
    def nobody_is_lost(self) -> None:
        assert self.admission.running == len(self.running)
        assert self.admission.waiting == len(self.waiting)
        for place, ticket in enumerate(sorted(self.waiting, key=self.turn), 1):
            assert self.admission.position(ticket, at(self.now)) == place
        assert all(self.admission.position(ticket, at(self.now)) is None for ticket in self.running)

    @invariant()
    def nobody_waits_beside_a_free_slot(self) -> None:
        assert not self.waiting or (self.slots is not None and len(self.running) >= self.slots)


TestCrowd = Crowd.TestCase


@given(
    st.lists(st.tuples(st.sampled_from(Priority), st.floats(0, 50))),
    st.integers(1, 4),
    st.lists(st.sampled_from(Priority), min_size=1),
)
def test_everybody_has_a_turn_in_the_end_whoever_keeps_coming(
    crowd: list[tuple[Priority, float]], slots: int, later: list[Priority]
) -> None:
    admission, now, running = Admission[int](slots, 10_000), 0.0, list[int]()
    for ticket, (priority, gap) in enumerate(crowd):
        now += gap
        if admission.arrive(ticket, priority, at(now)) == Admitted():
            running.append(ticket)
    served, born = set(running), len(crowd)
    for turn in range(2 * len(crowd) + 100):  # one comes for each that goes, so the queue never gets shorter
        now += 1.0
        admission.arrive(born + turn, later[turn % len(later)], at(now))
        admitted = admission.leave(running.pop(0), at(now)) if running else ()
        running += admitted
        served |= set(admitted)
    assert served >= set(range(len(crowd)))


@given(st.lists(st.tuples(st.sampled_from(Priority), st.floats(0, 40)), max_size=30))
def test_nobody_passes_an_earlier_one_of_the_same_priority(crowd: list[tuple[Priority, float]]) -> None:
    admission, now, went = full(places=100), 0.0, list[str]()
    for number, (priority, gap) in enumerate(crowd):
        now += gap
        admission.arrive(f"{priority.name} {number:03}", priority, at(now))
    running = "running"
    while following := admission.leave(running, at(now := now + 7.0)):
        (running,) = following
        went.append(running)
    assert len(went) == len(crowd)
    for priority in Priority:
        line = [ticket for ticket in went if ticket.startswith(priority.name)]
        assert line == sorted(line)
