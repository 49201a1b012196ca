"""Who gets a slot, who waits for one, and who is not sent to a server that fails or does not stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hangtight.drivers import clock
from hangtight.gateway import lanes
from hangtight.gateway.looking import houses
from hangtight.rules.serving import CircuitSettings, Serving
from hangtight.testing.lab import Lab
from tests.gateway.behind import (
    ANSWERED,
    CHUNKED,
    FINISHED,
    LAST,
    PATIENCE,
    Before,
    Got,
    Talk,
    answer,
    before,
    behind,
    chat,
    chunk,
    piece,
    until,
)

pytestmark = pytest.mark.real
LIMITS = "limits: {{first_token: {first_token}, idle: 9, cold: null, cancel: 0.2, queue: {queue}}}\n"
MODELS = 'models:\n  m: {{proxy: "{url}", concurrencyLimit: {slots}}}\n'


class Shop:
    """A server that serves who is let in, and knows how many are in it."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.served: list[str] = []
        self.open = asyncio.Event()
        self.came = asyncio.Condition()
        self.said = ANSWERED

    async def __call__(self, talk: Talk) -> None:
        while True:
            _, body = await talk.request()
            if not body:  # somebody looks
                talk.say(answer(b"", 404))
                continue
            self.served.append(json.loads(body)["messages"][0]["content"])
            self.inside += 1
            self.most = max(self.most, self.inside)
            async with self.came:
                self.came.notify_all()
            try:
                await self.open.wait()
                await asyncio.sleep(0.002)
            finally:
                self.inside -= 1
            talk.say(self.said)

    async def when(self, many: int) -> None:
        """Until so many were asked."""
        async with self.came:
            await self.came.wait_for(lambda: len(self.served) >= many)


Main = Callable[[Before, Shop], Awaitable[None]]


def run(folder: Path, main: Main, *, slots: int = 1, queue: float = 9, first_token: float = 9, more: str = "") -> None:
    async def bounded() -> None:
        shop = Shop()
        async with asyncio.timeout(PATIENCE), behind(shop) as server:
            said = (LIMITS + more + MODELS).format(url=server.url, slots=slots, queue=queue, first_token=first_token)
            async with before(folder, said) as ours:
                await main(ours, shop)

    asyncio.run(bounded())


def ask(ours: Before, who: str = "hi", *, stream: bool = True, **headers: str) -> asyncio.Task[Got]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = chat(headers=fields, stream=stream, messages=[{"role": "user", "content": who}])
    return asyncio.ensure_future(ours.ask(asked))


def waiting(ours: Before) -> int:
    return sum(lane.admission.waiting for lane in ours.gateway.state.lanes.all())


# -- slots ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_no_more_are_let_in_than_there_are_slots_and_all_are_served_in_their_order(
    tmp_path: Path, stream: bool
) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        asked = []
        for number in range(12):
            asked.append(ask(ours, str(number), stream=stream))
            await until(lambda: len(shop.served) + waiting(ours) == len(asked))
        assert (shop.inside, waiting(ours)) == (3, 9)
        shop.open.set()
        assert {found.status for found in await asyncio.gather(*asked)} == {200}
        assert shop.most == 3
        assert shop.served == [str(number) for number in range(12)]

    run(tmp_path, main, slots=3, more="queue: true\n")


