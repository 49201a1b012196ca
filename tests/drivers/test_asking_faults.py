"""Our own client under the time contract: every fault of the lab in both shapes."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

import hangtight
from hangtight.dialects.chat import Shape
from hangtight.drivers.asking import Asking, watched
from hangtight.drivers.servers import Server
from hangtight.testing.lab import Lab

SHORT = {"first_token": 0.3, "idle": 0.3, "total": 5.0}
AT_ONCE = 8
LATE = 4.0  # times what a bare timer needs; a machine under load is late for both
OPENAI, OLLAMA = Shape.OPENAI, Shape.OLLAMA


@dataclass(frozen=True)
class Fault:
    """One way to misbehave, and what somebody behind `ask` sees of it."""

    script: str
    raises: type[BaseException] | None = None
    outcome: str = "finished"
    tokens: int | None = None
    limit: str = ""
    """The limit that breaks; then the server must have been told to stop."""
    limits: dict[str, Any] = field(default_factory=dict)
    only: Shape | None = None
    says: str = ""
    """What the error quotes."""
    heeds: bool = True


FIRST, IDLE, TOTAL = hangtight.FirstTokenTimeout, hangtight.IdleTimeout, hangtight.TotalTimeout
FAILS, CUT = hangtight.BackendError, hangtight.Truncated
TIMEOUT, FAILED, TRUNCATED = "timeout", "failed", "truncated"
PATIENT = {"first_token": 5.0}
UNHURRIED = {"idle": 5.0}  # megabytes take the lab itself a while
BRIEF = {"total": 0.6}

FAULTS = (
    Fault("tokens=5,rate=400", tokens=5),
    Fault("tokens=5,rate=400,load=0.5", tokens=5, limits=PATIENT),
    Fault("tokens=5,rate=400,prefill=0.5", tokens=5, limits=PATIENT),
    Fault("tokens=5,rate=400,prefill=0.8,prefill-progress,every=0.1", tokens=5, only=OPENAI),
    Fault("tokens=5,rate=400,headers=0.5", tokens=5, limits=PATIENT),
    Fault("tokens=5,rate=400,load=0.5,unavailable", tokens=5),
    Fault("load=60,unavailable", hangtight.LoadTimeout, TIMEOUT, 0, "load", {"load": 0.3}),
    Fault("load=60", hangtight.LoadTimeout, TIMEOUT, 0, "load", {"load": 0.4}, only=OLLAMA),
    Fault("silent", FIRST, TIMEOUT, 0, "first_token", only=OPENAI),
    Fault("mute=0", FIRST, TIMEOUT, 0, "first_token", only=OPENAI),
    Fault("mute=3,rate=400", IDLE, TIMEOUT, 3, "idle"),
    Fault("pings=0", FIRST, TIMEOUT, 0, "first_token", only=OPENAI),
    Fault("pings=3,rate=400", IDLE, TIMEOUT, 3, "idle"),
    Fault("empties=3,rate=400", IDLE, TIMEOUT, 3, "idle"),
    Fault("drip=3,rate=400", IDLE, TIMEOUT, 3, "idle"),
    Fault("reasoning=3,tokens=3,rate=400", tokens=6),
    Fault("reasoning=3,mute=3,rate=400", IDLE, TIMEOUT, 3, "thinking", {"thinking": 0.4}),
    Fault("tool,rate=400"),
    Fault("runaway,rate=400", TOTAL, TIMEOUT, None, "total", BRIEF),
    Fault("loop,rate=400", TOTAL, TIMEOUT, None, "total", BRIEF),
    Fault("drift,rate=400", TOTAL, TIMEOUT, None, "total", BRIEF),
    Fault("disconnect=3,rate=400", CUT, TRUNCATED, 3),
    Fault("disconnect=0", CUT, TRUNCATED, 0),
    Fault("dies=3,rate=400", CUT, TRUNCATED, 3),
    Fault("garbage=3,rate=400", FAILS, FAILED, 3, says="sent broken JSON"),
    Fault("oversized=2,tokens=4,rate=400", limits=UNHURRIED),
    Fault("oversized=20,tokens=4,rate=400", FAILS, FAILED, 1, limits=UNHURRIED, says="larger than"),
    Fault("status=429,retry-after=9", FAILS, FAILED, 0, says="try again after 9 s"),
    Fault("status=400", FAILS, FAILED, 0, says="refused with 400: this model refuses"),
    Fault("status=503", FAILS, FAILED, 0, says="refused with 503"),
    Fault("no-done,tokens=3,rate=400", tokens=3, only=OPENAI),
    Fault("no-done,tokens=3,rate=400", CUT, TRUNCATED, 3, only=OLLAMA),
    Fault("no-reason,tokens=3,rate=400", None, "unfinished", 3),
    Fault("no-reason,no-done,tokens=3,rate=400", CUT, TRUNCATED, 3),
    Fault("error=3,rate=400", FAILS, FAILED, 3, says="EngineCore"),
    Fault("ignores-cancel,tokens=9000,rate=400", TOTAL, TIMEOUT, None, "total", BRIEF, heeds=False),
    Fault("lingers,tokens=3,rate=400", tokens=3),
)

CASES = [(shape, fault) for fault in FAULTS for shape in (OPENAI, OLLAMA) if fault.only in (None, shape)]
IDS = [f"{shape}:{fault.script}" for shape, fault in CASES]


def name_of(shape: Shape, fault: Fault) -> str:
    """A name for each case: the lab counts by name."""
    return f"{shape},{fault.script}"


@dataclass(frozen=True)
class Ended:
    """How one case ended."""

    reading: hangtight.Watch[Any]
    error: Exception | None
    lateness: float
    """Our time over that of a bare timer, set at the same moment to the limit that breaks."""


@dataclass(frozen=True)
class Played:
    """All cases, and what was left of them."""

    ended: dict[str, Ended]
    tasks: int
    threads: int
    descriptors: int


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def played_all(lab: Lab) -> Played:
    """Every fault in both shapes, some at the same time; whoever dies has a server of its own."""
    gc.collect()
    threads, descriptors = threading.active_count(), count_descriptors()
    with ExitStack() as labs:
        urls = [labs.enter_context(Lab()).url if "dies" in fault.script else lab.url for _, fault in CASES]
        ended, tasks = asyncio.run(play_all(urls))
    gc.collect()
    settles(lambda: count_descriptors() <= descriptors + still_open(lab))
    left = count_descriptors() - descriptors - still_open(lab)
    return Played(ended, tasks, threading.active_count() - threads, left)


async def play_all(urls: list[str]) -> tuple[dict[str, Ended], int]:
    """Those that take all of a processor go one by one; too many at once would wait for each other."""
    cases = list(zip(urls, CASES, strict=True))
    heavy = [[case] for case in cases if "oversized" in case[1][1].script]
    light = [case for case in cases if "oversized" not in case[1][1].script]
    ended: dict[str, Ended] = {}
    for batch in heavy + [light[at : at + AT_ONCE] for at in range(0, len(light), AT_ONCE)]:
        results = await asyncio.gather(*(play_one(url, *case) for url, case in batch))
        ended |= {name_of(*case): result for (_, case), result in zip(batch, results, strict=True)}
    return ended, len(asyncio.all_tasks()) - 1


async def play_one(url: str, shape: Shape, fault: Fault) -> Ended:
    limits = {**SHORT, **fault.limits}
    reading = watched(Asking(server_at(url, shape), name_of(shape, fault), "Say something."), **limits)
    error: Exception | None = None
    bare = asyncio.create_task(bare_timer(limits.get(fault.limit, 0)))
    start = time.monotonic()
    try:
        async for _ in reading:
            pass
    except Exception as raised:
        error = raised
    took = time.monotonic() - start
    return Ended(reading, error, took / max(await bare, 0.01))


async def bare_timer(seconds: float) -> float:
    start = time.monotonic()
    await asyncio.sleep(seconds)
    return time.monotonic() - start


def still_open(lab: Lab) -> int:
    """The lab's own end of a connection whose generation goes on for nobody, on request of its name."""
    return sum(lab.counts(name_of(*case)).open for case in CASES)


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def settles(holds: Callable[[], bool]) -> bool:
    """Whether it holds soon: the lab's own end of a connection closes in the lab's own thread."""
    for _ in range(300):
        if holds():
            return True
        threading.Event().wait(0.01)
    return False


