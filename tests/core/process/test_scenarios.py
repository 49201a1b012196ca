"""Starts, swaps, idle and hung servers, and the end of them, in virtual time."""

from __future__ import annotations

import pytest

from hangtight.core.process.facts import (
    Adopted,
    Ending,
    Entered,
    Exited,
    Gone,
    Healthy,
    Hung,
    Left,
    LoadProgress,
    Progressed,
    PutAway,
    Renewed,
    Rest,
    Spawned,
    SpawnFailed,
    Stubborn,
    Wanted,
    Why,
)
from hangtight.core.process.machine import Process
from hangtight.core.process.orders import CutOff, Kill, Open, Probe, Start, Stop, TurnAway
from hangtight.core.process.phases import IllegalFact, Phase
from hangtight.core.process.terms import Clock, Terms
from hangtight.core.time import FOREVER, NEVER, Instant, Seconds
from tests.core.process.world import NEVER_ENDS, SLEEP, Script, World, asleep, ready, sleeper

STOP = PutAway(Rest.STOP, Why.SWAP)
OPERATOR = PutAway(Rest.STOP, Why.OPERATOR)
RELOAD = PutAway(Rest.STOP, Why.RELOAD)
SHUTDOWN = PutAway(Rest.STOP, Why.SHUTDOWN)


def at(seconds: float) -> Instant:
    return Instant(seconds)


# -- start ----------------------------------------------------------------------------------------------------


def test_a_start_is_told_and_who_waits_goes_in() -> None:
    world = World(Terms(), Script(start=Seconds(12.34)))
    world.want()
    world.want()
    world.run(20)
    assert world.lines == [
        "[INFO]  <gpt-oss-20b> Executing cmd (timeout: 120s)",
        "[INFO]  <gpt-oss-20b> Model start completed in 12.3s",
    ]
    assert world.kinds() == ["Start", "Probe", "ProbeNoMore", "Open"]
    assert world.process.running == 2
    assert world.process.admits


def test_the_clock_of_a_start_counts_from_the_spawn_and_nothing_that_callers_do_moves_it() -> None:
    process = Process(Terms(start=Seconds(30)), at(0))
    process.record(Wanted(), at(0))
    process.record(Spawned(7), at(4))
    process.record(Wanted(), at(20))
    assert process.alarm() == (Clock.START, at(34))


def test_a_start_that_takes_too_long_is_ended_and_who_waits_is_told_why() -> None:
    world = World(Terms(start=Seconds(30)), Script(start=NEVER_ENDS))
    world.want()
    world.run(32)
    assert world.phase() is Phase.FAILED
    assert [(away.why, away.retry_after) for away in world.refused] == [("start timed out after 30s", Seconds(1))]
    assert "[ERROR] <gpt-oss-20b> start timed out after 30s" in world.lines
    assert "[WARN]  <gpt-oss-20b> failed once, no new start for 1s" in world.lines


@pytest.mark.parametrize("stall", [None, Seconds(30)])
def test_who_waited_in_vain_is_told_what_the_check_answered_last(stall: Seconds | None) -> None:
    world = World(Terms(start=Seconds(30), stall=stall), Script(start=NEVER_ENDS))
    world.want()
    world.process.heard = "GET /health was answered 302"
    world.run(30)
    assert world.refused[0].why.endswith("30s; GET /health was answered 302")
    world.run(50)
    world.want()
    assert world.process.heard == ""


def test_a_load_that_gets_on_is_left_alone_up_to_the_ceiling() -> None:
    world = World(Terms(start=Seconds(100), stall=Seconds(10)), Script(start=NEVER_ENDS))
    world.want()
    for now in range(0, 100, 9):
        world.run(now)
        world.tell(LoadProgress())
    assert world.process.alarm() == (Clock.START, at(100))
    world.run(100)
    assert world.refused[0].why == "start timed out after 100s"


def test_a_load_without_progress_is_stuck() -> None:
    world = World(Terms(start=Seconds(100), stall=Seconds(10)), Script(start=NEVER_ENDS))
    world.want()
    world.run(5)
    world.tell(LoadProgress())
    assert world.process.alarm() == (Clock.STALL, at(15))
    world.run(15)
    assert world.phase() is Phase.STOPPING
    assert world.refused[0].why == "load stuck - no progress for 10s"


