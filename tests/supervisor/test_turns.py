"""Whose turn it is, where not all models can be up at once: in virtual time, with servers that are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as searching
from hypothesis import strategies as st

from hangtight.core.process.facts import PutAway, Rest, Why
from hangtight.core.process.phases import RESTING, Phase
from hangtight.core.time import Instant
from hangtight.rules.running import OTHERS, Group
from hangtight.supervisor.fleet import Fleet
from hangtight.testing.loop import jumping
from tests.supervisor.scripted import House, Request, Script, house, phases, run_as, scripted, sleepy

__all__ = ["house"]


def play(scene: Coroutine[Any, Any, None]) -> None:
    jumping(scene)


async def both(*requests: Request) -> None:
    await asyncio.gather(*(request.task for request in requests))


# -- one machine, many models ---------------------------------------------------------------------------------


def test_a_model_that_comes_waits_until_the_one_before_is_gone(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", "b")) as fleet:
            await Request(fleet, "a").task
            await Request(fleet, "b").task
            assert house.orders == ["start a", "stop a", "start b"]
            assert phases(fleet) == {"a": "stopped", "b": "ready"}

    play(scene())


def test_one_that_can_sleep_sleeps_for_the_other_and_wakes_when_it_is_wanted(house: House) -> None:
    async def scene() -> None:
        async with scripted(sleepy("a", "b")) as fleet:
            for name in ("a", "b", "a"):
                await Request(fleet, name).task
            assert house.orders == ["start a", "sleep a", "start b", "sleep b", "wake a"]

    play(scene())


def test_twenty_at_once_are_one_start(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a")) as fleet:
            requests = [Request(fleet, "a") for _ in range(20)]
            await both(*requests)
            assert house.starts["a"] == 1
            assert {request.answered for request in requests} == {5.01}

    play(scene())


def test_a_request_in_flight_holds_up_the_swap_and_is_not_cut_off(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", "b")) as fleet:
            long = Request(fleet, "a", holds=100)
            await asyncio.sleep(10)
            other = Request(fleet, "b")
            await both(long, other)
            assert not long.cut_off
            assert other.answered == pytest.approx(5.01 + 100 + 1 + 5.01)

    play(scene())


def test_a_request_that_holds_up_a_swap_for_too_long_is_cut_off(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", "b", drain=30.0)) as fleet:
            endless = Request(fleet, "a", holds=10_000)
            await asyncio.sleep(10)
            other = Request(fleet, "b")
            await other.task
            assert endless.cut_off
            assert other.answered == pytest.approx(10 + 30 + 1 + 5.01)

    play(scene())


def test_two_that_are_wanted_all_the_time_take_turns(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", "b")) as fleet:

            async def keep_asking(model: str) -> None:
                for _ in range(30):
                    await Request(fleet, model, holds=1).task

            await asyncio.gather(*(keep_asking(model) for model in "aabb"))
        begun = [order for order in house.orders if order.startswith("start")]
        assert all(one != other for one, other in pairwise(begun))
        assert len(begun) > 10

    play(scene())


def test_who_asked_first_is_up_first_with_three_models_on_one_machine(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", "b", "c")) as fleet:
            first = Request(fleet, "a", holds=20)
            await asyncio.sleep(8)
            second = Request(fleet, "c", holds=20)
            await asyncio.sleep(1)
            third = Request(fleet, "b")
            fourth = Request(fleet, "a")
            fifth = Request(fleet, "c")
            await both(first, second, third, fourth, fifth)
            assert [order for order in house.orders if "start" in order] == ["start a", "start c", "start b", "start a"]
            assert fifth.answered == second.answered, "who asks for a model that is on its way comes in with the first"

    play(scene())


def test_nothing_is_begun_for_who_has_left(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", "b", "c")) as fleet:
            busy = Request(fleet, "a", holds=50)
            await asyncio.sleep(6)
            left, stays = Request(fleet, "b"), Request(fleet, "c")
            await asyncio.sleep(6)
            left.task.cancel()
            await both(busy, stays)
            assert house.starts["b"] == 0
            assert phases(fleet)["c"] == "ready"

    play(scene())


def test_a_load_goes_on_when_who_asked_for_it_has_left(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a")) as fleet:
            left = Request(fleet, "a")
            await asyncio.sleep(2)
            left.task.cancel()
            await asyncio.sleep(4)
            assert phases(fleet) == {"a": "ready"}

    play(scene())


def test_a_place_that_is_given_at_the_very_moment_of_leaving_is_given_back(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", "b")) as fleet:
            left = Request(fleet, "a", holds=1000)
            server = fleet._servers["a"]
            while not server.leases:  # noqa: ASYNC110 - the very turn of the loop in which it opens
                await asyncio.sleep(0.01)
            left.task.cancel()
            await Request(fleet, "b").task
            assert not left.cut_off
            assert not server.leases

    play(scene())


# -- groups ---------------------------------------------------------------------------------------------------


def test_members_of_a_group_that_does_not_swap_are_up_side_by_side(house: House) -> None:
    async def scene() -> None:
        together = Group("together", ("a", "b"), swap=False)
        async with scripted(run_as("a", "b", "c", groups=[together])) as fleet:
            await both(Request(fleet, "a"), Request(fleet, "b"))
            assert phases(fleet) == {"a": "ready", "b": "ready", "c": "stopped"}
            await Request(fleet, "c").task
            assert phases(fleet) == {"a": "stopped", "b": "stopped", "c": "ready"}

    play(scene())


def test_nobody_goes_for_a_group_that_is_not_exclusive(house: House) -> None:
    async def scene() -> None:
        small = Group("small", ("s", "t"), exclusive=False)
        async with scripted(run_as("a", "s", "t", groups=[small])) as fleet:
            for name in ("a", "s", "t"):
                await Request(fleet, name).task
            assert phases(fleet) == {"a": "ready", "s": "stopped", "t": "ready"}

    play(scene())


def test_a_persistent_group_goes_for_nobody(house: House) -> None:
    async def scene() -> None:
        always = Group("always", ("p",), persistent=True, exclusive=False)
        async with scripted(run_as("a", "b", "p", groups=[always])) as fleet:
            for name in ("p", "a", "b"):
                await Request(fleet, name).task
            assert phases(fleet) == {"a": "stopped", "b": "ready", "p": "ready"}

    play(scene())


# -- failures -------------------------------------------------------------------------------------------------


def test_a_start_that_fails_does_not_block_the_others(house: House) -> None:
    async def scene() -> None:
        house.scripts["a"] = Script(fails=1)
        async with scripted(run_as("a", "b")) as fleet:
            broken, other = Request(fleet, "a"), Request(fleet, "b")
            await both(broken, other)
            assert broken.refused is not None
            assert broken.refused.retry_after == 1.0
            assert other.answered is not None

    play(scene())


def test_nobody_goes_for_a_model_that_may_not_start_yet(house: House) -> None:
    async def scene() -> None:
        house.scripts["a"] = Script(fails=3)
        async with scripted(run_as("a", "b")) as fleet:
            for _ in range(3):
                await Request(fleet, "a").task
                await asyncio.sleep(5)
            await asyncio.sleep(0)
            house.scripts["a"] = Script(fails=1)
            await Request(fleet, "a").task
            await Request(fleet, "b").task
            before = house.orders.copy()
            turned_away = Request(fleet, "a")
            await turned_away.task
            assert turned_away.refused is not None
            assert house.orders == before
            assert phases(fleet)["b"] == "ready"

    play(scene())


def test_pauses_between_starts_grow_and_have_an_end(house: House) -> None:
    async def scene() -> None:
        house.scripts["a"] = Script(start=0.1, fails=100)
        async with scripted(run_as("a")) as fleet:
            pauses = []
            for _ in range(8):
                request = Request(fleet, "a")
                await request.task
                assert request.refused is not None
                pauses.append(round(request.refused.retry_after))
                await asyncio.sleep(61)
            assert pauses == [1, 2, 4, 8, 60, 60, 60, 60]

    play(scene())


def test_each_who_is_turned_away_has_an_error_of_his_own(house: House) -> None:
    async def scene() -> None:
        house.scripts["a"] = Script(fails=1)
        async with scripted(run_as("a")) as fleet:
            one, other = Request(fleet, "a"), Request(fleet, "a")
            await both(one, other)
            assert str(one.refused) == str(other.refused)
            assert one.refused is not other.refused

    play(scene())


def test_what_was_killed_in_vain_is_killed_once_more_for_who_needs_its_place(house: House) -> None:
    async def scene() -> None:
        house.scripts["a"] = Script(stop=10_000, survives=2)
        async with scripted(run_as("a", "b")) as fleet:
            await Request(fleet, "a").task
            await Request(fleet, "b").task
            assert house.orders == ["start a", "stop a", "kill a", "kill a", "kill a", "start b"]

    play(scene())


# -- the settings change --------------------------------------------------------------------------------------


def test_nobody_takes_the_place_of_a_model_that_was_taken_out_before_it_is_gone(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", "b")) as fleet:
            busy = Request(fleet, "a", holds=50)
            await asyncio.sleep(6)
            fleet.renew(run_as("b"))
            other = Request(fleet, "b")
            await both(busy, other)
            assert not busy.cut_off
            assert house.orders == ["start a", "stop a", "start b"]

    play(scene())


def test_one_that_comes_back_under_the_same_name_waits_for_its_forerunner(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", "b")) as fleet:
            busy = Request(fleet, "a", holds=50)
            await asyncio.sleep(6)
            fleet.renew(run_as("b"))
            fleet.renew(run_as("a", "b"))
            again = Request(fleet, "a")
            await both(busy, again)
            assert again.refused is None
            assert house.orders == ["start a", "stop a", "start a"]
            assert len(fleet.shown()) == 2

    play(scene())


def test_who_waits_for_a_model_that_is_taken_out_is_told_so_and_it_does_not_start_again(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", "b")) as fleet:
            waits = Request(fleet, "a")
            await asyncio.sleep(1)
            fleet.renew(run_as("b"))
            await waits.task
            assert waits.refused is not None
            await asyncio.sleep(100)
            assert house.orders == ["start a", "stop a"]

    play(scene())


def test_a_model_that_is_run_in_another_way_starts_anew_for_who_waits(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a")) as fleet:
            waits = Request(fleet, "a")
            await asyncio.sleep(1)
            fleet.renew(run_as("a", env=(("A", "1"),)))
            await waits.task
            assert waits.refused is None
            assert house.orders == ["start a", "stop a", "start a"]

    play(scene())


def test_other_clocks_hold_for_what_runs_already(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a")) as fleet:
            await Request(fleet, "a").task
            fleet.renew(run_as("a", ttl=30.0))
            await asyncio.sleep(29)
            assert phases(fleet) == {"a": "ready"}
            await asyncio.sleep(3)
            assert phases(fleet) == {"a": "stopped"}
            assert house.orders == ["start a", "stop a"]

    play(scene())


def test_other_groups_hold_from_the_next_swap_on(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a", "b")) as fleet:
            await Request(fleet, "a").task
            fleet.renew(run_as("a", "b", groups=[Group("together", ("a", "b"), swap=False)]))
            await Request(fleet, "b").task
            assert phases(fleet) == {"a": "ready", "b": "ready"}

    play(scene())


# -- the law --------------------------------------------------------------------------------------------------

NAMES = "abcde"
Step = tuple[str, str, float]
STEPS = st.tuples(
    st.sampled_from(
        ["ask", "ask", "ask", "ask", "leave", "wait", "wait", "stop", "sleep", "wake", "hang", "reload", "unload"]
    ),
    st.sampled_from(NAMES),
    st.sampled_from([0.0, 0.005, 0.3, 2.0, 7.0, 400.0]),
)
GROUPS = (
    Group("one", ("a", "b", "c")),
    Group("side", ("d",), exclusive=False, persistent=True),
    Group(OTHERS, ("e",)),
)
UP = (Phase.STARTING, Phase.READY, Phase.DRAINING, Phase.SLEEPING, Phase.WAKING)
COMING = (Phase.STARTING, Phase.WAKING)
SWAPPED = ("a", "b", "c", "e")
"""At most one of these is up at any time."""


class Histories:
    """Random things happen to a fleet, and two laws hold."""

    def __init__(self, fleet: Fleet, house: House) -> None:
        self.fleet, self.house = fleet, house
        self.requests: list[Request] = []
        self.others: list[asyncio.Task[Any]] = []
        self.broken: list[list[str]] = []
        """Whoever was up at the same time, and must not."""
        self.before: dict[int, Phase] = {}

    def look(self) -> None:
        """At most one is up. When one comes nobody else is there at all, not even on its way out."""
        both = [*self.fleet._servers.values(), *self.fleet._turns.going]
        swapped = [server for server in both if server.name in SWAPPED]
        if len([server for server in swapped if server.machine.phase in UP]) > 1:
            self.broken.append([f"{server.name} is {server.machine.phase}" for server in swapped])
        for server in swapped:
            phase, before = server.machine.phase, self.before.get(id(server))
            self.before[id(server)] = phase
            there = [other.name for other in swapped if other is not server and not other.machine.rests]
            if phase in COMING and before is not phase and there:
                self.broken.append([f"{server.name} is {phase}", *there])

    async def put(self, name: str, into: str) -> None:
        if self.fleet.runs(name):
            await self.fleet.put(name, into)

    def do(self, step: Step) -> None:
        what, name, seconds = step
        match what:
            case "ask" if self.fleet.runs(name):
                self.requests.append(Request(self.fleet, name, holds=seconds))
            case "leave" if self.requests:
                self.requests[int(seconds) % len(self.requests)].task.cancel()
            case "sleep" | "stop" | "wake" if self.fleet.runs(name):
                self.others.append(asyncio.ensure_future(self.put(name, what)))
            case "unload":
                self.others.append(asyncio.ensure_future(self.fleet.unload()))
            case "hang" if self.fleet.runs(name):
                long_ago = Instant(self.fleet.now() - 300)
                self.others.append(asyncio.ensure_future(self.fleet.still_running(name, "", long_ago)))
            case "reload":
                names = [each for each in NAMES if each != name or not seconds]
                self.fleet.renew(replace(sleepy(*NAMES, groups=GROUPS[:2], drain=60.0), runs=sleepy(*names).runs))
            case _:
                pass


@searching(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(STEPS, min_size=8, max_size=60),
    fails=st.lists(st.sampled_from(NAMES), max_size=4),
    survives=st.lists(st.sampled_from(NAMES), max_size=2),
)
def test_never_two_of_one_place_and_every_waiter_is_answered(
    house: House, steps: list[Step], fails: list[str], survives: list[str]
) -> None:
    house.scripts = {name: Script(fails=fails.count(name), survives=survives.count(name)) for name in NAMES}

    async def scene() -> None:
        async with scripted(sleepy(*NAMES, groups=GROUPS[:2], drain=60.0)) as fleet:
            histories = Histories(fleet, house)
            changed = fleet.changed

            def looked(server: Any) -> None:
                changed(server)
                histories.look()

            fleet.changed = looked  # type: ignore[method-assign]
            for step in steps:
                histories.do(step)
                histories.look()
                if step[0] == "wait":
                    await asyncio.sleep(step[2])
            async with asyncio.timeout(36_000):
                await asyncio.gather(*(request.task for request in histories.requests), return_exceptions=True)
                await asyncio.gather(*histories.others)
            for server in fleet._servers.values():
                assert not server.waiting
                assert not server.leases
                assert not server.machine.running
        assert not histories.broken
        assert not fleet._turns.going
        assert all(server.machine.phase in RESTING for server in fleet._servers.values())

    play(scene())


def test_a_wish_of_the_operator_is_told_how_it_ended(house: House) -> None:
    async def scene() -> None:
        async with scripted(sleepy("a", "b")) as fleet:
            assert (await fleet.put("a", "wake"))["ok"]
            assert (await fleet.put("a", "sleep"))["phase"] == "asleep"
            assert (await fleet.put("a", "stop"))["phase"] == "stopped"
            asked = await fleet.put("a", "sleep")
            assert (asked["ok"], asked["why"]) == (False, "it does not run")

    play(scene())


def test_who_is_put_away_by_hand_and_wanted_again_comes_back(house: House) -> None:
    async def scene() -> None:
        async with scripted(run_as("a")) as fleet:
            await Request(fleet, "a").task
            fleet._servers["a"].note(PutAway(Rest.STOP, Why.OPERATOR))
            again = Request(fleet, "a")
            await again.task
            assert again.refused is None
            assert house.starts["a"] == 2

    play(scene())
