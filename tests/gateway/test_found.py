"""The servers of this machine, looked for once more: who was there and has no time keeps its models."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from hangtight.drivers import servers
from hangtight.gateway import state
from tests.gateway.behind import ANSWERED, PATIENCE, Talk, answer, before, behind

pytestmark = pytest.mark.real
LISTED = answer(json.dumps({"object": "list", "data": [{"id": "m"}]}).encode())
LOADING = answer(b'{"error": {"message": "Loading model", "code": 503}}', 503)
EMPTY = answer(b'{"object": "list", "data": []}')


class Place:
    """A server on a usual port. What it says of its models; None says nothing, for longer than anybody looks."""

    def __init__(self) -> None:
        self.models: bytes | None = LISTED

    async def __call__(self, talk: Talk) -> None:
        while True:
            head, body = await talk.request()
            if body:
                talk.say(ANSWERED)
            elif b"/v1/models" not in head:
                talk.say(answer(b"", 404))
            elif self.models is None:
                await talk.gone()
            else:
                talk.say(self.models)


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "LOOK", 0.2)
    monkeypatch.setattr(state, "LOOK_EVERY", 0.0)


@pytest.mark.parametrize(
    ("later", "found"), [(LISTED, 200), (None, 200), (LOADING, 200), (answer(b"{}", 500), 200), (EMPTY, 404)],
    ids=["well", "busy", "loading", "ill", "empty"],
)  # fmt: skip
def test_a_name_that_nobody_knows_does_not_take_the_models_from_a_server_that_has_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: bytes | None, found: int
) -> None:
    async def main() -> None:
        place = Place()
        async with asyncio.timeout(PATIENCE), behind(place) as server, before(tmp_path, "journal: off\n") as ours:
            monkeypatch.setattr(state, "PORTS", {server.port: "llama.cpp"})
            await ours.gateway.state.find()
            assert (await ours.chat("m", stream=True)).status == 200
            place.models = later
            for _ in range(2):
                assert (await ours.chat("a-typo")).status == 404
            assert (await ours.chat("m", stream=True)).status == found

    asyncio.run(main())


def test_the_models_of_a_server_that_is_gone_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE), before(tmp_path, "journal: off\n") as ours:
            async with behind(Place()) as server:
                monkeypatch.setattr(state, "PORTS", {server.port: "llama.cpp"})
                await ours.gateway.state.find()
                assert list(ours.gateway.state.targets.names) == ["m"]
            assert (await ours.chat("a-typo")).status == 404
            assert list(ours.gateway.state.targets.names) == []

    asyncio.run(main())
