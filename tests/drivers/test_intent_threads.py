"""The text moves the deadline where threads read it, where an alarm of another thread looks, and for a process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import openai
import pytest

import hangtight
from hangtight.core.heartbeat import Heartbeat
from hangtight.drivers.watchdog import WATCHDOG
from hangtight.intent.findings import Finding
from hangtight.testing.lab import Lab
from hangtight.testing.lab.healthy import said_of_code
from tests.acceptance.kit import project, read
from tests.cli.kit import command

pytestmark = pytest.mark.real

CODE = [said_of_code(index) for index in range(1000)]
SENTENCE = ["I ", "will ", "now ", "open ", "the ", "file ", "again ", ". "]
UNIT = "".join(SENTENCE)
WORKS = ["".join(CODE[:100]), *CODE[100:]]
"""The first piece alone says what it is at, on a machine that is busy, too."""
SHORT: dict[str, Any] = {"total": 0.6, "extend_to": 1.2, "idle": 20, "first_token": 20}
LONG = 30.0
"""Nothing here waits so long."""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in threading.enumerate():
        if thread not in before and thread.name != WATCHDOG:
            thread.join(5)
            assert not thread.is_alive(), thread


def pieces(texts: list[str], pause: float = 0.0) -> Iterator[str]:
    """A generator of the caller's own: it is read in a helper thread, since nothing can wake it."""
    for text in texts:
        if pause:
            threading.Event().wait(pause)
        yield text


class BrokenOff:
    """A source that can be woken: it is read in the caller's own thread."""

    def __init__(self, texts: list[str], pause: float = 0.0) -> None:
        self.texts = iter(texts)
        self.pause = pause
        self.woken = threading.Event()
        self.readers: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.readers.add(threading.current_thread().name)
        if self.woken.wait(self.pause):
            raise StopIteration
        return next(self.texts)

    def break_off(self) -> None:
        self.woken.set()


SOURCES: list[Callable[..., Any]] = [pieces, BrokenOff]
each_source = pytest.mark.parametrize("source", SOURCES, ids=["helper thread", "own thread"])


def ended(watching: Any) -> Any:
    """The error, or the text."""
    try:
        for _ in watching:
            pass
    except hangtight.HangtightError as error:
        return error
    return watching.partial


@each_source
def test_a_loop_ends_it_wherever_it_is_read(source: Callable[..., Any]) -> None:
    reading = source(CODE[:40] + SENTENCE * 1000)
    error = ended(hangtight.watch(reading, intent=True))
    assert isinstance(error, hangtight.Looping)
    assert error.useful == "".join(CODE[:40]) + UNIT
    assert error.loop is not None
    assert error.loop.period == len(UNIT)
    assert not error.left_running
    if isinstance(reading, BrokenOff):
        assert reading.readers == {threading.current_thread().name}


@each_source
def test_the_hook_is_asked_in_the_thread_of_the_reader(source: Callable[..., Any]) -> None:
    asked: list[tuple[str, int]] = []

    def hook(found: Finding) -> bool:
        asked.append((threading.current_thread().name, found.copies))
        return True

    assert ended(hangtight.watch(source(SENTENCE * 200), intent=True, on_loop=hook)) == UNIT * 200
    assert {name for name, _ in asked} == {threading.current_thread().name}
    copies = [copies for _, copies in asked]
    assert all(later >= 2 * earlier for earlier, later in pairwise(copies))


@each_source
def test_what_gets_on_is_extended_by_the_watchdog_to_its_end(source: Callable[..., Any]) -> None:
    told: list[Heartbeat] = []
    watching = hangtight.watch(source(WORKS, 0.02), heartbeat=0.1, on_heartbeat=told.append, **SHORT)
    error = ended(watching)
    assert isinstance(error, hangtight.TotalTimeout)
    assert 1.2 <= watching.elapsed < LONG
    assert "because it was getting on (extend_to)" in str(error)
    moves = [beat.moved for beat in told if beat.moved is not None]
    (move,) = moves
    assert str(move) == "deadline 0.6 s -> 1.2 s: coding"


def test_what_says_too_little_is_not_extended() -> None:
    watching = hangtight.watch(pieces(["."] * 1000, 0.02), **SHORT)
    error = ended(watching)
    assert isinstance(error, hangtight.TotalTimeout)
    assert (error.limit, error.waited) == ("total", 0.6)


