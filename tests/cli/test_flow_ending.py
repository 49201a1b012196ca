"""Commands that did the work of steps which never end: they exit all the same, with the code of what happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.cli.kit import SOURCES, command

pytestmark = [pytest.mark.real, pytest.mark.slow]
SOON = 25  # seconds: five for what was left behind, and the rest for a machine that is busy
STEPS = """
import asyncio, concurrent.futures, threading

async def heedless():
    while True:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            pass

async def in_a_thread():
    await asyncio.to_thread(threading.Event().wait)

def in_a_pool():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(threading.Event().wait).result()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "flows").mkdir()
    return tmp_path


def flow_of(function: str, folder: Path) -> str:
    (folder / "stub.yaml").write_text(f'steps: {{d: {{python: "{folder}/steps.py:{function}", timeout: 1}}}}\n')
    return "stub.yaml"


def begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": SOURCES, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    environment.pop("HANGTIGHT_JOURNAL", None)
    return subprocess.Popen(
        [sys.executable, "-m", "hangtight", *words],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> int:
    try:
        process.communicate(timeout=SOON)
        return process.returncode
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("function", ["heedless", "in_a_thread", "in_a_pool"])
def test_a_run_exits_although_its_step_never_ends(folder: Path, function: str) -> None:
    process = begun(folder, "flow", "run", flow_of(function, folder), "--url", "memory")
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(json.loads(line)["type"])
        if said[-1] == "run_finished":
            break
    assert ended(process) == 124


def test_a_run_that_is_kept_exits_too_and_can_be_resumed_and_then_that_exits(folder: Path) -> None:
    process = begun(folder, "flow", "run", flow_of("heedless", folder))
    assert process.stdout is not None
    run = json.loads(process.stdout.readline())["run"]
    assert ended(process) == 124
    assert ended(begun(folder, "flow", "resume", run)) == 124


def test_a_worker_exits_with_zero_at_sigterm(folder: Path) -> None:
    flow = flow_of("heedless", folder)
    submitted = command(folder, "flow", "run", flow, "--submit", keeps=True)
    assert submitted.returncode == 0
    process = begun(folder, "flow", "worker", "--json")
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["type"] == "run_finished":
            break
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0


def test_a_gateway_exits_with_zero_at_sigterm(folder: Path) -> None:
    flow_of("heedless", folder)
    (folder / "stub.yaml").rename(folder / "flows/stub.yaml")
    (folder / "ours.yaml").write_text(f"flows: {folder}/flows\nmodels: {{m: {{proxy: http://127.0.0.1:9}}}}\n")
    process = begun(folder, "serve", "--port", "0", "--config", "ours.yaml")
    assert process.stderr is not None
    address = next(line for line in process.stderr if "serves at" in line).split()[3]
    asked = Request(f"{address}/hangtight/flows/stub", b"{}", {"Content-Type": "application/json"})
    with urlopen(asked, timeout=SOON) as answer:
        run = json.load(answer)["run"]
    for _ in range(1000):
        with urlopen(f"{address}/hangtight/runs/{run}", timeout=SOON) as answer:
            if json.load(answer)["status"] == "timeout":
                break
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
