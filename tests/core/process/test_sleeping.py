"""Sleep and wake within their limits, and what takes their place: the lines are those of the log, to the byte."""

from __future__ import annotations

from hangtight.core.process.facts import SleepDone
from hangtight.core.process.phases import Phase
from hangtight.core.time import Seconds
from tests.core.process.world import NEVER_ENDS, SLEEP, Script, asleep, ready, sleeper


def test_a_sleep_that_takes_15_s_falls_back_to_a_stop_under_a_limit_of_10() -> None:
    world = ready(sleeper(sleep=Seconds(10)), Script(sleep=Seconds(15)))
    world.tell(SLEEP)
    world.run(60)
    assert world.phase() is Phase.STOPPED
    assert world.lines[:2] == [
        "[INFO]  <gpt-oss-20b> Executing cmdSleep (timeout: 10s)",
        "[ERROR] <gpt-oss-20b> cmdSleep timed out after 10s, falling back to Stop()",
    ]
    assert world.errors == ["sleep command timed out after 10s"]
    assert world.kinds() == ["RunSleep", "FellBack", "BreakOff", "Stop"]


def test_a_sleep_that_takes_15_s_sleeps_under_a_limit_of_20() -> None:
    world = ready(sleeper(sleep=Seconds(20)), Script(sleep=Seconds(15)))
    world.tell(SLEEP)
    world.run(60)
    assert world.phase() is Phase.ASLEEP
    assert world.lines == [
        "[INFO]  <gpt-oss-20b> Executing cmdSleep (timeout: 20s)",
        "[INFO]  <gpt-oss-20b> Model sleep completed in 15.0s",
    ]
    assert world.errors == []


def test_a_sleep_that_fails_falls_back_to_a_stop_and_says_why() -> None:
    world = ready(sleeper(), Script(sleep_fails="exit code 7: no such level"))
    world.tell(SLEEP)
    world.run(60)
    assert world.phase() is Phase.STOPPED
    assert "[ERROR] <gpt-oss-20b> cmdSleep failed, falling back to Stop(): exit code 7: no such level" in world.lines
    assert world.errors == ["sleep command failed: exit code 7: no such level"]
    assert world.process.snapshot(world.now).why == world.errors[0]


def test_a_wake_that_takes_45_s_restarts_under_a_limit_of_30_and_who_waits_is_served() -> None:
    world = asleep(sleeper(wake=Seconds(30)), Script(wake=Seconds(45)))
    world.want()
    world.run(100)
    assert world.phase() is Phase.READY
    assert world.lines[:2] == [
        "[INFO]  <gpt-oss-20b> Executing cmdWake (timeout: 30s)",
        "[ERROR] <gpt-oss-20b> cmdWake timed out after 30s, restarting process",
    ]
    assert world.errors == ["wake command timed out after 30s"]
    assert world.kinds() == ["RunWake", "FellBack", "BreakOff", "Stop", "Start", "Probe", "ProbeNoMore", "Open"]
    assert world.process.running == 1


def test_a_wake_that_takes_45_s_wakes_under_a_limit_of_60() -> None:
    world = asleep(sleeper(wake=Seconds(60)), Script(wake=Seconds(45)))
    world.want()
    world.run(100)
    assert world.phase() is Phase.READY
    assert world.lines == [
        "[INFO]  <gpt-oss-20b> Executing cmdWake (timeout: 60s)",
        "[INFO]  <gpt-oss-20b> Model wake completed in 45.0s",
    ]
    assert world.process.running == 1


def test_a_wake_that_fails_restarts_and_says_why() -> None:
    world = asleep(sleeper(), Script(wake_fails="exit code 22"))
    world.want()
    world.run(100)
    assert world.phase() is Phase.READY
    assert "[ERROR] <gpt-oss-20b> cmdWake failed, restarting process: exit code 22" in world.lines
    assert world.errors == ["wake command failed: exit code 22"]


def test_the_lines_of_the_log_are_those_that_were_asked_for() -> None:
    script = Script(sleep=Seconds(15.2), wake=Seconds(2.1))
    world = ready(sleeper(sleep=Seconds(120), wake=Seconds(90)), script)
    world.tell(SLEEP)
    world.run(30)
    world.want()
    world.run(40)
    assert world.lines == [
        "[INFO]  <gpt-oss-20b> Executing cmdSleep (timeout: 120s)",
        "[INFO]  <gpt-oss-20b> Model sleep completed in 15.2s",
        "[INFO]  <gpt-oss-20b> Executing cmdWake (timeout: 90s)",
        "[INFO]  <gpt-oss-20b> Model wake completed in 2.1s",
    ]


def test_who_comes_while_it_falls_asleep_waits_and_wakes_it() -> None:
    world = ready(sleeper())
    world.tell(SLEEP)
    world.want()
    assert world.phase() is Phase.SLEEPING
    world.run(20)
    assert world.phase() is Phase.READY
    assert world.process.running == 1


def test_a_sleep_that_ends_in_the_moment_of_its_limit_has_slept() -> None:
    world = ready(sleeper(sleep=Seconds(10)), Script(sleep=Seconds(10)))
    world.tell(SLEEP)
    world.run(60)
    assert world.phase() is Phase.ASLEEP


def test_what_a_command_says_after_it_was_broken_off_changes_nothing() -> None:
    world = ready(sleeper(sleep=Seconds(1)), Script(stop=NEVER_ENDS))
    world.tell(SLEEP)
    world.run(6.5)
    assert world.phase() is Phase.STOPPING
    world.tell(SleepDone())
    assert world.phase() is Phase.STOPPING
