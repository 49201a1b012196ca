"""What a flow asks of the gateway of its own process: the journal has it once, ended as it did for who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import hangtight
from hangtight.drivers.through import through
from hangtight.errors import BackendError, IdleTimeout
from hangtight.journal.reading import Row
from tests.acceptance.kit import project, read
from tests.gateway.behind import ANSWERED, CHUNKED, PATIENCE, Before, Talk, answer, before, behind, chunk, piece, until

pytestmark = pytest.mark.real
SETTINGS = 'models:\n  m: {{proxy: "{url}"}}\n  bad: {{proxy: "{url}"}}\n'
Main = Callable[[Before], Awaitable[None]]


async def serve(talk: Talk) -> None:
    """`bad` is refused, `m` answers once and then goes silent after its first word."""
    _, body = await talk.request()
    if b'"bad"' in body:
        talk.say(answer(b"{}", 500))
    elif b"answer" in body:
        talk.say(ANSWERED)
    else:
        talk.say(CHUNKED + chunk(piece("hello")))
        await talk.gone()


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Main], list[Row]]:
    """The generations that the journal has after this, the latest first."""

    async def bounded(main: Main) -> list[Row]:
        async with (
            asyncio.timeout(PATIENCE),
            behind(serve) as server,
            before(tmp_path, SETTINGS.format(url=server.url)) as ours,
        ):
            hangtight.configure(tmp_path / "hangtight.yaml", tmp_path / "journal.db")
            with through(f"http://127.0.0.1:{ours.port}"):
                await main(ours)
            await until(lambda: not any(lane.readings for lane in ours.gateway.state.lanes.all()))
            return await asyncio.to_thread(read().calls)

    def run(main: Main) -> list[Row]:
        with project(tmp_path, monkeypatch):
            return asyncio.run(bounded(main))

    return run


def test_a_clock_that_rang_for_who_asked_is_the_end_of_the_only_row(rows: Callable[[Main], list[Row]]) -> None:
    errors: list[IdleTimeout] = []

    async def main(ours: Before) -> None:
        with pytest.raises(IdleTimeout) as caught:
            await hangtight.agenerate("be silent", model="m", idle=0.2)
        errors.append(caught.value)

    (row,) = rows(main)
    assert (row.outcome, row.broken_limit, row.tokens) == ("timeout", "idle", 1)
    assert row.waited == pytest.approx(0.2)
    assert (row.limits["idle"]["value"], row.limits["idle"]["source"]) == (0.2, "the call")
    assert f"hangtight log {row.id[:8]}" in str(errors[0]), "who follows the error finds that row"


def test_who_is_told_to_stop_leaves_one_that_was_cancelled(rows: Callable[[Main], list[Row]]) -> None:
    async def main(ours: Before) -> None:
        asking = asyncio.ensure_future(hangtight.agenerate("be silent", model="m"))
        await until(
            lambda: any(each.session.tokens for lane in ours.gateway.state.lanes.all() for each in lane.readings)
        )
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    assert [row.outcome for row in rows(main)] == ["cancelled"]


def test_what_the_gateway_does_not_even_begin_is_told_by_who_asked(rows: Callable[[Main], list[Row]]) -> None:
    async def main(ours: Before) -> None:
        with pytest.raises(BackendError):
            await hangtight.agenerate("answer", model="nobody")

    assert [(row.model, row.outcome) for row in rows(main)] == [("nobody", "failed")]


def test_attempts_of_one_call_are_rows_of_one_call(rows: Callable[[Main], list[Row]]) -> None:
    async def main(ours: Before) -> None:
        assert await hangtight.agenerate("answer", model="bad", fallback=["m"]) == "hello"

    found = {row.model: row for row in rows(main)}
    assert {model: row.outcome for model, row in found.items()} == {"bad": "failed", "m": "finished"}
    assert found["bad"].id == found["bad"].call == found["m"].call


def test_a_word_that_nobody_announced_changes_nothing(rows: Callable[[Main], list[Row]]) -> None:
    async def main(ours: Before) -> None:
        found = await ours.chat("m", headers={"x-hangtight-asker": "0" * 32}, note="answer", stream=True)
        assert found.status == 200

    assert [row.outcome for row in rows(main)] == ["finished"]
