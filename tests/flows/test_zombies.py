"""A process that is stopped, loses its run to another one, and wakes up: what the other has done stays as it is."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hangtight.flows.durable.store import Durable
from tests.flows.lives import end, soon

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]  # processes that each load all of SQLAlchemy
STEPS = """
import asyncio, os
from pathlib import Path

async def slow(workspace, takes):
    (Path(workspace) / f"begun-{os.getpid()}").touch()
    while not (Path(workspace) / "open").exists():
        await asyncio.sleep(0.02)
    return f"by {os.getpid()}"
"""
LIFE = """
import asyncio, json, os, sys
from hangtight.flows import Engine
from hangtight.flows.durable.store import Durable
from hangtight.flows.events import plain

folder = sys.argv[1]

def hear(event):
    with open(f"{folder}/told-{os.getpid()}", "a") as file:
        file.write(json.dumps(plain(event)) + "\\n")

async def main():
    store = Durable(f"{folder}/runs.db", beat=0.2, lost=1.0)
    async with Engine(f"{folder}/work", on_event=hear, store=store) as engine:
        result = await engine.arun(f"{folder}/flow.yaml", run_id="r1", takes="long")
        print(json.dumps({"outcome": result.outcome, "outputs": dict(result.outputs)}), flush=True)

asyncio.run(main())
"""
FLOW = """
steps:
  slow:
    python: steps.py:slow
    timeout: {timeout}
  after:
    tool: "echo after ${{slow}}"
"""


def a_life(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", LIFE, str(folder)], stdout=subprocess.PIPE, text=True)


def told(folder: Path, process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    path = folder / f"told-{process.pid}"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def begun(folder: Path, process: subprocess.Popen[str]) -> bool:
    return (folder / "work" / f"begun-{process.pid}").exists()


def outputs(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "work").iterdir() if path.is_file()}


@pytest.mark.parametrize("timeout", [3, 600], ids=["its time is over, too", "it could go on"])
def test_who_wakes_up_behind_another_one_tells_no_end_and_leaves_the_files_alone(tmp_path: Path, timeout: int) -> None:
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "flow.yaml").write_text(FLOW.format(timeout=timeout))
    first = a_life(tmp_path)
    second = None
    try:
        assert soon(lambda: begun(tmp_path, first), 40)
        first.send_signal(signal.SIGSTOP)
        second = a_life(tmp_path)
        assert soon(lambda: begun(tmp_path, second), 40)
        (tmp_path / "work" / "open").touch()
        done = json.loads(second.communicate(timeout=40)[0])
        files = outputs(tmp_path)
        before = len(told(tmp_path, first))
        first.send_signal(signal.SIGCONT)
        seen = json.loads(first.communicate(timeout=40)[0])
    finally:
        end(*(each for each in (first, second) if each is not None))
    assert done == seen, "the one who has slept sees what the other has done"
    assert done["outcome"] == "finished"
    assert done["outputs"]["slow"] == f"by {second.pid}"
    assert outputs(tmp_path) == files
    assert [each for each in told(tmp_path, first)[before:] if each["type"] in ("run_finished", "step_finished")] == []
    assert files["slow.txt"] == f"by {second.pid}"


def test_who_was_killed_on_this_machine_is_not_waited_for_and_not_shown_as_running(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "flow.yaml").write_text(FLOW.format(timeout=600))
    first = a_life(tmp_path)
    second = None

    async def standing() -> str:
        store = Durable(str(tmp_path / "runs.db"))
        try:
            known = await store.show("r1")
            listed = await store.list_runs()
        finally:
            await store.close()
        assert known is not None
        assert [each.status for each in listed] == [known.status]
        return known.status

    try:
        assert soon(lambda: begun(tmp_path, first), 40)
        assert asyncio.run(standing()) == "running"
        first.kill()
        first.wait()
        assert asyncio.run(standing()) == "interrupted"
        (tmp_path / "work" / "open").touch()
        at = time.monotonic()
        second = a_life(tmp_path)
        assert soon(lambda: begun(tmp_path, second), 40)
        print(f"taken up {time.monotonic() - at:.1f} s after it was asked for")
        assert json.loads(second.communicate(timeout=40)[0])["outcome"] == "finished"
    finally:
        end(*(each for each in (first, second) if each is not None))


def test_who_is_told_to_end_says_that_the_run_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "flow.yaml").write_text(FLOW.format(timeout=600))
    first = a_life(tmp_path)
    try:
        assert soon(lambda: begun(tmp_path, first), 40)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=40)
        ends = [each for each in told(tmp_path, first) if each["type"] in ("run_finished", "step_finished")]
        assert [(each["type"], each["outcome"]) for each in ends] == [
            ("step_finished", "interrupted"),
            ("run_finished", "interrupted"),
        ]
    finally:
        end(first)
