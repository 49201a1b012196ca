"""First tokens through the gateway and past it, in turns, while other streams keep it busy."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from benchmarks.gateway.load import Connection, Load, Seen, connect, driven, note, run, watched
from benchmarks.gateway.processes import Peer
from benchmarks.gateway.said import Ask, Script

PROBE = Ask(Script(tokens=3, gap=0.02))
EACH = 0.01
"""Seconds between two probes. They come when it is time, whether the one before is through or not."""
PROBES = 1200
SETTLED = 2.5
"""Seconds until all other streams have begun."""
BUSY_FOR = 9
"""How often each of the others asks: about two seconds each, so that they outlast the probes."""


class Found(NamedTuple):
    """The others, and the milliseconds until the first token: direct, and through the gateway."""

    load: Seen
    direct: list[float]
    ours: list[float]


class Line:
    """Connections to one port, kept for the next probe."""

    def __init__(self, port: int) -> None:
        self.request, self.port = PROBE.wire(port), port
        self.free: list[Connection] = []
        self.seen = Seen([], [], [])

    async def probe(self) -> None:
        while self.free and self.free[-1].transport.is_closing():
            self.free.pop()
        try:
            connection = self.free.pop() if self.free else await connect(self.port)
            note(PROBE, await connection.ask(self.request), self.seen)
        except (OSError, ValueError) as error:
            self.seen.lost.append(str(error))
            return
        if not connection.transport.is_closing():
            self.free.append(connection)


async def probes(lines: tuple[Line, ...]) -> None:
    await asyncio.sleep(SETTLED)
    under_way = []
    for number in range(PROBES):
        under_way.append(asyncio.ensure_future(lines[number % len(lines)].probe()))
        await asyncio.sleep(EACH)
    await asyncio.gather(*under_way)


def added_by(gateway: Peer, upstream: Peer, busy: Ask, streams: int) -> Found:
    """Both kinds in the same seconds, so that what the machine does meanwhile is the same for both."""

    async def work() -> Found:
        direct, ours = Line(upstream.port), Line(gateway.port)
        seen = Seen([], [], [])
        load = Load((busy,), streams, BUSY_FOR, spread=SETTLED - 0.5)
        asking = asyncio.ensure_future(probes((direct, ours)))
        seen = await watched(gateway, driven(gateway.port, load, seen), seen)
        await asking
        for line in (direct, ours):
            seen.lost.extend(line.seen.lost)
            seen.wrong.extend(line.seen.wrong)
        return Found(seen, direct.seen.firsts(), ours.seen.firsts())

    return run(work)
