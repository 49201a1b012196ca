"""When nobody is sent to a server, and who finds out whether it is back: by arithmetic on instants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hangtight.core.attempts import Fault
from hangtight.core.circuit import MOST_ENDS, Change, Circuit, Fuse, Permit, State, is_mark
from hangtight.core.layers import Layer, Rank, Resolved, Situation, mode_layer
from hangtight.core.limits import AUTO, Limit, length
from hangtight.core.orders import Broken
from hangtight.core.pace import Learned
from hangtight.core.resolve import keeping_free, resolve
from hangtight.core.time import FOREVER, Instant, Seconds

FUSE = Fuse()


def at(seconds: float) -> Instant:
    return Instant(seconds)


def admitted(circuit: Circuit, now: float) -> Permit:
    permit = circuit.admit(at(now))
    assert permit is not None
    return permit


def one_ends(circuit: Circuit, now: float, *, good: bool) -> Change | None:
    return circuit.ended(admitted(circuit, now), good=good, now=at(now))


def opened(now: float = 0.0) -> Circuit:
    circuit = Circuit()
    for _ in range(FUSE.in_a_row):
        one_ends(circuit, now, good=False)
    assert circuit.state is State.OPEN
    return circuit


# -- what opens it --------------------------------------------------------------------------------------------


def test_five_marks_in_a_row_open_it_for_fifteen_seconds() -> None:
    circuit = Circuit()
    assert [one_ends(circuit, 1.0, good=False) for _ in range(4)] == [None] * 4
    assert one_ends(circuit, 2.0, good=False) is Change.OPENED
    assert circuit.opened_at == at(2.0)
    assert circuit.lasts == 15.0
    assert not circuit.admits(at(16.9))
    assert circuit.admit(at(16.9)) is None
    assert circuit.admits(at(17.0))


def test_an_answer_in_between_begins_the_row_anew() -> None:
    circuit = Circuit()
    for good in (False, False, False, False, True, False, False, False, False):
        assert one_ends(circuit, 0.0, good=good) is None
    assert one_ends(circuit, 0.0, good=False) is Change.OPENED


def test_the_marks_of_a_row_may_be_hours_apart() -> None:
    circuit = Circuit()
    changes = [one_ends(circuit, 3600.0 * hour, good=False) for hour in range(5)]
    assert changes == [None, None, None, None, Change.OPENED]


def test_half_of_at_least_ten_within_a_minute_open_it() -> None:
    circuit = Circuit()
    for good in (True, False, True, False, True, False, True, False, True):
        assert one_ends(circuit, 0.0, good=good) is None
    assert one_ends(circuit, 60.0, good=False) is Change.OPENED


def test_what_is_older_than_a_minute_counts_no_more_in_the_share() -> None:
    circuit = Circuit()
    for good in (False, True, False, True, False, True, False, True, True):
        one_ends(circuit, 0.0, good=good)
    assert one_ends(circuit, 60.5, good=False) is None


def test_an_answer_never_opens_it() -> None:
    circuit = Circuit()
    for good in (False, True, False, True, False, True, False, True, False):
        one_ends(circuit, 0.0, good=good)
    assert one_ends(circuit, 0.0, good=True) is None
    assert one_ends(circuit, 0.0, good=False) is Change.OPENED


def test_its_memory_is_bounded_and_a_busy_model_is_judged_by_the_newest() -> None:
    circuit = Circuit()
    for _ in range(10 * MOST_ENDS):
        one_ends(circuit, 1.0, good=True)
    assert len(circuit._ends) == MOST_ENDS
    story = (good for _ in range(MOST_ENDS) for good in (False, False, False, True))
    ends = next(count for count, good in enumerate(story, 1) if one_ends(circuit, 1.0, good=good))
    assert ends < MOST_ENDS


def test_a_fuse_that_is_replaced_holds_from_the_next_mark_on() -> None:
    circuit = Circuit()
    circuit.fuse = Fuse(in_a_row=1, first=Seconds(3.0))
    assert one_ends(circuit, 0.0, good=False) is Change.OPENED
    assert circuit.retry_after(at(1.0)) == 2.0


# -- the probe ------------------------------------------------------------------------------------------------


def test_after_its_time_exactly_one_probe_goes_ahead() -> None:
    circuit = opened()
    probe = circuit.admit(at(15.0))
    assert probe is not None
    assert probe.probes
    assert circuit.state is State.PROBING
    assert circuit.admit(at(15.0)) is None
    assert circuit.admit(at(9_000.0)) is None


def test_a_good_probe_closes_it_and_the_next_time_it_opens_for_the_first_length_again() -> None:
    circuit = opened()
    one_ends(circuit, 15.0, good=False)
    assert one_ends(circuit, 45.0, good=True) is Change.CLOSED
    assert circuit.opened_at is None
    assert [one_ends(circuit, 50.0, good=False) for _ in range(5)][-1] is Change.OPENED
    assert circuit.lasts == 15.0


def test_what_was_before_it_closed_is_forgotten() -> None:
    circuit = opened()
    one_ends(circuit, 15.0, good=True)
    for good in (True,) * 9 + (False,) * 4:
        assert one_ends(circuit, 16.0, good=good) is None


def test_each_bad_probe_doubles_the_time_up_to_five_minutes() -> None:
    circuit, now, lengths = opened(), 0.0, []
    for _ in range(7):
        now += circuit.lasts
        assert one_ends(circuit, now, good=False) is Change.OPENED
        lengths.append(circuit.lasts)
    assert lengths == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0]
    assert circuit.opened_at == at(0.0)


def test_a_probe_that_told_nothing_frees_its_place_and_lengthens_nothing() -> None:
    circuit = opened()
    circuit.gave_up(admitted(circuit, 15.0))
    assert circuit.state is State.OPEN
    assert circuit.admits(at(15.0))
    assert one_ends(circuit, 16.0, good=False) is Change.OPENED
    assert circuit.lasts == 30.0


def test_a_probe_that_gave_up_has_no_say_in_the_next_one() -> None:
    circuit = opened()
    first = admitted(circuit, 15.0)
    circuit.gave_up(first)
    admitted(circuit, 16.0)
    circuit.gave_up(first)
    assert circuit.ended(first, good=True, now=at(17.0)) is None
    assert circuit.state is State.PROBING


def test_the_first_progress_of_a_probe_closes_it_and_its_end_counts_as_any_other() -> None:
    circuit = opened()
    probe = admitted(circuit, 15.0)
    assert circuit.spoke(probe) is Change.CLOSED
    assert circuit.spoke(probe) is None
    for _ in range(4):
        assert one_ends(circuit, 20.0, good=False) is None
    assert circuit.ended(probe, good=False, now=at(60.0)) is Change.OPENED


def test_whoever_was_sent_before_it_opened_changes_nothing() -> None:
    circuit = Circuit()
    old = [admitted(circuit, 0.0) for _ in range(4)]
    for _ in range(5):
        one_ends(circuit, 10.0, good=False)
    assert circuit.ended(old[0], good=True, now=at(11.0)) is None
    assert circuit.ended(old[1], good=False, now=at(12.0)) is None
    assert circuit.spoke(old[2]) is None
    assert circuit.retry_after(at(12.0)) == 13.0
    admitted(circuit, 25.0)
    assert circuit.ended(old[2], good=True, now=at(26.0)) is None
    circuit.gave_up(old[3])
    assert circuit.state is State.PROBING


def test_it_says_when_to_ask_again() -> None:
    circuit = Circuit()
    assert circuit.retry_after(at(0.0)) == 0.0
    circuit = opened()
    assert circuit.retry_after(at(5.0)) == 10.0
    assert circuit.retry_after(at(99.0)) == 0.0
    admitted(circuit, 99.0)
    assert circuit.retry_after(at(99.0)) == 15.0


class Lives(RuleBasedStateMachine):
    """Requests come, go and end in any order; beside it, the rules of the circuit told without any bookkeeping."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit, self.now = Circuit(), 0.0
        self.live: list[Permit] = []
        self.known: list[tuple[float, bool]] = []
        """All that ended since it closed."""

    @rule(seconds=st.sampled_from([0.25, 2.0, 7.5, 15.0, 61.0, 300.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def one_asks(self) -> None:
        may = self.circuit.admits(at(self.now))
        permit = self.circuit.admit(at(self.now))
        assert may == (permit is not None)
        if permit is not None:
            assert permit.probes == (self.circuit.state is State.PROBING)
            self.live.append(permit)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), good=st.booleans(), times=st.integers(1, 6))
    def some_end(self, data: st.DataObject, good: bool, times: int) -> None:
        for _ in range(min(times, len(self.live))):
            permit = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
            state, counts = self.circuit.state, permit.era == self.circuit._era
            lasted = self.circuit.lasts
            change = self.circuit.ended(permit, good=good, now=at(self.now))
            if not counts:
                assert change is None
                assert self.circuit.state is state
            elif state is State.PROBING:
                assert permit.probes
                assert change is (Change.CLOSED if good else Change.OPENED)
                assert good or self.circuit.lasts == min(2 * lasted, 300.0)
                self.known = []
            else:
                self.known.append((self.now, good))
                assert change is (Change.OPENED if not good and self.is_too_much() else None)

    def is_too_much(self) -> bool:
        recent = [good for when, good in self.known if self.now - when <= 60.0]
        last_five = [good for _, good in self.known[-5:]]
        return last_five == [False] * 5 or (len(recent) >= 10 and recent.count(False) >= len(recent) / 2)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def one_gives_up(self, data: st.DataObject) -> None:
        lasts, state = self.circuit.lasts, self.circuit.state
        self.circuit.gave_up(self.live.pop(data.draw(st.integers(0, len(self.live) - 1))))
        assert self.circuit.lasts == lasts
        assert (state is State.CLOSED) == (self.circuit.state is State.CLOSED)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def one_speaks(self, data: st.DataObject) -> None:
        if self.circuit.spoke(data.draw(st.sampled_from(self.live))) is Change.CLOSED:
            self.known = []

    @invariant()
    def there_are_never_two_probes(self) -> None:
        current = [permit for permit in self.live if permit.era == self.circuit._era and permit.probes]
        assert len(current) <= 1
        if self.circuit.state is State.PROBING:
            assert len(current) == 1

    @invariant()
    def an_open_circuit_comes_to_its_probe(self) -> None:
        if self.circuit.state is State.OPEN:
            assert 15.0 <= self.circuit.lasts <= 300.0
            assert self.circuit.admits(at(self.now + self.circuit.retry_after(at(self.now))))


TestLives = Lives.TestCase


# -- what is a mark -------------------------------------------------------------------------------------------

FILE = Layer(Rank.FILE, "hangtight.yaml:3", {"first_token": 40.0, "idle": 20.0, "total": 400.0})
MODEL = Layer(Rank.MODEL, "hangtight.yaml:9", {"idle": 30.0})
PLACES = (FILE, MODEL, mode_layer("deep"), Layer(Rank.ENVIRONMENT, "HANGTIGHT_IDLE", {"idle": 25.0}))
LENGTHS = {
    Limit.TOTAL: "total",
    Limit.LOAD: "load",
    Limit.UNSTREAMED: "unstreamed",
    Limit.THINKING: "thinking",
    Limit.FIRST_TOKEN: "first_token",
    Limit.IDLE: "idle",
}


def waited(limit: Limit, resolved: Resolved) -> Seconds:
    own: Seconds = getattr(resolved.clocks, LENGTHS[limit])
    return min(own, resolved.clocks.ceiling) if limit is Limit.TOTAL else own


def rings(limit: Limit, resolved: Resolved) -> bool:
    """Whether it is a mark when this limit rings as the clocks have it."""
    return is_mark(Fault.TIMEOUT, broken=Broken(limit, waited(limit, resolved)), values=resolved.values)


@pytest.mark.parametrize("limit", LENGTHS)
def test_a_default_is_a_mark(limit: Limit) -> None:
    assert rings(limit, resolve(()))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.source)
