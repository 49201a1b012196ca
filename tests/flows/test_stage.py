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


class InNoHurry(InMemory):
    """The record of the end takes longer than the news of it."""

    async def run(self, spec: RunSpec, body: Body) -> Ended:
        ended = await super().run(spec, body)
        await asyncio.sleep(0.3)
        return ended


def test_who_hears_that_a_run_has_ended_finds_its_end(tmp_path: Path) -> None:
    (tmp_path / "nap.yaml").write_text("steps: {nap: {tool: echo hello}}\n")
    found: list[Any] = []

    async def main() -> None:
        stage = Stage(tmp_path, tmp_path / "runs", InNoHurry())
        over = asyncio.Event()

        def heard(told: Any) -> None:
            if told["type"] == "run_finished":
                found.append(shown(stage))
                over.set()

        stage.on_event = heard
        await stage.begin(Order("nap", {}), "r1")
        await over.wait()
        await stage.close()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert found[0]["outcome"] == "finished"
    assert found[0]["ended"] - found[0]["began"] > 0
    assert found[0]["elapsed"] is not None
