"""Intent beneath real clients over real sockets: a loop ends once and early, work goes on, suspicion ends nothing."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

import hangtight
from hangtight.intent.findings import Act, Channel, Finding, Rule
from hangtight.testing.lab import Lab, text_of
from hangtight.testing.lab.words import SENTENCE
from tests.acceptance.kit import project, read
from tests.clients.kit import (
    APIS,
    NO_TLS,
    OLLAMA,
    OPENAI,
    SDKS,
    How,
    async_client,
    nothing_left,
    one_lab,
    settles,
    sync_client,
)
from tests.clients.peer import Peer, Said, chat_chunk, sse

pytestmark = pytest.mark.real

UNIT = SENTENCE + " "
LOOP, DRIFT, TABLE, CODE = "loop,rate=4000", "drift,rate=4000", "healthy-table,rate=1000", "healthy-code,rate=1000"
STAND_IN = "tokens=3,rate=400"
DEEP = {"mode": "deep"}
PATIENT = {"idle": 60, "first_token": 60}
"""A short total would else make these a fraction of it: a busy machine is silent for so long."""
SHORT = 0.4
"""The total of a mode of these tests, in seconds: long enough for a loop to be seen, short enough to be waited for."""
SETTINGS = f"modes: {{short: {{total: {SHORT}}}, still: {{total: {SHORT}, intent: false}}}}"
both_ways = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])
each_sdk = pytest.mark.parametrize("sdk", SDKS)
each_api = pytest.mark.parametrize("api", APIS)


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with one_lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    with nothing_left(shared):
        yield shared


@pytest.fixture
def shop(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The lab, with settings whose modes are short, and a journal."""
    with project(tmp_path, monkeypatch, hangtight_yaml=SETTINGS):
        yield lab


def looped(error: BaseException | None) -> hangtight.Looping:
    assert isinstance(error, hangtight.Looping), repr(error)
    return error


def broken(late: hangtight.GenerationTimeout) -> tuple[str, float]:
    """Which limit, and how many times the total of the mode it was long."""
    return late.limit, round(late.waited / SHORT, 6)


def is_the_loop(error: hangtight.Looping, lab: Lab, model: str = LOOP, times: int = 1) -> None:
    """The lab's endless sentence was seen, ended at the server, and asked for no more often than that."""
    assert error.loop is not None
    assert (error.loop.rule, error.loop.period, error.loop.channel) == (Rule.EXACT, len(UNIT), Channel.ANSWER)
    assert (error.limit, error.model, error.useful) == ("intent", model, UNIT)
    assert error.partial == "".join(islice(cycle(UNIT), len(error.partial)))
    counts = lab.when(model, lambda counts: counts.cancelled == times and not counts.open)
    assert (counts.asked, counts.streamed, counts.finished, counts.wasted) == (times, times, 0, 0)


# -- a loop reaches the caller, once ------------------------------------------------------------------------------


@streamed_or_not
@both_ways
@each_api
def test_a_loop_ends_the_call_once_whatever_the_client(api: str, asynchronous: bool, streamed: bool, lab: Lab) -> None:
    seen = How(api, asynchronous, streamed, DEEP).call(lab.url, LOOP)
    error = looped(seen.error)
    is_the_loop(error, lab)
    assert not streamed or seen.text == error.partial
    assert "stuck" in str(error)
    assert "intent=False" in str(error)


@each_sdk
def test_the_error_that_a_client_raises_travels(sdk: str, lab: Lab) -> None:
    error = looped(How(sdk, ours=DEEP).call(lab.url, LOOP).error)
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), twin.useful, twin.partial) == (hangtight.Looping, error.useful, error.partial)
    assert twin.loop == error.loop


def wire(model: str, streamed: bool) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Say something."}], "stream": streamed}


