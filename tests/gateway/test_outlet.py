"""The answer goes out in order whatever blocks, and a client that is slow is told of and never fills the memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as searching
from hypothesis import strategies as some

from hangtight.gateway.outlet import ENOUGH, Message, Outlet

DIRECT = pytest.mark.parametrize("direct", [True, False])


class Server:
    """Takes messages as uvicorn does: at once, until it is told to block."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.free = asyncio.Event()
        self.free.set()
        self.error: Exception | None = None

    async def send(self, message: Message) -> None:
        while not self.free.is_set():
            await self.free.wait()
        if self.error is not None:
            raise self.error
        self.taken.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.taken)

    def framed(self, chunk: bytes) -> bool:
        if self.free.is_set():
            self.taken.append({"body": chunk})
        return self.free.is_set()


class Told:
    """What the outlet says of its client."""

    def __init__(self, outlet: Outlet) -> None:
        self.words: list[str] = []
        outlet.on_slow = lambda: self.words.append("slow")
        outlet.on_free = lambda: self.words.append("free")


def made(*, direct: bool) -> tuple[Server, Outlet, Told]:
    server = Server()
    outlet = Outlet(server.send, asyncio.get_running_loop(), direct=direct, framed=server.framed if direct else None)
    return server, outlet, Told(outlet)


def framed(outlet: Outlet, chunk: bytes) -> bool:
    return outlet.past is not None and outlet.past(chunk)


def went_past(outlet: Outlet, chunk: bytes) -> bool:
    return outlet.past is not None and outlet.past(chunk)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await main()

    asyncio.run(bounded())


# -- order ----------------------------------------------------------------------------------------------------

STEPS = some.lists(some.sampled_from(["push", "push", "framed", "block", "free", "turn"]), max_size=40)


@DIRECT
@searching(max_examples=100)
@given(STEPS)
def test_all_goes_out_once_and_in_order_whatever_blocks(direct: bool, steps: list[str]) -> None:
    async def main() -> None:
        server, outlet, told = made(direct=direct)
        outlet.start(200, [(b"x-a", b"1")])
        said = b""
        for number, step in enumerate(steps):
            data = b"%d," % number
            match step:
                case "push":
                    outlet.push(data)
                    said += data
                case "framed":
                    if not framed(outlet, data):
                        outlet.push(data)
                    said += data
                case "block":
                    server.free.clear()
                case "free":
                    server.free.set()
                case _:
                    await asyncio.sleep(0)
        server.free.set()
        await outlet.finish(b"end")
        assert server.body == said + b"end"
        assert server.taken[0] == {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1")]}
        assert server.taken[-1] == {"type": "http.response.body", "body": server.taken[-1]["body"]}
        assert told.words == ["slow", "free"] * (len(told.words) // 2)
        assert not outlet.is_slow

    run(main)


def test_what_nobody_blocks_goes_out_in_the_very_turn_in_which_it_came() -> None:
    async def main() -> None:
        server, outlet, told = made(direct=True)
        outlet.start(200, [])
        outlet.push(b"a")
        assert framed(outlet, b"b")
        outlet.push(b"c")
        assert server.body == b"abc"
        assert told.words == []

    run(main)


def test_nothing_is_framed_before_the_answer_has_begun_or_past_what_still_waits() -> None:
    async def main() -> None:
        server, outlet, _ = made(direct=True)
        assert not framed(outlet, b"a")
        outlet.start(200, [])
        server.free.clear()
        outlet.push(b"b")
        server.free.set()
        assert not framed(outlet, b"c")
        await outlet.settled()
        assert framed(outlet, b"d")
        assert server.body == b"bd"

    run(main)


def test_an_answer_begins_once_and_ends_once() -> None:
    async def main() -> None:
        server, outlet, _ = made(direct=True)
        outlet.own = [(b"own", b"1")]
        outlet.start(200, [])
        outlet.start(500, [])
        await outlet.finish(b"a")
        await outlet.finish(b"b")
        assert [message.get("status", message.get("body")) for message in server.taken] == [200, b"a"]
        assert server.taken[0]["headers"] == [(b"own", b"1")]

    run(main)


# -- a client that is slow ------------------------------------------------------------------------------------


@DIRECT
def test_who_reads_slowly_is_told_of_once_and_told_of_again_when_all_is_out(direct: bool) -> None:
    async def main() -> None:
        server, outlet, told = made(direct=direct)
        outlet.start(200, [])
        await outlet.settled()
        server.free.clear()
        pushed = 0
        while not outlet.is_slow:
            outlet.push(b"x" * 1000)
            pushed += 1000
            await asyncio.sleep(0)
        assert pushed <= 2 * ENOUGH + 2000
        outlet.push(b"x" * 1000)
        assert told.words == ["slow"]
        server.free.set()
        await outlet.settled()
        assert told.words == ["slow", "free"]
        assert server.body == b"x" * (pushed + 1000)

    run(main)


@DIRECT
def test_what_waited_goes_out_in_few_large_pieces(direct: bool) -> None:
    async def main() -> None:
        server, outlet, _ = made(direct=direct)
        outlet.start(200, [])
        await outlet.settled()
        server.free.clear()
        for _ in range(1000):
            outlet.push(b"x")
        server.free.set()
        await outlet.finish(b"end")
        assert server.body == b"x" * 1000 + b"end"
        assert len(server.taken) <= 4

    run(main)


@DIRECT
def test_a_client_that_has_left_gets_nothing_more_and_nothing_waits_for_it(direct: bool) -> None:
    async def main() -> None:
        server, outlet, _ = made(direct=direct)
        outlet.start(200, [])
        await outlet.settled()
        server.free.clear()
        for _ in range(200):
            outlet.push(b"x" * 1000)
        outlet.close()
        await outlet.finish(b"end")
        server.free.set()
        await asyncio.sleep(0)
        assert server.body == b""
        assert outlet.finished

    run(main)


@DIRECT
def test_a_server_that_cannot_write_is_asked_no_more_and_nothing_is_left_out_of_the_middle(direct: bool) -> None:
    async def main() -> None:
        server, outlet, told = made(direct=direct)
        outlet.start(200, [])
        outlet.push(b"a")
        await outlet.settled()
        server.free.clear()
        outlet.push(b"b")
        outlet.push(b"c")
        await asyncio.sleep(0)
        server.error = OSError("the client is gone")
        server.free.set()
        await outlet.settled()
        server.error = None
        outlet.push(b"d")
        assert not framed(outlet, b"e")
        await outlet.finish(b"f")
        assert server.body == b"a"
        assert told.words == ["slow", "free"] * (len(told.words) // 2)

    run(main)
