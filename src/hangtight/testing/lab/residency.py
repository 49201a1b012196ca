"""Which models are in memory. One load serves all who wait for it, and outlives each of them."""

from __future__ import annotations

import asyncio

from hangtight.testing.lab.pause import Schedule


class Residency:
    """The models that are loaded or being loaded, by name."""

    def __init__(self) -> None:
        self._loads: dict[str, asyncio.Task[None]] = {}

    def resident(self) -> list[str]:
        return [model for model, load in self._loads.items() if load.done()]

    def is_loading(self, model: str) -> bool:
        return model in self._loads and not self._loads[model].done()

    def begin(self, model: str, seconds: float) -> bool:
        """See to it that the model is loaded or being loaded; True where it is there already."""
        if model not in self._loads:
            self._loads[model] = asyncio.create_task(_load(seconds), name=f"load of {model}")
        return self._loads[model].done()

    async def loaded(self, model: str, seconds: float) -> float:
        """Wait until the model is there; returns how long that took. Leaving does not stop the load."""
        waited = Schedule()
        if not self.begin(model, seconds):
            await asyncio.shield(self._loads[model])
        return waited.elapsed if seconds else 0.0

    def forget(self) -> None:
        """Take every model out of memory, and end the loads that are running."""
        for load in self._loads.values():
            load.cancel()
        self._loads.clear()


async def _load(seconds: float) -> None:
    if seconds:
        await Schedule().wait(seconds)