@streamed_or_not
@pytest.mark.parametrize("library", [httpx2, httpx], ids=["httpx2", "httpx"])
def test_a_plain_client_gets_it_too(library: Any, streamed: bool, lab: Lab) -> None:
    lib, url = library.__name__, f"{lab.url}/v1/chat/completions"
    with hangtight.http.client(lib=lib, verify=NO_TLS, **DEEP) as client, pytest.raises(hangtight.Looping) as caught:
        client.post(url, json=wire(LOOP, streamed))
    is_the_loop(caught.value, lab)

    async def ask() -> None:
        async with hangtight.http.async_client(lib=lib, verify=NO_TLS, **DEEP) as client:
            await client.post(url, json=wire(LOOP, streamed))

    with pytest.raises(hangtight.Looping) as caught:
        asyncio.run(ask())
    is_the_loop(caught.value, lab, times=2)


async def _astream(prompt: str, **given: Any) -> str:
    return "".join([text async for text in hangtight.astream(prompt, **given)])


ASKED: dict[str, Callable[..., str]] = {
    "generate": hangtight.generate,
    "agenerate": lambda prompt, **given: asyncio.run(hangtight.agenerate(prompt, **given)),
    "stream": lambda prompt, **given: "".join(hangtight.stream(prompt, **given)),
    "astream": lambda prompt, **given: asyncio.run(_astream(prompt, **given)),
}


@pytest.mark.parametrize("way", ASKED)
def test_a_question_of_ours_ends_with_it(way: str, lab: Lab) -> None:
    with pytest.raises(hangtight.Looping) as caught:
        ASKED[way]("Say something.", url=lab.url, model=LOOP, mode="deep")
    is_the_loop(caught.value, lab)


@both_ways
def test_a_watch_over_a_client_of_ours_raises_it_once(asynchronous: bool, lab: Lab) -> None:
    def sync() -> None:
        with sync_client(OPENAI, lab.url, {}) as client:
            for _ in hangtight.watch(lambda: APIS[OPENAI].ask(client, LOOP, True), mode="deep"):
                pass

    async def main() -> None:
        async with async_client(OPENAI, lab.url, {}) as client:
            async for _ in hangtight.watch(lambda: APIS[OPENAI].ask(client, LOOP, True), mode="deep"):
                pass

    with pytest.raises(hangtight.Looping) as caught:
        asyncio.run(main()) if asynchronous else sync()
    is_the_loop(caught.value, lab)


# -- another model ------------------------------------------------------------------------------------------------


@both_ways
@each_sdk
def test_another_model_gives_an_answer_that_was_wanted_whole(sdk: str, asynchronous: bool, lab: Lab) -> None:
    seen = How(sdk, asynchronous, False, {**DEEP, "fallback": [STAND_IN]}).call(lab.url, LOOP)
    assert (seen.error, seen.text) == (None, text_of(STAND_IN))
    assert (lab.settled(LOOP).asked, lab.settled(STAND_IN).asked) == (1, 1)
    lab.when(LOOP, lambda counts: counts.cancelled == 1)


@both_ways
@each_sdk
def test_nobody_else_is_asked_once_a_part_of_the_loop_was_delivered(sdk: str, asynchronous: bool, lab: Lab) -> None:
    seen = How(sdk, asynchronous, True, {**DEEP, "fallback": [STAND_IN]}).call(lab.url, LOOP)
    is_the_loop(looped(seen.error), lab)
    assert lab.counts(STAND_IN).asked == 0


def test_a_ladder_without_fallback_asks_nobody_else(lab: Lab) -> None:
    ours = {**DEEP, "fallback": [STAND_IN], "intent": {"ladder": ["notify", "cut"]}}
    is_the_loop(looped(How(OPENAI, False, False, ours).call(lab.url, LOOP).error), lab)
    assert lab.counts(STAND_IN).asked == 0


@both_ways
def test_a_ladder_of_fallback_alone_ends_nothing_where_nobody_may_take_over(asynchronous: bool, shop: Lab) -> None:
    ours = {"mode": "short", **PATIENT, "fallback": [STAND_IN], "intent": {"ladder": ["fallback"]}}
    assert How(OPENAI, asynchronous, False, ours).call(shop.url, LOOP).text == text_of(STAND_IN)
    assert How(OPENAI, asynchronous, True, ours).call(shop.url, LOOP).late.limit == "total"
    alone = {**ours, "fallback": []}
    assert How(OPENAI, asynchronous, False, alone).call(shop.url, LOOP).late.limit == "total"
    assert shop.counts(STAND_IN).asked == 1