def test_a_command_that_does_not_exist_fails_and_is_not_tried_again_at_once() -> None:
    world = World(Terms(), Script(no_command="no such file: llama-serve"))
    world.want()
    world.run(0)
    assert world.phase() is Phase.FAILED
    assert world.refused[0].why == "cmd failed: no such file: llama-serve"
    world.want()
    assert world.refused[1] == TurnAway("cmd failed: no such file: llama-serve", Seconds(1.0))
    world.run(1)
    world.want()
    assert world.phase() is Phase.STARTING


def test_one_that_exits_at_once_is_told_with_its_exit_code() -> None:
    world = World(Terms())
    world.want()
    world.run(1)
    world.crash("exit code 3")
    assert world.refused[0].why == "process exited (exit code 3) before it was ready"
    assert world.phase() is Phase.STOPPING  # its children may hold the port
    assert world.orders[-1] == Kill()
    world.run(2)
    assert world.phase() is Phase.FAILED
    assert not any("Process killed" in line for line in world.lines)


def test_the_pause_doubles_with_each_failure_and_is_the_longest_after_too_many() -> None:
    terms = Terms(first_pause=Seconds(2), longest_pause=Seconds(10), most_failures=4)
    world = World(terms, Script(no_command="no"))
    pauses: list[float] = []
    for _ in range(6):
        world.want()
        world.run(world.now)
        pauses.append(world.refused[-1].retry_after)
        world.run(world.now + pauses[-1])
    assert pauses == [2, 4, 8, 10, 10, 10]
    assert world.process.snapshot(world.now).failures == 6
    assert "[WARN]  <gpt-oss-20b> failed 3 times in a row, no new start for 8s" in world.lines
    assert Terms(most_failures=10**6).pause(10**5) == Seconds(60)


def test_an_operator_does_not_wait_for_the_end_of_a_pause() -> None:
    world = World(Terms(), Script(no_command="no"))
    world.want()
    world.run(0)
    world.script.no_command = ""
    world.want(insists=True)
    world.run(10)
    assert world.phase() is Phase.READY


@pytest.mark.parametrize("wish", [OPERATOR, RELOAD])
def test_who_looked_at_one_that_failed_gives_it_a_new_try(wish: PutAway) -> None:
    world = World(Terms(), Script(no_command="no"))
    world.want()
    world.run(0)
    world.tell(wish)
    assert world.phase() is Phase.STOPPED
    assert world.process.failures.row == 0


def test_one_that_was_ready_for_long_has_worked_and_what_failed_before_is_forgotten() -> None:
    world = World(Terms(), Script(no_command="no"))
    world.want()
    world.run(1)
    world.want()
    world.run(3)
    assert world.process.failures.row == 2
    world.script.no_command = ""
    world.want()
    world.run(100)
    world.crash("killed by SIGSEGV")
    assert world.process.failures.row == 1
    assert world.lines[-1] == "[ERROR] <gpt-oss-20b> process exited (killed by SIGSEGV) while ready"
    world.want()
    world.run(101)
    assert world.phase() is Phase.STARTING  # the first failure of one that was ready is free


def test_one_that_crashes_again_soon_after_it_was_ready_has_to_pause() -> None:
    world = ready(Terms())
    world.crash()
    world.run(6)
    assert world.phase() is Phase.FAILED
    world.want()
    world.run(12)
    assert world.phase() is Phase.READY
    world.crash()
    world.run(13)
    world.want()
    assert world.refused[-1].why == "process exited (exit code 1) while ready"


def test_one_that_dies_in_its_sleep_starts_for_the_next_who_wants_it() -> None:
    world = asleep(sleeper())
    world.crash("killed by SIGKILL")
    assert world.lines[-1] == "[ERROR] <gpt-oss-20b> process exited (killed by SIGKILL) while asleep"
    world.want()
    world.run(20)
    assert world.phase() is Phase.READY


def test_one_that_dies_while_it_wakes_turns_away_who_waits() -> None:
    world = asleep(sleeper())
    world.want()
    world.crash()
    assert world.refused[0].why == "process exited (exit code 1) before it was ready"
    assert world.kinds()[-3:] == ["BreakOff", "TurnAway", "Kill"]


def test_one_of_an_earlier_life_is_adopted_and_probed() -> None:
    process = Process(Terms(), at(0))
    assert process.record(Adopted(4711), at(3)) == (Probe(),)
    assert process.pid == 4711
    assert process.alarm() == (Clock.START, at(123))
    process.record(Healthy(), at(4))
    assert process.phase is Phase.READY


