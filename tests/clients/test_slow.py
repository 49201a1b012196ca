"""What takes long without being silent: slow uploads, late bodies, listeners that block."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hangtight.testing.lab import Lab
from tests.clients.kit import (
    MESSAGES,
    OPENAI,
    SDKS,
    BareTimer,
    How,
    nothing_left,
    one_lab,
    settles,
)
from tests.clients.wild import JSON, LONG, WORDS, Line, Wild, hello

pytestmark = pytest.mark.real

SOON = 0.2
CHAT: dict[str, Any] = {"model": "m", "messages": MESSAGES}
VECTOR = b'{"object":"list","model":"m","data":[],"usage":{"prompt_tokens":1,"total_tokens":1}}'
each_sdk = pytest.mark.parametrize("sdk", SDKS)
both_ways = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with one_lab() as lab:
        yield lab


@pytest.fixture(autouse=True)
def _clean(shared: Lab) -> Iterator[None]:
    with nothing_left(shared):
        yield


def half(line: Line) -> None:
    line.head()
    line.say(*WORDS[OPENAI].hello)
    line.hold()


# -- while it is sent ---------------------------------------------------------------------------------------------


@both_ways
def test_an_upload_that_the_server_takes_slowly_is_no_silence(asynchronous: bool) -> None:
    begun: list[float] = []

    def takes_its_time(line: Line) -> None:
        left = int(line.asked.headers["content-length"]) - len(line.asked.body)
        began = time.monotonic()
        while left > 0:
            left -= len(line.connection.recv(min(left, 128 * 1024)))
            if time.monotonic() - began < 5 * SOON:
                time.sleep(SOON / 40)
        begun.append(time.monotonic() - began)
        hello(line)

    with Wild(takes_its_time, reads_bodies=False, buffer=128 * 1024) as server:
        ours = {"first_token": SOON, "idle": SOON, "total": 30}
        seen = How(OPENAI, asynchronous, ours=ours, more={"extra_body": LARGE}).call(server.url, "m")
        assert (seen.error, seen.text) == (None, "hello")
        assert begun[0] > 3 * SOON


@both_ways
def test_total_rings_in_the_middle_of_a_slow_upload(asynchronous: bool) -> None:
    def takes_for_ever(line: Line) -> None:
        while line.connection.recv(64 * 1024):
            line.hold(SOON / 4)

    with Wild(takes_for_ever, reads_bodies=False, buffer=128 * 1024) as server:
        timer = BareTimer(2 * SOON)
        how = How(OPENAI, asynchronous, ours={"total": 2 * SOON}, more={"extra_body": LARGE})
        assert how.call(server.url, "m").late.limit == "total"
        assert timer.lateness() < LONG / SOON / 4


LARGE = {"padding": "x" * (32 * 1024 * 1024)}
"""Far more than the buffers of a connection hold."""


# -- while it is waited for ---------------------------------------------------------------------------------------


@both_ways
@each_sdk
def test_an_answer_in_one_piece_has_the_limit_of_those_however_early_its_head_came(
    sdk: str, asynchronous: bool
) -> None:
    def late(line: Line) -> None:
        line.head(JSON)
        line.hold(3 * SOON)
        line.say(httpx.Response(200, json=WORDS[sdk].whole).content)
        line.end()

    with Wild(late) as server:
        for ours, error in (({"unstreamed": LONG}, None), ({"unstreamed": SOON, "idle": LONG}, "unstreamed")):
            how = How(sdk, asynchronous, False, {"first_token": SOON, "idle": SOON, **ours})
            seen = how.call(server.url, "m")
            assert getattr(seen.error, "limit", seen.error) == error
            assert seen.text == ("" if error else "hello")


@streamed_or_not
def test_a_listener_that_blocks_does_not_stop_the_clocks_of_the_thread_that_waits(streamed: bool) -> None:
    blocked = threading.Event()
    threads = set(threading.enumerate())
    ours = {"total": 2 * SOON, "heartbeat": SOON / 4, "on_heartbeat": lambda _: blocked.wait(LONG)}
    with Wild(half) as server:
        timer = BareTimer(2 * SOON)
        seen = How(OPENAI, False, streamed, ours).call(server.url, "m")
        assert seen.late.limit == "total"
        assert timer.lateness() < LONG / SOON / 4
        blocked.set()
    assert settles(
        lambda: set(threading.enumerate()) <= threads | {t for t in threading.enumerate() if "dog" in t.name}
    )