def test_a_number_of_a_file_a_model_a_mode_or_the_environment_is_a_mark(place: Layer) -> None:
    for name in {"total", *place.values} & {"total", "idle", "first_token"}:
        assert rings(Limit(name), resolve((place,)))


def test_a_number_that_was_learned_is_a_mark() -> None:
    layer = Layer(Rank.FILE, "hangtight.yaml:3", {"idle": AUTO})
    learned = {"idle": Learned(7.0, 300, "this model", pooled=False)}
    assert rings(Limit.IDLE, resolve((layer,), Situation(), learned))


@pytest.mark.parametrize("limit", LENGTHS)
def test_a_number_of_the_call_or_of_a_header_that_cuts_is_none(limit: Limit) -> None:
    for cuts in (False, True):
        call = Layer(Rank.CALL, "X-Hangtight", {LENGTHS[limit]: 2.0}, cuts=cuts)
        assert not rings(limit, resolve((*PLACES, call)))


@pytest.mark.parametrize("limit", LENGTHS)
def test_what_a_budget_left_is_none(limit: Limit) -> None:
    assert not rings(limit, resolve((FILE,), Situation(remaining=8.0)))


def test_a_share_of_the_total_of_a_caller_is_none() -> None:
    call = Layer(Rank.CALL, "the call", {"total": 5.0})
    resolved = resolve((mode_layer("deep"), call))
    assert resolved.values["first_token"].rank is Rank.DEFAULT
    assert not rings(Limit.FIRST_TOKEN, resolved)
    assert not rings(Limit.IDLE, resolved)


