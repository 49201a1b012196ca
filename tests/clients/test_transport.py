"""What `hangtight.http` promises beneath an SDK, one property to a test: terms, what passes, how it is asked."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

import hangtight
from hangtight.core.layers import MODES
from hangtight.testing.lab import Lab, text_of
from tests.clients.kit import (
    ANTHROPIC,
    APIS,
    FAST,
    MESSAGES,
    OLLAMA,
    OPENAI,
    SDKS,
    BareTimer,
    How,
    async_client,
    in_use,
    nothing_left,
    one_lab,
    pool_of,
    sync_client,
    uvloop,
)
from tests.clients.peer import Peer, Said, chat_chunk, sse
from tests.lateness import lateness

pytestmark = pytest.mark.real

SOON = 0.2
RETRYING = (OPENAI, ANTHROPIC)
each_sdk = pytest.mark.parametrize("sdk", SDKS)
each_retrying = pytest.mark.parametrize("sdk", RETRYING)
both_ways = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with one_lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    with nothing_left(shared):
        yield shared


def limits_of(client: Any, **more: Any) -> hangtight.Limits:
    """The limits that hold for a call of openai's client, as our transport has resolved them."""
    answer = client.chat.completions.with_raw_response.create(model=FAST, messages=MESSAGES, **more)
    found: hangtight.Limits = answer.http_response.extensions["hangtight"].resolved.limits
    return found


def source_of(client: Any, name: str, **more: Any) -> str:
    answer = client.chat.completions.with_raw_response.create(model=FAST, messages=MESSAGES, **more)
    return str(answer.http_response.extensions["hangtight"].resolved.values[name].source)


# -- where a limit is given ------------------------------------------------------------------------------------


@both_ways
@streamed_or_not
@each_sdk
def test_a_timeout_given_to_an_sdk_ends_the_silence_before_the_first_token(
    sdk: str, streamed: bool, asynchronous: bool, lab: Lab
) -> None:
    seen = How(sdk, asynchronous, streamed, theirs={"timeout": SOON}).call(lab.url, "silent")
    assert isinstance(seen.error, hangtight.FirstTokenTimeout)
    assert seen.late.source == f"timeout={SOON} of the client library"
    assert lab.when("silent", lambda counts: counts.cancelled == 1).asked == 1


@each_retrying
def test_a_timeout_given_to_one_call_ends_a_silence_in_the_middle(sdk: str, lab: Lab) -> None:
    seen = How(sdk, more={"timeout": SOON}).call(lab.url, "mute=3,rate=400")
    assert isinstance(seen.error, hangtight.IdleTimeout)
    assert seen.error.partial == seen.text != ""
    assert f"timeout={2 * SOON}" in str(seen.error)


@each_sdk
def test_a_timeout_of_an_sdk_does_not_end_a_call_that_talks_on(sdk: str, lab: Lab) -> None:
    seen = How(sdk, theirs={"timeout": SOON}).call(lab.url, "tokens=16,rate=40")
    assert seen.took > SOON
    assert (seen.error, seen.text) == (None, text_of("tokens=16,rate=40"))


def test_a_timeout_of_an_sdk_cuts_what_was_given_and_never_adds_to_it(lab: Lab) -> None:
    with sync_client(OPENAI, lab.url, {"idle": 30, "first_token": 3}) as client:
        limits = limits_of(client, timeout=20)
    assert (limits.first_token, limits.idle, limits.total) == (3, 20, 600)


def test_the_default_timeout_of_an_sdk_says_nothing(lab: Lab) -> None:
    usual = hangtight.Limits()
    with sync_client(OPENAI, lab.url, {}) as client:
        assert limits_of(client) == usual
    response = httpx_call(lab, httpx.Client(transport=hangtight.http.transport(lib="httpx")))
    assert response.extensions["hangtight"].resolved.limits == usual
    with sync_client(ANTHROPIC, lab.url, {}) as theirs:
        answer = theirs.messages.with_raw_response.create(model=FAST, messages=MESSAGES, max_tokens=9)
        assert answer.http_response.extensions["hangtight"].resolved.limits == usual


