"""What the journal has of the requests that waited for a slot, or were never sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import hangtight
from hangtight.journal.reading import Told
from hangtight.journal.words import in_words
from tests.acceptance.kit import project, read
from tests.gateway.behind import ANSWERED, PATIENCE, Before, Got, Talk, answer, before, behind, chat, until

pytestmark = pytest.mark.real
SETTINGS = """
limits: {{first_token: 9, cold: null}}
circuit: {{in_a_row: 1, first: 60}}
models:
  one: {{proxy: "{url}", concurrencyLimit: 1, queue: 1}}
  bad: {{proxy: "{url}"}}
"""


async def told_of_each(folder: Path) -> tuple[list[Told], Told, Told]:
    """Of three who wanted one slot, the last of whom found no place, and of one who met an open circuit."""
    opened = asyncio.Event()

    async def serve(talk: Talk) -> None:
        while True:
            _, body = await talk.request()
            if b'"bad"' in body:
                talk.say(answer(b"{}", 500))
                continue
            await opened.wait()
            talk.say(ANSWERED)

    async with (
        asyncio.timeout(PATIENCE),
        behind(serve) as server,
        before(folder, SETTINGS.format(url=server.url)) as ours,
    ):
        hangtight.configure(folder / "hangtight.yaml", folder / "journal.db")
        first = asyncio.ensure_future(ours.ask(chat("one", stream=True)))
        await until(lambda: len(server.talks) == 1)
        second = asyncio.ensure_future(ours.ask(chat("one", stream=True)))
        await until(lambda: waiting(ours) == 1)
        full = await ours.chat("one", stream=True)
        opened.set()
        served = await asyncio.gather(first, second)
        await ours.chat("bad", stream=True)
        shut = await ours.chat("bad", stream=True)
        assert [full.error["code"], shut.error["code"]] == ["queue_full", "circuit_open"]
        for refusal in (full, shut):
            assert "upstream_status" not in refusal.error
        return [await asyncio.to_thread(found, each) for each in served], found(full), found(shut)


def waiting(ours: Before) -> int:
    return sum(lane.admission.waiting for lane in ours.gateway.state.lanes.all())


def found(seen: Got) -> Told:
    told = read().find(seen.headers["x-hangtight-id"])
    assert told is not None
    return told


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Told], Told, Told]:
    folder = tmp_path_factory.mktemp("journalled")
    with pytest.MonkeyPatch.context() as patch, project(folder, patch):
        return asyncio.run(told_of_each(folder))


def test_who_waited_for_a_slot_has_its_place_and_how_long_it_waited(told: tuple[list[Told], Told, Told]) -> None:
    (first, second), _, _ = told
    assert [each.kind for each in first.decisions if each.kind in ("queued", "admitted")] == []
    queued, admitted = (each for each in second.decisions if each.kind in ("queued", "admitted"))
    assert (queued.kind, queued.told, in_words(queued)) == ("queued", 1, "queued: number 1")
    assert (admitted.kind, admitted.told > 0) == ("admitted", True)
    assert in_words(admitted).startswith("admitted after ")


def test_who_was_never_sent_has_why_in_our_own_word(told: tuple[list[Told], Told, Told]) -> None:
    _, full, shut = told
    assert [(each.row.outcome, each.row.error) for each in (full, shut)] == [
        ("failed", "queue_full"),
        ("failed", "circuit_open"),
    ]
