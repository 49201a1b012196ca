"""Runs as they are shown over HTTP: never as over before their steps are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hangtight.flows.http_runs import Stage
from hangtight.flows.port import Body, Ended, InMemory, RunSpec
from hangtight.gateway.flows_port import Order


class InAHurry(InMemory):
    """Tells the end of a run when it is in the record, as a database does, and its body still ends its steps."""

    async def run(self, spec: RunSpec, body: Body) -> Ended:
        task = self._tasks[spec.id]
        while not task.cancelling():  # noqa: ASYNC110
            await asyncio.sleep(0)
        return Ended("cancelled")


def test_a_run_that_was_cancelled_is_over_when_its_steps_are(tmp_path: Path) -> None:
    (tmp_path / "nap.yaml").write_text("steps: {nap: {tool: sleep 30}}\n")

    async def main() -> None:
        stage = Stage(tmp_path, tmp_path / "runs", InAHurry())
        await stage.begin(Order("nap", {}), "r1")
        while not any(step["began"] for step in shown(stage)["steps"]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert await stage.cancel("r1")
        while shown(stage)["outcome"] is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert shown(stage)["steps"][0]["outcome"] == "cancelled"
        await stage.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def shown(stage: Stage) -> Any:
    told = stage.one("r1")
    assert told is not None
    return told