def httpx_call(lab: Lab, client: httpx.Client) -> httpx.Response:
    with client:
        return client.post(f"{lab.url}/v1/chat/completions", json={"model": FAST, "messages": MESSAGES})


@pytest.mark.parametrize(
    ("header", "script", "limit"),
    [
        ("X-Hangtight-First-Token", "silent", "first_token"),
        ("X-Hangtight-Idle", "mute=3,rate=400", "idle"),
        ("X-Hangtight-Total", "runaway,rate=400", "total"),
    ],
)
@each_sdk
def test_a_header_of_the_call_sets_a_limit(sdk: str, header: str, script: str, limit: str, lab: Lab) -> None:
    given = {header: str(SOON)}
    how = How(sdk, theirs={"headers": given}) if sdk == OLLAMA else How(sdk, more={"extra_headers": given})
    late = how.call(lab.url, script).late
    assert (late.limit, late.source) == (limit, header)
    assert lab.when(script, lambda counts: counts.cancelled == 1).asked == 1


def test_a_header_may_say_that_there_is_no_limit(lab: Lab) -> None:
    with sync_client(OPENAI, lab.url, {}) as client:
        assert limits_of(client, extra_headers={"X-Hangtight-Total": "none"}).total is None


def test_a_header_may_name_a_mode(lab: Lab) -> None:
    with sync_client(OPENAI, lab.url, {}) as client:
        assert limits_of(client, extra_headers={"X-Hangtight-Mode": "fast"}).total == MODES["fast"]


@pytest.mark.parametrize(("header", "value"), [("X-Hangtight-Idle", "soon"), ("X-Hangtight-Mode", "slow")])
@both_ways
@each_sdk
def test_a_header_that_cannot_be_meant_raises_a_settings_error_and_nothing_is_asked(
    sdk: str, asynchronous: bool, header: str, value: str, lab: Lab
) -> None:
    given = {header: value}
    theirs, more = ({"headers": given}, {}) if sdk == OLLAMA else ({}, {"extra_headers": given})
    with lateness() as late:
        seen = How(sdk, asynchronous, theirs=theirs, more=more).call(lab.url, FAST)
    assert isinstance(seen.error, hangtight.SettingsError)
    assert seen.error.name == header
    assert seen.took - late.whole < 1  # an SDK that tries again waits for more than that, in two pauses
    assert lab.counts(FAST).asked == 0


def test_limits_around_the_call_hold_for_a_client_of_ours(lab: Lab) -> None:
    with hangtight.limits(idle=SOON):
        late = How(OPENAI).call(lab.url, "mute=3,rate=400").late
    assert (late.limit, late.source) == ("idle", "hangtight.limits")


def test_what_is_given_nearer_to_the_call_wins(lab: Lab) -> None:
    with sync_client(OPENAI, lab.url, {"idle": 40, "total": 400, "first_token": 41}) as client:
        with hangtight.limits(idle=30, total=300), hangtight.limits(idle=31):
            limits = limits_of(client, extra_headers={"X-Hangtight-Idle": "20"})
            assert (limits.idle, limits.total, limits.first_token) == (20, 300, 41)
            assert limits_of(client).idle == 31
        assert limits_of(client).idle == 40


def test_every_limit_knows_where_it_comes_from(lab: Lab) -> None:
    with sync_client(OPENAI, lab.url, {"idle": 40}) as client:
        assert source_of(client, "idle") == "the client"
        assert source_of(client, "total") == "default"
        with hangtight.limits(total=300):
            assert source_of(client, "total") == "hangtight.limits"
        assert source_of(client, "idle", timeout=20) == "timeout=20 of the client library"


@each_sdk
def test_the_line_to_change_in_an_error_can_be_typed(sdk: str, lab: Lab) -> None:
    late = How(sdk, ours={"idle": SOON}).call(lab.url, "mute=3,rate=400").late
    assert "stuck" in str(late)
    door = "transport" if sdk == OLLAMA else "client"
    assert f"hangtight.http.{door}(..., idle={2 * SOON})" in str(late)


