"""What Ollama's list of loaded models is worth, and what is made of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hangtight.core.facts import Fact
from hangtight.drivers.residency import Seen, Unclear, expiry_of, watched_memory
from hangtight.testing import jumping

OF_A_GATEWAY = {"models": [], "served_by": "hangtight"}


def noted(*looks: str | None) -> list[str]:
    facts: list[Fact] = []
    seen = Seen(facts.append)
    for expiry in looks:
        seen.look(expiry)
    return [type(fact).__name__ for fact in facts]


@pytest.mark.parametrize(
    ("looks", "facts"),
    [
        (["9:00", "9:00", "9:00"], ["Resident"]),
        ([None, None, None], ["Absent"]),
        ([None, "9:00", "9:00", "9:00"], ["Absent", "LoadProgress", "Ready"]),
        # Ollama lists a model that it has only begun to load, with a new expiry at each look.
        (["9:00", "9:01", "9:02"], []),
        ([None, "9:00", "9:01", "9:02"], ["Absent", "LoadProgress"]),
        (["9:00", "9:01", "9:01"], ["Resident"]),
        # Thrown out and loaded anew with other options, under our request.
        (["9:00", "9:00", None, "9:05", "9:06"], ["Resident", "Absent", "LoadProgress"]),
        # Another client's request has ended: no news.
        (["9:00", "9:00", "9:07", "9:07"], ["Resident"]),
    ],
)
def test_what_a_row_of_looks_shows(looks: list[str | None], facts: list[str]) -> None:
    assert noted(*looks) == facts


@pytest.mark.parametrize(
    ("name", "expiry"),
    [("qwen3", "9:00"), ("qwen3:latest", "9:00"), ("Qwen3", "9:00"), ("qwen3:1.7b", None), ("hf.co/a/b", "8:00")],
)
def test_a_model_is_found_under_the_names_that_ollama_gives_it(name: str, expiry: str | None) -> None:
    entries = [
        {"name": "hf.co/a/b:latest", "expires_at": "8:00"},
        {"name": "qwen3:latest", "model": "qwen3:latest", "expires_at": "9:00"},
    ]
    assert expiry_of(name, {"models": entries}) == expiry


@pytest.mark.parametrize("listed", [None, [], {"models": {}}, {"models": ["qwen3"]}, {"data": []}, OF_A_GATEWAY])
def test_an_answer_of_unexpected_shape_says_nothing(listed: Any) -> None:
    with pytest.raises(Unclear):
        expiry_of("qwen3", listed)


def test_asking_ends_with_the_call_whatever_it_waits_for() -> None:
    async def main() -> None:
        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        facts: list[Fact] = []
        listening = await asyncio.start_server(hang, "127.0.0.1", 0)
        async with listening:
            url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            async with watched_memory(url, "qwen3", facts.append):
                await asyncio.sleep(60)
            async with watched_memory("http://127.0.0.1:1", "qwen3", facts.append):
                await asyncio.sleep(60)
        assert facts == []

    jumping(main())