def test_what_is_spawned_is_spawned_once() -> None:
    process = Process(Terms(), at(0))
    process.record(Wanted(), at(0))
    process.record(Spawned(4), at(0))
    for fact in (Spawned(5), SpawnFailed("no")):
        with pytest.raises(IllegalFact):
            process.record(fact, at(1))
    assert process.pid == 4


def test_renewed_lengths_hold_for_the_clock_that_runs() -> None:
    process = Process(Terms(), at(0))
    process.record(Wanted(), at(0))
    process.record(Renewed(Terms(start=Seconds(7))), at(1))
    assert process.next_wakeup() == at(7)


# -- out of the way -------------------------------------------------------------------------------------------


def test_requests_in_flight_are_waited_for_before_a_swap() -> None:
    world = ready(sleeper(), busy=True)
    world.tell(SLEEP)
    assert world.phase() is Phase.DRAINING
    assert not world.process.admits
    assert world.lines == ["[INFO]  <gpt-oss-20b> Waiting for 1 request before sleep: swap (timeout: 300s)"]
    world.run(200)
    assert world.phase() is Phase.DRAINING
    world.tell(Left())
    assert world.phase() is Phase.SLEEPING
    assert "CutOff" not in world.kinds()


def test_a_drain_that_takes_too_long_is_cut_off() -> None:
    world = ready(Terms(drain=Seconds(30)), busy=True)
    world.tell(STOP)
    world.run(35)
    assert world.kinds() == ["CutOff", "Stop"]
    assert CutOff("drain timed out after 30s") in world.orders
    assert "[WARN]  <gpt-oss-20b> drain timed out after 30s, cutting off 1 request" in world.lines
    assert world.process.running == 0


def test_an_urgent_wish_waits_for_nobody() -> None:
    world = ready(Terms(), busy=True)
    world.tell(PutAway(Rest.STOP, Why.SWAP, urgent=True))
    assert world.kinds() == ["CutOff", "Stop"]
    assert CutOff("it was stopped at once") in world.orders
    world.tell(PutAway(Rest.STOP, Why.SWAP, urgent=True))
    assert world.kinds() == ["CutOff", "Stop", "Kill"]


def test_a_drain_becomes_urgent() -> None:
    world = ready(sleeper(), busy=True)
    world.tell(SLEEP)
    world.tell(PutAway(Rest.SLEEP, Why.SWAP, urgent=True))
    assert world.kinds() == ["CutOff", "RunSleep"]


def test_one_that_was_only_idle_stays_if_somebody_comes() -> None:
    world = ready(Terms(), busy=True)
    world.tell(PutAway(Rest.STOP, Why.TTL))
    assert world.process.snapshot(world.now).leaving is Why.TTL
    world.want()
    assert world.phase() is Phase.READY
    assert world.process.running == 2


@pytest.mark.parametrize("wish", [STOP, OPERATOR, RELOAD])
def test_who_comes_while_it_drains_for_somebody_waits_for_its_next_life(wish: PutAway) -> None:
    world = ready(Terms(), busy=True)
    world.tell(wish)
    world.tell(PutAway(Rest.STOP, Why.TTL))  # a weaker wish takes nothing back
    world.want()
    assert world.phase() is Phase.DRAINING
    world.tell(Left())
    world.run(20)
    assert world.phase() is Phase.READY
    assert world.process.running == 1


def test_a_model_that_cannot_sleep_stops() -> None:
    world = ready(Terms())
    world.tell(SLEEP)
    world.run(6)
    assert world.phase() is Phase.STOPPED
    assert world.lines == [
        "[INFO]  <gpt-oss-20b> Stopping process: swap (timeout: 10s)",
        "[INFO]  <gpt-oss-20b> Process stopped in 1.0s",
    ]


def test_a_load_that_another_model_wants_gone_serves_first_who_waits() -> None:
    world = World(sleeper())
    world.want()
    world.run(1)
    world.tell(SLEEP)
    assert world.phase() is Phase.STARTING
    world.run(5)
    assert world.phase() is Phase.DRAINING
    assert world.process.running == 1
    world.tell(Left())
    assert world.phase() is Phase.SLEEPING


def test_if_nobody_goes_in_after_all_it_leaves_at_once() -> None:
    world = World(sleeper())
    world.enters = False
    world.want()
    world.run(1)
    world.tell(SLEEP)
    world.tell(STOP)
    world.run(5)
    assert world.phase() is Phase.STOPPING


