"""What the journal has of each kind of end: one row with an end for each real generation, with the right numbers."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

import hangtight
from hangtight.core.pace import Paces
from hangtight.drivers.standing import STANDING
from hangtight.journal.reading import Row
from hangtight.testing import jumping
from hangtight.testing.lab import Lab
from hangtight.testing.scripted import Hang, NoReason, Pings, ScriptedModel, Silence, Thoughts, Tokens
from tests.acceptance.kit import WRITTEN, project, read
from tests.acceptance.test_s1 import FOREVER, HEAVY, LIGHT, MESSAGES, TALKS, client, played, text_of, timed
from tests.clients.kit import APIS, How, async_client, sync_client
from tests.scripted_api import ScriptedApi

REFUSALS = (400, 401, 404, 429, 500, 503)
PROMPT, KEY = "the prompt of nobody else", "sk-a-key-of-nobody-else"
Write = Callable[..., Row]


@pytest.fixture(autouse=True)
def _journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with project(tmp_path, monkeypatch):
        yield


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as serving:
        yield serving


def rows() -> list[Row]:
    """The oldest first."""
    gc.collect()
    return sorted(read().calls(), key=lambda row: row.started)


def only() -> Row:
    (row,) = rows()
    return row


def kinds(row: Row) -> list[str]:
    told = read().find(row.id)
    assert told is not None
    return [decision.kind for decision in told.decisions]


def fallback_of(row: Row) -> dict[str, Any]:
    told = read().find(row.id)
    assert told is not None
    (note,) = [decision.told for decision in told.decisions if decision.kind == "fallback"]
    return dict(note)


# -- kinds of ends, on virtual time ---------------------------------------------------------------------------


def ended(*steps: Any, **limits: Any) -> Row:
    async def main() -> None:
        with suppress(hangtight.HangtightError):
            async for _ in hangtight.watch(ScriptedModel(*steps), model="m", **limits):
                pass

    jumping(main())
    return only()


def test_a_finished_answer_has_its_numbers() -> None:
    row = ended(Silence(4), Tokens(3, every=2), heartbeat=0)
    assert (row.model, row.outcome, row.tokens, row.error, row.broken_limit) == ("m", "finished", 3, "", "")
    assert (row.first_token, row.longest_gap, row.elapsed) == (6, 2, 10)
    assert row.ended == pytest.approx(row.started + 10)


def test_a_stream_that_ends_without_a_finish_reason_is_no_finished_one() -> None:
    row = ended(Tokens(2), NoReason())
    assert row.outcome in {"unfinished", "truncated"}
    assert (row.tokens, row.first_token, row.elapsed) == (2, 1, 2)


@pytest.mark.parametrize(
    ("steps", "limits", "limit", "numbers"),
    [
        ([Hang()], {"first_token": 20, "cold": None}, "first_token", (20, 20, None, 0)),
        ([Tokens(2), Hang()], {"idle": 7}, "idle", (7, 9, 1, 2)),
        ([Thoughts(2), Hang()], {"thinking": 8}, "thinking", (8, 10, 1, 2)),
        ([Tokens(100)], {"total": 10}, "total", (10, 10, 1, 10)),
        ([Pings(1000)], {"first_token": 20, "cold": None}, "first_token", (20, 20, None, 0)),
    ],
)
def test_a_broken_limit_is_named_with_what_was_waited_and_from_where(
    steps: list[Any], limits: dict[str, Any], limit: str, numbers: tuple[Any, ...]
) -> None:
    row = ended(*steps, **limits)
    assert (row.outcome, row.broken_limit, row.source) == ("timeout", limit, "the call")
    waited, elapsed, first, tokens = numbers
    assert (row.waited, row.elapsed, row.first_token) == (waited, elapsed, first)
    assert abs(row.tokens - tokens) <= 1, "a token at the very instant of the alarm may win"
    assert [kind for kind in kinds(row) if kind != "heartbeat"] == ["rang", "cancel sent", "cancel confirmed"]


def test_an_unstreamed_answer_that_does_not_come_is_a_broken_unstreamed() -> None:
    async def main() -> None:
        with pytest.raises(hangtight.TotalTimeout):
            await hangtight.watch(asyncio.sleep(1000), model="m", unstreamed=50)

    jumping(main())
    row = only()
    assert (row.outcome, row.broken_limit, row.waited, row.elapsed) == ("timeout", "unstreamed", 50, 50)


def test_a_source_that_raises_has_failed_and_its_words_stay_out() -> None:
    async def source() -> AsyncIterator[str]:
        yield "a"
        raise ValueError(PROMPT)

    async def main() -> None:
        with pytest.raises(ValueError, match=PROMPT):
            async for _ in hangtight.watch(source()):
                pass

    jumping(main())
    assert (only().outcome, only().error, only().tokens) == ("failed", "ValueError", 1)


def test_a_cancelled_task_is_cancelled() -> None:
    async def main() -> None:
        async def reads() -> None:
            async for _ in hangtight.watch(ScriptedModel(Tokens(100))):
                pass

        task = asyncio.create_task(reads())
        await asyncio.sleep(5.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    jumping(main())
    assert (only().outcome, only().tokens, only().elapsed) == ("cancelled", 5, 5.5)


def test_who_stops_reading_has_left() -> None:
    for chunk in hangtight.watch(["a", "b", "c"]):
        assert chunk == "a"
        break
    assert (only().outcome, only().tokens) == ("left", 1)


def test_a_watch_that_is_never_read_leaves_no_row_without_an_end() -> None:
    flowing = iter(hangtight.watch(["a"]))
    del flowing
    assert (only().outcome, only().tokens) == ("left", 0)


# -- the same from a real server ------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(
    ("script", "outcome", "tokens"),
    [
        ("tokens=5,rate=400", "finished", 5),
        ("tokens=5,rate=400,no-reason", "unfinished", 5),
        ("tokens=5,rate=400,no-reason,no-done", "truncated", 5),
        ("tokens=5,rate=400,disconnect=3", "failed", 3),
        ("tokens=5,rate=400,error=3", "failed", 3),
    ],
)
def test_what_a_server_does_in_the_middle_is_one_row(script: str, outcome: str, tokens: int, lab: Lab) -> None:
    for asynchronous in (False, True):
        How(asynchronous=asynchronous).call(lab.url, script)
    for row in rows():
        assert (row.model, row.outcome, row.tokens) == (script, outcome, tokens)
        assert row.host == lab.url.removeprefix("http://")
    assert len(rows()) == 2


@pytest.mark.real
@pytest.mark.parametrize("sdk", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_refusal_has_failed_and_nothing_is_learned_from_it(sdk: str, asynchronous: bool, lab: Lab) -> None:
    theirs = {} if sdk == "ollama" else {"max_retries": 0}
    for streamed in (True, False):
        for status in REFUSALS:
            how = How(api=sdk, asynchronous=asynchronous, streamed=streamed, theirs=theirs)
            assert how.call(lab.url, f"status={status}").error is not None
    found = rows()
    assert {row.outcome for row in found} == {"failed"}
    assert {row.error for row in found if not fallbacks(row)} == {f"HTTP {status}" for status in REFUSALS}
    assert {(row.tokens, row.first_token) for row in found} == {(0, None)}
    assert len({row.call for row in found}) == 2 * len(REFUSALS), "one call each"
    assert all(STANDING.paces.predicted(f"status={status}", "", 0, 1) is None for status in REFUSALS)


def fallbacks(row: Row) -> bool:
    return "fallback" in kinds(row)


@pytest.mark.real
def test_a_server_that_is_not_there_is_a_failure(lab: Lab) -> None:
    How(theirs={"max_retries": 0}).call("http://127.0.0.1:9", "m")
    assert (only().outcome, only().error, only().tokens) == ("failed", "ConnectError", 0)


@pytest.mark.real
def test_a_stream_that_is_dropped_has_what_was_read_of_it(lab: Lab) -> None:
    asked = sync_client("openai", lab.url, {})
    for model, pieces in (("unread,tokens=50,rate=100", 0), ("dropped,tokens=50,rate=100", 1)):
        stream = APIS["openai"].ask(asked, model, True)
        for chunk in stream if pieces else ():
            if APIS["openai"].piece(chunk):
                break
        del stream
    gc.collect()
    asked.close()
    unread, dropped = rows()
    assert (unread.outcome, unread.tokens, unread.first_token) == ("left", 0, None)
    assert (dropped.outcome, dropped.tokens) == ("left", 1)
    assert dropped.first_token is not None


@pytest.mark.real
def test_a_child_process_is_a_generation_with_its_exit_code() -> None:
    list(hangtight.child([sys.executable, "-c", "print('a')"], model="good"))
    with pytest.raises(hangtight.BackendError):
        list(hangtight.child([sys.executable, "-c", "raise SystemExit(3)"], model="bad"))
    good, bad = rows()
    assert (good.model, good.outcome) == ("good", "finished")
    assert (bad.model, bad.outcome, bad.error) == ("bad", "failed", "BackendError 3")


@pytest.mark.real
def test_what_a_server_loads_is_not_the_answer_of_a_model(lab: Lab) -> None:
    with pytest.raises(hangtight.LoadTimeout):
        hangtight.generate("x", model="loads,load=60", url=lab.url, load=0.3)
    assert (only().outcome, only().broken_limit, only().tokens) == ("timeout", "load", 0)
    assert "loading" in kinds(only())


@pytest.mark.real
def test_a_request_that_asks_no_model_for_text_is_no_generation(lab: Lab) -> None:
    asked = sync_client("openai", lab.url, {})
    asked.models.list()
    asked.close()
    assert rows() == []


# -- several models, several calls ----------------------------------------------------------------------------


def shares_one_call(first: Row, second: Row, fault: str) -> None:
    assert first.call == second.call == first.id
    note = fallback_of(second)
    assert (note["model"], note["fault"]) == (first.model, fault)
    assert kinds(first).count("fallback") == 0
    assert first.outcome in {"timeout", "failed"}
    assert second.outcome == "finished"


def test_a_model_that_stands_in_shares_the_call_and_says_for_whom() -> None:
    async def main() -> None:
        api = ScriptedApi({HEAVY: [FOREVER], LIGHT: TALKS})
        assert await text_of(client(api, first_token=30, fallback=[LIGHT]))

    played(main)
    heavy, light = rows()
    shares_one_call(heavy, light, "timeout")
    assert (heavy.elapsed, light.elapsed, light.tokens) == (30, 0, len(TALKS))


@pytest.mark.parametrize("ours", [False, True])
def test_a_chain_of_a_watch_shares_one_call_over_a_client_of_ours_and_over_another(ours: bool) -> None:
    async def main() -> None:
        api = ScriptedApi({HEAVY: [FOREVER], LIGHT: TALKS})
        bare = openai.AsyncOpenAI(
            api_key="x", base_url="http://m.local/v1", http_client=httpx2.AsyncClient(transport=api, timeout=None)
        )
        asked = client(api) if ours else bare
        watched = hangtight.watch(
            lambda model: asked.chat.completions.create(model=model, messages=MESSAGES, stream=True),
            model=HEAVY,
            first_token=30,
            fallback=[LIGHT],
        )
        assert [chunk async for chunk in watched]

    played(main)
    heavy, light = rows()
    assert (heavy.model, light.model) == (HEAVY, LIGHT)
    shares_one_call(heavy, light, "timeout")


@pytest.mark.real
def test_the_same_request_in_another_form_shares_the_call_and_says_why(lab: Lab) -> None:
    assert How(streamed=False).call(lab.url, "tokens=3,rate=400,refuses-stream").text
    first, second = rows()
    shares_one_call(first, second, "request")
    assert (first.error, first.tokens) == ("HTTP 400", 0)


def test_each_call_of_an_agent_under_a_watch_is_a_generation_of_its_own_and_the_watch_is_none() -> None:
    async def main() -> None:
        api = ScriptedApi({model: ["a", 2.0, "b"] for model in ("one", "two", "three")})
        asked = client(api)

        async def agent() -> AsyncIterator[str]:
            for model in api.scripts:
                yield await text_of(asked, model)
                await asyncio.sleep(5)

        assert len([text async for text in hangtight.watch(agent())]) == 3

    played(main)
    found = rows()
    assert [(row.model, row.tokens, row.elapsed) for row in found] == [("one", 2, 2), ("two", 2, 2), ("three", 2, 2)]
    assert [row.call for row in found] == [row.id for row in found], "three calls"


def test_a_watch_that_times_out_between_two_calls_has_a_row_with_its_own_silence() -> None:
    async def main() -> None:
        asked = client(ScriptedApi({LIGHT: ["a", 2.0, "b"]}))

        async def agent() -> AsyncIterator[str]:
            yield await text_of(asked, LIGHT)
            await asyncio.sleep(FOREVER)

        with pytest.raises(hangtight.IdleTimeout) as caught:
            async for _ in hangtight.watch(agent(), idle=10):
                pass
        assert "hangtight log" in str(caught.value)

    played(main)
    watch, call = sorted(rows(), key=lambda row: row.model)
    assert (call.model, call.outcome, call.tokens) == (LIGHT, "finished", 2)
    assert (watch.outcome, watch.broken_limit, watch.waited, watch.elapsed) == ("timeout", "idle", 10, 10)
    assert (watch.first_token, watch.counted_answer) == (None, None), "what the call beneath brought is in its row"


def test_a_mock_whose_answer_is_read_already_is_a_generation_that_has_ended() -> None:
    message = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}

    class Mock(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: Any) -> httpx2.Response:
            told = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [message]}
            return httpx2.Response(200, json=told)

    async def main() -> None:
        transport = hangtight.http.async_transport(lib="httpx2", inner=Mock())
        http = httpx2.AsyncClient(transport=transport, timeout=None)
        asked = openai.AsyncOpenAI(api_key="x", base_url="http://m.local/v1", http_client=http)
        answer = await asked.chat.completions.create(model="m", messages=MESSAGES)
        assert answer.choices[0].message.content == "x"

    played(main)
    assert (only().outcome, only().tokens) == ("finished", 1)


# -- runs, steps, budgets -------------------------------------------------------------------------------------


def test_headers_say_to_which_run_and_step_a_call_belongs() -> None:
    async def main() -> None:
        headers = {"X-Hangtight-Run": "nightly", "X-Hangtight-Step": "plan"}
        with hangtight.budget(100, name="other"):
            await text_of(client(ScriptedApi({LIGHT: TALKS})), LIGHT, extra_headers=headers)

    played(main)
    assert (only().run, only().step) == ("nightly", "plan")


def test_a_call_that_a_spent_budget_does_not_begin_is_a_row_and_no_fact_about_the_model() -> None:
    with hangtight.budget.from_header("remaining=0&run=r"), pytest.raises(hangtight.BudgetSpent):
        list(hangtight.watch(["a"], model="m"))
    row = only()
    assert (row.outcome, row.run, row.model, row.error, row.tokens) == ("not begun", "r", "m", "BudgetSpent", 0)
    (stat,) = read().stats(by="model")
    assert (stat.outcomes, stat.first_token, stat.longest_gap, stat.elapsed) == ({"not begun": 1}, None, None, None)
    assert STANDING.paces.predicted("m", "", 0, 1) is None


def test_a_step_that_is_told_to_wrap_up_has_it_in_the_row_of_its_call() -> None:
    async def main() -> None:
        with hangtight.budget(100, steps={"a": 1, "b": 4}) as task, task.step("a"):
            async for _ in hangtight.watch(ScriptedModel(Tokens(30)), heartbeat=0):
                pass

    jumping(main())
    assert kinds(only()) == ["should wrap up"]
    assert (only().step, only().outcome) == ("a", "finished")


# -- what is never written, and what never hurts --------------------------------------------------------------


@pytest.mark.real
def test_no_prompt_answer_key_or_word_of_a_server_is_in_the_database_file(tmp_path: Path, lab: Lab) -> None:
    class Echo(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: Any) -> httpx2.Response:
            words = f"cannot handle {request.content!r} of {request.headers['authorization']}"
            return httpx2.Response(500, json={"error": {"message": words}})

    async def refused() -> None:
        transport = hangtight.http.async_transport(lib="httpx2", inner=Echo(), fallback=["light"])
        http = httpx2.AsyncClient(transport=transport, timeout=None)
        asked = openai.AsyncOpenAI(api_key=KEY, base_url="http://m.local/v1", http_client=http, max_retries=0)
        with pytest.raises(openai.APIStatusError):
            await asked.chat.completions.create(model="heavy", messages=[{"role": "user", "content": PROMPT}])
        with pytest.raises(openai.APIStatusError):
            async for _ in hangtight.watch(
                lambda model: asked.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": PROMPT}], stream=True
                ),
                model="heavy",
                fallback=["other"],
            ):
                pass

    played(refused)
    answers = [hangtight.generate(PROMPT, model="tokens=9,rate=400", url=lab.url)]
    with suppress(hangtight.BackendError):
        hangtight.generate(PROMPT, model="status=401", url=lab.url)
    assert len(rows()) >= 4
    recorder = STANDING.recorder()
    assert recorder is not None
    recorder.close(WRITTEN)
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("journal.db*"))
    words = [word for text in answers for word in text.split() if len(word) > 4]
    assert words
    assert b"heavy" in kept
    for secret in (PROMPT, KEY, "cannot handle", "refuses on request", *words):
        assert secret.encode() not in kept


def test_a_recorder_that_raises_hurts_no_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = STANDING.recorder()

    def fails(entry: object) -> None:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(recorder, "put", fails)
        assert list(hangtight.watch(["a", "b"])) == ["a", "b"]
        with hangtight.budget.from_header("remaining=0"), pytest.raises(hangtight.BudgetSpent):
            list(hangtight.watch(["a"]))
    assert list(hangtight.watch(["c"])) == ["c"]
    assert only().tokens == 1


def test_a_generation_ends_in_the_journal_in_which_it_began(tmp_path: Path) -> None:
    former = STANDING.recorder()
    assert former is not None
    flowing = iter(hangtight.watch(["a", "b"], model="before"))
    next(flowing)
    hangtight.configure(journal=tmp_path / "other.db")
    list(hangtight.watch(["c"], model="after"))
    list(flowing)
    assert [(row.model, row.outcome) for row in rows()] == [("after", "finished")]
    assert former.flush(WRITTEN)
    from hangtight.journal.reading import Reading

    assert [(row.model, row.outcome, row.tokens) for row in Reading(former.url).calls()] == [("before", "finished", 2)]
    former.close(WRITTEN)


@pytest.mark.real
def test_an_asynchronous_stream_that_nobody_reads_has_left(lab: Lab) -> None:
    async def main() -> None:
        asked = async_client("openai", lab.url, {})
        stream = await APIS["openai"].ask(asked, "tokens=50,rate=100", True)
        del stream
        gc.collect()
        await asked.close()

    with suppress(RuntimeError):
        asyncio.run(main())
    assert (only().outcome, only().tokens) == ("left", 0)


def test_what_a_killed_call_waited_for_is_in_its_row_and_the_learner_has_it() -> None:
    async def main() -> None:
        await timed(text_of(client(ScriptedApi({HEAVY: [FOREVER]}), first_token=20)))

    assert isinstance(STANDING.paces, Paces)
    played(main)
    assert (only().waited, only().first_token, only().limits["first_token"]["value"]) == (20, None, 20)
