"""Thirty-two clients at once, of which a third is answered, a third leaves early and a third runs into a limit."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import httpx2
import openai

from hangtight.journal.reading import Reading
from tests.gateway.kit import Served
from tests.journal.kit import soon

SLOTS, CLIENTS = 8, 32
ENDLESS = 1_000_000
ANSWERED, LEFT, TIMED_OUT = "answered", "left", "timed out"
KINDS = (ANSWERED, LEFT, TIMED_OUT)
QUESTION: Any = [{"role": "user", "content": "Why is the sky blue?"}]


@dataclass(frozen=True)
class Visit:
    """What one client does."""

    number: int

    @property
    def kind(self) -> str:
        return KINDS[self.number % len(KINDS)]

    @property
    def streamed(self) -> bool:
        return self.number % 2 == 0

    @property
    def run(self) -> str:
        """Under which it stands in the journal."""
        return f"visit-{self.number}"

    @property
    def leaves_after(self) -> float:
        """Seconds: some of them in the queue, some in their prompt, some in the middle."""
        return 0.1 + 0.05 * self.number


@dataclass
class Seen:
    """How it ended for a client."""

    kind: str
    text: str = ""
    reason: str | None = None
    error: dict[str, Any] = field(default_factory=dict)
    """The error object, where there was one."""


@dataclass(frozen=True)
class Crowd:
    """Who comes to ask this model."""

    url: str
    model: str
    tokens: int
    total: float
    """Seconds after which those run into their limit who do not leave by themselves."""
    patience: float = 60.0
    """Seconds: a bound for what hangs."""

    async def all(self) -> dict[Visit, Seen]:
        """How it ended for each of them."""
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(limits=limits, timeout=self.patience) as http:
            client = openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0, http_client=http)
            visits = [Visit(number) for number in range(CLIENTS)]
            async with asyncio.timeout(self.patience):
                return dict(
                    zip(visits, await asyncio.gather(*(self.one(client, visit) for visit in visits)), strict=True)
                )

    async def one(self, client: openai.AsyncOpenAI, visit: Visit) -> Seen:
        headers = {"X-Hangtight-Run": visit.run}
        if visit.kind == TIMED_OUT:
            headers["X-Hangtight-Total"] = f"{self.total:g}"
        tokens = self.tokens if visit.kind == ANSWERED else ENDLESS
        asked: dict[str, Any] = {
            "model": self.model, "messages": QUESTION, "max_tokens": tokens, "extra_headers": headers,
        }  # fmt: skip
        asking = self.streamed(client, asked) if visit.streamed else self.whole(client, asked)
        if visit.kind != LEFT:
            return await asking
        with suppress(TimeoutError):
            async with asyncio.timeout(visit.leaves_after):
                return await asking
        return Seen(LEFT)

    async def streamed(self, client: openai.AsyncOpenAI, asked: dict[str, Any]) -> Seen:
        text, reason = "", None
        try:
            async with await client.chat.completions.create(**asked, stream=True) as chunks:
                async for chunk in chunks:
                    if chunk.choices:
                        text += chunk.choices[0].delta.content or ""
                        reason = chunk.choices[0].finish_reason or reason
        except openai.APIError as error:
            return Seen(TIMED_OUT, text, None, _object(error))
        return Seen(ANSWERED, text, reason)

    async def whole(self, client: openai.AsyncOpenAI, asked: dict[str, Any]) -> Seen:
        try:
            answer = await client.chat.completions.create(**asked)
        except openai.APIError as error:
            return Seen(TIMED_OUT, "", None, _object(error))
        return Seen(ANSWERED, answer.choices[0].message.content or "", answer.choices[0].finish_reason)


def _object(error: openai.APIError) -> dict[str, Any]:
    return error.body if isinstance(error.body, dict) else {"message": str(error), "type": type(error).__name__}


def each_has_an_end(served: Served, crowd: Crowd) -> None:
    """Visit, and hold that every client, and the journal, has the end that belongs to it."""
    seen = asyncio.run(crowd.all())
    assert {visit: end.kind for visit, end in seen.items()} == {visit: visit.kind for visit in seen}
    assert all(end.text and end.reason for end in seen.values() if end.kind == ANSWERED)
    errors = [end.error for end in seen.values() if end.kind == TIMED_OUT]
    assert {(error["type"], error["code"], error["source"]) for error in errors} == {
        ("timeout", "total", "X-Hangtight-Total")
    }
    in_journal = {visit: outcome_of(served, visit.run) for visit in seen}
    # On a machine that is busy enough somebody may leave before the request was read.
    wanted: dict[str, set[str | None]] = {
        ANSWERED: {"finished", "unfinished"},
        LEFT: {"left", None},
        TIMED_OUT: {"timeout"},
    }
    assert all(outcome in wanted[visit.kind] for visit, outcome in in_journal.items()), in_journal
    assert list(in_journal.values()).count(None) < CLIENTS // 6
    assert soon(lambda: under_way(served) == 0)


def under_way(served: Served) -> float:
    """What the gateway itself counts as running or in line."""
    page = served.get("/metrics")
    found = re.findall(r"^hangtight_(?:in_flight|queue_waiting){.*} (\S+)$", page, re.MULTILINE)
    assert found
    return sum(map(float, found))


def outcome_of(served: Served, run: str) -> str | None:
    """In the journal; None where it never began there, `running` where it never ended."""
    reading, pause = Reading(str(served.journal)), Event()
    for _ in range(500):
        rows = reading.calls(run=run)
        if rows and all(row.outcome for row in rows):
            return rows[0].outcome
        pause.wait(0.01)
    return "running" if rows else None


@contextmanager
def watched(look: Callable[[], int]) -> Iterator[Counter[int]]:
    """What `look` shows while the block runs."""
    seen: Counter[int] = Counter()
    enough = Event()

    def watch() -> None:
        while not enough.wait(0.02):
            seen[look()] += 1

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        enough.set()
        watcher.join()