def test_a_swap_that_was_asked_for_while_it_woke_holds_also_when_the_wake_fails() -> None:
    world = asleep(sleeper(), Script(wake_fails="exit code 1"))
    world.want()
    world.tell(SLEEP)
    world.run(13)
    assert world.phase() is Phase.STARTING
    world.run(20)
    assert world.phase() is Phase.DRAINING
    world.tell(Left())
    world.run(30)
    assert world.phase() is Phase.ASLEEP


def test_a_swap_that_comes_while_somebody_waits_for_its_return_is_not_forgotten() -> None:
    world = ready(sleeper())
    world.tell(SLEEP)
    world.want()
    world.tell(SLEEP)
    world.run(20)
    assert world.phase() is Phase.DRAINING
    world.tell(Left())
    world.run(30)
    assert world.phase() is Phase.ASLEEP
    assert world.process.leaving is None


@pytest.mark.parametrize("wish", [OPERATOR, SHUTDOWN])
def test_a_load_is_broken_off_by_who_says_stop_and_who_waits_is_turned_away(wish: PutAway) -> None:
    world = World(Terms())
    world.want()
    world.run(1)
    world.tell(wish)
    assert world.kinds() == ["Start", "Probe", "TurnAway", "ProbeNoMore", "Stop"]
    world.run(5)
    assert world.phase() is Phase.STOPPED


def test_a_load_with_old_settings_is_broken_off_and_starts_anew_for_who_waits() -> None:
    world = World(Terms())
    world.want()
    world.run(1)
    world.tell(RELOAD)
    assert world.phase() is Phase.STOPPING
    world.run(20)
    assert world.phase() is Phase.READY
    assert world.process.running == 1


def test_a_stop_that_is_asked_for_before_it_was_spawned_waits_for_the_spawn() -> None:
    process = Process(Terms(), at(0))
    process.record(Wanted(), at(0))
    assert process.record(OPERATOR, at(0)) == (TurnAway("it was stopped before it was ready", Seconds(1.0)),)
    assert process.record(Spawned(9), at(1))[-1] == Stop()
    process.record(Gone(), at(2))
    assert process.phase is Phase.STOPPED


def test_a_spawn_that_fails_after_a_stop_was_asked_for_needs_no_stop() -> None:
    process = Process(Terms(), at(0))
    process.record(Wanted(), at(0))
    process.record(OPERATOR, at(0))
    assert process.record(SpawnFailed("no"), at(1)) == ()
    assert process.phase is Phase.STOPPED


def test_a_sleep_turns_into_a_stop_when_somebody_wants_that() -> None:
    world = ready(sleeper())
    world.tell(SLEEP)
    world.tell(PutAway(Rest.SLEEP, Why.OPERATOR))
    assert world.phase() is Phase.SLEEPING
    world.tell(OPERATOR)
    assert world.kinds() == ["RunSleep", "BreakOff", "Stop"]


def test_one_that_is_away_stays_so() -> None:
    world = asleep(sleeper())
    world.tell(SLEEP)
    assert world.phase() is Phase.ASLEEP
    world.tell(STOP)
    world.run(20)
    assert world.phase() is Phase.STOPPED
    world.tell(STOP)
    assert world.phase() is Phase.STOPPED


# -- idle and hung --------------------------------------------------------------------------------------------


def test_idle_counts_from_the_end_of_the_last_request() -> None:
    world = ready(sleeper(ttl=Seconds(60)), busy=True)
    world.run(100)
    assert world.phase() is Phase.READY
    world.tell(Left())
    assert world.process.alarm() == (Clock.TTL, at(160))
    world.tell(Healthy())  # a probe does not touch it
    world.run(159)
    assert world.phase() is Phase.READY
    world.run(170)
    assert world.phase() is Phase.ASLEEP
    assert world.lines[0] == "[INFO]  <gpt-oss-20b> Idle for 60s (ttl)"


def test_an_idle_one_that_cannot_sleep_stops() -> None:
    world = ready(Terms(ttl=Seconds(60)))
    world.run(70)
    assert world.phase() is Phase.STOPPED


def test_without_ttl_nothing_rings() -> None:
    assert ready(Terms()).process.next_wakeup() == NEVER


