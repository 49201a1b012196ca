"""`watch` under asyncio, on virtual time: what comes through, what rings when, and whose end it was."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import anyio
import pytest
import trio

import hangtight
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.time import Instant
from hangtight.drivers import warmth
from hangtight.testing import (
    Fails,
    Hang,
    JumpingLoop,
    NoReason,
    Pings,
    PromptRead,
    Scenario,
    ScriptedModel,
    Silence,
    Thoughts,
    Tokens,
    jumping,
    play,
)


class Source:
    """Words with a wait before each; knows whether it was closed and how it was cancelled."""

    def __init__(self, *waits: float, closing: float = 0.0) -> None:
        self.waits = list(waits)
        self.closing = closing
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        if not self.waits:
            raise StopAsyncIteration
        await asyncio.sleep(self.waits.pop(0))
        return "word "

    async def aclose(self) -> None:
        await asyncio.sleep(self.closing)
        self.closed += 1


def now() -> float:
    return asyncio.get_running_loop().time()


async def drained(watched: hangtight.Watch[Any]) -> list[Any]:
    return [chunk async for chunk in watched]


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return jumping(main)


# -- what comes through -------------------------------------------------------------------------------------------


def test_every_chunk_comes_through_and_the_report_tells() -> None:
    async def main() -> None:
        source = Source(1, 1, 1)
        watched = hangtight.watch(source, model="m")
        assert (watched.outcome, watched.tokens, watched.elapsed, watched.partial) == (None, 0, 0, "")
        assert await drained(watched) == ["word "] * 3
        assert (watched.outcome, watched.tokens, watched.elapsed) == ("finished", 3, 3)
        assert watched.partial == "word word word "
        assert watched.limits == hangtight.Limits()
        assert source.closed == 1

    run(main())


def test_an_awaitable_that_opens_a_stream_is_bounded_from_the_request_on() -> None:
    async def opening(wait: float) -> Source:
        await asyncio.sleep(wait)
        return Source(1)

    async def main() -> None:
        assert await drained(hangtight.watch(opening(104))) == ["word "]
        with pytest.raises(hangtight.FirstTokenTimeout) as caught:
            await drained(hangtight.watch(opening(1000)))
        assert caught.value.waited == 105

    run(main())


def test_a_function_may_return_a_stream_or_an_awaitable_of_one() -> None:
    async def opening() -> Source:
        return Source(1)

    async def main() -> None:
        assert await drained(hangtight.watch(opening)) == ["word "]
        assert await drained(hangtight.watch(lambda: Source(1, 2))) == ["word "] * 2

    run(main())


def test_a_stream_of_bytes_is_text_even_where_a_character_is_cut_in_two() -> None:
    async def source() -> AsyncIterator[bytes]:
        for piece in ("grün".encode()[:3], "grün".encode()[3:], b""):
            yield piece

    async def main() -> None:
        watched = hangtight.watch(source())
        assert b"".join(await drained(watched)).decode() == watched.partial == "grün"
        assert watched.tokens == 2

    run(main())


def test_anext_and_the_block_form_read_too() -> None:
    async def main() -> None:
        source = Source(1, 1, 1)
        async with hangtight.watch(source) as chunks:
            assert await anext(chunks) == "word "
            assert chunks.snapshot().tokens == 1
        assert (chunks.outcome, source.closed) == ("left", 1)

    run(main())


def test_one_generation_is_read_once() -> None:
    async def main() -> None:
        watched = hangtight.watch(Source(1))
        await drained(watched)
        with pytest.raises(RuntimeError, match="once for each"):
            await drained(watched)

    run(main())


# -- whose end it was -----------------------------------------------------------------------------------------------


def test_leaving_the_loop_early_closes_the_source() -> None:
    async def main() -> None:
        source = Source(1, 1, 1)
        watched = hangtight.watch(source)
        async for _ in watched:
            break
        await asyncio.sleep(0.1)
        assert (watched.outcome, source.closed) == ("left", 1)

    run(main())


def test_an_error_in_the_body_of_the_loop_closes_the_source_and_passes_untouched() -> None:
    async def main() -> None:
        source = Source(1, 1, 1)
        watched = hangtight.watch(source)
        with pytest.raises(ZeroDivisionError):
            async with watched as chunks:
                async for _ in chunks:
                    raise ZeroDivisionError
        assert (watched.outcome, source.closed) == ("left", 1)

    run(main())


def test_a_block_that_never_reads_closes_the_source_too() -> None:
    async def main() -> None:
        source = Source(1)
        async with hangtight.watch(source):
            pass
        assert source.closed == 1

    run(main())


def test_the_wrong_kind_of_block_is_refused() -> None:
    async def main() -> None:
        source = Source(1)
        with pytest.raises(TypeError, match="`async with`"), hangtight.watch(source) as chunks:
            await drained(chunks)
        await source.aclose()

    run(main())


def test_cancelling_the_task_is_not_a_timeout() -> None:
    async def main() -> None:
        source = Source(1, 1000)
        watched = hangtight.watch(source)
        task = asyncio.create_task(drained(watched))
        await asyncio.sleep(5)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (watched.outcome, source.closed, now()) == ("cancelled", 1, 5)

    run(main())


def test_a_timeout_of_the_callers_own_passes_untouched() -> None:
    async def main() -> None:
        watched = hangtight.watch(Source(1, 1000))
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(10):
                await drained(watched)
        assert not isinstance(caught.value, hangtight.GenerationTimeout)
        assert (watched.outcome, now()) == ("cancelled", 10)

    run(main())


def test_a_timeout_of_the_callers_own_that_is_longer_does_not_see_ours() -> None:
    async def main() -> None:
        async with asyncio.timeout(100) as theirs:
            with pytest.raises(hangtight.IdleTimeout):
                await drained(hangtight.watch(Source(1, 1000), idle=10))
            await asyncio.sleep(1)
        assert not theirs.expired()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(main())


def test_a_cancellation_at_the_instant_of_our_timeout_wins() -> None:
    async def main() -> None:
        task = asyncio.create_task(drained(hangtight.watch(Source(1, 1000), idle=10)))

        def both() -> None:
            for _ in range(3):
                asyncio.get_running_loop().call_soon(task.cancel)

        asyncio.get_running_loop().call_later(11, both)
        with pytest.raises((asyncio.CancelledError, hangtight.IdleTimeout)):
            await task
        assert task.done()

    run(main())


def test_the_sources_own_timeout_error_passes_untouched() -> None:
    played = play(Scenario("", (Tokens(3), Fails(TimeoutError("theirs")))))
    assert (played.outcome, type(played.error), played.tokens) == ("failed", TimeoutError, 3)


def test_a_source_that_answers_our_cancellation_with_another_error_is_still_a_timeout() -> None:
    async def source() -> AsyncIterator[str]:
        yield "word "
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise ConnectionError("the client library wraps it") from None

    async def main() -> None:
        with pytest.raises(hangtight.IdleTimeout) as caught:
            await drained(hangtight.watch(source(), idle=10))
        assert caught.value.__cause__ is None

    run(main())


def test_a_source_that_swallows_our_cancellation_is_ended_after_its_chunk() -> None:
    async def source() -> AsyncIterator[str]:
        yield "word "
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            yield "late "
        await asyncio.sleep(1000)

    async def main() -> None:
        got = []
        with pytest.raises(hangtight.IdleTimeout) as caught:
            async for chunk in hangtight.watch(source(), idle=10):
                got.append(chunk)
                task = asyncio.current_task()
                assert task is not None
                assert task.cancelling() == 0, "the reader's own scopes must not see our cancellation"
        assert got == ["word ", "late "]
        assert caught.value.partial == "word late "
        assert now() == 10

    run(main())


def test_a_source_that_goes_on_waiting_after_our_cancellation_is_cancelled_again() -> None:
    class Stubborn(Source):
        async def __anext__(self) -> str:
            for _ in range(3):
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    continue
            raise StopAsyncIteration

    async def main() -> None:
        with pytest.raises(hangtight.FirstTokenTimeout):
            await drained(hangtight.watch(Stubborn(), first_token=10, cancel=5))
        assert now() == 10 + 5 + 5

    run(main())


def test_a_source_that_does_not_close_is_given_up_after_the_cancel_limit() -> None:
    async def main() -> None:
        with pytest.raises(hangtight.IdleTimeout) as caught:
            await drained(hangtight.watch(Source(1, 1000, closing=1000), idle=10))
        assert (caught.value.left_running, now()) == (True, 1 + 10 + 5)
        assert "left running" in caught.value.__notes__[0]

    run(main())


def test_a_source_whose_closing_fails_does_not_hide_how_it_ended() -> None:
    class Fragile(Source):
        async def aclose(self) -> None:
            raise OSError("already gone")

    async def main() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what["exception"]))
        with pytest.raises(hangtight.IdleTimeout):
            await drained(hangtight.watch(Fragile(1, 1000), idle=10))
        assert [str(error) for error in told] == ["already gone"]

    run(main())


# -- the clocks -----------------------------------------------------------------------------------------------------


def test_a_slow_reader_is_not_a_slow_model() -> None:
    played = play(Scenario("", (Tokens(5),), reader_takes=100))
    assert (played.outcome, played.at) == ("finished", 5 + 6 * 100), "the end is a piece too"


def test_total_that_passes_while_the_reader_holds_a_token_is_told_when_it_asks_again() -> None:
    played = play(Scenario("", (Tokens(50),), {"total": 10}, reader_takes=7))
    assert (played.outcome, played.at, played.tokens) == ("timeout", 1 + 7 + 1 + 7, 2)
    assert isinstance(played.error, hangtight.TotalTimeout)


def test_without_total_an_hour_of_slow_tokens_goes_through() -> None:
    played = play(Scenario("", (Tokens(360, every=10),), {"total": None}))
    assert (played.outcome, played.at) == ("finished", 3600)


def test_a_token_that_arrives_at_the_very_instant_the_alarm_rings_wins() -> None:
    played = play(Scenario("", (Tokens(3, every=10),), {"idle": 10, "first_token": 10}))
    assert (played.outcome, played.tokens) == ("finished", 3)


def test_prefill_progress_restarts_the_first_token_clock() -> None:
    steps = (PromptRead(10, every=40), Tokens(1))
    assert play(Scenario("", steps)).outcome == "finished"


def test_a_model_that_gave_tokens_lately_is_not_taken_to_be_loading() -> None:
    async def main() -> None:
        await drained(hangtight.watch(ScriptedModel(Tokens(1)), model="m"))
        await asyncio.sleep(299)
        start = now()
        with pytest.raises(hangtight.FirstTokenTimeout):
            await drained(hangtight.watch(ScriptedModel(Hang()), model="m"))
        assert now() - start == 45
        await asyncio.sleep(1)
        start = now()
        with pytest.raises(hangtight.FirstTokenTimeout):
            await drained(hangtight.watch(ScriptedModel(Hang()), model="m"))
        assert now() - start == 105, "and 300 s later it may be"

    run(main())


def test_a_name_that_two_hosts_share_says_nothing_about_either() -> None:
    warmth.forget()
    warmth.saw((None, "m"), "one", Instant(0))
    assert warmth.is_warm((None, "m"), "", Instant(1))
    warmth.saw((None, "m"), "two", Instant(0))
    assert not warmth.is_warm((None, "m"), "", Instant(1))
    assert warmth.is_warm((None, "m"), "two", Instant(1))
    for index in range(2000):
        warmth.saw((None, str(index)), "", Instant(0))
    assert not warmth.is_warm((None, "m"), "two", Instant(1)), "what is remembered is bounded"
    warmth.forget()


def test_thinking_has_its_own_silence_and_content_ends_it() -> None:
    assert play(Scenario("", (Thoughts(1), Silence(250), Tokens(1)))).outcome == "finished"
    played = play(Scenario("", (Thoughts(1), Pings(1000, every=0.9))))
    assert (played.at, getattr(played.error, "limit", None)) == (301, "thinking")
    played = play(Scenario("", (Thoughts(1), Tokens(1), Hang())))
    assert (played.at, getattr(played.error, "limit", None)) == (47, "idle")


def test_a_finish_reason_and_then_silence_is_a_whole_answer() -> None:
    async def source() -> AsyncIterator[dict[str, Any]]:
        yield {"choices": [{"index": 0, "delta": {"content": "all of it"}, "finish_reason": "stop"}]}
        await asyncio.sleep(1000)

    async def main() -> None:
        watched = hangtight.watch(source())
        await drained(watched)
        assert (watched.outcome, watched.partial, now()) == ("finished", "all of it", 45)

    run(main())


@pytest.mark.parametrize("content", [5, ["a"], {"a": 1}])
def test_content_that_is_no_text_is_content_and_breaks_nothing(content: object) -> None:
    async def source() -> AsyncIterator[dict[str, Any]]:
        yield {"choices": [{"index": 0, "delta": {"content": content}}]}
        await asyncio.sleep(1000)

    async def main() -> None:
        with pytest.raises(hangtight.IdleTimeout) as caught:
            await drained(hangtight.watch(source()))
        assert (caught.value.tokens, caught.value.partial) == (1, "")

    run(main())


def test_with_two_choices_the_first_finish_reason_is_not_the_end() -> None:
    def chunk(index: int, text: str, reason: str | None = None) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]}

    async def source() -> AsyncIterator[dict[str, Any]]:
        yield chunk(0, "a")
        yield chunk(1, "b")
        yield chunk(0, "", "stop")
        await asyncio.sleep(1000)

    async def main() -> None:
        with pytest.raises(hangtight.IdleTimeout):
            await drained(hangtight.watch(source()))

    run(main())


def test_a_stream_of_chunks_without_a_finish_reason_is_unfinished() -> None:
    assert play(Scenario("", (Tokens(3), NoReason()))).outcome == "unfinished"


def test_a_suspended_machine_is_not_a_silent_model() -> None:
    async def main() -> None:
        loop = JumpingLoop.here()
        loop.call_later(30, loop.suspend, 3600)
        watched = hangtight.watch(Source(1, 40, 1), total=None)
        await drained(watched)
        assert watched.outcome == "finished"

    run(main())


def test_a_loop_that_is_always_late_still_ends_a_silent_model() -> None:
    async def main() -> None:
        loop = JumpingLoop.here()

        def late_again() -> None:
            loop.suspend(0.3)
            loop.call_later(0.001, late_again)

        late_again()
        watched = hangtight.watch(Source(1, 10_000), idle=10, model="m")
        with pytest.raises(hangtight.IdleTimeout):
            await drained(watched)
        assert watched.excused > 0

    run(main())


def test_a_blocked_loop_is_not_a_silent_model_but_total_is_not_excused() -> None:
    async def main() -> None:
        loop = JumpingLoop.here()
        loop.call_later(40, loop.suspend, 20)
        watched = hangtight.watch(Source(1, 50, 1))
        await drained(watched)
        assert 0 < watched.excused <= 20
        loop.call_later(5, loop.suspend, 100)
        with pytest.raises(hangtight.TotalTimeout):
            await drained(hangtight.watch(Source(*[1] * 300), total=50))

    run(main())


def test_waiting_on_a_tool_is_not_silence_and_on_a_person_not_even_time() -> None:
    async def main() -> None:
        watched = hangtight.watch(Source(1, 1, 1), total=100)
        async for _ in watched:
            with watched.paused("tool"):
                await asyncio.sleep(20)
            with watched.paused("person"):
                await asyncio.sleep(3600)
        assert watched.outcome == "finished"

    run(main())


def test_an_unstreamed_answer_comes_whole_or_times_out() -> None:
    async def answer(wait: float) -> str:
        await asyncio.sleep(wait)
        return "all of it"

    async def broken() -> str:
        raise ConnectionError("refused")

    async def main() -> None:
        assert await hangtight.watch(answer(299)) == "all of it"
        assert await hangtight.watch(lambda: answer(1)) == "all of it"
        with pytest.raises(hangtight.TotalTimeout, match="timed out"):
            await hangtight.watch(answer(1000), unstreamed=30)
        watched = hangtight.watch(broken())
        with pytest.raises(ConnectionError):
            await watched
        assert watched.outcome == "failed"

    run(main())


def test_awaiting_what_opens_a_stream_says_how_to_read_it() -> None:
    async def main() -> None:
        source = Source(1)

        async def opening() -> Source:
            return source

        with pytest.raises(TypeError, match="iterate over"):
            await hangtight.watch(opening())
        assert source.closed == 1

    run(main())


# -- heartbeats -----------------------------------------------------------------------------------------------------


def test_heartbeats_go_out_every_15_s_silent_or_streaming_and_stop_with_the_call() -> None:
    played = play(Scenario("", (Silence(40), Tokens(100, every=0.5))))
    assert [beat.elapsed for beat in played.heartbeats] == [15, 30, 45, 60, 75, 90]
    assert [str(beat) for beat in played.heartbeats[:2]] == [
        "Still waiting on scripted... 15s elapsed",
        "Still waiting on scripted... 30s elapsed",
    ]


@pytest.mark.parametrize("off", [0, None])
def test_heartbeats_can_be_turned_off(off: float | None) -> None:
    assert play(Scenario("", (Silence(40), Tokens(10)), {"heartbeat": off})).heartbeats == ()


def test_a_heartbeat_says_that_a_silent_model_pings() -> None:
    played = play(Scenario("", (Tokens(10), Pings(30)), {"heartbeat": 20}))
    assert (
        str(played.heartbeats[0]) == "Still waiting on scripted... 20s elapsed, 10 tokens (pings, no content for 10s)"
    )


def test_a_listener_may_be_a_coroutine_and_a_slow_one_is_not_told_twice_at_once() -> None:
    async def main() -> None:
        told: list[float] = []

        async def listener(beat: Heartbeat) -> None:
            await asyncio.sleep(20)
            told.append(beat.elapsed)

        await drained(hangtight.watch(Source(100), on_heartbeat=listener))
        assert told == [15, 45, 75]

    run(main())


def test_a_listener_that_fails_is_reported_and_does_not_stop_the_generation() -> None:
    async def main() -> None:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what["exception"]))

        async def failing(beat: Heartbeat) -> None:
            raise ValueError("later")

        def failing_at_once(beat: Heartbeat) -> None:
            raise ValueError("at once")

        for listener in (failing, failing_at_once):
            watched = hangtight.watch(Source(20), on_heartbeat=listener)
            await drained(watched)
            assert watched.outcome == "finished"
        assert [str(error) for error in complaints] == ["later", "at once"]

    run(main())


# -- what is refused ------------------------------------------------------------------------------------------------


def test_what_is_no_stream_is_refused_by_name() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="cannot read a int"):
            await drained(hangtight.watch(3))  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="use `for`"):
            await drained(hangtight.watch(["a"]))
        with pytest.raises(TypeError, match="stream=True"):
            await drained(hangtight.watch(lambda: {"choices": []}))

    run(main())


def test_settings_that_cannot_be_meant_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(hangtight.SettingsError, match="did you mean idle"):
        hangtight.watch([], idel=3)  # type: ignore[call-overload]
    with pytest.raises(hangtight.SettingsError, match="mode = 'deap'"):
        hangtight.watch([], mode="deap")
    with pytest.raises(hangtight.SettingsError, match="idle = True"):
        hangtight.watch([], idle=True)
    with pytest.raises(hangtight.SettingsError, match="total = 0 "):
        hangtight.watch([], total=0)


def test_a_report_before_the_start_says_that_nothing_has_started() -> None:
    watched = hangtight.watch(["a"])
    with pytest.raises(RuntimeError, match="not started"):
        watched.snapshot()
    with pytest.raises(RuntimeError, match="not started"), watched.paused("tool"):
        pass


def test_under_trio_it_refuses_by_name() -> None:
    async def main() -> None:
        async def source() -> AsyncIterator[str]:
            yield "a"

        async for _ in hangtight.watch(source()):
            pass

    with pytest.raises(hangtight.HangtightError, match="trio"):
        trio.run(main)


def test_under_anyio_on_asyncio_its_cancel_scopes_and_ours_do_not_mix() -> None:
    async def main() -> None:
        with anyio.move_on_after(0.05) as scope:
            await drained(hangtight.watch(Source(0.001, 100)))
        assert scope.cancelled_caught
        with pytest.raises(hangtight.IdleTimeout):
            with anyio.fail_after(30):
                await drained(hangtight.watch(Source(0.001, 100), idle=0.05))
        async with anyio.create_task_group() as group:
            group.start_soon(drained, hangtight.watch(Source(0.001)))

    anyio.run(main)


def test_a_thousand_streams_ring_each_for_itself_and_leave_nothing() -> None:
    async def one(index: int) -> float:
        try:
            await drained(hangtight.watch(Source(1, 1000), idle=10 + index % 7))
        except hangtight.IdleTimeout as late:
            return late.waited
        return 0

    async def main() -> None:
        waited = await asyncio.gather(*(one(index) for index in range(1000)))
        assert waited == [10 + index % 7 for index in range(1000)]
        assert now() == 1 + 16

    run(main())
    gc.collect()