def server_at(url: str, shape: Shape) -> Server:
    return Server(url if shape is Shape.OLLAMA else f"{url}/v1", shape)


@pytest.mark.real
@pytest.mark.parametrize(("shape", "fault"), CASES, ids=IDS)
def test_a_fault_of_a_server(shape: Shape, fault: Fault, played_all: Played, lab: Lab) -> None:
    name = name_of(shape, fault)
    ended = played_all.ended[name]
    error, reading = ended.error, ended.reading
    assert type(error) is (fault.raises or type(None)), repr(error)
    assert fault.says in str(error)
    assert reading.outcome == fault.outcome
    if fault.tokens is not None:
        assert reading.tokens == fault.tokens
    if isinstance(error, hangtight.GenerationTimeout | hangtight.BackendError):
        assert error.partial == reading.partial
        assert 0 < error.elapsed <= reading.elapsed + 0.1
        assert bool(error.partial) is (reading.tokens > 0 and fault.limit != "thinking")
    asks_again = "unavailable" in fault.script
    if isinstance(error, hangtight.GenerationTimeout):
        assert error.limit == fault.limit
        assert ended.lateness < LATE
    if isinstance(error, hangtight.GenerationTimeout) and not asks_again:
        told = lab.when(name, lambda counts: counts.cancelled == 1 and (not counts.open or counts.wasted > 0))
        assert (told.wasted == 0) is fault.heeds
    if not asks_again and "dies" not in fault.script:
        assert lab.counts(name).asked == 1


@pytest.mark.real
def test_nothing_is_left_of_any_of_them(played_all: Played) -> None:
    assert (played_all.tasks, played_all.threads, max(played_all.descriptors, 0)) == (0, 0, 0)


@pytest.mark.real
@pytest.mark.parametrize("shape", [OPENAI, OLLAMA])
def test_a_reader_that_leaves_takes_its_request_along(shape: Shape, lab: Lab) -> None:
    script = f"left-{shape},tokens=9000,rate=400"

    async def read() -> None:
        async with watched(Asking(server_at(lab.url, shape), script, "Hi")) as chunks:
            async for _ in chunks:
                break
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(read())
    assert lab.settled(script).cancelled == 1


@pytest.mark.real
@pytest.mark.parametrize("shape", [OPENAI, OLLAMA])
def test_a_synchronous_loop_reads_it_too(shape: Shape, lab: Lab) -> None:
    asking = Asking(server_at(lab.url, shape), "tokens=5,rate=400", "Hi")
    reading = watched(asking)
    assert len([chunk for chunk in reading if chunk]) >= 5
    assert (asking.reason, asking.tokens, reading.outcome) == ("stop", 5, "finished")