def test_a_step_is_a_parent_too() -> None:
    assert not rings(Limit.TOTAL, resolve((Layer(Rank.STEP, "step_timeout", {"total": 9.0}),)))


def test_a_first_token_that_follows_the_callers_idle_is_none() -> None:
    assert not rings(Limit.FIRST_TOKEN, resolve((Layer(Rank.CALL, "the call", {"idle": 60.0}),)))


def test_what_the_attempts_before_left_or_what_is_kept_for_the_next_is_none() -> None:
    assert not rings(Limit.TOTAL, resolve((), Situation(left=5.0)))
    assert not rings(Limit.TOTAL, resolve((mode_layer("deep"),), Situation(left=5.0)))
    assert not rings(Limit.FIRST_TOKEN, keeping_free(resolve(()), 10.0, "kept for qwen3:1.7b", ""))


HASTY = Layer(Rank.MODE, "mode hasty", {"total": 1.0, "extend_to": 1.0})
HASTY_IN_IDLE = Layer(Rank.MODE, "mode hasty", {"idle": 1.0})


@pytest.mark.parametrize("limit", [Limit.TOTAL, Limit.FIRST_TOKEN, Limit.IDLE])
@pytest.mark.parametrize("mode", [HASTY, HASTY_IN_IDLE, mode_layer("fast")], ids=lambda mode: mode.source)
def test_what_a_mode_that_the_caller_named_made_of_a_limit_is_none(mode: Layer, limit: Limit) -> None:
    house, resolved = resolve((FILE,)).values, resolve((mode, FILE))
    broken = Broken(limit, waited(limit, resolved))
    is_another = resolved.values[limit].value != house[limit].value
    assert is_mark(Fault.TIMEOUT, broken=broken, values=resolved.values, house=house) is not is_another