def test_without_a_queue_who_finds_no_slot_is_refused_at_once_and_told_why(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        first = ask(ours)
        await shop.when(1)
        refused = await ask(ours)
        assert (refused.status, refused.error["code"]) == (429, "too_many_requests")
        assert int(refused.headers["retry-after"]) > 0
        assert len(shop.served) == 1
        shop.open.set()
        assert (await first).status == 200
        assert (await ask(ours)).status == 200

    run(tmp_path, main)


def test_a_full_queue_refuses_too(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        asked = [ask(ours)]
        await shop.when(1)
        asked.append(ask(ours))
        await until(lambda: waiting(ours) == 1)
        assert (await ask(ours)).error["code"] == "queue_full"
        shop.open.set()
        assert {found.status for found in await asyncio.gather(*asked)} == {200}

    run(tmp_path, main, more="queue: 1\n")


@pytest.mark.parametrize("stream", [True, False])
def test_who_waits_too_long_for_a_slot_is_told_that_it_was_the_queue(tmp_path: Path, stream: bool) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        first = ask(ours)
        await shop.when(1)
        late = await ask(ours, stream=stream)
        assert (late.status, late.error["type"], late.error["code"]) == (504, "timeout", "queue")
        assert late.headers["x-should-retry"] == "false"
        assert len(shop.served) == 1
        assert waiting(ours) == 0
        shop.open.set()
        assert (await first).status == 200

    run(tmp_path, main, queue=0.2, more="queue: true\n")


def test_who_leaves_the_queue_frees_the_place_and_is_never_sent(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        first = ask(ours, "first")
        await shop.when(1)
        leaves = ask(ours, "leaves")
        await until(lambda: waiting(ours) == 1)
        last = ask(ours, "last")
        await until(lambda: waiting(ours) == 2)
        leaves.cancel()
        await until(lambda: waiting(ours) == 1)
        shop.open.set()
        assert [(await each).status for each in (first, last)] == [200, 200]
        assert shop.served == ["first", "last"]

    run(tmp_path, main, more="queue: true\n")


def test_the_more_urgent_goes_first_and_what_is_no_priority_is_refused(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        asked = [ask(ours, "first")]
        await shop.when(1)
        for who in ("low", "normal", "high", "critical"):
            asked.append(ask(ours, who, X_Hangtight_Priority=who.title()))
            await until(lambda: waiting(ours) == len(asked) - 1)
        shop.open.set()
        await asyncio.gather(*asked)
        assert shop.served == ["first", "critical", "high", "normal", "low"]
        assert (await ask(ours, X_Hangtight_Priority="now")).status == 400

    run(tmp_path, main, more="queue: true\n")


def test_who_waits_in_the_queue_is_told_the_place_in_it(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        first = ask(ours)
        await shop.when(1)
        waits = []
        for place in (1, 2):
            waits.append(await ours.open(chat(stream=True)))
            await until(lambda place=place: waiting(ours) == place)  # type: ignore[misc]
        for place, (reader, _) in enumerate(waits, 1):
            await reader.readuntil(b": hangtight: number %d in the queue\n\n" % place)
        shop.open.set()
        bodies = [(await first).body, *[await reader.readuntil(b"[DONE]\n\n") for reader, _ in waits]]
        assert b"in the queue" not in bodies[0]
        assert all(b"hello" in body and body.endswith(b"[DONE]\n\n") for body in bodies)
        for _, writer in waits:
            writer.close()

    run(tmp_path, main, more="queue: true\nproxy_silence: 0.3\nheartbeat: 0.1\n")


def test_who_was_told_the_place_and_then_waits_too_long_gets_that_as_the_last_event(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        first = ask(ours)
        await shop.when(1)
        late = await ask(ours)
        assert (late.status, late.error["code"]) == (200, "queue")
        assert b"number 1 in the queue" in late.body
        assert b"[DONE]" not in late.body
        shop.open.set()
        assert (await first).status == 200

    run(tmp_path, main, queue=2, more="queue: true\nproxy_silence: 0.2\nheartbeat: 0.1\n")


# -- the circuit ----------------------------------------------------------------------------------------------

SHORT = "circuit: {{in_a_row: 3, first: 1.5, longest: 9}}\nqueue: true\n"
REST = 1.5  # seconds for which it leaves the server alone: far longer than it takes to ask once more


async def statuses(ours: Before, many: int, first_token: str = "9") -> list[int]:
    return [(await ask(ours, X_Hangtight_First_Token=first_token)).status for _ in range(many)]


@pytest.mark.parametrize("stream", [True, False])
def test_a_server_that_fails_in_a_row_is_left_alone_and_asked_once_when_that_is_over(
    tmp_path: Path, stream: bool
) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        shop.open.set()
        shop.said = answer(b'{"error": {"message": "no"}}', 500)
        assert [(await ask(ours, stream=stream)).status for _ in range(3)] == [500] * 3
        refused = await ask(ours, stream=stream)
        assert (refused.status, refused.error["code"]) == (503, "circuit_open")
        assert int(refused.headers["retry-after"]) >= 1
        assert len(shop.served) == 3
        await asyncio.sleep(REST)
        shop.open.clear()
        probe = ask(ours, stream=stream)
        await shop.when(4)
        assert (await ask(ours)).status == 503  # as long as nobody knows what comes of it
        shop.said = ANSWERED
        shop.open.set()
        assert (await probe).status == 200
        assert await statuses(ours, 2) == [200, 200]

    run(tmp_path, main, slots=9, more=SHORT)


@pytest.mark.parametrize("stream", [True, False])
def test_a_probe_that_speaks_lets_the_others_in_before_its_answer_is_whole(tmp_path: Path, stream: bool) -> None:
    async def serve(talk: Talk) -> None:
        await talk.request()
        if talk.number < 3:
            talk.say(answer(b"{}", 500, b"connection: close"))
        else:
            talk.say(CHUNKED + chunk(piece("hello")))
            await spoken.wait()
            talk.say(chunk(FINISHED) + LAST)
        await talk.gone()

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE), behind(serve) as server:
            said = (LIMITS + SHORT + MODELS).format(url=server.url, slots=9, queue=9, first_token=9)
            async with before(tmp_path, said) as ours:
                assert await statuses(ours, 4) == [500, 500, 500, 503]
                await asyncio.sleep(REST)
                probe = ask(ours, stream=stream)
                (lane,) = ours.gateway.state.lanes.all()
                await until(lambda: any(reading.session.machine.tokens for reading in lane.readings))
                other = ask(ours, stream=stream)
                await until(lambda: len(server.talks) == 5)
                spoken.set()
                assert [(await each).status for each in (probe, other)] == [200, 200]

    spoken = asyncio.Event()
    asyncio.run(bounded())


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_a_refusal_of_the_request_opens_nothing(tmp_path: Path, status: int) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        shop.open.set()
        shop.said = answer(b"{}", status)
        assert await statuses(ours, 7) == [status] * 7

    run(tmp_path, main, slots=9, more=SHORT)


def test_a_limit_of_the_caller_opens_nothing_and_one_of_the_settings_does(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        assert await statuses(ours, 4, first_token="0.05") == [504] * 4
        assert [(await ask(ours)).status for _ in range(4)] == [504, 504, 504, 503]

    run(tmp_path, main, slots=99, first_token=0.1, more=SHORT)


def test_who_waited_in_the_queue_while_the_circuit_opened_is_not_sent(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        shop.said = answer(b"{}", 500)
        asked = [ask(ours, str(number)) for number in range(6)]
        await until(lambda: len(shop.served) + waiting(ours) == 6)
        shop.open.set()
        found = [(await each).status for each in asked]
        assert sorted(found) == [500, 500, 500, 503, 503, 503]
        assert len(shop.served) == 3

    run(tmp_path, main, more=SHORT)


def test_while_the_circuit_is_open_the_model_that_stands_in_answers_at_once(tmp_path: Path) -> None:
    async def bounded() -> None:
        bad, good = Shop(), Shop()
        bad.open.set()
        good.open.set()
        bad.said = answer(b"{}", 500)
        async with asyncio.timeout(PATIENCE), behind(bad) as one, behind(good) as other:
            said = f'models: {{m: {{proxy: "{one.url}", fallback: [n]}}, n: {{proxy: "{other.url}"}}}}\n'
            said += "circuit: {in_a_row: 2}\n"
            async with before(tmp_path, said) as ours:
                for _ in range(5):
                    found = await ask(ours)
                    assert (found.status, found.headers["x-hangtight-model"]) == (200, "n")
        assert (len(bad.served), len(good.served)) == (2, 5)

    asyncio.run(bounded())


# -- a server that does not stop ------------------------------------------------------------------------------


def test_a_server_that_ignores_a_cancel_gets_nothing_more_until_it_stops(tmp_path: Path) -> None:
    stubborn, other = "stubborn,tokens=70,rate=20,ignores-cancel", "m,tokens=3"

    async def bounded(lab: Lab) -> None:
        said = LIMITS.format(queue=9, first_token=9) + f'models: {{"*": {{proxy: "{lab.url}"}}}}\n'
        async with asyncio.timeout(2 * PATIENCE), before(tmp_path, said) as ours:
            reader, writer = await ours.open(chat(stubborn, stream=True))
            await reader.readuntil(b"data: ")
            writer.close()
            house = ours.gateway.state.lanes.house(lab.url)
            await until(lambda: house.ghosts == 1)
            refused = await ours.ask(chat(other))
            assert (refused.status, refused.error["code"]) == (503, "still_running")
            assert "retry-after" in refused.headers
            assert lab.counts(other).asked == 0
            await until(lambda: house.ghosts == 0)
            assert lab.counts(stubborn).open == 0
            assert (await ours.ask(chat(other))).status == 200

    with Lab() as lab:
        asyncio.run(bounded(lab))


def test_who_waited_for_a_slot_is_not_sent_to_a_server_that_does_not_stop(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        first = ask(ours)
        await shop.when(1)
        queued = ask(ours)
        await until(lambda: waiting(ours) == 1)
        (house,) = ours.gateway.state.lanes._houses.values()
        house.goes_on(lambda: None)  # as if another generation there had been cancelled
        shop.open.set()
        assert ((await first).status, (await queued).error["code"]) == (200, "still_running")
        house.has_stopped()
        assert (await ask(ours)).status == 200
        assert len(shop.served) == 2

    run(tmp_path, main, more="queue: true\n")


@pytest.mark.parametrize("cancel", ["0.2", "null"])
def test_a_slot_is_free_when_its_server_is_open_again_also_where_it_never_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cancel: str
) -> None:
    monkeypatch.setattr(houses, "CLOSED_FOR", 1.5)
    monkeypatch.setattr(lanes, "LONGEST_LOOK", 0.2)
    stubborn = "stubborn,runaway,rate=20,ignores-cancel"

    async def bounded(lab: Lab) -> None:
        said = f'limits: {{cancel: {cancel}}}\nmodels: {{"*": {{proxy: "{lab.url}", concurrencyLimit: 1}}}}\n'
        async with asyncio.timeout(2 * PATIENCE), before(tmp_path, said) as ours:
            reader, writer = await ours.open(chat(stubborn, stream=True))
            await reader.readuntil(b"data: ")
            writer.close()
            house = ours.gateway.state.lanes.house(lab.url)
            (lane,) = ours.gateway.state.lanes.all()
            await until(lambda: house.ghosts == 1)
            assert (lane.admission.running, house.is_closed(clock.now())) == (1, True)
            await until(lambda: lane.admission.running == 0)
            assert (house.ghosts, house.is_closed(clock.now())) == (1, False)
            assert (await ours.ask(chat("m,tokens=3"))).status == 200
            lab.reset()

    with Lab() as lab:
        asyncio.run(bounded(lab))


class Steward:
    """Runs the server of `mine`, and is told what goes on there."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def runs(self, model: str) -> bool:
        return model.startswith("mine")

    def lease(self, model: str, who: object) -> Steward:
        return self

    def end(self, end: object = None) -> None:
        """Of a lease: it goes on being there."""

    def renew(self, settings: object) -> None:
        """Nothing changes."""

    async def still_running(self, model: str, base: str, since: object) -> None:
        self.told.append(model.partition(",")[0])


@pytest.mark.parametrize(("model", "told"), [("mine", ["mine"]), ("another", [])])
def test_only_who_runs_a_server_is_told_that_it_goes_on(tmp_path: Path, model: str, told: list[str]) -> None:
    steward: Any = Steward()

    async def bounded(lab: Lab) -> None:
        said = f'limits: {{cancel: 0.2}}\nmodels: {{"*": {{proxy: "{lab.url}"}}}}\n'
        async with asyncio.timeout(2 * PATIENCE), before(tmp_path, said) as ours:
            ours.gateway.state.lanes.steward = steward
            reader, writer = await ours.open(chat(f"{model},tokens=40,rate=20,ignores-cancel", stream=True))
            await reader.readuntil(b"data: ")
            writer.close()
            house = ours.gateway.state.lanes.house(lab.url)
            await until(lambda: house.ghosts == 1)
            await until(lambda: house.ghosts == 0)
            assert steward.told == told

    with Lab() as lab:
        asyncio.run(bounded(lab))


def test_a_server_that_is_written_in_two_ways_is_closed_for_both(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        found = ours.gateway.state.lanes
        port = found.house("http://localhost:8000/v1")
        port.goes_on(lambda: None)
        assert found.house("http://127.0.0.1:8000/").is_closed(clock.now())
        assert not found.house("http://127.0.0.1:8001").is_closed(clock.now())

    run(tmp_path, main)


# -- settings that change -------------------------------------------------------------------------------------


def test_who_was_sent_to_a_server_ends_there_when_the_settings_name_another_one(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        first = ask(ours)
        await shop.when(1)
        (lane,) = ours.gateway.state.lanes.all()
        former, other = lane.house, ours.gateway.state.lanes.house("http://127.0.0.1:9")
        assert former.active == 1
        lane.renew(Serving("m", slots=2), CircuitSettings(), other)
        shop.open.set()
        assert (await first).status == 200
        assert (former.active, other.active) == (0, 0)

    run(tmp_path, main)


def test_who_takes_an_open_circuit_away_sees_it_nowhere(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        shop.open.set()
        shop.said = answer(b"{}", 500)
        await statuses(ours, 3)
        (lane,) = ours.gateway.state.lanes.all()
        scrape, stands = (
            b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n",
            b'hangtight_circuit{model="m",state="open"} ',
        )
        assert stands + b"1.0" in (await ours.ask(scrape)).body
        lane.renew(Serving("m"), None, lane.house)
        assert stands + b"0.0" in (await ours.ask(scrape)).body

    run(tmp_path, main, slots=9, more=SHORT)


def test_more_slots_let_in_who_waits(tmp_path: Path) -> None:
    async def main(ours: Before, shop: Shop) -> None:
        asked = [ask(ours) for _ in range(3)]
        await until(lambda: waiting(ours) == 2)
        (lane,) = ours.gateway.state.lanes.all()
        lane.renew(Serving("m", slots=3, places=9), CircuitSettings(), lane.house)
        await shop.when(3)
        shop.open.set()
        assert {(await each).status for each in asked} == {200}

    run(tmp_path, main, more="queue: true\n")