def test_a_watch_above_may_turn_to_another_although_the_client_beneath_has_none(shop: Lab) -> None:
    given: dict[str, Any] = {
        "mode": "short",
        **PATIENT,
        "model": LOOP,
        "fallback": [STAND_IN],
        "intent": {"ladder": ["fallback"]},
    }
    api = APIS[OPENAI]

    async def main() -> str:
        async with async_client(OPENAI, shop.url, {}) as client:
            return api.whole(await hangtight.watch(lambda model: api.ask(client, model, False), **given))

    assert asyncio.run(main()) == text_of(STAND_IN)


def test_all_models_that_looped_are_told(lab: Lab) -> None:
    other = f"b,{LOOP}"
    error = looped(How(OPENAI, False, False, {**DEEP, "fallback": [other]}).call(lab.url, LOOP).error)
    attempts: Any = error.attempts
    assert [(attempt.model, attempt.limit) for attempt in attempts] == [(LOOP, "intent"), (other, "intent")]
    is_the_loop(error, lab, other)


@pytest.mark.parametrize(("way", "answers"), [("generate", True), ("agenerate", True), ("stream", False)])
def test_a_question_of_ours_falls_back_where_nothing_was_delivered(way: str, answers: bool, lab: Lab) -> None:
    given = {"url": lab.url, "model": LOOP, "mode": "deep", "fallback": [STAND_IN]}
    if answers:
        assert ASKED[way]("Say something.", **given) == text_of(STAND_IN)
    else:
        with pytest.raises(hangtight.Looping):
            ASKED[way]("Say something.", **given)
    assert lab.counts(STAND_IN).asked == answers


# -- on and off ---------------------------------------------------------------------------------------------------


def headed(sdk: str, header: str, value: str) -> dict[str, Any]:
    """How this SDK is given a header."""
    given = {header: value}
    return {"theirs": {"headers": given}} if sdk == OLLAMA else {"more": {"extra_headers": given}}


@both_ways
@each_sdk
def test_a_header_that_names_a_mode_turns_it_on(sdk: str, asynchronous: bool, lab: Lab) -> None:
    seen = How(sdk, asynchronous, **headed(sdk, "X-Hangtight-Mode", "fast")).call(lab.url, LOOP)
    is_the_loop(looped(seen.error), lab)


@both_ways
@each_sdk
def test_a_header_turns_it_on_without_a_mode(sdk: str, asynchronous: bool, lab: Lab) -> None:
    seen = How(sdk, asynchronous, **headed(sdk, "X-Hangtight-Intent", "on")).call(lab.url, LOOP)
    is_the_loop(looped(seen.error), lab)
    assert looped(seen.error).source == "X-Hangtight-Intent"


@streamed_or_not
@each_sdk
def test_a_header_turns_it_off(sdk: str, streamed: bool, shop: Lab) -> None:
    how = How(sdk, False, streamed, {"mode": "short", **PATIENT}, **headed(sdk, "X-Hangtight-Intent", "Off"))
    assert how.call(shop.url, LOOP).late.limit == "total"


@both_ways
@each_sdk
def test_a_header_that_says_neither_is_refused_and_nothing_is_asked(sdk: str, asynchronous: bool, lab: Lab) -> None:
    seen = How(sdk, asynchronous, **headed(sdk, "X-Hangtight-Intent", "perhaps")).call(lab.url, LOOP)
    assert isinstance(seen.error, hangtight.SettingsError)
    assert seen.error.name == "X-Hangtight-Intent"
    assert "on or off" in str(seen.error)
    assert lab.counts(LOOP).asked == 0


@pytest.mark.parametrize("place", ["client", "limits", "file", "no mode"])
@both_ways
def test_who_turns_it_off_gets_the_loop_until_total(place: str, asynchronous: bool, shop: Lab) -> None:
    ours: dict[str, Any] = {"mode": "still" if place == "file" else "short", **PATIENT}
    ours = {**ours, "intent": False} if place == "client" else {"total": SHORT} if place == "no mode" else ours
    how = How(OPENAI, asynchronous, ours=ours)
    if place == "limits":
        with hangtight.limits(intent=False):
            late = how.call(shop.url, LOOP).late
    else:
        late = how.call(shop.url, LOOP).late
    assert broken(late) == ("total", 1)