def test_a_loop_in_large_pieces_is_seen_by_the_watchdog_at_total() -> None:
    texts = [UNIT * 100, *[UNIT] * 20]
    assert isinstance(ended(hangtight.watch(pieces(texts, 0.25), **SHORT)), hangtight.Looping)
    asked: list[Finding] = []
    error = ended(hangtight.watch(pieces(texts, 0.25), on_loop=asked.append, **SHORT))
    assert isinstance(error, hangtight.TotalTimeout)
    assert asked == []


def test_a_source_that_blocks_in_the_middle_of_a_loop_is_silent_and_nothing_else() -> None:
    def blocks() -> Iterator[str]:
        yield from SENTENCE * 10
        gate.wait()

    gate = threading.Event()
    error = ended(hangtight.watch(blocks(), intent=True, idle=0.2, cancel=0.1))
    gate.set()
    assert isinstance(error, hangtight.IdleTimeout)


def test_many_threads_keep_their_texts_apart() -> None:
    def one(number: int) -> str:
        loops = number % 2 == 0
        texts = CODE[number : number + 40] + (SENTENCE * 200 if loops else CODE[100:300])
        source = SOURCES[number // 2 % 2]
        came = ended(hangtight.watch(source(texts), mode="deep", model=f"m{number}"))
        if not loops:
            return "whole" if came == "".join(texts) else repr(came)
        useful = "".join(CODE[number : number + 40]) + UNIT
        return "useful" if isinstance(came, hangtight.Looping) and came.useful == useful else repr(came)

    with ThreadPoolExecutor(16) as pool:
        came = list(pool.map(one, range(48)))
    assert came == ["useful", "whole"] * 24


# -- a process ------------------------------------------------------------------------------------------------


def talks(forever: str) -> list[str]:
    script = f"import time\nwhile True:\n    print({forever!r}, flush=True)\n    time.sleep(0.001)"
    return [sys.executable, "-c", script]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_process_that_says_the_same_again_and_again_is_ended(asynchronous: bool) -> None:
    async def reading() -> Any:
        watching = hangtight.achild(talks(UNIT), mode="deep", model="llamafile")
        try:
            async for _ in watching:
                pass
        except hangtight.HangtightError as error:
            return error
        return watching.partial

    begun = time.monotonic()
    if asynchronous:
        error = asyncio.run(reading())
    else:
        error = ended(hangtight.child(talks(UNIT), mode="deep", model="llamafile"))
    assert time.monotonic() - begun < LONG
    assert isinstance(error, hangtight.Looping)
    assert not error.left_running
    assert error.useful.rstrip() == UNIT.rstrip()
    assert error.partial.startswith(error.useful)


def test_a_process_is_left_alone_where_intent_is_off() -> None:
    error = ended(hangtight.child(talks(UNIT), mode="deep", intent=False, total=1, model="llamafile"))
    assert isinstance(error, hangtight.TotalTimeout)


# -- over the client of an SDK --------------------------------------------------------------------------------


def test_a_watch_whose_source_asks_models_in_turn_ends_at_the_one_that_loops() -> None:
    asked: list[str] = []

    def source(client: openai.OpenAI) -> Iterator[str]:
        for model in ("good,tokens=20,rate=400", "stuck,loop,rate=2000", "never"):
            asked.append(model)
            question: list[Any] = [{"role": "user", "content": "?"}]
            for chunk in client.chat.completions.create(model=model, messages=question, stream=True):
                yield chunk.choices[0].delta.content or "" if chunk.choices else ""

    with Lab() as lab, hangtight.http.client() as http:
        client = openai.OpenAI(api_key="none", base_url=f"{lab.url}/v1", http_client=http, max_retries=0)
        error = ended(hangtight.watch(lambda: source(client), mode="deep", model="m"))
    assert isinstance(error, hangtight.Looping)
    assert asked == ["good,tokens=20,rate=400", "stuck,loop,rate=2000"]
    assert error.partial


# -- the command ----------------------------------------------------------------------------------------------


def test_the_log_shows_what_was_decided_and_no_word_of_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project(tmp_path, monkeypatch):
        ended(hangtight.watch(pieces(WORKS, 0.02), model="slow", **SHORT))
        ended(hangtight.watch(pieces(SENTENCE * 1000), model="loops", intent=True))
        rows = {row.model: row.id for row in read().calls()}
    told = {model: shown(tmp_path, key) for model, key in rows.items()}
    assert "coding" in told["slow"]
    assert "times in a row" in told["loops"]
    assert not any("open the file" in text for text in told.values())


def shown(folder: Path, key: str) -> str:
    log: subprocess.CompletedProcess[str] = command(folder, "log", "--journal", str(folder / "journal.db"), key)
    assert log.returncode == 0, log.stderr
    return log.stdout