def test_requests_without_a_token_from_anywhere_are_a_hung_server() -> None:
    world = ready(Terms(hang=Seconds(50)), busy=True)
    world.run(30)
    world.process.progressed(world.now)
    world.tell(Entered())
    assert world.process.alarm() == (Clock.HANG, at(80))
    world.tell(Progressed())
    world.run(79)
    assert world.phase() is Phase.READY
    world.run(80)
    assert world.lines[0] == ("[ERROR] <gpt-oss-20b> process stuck - no output for 50s with 2 requests running")
    assert world.kinds() == ["CutOff", "Stop"]
    assert CutOff("process stuck - no output for 50s with 2 requests running") in world.orders
    world.want()
    world.run(90)
    assert world.phase() is Phase.READY  # restarted for who waits


def test_a_silence_with_nobody_inside_is_no_hang() -> None:
    world = ready(Terms(hang=Seconds(50)))
    world.run(1000)
    world.tell(Entered())
    assert world.process.alarm() == (Clock.HANG, at(1050))


def test_requests_that_give_up_one_after_the_other_find_a_hung_server_together() -> None:
    world = ready(Terms(hang=Seconds(50)))
    for _ in range(2):
        world.tell(Entered(Seconds(20)))
        world.run(world.now + 20)
        world.tell(Left(Ending.SILENT))
        world.run(world.now + 100)  # nobody is inside: that is no silence
    world.tell(Entered(Seconds(20)))
    assert world.process.alarm() == (Clock.HANG, at(world.now + 10))


@pytest.mark.parametrize("end", [Ending.OTHER, Ending.WELL])
def test_who_leaves_early_or_was_served_says_nothing_against_it(end: Ending) -> None:
    world = ready(Terms(hang=Seconds(50)))
    for _ in range(9):
        world.tell(Entered())
        world.run(world.now + 20)
        world.tell(Left(end))
    world.tell(Entered())
    assert world.process.alarm() == (Clock.HANG, at(world.now + 50))


def test_a_token_forgives_the_silences_before_it() -> None:
    world = ready(Terms(hang=Seconds(50)))
    world.tell(Entered(Seconds(40)))
    world.run(40)
    world.tell(Left(Ending.SILENT))
    world.tell(Entered(Seconds(40)))
    world.run(45)
    world.tell(Progressed())
    assert world.process.alarm() == (Clock.HANG, at(95))
    world.run(50)
    world.tell(Left(Ending.SILENT))
    world.tell(Entered())
    assert world.process.alarm() == (Clock.HANG, at(95))


def test_who_can_wait_for_longer_is_not_cut_off_before() -> None:
    world = ready(Terms(hang=Seconds(50)))
    world.tell(Entered(Seconds(900)))
    world.tell(Entered(Seconds(10)))
    assert world.process.alarm() == (Clock.HANG, at(world.now + 900))
    world.tell(Entered(FOREVER))  # no token of it can be seen
    assert world.process.alarm() == (Clock.HANG, NEVER)


def test_one_that_works_in_vain_is_stopped_and_what_is_sound_in_it_may_end() -> None:
    world = ready(Terms(), busy=True)
    world.tell(Hung("it goes on with a request that was cancelled"))
    assert world.phase() is Phase.DRAINING
    assert world.lines[0] == "[ERROR] <gpt-oss-20b> process stuck: it goes on with a request that was cancelled"
    world.want()
    world.tell(Left())
    assert world.kinds() == ["Kill"]
    world.run(20)
    assert world.phase() is Phase.READY
    assert world.process.running == 1


def test_one_that_works_in_vain_and_for_nobody_else_is_stopped() -> None:
    world = ready(Terms())
    world.tell(Hung("it goes on"))
    assert world.kinds() == ["Stop"]
    world.run(10)
    assert world.phase() is Phase.FAILED


def test_a_drain_for_sleep_ends_in_a_stop_if_it_hangs() -> None:
    world = ready(sleeper(), busy=True)
    world.tell(SLEEP)
    world.tell(Hung("it goes on"))
    world.tell(Left())
    assert world.kinds() == ["Stop"]


def test_news_of_a_hang_that_come_too_late_change_nothing() -> None:
    world = asleep(sleeper())
    world.tell(Hung("it went on"))
    assert world.phase() is Phase.ASLEEP
    assert world.orders == []


# -- the end --------------------------------------------------------------------------------------------------


