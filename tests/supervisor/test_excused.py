"""What is not held against a server, and told to whom: our own sleep, a patient request, somebody else's fallback."""

from __future__ import annotations

import asyncio

import pytest

from hangtight.core.process.facts import PutAway, Rest, SleepDone, SleepFailed, Why
from hangtight.core.time import FOREVER
from hangtight.supervisor.fleet import Fleet
from hangtight.testing.loop import JumpingLoop
from tests.supervisor.scripted import House, Request, Script, ScriptedHands, house, phases, run_as, scripted, sleepy
from tests.supervisor.test_turns import play

__all__ = ["house"]


class Patient(Request):
    """No token of it can be seen."""

    patience = FOREVER


def suspended(seconds: float) -> None:
    JumpingLoop.here().suspend(seconds)


# -- we stood still -------------------------------------------------------------------------------------------


def test_a_command_that_ended_while_we_stood_still_has_not_timed_out(house: House) -> None:
    async def scene() -> None:
        async with scripted(sleepy("a", sleep=10.0)) as fleet:
            house.scripts["a"] = Script(sleep=1000.0)
            await Request(fleet, "a").task
            put = asyncio.create_task(fleet.put("a", "sleep"))
            await asyncio.sleep(1)
            suspended(60)
            # Its end is heard a moment after the alarm, as that of a real process may be.
            asyncio.get_running_loop().call_later(0.1, fleet._servers["a"].note, SleepDone())
            assert (await put)["ok"]
            assert "hangtight stood still for 51.0s" in fleet.log("a").decode()

    play(scene())


def test_one_that_is_really_late_is_judged_a_moment_later(house: House) -> None:
    async def scene() -> None:
        async with scripted(sleepy("a", sleep=10.0)) as fleet:
            house.scripts["a"] = Script(sleep=1000.0)
            await Request(fleet, "a").task
            put = asyncio.create_task(fleet.put("a", "sleep"))
            await asyncio.sleep(1)
            suspended(60)
            assert "timed out" in (await put)["why"]

    play(scene())


def test_a_loop_that_is_always_late_comes_to_a_judgement_too(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", hang=10.0)) as fleet:
            request = Request(fleet, "a", holds=1000)
            for _ in range(100):
                await asyncio.sleep(0.5)
                suspended(0.2)
            assert request.cut_off

    play(scene())


def test_neither_ttl_nor_hang_counts_while_we_stand_still(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", hang=10.0, ttl=30.0)) as fleet:
            request = Request(fleet, "a", holds=3600)
            await asyncio.sleep(6)
            suspended(3600)
            await request.task
            assert not request.cut_off, "its answer had come meanwhile"
            await asyncio.sleep(5)
            suspended(3600)
            await asyncio.sleep(0.5)
            assert phases(fleet) == {"a": "ready"}, "who wants it may have come meanwhile"
            await asyncio.sleep(5)
            assert phases(fleet) == {"a": "stopped"}, "nobody has"

    play(scene())


# -- patience -------------------------------------------------------------------------------------------------


def test_one_patient_request_does_not_end_the_watch_for_good(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", hang=50.0)) as fleet:
            patient = Patient(fleet, "a", holds=20)
            await asyncio.sleep(10)
            others = []
            for _ in range(12):  # they overlap: it is never without a request
                others.append(Request(fleet, "a", holds=15))
                await asyncio.sleep(10)
            assert patient.done
            assert any(other.cut_off for other in others)
            assert "process stuck - no output for 50s" in fleet.log("a").decode()

    play(scene())


# -- what the gateway has seen --------------------------------------------------------------------------------


async def asked(fleet: Fleet, seconds: float) -> None:
    """Somebody left, and it goes on; the gateway looks for so long, and sees it stop then."""
    asking = asyncio.create_task(fleet.still_running("a", "", fleet.now()))
    await asyncio.sleep(seconds)
    asking.cancel()


@pytest.mark.parametrize(("seconds", "phase"), [(14.0, "ready"), (301.0, "stopped")])
def test_it_may_go_on_without_anybody_for_as_long_as_it_may_hang(house: House, seconds: float, phase: str) -> None:
    async def scene() -> None:
        async with scripted(run_as("a")) as fleet:
            await Request(fleet, "a").task
            await asked(fleet, seconds)
            await asyncio.sleep(1)
            found = phases(fleet)["a"]
            assert found == phase or (phase == "stopped" and found == "failed")

    play(scene())


def test_a_token_or_a_new_life_begins_it_anew(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a")) as fleet:
            await Request(fleet, "a").task
            asking = asyncio.create_task(fleet.still_running("a", "", fleet.now()))
            await asyncio.sleep(200)
            came = fleet.now()
            fleet.progress = lambda model: came
            await asyncio.sleep(200)
            assert phases(fleet)["a"] == "ready"
            await fleet.put("a", "stop")
            await Request(fleet, "a").task
            await asking
            assert phases(fleet)["a"] == "ready"

    play(scene())


def test_where_nothing_is_called_hung_nothing_is_stopped(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", hang=None)) as fleet:
            await Request(fleet, "a").task
            await fleet.still_running("a", "", fleet.now())
            assert phases(fleet)["a"] == "ready"

    play(scene())


# -- who is told of a fallback --------------------------------------------------------------------------------


def test_each_of_two_operators_is_told_of_the_fallback(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: ScriptedHands, command: object, done: object, failed: type[SleepFailed]) -> None:
        self._later("command", 5.0, failed("exit code 1"))

    async def scene() -> None:
        async with scripted(sleepy("a")) as fleet:
            await Request(fleet, "a").task
            monkeypatch.setattr(ScriptedHands, "run", fails)
            first = asyncio.create_task(fleet.put("a", "sleep"))
            await asyncio.sleep(2)
            second = asyncio.create_task(fleet.put("a", "sleep"))
            await asyncio.sleep(3.5)
            third = asyncio.create_task(fleet.put("a", "wake"))
            told = [await first, await second]
            assert [each["why"] for each in told] == ["sleep command failed: exit code 1"] * 2
            assert (await third)["ok"], "it asked later, and for something else"

    play(scene())


def test_a_wake_that_fell_back_is_told_though_somebody_else_asks_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: ScriptedHands, command: object, done: object, failed: type[SleepFailed]) -> None:
        self._later("command", 5.0, failed("exit code 1") if failed is not SleepFailed else done)  # type: ignore[arg-type]

    async def scene() -> None:
        async with scripted(sleepy("a")) as fleet:
            await Request(fleet, "a").task
            monkeypatch.setattr(ScriptedHands, "run", fails)
            assert (await fleet.put("a", "sleep"))["ok"]
            first = asyncio.create_task(fleet.put("a", "wake"))
            await asyncio.sleep(5.5)  # it has fallen back, and starts anew
            second = asyncio.create_task(fleet.put("a", "wake"))
            assert (await first)["why"] == "wake command failed: exit code 1"
            assert (await second)["ok"]

    play(scene())


# -- the end --------------------------------------------------------------------------------------------------


def test_who_is_in_a_hurry_has_all_killed(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", stop=600.0, stop_command=("docker", "stop"))) as fleet:
            house.scripts["a"] = Script(stop=500.0)
            await Request(fleet, "a").task
            fleet._servers["a"].note(PutAway(Rest.STOP, Why.SWAP))
            closing = asyncio.create_task(fleet.close())
            await asyncio.sleep(100)
            assert house.orders == ["start a", "stop a"]
            fleet.hurry()
            await closing
            assert house.orders == ["start a", "stop a", "kill a"]

    play(scene())
