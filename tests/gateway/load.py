"""Clients that ask for all kinds of ends, one request after the other, and remember how each of them ended."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2

from hangtight.testing.lab import text_of

LONGEST = 20.0  # seconds: far above all limits here; whoever is not back by then hangs
BETWEEN = 0.02
FINISHED, TIMED_OUT, LEFT, FAILED, CUT, REFUSED, HUNG = (
    "finished", "timeout", "left", "failed", "cut", "refused", "hung",
)  # fmt: skip
"""The first three are the journal's own words."""
QUICK, LONG = "m,tokens=9,rate=60", "m,tokens=90,rate=30"
SILENT, MUTE, ENDLESS = "silent", "m,tokens=9,mute=4,rate=60", "runaway,rate=40"
LEFT_AFTER = 0.3
SETTINGS = """\
limits: {{idle: 0.7, total: 8}}
circuit: {circuit}
models:
  "*":
    proxy: {url}
"""
NO_CIRCUIT, SHORT_CIRCUIT = "false", "{first: 0.2, longest: 0.4}"
"""Models that go silent are wanted here."""


@dataclass
class Asked:
    """One request and its end."""

    run: str
    """Under which it stands in the journal."""
    model: str
    streamed: bool
    leaves: bool
    began: float
    ended: float | None = None
    end: str = ""
    told: str = ""
    """What there was to say about an end that is not well."""


@dataclass
class Load:
    """So many clients at once, until they are told that it is enough."""

    url: str
    clients: int = 16
    seed: int = 7
    models: tuple[str, ...] = (QUICK, QUICK, QUICK, LONG, SILENT, MUTE)
    asked: list[Asked] = field(default_factory=list)
    enough: bool = False

    async def run(self) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=self.clients)
        async with httpx2.AsyncClient(base_url=self.url, limits=limits, timeout=None) as http:
            await asyncio.gather(*(self._client(http, random.Random(f"{self.seed} {n}")) for n in range(self.clients)))

    async def _client(self, http: httpx2.AsyncClient, dice: random.Random) -> None:
        while not self.enough:
            leaves = dice.random() < 0.2
            model = ENDLESS if leaves else dice.choice(self.models)
            asked = Asked(f"r{len(self.asked)}", model, dice.random() < 0.6, leaves, time.monotonic())
            self.asked.append(asked)
            asked.end, asked.told = HUNG, ""
            with suppress(TimeoutError):
                async with asyncio.timeout(LONGEST):
                    asked.end, asked.told = await _end(http, asked)
            asked.ended = time.monotonic()
            await asyncio.sleep(BETWEEN if asked.end != REFUSED else 10 * BETWEEN)

    def ended(self, how: str, *, after: float = 0.0) -> list[Asked]:
        """Those that began after this instant and ended so."""
        return [asked for asked in self.asked if asked.end == how and asked.began > after]


async def _end(http: httpx2.AsyncClient, asked: Asked) -> tuple[str, str]:
    body = {"model": asked.model, "stream": asked.streamed, "messages": [{"role": "user", "content": asked.run}]}
    # A header's first token has no allowance for a model that may have to load.
    headers = {"X-Hangtight-Run": asked.run, "X-Hangtight-First-Token": "0.7"}
    request = http.build_request("POST", "/v1/chat/completions", json=body, headers=headers)
    got = b""
    try:
        async with asyncio.timeout(LEFT_AFTER if asked.leaves else None):
            response = await http.send(request, stream=True)
            try:
                async for data in response.aiter_bytes():
                    got += data
            finally:
                await response.aclose()
    except TimeoutError:
        return LEFT, ""
    except httpx2.ConnectError as error:
        return REFUSED, repr(error)
    except httpx2.HTTPError as error:
        return CUT, repr(error)
    return _judged(asked, response.status_code, got)


def _judged(asked: Asked, status: int, got: bytes) -> tuple[str, str]:
    """How it ended; what looks like a success must be the whole text."""
    events = [json.loads(line[6:]) for line in got.split(b"\n") if line.startswith(b"data: {")]
    told: Any = None
    if status != 200:
        told = json.loads(got)["error"]
    elif asked.streamed and events and "error" in events[-1]:
        told = events[-1]["error"]
    if told is not None:
        return (TIMED_OUT if told["type"] == "timeout" else FAILED), f"{status} {told}"
    if asked.streamed:
        assert got.endswith(b"data: [DONE]\n\n"), got[-200:]
        text = "".join(each["choices"][0]["delta"].get("content") or "" for each in events if each["choices"])
    else:
        text = json.loads(got)["choices"][0]["message"]["content"]
    assert text == text_of(asked.model), "half an answer that passes for a whole one"
    return FINISHED, ""