# -- errors -----------------------------------------------------------------------------------------------------


@both_ways
@streamed_or_not
@each_sdk
def test_a_timeout_pickles_with_all_that_it_knows(sdk: str, streamed: bool, asynchronous: bool, lab: Lab) -> None:
    late = How(sdk, asynchronous, streamed, ours={"idle": SOON}).call(lab.url, "mute=3,rate=400").late
    twin = pickle.loads(pickle.dumps(late))
    assert type(twin) is hangtight.IdleTimeout
    for name in ("limit", "waited", "elapsed", "tokens", "partial", "source", "model", "attempts"):
        assert getattr(twin, name) == getattr(late, name), name
    assert str(twin) == str(late)
    assert twin.partial == text_of("mute=3,rate=400")[: len(twin.partial)] != ""


@both_ways
def test_an_answer_that_is_cut_unstreamed_keeps_its_text(asynchronous: bool, lab: Lab) -> None:
    model = "no-reason,no-done,tokens=3,rate=400"
    seen = How(OPENAI, asynchronous, streamed=False).call(lab.url, model)
    assert isinstance(seen.error, hangtight.Truncated)
    assert seen.error.partial == text_of(model)
    assert lab.counts(model).asked == 1


def test_a_cancelled_task_stays_cancelled_and_the_server_is_told(lab: Lab) -> None:
    async def cancelled() -> None:
        async with async_client(OPENAI, lab.url, {}) as client:
            stream = await client.chat.completions.create(model="mute=3,rate=400", messages=MESSAGES, stream=True)
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(SOON):
                    async for _ in stream:
                        pass
            assert not isinstance(caught.value, hangtight.GenerationTimeout)
            with pytest.raises(asyncio.CancelledError):
                task = asyncio.create_task(client.chat.completions.create(model="silent", messages=MESSAGES))
                await asyncio.sleep(0.05)
                task.cancel()
                await task

    asyncio.run(cancelled())
    for model in ("mute=3,rate=400", "silent"):
        assert lab.when(model, lambda counts: counts.cancelled == 1).asked == 1


# -- unstreamed calls -------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("api", APIS)
def test_an_unstreamed_call_is_streamed_underneath_and_answers_the_same(api: str, asynchronous: bool, lab: Lab) -> None:
    ours = How(api, asynchronous, streamed=False).call(lab.url, FAST)
    assert lab.counts(FAST).streamed == 1
    bare = How(api, asynchronous, streamed=False, ours=None).call(lab.url, FAST)
    assert (ours.error, ours.text) == (None, bare.text)
    assert lab.counts(FAST).streamed == 1


@both_ways
def test_a_server_that_refuses_stream_options_is_asked_as_it_was_and_remembered(asynchronous: bool, lab: Lab) -> None:
    check_remembered(asynchronous, lab, "no-usage-option,tokens=3,rate=400", streams_at_first=1)


@both_ways
def test_a_server_that_refuses_to_stream_is_asked_as_it_was_and_remembered(asynchronous: bool, lab: Lab) -> None:
    check_remembered(asynchronous, lab, "refuses-stream,tokens=3,rate=400", streams_at_first=1)


def check_remembered(asynchronous: bool, lab: Lab, model: str, *, streams_at_first: int) -> None:
    def twice(client: Any) -> Iterator[Any]:
        for _ in range(2):
            yield client.chat.completions.create(model=model, messages=MESSAGES)

    if asynchronous:

        async def ask() -> list[Any]:
            async with async_client(OPENAI, lab.url, {}, max_retries=0) as client:
                return [await one for one in twice(client)]

        answers = asyncio.run(ask())
    else:
        with sync_client(OPENAI, lab.url, {}, max_retries=0) as client:
            answers = list(twice(client))
    assert [answer.choices[0].message.content for answer in answers] == [text_of(model)] * 2
    counts = lab.settled(model)
    assert (counts.asked, counts.streamed, counts.finished) == (3, streams_at_first, 2)