def test_who_waited_in_our_own_queue_tells_nothing_of_the_server() -> None:
    assert not is_mark(Fault.TIMEOUT, broken=Broken(Limit.QUEUE, Seconds(300.0)), values=resolve(()).values)


def test_an_end_for_what_the_text_said_is_none() -> None:
    assert not is_mark(Fault.TIMEOUT, values=resolve(()).values)


def test_what_arithmetic_leaves_over_makes_no_limit_shorter() -> None:
    resolved = resolve((Layer(Rank.FILE, "hangtight.yaml:3", {"first_token": 0.3, "idle": 0.3}),))
    clocks = resolved.clocks.warmed()
    assert clocks.first_token < length(0.3)
    assert is_mark(Fault.TIMEOUT, broken=Broken(Limit.FIRST_TOKEN, clocks.first_token), values=resolved.values)


def test_no_connection_and_a_5xx_are_marks_and_a_4xx_is_none() -> None:
    assert is_mark(Fault.SERVER)
    assert is_mark(Fault.SERVER, status=500)
    assert is_mark(Fault.SERVER, status=529)
    assert not is_mark(Fault.SERVER, status=429)
    assert not is_mark(Fault.SERVER, status=404)
    assert not is_mark(Fault.REQUEST, status=400)


seconds = st.sampled_from([0.5, 2.0, 9.0, 33.0, 45.0, 60.0, 120.0, 400.0, 900.0])
of_callers = st.dictionaries(st.sampled_from([*LENGTHS.values(), "extend_to"]), seconds | st.none(), max_size=3)


@given(
    places=st.sets(st.sampled_from(range(len(PLACES)))),
    call=of_callers,
    cut=of_callers,
    situation=st.builds(
        Situation, remaining=st.none() | seconds, left=st.none() | seconds, prompt_tokens=st.just(4000)
    ),
    limit=st.sampled_from(list(LENGTHS)),
)
def test_a_mark_waited_at_least_as_long_as_the_house_alone_would_have(
    places: set[int], call: dict[str, float | None], cut: dict[str, float | None], situation: Situation, limit: Limit
) -> None:
    house = [PLACES[place] for place in places]
    callers = [Layer(Rank.CALL, "the call", call), Layer(Rank.CALL, "the header", cut, cuts=True)]
    resolved = resolve((*house, *callers), situation)
    if rings(limit, resolved):
        in_endless_time = Situation(remaining=None if situation.remaining is None else FOREVER)
        alone = getattr(resolve(house, in_endless_time).limits, LENGTHS[limit])
        assert waited(limit, resolved) >= length(alone)


@given(st.lists(st.sampled_from(["call", "budget", "left", "refused"]), max_size=60))
def test_no_number_of_failures_that_are_the_callers_opens_it(story: list[str]) -> None:
    call = resolve((Layer(Rank.CALL, "the call", {"total": 1.0}),))
    budget = resolve((), Situation(remaining=1.0))
    circuit = Circuit()
    for told in story:
        permit = admitted(circuit, 0.0)
        mark = told != "left" and (
            is_mark(Fault.REQUEST, status=400)
            if told == "refused"
            else rings(Limit.TOTAL, call if told == "call" else budget)
        )
        if mark:
            circuit.ended(permit, good=False, now=at(0.0))
        else:
            circuit.gave_up(permit)
    assert circuit.state is State.CLOSED