def test_one_that_ignores_the_stop_is_killed() -> None:
    world = ready(Terms(), Script(stop=NEVER_ENDS))
    world.tell(STOP)
    world.run(16)
    assert world.kinds() == ["Stop", "Kill"]
    assert world.phase() is Phase.STOPPED
    assert world.lines[-2:] == [
        "[WARN]  <gpt-oss-20b> stop timed out after 10s, killing process",
        "[INFO]  <gpt-oss-20b> Process killed in 0.1s",
    ]


def test_nothing_is_started_beside_what_outlived_its_kill() -> None:
    world = ready(Terms(), Script(stop=NEVER_ENDS, survives="pid 4712"))
    world.tell(STOP)
    world.run(16)
    assert world.phase() is Phase.FAILED
    assert not world.process.rests
    assert "[ERROR] <gpt-oss-20b> process stuck - killed, and still there: pid 4712" in world.lines
    world.want()
    assert world.refused[-1].why == "process stuck - killed, and still there: pid 4712"
    world.run(20)
    world.script.survives = ""
    world.want()
    assert world.orders[-1] == Kill()
    assert Start() not in world.orders
    world.run(30)
    assert world.phase() is Phase.READY


def test_what_outlived_its_kill_may_go_by_itself_or_at_the_word_of_an_operator() -> None:
    world = ready(Terms(), Script(survives="pid 4712"))
    world.crash()
    world.run(6)
    assert world.phase() is Phase.FAILED
    world.tell(OPERATOR)
    assert world.orders[-1] == Kill()
    world.run(7)
    world.tell(Stubborn("pid 4712"))
    world.tell(Exited("killed by SIGKILL"))
    world.tell(Gone())
    assert world.process.rests
    assert world.phase() is Phase.FAILED


def test_one_failed_end_is_one_failure() -> None:
    world = World(Terms(start=Seconds(10)), Script(start=NEVER_ENDS, stop=NEVER_ENDS, survives="pid 1"))
    world.want()
    world.run(40)
    assert world.phase() is Phase.FAILED
    assert world.process.failures.row == 1


def test_a_spawn_that_nobody_hears_of_is_given_up_and_killed_when_it_shows_up() -> None:
    process = Process(Terms(start=Seconds(10)), at(0))
    process.record(Wanted(), at(0))
    for now in (10, 20, 30):
        process.wake(Instant(now))
    assert process.phase is Phase.FAILED
    assert process.lingers
    assert process.record(Spawned(5), at(31)) == (Kill(),)
    process.record(Gone(), at(32))
    assert process.rests


def test_after_a_shutdown_it_never_starts_again() -> None:
    world = ready(sleeper(drain=Seconds(5)), busy=True)
    world.tell(PutAway(Rest.SLEEP, Why.SHUTDOWN))
    world.want()
    assert world.refused[-1].why == "hangtight is shutting down"
    world.tell(STOP)
    world.run(20)
    assert world.phase() is Phase.STOPPED  # and not asleep
    world.want()
    assert len(world.refused) == 2
    assert world.phase() is Phase.STOPPED


def test_requests_of_an_earlier_life_may_end_late() -> None:
    world = ready(Terms(), busy=True)
    world.crash()
    world.run(6)
    assert world.phase() is Phase.FAILED
    world.tell(Left())
    with pytest.raises(IllegalFact, match="Left cannot happen to a process that is failed"):
        world.tell(Left())


# -- for people -----------------------------------------------------------------------------------------------


def test_a_snapshot_says_what_it_is_at_and_what_rings_next() -> None:
    world = ready(Terms(hang=Seconds(50)), busy=True)
    world.run(10)
    world.tell(Progressed())
    world.run(12)
    seen = world.process.snapshot(world.now)
    assert (seen.phase, seen.lasts, seen.pid, seen.running) == (Phase.READY, 7, 100, 1)
    assert (seen.nearest, seen.rings_in, seen.quiet) == (Clock.HANG, 48, 2)
    assert (seen.failures, seen.pause, seen.why, seen.waited_for, seen.leaving) == (0, 0, "", False, None)


def test_a_snapshot_of_one_that_rests_names_no_clock() -> None:
    seen = World(Terms()).process.snapshot(at(3))
    assert (seen.nearest, seen.rings_in, seen.quiet) == (None, None, None)
    idle = ready(Terms()).process.snapshot(at(9))
    assert (idle.nearest, idle.rings_in) == (None, None)


def test_who_wants_one_that_is_ready_goes_in_at_once() -> None:
    world = ready(Terms())
    assert world.process.record(Wanted(), at(6)) == (Open(),)
    assert world.process.record(Entered(), at(6)) == ()
