"""What llama.cpp's router tells of its loads counts as progress, and other servers are left alone."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from hangtight.core.process.facts import Fact, Healthy
from hangtight.rules.running import Running
from hangtight.supervisor.hands import Hands
from hangtight.supervisor.stages import Stages, follow
from tests.supervisor.kit import run, until
from tests.supervisor.test_readiness import answer, free_port, server


class Yard:
    """As much of one as a look at a server needs."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()


def event(progress: Any, model: str = "m") -> dict[str, Any]:
    return {"model": model, "event": "model_status", "data": {"status": "loading", "progress": progress}}


def load(stage: str, value: float) -> dict[str, Any]:
    return event({"stages": ["text_model", "mmproj_model"], "current": stage, "value": value})


def shown(*events: Any) -> list[bool]:
    stages = Stages()
    return [stages.told(each) for each in events]


def test_a_load_gets_on_when_a_stage_does_or_another_one_begins() -> None:
    assert shown(
        load("text_model", 0.0), load("text_model", 0.0), load("text_model", 0.4), load("text_model", 0.3),
        load("mmproj_model", 0.0), load("mmproj_model", 0.1),
    ) == [True, False, True, False, True, True]  # fmt: skip


def test_each_model_has_its_own_load() -> None:
    at_half = {"current": "text_model", "value": 0.5}
    assert shown(event(at_half), event(at_half, "b"), event(at_half)) == [True, True, False]


def test_the_words_of_older_versions_count_too() -> None:
    fit, text = event({"stage": "fit_params"}), event({"stage": "text_model", "value": 0.1})
    assert shown(fit, fit, text, text) == [True, False, True, False]


def test_a_download_gets_on_by_its_bytes() -> None:
    def at(done: int) -> dict[str, Any]:
        return event({"http://a/b.gguf": {"done": done, "total": 100}})

    assert shown(at(1), at(1), at(2)) == [True, False, True]


def test_all_else_shows_nothing() -> None:
    rubbish: tuple[Any, ...] = (
        None,
        [],
        "x",
        {},
        {"data": None},
        {"data": {"status": "loaded"}},
        event(None),
        event([1]),
    )
    assert not any(shown(*rubbish))


def test_a_number_that_nobody_can_count_to_shows_nothing() -> None:
    assert shown(load("a", 0.5), load("a", 10**400)) == [True, False]


def stream(*events: Any) -> bytes:
    body = b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in events)
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + body


def test_a_stream_that_breaks_is_followed_again_and_nothing_counts_twice() -> None:
    async def scene() -> None:
        told: list[None] = []
        first, second = stream(load("a", 0.1), load("a", 0.2)), stream("junk", load("a", 0.2), load("a", 0.3))
        second = second.replace(b'"junk"', b"[" * 100_000)
        async with server(answer(503), first, second, answer(404)) as (port, asked):
            await follow(f"http://127.0.0.1:{port}/", lambda: told.append(None), every=0.01)
            assert (len(told), asked()) == (3, 4)

    run(scene())


def test_a_server_without_such_a_path_is_asked_once() -> None:
    async def scene() -> None:
        for given in (answer(404), answer(200, b"<html>"), answer(401)):
            async with server(given) as (port, asked):
                await follow(f"http://127.0.0.1:{port}", lambda: None, every=0.01)
                assert asked() == 1

    run(scene())


def test_it_is_waited_for_until_somebody_listens() -> None:
    async def scene() -> None:
        port, told = free_port(), list[None]()
        follows = asyncio.create_task(follow(f"http://127.0.0.1:{port}", lambda: told.append(None), every=0.01))
        await asyncio.sleep(0.05)
        async with server(stream(load("a", 0.1)), port=port):
            await until(lambda: bool(told))
        follows.cancel()

    run(scene())


def test_a_server_that_is_not_ready_is_listened_to_beside_the_probes_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hangtight.supervisor.hands.follow", partial(follow, every=0.01))

    async def scene() -> None:
        is_loaded, asked = False, list[bytes]()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
            if asked[-1] == b"/models/sse":
                writer.write(stream(load("a", 0.1), load("a", 0.2)))
                await writer.drain()
                await reader.read()
            else:
                writer.write(answer(200 if is_loaded else 503))
            writer.close()

        facts, steps = list[Fact](), list[None]()
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            proxy = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            yard: Any = Yard()
            hands = Hands(
                Running(name="m", command=("serve",), proxy=proxy), yard, facts.append, lambda: steps.append(None)
            )
            hands.probe()
            await until(lambda: len(steps) == 2)
            assert facts == []
            is_loaded = True
            await until(lambda: facts == [Healthy()])
            assert asked.count(b"/models/sse") == 1
            await hands.close()

    run(scene())
