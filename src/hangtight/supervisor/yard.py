"""What the model servers of a fleet share, as each of them sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from hangtight.core.process.orders import Level
from hangtight.core.time import Instant

if TYPE_CHECKING:
    from hangtight.supervisor.guarding import Guard
    from hangtight.supervisor.orphans import Leftover
    from hangtight.supervisor.server import ModelServer


class Yard(Protocol):
    """What all servers of a fleet share."""

    loop: asyncio.AbstractEventLoop
    guard: Guard | None

    def now(self) -> Instant: ...

    def say(self, model: str, level: Level, words: str) -> None:
        """A line for the log."""

    def printed(self, model: str, data: bytes) -> None:
        """What its processes say."""

    def progress(self, model: str) -> Instant | None:
        """When a token last came from it, to anybody."""

    def runs_now(self, process: Leftover) -> None:
        """It is to be found after a crash of ours."""

    def is_gone(self, pid: int) -> None: ...

    def changed(self, server: ModelServer) -> None:
        """Something happened to it."""

    def answered(self, server: ModelServer) -> None:
        """Who waited for it has been let in, or sent away."""
