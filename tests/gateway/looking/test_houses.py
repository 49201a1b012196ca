"""Who else uses a server, what closes it for a while, and what of a request that ends is left behind there."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import hangtight
from hangtight.drivers import clock
from hangtight.drivers.http11 import request
from hangtight.gateway.exchange import Exchange
from hangtight.gateway.looking import houses
from hangtight.gateway.looking.evidence import Found, Look, Range
from hangtight.gateway.looking.houses import CLOSED_FOR, SECOND_GLANCE, House
from hangtight.testing import jumping
from hangtight.testing.lab import Lab
from tests.gateway.behind import (
    CHUNKED,
    PATIENCE,
    Before,
    Talk,
    answer,
    before,
    behind,
    chat,
    chunk,
    piece,
    post,
    until,
)

RUNAWAY = "runaway,rate=20"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


# -- closed ---------------------------------------------------------------------------------------------------


def closed(house: House) -> bool:
    return house.is_closed(clock.now())


def test_what_is_seen_to_go_on_closes_a_server_for_a_while_and_not_until_it_stops() -> None:
    async def main() -> list[bool]:
        house, opened = House("http://127.0.0.1:1"), asyncio.Event()
        house.goes_on(opened.set)
        seen = [closed(house), opened.is_set()]
        await asyncio.sleep(CLOSED_FOR + 1)
        return [*seen, closed(house), opened.is_set(), house.ghosts == 1]

    assert jumping(main()) == [True, False, False, True, True]


def test_a_server_is_open_when_the_last_of_those_has_stopped() -> None:
    async def main() -> list[bool]:
        house, opened = House("http://127.0.0.1:1"), asyncio.Event()
        house.goes_on(opened.set)
        house.goes_on(opened.set)
        house.has_stopped()
        seen = [closed(house), opened.is_set()]
        house.has_stopped()
        await asyncio.sleep(CLOSED_FOR + 1)
        return [*seen, closed(house), opened.is_set()]

    assert jumping(main()) == [True, False, False, True]


def test_a_stranger_who_comes_opens_a_server_whether_it_numbers_its_tasks_or_not() -> None:
    async def main(look: Look) -> list[bool]:
        house, opened = House("http://127.0.0.1:1"), asyncio.Event()
        house.goes_on(opened.set)
        house.looker._note(look, Range(0, 0), 0, clock.now())
        return [closed(house), opened.is_set()]

    for look in (Look("?", 2), Look("?", 2, tasks=frozenset((7, 8)))):
        assert jumping(main(look)) == [False, True]


# -- ours -----------------------------------------------------------------------------------------------------


def test_what_is_passed_through_may_be_there_also_a_while_after_its_client_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House("http://127.0.0.1:1")
    house.active = 1
    seen = [house.ours()]
    house.pass_through()
    house.pass_through()
    seen.append(house.ours())
    house.passed(is_left=False)
    seen.append(house.ours())
    house.passed(is_left=True)
    seen.append(house.ours())
    monkeypatch.setattr(houses, "LINGERS", 0.0)
    seen.append(house.ours())
    assert seen == [Range(1, 1), Range(1, 3), Range(1, 2), Range(1, 2), Range(1, 1)]


class Counter:
    """A server that counts whatever it was sent, of which nothing ends by itself."""

    def __init__(self) -> None:
        self.open = 0

    async def __call__(self, talk: Talk) -> None:
        while True:
            head, body = await talk.request()
            if not body:
                seen = json.dumps({"m": {"open": self.open}}).encode()
                talk.say(answer(seen) if b"/lab/counts" in head else answer(b"", 404))
                continue
            self.open += 1
            talk.say(CHUNKED + chunk(piece("hello")))
            try:
                await talk.gone()
            finally:
                self.open -= 1


@pytest.mark.real
def test_what_was_passed_through_is_not_taken_for_a_generation_that_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        server = Counter()
        async with asyncio.timeout(PATIENCE), behind(server) as place:
            said = f'limits: {{cancel: 0.2}}\nmodels: {{m: {{proxy: "{place.url}"}}}}\n'
            async with before(tmp_path, said) as ours:
                reader, writer = await ours.open(chat(stream=True))
                await reader.readuntil(b"data: ")
                exchange = await under_way(ours)
                _, other = await ours.open(post("/infill", b'{"model": "m"}', {"content-type": "application/json"}))
                await until(lambda: server.open == 2)
                writer.close()
                await exchange.over.wait()
                assert exchange.reading is not None
                assert exchange.reading.seen is not None
                assert (await exchange.reading.seen).found is Found.UNKNOWN
                other.close()
                await until(lambda: server.open == 0)
                (house,) = ours.gateway.state.lanes._houses.values()
                assert (house.ghosts, house.passing) == (0, 0)

    asyncio.run(main())


# -- strangers ------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_a_stranger_at_the_same_server_is_not_taken_for_ours_that_goes_on(lab: Lab, tmp_path: Path) -> None:
    async def main() -> None:
        said = f'limits: {{cancel: 0.3}}\nmodels: {{"*": {{proxy: "{lab.url}"}}}}\n'
        body = json.dumps({"model": f"other,{RUNAWAY}", "stream": True, "messages": [{"role": "user", "content": "?"}]})
        straight = request("POST", f"{lab.url}/v1/chat/completions", body=body.encode())
        async with asyncio.timeout(PATIENCE), straight as stranger, before(tmp_path, said) as ours:
            await anext(stranger)
            reader, writer = await ours.open(chat(f"mine,{RUNAWAY}", stream=True))
            await reader.readuntil(b"data: ")
            (house,) = ours.gateway.state.lanes._houses.values()
            await until(lambda: not house.looker.is_alone(asyncio.get_running_loop().time()))
            (exchange,) = ours.gateway.state.exchanges.values()
            writer.close()
            await exchange.over.wait()
            assert exchange.reading is not None
            assert exchange.reading.seen is not None
            assert (await exchange.reading.seen).found is Found.UNKNOWN
            assert house.ghosts == 0
            assert (await ours.ask(chat("x,tokens=1"))).status == 200

    asyncio.run(main())


@pytest.mark.real
def test_whoever_is_alone_there_is_seen_to_be_alone(lab: Lab, tmp_path: Path) -> None:
    async def main() -> None:
        said = f'limits: {{cancel: 0.3}}\nmodels: {{"*": {{proxy: "{lab.url}"}}}}\n'
        async with asyncio.timeout(PATIENCE), before(tmp_path, said) as ours:
            lab.reset()
            _, writer = await ours.open(chat(RUNAWAY, stream=True))
            await until(lambda: bool(ours.gateway.state.lanes._houses))
            (house,) = ours.gateway.state.lanes._houses.values()
            await until(lambda: house._glance is not None)
            first = house._glance
            await asyncio.sleep(SECOND_GLANCE)
            await until(lambda: house._glance is not first and house._glance is not None and house._glance.done())
            assert house.looker.is_alone(asyncio.get_running_loop().time())
            writer.close()

    asyncio.run(main())


# -- what is left behind --------------------------------------------------------------------------------------


async def silent(talk: Talk) -> None:
    _, body = await talk.request()
    if body:
        await talk.gone()


def run(folder: Path, url: str, main: Callable[[Before], Awaitable[None]]) -> None:
    said = f'limits: {{cancel: 9}}\nmodels: {{m: {{proxy: "{url}", concurrencyLimit: 1}}}}\n'

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE), before(folder, said) as ours:
            await main(ours)

    asyncio.run(bounded())


async def under_way(ours: Before) -> Exchange:
    await until(lambda: any(each.reading is not None for each in ours.gateway.state.exchanges.values()))
    (exchange,) = ours.gateway.state.exchanges.values()
    return exchange


def counts(ours: Before) -> tuple[int, int, int]:
    """Slots that are taken, generations at the server, requests under way."""
    (lane,) = ours.gateway.state.lanes.all()
    return lane.admission.running, lane.house.active, len(lane.readings)


@pytest.mark.real
def test_who_leaves_while_a_cancel_is_under_way_leaves_nothing_behind(tmp_path: Path) -> None:
    async def bounded() -> None:
        said = 'limits: {{cancel: 9}}\nmodels: {{m: {{proxy: "{url}", concurrencyLimit: 1}}}}\n'
        async with (
            asyncio.timeout(PATIENCE),
            behind(silent) as server,
            before(tmp_path, said.format(url=server.url)) as ours,
        ):
            _, writer = await ours.open(post("/api/chat", b'{"model": "m", "messages": []}'))
            exchange = await under_way(ours)
            reading = exchange.reading
            assert reading is not None
            # It is asked whether the model is in memory: what ends the request waits for the end of that.
            await until(lambda: reading._looking is not None and reading._looking._task is not None)
            assert counts(ours) == (1, 1, 1)
            exchange.cancel()
            asyncio.get_running_loop().call_soon(exchange._leave)
            await exchange.over.wait()
            assert counts(ours)[1:] == (0, 0)
            await until(lambda: counts(ours) == (0, 0, 0))
            writer.close()

    asyncio.run(bounded())


@pytest.mark.real
def test_who_leaves_while_the_connection_is_made_has_sent_nothing_that_could_go_on(tmp_path: Path) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(6)]
        for each in waiting:
            each.setblocking(False)
            with suppress(BlockingIOError):
                each.connect(full.getsockname())

        async def main(ours: Before) -> None:
            _, writer = await ours.open(chat())
            exchange = await under_way(ours)
            await asyncio.sleep(0.05)
            assert counts(ours) == (1, 0, 1)
            writer.close()
            await exchange.over.wait()
            assert counts(ours) == (0, 0, 0)
            assert exchange.reading is not None
            assert exchange.reading.seen is None

        try:
            run(tmp_path, f"http://127.0.0.1:{full.getsockname()[1]}", main)
        finally:
            for each in waiting:
                each.close()


# -- settings that change -------------------------------------------------------------------------------------


@pytest.mark.real
def test_each_look_carries_the_key_and_the_headers_of_the_model_that_was_asked(tmp_path: Path) -> None:
    looks: list[bytes] = []

    async def serve(talk: Talk) -> None:
        head, body = await talk.request()
        if body:
            talk.say(CHUNKED + chunk(piece("hello")))
            await talk.gone()
        else:
            looks.append(head.lower())
            talk.say(answer(b"[]", 404, b"connection: close"))

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE), behind(serve) as server:
            said = 'models: {{a: {{proxy: "{0}", key: one}}, b: {{proxy: "{0}", key: {1}, headers: {{x-s: s}}}}}}\n'
            async with before(tmp_path, said.format(server.url, "two")) as ours:
                await left(ours, "a")
                await left(ours, "b")
                (tmp_path / "hangtight.yaml").write_text(said.format(server.url, "three"))
                hangtight.configure(tmp_path / "hangtight.yaml", "off")
                await left(ours, "b")

    async def left(ours: Before, model: str) -> None:
        reader, writer = await ours.open(chat(model, stream=True))
        await reader.readuntil(b"data: ")
        exchange = await under_way(ours)
        looks.append(b"asked for " + model.encode())
        writer.close()
        await exchange.over.wait()
        assert exchange.reading is not None
        assert exchange.reading.seen is not None
        await exchange.reading.seen

    asyncio.run(bounded())
    keys, now = [], b""
    for look in looks:
        now = look if look.startswith(b"asked") else now
        if look is not now:
            keys.append((now[-1:], look.partition(b"authorization: bearer ")[2].partition(b"\r")[0], b"x-s: s" in look))
    assert list(dict.fromkeys(keys)) == [(b"a", b"one", False), (b"b", b"two", True), (b"b", b"three", True)]


@pytest.mark.real
def test_a_model_that_the_settings_no_longer_have_is_not_told_of_any_more(tmp_path: Path) -> None:
    async def main(ours: Before) -> None:
        _, writer = await ours.open(chat("m"))
        exchange = await under_way(ours)
        assert await models(ours, "n") == ["n"]
        assert len(ours.gateway.state.lanes.all()) == 1  # what runs of it ends first
        writer.close()
        await exchange.over.wait()
        await until(lambda: counts(ours) == (0, 0, 0))
        assert await models(ours, "o") == ["o"]
        assert not ours.gateway.state.lanes.all()

    async def models(ours: Before, name: str) -> list[str]:
        """Those that are told of, when the settings have this one."""
        file = tmp_path / "hangtight.yaml"
        file.write_text(f'models: {{{name}: {{proxy: "http://127.0.0.1:9"}}}}\n')
        hangtight.configure(file, "off")
        return list((await ours.ask(post("/health", b"", method="GET"))).json["models"])

    async def bounded() -> None:
        async with behind(silent) as server:
            await asyncio.to_thread(run, tmp_path, server.url, main)

    asyncio.run(bounded())