@both_ways
@each_sdk
def test_a_server_that_answers_in_one_piece_is_understood(sdk: str, asynchronous: bool, lab: Lab) -> None:
    model = "ignores-stream,tokens=3,rate=400"
    seen = How(sdk, asynchronous, streamed=False).call(lab.url, model)
    assert (seen.error, seen.text) == (None, text_of(model))
    assert lab.counts(model).asked == 1


@both_ways
@pytest.mark.parametrize("api", APIS)
def test_an_error_event_in_an_unstreamed_call_becomes_the_status_that_it_stands_for(
    api: str, asynchronous: bool, lab: Lab
) -> None:
    theirs: dict[str, Any] = {} if APIS[api].sdk == OLLAMA else {"max_retries": 0}
    ours = How(api, asynchronous, streamed=False, theirs=theirs).call(lab.url, "error=3,rate=400")
    bare = How(api, asynchronous, streamed=False, theirs=theirs, ours=None).call(lab.url, "error=3,rate=400")
    assert type(ours.error) is type(bare.error)
    assert getattr(ours.error, "status_code", None) == getattr(bare.error, "status_code", None) == 500
    assert str(ours.error) == str(bare.error)


def test_two_choices_are_put_together_apart(lab: Lab) -> None:
    asked: dict[str, Any] = {"model": FAST, "messages": MESSAGES, "n": 2}
    with sync_client(OPENAI, lab.url, {}) as ours, sync_client(OPENAI, lab.url, None) as bare:
        answers = [client.chat.completions.create(**asked).choices for client in (ours, bare)]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 2


# -- retries and connections ------------------------------------------------------------------------------------


@both_ways
@each_sdk
def test_a_timeout_is_never_tried_again(sdk: str, asynchronous: bool, lab: Lab) -> None:
    timer = BareTimer(SOON)
    seen = How(sdk, asynchronous, ours={"first_token": SOON}).call(lab.url, "silent")
    assert isinstance(seen.error, hangtight.FirstTokenTimeout)
    assert timer.lateness() < 2.5
    assert lab.when("silent", lambda counts: counts.cancelled == 1).asked == 1


@both_ways
@streamed_or_not
@each_retrying
def test_a_retry_of_an_sdk_has_what_the_first_attempt_left(
    sdk: str, streamed: bool, asynchronous: bool, lab: Lab
) -> None:
    total = 0.8
    busy = Said(b'{"error":{"message":"busy"}}', status=503, headers={"retry-after": "0.5"})
    with Peer(busy, Said(after=9.0)) as peer:
        timer = BareTimer(total)
        late = How(sdk, asynchronous, streamed, ours={"total": total}).call(peer.url, "m").late
        assert timer.lateness() < (0.5 + total) / total
        assert late.limit == "total"
        assert late.elapsed >= total
        assert len(peer.asked) == 2


@streamed_or_not
@both_ways
@each_sdk
def test_a_connection_whose_answer_was_read_to_its_end_is_used_again(
    sdk: str, asynchronous: bool, streamed: bool, lab: Lab
) -> None:
    api = APIS[sdk]
    seen: list[Any] = []
    if asynchronous:

        async def ask() -> None:
            client = async_client(sdk, lab.url, {})
            for _ in range(3):
                answer = await api.ask(client, FAST, streamed)
                if streamed:
                    [item async for item in answer]
                check_one_connection(client, seen)
            await client.close()

        asyncio.run(ask())
    else:
        client = sync_client(sdk, lab.url, {})
        for _ in range(3):
            answer = api.ask(client, FAST, streamed)
            if streamed:
                list(answer)
            check_one_connection(client, seen)
        client.close()


def check_one_connection(client: Any, seen: list[Any]) -> None:
    [connection] = pool_of(client)
    assert connection.is_idle()
    seen.append(connection)
    assert seen[0] is connection


