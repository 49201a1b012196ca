"""Every fault of the lab through `watch` over the real openai and ollama clients, sync and async.

What is asserted for each: the right error in time (against a bare timer of the same run), the text so far kept, the
server told to stop, and nothing left: no task, no thread but the one watchdog, no descriptor, no connection in use.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import httpx2
import ollama
import openai
import pytest

import hangtight
from hangtight.testing.lab import Lab
from tests.clients.kit import BareTimer, nothing_left

if sys.platform == "win32":
    uvloop = None
else:
    import uvloop

pytestmark = pytest.mark.real

SHORT = {"first_token": 0.3, "idle": 0.3, "total": 5.0}
LATE = 4.0  # times what a bare timer needs; a machine under load is late for both
MESSAGES: list[Any] = [{"role": "user", "content": "Say something."}]


@dataclass(frozen=True)
class Fault:
    """One way to misbehave, and what somebody behind `watch` sees of it."""

    script: str
    raises: tuple[type[BaseException], ...] = ()
    outcome: str = "finished"
    tokens: int | None = None
    """How many pieces of content arrive; None: that depends on time."""
    limit: str = ""
    """The limit that breaks; then the server must have been told to stop."""
    limits: dict[str, Any] = field(default_factory=dict)
    only: str = ""
    """The one client for which this is so; the other has a line of its own."""
    heeds: bool = True
    """The server stops when it is told to."""


TIMEOUT, FAILED = "timeout", "failed"
FIRST = (hangtight.FirstTokenTimeout,)
IDLE = (hangtight.IdleTimeout,)
TOTAL = (hangtight.TotalTimeout,)
CUT = (hangtight.Truncated,)
THEIRS = (openai.OpenAIError, ollama.ResponseError, httpx.HTTPError, httpx2.HTTPError, ValueError)
PATIENT = {"first_token": 5.0}
BRIEF = {"total": 0.6}

FAULTS = (
    Fault("tokens=5,rate=400", tokens=5),
    Fault("tokens=5,rate=400,load=0.6", tokens=5, limits=PATIENT),
    Fault("tokens=5,rate=400,prefill=0.6", tokens=5, limits=PATIENT),
    Fault("tokens=5,rate=400,prefill=0.8,prefill-progress=always,every=0.1", tokens=5, only="openai"),
    Fault("tokens=5,rate=400,headers=0.6", tokens=5, limits=PATIENT),
    Fault("silent", FIRST, TIMEOUT, 0, "first_token"),
    Fault("mute=0", FIRST, TIMEOUT, 0, "first_token"),
    Fault("mute=3,rate=400", IDLE, TIMEOUT, 3, "idle"),
    Fault("pings=0", FIRST, TIMEOUT, 0, "first_token", only="openai"),
    Fault("pings=3,rate=400", IDLE, TIMEOUT, 3, "idle", only="openai"),
    Fault("pings=3,rate=400", THEIRS, FAILED, 3, only="ollama"),
    Fault("empties=3,rate=400", IDLE, TIMEOUT, 3, "idle"),
    Fault("drip=3,rate=400", IDLE, TIMEOUT, 3, "idle"),
    Fault("reasoning=3,tokens=3,rate=400", tokens=6),
    Fault("reasoning=3,mute=3,rate=400", IDLE, TIMEOUT, 3, "thinking", {"thinking": 0.4}),
    Fault("tool,rate=400"),
    Fault("runaway,rate=400", TOTAL, TIMEOUT, None, "total", BRIEF),
    Fault("loop,rate=400", TOTAL, TIMEOUT, None, "total", BRIEF),
    Fault("drift,rate=400", TOTAL, TIMEOUT, None, "total", BRIEF),
    Fault("disconnect=3,rate=400", THEIRS, FAILED, 3),
    Fault("dies=3,rate=400", THEIRS, FAILED, 3),
    Fault("garbage=3,rate=400", THEIRS, FAILED, 3),
    Fault("oversized=2,tokens=4,rate=400"),
    Fault("status=429,retry-after=9", THEIRS, FAILED, 0),
    Fault("load=9,unavailable", THEIRS, FAILED, 0),
    Fault("status=400", THEIRS, FAILED, 0),
    Fault("no-done,tokens=3,rate=400", tokens=3, only="openai"),
    Fault("no-done,tokens=3,rate=400", CUT, "truncated", 3, only="ollama"),
    Fault("no-reason,tokens=3,rate=400", (), "unfinished", 3),
    Fault("no-reason,no-done,tokens=3,rate=400", CUT, "truncated", 3),
    Fault("error=3,rate=400", THEIRS, FAILED, 3),
    Fault("ignores-cancel,tokens=9000,rate=400", TOTAL, TIMEOUT, None, "total", BRIEF, heeds=False),
    Fault("lingers,tokens=3,rate=400", tokens=3),
)


@dataclass
class Seen:
    """What the caller had at the end."""

    error: BaseException | None
    watched: hangtight.Watch[Any]
    lateness: float
    """Our time over that of a bare timer, set at the same moment to the limit that breaks."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if uvloop is not None:
        uvloop.run(asyncio.sleep(0))  # it keeps a descriptor of its own from its first loop on
    with Lab() as lab:
        yield lab


