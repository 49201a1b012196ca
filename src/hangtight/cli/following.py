"""How a run of a workflow is followed: as a tree that is drawn anew, in words, or as lines of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from hangtight.cli.printing import cut, has_colours, line_of, live_width, put_lines
from hangtight.cli.process import STDOUT, Writer, say
from hangtight.cli.trees import Tree
from hangtight.drivers import clock
from hangtight.flows.events import Event, EventType, plain

if TYPE_CHECKING:
    from hangtight.flows.definition.steps import Flow

DRAW_EVERY = 0.2  # seconds
LAST_WORDS = 5.0  # for whoever reads our stdout
LAST_EVENT = 2.0  # seconds in which what was told comes here: another thread brings it


class Face:
    """Hears the events of runs, in whatever thread they come. This one shows nothing."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()

    def hear(self, event: Event) -> None:
        """Called for each; returns at once."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and nobody looks any more
                self._loop.call_soon_threadsafe(self._take, event)

    def waits(self, run: str, why: str, before: Iterable[Event]) -> None:
        """Another process does it. `before` was told there until now: it is drawn, and not said again."""
        say(f"hangtight: run {run} is {why}\n")

    @asynccontextmanager
    async def following(self, *, ends: bool = True) -> AsyncIterator[None]:
        """`ends`: one run is followed, to its last event."""
        self._loop = asyncio.get_running_loop()
        showing = asyncio.ensure_future(self._show())
        try:
            yield
            if ends:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_EVENT):
                        await self._over.wait()
        finally:
            showing.cancel()
            await asyncio.wait({showing})
            await self._last()

    def _take(self, event: Event) -> None:
        if event.type is EventType.RUN_FINISHED:
            self._over.set()

    async def _show(self) -> None:
        """While it runs."""

    async def _last(self) -> None:
        """It is over."""


class Lines(Face):
    """Each event as a line of JSON. Who does not read holds up nothing but the lines."""

    def __init__(self) -> None:
        super().__init__()
        self._writer = Writer(STDOUT)

    def _take(self, event: Event) -> None:
        self._writer.write((json.dumps(plain(event), default=str) + "\n").encode())
        super()._take(event)

    async def _last(self) -> None:
        await self._writer.flush(LAST_WORDS)


class Words(Face):
    """Each event in a line for people, but for progress: for terminals that cannot be drawn on, and for workers."""

    def _take(self, event: Event) -> None:
        if event.type is not EventType.PROGRESS:
            put_lines([line_of(in_words(event))])
        super()._take(event)


class Drawn(Face):
    """The tree of one run, drawn anew while it runs; the last one stays."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self._tree = Tree(flow)
        self._waits = ""

    def waits(self, run: str, why: str, before: Iterable[Event]) -> None:
        self._waits = why
        for event in before:
            self._tree.hear(event)

    def _take(self, event: Event) -> None:
        self._tree.hear(event)
        if event.type in (EventType.RUN_RESUMED, EventType.RUN_FINISHED):
            self._waits = ""
        super()._take(event)

    async def _show(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        with Live(console=Console(), auto_refresh=False, vertical_overflow="crop") as live:
            try:
                while True:
                    live.update(Text.from_ansi(self._text(), no_wrap=True), refresh=True)
                    await asyncio.sleep(DRAW_EVERY)
            finally:
                live.update(Text.from_ansi(self._text(), no_wrap=True), refresh=True)

    def _text(self) -> str:
        lines = self._tree.lines(clock.wall(), room=live_width(), colours=has_colours())
        return "\n".join([*lines, cut(self._waits, live_width())] if self._waits else lines)


def in_words(event: Event) -> str:
    """One event on one line."""
    told = event.told
    about = [event.run, event.step or event.flow, event.type.value.replace("_", " ")]
    if isinstance(outcome := told.get("outcome"), str):
        about[-1] = outcome
    if event.type is EventType.HEARTBEAT:
        about.pop()
    words = event.payload.partition("\n")[0]
    elapsed = told.get("elapsed")
    took = f"after {elapsed:.1f} s" if isinstance(elapsed, int | float) and not words else ""
    return "  ".join(filter(None, [*about, words or took]))


def face_for(flow: Flow | None, *, as_json: bool) -> Face:
    """The face for where stdout goes; without a flow, for many runs."""
    if as_json or not sys.stdout.isatty():
        return Lines()
    if flow is None or os.environ.get("TERM") == "dumb":
        return Words()
    return Drawn(flow)
