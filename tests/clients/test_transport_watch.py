"""`hangtight.watch` over a client of ours: one machine, and it is the transport's; the watch's limits hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import hangtight
from hangtight.testing.lab import Lab, text_of
from tests.clients.kit import (
    APIS,
    FAST,
    OPENAI,
    SDKS,
    BareTimer,
    async_client,
    in_use,
    nothing_left,
    one_lab,
    sync_client,
)

pytestmark = pytest.mark.real

SOON = 0.2
OPEN, OPENING, WHOLE = "an open stream", "a function that opens it", "an unstreamed call"
FORMS = [(OPENING, False), (OPENING, True), (OPEN, False), (OPEN, True), (WHOLE, True)]
each_form = pytest.mark.parametrize(
    ("form", "asynchronous"), FORMS, ids=[f"{form}, {'async' if a else 'sync'}" for form, a in FORMS]
)
each_sdk = pytest.mark.parametrize("sdk", SDKS)


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with one_lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    with nothing_left(shared):
        yield shared


@dataclass
class Watched:
    """A watch at its end, the error of its reader, and how often each of the two transports was asked."""

    watch: hangtight.Watch[Any]
    error: BaseException | None = None
    text: str = ""
    during: hangtight.Limits | None = None
    """The limits as the watch told them after the first piece."""


@dataclass(frozen=True)
class Plan:
    """A watch over a call of an SDK on a client of ours."""

    sdk: str
    form: str
    asynchronous: bool
    ours: dict[str, Any]
    limits: dict[str, Any]

    def call(self, url: str, model: str) -> Watched:
        return asyncio.run(self._async(url, model)) if self.asynchronous else self._sync(url, model)

    def _sync(self, url: str, model: str) -> Watched:
        api, client = APIS[self.sdk], sync_client(APIS[self.sdk].sdk, url, self.ours)

        def opening() -> Any:
            return api.ask(client, model, True)

        seen = Watched(hangtight.watch(opening if self.form == OPENING else opening(), **self.limits))
        try:
            for chunk in seen.watch:
                seen.during = seen.during or seen.watch.limits
                seen.text += api.piece(chunk)
        except Exception as error:
            seen.error = error
        assert in_use(client) == []
        client.close()
        return seen

    async def _async(self, url: str, model: str) -> Watched:
        api, client = APIS[self.sdk], async_client(APIS[self.sdk].sdk, url, self.ours)
        call = api.ask(client, model, self.form != WHOLE)
        seen = Watched(hangtight.watch(await call if self.form == OPEN else call, **self.limits))
        try:
            if self.form == WHOLE:
                seen.text = api.whole(await seen.watch)
            else:
                async for chunk in seen.watch:
                    seen.during = seen.during or seen.watch.limits
                    seen.text += api.piece(chunk)
        except Exception as error:
            seen.error = error
        assert in_use(client) == []
        await client.close()
        return seen


@each_form
@each_sdk
def test_the_report_of_a_watch_over_a_client_of_ours_is_right(
    sdk: str, form: str, asynchronous: bool, lab: Lab
) -> None:
    seen = Plan(sdk, form, asynchronous, {"idle": 40}, {}).call(lab.url, FAST)
    assert (seen.error, seen.text) == (None, text_of(FAST))
    assert (seen.watch.outcome, seen.watch.tokens, seen.watch.partial) == ("finished", 5, text_of(FAST))
    assert 0 < seen.watch.elapsed < 10
    assert lab.counts(FAST).asked == 1


@each_form
@each_sdk
def test_the_limits_of_the_watch_win_over_those_of_the_client(
    sdk: str, form: str, asynchronous: bool, lab: Lab
) -> None:
    model = "mute=3,rate=400"
    timer = BareTimer(SOON)
    seen = Plan(sdk, form, asynchronous, {"idle": 30}, {"idle": SOON}).call(lab.url, model)
    assert isinstance(seen.error, hangtight.IdleTimeout)
    assert timer.lateness() < 4
    assert (seen.error.source, seen.error.tokens) == ("the call", 3)
    assert f"hangtight.watch(..., idle={2 * SOON})" in str(seen.error)
    assert seen.error.partial == seen.watch.partial == text_of(model)[: len(seen.error.partial)] != ""
    assert (seen.watch.outcome, seen.watch.tokens) == ("timeout", 3)
    assert lab.when(model, lambda counts: counts.cancelled == 1).asked == 1


@each_form
@each_sdk
def test_a_limit_that_only_the_client_has_still_holds_under_a_watch(
    sdk: str, form: str, asynchronous: bool, lab: Lab
) -> None:
    seen = Plan(sdk, form, asynchronous, {"idle": SOON}, {"total": 20}).call(lab.url, "mute=3,rate=400")
    assert isinstance(seen.error, hangtight.IdleTimeout)
    assert seen.error.source == "the client"


@each_form
def test_a_watch_may_give_more_time_than_the_client_has(form: str, asynchronous: bool, lab: Lab) -> None:
    model = "prefill=0.5,tokens=3,rate=400"
    short = {"first_token": SOON, "total": 5.0}
    if form == OPEN:  # the stream is open at once, and the watch is there before the first token
        model = "headers=0,prefill=0.5,tokens=3,rate=400"
    seen = Plan(OPENAI, form, asynchronous, short, {"first_token": 5}).call(lab.url, model)
    assert (seen.error, seen.text) == (None, text_of(model))


@each_form
@each_sdk
def test_the_heartbeats_of_the_watch_come_and_those_of_the_client_do_not(
    sdk: str, form: str, asynchronous: bool, lab: Lab
) -> None:
    mine: list[hangtight.Heartbeat] = []
    others: list[hangtight.Heartbeat] = []
    ours = {"heartbeat": 0.03, "on_heartbeat": others.append}
    limits = {"heartbeat": 0.05, "on_heartbeat": mine.append}
    seen = Plan(sdk, form, asynchronous, ours, limits).call(lab.url, "tokens=12,rate=40")
    assert seen.error is None
    assert mine
    if form != OPEN:  # there the client was alone until the watch came
        assert others == []
    assert [beat.now.tokens for beat in mine] == sorted(beat.now.tokens for beat in mine)


@each_form
def test_a_watch_tells_the_limits_that_hold(form: str, asynchronous: bool, lab: Lab) -> None:
    seen = Plan(OPENAI, form, asynchronous, {"idle": 30, "total": 300}, {"idle": 20}).call(lab.url, FAST)
    told = seen.watch.limits
    assert (told.idle, told.total) == (20, 300)
    assert seen.during in (None, told)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@each_sdk
def test_a_break_ends_the_generation_at_the_server(sdk: str, asynchronous: bool, lab: Lab) -> None:
    model, api = "runaway,rate=400", APIS[sdk]

    async def left() -> hangtight.Watch[Any]:
        client = async_client(sdk, lab.url, {})
        async with hangtight.watch(api.ask(client, model, True)) as watch:
            async for _ in watch:
                if watch.tokens:
                    break
        assert in_use(client) == []
        await client.close()
        return watch

    if asynchronous:
        watch = asyncio.run(left())
    else:
        client = sync_client(sdk, lab.url, {})
        with hangtight.watch(lambda: api.ask(client, model, True)) as watch:
            for _ in watch:
                if watch.tokens:
                    break
        assert in_use(client) == []
        client.close()
    assert watch.outcome == "left"
    assert lab.when(model, lambda counts: counts.cancelled == 1).asked == 1


def test_limits_around_a_watch_stand_between_the_watch_and_the_client(lab: Lab) -> None:
    with hangtight.limits(idle=SOON, total=50):
        seen = Plan(OPENAI, OPENING, False, {"idle": 30}, {"total": 20}).call(lab.url, "mute=3,rate=400")
    assert isinstance(seen.error, hangtight.IdleTimeout)
    assert seen.error.source == "hangtight.limits"


def test_two_watches_over_one_client_have_a_machine_each(lab: Lab) -> None:
    async def both() -> list[hangtight.Watch[Any]]:
        client = async_client(OPENAI, lab.url, {})
        watches = [hangtight.watch(APIS[OPENAI].ask(client, f"tokens={count},rate=400", True)) for count in (3, 7)]

        async def read(watch: hangtight.Watch[Any]) -> None:
            async for _ in watch:
                pass

        await asyncio.gather(*map(read, watches))
        await client.close()
        return watches

    assert [watch.tokens for watch in asyncio.run(both())] == [3, 7]


def test_a_call_that_is_made_while_a_watch_is_read_is_a_generation_of_its_own(lab: Lab) -> None:
    client = sync_client(OPENAI, lab.url, {})
    outer = hangtight.watch(lambda: APIS[OPENAI].ask(client, FAST, True))
    inner = ""
    for _ in outer:
        if not inner:
            inner = APIS[OPENAI].whole(APIS[OPENAI].ask(client, "tokens=3,rate=400", False))
    assert inner == text_of("tokens=3")
    assert (outer.tokens, outer.outcome) == (5, "finished")
    client.close()
