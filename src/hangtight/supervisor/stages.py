"""How far a llama.cpp server in router mode says that its loads are: the stages of `/models/sse`.

Each event names a model; its `data.progress` has the stages of the load, the current one, and how far that is, from 0
to 1. Older versions name one `stage`. A download says how many bytes there are of each file. Any of these that is new,
or higher than before, is progress. A server with one model has no such path, and is not asked twice.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hangtight.dialects.sse import Event, EventTooLarge, SSEDecoder
from hangtight.drivers import http11

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PATH = "/models/sse"
EVERY = 1.0
"""Seconds until it is asked, and asked again while nobody is there: a load that ends before is not worth a request."""
CONNECT = 5.0
LOADING = 503  # said on every path by a llama.cpp server with one model, which answers 404 later
OK = 200
DEEPEST = 4  # levels of what an event says

Mark = tuple[str, ...]


class Stages:
    """What has been told of the loads of one server."""

    def __init__(self) -> None:
        self._furthest: dict[Mark, float] = {}

    def told(self, event: Any) -> bool:
        """Whether this shows progress."""
        data = event.get("data") if isinstance(event, dict) else None
        progress = data.get("progress") if isinstance(data, dict) else None
        if not isinstance(progress, dict):
            return False
        stage = (str(event.get("model")), str(progress.get("current") or progress.get("stage") or ""))
        further = False
        for mark, value in ((stage, 0.0), *_numbers(progress, stage, DEEPEST)):
            if value > self._furthest.get(mark, -1.0):
                self._furthest[mark] = value
                further = True
        return further


def _numbers(said: Mapping[str, Any], path: Mark, levels: int) -> Iterator[tuple[Mark, float]]:
    for key, value in said.items():
        if isinstance(value, int | float):
            with suppress(OverflowError):  # a whole number of JSON may have a thousand digits
                yield (*path, key), float(value)
        elif isinstance(value, dict) and levels:
            yield from _numbers(value, (*path, key), levels - 1)


async def follow(
    base: str, on_progress: Callable[[], object], *, headers: Mapping[str, str] | None = None, every: float = EVERY
) -> None:
    """Listen until the server has no such path; where it has one, without end."""
    stages, may_have_it = Stages(), True
    while may_have_it:
        await asyncio.sleep(every)
        may_have_it = await _listen(base.rstrip("/") + PATH, stages, on_progress, headers)


async def _listen(
    url: str, stages: Stages, on_progress: Callable[[], object], headers: Mapping[str, str] | None
) -> bool:
    """To the end of one stream. Whether there may be another one."""
    events = SSEDecoder()
    try:
        async with http11.request("GET", url, headers=headers, connect_timeout=CONNECT) as response:
            if response.status != OK or "text/event-stream" not in response.headers.get("content-type", ""):
                return response.status == LOADING
            async for piece in response:
                for item in events.feed(piece):
                    if isinstance(item, Event) and stages.told(_read(item.data)):
                        on_progress()
    except (OSError, EventTooLarge):
        return True
    return True


def _read(data: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
