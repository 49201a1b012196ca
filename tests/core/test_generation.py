"""The machine of one generation, by arithmetic on instants: the time contract row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hangtight.core.facts import (
    Absent,
    Admitted,
    Asked,
    Broke,
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
    Queued,
    Ready,
    Reasoning,
    Resident,
    Resumed,
    Slept,
    Whole,
)
from hangtight.core.generation import Generation
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.limits import Limit
from hangtight.core.orders import Broken, Cancel, CancelAgain, Excused
from hangtight.core.phases import IllegalFact, Outcome, Phase
from hangtight.core.time import FOREVER, NEVER, Instant, Seconds
from hangtight.core.timers import Clocks, Timer, TotalFrom

DEFAULTS = Clocks()
COLD = Clocks(first_token=Seconds(105), cold=Seconds(60), late=Seconds(60), total_from=TotalFrom.FIRST_PROGRESS)
LOADING = Clocks(total_from=TotalFrom.READY)


def at(seconds: float) -> Instant:
    return Instant(float(seconds))


def lived(
    *story: tuple[float, Fact], clocks: Clocks = DEFAULTS, phase: Phase = Phase.WAITING, asked: bool = True
) -> Generation:
    """A generation that starts at 0, with somebody waiting, to which all this happened."""
    generation = Generation(clocks, at(0), phase=phase, model="mistral-7b")
    for now, fact in ((0, Asked()), *story) if asked else story:
        generation.record(fact, at(now))
    return generation


def streaming(*tokens: float, clocks: Clocks = DEFAULTS) -> Generation:
    """Tokens came at these instants, and each time the reader asked on at once."""
    return lived(*((now, fact) for now in tokens for fact in (Content(), Asked())), clocks=clocks)


def broken(generation: Generation, now: float) -> Broken | None:
    """The limit that is broken at this instant, and not a moment before."""
    assert generation.next_wakeup() == at(now)
    assert generation.wake(at(now - 0.001)) == ()
    orders = generation.wake(at(now))
    assert [type(order) for order in orders] == [Cancel]
    assert generation.outcome in (Outcome.TIMEOUT, Outcome.FINISHED)
    assert generation.phase is Phase.CANCELLING
    return generation.broken


# -- the limits -----------------------------------------------------------------------------------------------


def test_first_token_is_counted_from_the_request() -> None:
    assert broken(lived(), 45) == Broken(Limit.FIRST_TOKEN, Seconds(45))


def test_idle_is_counted_from_the_last_progress() -> None:
    assert broken(streaming(1, 2, 10), 55) == Broken(Limit.IDLE, Seconds(45))


def test_total_is_counted_from_the_call_and_no_token_moves_it() -> None:
    generation = streaming(*range(30, 600, 30))
    assert generation.due(Timer.SILENCE) == at(615)
    assert broken(generation, 600) == Broken(Limit.TOTAL, Seconds(600))


def test_thinking_stands_in_for_idle_from_the_first_reasoning_until_content() -> None:
    generation = lived((10, Reasoning()), (10, Asked()))
    assert generation.next_wakeup() == at(310)
    generation.record(Reasoning(), at(100))
    generation.record(Asked(), at(100))
    assert generation.next_wakeup() == at(400)
    generation.record(Content(), at(101))
    generation.record(Asked(), at(101))
    assert generation.next_wakeup() == at(146)


def test_a_model_that_only_pings_while_it_thinks_has_exactly_thinking() -> None:
    pings = [(float(now), fact) for now in range(20, 300, 20) for fact in (Contact(), Handed(), Asked())]
    assert broken(lived((10, Reasoning()), (10, Asked()), *pings), 310) == Broken(Limit.THINKING, Seconds(300))


def test_a_request_that_asks_for_reasoning_has_thinking_from_the_start() -> None:
    assert broken(lived(clocks=Clocks(reasons=True)), 300) == Broken(Limit.THINKING, Seconds(300))
    generation = lived((200, Content()), (200, Asked()), clocks=Clocks(reasons=True))
    assert broken(generation, 245) == Broken(Limit.IDLE, Seconds(45))


def test_an_unstreamed_answer_has_unstreamed_and_total() -> None:
    assert broken(lived(phase=Phase.UNSTREAMED), 300) == Broken(Limit.UNSTREAMED, Seconds(300))
    clocks = Clocks(unstreamed=FOREVER)
    assert broken(lived(clocks=clocks, phase=Phase.UNSTREAMED), 600) == Broken(Limit.TOTAL, Seconds(600))


def test_a_place_in_the_queue_has_queue_and_then_first_token_from_the_slot_on() -> None:
    assert broken(lived(phase=Phase.QUEUED), 300) == Broken(Limit.QUEUE, Seconds(300))
    assert broken(lived((100, Admitted()), phase=Phase.QUEUED), 145) == Broken(Limit.FIRST_TOKEN, Seconds(45))


def test_standing_in_line_is_not_kept_alive_by_being_told_so_again() -> None:
    generation = lived((0, Queued()), *((float(now), Queued()) for now in range(10, 300, 10)))
    assert broken(generation, 300) == Broken(Limit.QUEUE, Seconds(300))


def test_a_limit_that_is_not_there_never_rings() -> None:
    endless = Clocks(total=FOREVER, first_token=FOREVER)
    assert lived(clocks=endless).next_wakeup() == NEVER


# -- progress and contact -------------------------------------------------------------------------------------


def test_contact_moves_nothing_and_is_shown() -> None:
    generation = streaming(10)
    generation.record(Contact(), at(50))
    assert generation.next_wakeup() == at(55)
    shown = generation.snapshot(at(54))
    assert (shown.silence, shown.in_contact) == (44, True)
    assert not streaming(10).snapshot(at(54)).in_contact


def test_silence_counts_only_while_somebody_waits_for_a_token() -> None:
    generation = lived((1, Content()))
    assert generation.next_wakeup() == at(600)

    generation.record(Asked(), at(40))
    assert generation.next_wakeup() == at(85)


def test_the_time_in_which_the_reader_holds_a_ping_is_taken_out_of_the_silence() -> None:
    generation = lived((10, Content()), (10, Asked()), (30, Contact()), (30, Handed()))
    assert generation.next_wakeup() == at(600)
    generation.record(Asked(), at(130))
    assert broken(generation, 155) == Broken(Limit.IDLE, Seconds(45))


def test_the_alarm_is_there_in_time_for_a_reader_that_asks_on_after_it_held_a_ping() -> None:
    generation = lived((10, Content()), (10, Asked()), (54, Contact()), (54, Handed()))
    assert generation.armed_until(at(55)) == at(56)
    overdue = lived((10, Content()), (10, Asked()), (55, Contact()), (55, Handed()))
    assert overdue.armed_until(at(58)) == at(58)
    generation.record(Asked(), at(55.5))
    assert broken(generation, 56.5) == Broken(Limit.IDLE, Seconds(45))


def test_the_alarm_is_there_in_time_for_whatever_clock_a_fact_may_start() -> None:
    assert streaming(10).armed_until(at(20)) == at(55)
    calm = Clocks(cancel=FOREVER, idle=FOREVER, thinking=FOREVER, queue=FOREVER, load=FOREVER, unstreamed=FOREVER)
    assert lived(clocks=replace(calm, idle=Seconds(7))).armed_until(at(1)) == at(8)
    cold = lived(clocks=replace(calm, first_token=Seconds(75), cold=Seconds(60)))
    assert (cold.armed_until(at(3)), cold.armed_until(at(20))) == (at(15), at(35))
    soon = replace(calm, first_token=FOREVER, total=Seconds(4), late=Seconds(60), total_from=TotalFrom.FIRST_PROGRESS)
    assert lived(clocks=soon).armed_until(at(5)) == at(9), "a total that may start now"


def test_asking_twice_and_handing_over_twice_change_nothing() -> None:
    generation = lived((10, Content()), (10, Asked()), (20, Asked()))
    assert generation.next_wakeup() == at(55)
    for now in (30, 40):
        generation.record(Handed(), at(now))
    generation.record(Asked(), at(50))
    assert generation.next_wakeup() == at(75)


def test_a_generation_for_which_nobody_has_asked_yet_has_no_silence() -> None:
    generation = lived(asked=False)
    assert generation.next_wakeup() == at(600)
    generation.record(Asked(), at(20))
    assert generation.next_wakeup() == at(65)


def test_a_token_at_the_very_instant_of_the_alarm_wins() -> None:
    generation = streaming(10)
    generation.record(Content(), at(55))
    assert generation.wake(at(55)) == ()
    assert generation.outcome is None
    generation.record(Asked(), at(55))
    assert generation.next_wakeup() == at(100)


def test_an_early_alarm_does_nothing() -> None:
    generation = streaming(10)
    assert generation.wake(at(54.999)) == ()
    assert generation.next_wakeup() == at(55)


# -- what a server tells of its load and its reading ----------------------------------------------------------


@pytest.mark.parametrize("sign", [LoadProgress(), PrefillProgress()])
def test_load_and_prefill_progress_restart_first_token(sign: Fact) -> None:
    assert broken(lived((40, sign)), 85) == Broken(Limit.FIRST_TOKEN, Seconds(45))


@pytest.mark.parametrize("sign", [Resident(), Ready()])
def test_a_server_that_says_again_that_the_model_is_there_keeps_nothing_alive(sign: Fact) -> None:
    assert broken(lived(*((float(now), sign) for now in range(1, 45))), 45) == Broken(Limit.FIRST_TOKEN, Seconds(45))


@pytest.mark.parametrize("sign", [LoadProgress(), PrefillProgress(), Ready(), Absent(), Resident()])
def test_once_content_flows_they_are_mere_contact(sign: Fact) -> None:
    generation = streaming(10)
    generation.record(sign, at(50))
    assert generation.phase is Phase.STREAMING
    assert generation.snapshot(at(50)).in_contact
    assert generation.next_wakeup() == at(55)


@pytest.mark.parametrize("sign", [LoadProgress(), PrefillProgress(), Ready(), Absent(), Resident()])
def test_for_an_unstreamed_answer_they_are_too(sign: Fact) -> None:
    assert lived((50, sign), phase=Phase.UNSTREAMED).next_wakeup() == at(300)


def test_an_absent_model_has_load_and_then_first_token_and_total_from_ready_on() -> None:
    generation = lived(clocks=LOADING, phase=Phase.LOADING)
    assert broken(generation, 300) == Broken(Limit.LOAD, Seconds(300))

    generation = lived((250, Ready()), clocks=LOADING, phase=Phase.LOADING)
    assert generation.phase is Phase.WAITING
    assert generation.next_wakeup() == at(295)
    assert generation.due(Timer.TOTAL) == at(850)


def test_load_progress_restarts_load_for_ever() -> None:
    generation = lived(
        *((float(now), LoadProgress()) for now in range(0, 3000, 290)), clocks=LOADING, phase=Phase.LOADING
    )
    assert generation.next_wakeup() == at(290 * 10 + 300)


def test_being_told_again_that_the_model_is_absent_is_no_load_progress() -> None:
    polls = [(float(now), Absent()) for now in range(0, 300, 5)]
    assert broken(lived(*polls, clocks=COLD), 300) == Broken(Limit.LOAD, Seconds(300))


@pytest.mark.parametrize("sign", [Ready(), PrefillProgress(), Resident()])
def test_a_load_is_over_when_the_server_says_so_or_reads_the_prompt(sign: Fact) -> None:
    generation = lived((100, sign), clocks=LOADING, phase=Phase.LOADING)
    assert (generation.phase, generation.next_wakeup()) == (Phase.WAITING, at(145))
    assert generation.due(Timer.TOTAL) == at(700)


def test_a_load_is_over_at_the_first_content_at_the_latest() -> None:
    generation = lived((100, Content()), (100, Asked()), clocks=LOADING, phase=Phase.LOADING)
    assert (generation.next_wakeup(), generation.due(Timer.TOTAL)) == (at(145), at(700))


def test_a_total_that_the_call_gave_runs_during_the_load() -> None:
    generation = lived(clocks=Clocks(total=Seconds(120)), phase=Phase.LOADING)
    assert broken(generation, 120) == Broken(Limit.TOTAL, Seconds(120))


def test_a_model_that_turns_out_to_be_absent_goes_into_load_without_the_allowance() -> None:
    generation = lived((2, Absent()), clocks=COLD)
    assert (generation.phase, generation.next_wakeup()) == (Phase.LOADING, at(302))
    generation.record(Ready(), at(200))
    assert (generation.next_wakeup(), generation.due(Timer.TOTAL)) == (at(245), at(800))


def test_the_allowance_is_gone_after_a_load_that_was_seen_though_the_call_gave_total() -> None:
    clocks = Clocks(total=Seconds(1000), first_token=Seconds(105), cold=Seconds(60))
    generation = lived((2, Absent()), (100, PrefillProgress()), clocks=clocks)
    assert (generation.next_wakeup(), generation.due(Timer.TOTAL)) == (at(145), at(1000))


def test_a_slot_that_is_given_while_the_model_loads_leaves_it_loading() -> None:
    generation = lived((10, Absent()), (20, Admitted()), clocks=LOADING, phase=Phase.QUEUED)
    assert (generation.phase, generation.next_wakeup()) == (Phase.LOADING, at(310))


def test_a_queued_call_for_an_absent_model_that_turns_out_to_be_there_starts_its_total() -> None:
    generation = lived((10, Resident()), clocks=LOADING, phase=Phase.QUEUED)
    assert (generation.phase, generation.due(Timer.TOTAL)) == (Phase.QUEUED, at(610))


# -- cold models ----------------------------------------------------------------------------------------------


def test_a_model_of_which_nothing_is_known_has_60_s_more_for_its_first_token() -> None:
    assert broken(lived(clocks=COLD), 105) == Broken(Limit.FIRST_TOKEN, Seconds(105))


@pytest.mark.parametrize(("first", "end"), [(1, 601), (60, 660), (90, 660)])
def test_total_then_starts_with_the_first_progress_at_most_60_s_late(first: float, end: float) -> None:
    generation = streaming(first, clocks=COLD)
    assert generation.due(Timer.TOTAL) == at(end)
    assert generation.due(Timer.SILENCE) == at(first + 45)


def test_a_first_token_that_the_call_gave_does_not_take_the_late_start_from_total() -> None:
    clocks = Clocks(first_token=Seconds(90), late=Seconds(60), total_from=TotalFrom.FIRST_PROGRESS)
    assert streaming(50, clocks=clocks).due(Timer.TOTAL) == at(650)


def test_a_model_that_is_resident_has_no_allowance_and_its_total_starts_with_the_call() -> None:
    generation = lived((1, Resident()), clocks=COLD)
    assert generation.due(Timer.TOTAL) == at(600)
    assert broken(generation, 45) == Broken(Limit.FIRST_TOKEN, Seconds(45))


def test_the_alarm_is_there_in_time_for_the_news_that_the_model_is_resident() -> None:
    slow_to_follow = Clocks(
        first_token=Seconds(80), cold=Seconds(60), idle=FOREVER, cancel=FOREVER, queue=FOREVER, late=Seconds(60),
        total=Seconds(21), total_from=TotalFrom.FIRST_PROGRESS,
    )  # fmt: skip
    assert lived(clocks=slow_to_follow).armed_until(at(2)) == at(20)
    unasked = lived(asked=False, clocks=slow_to_follow)
    assert unasked.armed_until(at(2)) == at(21), "total, if it were resident"
    assert unasked.armed_until(at(15)) == at(21)


def test_news_that_come_after_the_limit_do_not_show_that_the_silence_was_no_load() -> None:
    generation = lived((50, Resident()), clocks=COLD)
    assert broken(generation, 95) == Broken(Limit.FIRST_TOKEN, Seconds(45))
    assert lived((100, Resident()), clocks=COLD).next_wakeup() == at(105), "never longer than the allowance"


def test_news_that_come_after_the_end_of_total_leave_it_its_late_start() -> None:
    clocks = Clocks(total=Seconds(30), late=Seconds(60), total_from=TotalFrom.FIRST_PROGRESS)
    generation = lived((40, Resident()), clocks=clocks, phase=Phase.UNSTREAMED)
    assert generation.due(Timer.TOTAL) == at(90)


def test_residency_takes_nothing_from_a_model_that_thinks_from_the_start() -> None:
    clocks = Clocks(first_token=Seconds(105), cold=Seconds(60), reasons=True)
    assert lived((100, Resident()), clocks=clocks).next_wakeup() == at(300)


def test_ready_ends_an_allowance_and_starts_both_clocks() -> None:
    generation = lived((50, Ready()), clocks=COLD)
    assert (generation.next_wakeup(), generation.due(Timer.TOTAL)) == (at(95), at(650))
    generation.record(Ready(), at(60))
    assert (generation.next_wakeup(), generation.due(Timer.TOTAL)) == (at(95), at(650))


# -- the parent's ceiling -------------------------------------------------------------------------------------


def test_no_allowance_reaches_past_what_a_parent_has_left() -> None:
    inside = Clocks(total=Seconds(100), ceiling=Seconds(110), first_token=Seconds(150), cold=Seconds(60),
                    late=Seconds(60), total_from=TotalFrom.FIRST_PROGRESS)  # fmt: skip
    assert broken(lived(clocks=inside), 110) == Broken(Limit.TOTAL, Seconds(110))
    assert streaming(5, clocks=inside).due(Timer.TOTAL) == at(105)
    assert streaming(50, clocks=inside).due(Timer.TOTAL) == at(110)


def test_a_load_does_not_reach_past_it_either_and_says_how_long_it_was() -> None:
    inside = Clocks(total=Seconds(30), ceiling=Seconds(100), total_from=TotalFrom.READY)
    assert broken(lived(clocks=inside, phase=Phase.LOADING), 100) == Broken(Limit.TOTAL, Seconds(100))


# -- pauses ---------------------------------------------------------------------------------------------------


def test_while_a_tool_is_waited_for_no_silence_counts_but_total_does() -> None:
    generation = lived((10, Content()), (10, Asked()), (20, Paused("tool")))
    assert generation.next_wakeup() == at(600)
    generation.record(Resumed("tool"), at(120))
    assert generation.next_wakeup() == at(155)
    assert generation.due(Timer.TOTAL) == at(600)


def test_while_a_person_is_waited_for_total_stands_too() -> None:
    generation = lived((10, Content()), (10, Asked()), (20, Paused("person")))
    assert generation.next_wakeup() == NEVER
    generation.record(Resumed("person"), at(1020))
    assert generation.next_wakeup() == at(1055)
    assert generation.due(Timer.TOTAL) == at(1600)


def test_the_alarm_is_there_in_time_for_the_end_of_a_pause() -> None:
    generation = lived((10, Content()), (10, Asked()), (54, Paused("tool")))
    assert generation.armed_until(at(80)) == at(81)
    late = streaming(*range(10, 600, 10))
    late.record(Paused("person"), at(598))
    assert late.armed_until(at(1000)) == at(1002)


def test_the_heartbeat_goes_on_while_a_person_is_waited_for() -> None:
    generation = lived((1, Paused("person")), clocks=Clocks(heartbeat=Seconds(15)))
    assert generation.next_wakeup() == at(15)


def test_pauses_may_overlap_and_their_time_counts_once() -> None:
    story: list[tuple[float, Fact]] = [
        (10, Content()),
        (10, Asked()),
        (20, Paused("tool")),
        (30, Paused("person")),
        (40, Paused("person")),
        (50, Resumed("person")),
        (60, Resumed("tool")),
    ]
    generation = lived(*story)
    assert generation.next_wakeup() == NEVER
    generation.record(Resumed("person"), at(70))
    assert (generation.due(Timer.SILENCE), generation.due(Timer.TOTAL)) == (at(105), at(640))


def test_a_pause_in_which_the_reader_held_a_ping_is_taken_out_once() -> None:
    held: list[tuple[float, Fact]] = [(20, Paused("tool")), (30, Handed()), (40, Asked()), (60, Resumed("tool"))]
    assert lived((10, Content()), (10, Asked()), *held).next_wakeup() == at(95)


def test_a_pause_while_the_reader_holds_a_token_changes_nothing() -> None:
    generation = lived((10, Content()), (20, Paused("tool")), (30, Resumed("tool")), (40, Asked()))
    assert generation.next_wakeup() == at(85)


def test_a_total_that_starts_during_a_persons_pause_gets_back_only_what_was_after_its_start() -> None:
    generation = lived((10, Paused("person")), (30, Content()), (50, Resumed("person")), clocks=COLD)
    assert generation.due(Timer.TOTAL) == at(610 + 40)


def test_the_time_of_a_person_is_given_back_whatever_else_moves_total() -> None:
    pause: list[tuple[float, Fact]] = [(5, Paused("person")), (105, Resumed("person"))]
    assert lived(*pause, (106, Resident()), clocks=COLD).due(Timer.TOTAL) == at(700)
    assert lived(*pause, (106, Absent()), (110, Ready()), clocks=COLD).due(Timer.TOTAL) == at(710)
    inside = Clocks(ceiling=Seconds(200), total_from=TotalFrom.READY)
    assert lived(*pause, (106, Ready()), clocks=inside, phase=Phase.LOADING).due(Timer.TOTAL) == at(300)


def test_a_pause_that_nobody_began_cannot_end() -> None:
    generation = lived((1, Paused("tool")))
    with pytest.raises(ValueError, match="not in list"):
        generation.record(Resumed("person"), at(2))
    assert generation.phase is Phase.WAITING


# -- late alarms ----------------------------------------------------------------------------------------------


def test_our_own_lateness_is_charged_to_no_silence_and_total_is_not_excused() -> None:
    generation = streaming(10)
    assert generation.record(Slept(60.0), at(90)) == (Excused(Seconds(60.0)),)
    assert (generation.due(Timer.SILENCE), generation.due(Timer.TOTAL)) == (at(115), at(600))


def test_more_than_the_whole_silence_is_never_excused() -> None:
    generation = streaming(10)
    generation.record(Slept(1000.0), at(90))
    assert generation.next_wakeup() == at(135)


def test_what_was_no_silence_is_not_excused_again() -> None:
    held = lived((10, Content()), (10, Asked()), (20, Handed()), (80, Asked()), (80, Slept(55.0)))
    assert held.next_wakeup() == at(115), "all but 5 s of it were the reader's"
    paused = lived((10, Content()), (10, Asked()), (20, Paused("tool")), (80, Slept(50.0)), (90, Resumed("tool")))
    assert paused.next_wakeup() == at(125)


def test_a_ping_that_came_with_the_late_alarm_does_not_bring_the_lateness_back() -> None:
    generation = lived((10, Content()), (10, Asked()), (80, Contact()), (80, Handed()), (80, Slept(60.0)))
    generation.record(Asked(), at(81))
    assert generation.next_wakeup() == at(81 + 35)


# -- ends -----------------------------------------------------------------------------------------------------


def test_silence_after_the_finish_reason_is_the_end_of_a_whole_answer() -> None:
    generation = lived((10, Content()), (10, Finished()), (10, Asked()))
    assert generation.next_wakeup() == at(55)
    assert generation.wake(at(55)) == (Cancel(None),)
    assert (generation.outcome, generation.broken, generation.ended_at) == (Outcome.FINISHED, None, at(55))
    generation.record(Closed(End.CUT), at(56))
    assert generation.outcome is Outcome.FINISHED


def test_the_end_of_total_after_the_finish_reason_is_no_timeout_either() -> None:
    generation = streaming(*range(10, 600, 10))
    generation.record(Finished(), at(599))
    assert generation.wake(at(600)) == (Cancel(None),)
    assert generation.outcome is Outcome.FINISHED


def test_a_finish_reason_that_is_repeated_keeps_nothing_open() -> None:
    generation = lived((10, Content()), (10, Asked()), *((float(now), Finished()) for now in range(20, 60, 5)))
    assert generation.wake(at(65)) == (Cancel(None),)


def test_a_second_choice_may_go_on_after_the_first_has_finished() -> None:
    generation = lived((10, Content()), (10, Finished()), (11, Content()), (11, Asked()))
    assert (generation.phase, generation.lane) == (Phase.STREAMING, Content)
    assert broken(generation, 56) == Broken(Limit.IDLE, Seconds(45))


def test_a_model_that_finishes_without_a_word_has_its_total_all_the_same() -> None:
    generation = lived((20, Finished()), (20, Handed()), clocks=LOADING, phase=Phase.LOADING)
    assert generation.next_wakeup() == at(620)


@pytest.mark.parametrize(
    ("story", "outcome"),
    [
        ([Content(), Finished(), Closed(End.CUT)], Outcome.FINISHED),
        ([Content(), Closed(End.WHOLE)], Outcome.FINISHED),
        ([Content(), Closed()], Outcome.FINISHED),
        ([Content(), Closed(End.MARKED)], Outcome.UNFINISHED),
        ([Content(), Closed(End.CUT)], Outcome.TRUNCATED),
        ([Closed(End.CUT)], Outcome.TRUNCATED),
        ([Content(), Broke()], Outcome.FAILED),
        ([Content(), Left(), Closed()], Outcome.LEFT),
        ([Content(), Finished(), Left(), Closed()], Outcome.FINISHED),
        ([Content(), Cancelled(), Closed()], Outcome.CANCELLED),
        ([Content(), Cancelled(), Left(), Broke()], Outcome.CANCELLED),
        ([Content(), Left(), Cancelled(), Content(), Finished(), Closed(End.CUT)], Outcome.LEFT),
    ],
)
def test_every_end_has_one_verdict(story: list[Fact], outcome: Outcome) -> None:
    generation = lived(*((float(now), fact) for now, fact in enumerate(story, start=1)))
    assert (generation.phase, generation.outcome) == (Phase.ENDED, outcome)
    assert generation.next_wakeup() == generation.armed_until(at(99)) == NEVER
    assert generation.wake(at(9999)) == ()
    with pytest.raises(IllegalFact):
        generation.record(Content(), at(9999))


def test_a_source_that_does_not_stop_is_told_again() -> None:
    generation = streaming(10)
    generation.wake(at(55))
    for number, now in enumerate((60, 65, 70), start=1):
        assert generation.next_wakeup() == generation.armed_until(at(now - 1)) == at(now)
        assert generation.wake(at(now)) == (CancelAgain(number),)
    generation.record(Closed(), at(71))
    assert (generation.outcome, generation.ended_at) == (Outcome.TIMEOUT, at(55))


def test_what_was_on_its_way_when_it_was_stopped_still_counts_as_received() -> None:
    generation = lived((1, Left()), (2, Queued()), (2, Admitted()), (3, Content()), (4, Reasoning()), (5, Finished()))
    assert (generation.phase, generation.tokens, generation.lane) == (Phase.CANCELLING, 2, None)
    assert generation.next_wakeup() == at(6)


# -- ties and heartbeats --------------------------------------------------------------------------------------


def test_of_two_alarms_at_one_instant_the_wider_promise_is_told() -> None:
    same = Seconds(30)
    generation = lived(clocks=Clocks(total=same, first_token=same, heartbeat=same))
    assert broken(generation, 30) == Broken(Limit.TOTAL, same)
    generation = lived(clocks=Clocks(first_token=same, heartbeat=same))
    assert broken(generation, 30) == Broken(Limit.FIRST_TOKEN, same)


def test_the_heartbeat_rings_each_interval_from_the_call_on_until_the_end() -> None:
    generation = streaming(1, clocks=Clocks(idle=FOREVER, heartbeat=Seconds(15)))
    for now in (15, 30, 45):
        assert generation.next_wakeup() == at(now)
        [beat] = generation.wake(at(now))
        assert isinstance(beat, Heartbeat)
        assert beat.elapsed == now
    generation.record(Left(), at(46))
    assert generation.due(Timer.HEARTBEAT) == NEVER


def test_heartbeats_that_were_slept_through_are_not_made_up_for() -> None:
    generation = lived(clocks=Clocks(first_token=FOREVER, heartbeat=Seconds(15)))
    generation.wake(at(52))
    assert generation.next_wakeup() == at(67)
    generation.wake(at(68))
    assert generation.next_wakeup() == at(82)


def test_a_heartbeat_says_how_long_and_what_is_known() -> None:
    generation = Generation(Clocks(heartbeat=Seconds(15)), at(0), model="qwen3-coder:latest")
    generation.record(Asked(), at(0))
    [silent] = generation.wake(at(44))
    assert str(silent) == "Still waiting on qwen3-coder:latest... 44s elapsed"
    generation = streaming(10, clocks=Clocks(heartbeat=Seconds(15)))
    generation.record(Contact(), at(14))
    [pinging] = generation.wake(at(15))
    assert str(pinging) == "Still waiting on mistral-7b... 15s elapsed, 1 token (pings, no content for 5s)"


# -- for people -----------------------------------------------------------------------------------------------


def test_a_snapshot_shows_where_it_stands_and_what_would_ring() -> None:
    shown = streaming(10, 12).snapshot(at(20))
    assert (shown.phase, shown.elapsed, shown.tokens, shown.silence) == (Phase.STREAMING, 20, 2, 8)
    assert (shown.first_token, shown.nearest, shown.rings_in) == (10, Limit.IDLE, 37)
    assert lived((1, Content())).snapshot(at(2)).nearest is Limit.TOTAL


def test_a_snapshot_shows_as_silence_only_what_counts_as_silence() -> None:
    generation = lived((10, Paused("person")))
    shown = generation.snapshot(at(500))
    assert (shown.silence, shown.nearest, shown.rings_in, shown.elapsed) == (10, None, None, 500)


def test_a_snapshot_of_the_end_stands_still() -> None:
    generation = lived()
    generation.wake(at(45))
    for now in (46, 1000):
        shown = generation.snapshot(at(now))
        assert (shown.elapsed, shown.silence, shown.nearest) == (45, 45, None)
    born_and_gone = Generation(DEFAULTS, at(0))
    born_and_gone.record(Broke(), at(0))
    assert born_and_gone.snapshot(at(100)).elapsed == 0


def test_the_lane_is_open_while_content_or_reasoning_flows_and_nothing_is_paused() -> None:
    generation = lived()
    assert generation.lane is None
    for fact, lane in (
        (Content(), Content),
        (Reasoning(), Reasoning),
        (Paused("tool"), None),
        (Resumed("tool"), Reasoning),
        (Content(), Content),
        (Finished(), None),
    ):
        generation.record(fact, at(1))
        assert generation.lane is lane


# -- what the clients ask of it ---------------------------------------------------------------------------------------


def test_a_call_that_began_earlier_has_so_much_less_of_its_total() -> None:
    generation = lived(clocks=replace(DEFAULTS, total=Seconds(100)))
    generation.date_back(at(-30))
    assert generation.due(Timer.TOTAL) == at(70)
    assert generation.due(Timer.SILENCE) == at(45), "the silence counts from the request"
    assert generation.snapshot(at(10)).elapsed == 40


def test_the_attempts_before_are_part_of_what_people_are_told() -> None:
    generation = streaming(5)
    generation.earlier = Seconds(30)
    snapshot = generation.snapshot(at(10))
    assert (snapshot.elapsed, snapshot.first_token) == (40, 35)


def test_other_lengths_hold_from_the_start_once_they_are_given() -> None:
    generation = streaming(1)
    generation.renew(replace(COLD, idle=Seconds(7), total=Seconds(50)), at(3))
    assert generation.due(Timer.SILENCE) == at(8)
    assert generation.due(Timer.TOTAL) == at(50), "a model that answers is warm"
    unanswered = lived()
    unanswered.renew(COLD, at(3))
    assert unanswered.due(Timer.SILENCE) == at(105)
    assert unanswered.due(Timer.TOTAL) == at(660)


def test_an_answer_whose_head_shows_that_it_comes_whole_has_the_limit_for_that() -> None:
    generation = lived((40, Whole()))
    assert generation.phase is Phase.UNSTREAMED
    assert generation.due(Timer.SILENCE) == at(340)
    generation.record(Content(), at(100))
    generation.record(Asked(), at(100))
    assert generation.due(Timer.SILENCE) == at(400), "its pieces are progress"


def test_a_watch_takes_the_verdict_of_the_generation_beneath_it() -> None:
    beneath = streaming(1)
    beneath.wake(at(46))
    above = lived()
    above.follow(beneath)
    assert (above.outcome, above.broken) == (Outcome.TIMEOUT, Broken(Limit.IDLE, Seconds(45)))