def test_what_is_said_nearer_to_the_call_wins(shop: Lab) -> None:
    how = How(OPENAI, ours={"mode": "still", **PATIENT}, **headed(OPENAI, "X-Hangtight-Intent", "on"))
    looped(how.call(shop.url, LOOP).error)
    with hangtight.limits(intent=True):
        looped(replace(how, ours={"mode": "short", **PATIENT, "intent": False}, more={}).call(shop.url, LOOP).error)


@both_ways
def test_a_hook_is_asked_and_may_let_it_go_on(asynchronous: bool, shop: Lab) -> None:
    asked: list[Finding] = []

    def lets(found: Finding) -> bool:
        asked.append(found)
        return True

    how = How(OPENAI, asynchronous, ours={"mode": "short", **PATIENT, "on_loop": lets})
    assert how.call(shop.url, LOOP).late.limit == "total"
    assert asked[0].period == len(UNIT)
    assert all(later.copies >= 2 * found.copies for found, later in pairwise(asked))
    looped(replace(how, ours={"mode": "short", **PATIENT, "on_loop": lambda _: False}).call(shop.url, LOOP).error)


# -- the deadline moves -------------------------------------------------------------------------------------------


BESIDE = ("heartbeat", "excused")


def outcome() -> tuple[str | None, list[str]]:
    """How the newest generation in the journal ended, and what was decided; not what it owes to a busy machine."""
    row = read().calls()[0]
    told = read().find(row.id)
    assert told is not None
    return row.outcome, [decision.kind for decision in told.decisions if decision.kind not in BESIDE]


@pytest.mark.parametrize(("sdk", "model"), [*((sdk, TABLE) for sdk in SDKS), (OPENAI, CODE)])
@streamed_or_not
@both_ways
def test_healthy_work_has_twice_the_time_and_is_neither_cut_nor_suspected(
    sdk: str, asynchronous: bool, streamed: bool, model: str, shop: Lab
) -> None:
    late = How(sdk, asynchronous, streamed, {"mode": "short", **PATIENT}).call(shop.url, model).late
    assert isinstance(late, hangtight.TotalTimeout)
    assert broken(late) == ("total", 2)
    assert "because it was getting on (extend_to)" in str(late)
    assert outcome() == ("timeout", ["extended", "rang", "cancel sent", "cancel confirmed"])


@both_ways
@each_sdk
def test_suspicion_ends_nothing_and_gives_nothing(sdk: str, asynchronous: bool, shop: Lab) -> None:
    late = How(sdk, asynchronous, ours={"mode": "short", **PATIENT}).call(shop.url, DRIFT).late
    assert broken(late) == ("total", 1)
    assert outcome() == ("timeout", ["may be stuck", "rang", "cancel sent", "cancel confirmed"])


@both_ways
def test_an_answer_that_needs_a_little_longer_comes_whole(asynchronous: bool, shop: Lab) -> None:
    model = "tokens=240,rate=400"  # one and a half times as long as the mode allows
    seen = How(OPENAI, asynchronous, ours={"mode": "short", **PATIENT}).call(shop.url, model)
    assert (seen.error, seen.text) == (None, text_of(model))
    assert outcome() == ("finished", ["extended"])


@both_ways
def test_who_asked_for_a_total_never_waits_longer(asynchronous: bool, shop: Lab) -> None:
    ours = {"mode": "short", **PATIENT, "intent": True, "total": SHORT}
    late = How(OPENAI, asynchronous, ours=ours).call(shop.url, CODE).late
    assert broken(late) == ("total", 1)


# -- many at once, and what is written down -----------------------------------------------------------------------

TWENTY = 20


