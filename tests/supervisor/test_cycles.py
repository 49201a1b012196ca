"""Hundreds of starts, sleeps, wakes, stops and kills at random, with traffic, in one life of a fleet."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from hangtight.supervisor.waiting import Refused
from tests.gateway.kit import Served
from tests.supervisor.fleets import Stage, free_ports, quick, running, sleepy, staged

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
SEED = 20260
MODELS = {
    "a": sleepy(),
    "b": quick(),
    "c": quick("deaf", unloadTimeout=0.1),
    "d": sleepy(),
    "e": quick(ttl=0.3),
    "f": quick(cmdSleep="/bin/sh -c 'exit 0'", cmdWake="/bin/sh -c 'exit 1'"),
}
GROUPS = {
    "one": {"members": ["a", "b", "c"]},
    "side": {"members": ["d", "e", "f"], "swap": False, "exclusive": False, "persistent": True},
}
DOES = ("ask", "ask", "ask", "sleep", "wake", "stop", "kill", "give up")
CYCLES, AT_ONCE = 504, 6
THROUGH_A_GATEWAY = 198
LONGEST = 120.0
"""A deadlock is told, not waited for: all of it takes a quarter of this on a slow machine."""


class Cycles:
    """What is done, and how it ended."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage, self.random = stage, random.Random(seed)
        self.ended: Counter[str] = Counter()

    async def some(self, count: int) -> None:
        for _ in range(count):
            what, model = self.random.choice(DOES), self.random.choice("abcdef")
            self.ended[await self.one(what, model)] += 1

    async def one(self, what: str, model: str) -> str:
        match what:
            case "ask":
                return await self.asked(model)
            case "give up":
                with suppress(TimeoutError, Refused):
                    async with asyncio.timeout(self.random.random() / 10):
                        await self.stage.served(model)
                return "gave up"
            case "kill":
                pid = self.stage.shown(model)["pid"]
                if pid is not None:
                    with suppress(psutil.NoSuchProcess):
                        psutil.Process(pid).kill()
                return "killed" if pid else "nothing to kill"
            case _:
                told = await self.stage.fleet.put(model, what)
                assert told["ok"] or told["why"]
                return what

    async def asked(self, model: str) -> str:
        """Served, or told why not: there is no third."""
        try:
            return "served" if await self.stage.served(model) == 200 else "lost its server"
        except Refused:
            return "refused"


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_five_hundred_cycles_leave_nothing_behind(tmp_path: Path, kind: str) -> None:
    loop = pytest.importorskip("uvloop").new_event_loop if kind == "uvloop" else asyncio.new_event_loop

    async def scene() -> Counter[str]:
        async with asyncio.timeout(LONGEST), staged(tmp_path, MODELS, groups=GROUPS) as stage:
            cycles = Cycles(stage, SEED)
            await asyncio.gather(*(cycles.some(CYCLES // AT_ONCE) for _ in range(AT_ONCE)))
            for server in stage.fleet._servers.values():
                assert not server.waiting
                assert not server.leases
                assert not server.machine.running
            await stage.fleet.unload()
            assert set(stage.phases().values()) <= {"stopped", "failed"}
            return cycles.ended

    with asyncio.Runner(loop_factory=loop) as runner:
        ended = runner.run(scene())  # and nothing runs afterwards: `staged` looks
    assert ended.total() == CYCLES
    assert ended["served"] > 100
    assert ended["killed"] > 10
    assert ended["lost its server"] <= ended["killed"] * (AT_ONCE - 1)  # only a kill takes it away from those at it


class Clients:
    """The same from outside: one of those who ask a real gateway, and what each of its requests came to."""

    def __init__(self, served: Served, seed: int) -> None:
        self.served, self.random = served, random.Random(seed)

    def some(self, count: int) -> Counter[str]:
        return Counter(self.one(self.random.choice(DOES), self.random.choice("abcdef")) for _ in range(count))

    def one(self, what: str, model: str) -> str:
        match what:
            case "ask":
                return self.asked(model)
            case "give up":
                self.gives_up(model)
            case "kill":
                return self.killed(model)
            case _:
                status, told, _ = self.served.ask("POST", f"/hangtight/models/{model}/{what}")
                assert (status, told["ok"]) == (200, True) or (status == 409 and told["why"])
        return what

    def asked(self, model: str) -> str:
        """Answered, or told why not in the form of the API: there is no third, and no connection just ends."""
        status, told, _ = self.served.ask("POST", "/v1/chat/completions", {"model": model, "messages": []})
        if status == 200:
            assert told["choices"][0]["finish_reason"] == "stop"
            return "served"
        assert told["error"]["message"]
        assert status in (502, 503), told
        return "refused" if status == 503 else "lost its server"

    def gives_up(self, model: str) -> None:
        place = urlsplit(self.served.url)
        body = json.dumps({"model": model, "messages": []}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((place.hostname, place.port), timeout=5) as connection:
            connection.sendall(head.encode() + body)
            connection.settimeout(self.random.uniform(0.001, 0.1))
            with suppress(TimeoutError):
                connection.recv(1)

    def killed(self, model: str) -> str:
        shown = self.served.get("/hangtight/models")["models"]
        (pid,) = (each["pid"] for each in shown if each["model"] == model)
        if pid is not None:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
        return "killed" if pid else "nothing to kill"


def test_two_hundred_cycles_through_a_gateway_answer_every_request_and_leave_nothing_behind(tmp_path: Path) -> None:
    file = {"models": MODELS, "groups": GROUPS, "startPort": free_ports(20), "limits": {"total": 15}}
    with (
        Served(tmp_path, json.dumps(file), "--drain", "1", XDG_DATA_HOME=str(tmp_path), HOME=str(tmp_path)) as served,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        clients = [Clients(served, SEED + number) for number in range(AT_ONCE)]
        ended = sum(pool.map(lambda each: each.some(THROUGH_A_GATEWAY // AT_ONCE), clients), Counter[str]())
        assert served.ask("POST", "/unload")[0] == 200
        shown = served.get("/hangtight/models")["models"]
        assert {each["phase"] for each in shown} <= {"stopped", "failed"}
        assert not any(each["waiting"] or each["requests"] for each in shown)
        assert served.get("/hangtight/generations")["generations"] == []
    assert running() == []
    assert ended.total() == THROUGH_A_GATEWAY
    assert ended["served"] > THROUGH_A_GATEWAY / 10
    assert ended["lost its server"] <= ended["killed"] * (AT_ONCE - 1)