@each_sdk
def test_a_stream_that_is_left_early_leaves_no_connection_in_use(sdk: str, lab: Lab) -> None:
    client = sync_client(sdk, lab.url, {})
    for _ in (stream := APIS[sdk].ask(client, "runaway,rate=400", True)):
        break
    stream.close()
    assert [connection for connection in pool_of(client) if not connection.is_idle()] == []
    client.close()
    assert lab.when("runaway,rate=400", lambda counts: counts.cancelled == 1).asked == 1


@pytest.mark.skipif(uvloop is None, reason="uvloop is not made for Windows")
@streamed_or_not
@pytest.mark.parametrize("script", [FAST, "silent", "mute=3,rate=400", "disconnect=3,rate=400"])
@each_sdk
def test_uvloop_does_what_asyncio_does(sdk: str, script: str, streamed: bool, lab: Lab) -> None:
    theirs: dict[str, Any] = {} if sdk == OLLAMA else {"max_retries": 0}
    runs: list[Callable[[Any], Any]] = [asyncio.run, uvloop.run]
    plain, fast = (
        How(sdk, True, streamed, {"idle": SOON, "first_token": SOON}, theirs, run=run).call(lab.url, script)
        for run in runs
    )
    assert (type(plain.error), plain.text) == (type(fast.error), fast.text)
    assert isinstance(fast.error, hangtight.GenerationTimeout) is (script in ("silent", "mute=3,rate=400"))


def test_heartbeats_of_the_client_come_while_its_call_runs(lab: Lab) -> None:
    told: list[hangtight.Heartbeat] = []
    ours = {"heartbeat": 0.05, "on_heartbeat": told.append}
    seen = How(OPENAI, ours=ours, streamed=False).call(lab.url, "tokens=10,rate=40")
    assert seen.error is None
    assert told
    assert told[0].now.tokens <= told[-1].now.tokens


def test_a_bad_setting_of_a_client_is_refused_at_once() -> None:
    for settings in ({"idle": 0}, {"fallback": "one"}, {"mode": "slow"}, {"lib": "requests"}, {"http2": True}):
        with pytest.raises(hangtight.SettingsError):
            hangtight.http.client(**settings)
    with pytest.raises(hangtight.SettingsError):
        hangtight.http.transport(transport=None, total=-1)


def test_a_stream_that_never_ends_its_body_is_left_behind_its_end_mark(lab: Lab) -> None:
    seen = How(OPENAI).call(lab.url, "lingers,tokens=3,rate=400")
    assert (seen.error, seen.text) == (None, text_of("lingers,tokens=3"))


def test_an_openai_client_on_ours_is_the_same_object_in_a_copy_with_options(lab: Lab) -> None:
    with openai.OpenAI(api_key="none", base_url=f"{lab.url}/v1", http_client=hangtight.http.client()) as client:
        brief = client.with_options(timeout=SOON)
        with pytest.raises(hangtight.FirstTokenTimeout):
            brief.chat.completions.create(model="silent", messages=MESSAGES)


def test_a_choice_that_ends_without_text_is_an_answer(lab: Lab) -> None:
    said = Said(kind="text/event-stream", pieces=sse(chat_chunk("", "stop"), "[DONE]"))
    with Peer(said) as peer:
        assert How(OPENAI, streamed=False).call(peer.url, "m").text == ""


def test_the_helper_that_streams_a_message_gets_the_timeout_too(lab: Lab) -> None:
    with sync_client(ANTHROPIC, lab.url, {"idle": SOON}) as client:
        asked: dict[str, Any] = {"model": "mute=3,rate=400", "messages": MESSAGES, "max_tokens": 99}
        with pytest.raises(hangtight.IdleTimeout), client.messages.stream(**asked) as stream:
            list(stream.text_stream)
        assert in_use(client) == []


def test_many_threads_share_one_client(lab: Lab) -> None:
    errors: list[BaseException | None] = []
    with sync_client(OPENAI, lab.url, {"first_token": SOON}) as client:

        def ask(streamed: bool) -> None:
            try:
                list(APIS[OPENAI].ask(client, "silent", streamed))
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [type(error) for error in errors] == [hangtight.FirstTokenTimeout] * 16
    assert lab.when("silent", lambda counts: counts.cancelled == 16).asked == 16
