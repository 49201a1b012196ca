"""How a model server can be asked what it works on: each way is a path and what is made of the answer.

What the answers are worth:

- llama.cpp's `/slots` numbers its tasks. A closed stream leaves within milliseconds, an unstreamed request, or one
  whose prompt is still being read, within about a second. Those in its queue are in `/metrics`, if that is switched on.
- vLLM's gauges are brought up to date only by a step of its engine: when all requests are cancelled at once, they stay
  as they were (vllm-project/vllm#22545, #29928). So a number counts as work only while the token counters move.
- Ollama lists the models in memory, not what they do: only an empty list says something.
- transformers, LM Studio and the many others tell nothing.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hangtight.drivers.http11 import ConnectFailed, HTTPError, request
from hangtight.drivers.servers import LIST_LIMIT, OK, STANDS_IN, VERSIONED
from hangtight.gateway.looking.evidence import Look

CONNECT = 1.0
PATIENCE = 1.0
"""For one answer: llama.cpp gives it between two steps of its work, and the next look is never far."""
MEMORY = 300.0
"""So long a way is known: behind the same address there may be another server by then."""
NOT_NOW = frozenset({429, 502, 503, 504})

SLOTS, METRICS, COUNTS, LOADED = "/slots", "/metrics", "/lab/counts", "/api/ps"
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})?\s+(\S+)", re.MULTILINE)
NO_WAY = Look("", None)


@dataclass(frozen=True, slots=True)
class Gauges:
    """What one server calls the numbers that we need."""

    kind: str
    running: str
    waiting: str
    work: tuple[str, ...] = ()


GAUGES = (
    Gauges(
        "vLLM /metrics",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        ("vllm:generation_tokens_total", "vllm:prompt_tokens_total", "vllm:iteration_tokens_total_count"),
    ),
    Gauges("llama.cpp /metrics", "llamacpp:requests_processing", "llamacpp:requests_deferred"),
    Gauges("SGLang /metrics", "sglang:num_running_reqs", "sglang:num_queue_reqs"),
)


def of_slots(body: bytes) -> Look | None:
    """llama.cpp: one object for each slot."""
    slots = _json(body)
    if not isinstance(slots, list) or not slots or not all(_is_slot(slot) for slot in slots):
        return None
    working = [slot for slot in slots if slot["is_processing"]]
    numbers = [slot.get("id_task") for slot in working]
    tasks = frozenset(numbers) if all(isinstance(number, int) for number in numbers) else None
    full = len(working) == len(slots)
    return Look("llama.cpp /slots", len(working), None if full else 0, full, tasks)


def _is_slot(slot: Any) -> bool:
    return isinstance(slot, dict) and isinstance(slot.get("is_processing"), bool)


def of_metrics(body: bytes) -> Look | None:
    """Prometheus' text; numbers of several engines or models are added up."""
    sums: dict[str, float] = {}
    for name, value in _samples(body.decode(errors="replace")):
        sums[name] = sums.get(name, 0.0) + value
    for gauges in GAUGES:
        if gauges.running in sums:
            waiting = sums.get(gauges.waiting)
            work = sum(sums.get(name, 0.0) for name in gauges.work) if gauges.work else None
            return Look(
                gauges.kind, round(sums[gauges.running]), None if waiting is None else round(waiting), work=work
            )
    return None


def _samples(text: str) -> Iterator[tuple[str, float]]:
    for name, value in SAMPLE.findall(text):
        try:
            number = float(value)
        except ValueError:
            continue
        if math.isfinite(number):
            yield name, number


def of_counts(body: bytes) -> Look | None:
    """The lab's own books, one entry for each model."""
    models = _json(body)
    if not isinstance(models, dict) or not all(isinstance(counts, dict) for counts in models.values()):
        return None
    numbers = [counts.get("open") for counts in models.values()]
    if not all(isinstance(number, int) for number in numbers):
        return None
    return Look("lab /lab/counts", sum(numbers))


def of_loaded(body: bytes) -> Look | None:
    """Ollama: a model that is not in memory is not working; of one that is nothing can be said."""
    listed = _json(body)
    models = listed.get("models") if isinstance(listed, dict) else None
    if not isinstance(models, list) or STANDS_IN in listed:
        return None
    return Look("Ollama /api/ps", None if models else 0)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


WAYS: Mapping[str, Callable[[bytes], Look | None]] = {
    SLOTS: of_slots,
    METRICS: of_metrics,
    COUNTS: of_counts,
    LOADED: of_loaded,
}
"""In the order in which they are tried. The lab, which plays Ollama too, comes before that."""


class NotNow(Exception):
    """The server is there and did not answer this time."""


class Eyes:
    """Looks at one server, in the way that works there."""

    def __init__(self, base: str, headers: Mapping[str, str] | None = None) -> None:
        self._base = VERSIONED.sub("", base.rstrip("/"))
        self._headers = headers
        self._path: str | None = None
        """The way that works; empty where none does, None where that is not known."""
        self._until = 0.0

    def shows(self, headers: Mapping[str, str]) -> None:
        """With another key the server may answer where it did not before."""
        if headers != (self._headers or {}):
            self._headers, self._path = headers, None

    async def look(self, now: float) -> Look | None:
        """What the server works on; None where it did not answer this time, NO_WAY where it cannot be asked."""
        if self._path is not None and now >= self._until:
            self._path = None
        try:
            if self._path is None:
                return await self._find(now)
            look = await self._ask(self._path) if self._path else NO_WAY
        except ConnectFailed:
            self._path = None
            return NO_WAY
        except NotNow:
            return None
        if look is None:
            self._path = None
        return look

    async def _find(self, now: float) -> Look:
        """Try each way once."""
        found, look = "", None
        for path in WAYS:
            look = await self._ask(path)
            if look is not None:
                found = path
                break
        self._path, self._until = found, now + MEMORY
        return look or NO_WAY

    async def _ask(self, path: str) -> Look | None:
        """One look in this way; None where the answer is not of that kind."""
        look = WAYS[path](await self._get(path))
        if look is not None and look.waiting is None and path == SLOTS:
            queue = of_metrics(await self._get(METRICS))
            if queue is not None:
                return replace(look, busy=queue.busy, waiting=queue.waiting)
        return look

    async def _get(self, path: str) -> bytes:
        """The body of a good answer, or nothing."""
        try:
            async with (
                asyncio.timeout(PATIENCE),
                request("GET", self._base + path, headers=self._headers, connect_timeout=CONNECT) as answer,
            ):
                if answer.status in NOT_NOW:
                    raise NotNow
                return await answer.read(LIST_LIMIT) if answer.status == OK else b""
        except TimeoutError as late:
            raise NotNow from late
        except ConnectFailed:
            raise
        except HTTPError:
            return b""
