"""Who runs workflows, as the gateway knows him. Without one, there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol


class Order(NamedTuple):
    """A run that somebody asks for."""

    flow: str
    inputs: Mapping[str, Any]
    total: float | None = None
    models: Mapping[str, str] = {}
    changes: Mapping[str, str] = {}


class Flows(Protocol):
    """Runs the flows of a folder, each run on its own, whoever waits for it."""

    on_event: Callable[[Mapping[str, Any]], object]
    """Told what happens in his runs, in the loop that he runs in: `type`, `payload`, `run`, `flow`, `at`, ..."""

    def flows(self) -> list[dict[str, Any]]:
        """Those that can be run: `name`, `inputs`, `steps`, or `trouble`. Blocks."""

    async def begin(self, order: Order, run: str) -> None:
        """Begin it under this id, at once or in its turn, and return when it cannot be lost.

        Raises LookupError for a flow that is not there, SettingsError for what cannot be meant, ConnectionError where
        it cannot be kept.
        """

    def shown(self) -> list[dict[str, Any]]:
        """His runs, as they stand, and the last that have ended, the newest first; `began`, ... since the epoch.

        `status` is `waiting` until their turn comes, `running`, or how they ended.
        """

    def one(self, run: str) -> dict[str, Any] | None:
        """One of them, with its `steps`."""

    async def cancel(self, run: str) -> bool:
        """End it; when this returns it has ended, or soon will. False where nothing of this name runs."""
