"""The end of `total`, by arithmetic: what moves it, how far, what takes that back, and what people are told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hangtight.core.deadline import Deadline
from hangtight.core.facts import Advised, Asked, Closed, Content, Fact, Finished, Paused, Ready, Resumed
from hangtight.core.generation import Generation
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.intents import ON, meant
from hangtight.core.layers import Layer, Rank, Resolved, Situation, mode_layer
from hangtight.core.limits import Limit
from hangtight.core.orders import Broken, Cancel, Moved, Order
from hangtight.core.pauses import PERSON
from hangtight.core.phases import Outcome, Phase
from hangtight.core.resolve import resolve
from hangtight.core.telling import Door, looping_error, timeout_error
from hangtight.core.time import FOREVER, NEVER, Instant, Seconds
from hangtight.core.timers import Clocks, Timer, TotalFrom
from hangtight.errors import Looping
from hangtight.intent.findings import NOTHING, Act, Doing, Finding, Rule

DEEP = Clocks(total=Seconds(120), extend_to=Seconds(240))
SHORT = Clocks(total=Seconds(30), extend_to=Seconds(60))
CODING = Finding(act=Act.EXTEND, doing=Doing.CODING)
STALE = Finding(act=Act.HOLD, doing=Doing.STUCK, rule=Rule.NOVELTY, copies=4)
LOOP = Finding(act=Act.CUT, doing=Doing.STUCK, rule=Rule.EXACT, period=200, copies=3)
DOOR = Door("hangtight.watch(..., {name}={value})")
Story = tuple[float, Fact]


def at(seconds: float) -> Instant:
    return Instant(float(seconds))


def deadline(advice: Finding = CODING, *, clocks: Clocks = DEEP) -> Deadline:
    made = Deadline(clocks, at(0))
    made.advised(advice)
    return made


def talking(*story: Story, clocks: Clocks = DEEP, phase: Phase = Phase.WAITING) -> Generation:
    """A generation that talks from 1 s on, to which this happens; each alarm before it has rung."""
    generation = Generation(clocks, at(0), phase=phase, model="m")
    begun: tuple[Story, ...] = ((0, Asked()), (1, Content()))
    for now, fact in (*begun, *story):
        generation.since = at(now)
        while generation.outcome is None and generation.next_wakeup() < at(now):
            generation.wake(generation.next_wakeup())
        generation.record(fact, at(now))
    return generation


def orders_of(generation: Generation, now: float) -> tuple[Order, ...]:
    generation.since = at(now)  # it talked just now
    return generation.wake(at(now))


def lengths(moves: tuple[Order, ...]) -> list[tuple[float, float]]:
    return [(move.before, move.after) for move in moves if isinstance(move, Moved)]


# -- more time ------------------------------------------------------------------------------------------------


def test_what_gets_on_has_a_tenth_more_at_a_time_and_ten_seconds_at_least() -> None:
    assert lengths(deadline().extend(DEEP, at(120))) == [(120, 132)]
    assert lengths(deadline(clocks=SHORT).extend(SHORT, at(30))) == [(30, 40)]


@pytest.mark.parametrize("extend_to", [FOREVER, Seconds(30)])
def test_without_a_total_the_parent_ends_it_and_no_text_moves_that(extend_to: Seconds) -> None:
    clocks = Clocks(total=FOREVER, extend_to=extend_to, ceiling=Seconds(20))
    generation = talking((2, Advised(CODING)), clocks=clocks)
    orders = orders_of(generation, 20)
    assert [type(order) for order in orders] == [Cancel]
    assert generation.outcome is Outcome.TIMEOUT


def test_it_is_extended_until_it_lies_ahead_again_and_never_beyond_its_end() -> None:
    assert lengths(deadline().extend(DEEP, at(140))) == [(120, 132), (132, 144)]
    far = deadline()
    assert lengths(far.extend(DEEP, at(1000)))[-1] == (228, 240)
    assert far.extend(DEEP, at(1000)) == ()
    odd = replace(DEEP, extend_to=Seconds(125))
    assert lengths(deadline(clocks=odd).extend(odd, at(120))) == [(120, 125)]


def test_before_it_rings_nothing_is_extended() -> None:
    assert deadline().extend(DEEP, at(119.9)) == ()


@pytest.mark.parametrize("advice", [NOTHING, STALE])
def test_only_what_gets_on_is_extended(advice: Finding) -> None:
    assert deadline(advice).extend(DEEP, at(120)) == ()


@pytest.mark.parametrize("most", [0, 60, 120])
def test_without_room_nothing_is_extended(most: float) -> None:
    hard = replace(DEEP, extend_to=Seconds(most))
    assert deadline(clocks=hard).extend(hard, at(120)) == ()


def test_a_parent_is_never_passed_however_much_room_there_would_be() -> None:
    inside = replace(DEEP, ceiling=Seconds(126))
    made = deadline(clocks=inside)
    assert lengths(made.extend(inside, at(120))) == [(120, 126)]
    assert made.extend(inside, at(126)) == ()
    assert made.at(inside) == at(126)
    assert made.length(inside) == Seconds(126)


def test_a_total_without_end_is_not_moved() -> None:
    endless = Clocks(total=FOREVER, extend_to=FOREVER)
    made = deadline(clocks=endless)
    assert (made.at(endless), made.length(endless)) == (NEVER, FOREVER)
    assert made.extend(endless, at(1e9)) == ()
    assert made.hold(endless, at(5), shorten=True) == ()


def test_it_may_be_extended_without_end_where_that_was_given() -> None:
    endless = replace(DEEP, extend_to=FOREVER)
    made = deadline(clocks=endless)
    assert len(made.extend(endless, at(1200))) == 91
    assert made.at(endless) == at(1212)


def test_a_total_that_counts_from_the_first_token_is_extended_from_there() -> None:
    cold = Clocks(total=Seconds(120), extend_to=Seconds(240), late=Seconds(60), total_from=TotalFrom.FIRST_PROGRESS)
    made = deadline(clocks=cold)
    assert made.at(cold) == at(180)
    made.start(at(40))
    assert lengths(made.extend(cold, at(160))) == [(120, 132)]
    assert made.at(cold) == at(172)
    assert made.from_the_call(cold) == at(132)


def test_a_total_that_waits_for_the_model_has_no_end_yet() -> None:
    loading = replace(DEEP, total_from=TotalFrom.READY)
    made = deadline(clocks=loading)
    assert made.at(loading) == NEVER
    assert made.extend(loading, at(500)) == ()


# -- less time ------------------------------------------------------------------------------------------------


def test_only_the_first_suspicion_takes_back() -> None:
    made = deadline(NOTHING)
    assert made.advised(STALE)
    assert not made.advised(replace(STALE, copies=5))
    assert not made.advised(CODING)
    assert made.advised(STALE)


def test_what_was_given_is_taken_back_but_for_half_a_step() -> None:
    made = deadline()
    made.extend(DEEP, at(120))
    made.advised(STALE)
    assert lengths(made.hold(DEEP, at(122), shorten=False)) == [(132, 128)]
    assert made.at(DEEP) == at(128)
    assert made.hold(DEEP, at(122), shorten=False) == ()
    assert made.hold(DEEP, at(127), shorten=False) == ()


def test_half_of_what_remains_is_taken_where_that_is_asked() -> None:
    made = deadline(STALE)
    assert lengths(made.hold(DEEP, at(40), shorten=True)) == [(120, 80)]
    assert (made.at(DEEP), made.length(DEEP), made.is_short) == (at(80), Seconds(80), True)
    assert made.from_the_call(DEEP) == at(80)


def test_where_nothing_remains_there_is_nothing_to_halve() -> None:
    made = deadline(STALE)
    assert made.hold(DEEP, at(120), shorten=True) == ()
    assert not made.is_short


def test_half_of_what_a_parent_leaves() -> None:
    inside = replace(DEEP, ceiling=Seconds(60))
    made = deadline(STALE, clocks=inside)
    assert lengths(made.hold(inside, at(20), shorten=True)) == [(60, 40)]


def test_what_was_halved_comes_back_when_it_gets_on_and_then_it_may_have_more() -> None:
    made = deadline(STALE)
    made.hold(DEEP, at(40), shorten=True)
    made.advised(CODING)
    assert lengths(made.recover(DEEP)) == [(80, 120)]
    assert not made.is_short
    assert made.recover(DEEP) == ()
    assert lengths(made.extend(DEEP, at(120))) == [(120, 132)]


def test_flapping_wears_nothing_away() -> None:
    generation = talking((2, Advised(CODING)))
    for second in range(3, 60, 6):
        generation.record(Advised(STALE, shorten=True), at(second))
        generation.record(Advised(CODING), at(second + 3))
    assert generation.due(Timer.TOTAL) == at(120)


def test_other_clocks_begin_with_a_whole_total() -> None:
    made = deadline(STALE)
    made.hold(DEEP, at(40), shorten=True)
    made.restart(DEEP)
    assert (made.at(DEEP), made.is_short) == (at(120), False)


# -- what is told ---------------------------------------------------------------------------------------------


def test_moves_between_two_heartbeats_are_told_as_one_and_only_once() -> None:
    made = deadline()
    assert made.tell() is None
    made.extend(DEEP, at(140))
    assert str(made.tell()) == "deadline 120 s -> 144 s: coding"
    assert made.tell() is None


def test_what_came_back_to_where_it_was_is_not_told() -> None:
    made = deadline(STALE)
    made.hold(DEEP, at(40), shorten=True)
    made.advised(CODING)
    made.recover(DEEP)
    assert made.tell() is None
    made.extend(DEEP, at(120))
    assert str(made.tell()) == "deadline 120 s -> 132 s: coding"


# -- in the machine -------------------------------------------------------------------------------------------


def test_a_total_that_rings_is_moved_and_ends_nothing() -> None:
    generation = talking((2, Advised(CODING)))
    assert orders_of(generation, 120) == (Moved(Seconds(120), Seconds(132), CODING),)
    assert (generation.outcome, generation.due(Timer.TOTAL)) == (None, at(132))


def test_at_the_end_of_its_room_it_ends_and_says_how_long_it_had() -> None:
    generation = talking((2, Advised(CODING)))
    for now in range(120, 240, 12):
        assert orders_of(generation, now)
    assert orders_of(generation, 240) == (Cancel(Broken(Limit.TOTAL, Seconds(240))),)
    assert generation.outcome is Outcome.TIMEOUT


def test_a_heartbeat_tells_of_the_move_once_and_is_not_sent_for_it() -> None:
    generation = talking((2, Advised(CODING)), clocks=replace(DEEP, heartbeat=Seconds(50)))
    assert [str(beat) for beat in orders_of(generation, 50)] == ["Still waiting on m... 50s elapsed, 1 token"]
    orders_of(generation, 100)
    assert lengths(orders_of(generation, 120)) == [(120, 132)]
    assert generation.due(Timer.HEARTBEAT) == at(150), "a move is told by the next heartbeat, and makes none"
    assert lengths(orders_of(generation, 145)) == [(132, 144), (144, 156)]
    (beat,) = orders_of(generation, 150)
    assert str(beat) == "Still waiting on m... 150s elapsed, 1 token, deadline 120 s -> 156 s: coding"
    assert isinstance(beat, Heartbeat)
    assert (beat.now.doing, beat.now.total) == ("coding", 156)
    generation.clocks = replace(generation.clocks, total=FOREVER)
    (beat,) = orders_of(generation, 200)
    assert isinstance(beat, Heartbeat)
    assert (beat.moved, beat.now.total) == (None, None)


def test_suspicion_may_be_told_at_once_and_the_next_heartbeat_counts_from_then() -> None:
    generation = talking((2, Advised(CODING)), (20, Advised(STALE)), clocks=replace(DEEP, heartbeat=Seconds(50)))
    generation.tell_soon(at(20))
    (beat,) = orders_of(generation, 20)
    assert isinstance(beat, Heartbeat)
    assert "stuck" in str(beat)
    assert beat.now.doing == "stuck"
    assert generation.due(Timer.HEARTBEAT) == at(70)


def test_where_nobody_is_told_nothing_wakes_for_it() -> None:
    generation = talking((2, Advised(STALE)))
    generation.tell_soon(at(2))
    assert generation.due(Timer.HEARTBEAT) == NEVER


def test_suspicion_after_an_extension_leaves_half_a_step_in_which_to_recover() -> None:
    generation = talking((2, Advised(CODING)), (121, Advised(CODING)))
    assert lengths(generation.record(Advised(STALE), at(122))) == [(132, 128)]
    assert orders_of(generation, 122) == (), "suspicion itself ends nothing"
    assert orders_of(generation, 128) == (Cancel(Broken(Limit.TOTAL, Seconds(128))),)
    generation = talking((2, Advised(CODING)), (121, Advised(CODING)), (122, Advised(STALE)), (125, Advised(CODING)))
    assert lengths(orders_of(generation, 128)) == [(128, 140)]


def test_it_may_recover_and_is_extended_then() -> None:
    generation = talking((2, Advised(CODING)), (60, Advised(STALE)), (70, Advised(CODING)))
    assert lengths(orders_of(generation, 120)) == [(120, 132)]


def test_a_loop_ends_it_at_once_and_the_first_verdict_stands() -> None:
    generation = talking((2, Advised(CODING)))
    assert generation.record(Advised(LOOP), at(50)) == (Cancel(None, LOOP),)
    assert (generation.outcome, generation.looped, generation.broken) == (Outcome.LOOPING, LOOP, None)
    assert generation.record(Advised(LOOP), at(51)) == ()
    assert generation.record(Advised(STALE), at(51)) == ()
    generation.record(Closed(), at(52))
    assert (generation.outcome, generation.ended_at) == (Outcome.LOOPING, at(50))


def test_a_loop_that_is_seen_after_the_last_word_ends_no_answer() -> None:
    generation = talking((50, Finished()))
    assert generation.record(Advised(LOOP), at(50)) == (Cancel(None, None),)
    assert (generation.outcome, generation.looped) == (Outcome.FINISHED, None)


def test_what_only_has_to_close_is_not_given_more_time() -> None:
    generation = talking((2, Advised(CODING)), (100, Finished()))
    assert orders_of(generation, 120) == (Cancel(None, None),)
    assert generation.outcome is Outcome.FINISHED


def test_while_a_person_is_waited_for_its_clock_stands_and_so_do_its_steps() -> None:
    generation = talking((2, Advised(CODING)), (100, Paused(PERSON)))
    assert generation.due(Timer.TOTAL) == NEVER
    generation.record(Resumed(PERSON), at(400))
    assert generation.due(Timer.TOTAL) == at(420)
    assert lengths(orders_of(generation, 420)) == [(120, 132)]
    assert generation.due(Timer.TOTAL) == at(432)


def test_half_of_what_remains_counts_on_the_clock_that_stood_still() -> None:
    generation = talking((2, Advised(CODING)), (20, Paused(PERSON)), (320, Resumed(PERSON)))
    assert lengths(generation.record(Advised(STALE, shorten=True), at(340))) == [(120, 80)]
    assert generation.due(Timer.TOTAL) == at(380)


def test_a_tool_that_is_waited_for_stops_no_total() -> None:
    generation = talking((2, Advised(CODING)), (100, Paused("tool")))
    assert lengths(orders_of(generation, 120)) == [(120, 132)]


def test_what_was_given_holds_only_as_far_as_the_new_terms_have_room() -> None:
    generation = talking((2, Advised(CODING)), (130, Advised(CODING)))
    generation.renew(Clocks(total=Seconds(125), extend_to=Seconds(130)), at(130))
    assert generation.deadline.length(generation.clocks) == Seconds(130)
    generation.renew(Clocks(total=Seconds(100), extend_to=Seconds(100)), at(130))
    assert generation.deadline.length(generation.clocks) == Seconds(100)
    assert orders_of(generation, 130) == (Cancel(Broken(Limit.TOTAL, Seconds(100))),)


def test_a_part_of_a_call_has_what_was_given_to_the_whole() -> None:
    above, beneath = deadline(), deadline(NOTHING)
    above.extend(DEEP, at(130))
    beneath.go_on_from(above, DEEP)
    assert beneath.at(DEEP) == at(132)
    hard = Clocks(total=Seconds(100), extend_to=Seconds(105))
    other = deadline(NOTHING, clocks=hard)
    other.go_on_from(above, hard)
    assert other.at(hard) == at(105)


def test_a_load_that_is_seen_late_takes_nothing_that_was_given() -> None:
    loading = replace(DEEP, total_from=TotalFrom.READY)
    generation = Generation(loading, at(0), phase=Phase.LOADING, model="m")
    for now, fact in ((0.0, Asked()), (200.0, Ready()), (210.0, Content()), (211.0, Advised(CODING))):
        generation.record(fact, at(now))
    assert lengths(orders_of(generation, 320)) == [(120, 132)]
    assert generation.due(Timer.TOTAL) == at(332)


def test_the_verdict_of_a_generation_in_other_hands_is_taken_with_its_loop() -> None:
    beneath, above = talking((2, Advised(LOOP))), talking()
    above.follow(beneath)
    assert (above.outcome, above.looped) == (Outcome.LOOPING, LOOP)


# -- the three lines --------------------------------------------------------------------------------------------


def resolved(**values: float) -> Resolved:
    layers = [mode_layer("deep"), *([Layer(Rank.CALL, "the call", dict(values))] if values else [])]
    return resolve(tuple(layers), Situation(warm=True))


def late(generation: Generation, found: Resolved, elapsed: float) -> list[str]:
    assert generation.broken is not None
    return str(timeout_error(generation.broken, generation, found, elapsed=elapsed, door=DOOR)).splitlines()


def test_a_total_that_was_extended_says_why_it_took_longer() -> None:
    found = resolved()
    generation = talking((2, Advised(CODING)), (239, Advised(CODING)), clocks=found.clocks)
    orders_of(generation, 240)
    assert late(generation, found, 240) == [
        "m request timed out (240s total) (1 token in 240s so far, kept in .partial)",
        "total = 120 comes from mode deep, + 120s because it was getting on (extend_to)",
        "to wait longer:  hangtight.watch(..., total=480)",
    ]


def test_a_total_that_was_halved_says_why_it_took_less() -> None:
    found = resolved()
    generation = talking((40, Advised(STALE, shorten=True)), clocks=found.clocks)
    orders_of(generation, 80)
    assert late(generation, found, 80)[:2] == [
        "m request timed out (80s total) (1 token in 80s so far, kept in .partial)",
        "total = 120 comes from mode deep, 40s less because it seemed to be stuck (intent.shorten)",
    ]


def test_a_call_without_total_that_has_only_what_is_left_of_another_says_no_more_than_that() -> None:
    found = resolve((Layer(Rank.CALL, "the call", {"total": None}),), Situation(warm=True, left=40))
    generation = talking(clocks=found.clocks)
    orders_of(generation, 40)
    assert late(generation, found, 40)[1] == "total = None comes from the call"


@pytest.mark.parametrize(
    ("door", "why", "line"),
    [
        (DOOR, "", "to let it go on:  hangtight.watch(..., intent=False)"),
        (
            DOOR,
            "hangtight log 7f3a",
            "to let it go on:  hangtight.watch(..., intent=False)      why: hangtight log 7f3a",
        ),
        (Door("hangtight run --{flag} {value}"), "", "to let it go on:  hangtight run --no-intent"),
    ],
)
def test_a_loop_says_what_was_seen_who_wants_that_and_how_it_may_go_on(door: Door, why: str, line: str) -> None:
    generation = talking((2, Advised(LOOP)))
    error = looping_error(LOOP, generation, elapsed=2, door=door, origin="mode deep sets the total", why=why)
    assert str(error).splitlines() == [
        "m stuck - repeats itself: the same 200 characters, 3 times in a row (1 token in 2s so far, kept in .partial)",
        "intent = on (mode deep sets the total)",
        line,
    ]
    assert isinstance(error, Looping)
    assert (error.limit, error.model, error.source) == ("intent", "m", "mode deep sets the total")
    assert (error.waited, error.elapsed, error.tokens, error.loop) == (2, 2, 1, LOOP)


def test_it_is_on_where_somebody_extends_a_total_that_no_mode_sets() -> None:
    layers = (Layer(Rank.CALL, "the call", {"total": 100.0, "extend_to": 150.0}),)
    assert meant(None, layers, None) == (ON, "the call gives extend_to")


def test_total_is_moved_up_by_no_more_than_is_left_for_it() -> None:
    """What lies behind that is meant for others: the next step of a task."""
    sound = Advised(Finding(act=Act.EXTEND, doing=Doing.CODING))
    for more, ends in ((15.0, 135.0), (500.0, 240.0)):
        machine = Generation(Clocks(total=Seconds(120.0), extend_to=Seconds(240.0)), Instant(0.0))
        machine.record(Content(), Instant(1.0))
        machine.record(sound, Instant(2.0))
        machine.extend_at_most(more)
        while machine.outcome is None:
            machine.wake(machine.due(Timer.TOTAL))
        assert machine.ended_at == ends
