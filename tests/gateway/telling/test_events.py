"""What is told while it happens: to whom, in which words, and at whose expense."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, MutableMapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hangtight.core.heartbeat import Heartbeat, Snapshot
from hangtight.core.phases import Phase
from hangtight.gateway.outlet import Outlet
from hangtight.gateway.telling.events import KEPT, LLM_HEARTBEAT, SIGN, Events, Listener, event, still_waiting
from hangtight.testing.lab import Lab
from tests.gateway.kit import Served, all_at
from tests.gateway.watching import Asked, Listening, in_flight, until

SETTINGS = "heartbeat: 0.2\nlimits: {cancel: 0.5}\ncircuit: {in_a_row: 2}\n"


# -- on real sockets -------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_life_of_a_generation_is_told_from_its_beginning_to_its_end(served: Served) -> None:
    run = {"x_hangtight_run": "nightly", "x_hangtight_step": "plan", "x_hangtight_total": "200"}
    with Listening(served, "?run=nightly") as heard, Asked(served, "life,tokens=4,load=1", **run) as asked:
        asked.ended()
        [end] = heard.until("ended")
        names = [name for name, _ in heard.events]
    [began] = heard.named("began")
    beat = heard.named("heartbeat")[0]
    assert (names[0], names[-1]) == ("began", "ended")
    about = {"id": began["id"], "model": "life,tokens=4,load=1", "run": "nightly", "step": "plan"}
    assert about.items() <= began.items()
    assert about.items() <= beat.items()
    assert about.items() <= end.items()
    assert (beat["phase"], beat["tokens"], beat["expected"], beat["position"]) == ("waiting", 0, None, None)
    assert beat["nearest"]["limit"] == "first_token"
    assert 0 < beat["budget_left"] <= 200
    assert (end["outcome"], end["limit"], end["tokens"]) == ("finished", None, 4)
    assert end["elapsed"] >= beat["elapsed"]
    assert b"secret" not in heard.raw


@pytest.mark.real
def test_the_older_form_of_the_heartbeat_is_kept_to_the_byte(served: Served) -> None:
    with Listening(served, "?model=qwen3-coder:latest,mute=0") as heard, Asked(served, "qwen3-coder:latest,mute=0"):
        heard.until(LLM_HEARTBEAT)
    block = next(block for block in heard.blocks if LLM_HEARTBEAT.encode() in block)
    assert block == (
        b"event: LLM_HEARTBEAT\n"
        b'data: {"type": "LLM_HEARTBEAT", "payload": "Still waiting on qwen3-coder:latest,mute=0... 0s elapsed"}\n\n'
    )


def test_its_words_are_those_of_the_contract() -> None:
    stood = Snapshot(
        phase=Phase.WAITING, elapsed=45.2, tokens=3, silence=45.2, in_contact=True, first_token=None,
        nearest=None, rings_in=None, seen="the same again",
    )  # fmt: skip
    assert still_waiting(Heartbeat(stood, "qwen3-coder:latest")) == (
        b"event: LLM_HEARTBEAT\n"
        b'data: {"type": "LLM_HEARTBEAT", "payload": "Still waiting on qwen3-coder:latest... 45s elapsed"}\n\n'
    )


@pytest.mark.real
def test_who_asks_for_one_run_or_one_model_hears_of_nothing_else(served: Served) -> None:
    with (
        Listening(served, "?run=mine") as of_run,
        Listening(served, "?model=mine,tokens=2") as of_model,
        Listening(served, "?run=mine&model=other") as of_neither,
        Listening(served) as of_all,
    ):
        for model, run in (("mine,tokens=2", "mine"), ("mine,tokens=2", "yours"), ("theirs,tokens=2", "mine")):
            with Asked(served, model, x_hangtight_run=run) as asked:
                asked.ended()
        of_all.until("ended", count=3)
        of_run.until("ended", count=2)
        of_model.until("ended", count=2)
    assert {told["run"] for told in of_run.named("began", "ended")} == {"mine"}
    assert {told["model"] for told in of_model.named("began", "ended")} == {"mine,tokens=2"}
    assert of_neither.events == []


@pytest.mark.real
def test_a_limit_that_rings_is_told_with_its_name(served: Served) -> None:
    model = "late,mute=1"
    with Listening(served, f"?model={model}") as heard, Asked(served, model, x_hangtight_idle="0.2") as asked:
        asked.ended()
        [end] = heard.until("ended")
        [looked] = heard.until("looked")
    assert (end["outcome"], end["limit"], end["source"], end["tokens"]) == ("timeout", "idle", "X-Hangtight-Idle", 1)
    assert (looked["id"], looked["found"]) == (end["id"], "stopped")


@pytest.mark.real
def test_a_circuit_that_opens_is_told(served: Served) -> None:
    with Listening(served, "?model=bad,status=500") as heard:
        for _ in range(2):
            with Asked(served, "bad,status=500") as asked:
                asked.ended()
        [told] = heard.until("circuit")
    assert told == {"model": "bad,status=500", "change": "opened", "state": "open"}


@pytest.mark.real
def test_a_server_that_goes_on_with_what_nobody_waits_for_is_told(served: Served) -> None:
    model = "ghost,tokens=60,rate=20,ignores-cancel"
    with Listening(served, f"?model={model}") as heard:
        with Asked(served, model):
            until(lambda: in_flight(served, model)["tokens"] > 1)
        [end] = heard.until("ended")
        [told] = heard.until("still_running")
        [looked] = heard.until("looked")  # it stops in the end, and that is told, too
    assert (end["outcome"], told["id"], told["found"], looked["found"]) == ("left", end["id"], "running", "stopped")


@pytest.mark.real
def test_the_stream_says_how_it_is_to_be_read(served: Served) -> None:
    with Listening(served) as heard:
        assert heard.response.getheader("content-type") == "text/event-stream"
        assert heard.raw.startswith(b"retry: 3000\n\n")


@pytest.mark.real
def test_a_gateway_that_drains_lets_its_listeners_go_at_once(lab: Lab, tmp_path: Path) -> None:
    with Served(tmp_path, all_at(lab.url), "--drain", "60") as served, Listening(served) as heard:
        served.process.send_signal(signal.SIGTERM)
        until(lambda: heard.has_ended)  # well before the drain is over, or `until` gives up
        until(lambda: served.process.poll() is not None)
        assert served.process.returncode == 0


# -- one listener alone ----------------------------------------------------------------------------------------------


def listener(**wanted: str) -> Listener:
    async def send(message: MutableMapping[str, Any]) -> None:
        """Takes all."""

    return Listener(Outlet(send, asyncio.get_running_loop(), direct=True), **wanted)


def test_who_is_slow_loses_the_oldest_and_is_told_how_many() -> None:
    async def told() -> bytes:
        slow = listener()
        for number in range(KEPT + 44):
            slow.tell(event("began", {"number": number}))
        first = await slow.next()
        slow.tell(event("ended", {}))
        assert await slow.next() == event("ended", {}), "what was told of as lost is not told again"
        return first

    lost, *kept = asyncio.run(told()).removesuffix(b"\n\n").split(b"\n\n")
    assert lost == b'event: lost\ndata: {"lost": 44}'
    assert len(kept) == KEPT
    assert [json.loads(each.partition(b"data: ")[2])["number"] for each in (kept[0], kept[-1])] == [44, KEPT + 43]


class Stuck:
    """A client that takes the beginning and then nothing, until it is let go or leaves."""

    def __init__(self) -> None:
        self.took = b""
        self.goes_on = asyncio.Event()
        self.leaves = asyncio.Event()
        self.outlet = Outlet(self._send, asyncio.get_running_loop(), direct=True)

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if self.took:
            await self.goes_on.wait()
        self.took += message.get("body", b"")

    async def receive(self) -> dict[str, Any]:
        await self.leaves.wait()
        return {"type": "http.disconnect"}


def exchange(number: int) -> Any:
    """As much of one as an event tells."""
    terms, model = SimpleNamespace(run="", step=""), SimpleNamespace(model="m")
    call = SimpleNamespace(id=f"{number}", terms=terms, asked=model, attempts=model, target=SimpleNamespace(place="s"))
    return SimpleNamespace(call=call, path="/", streams=True)


async def turned(holds: Callable[[], object]) -> None:
    """Until this holds, in so many turns of the loop."""
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def told_to_nobody(events: Events, client: Stuck) -> asyncio.Task[None]:
    """More than a client that does not read can be told."""
    streaming = asyncio.create_task(events.follow(client.receive, events.listen(client.outlet)))
    await turned(lambda: client.took)
    events.began(exchange(0))
    await turned(lambda: client.outlet.is_slow)
    for number in range(1, KEPT + 11):
        events.began(exchange(number))
    return streaming


def test_who_does_not_read_is_waited_for_by_nobody_and_told_what_was_lost() -> None:
    async def told() -> bytes:
        events, client = Events(), Stuck()
        streaming = await told_to_nobody(events, client)
        client.goes_on.set()
        await turned(lambda: b'"id": "266"' in client.took)
        client.leaves.set()
        await streaming
        return client.took

    took = asyncio.run(told())
    assert took.count(b'event: lost\ndata: {"lost": 10}\n\n') == 1
    assert took.count(b"event: began\n") == KEPT + 1


@pytest.mark.parametrize("ends", ["it leaves", "the gateway drains"])
def test_one_that_is_stuck_keeps_nothing_open(ends: str) -> None:
    async def ended() -> None:
        events, client = Events(), Stuck()
        streaming = await told_to_nobody(events, client)
        if ends == "it leaves":
            client.leaves.set()
        else:
            events.close()
        await asyncio.wait_for(streaming, 10)

    asyncio.run(ended())


def test_where_nothing_happens_a_sign_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangtight.gateway.telling.events.SIGN_EVERY", 0.01)

    async def told() -> bytes:
        return await listener().next()

    assert asyncio.run(told()) == SIGN


def test_no_name_can_end_an_event() -> None:
    evil = "a\n\nevent: ended\ndata: {}\n\n\u2028"
    assert event("began", {"model": evil}).count(b"\n") == 3
