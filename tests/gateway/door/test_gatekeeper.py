"""The gateway obeys an edit of its settings without being asked, and none that would let in everybody."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.drivers.standing import STANDING
from hangtight.gateway import state as module
from hangtight.gateway.app import Gateway
from hangtight.gateway.door.gate import Exposed, Gate
from hangtight.gateway.door.gatekeeper import Gatekeeper
from hangtight.gateway.state import State
from hangtight.rules import following

NOWHERE = 'models: {m: {proxy: "http://127.0.0.1:1", queue: 5, concurrencyLimit: %d}}\n'
EVERYWHERE = "0.0.0.0"


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks looks at the file each time."""
    monkeypatch.setattr(following, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(module, "FOLLOW_EVERY", 0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hangtight.yaml"


def configured(file: Path, text: str) -> None:
    file.write_text(text)
    hangtight.configure(file, "off")


def edited(file: Path, text: str) -> None:
    """A new text, read."""
    file.write_text(text)
    STANDING.settings()
    assert STANDING._following is not None
    assert STANDING._following.settle()


def lets_in(gate: Gate, key: str = "") -> bool:
    shown = [(b"authorization", f"Bearer {key}".encode())] if key else []
    scope = {"type": "http", "path": "/v1/models", "headers": [(b"host", b"localhost"), *shown]}
    return gate.denies(scope) is None


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# -- keys that are gone ---------------------------------------------------------------------------------------


def test_where_others_reach_it_keys_that_are_gone_from_the_file_hold_and_that_is_said_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configured(file, "apiKeys: [sesame]\n")
    keeper = Gatekeeper(EVERYWHERE)
    assert not lets_in(keeper.gate)
    assert keeper.trouble is None
    for line in ("gateway: {hosts: [one.example]}\n", "gateway: {hosts: [two.example]}\n"):
        edited(file, line)
        assert not lets_in(keeper.gate)
        assert lets_in(keeper.gate, "sesame")
        assert keeper.trouble
    assert "two.example" in keeper.gate.hosts
    assert len(warnings(caplog)) == 1
    edited(file, "apiKeys: [other]\n")
    assert (lets_in(keeper.gate, "sesame"), lets_in(keeper.gate, "other")) == (False, True)
    assert keeper.trouble is None


@pytest.mark.parametrize(("bound", "insecure"), [(EVERYWHERE, True), ("127.0.0.1", False), (None, False)])
def test_where_it_is_meant_or_nobody_else_gets_there_keys_that_are_gone_are_gone(
    file: Path, caplog: pytest.LogCaptureFixture, bound: str | None, insecure: bool
) -> None:
    configured(file, "apiKeys: [sesame]\n")
    keeper = Gatekeeper(bound, insecure=insecure)
    assert not lets_in(keeper.gate)
    edited(file, "limits: {idle: 9}\n")
    assert lets_in(keeper.gate)
    assert keeper.trouble is None
    assert not warnings(caplog)


def test_keys_that_are_gone_before_it_ever_had_them_let_nobody_in(file: Path) -> None:
    configured(file, "limits: {idle: 9}\n")
    with pytest.raises(Exposed):
        _ = Gatekeeper(EVERYWHERE).gate
    with pytest.raises(Exposed):
        told(Gateway(State(), EVERYWHERE))


def told(gateway: Gateway) -> dict[str, Any]:
    """What /health says to somebody without a key."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        scope = {"type": "http", "path": "/health", "method": "GET", "headers": [(b"host", b"localhost")]}
        await gateway(scope, receive, send)
        await gateway.shutdown()

    asyncio.run(ask())
    body: dict[str, Any] = json.loads(b"".join(message.get("body", b"") for message in sent))
    return body


def test_health_tells_the_trouble_and_only_to_those_who_hold_a_key_that_holds(file: Path) -> None:
    configured(file, "apiKeys: [sesame]\n")
    public, local = Gateway(State(), EVERYWHERE), Gateway(State(), "127.0.0.1")
    assert told(public) == {"status": "ok"}
    edited(file, "limits: {idle: 9}\n")
    assert told(public) == {"status": "ok"}
    assert told(local)["trouble"] is None
    file.write_text("limits: {idle: -9}\n")
    told(local)
    assert STANDING._following is not None
    assert STANDING._following.settle()
    assert "idle" in told(local)["trouble"]


# -- without being asked --------------------------------------------------------------------------------------


def test_an_edit_is_obeyed_though_nobody_asks_for_anything(file: Path) -> None:
    """Neither the slots nor the gate are asked through what would look at the file."""
    configured(file, "apiKeys: [old]\n" + NOWHERE % 1)
    state = State()

    async def main() -> None:
        await Gateway(state).startup()
        target = state.targets.find("m")
        assert target is not None
        lane, gate = state.lane(target), state.keeper.gate
        assert lane.admission.slots == 1
        assert not lets_in(gate, "new")
        await asyncio.to_thread(file.write_text, "apiKeys: [new]\n" + NOWHERE % 3)
        async with asyncio.timeout(20):
            while lane.admission.slots != 3 or state.keeper._gate is gate:  # noqa: ASYNC110 - who waits asks nothing
                await asyncio.sleep(0.01)
        assert state.keeper._gate is not None
        assert lets_in(state.keeper._gate, "new")
        await state.close()

    asyncio.run(main())


def test_a_new_loop_is_followed_where_the_former_is_closed_and_once(file: Path) -> None:
    configured(file, NOWHERE % 1)
    state = State()
    loops = [asyncio.new_event_loop() for _ in range(2)]
    state.follow(loops[0])
    first = state._follower
    state.follow(loops[0])
    state.follow(loops[1])
    assert state._follower is first
    loops[0].close()
    state.follow(loops[1])
    assert state._follower is not first
    loops[1].run_until_complete(state.close())
    assert state._follower is None
    loops[1].close()