@pytest.fixture(autouse=True)
def nothing_is_left(lab: Lab) -> Iterator[None]:
    """No thread but the one watchdog, and no descriptor, that was not there before."""
    with nothing_left(lab):
        yield


CASES = [
    pytest.param(client, fault, id=f"{client}:{fault.script}:{fault.outcome}")
    for fault in FAULTS
    for client in ("openai", "ollama")
    if fault.only in ("", client)
]


class FaultTimer(BareTimer):
    """A timer of the standard library for the limit that breaks."""

    def __init__(self, fault: Fault) -> None:
        self.limits = {**SHORT, **fault.limits}
        super().__init__(self.limits.get(fault.limit, 0))


def open_sync(client: str, url: str, model: str) -> tuple[Any, Callable[[], Any]]:
    if client == "openai":
        api = openai.OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)
        return api, lambda: api.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    host = ollama.Client(host=url)
    return host, lambda: host.chat(model=model, messages=MESSAGES, stream=True)


def open_async(client: str, url: str, model: str) -> tuple[Any, Callable[[], Any]]:
    if client == "openai":
        api = openai.AsyncOpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)
        return api, lambda: api.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    host = ollama.AsyncClient(host=url)
    return host, lambda: host.chat(model=model, messages=MESSAGES, stream=True)


def pool_of(client: Any) -> list[Any]:
    """The connections that the client's pool still holds in use."""
    connections = client._client._transport._pool.connections
    return [connection for connection in connections if not connection.is_idle()]


def read_sync(client: str, url: str, fault: Fault) -> Seen:
    api, opening = open_sync(client, url, fault.script)
    timer = FaultTimer(fault)
    watched = hangtight.watch(opening, model=fault.script, **timer.limits)
    error: BaseException | None = None
    try:
        for _ in watched:
            pass
    except Exception as raised:
        error = raised
    lateness = timer.lateness()
    assert pool_of(api) == []
    api.close()
    return Seen(error, watched, lateness)


async def read_async(client: str, url: str, fault: Fault) -> Seen:
    api, opening = open_async(client, url, fault.script)
    timer = FaultTimer(fault)
    watched = hangtight.watch(opening, model=fault.script, **timer.limits)
    error: BaseException | None = None
    try:
        async for _ in watched:
            pass
    except Exception as raised:
        error = raised
    lateness = timer.lateness()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert asyncio.all_tasks() == {task}
    assert pool_of(api) == []
    await api.close()
    return Seen(error, watched, lateness)


def check(seen: Seen, fault: Fault, lab: Lab) -> None:
    if fault.raises:
        assert isinstance(seen.error, fault.raises), repr(seen.error)
    else:
        assert seen.error is None, repr(seen.error)
    assert seen.watched.outcome == fault.outcome
    if fault.tokens is not None:
        assert seen.watched.tokens == fault.tokens
    if isinstance(seen.error, hangtight.GenerationTimeout):
        assert (seen.error.limit, seen.error.left_running) == (fault.limit, False)
        assert seen.error.partial == seen.watched.partial
        assert bool(seen.error.partial) is (seen.error.tokens > 0 and fault.limit != "thinking")
        assert seen.lateness < LATE
        heeded = lab.when(fault.script, lambda counts: counts.cancelled == 1 and (not counts.open or counts.wasted > 0))
        assert (heeded.wasted == 0) is fault.heeds
    assert lab.counts(fault.script).asked == 1


@pytest.mark.parametrize(("client", "fault"), CASES)
def test_a_fault_behind_a_synchronous_client(client: str, fault: Fault, lab: Lab) -> None:
    check(read_sync(client, lab.url, fault), fault, lab)


@pytest.mark.parametrize(("client", "fault"), CASES)
def test_a_fault_behind_an_asynchronous_client(client: str, fault: Fault, lab: Lab) -> None:
    check(asyncio.run(read_async(client, lab.url, fault)), fault, lab)


@pytest.mark.skipif(uvloop is None, reason="uvloop is not made for Windows")
@pytest.mark.parametrize(("client", "fault"), CASES)
def test_a_fault_behind_an_asynchronous_client_on_uvloop(client: str, fault: Fault, lab: Lab) -> None:
    check(uvloop.run(read_async(client, lab.url, fault)), fault, lab)


@pytest.mark.parametrize("script", ["silent", "mute=0"])
def test_a_client_that_would_try_twice_more_asks_once(script: str, lab: Lab) -> None:
    with openai.OpenAI(api_key="none", base_url=f"{lab.url}/v1") as api:
        assert api.max_retries == 2
        with pytest.raises(hangtight.FirstTokenTimeout) as caught:
            list(
                hangtight.watch(
                    lambda: api.chat.completions.create(model=script, messages=MESSAGES, stream=True), first_token=0.3
                )
            )
        assert not caught.value.left_running
        assert lab.when(script, lambda counts: counts.cancelled == 1).asked == 1