def of_twenty(errors: list[BaseException | None], texts: list[str], lab: Lab) -> None:
    """Half of them looped, and the others have their whole answers."""
    for error in errors[::2]:
        assert looped(error).useful == UNIT
    assert errors[1::2] == [None] * (TWENTY // 2)
    assert set(texts[1::2]) == {text_of(STAND_IN)}
    counts = lab.when(LOOP, lambda counts: counts.cancelled == TWENTY // 2 and not counts.open)
    assert (counts.asked, counts.wasted) == (TWENTY // 2, 0)
    assert lab.settled(STAND_IN).finished == TWENTY // 2


def test_twenty_threads_on_one_client_keep_their_texts_apart(lab: Lab) -> None:
    errors: list[BaseException | None] = [None] * TWENTY
    texts = [""] * TWENTY

    def ask(which: int) -> None:
        try:
            for chunk in APIS[OPENAI].ask(client, STAND_IN if which % 2 else LOOP, True):
                texts[which] += APIS[OPENAI].piece(chunk)
        except hangtight.HangtightError as error:
            errors[which] = error

    with sync_client(OPENAI, lab.url, DEEP) as client:
        threads = [threading.Thread(target=ask, args=(which,)) for which in range(TWENTY)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    of_twenty(errors, texts, lab)


def test_twenty_tasks_on_one_client_keep_their_texts_apart(lab: Lab) -> None:
    texts = [""] * TWENTY

    async def ask(client: Any, which: int) -> BaseException | None:
        try:
            async for chunk in await APIS[OPENAI].ask(client, STAND_IN if which % 2 else LOOP, True):
                texts[which] += APIS[OPENAI].piece(chunk)
        except hangtight.HangtightError as error:
            return error
        return None

    async def main() -> list[BaseException | None]:
        async with async_client(OPENAI, lab.url, DEEP) as client:
            return list(await asyncio.gather(*(ask(client, which) for which in range(TWENTY))))

    of_twenty(asyncio.run(main()), texts, lab)


def test_a_stream_that_is_read_in_another_thread_is_read_along_too(lab: Lab) -> None:
    errors: list[BaseException] = []

    def rest(answer: Any) -> None:
        try:
            for _ in answer:
                pass
        except hangtight.HangtightError as error:
            errors.append(error)

    with sync_client(OPENAI, lab.url, DEEP) as client:
        answer = iter(APIS[OPENAI].ask(client, LOOP, True))
        next(answer)
        thread = threading.Thread(target=rest, args=(answer,))
        thread.start()
        thread.join()
    is_the_loop(looped(errors[0]), lab)


@both_ways
@each_sdk
def test_the_journal_tells_it_without_a_word_of_the_text(sdk: str, asynchronous: bool, shop: Lab) -> None:
    ours = {"mode": "short", **PATIENT, "fallback": [STAND_IN]}
    assert How(sdk, asynchronous, False, ours).call(shop.url, LOOP).text == text_of(STAND_IN)
    by_model = {row.model: row for row in read().calls()}
    first, second = by_model[LOOP], by_model[STAND_IN]
    assert (first.outcome, second.outcome, second.call) == ("looping", "finished", first.id)
    told, after = read().find(first.id), read().find(second.id)
    assert told is not None
    assert after is not None
    assert [decision.kind for decision in told.decisions][-3:] == ["looping", "cancel sent", "cancel confirmed"]
    assert after.decisions[0].kind == "fallback"
    assert "same 33 characters" in str(told)
    assert "file again" not in f"{told}{after}"


def test_a_heartbeat_tells_how_the_deadline_was_moved(shop: Lab) -> None:
    told: list[Any] = []
    ours = {"mode": "short", **PATIENT, "heartbeat": SHORT / 4, "on_heartbeat": told.append}
    assert How(OPENAI, ours=ours).call(shop.url, CODE).late.limit == "total"
    assert settles(lambda: any(beat.moved is not None for beat in told))
    [moved] = [beat.moved for beat in told if beat.moved is not None]
    assert (moved.before, moved.after) == (pytest.approx(SHORT), pytest.approx(2 * SHORT))
    assert moved.why.act is Act.EXTEND


# -- several calls of one watch -----------------------------------------------------------------------------------

WORK, MORE = "healthy-code,rate=100,tokens=50", "healthy-code,rate=100,tokens=10"


class Agent:
    """Asks one model after the other beneath a watch, in either world, and may wait for a person in between."""

    def __init__(self, url: str, *models: str, pause: float = 0.0, **given: Any) -> None:
        self.url, self.models, self.pause, self.given = url, models, pause, given
        self.watching: Any = None

    def runs(self, asynchronous: bool) -> str:
        made = self._asks_async() if asynchronous else self._asks()
        self.watching = hangtight.watch(made, **self.given)
        return asyncio.run(self._read()) if asynchronous else "".join(self.watching)

    async def _read(self) -> str:
        return "".join([text async for text in self.watching])

    def _asks(self) -> Iterator[str]:
        with sync_client(OPENAI, self.url, {}) as client:
            for index, model in enumerate(self.models):
                if index and self.pause:
                    with self.watching.paused("person"):
                        threading.Event().wait(self.pause)
                for chunk in APIS[OPENAI].ask(client, model, True):
                    yield APIS[OPENAI].piece(chunk)

    async def _asks_async(self) -> AsyncIterator[str]:
        async with async_client(OPENAI, self.url, {}) as client:
            for index, model in enumerate(self.models):
                if index and self.pause:
                    with self.watching.paused("person"):
                        await asyncio.sleep(self.pause)
                async for chunk in await APIS[OPENAI].ask(client, model, True):
                    yield APIS[OPENAI].piece(chunk)


@both_ways
def test_what_one_call_was_extended_by_holds_for_the_next(asynchronous: bool, shop: Lab) -> None:
    Agent(shop.url, MORE, MORE).runs(asynchronous)
    agent = Agent(shop.url, WORK, MORE, mode="short", **PATIENT)
    assert agent.runs(asynchronous) == text_of(WORK) + text_of(MORE)
    assert agent.watching.elapsed > SHORT


@both_ways
def test_the_time_of_a_person_between_two_calls_is_not_the_next_ones(asynchronous: bool, shop: Lab) -> None:
    Agent(shop.url, MORE, MORE).runs(asynchronous)
    agent = Agent(shop.url, MORE, MORE, pause=2 * SHORT, mode="still", **PATIENT)
    assert agent.runs(asynchronous) == 2 * text_of(MORE)


# -- the end in the same read -------------------------------------------------------------------------------------


def all_at_once(count: int, *ends: str) -> Said:
    """A loop as a body with one length: what comes in one read is as much as fits into it."""
    return Said(kind="text/event-stream", body=b"".join(sse(*[chat_chunk(UNIT)] * count, *ends)))


@streamed_or_not
@both_ways
@pytest.mark.parametrize("ends", [(chat_chunk("", "stop"), "[DONE]"), (chat_chunk("", "stop"),)])
def test_a_loop_whose_end_came_with_it_is_a_whole_answer_everywhere(
    ends: tuple[str, ...], asynchronous: bool, streamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project(tmp_path, monkeypatch), Peer(all_at_once(60, *ends)) as peer:
        seen = How(OPENAI, asynchronous, streamed, DEEP).call(peer.url, "m")
        assert (seen.error, seen.text) == (None, UNIT * 60)
        assert outcome() == ("finished", [])


@both_ways
def test_so_it_is_with_an_end_mark_alone(asynchronous: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with project(tmp_path, monkeypatch), Peer(all_at_once(60, "[DONE]")) as peer:
        seen = How(OPENAI, asynchronous, True, DEEP).call(peer.url, "m")
        assert (seen.error, seen.text) == (None, UNIT * 60)
        assert outcome() == ("unfinished", [])


@both_ways
def test_a_loop_that_goes_on_behind_one_read_is_cut(asynchronous: bool) -> None:
    with Peer(all_at_once(5000, chat_chunk("", "stop"), "[DONE]")) as peer:
        error = looped(How(OPENAI, asynchronous, True, DEEP).call(peer.url, "m").error)
    assert error.useful == UNIT


def test_a_watch_that_turns_it_off_when_it_was_cut_already_hides_nothing() -> None:
    with Peer(all_at_once(5000)) as peer, sync_client(OPENAI, peer.url, DEEP) as client:
        stream = APIS[OPENAI].ask(client, "m", True)
        next(iter(stream))
        with pytest.raises(hangtight.Looping) as caught:
            for _ in hangtight.watch(stream, intent=False):
                pass
    assert caught.value.partial
    assert caught.value.useful == caught.value.partial
