"""A server that goes on with what nobody waits for: seen by the gateway's own looks, and judged by the fleet."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from hangtight.drivers.standing import settings
from hangtight.gateway.looking.houses import House
from hangtight.supervisor.fleet import Fleet
from tests.gateway.behind import before, chat
from tests.supervisor.fleets import free_ports, lab
from tests.supervisor.kit import run, until

pytestmark = pytest.mark.real


async def cancelled_by_its_client(folder: Path, hang: float) -> tuple[str, bool]:
    """Its only client leaves, and the server works on for a while. Its log, and whether its process is the same."""
    model = lab("--model mine", useModelName="mine,tokens=60,rate=30,ignores-cancel", hang=hang)
    said = {"limits": {"cancel": 0.2}, "models": {"mine": model}, "startPort": free_ports(1)}
    async with before(folder, json.dumps(said)) as ours:
        state = ours.gateway.state
        fleet = Fleet(settings(), folder / "processes", progress=state.lanes.last_progress)
        state.engage(fleet)
        try:
            await fleet.begin()
            reader, writer = await ours.open(chat("mine", stream=True))
            await reader.readuntil(b"data: {")
            [shown] = fleet.shown()
            house: House = state.lanes.house(shown["proxy"])
            writer.close()
            await until(lambda: house.ghosts == 1)
            await until(lambda: house.ghosts == 0)
            [after] = fleet.shown()
            assert not [task for task in asyncio.all_tasks() if "_tell_steward" in repr(task.get_coro())]
            return fleet.log("mine").decode(), after["pid"] == shown["pid"]
        finally:
            await fleet.close()


def test_a_prefill_that_nobody_can_interrupt_is_no_reason_to_stop_a_server(tmp_path: Path) -> None:
    log, is_the_same = run(cancelled_by_its_client(tmp_path, hang=30.0))
    assert is_the_same
    assert "process stuck" not in log


def test_one_that_goes_on_for_as_long_as_makes_it_hang_is_stopped(tmp_path: Path) -> None:
    log, _ = run(cancelled_by_its_client(tmp_path, hang=0.5))
    assert "process stuck: it goes on with a request that was cancelled" in log
