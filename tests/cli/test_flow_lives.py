"""Runs that have several lives, or are done elsewhere: what `hangtight flow show`, `resume` and `worker` tell."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hangtight.cli.runlines import told_about
from hangtight.journal.run_reading import Run, RunEvent, RunStep, ToldRun
from tests.cli.kit import SOURCES
from tests.cli.test_flow import FLOW, events, flow, folder, run, running
from tests.flows.databases import postgres
from tests.journal.postgres import Postgres

__all__ = ["folder", "postgres"]
HALF = 2


def noted(at: float, kind: str, step: str = "", **told: Any) -> RunEvent:
    return RunEvent(at=at, kind=kind, step=step, payload=str(told.pop("payload", "")), told=told)


def a_step(name: str, began: float, ended: float) -> RunStep:
    return RunStep(
        step=name, began=began, ended=ended, elapsed=ended - began, timeout=60.0, outcome="finished", attempts=1,
        model="", tokens=0, broken_limit="", error="",
    )  # fmt: skip


KILLED = ToldRun(
    Run(
        id="7f3a", flow="notes", source="", workspace="", began=0.0, deadline=None, ended=48.0, elapsed=48.0,
        outcome="finished", at_step="", error="", steps=("plan", "write"),
    ),
    (a_step("plan", 0.0, 4.0), a_step("write", 24.0, 48.0)),
    (
        noted(0, "run_started"),
        noted(0, "step_started", "plan"),
        noted(4, "step_finished", "plan", outcome="finished", elapsed=4.0),
        noted(4, "step_started", "write"),
        noted(6, "retried", "write", attempt=1),
        noted(10, "LLM_HEARTBEAT", "write", payload="Still waiting on qwen3... 6s elapsed"),
        noted(24, "run_resumed"),
        noted(24, "step_finished", "plan", outcome="finished", recorded=True, elapsed=0.0),
        noted(24, "step_started", "write"),
        noted(48, "step_finished", "write", outcome="finished", elapsed=24.0),
        noted(48, "run_finished", outcome="finished", elapsed=48.0),
    ),
)  # fmt: skip


def test_a_run_that_went_on_still_shows_its_first_life() -> None:
    about = {"id": "7f3a", "flow": "notes", "began": 0.0, "outcome": "finished", "elapsed": 48.0}
    shown = list(told_about(about, KILLED, room=100, colours=False))
    write = next(line for line in shown if line.startswith("write "))
    assert "  ╌╌╌╸      ━━━━━━━━━━━━" in write
    assert write.split()[-1] == "3", "two attempts before, and one now"
    at = shown.index("+10.0s    write  interrupted: the last that was heard before the run went on")
    assert "Still waiting" in shown[at - 1]
    assert shown[at + 1 : at + 3] == ["+24.0s    run resumed", "+24.0s    plan  finished  in a life before"]


def held(folder: Path) -> None:
    """Its second step goes on until somebody says so."""
    waits = 'wait: {tool: [sh, -c, "until test -e ../go; do sleep 0.1; done", "${input.long}"], after: [hello]}'
    (folder / "notes.yaml").write_text(re.sub("wait: .*", waits, FLOW))


def resumed(folder: Path, key: str, **more: str) -> subprocess.CompletedProcess[str]:
    """By another process, which waits for the end of the run before its second step may end."""
    environment = {**os.environ, "PYTHONPATH": SOURCES, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    del environment["HANGTIGHT_JOURNAL"]
    with subprocess.Popen(
        [sys.executable, "-m", "hangtight", "flow", "resume", key],
        cwd=folder, env=environment | more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = next((line for line in process.stderr if "done by another process" in line), "")
        (folder / "go").touch()
        out, rest = process.communicate(timeout=50)
    return subprocess.CompletedProcess(process.args, process.returncode, out, said + rest)


@pytest.mark.real
def test_who_resumes_a_run_that_another_process_does_is_told_so_and_hears_it(folder: Path) -> None:
    held(folder)
    with running(folder) as (process, key):
        ended = resumed(folder, key)
        process.communicate(timeout=30)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("done by another process") == 1
    told = events(ended.stdout)
    kinds = [(each["type"], each.get("step")) for each in told]
    assert kinds.count(("step_finished", "wait")) == 1
    assert kinds[-1] == ("run_finished", None)
    assert (told[-1]["run"], told[-1]["outcome"]) == (key, "finished")


@pytest.mark.real
def test_who_resumes_it_without_a_journal_still_hears_its_end(folder: Path) -> None:
    held(folder)
    with running(folder) as (process, key):
        ended = resumed(folder, key, HANGTIGHT_JOURNAL="off")
        process.communicate(timeout=30)
    assert ended.returncode == 0, ended.stderr
    assert [(each["type"], each["outcome"]) for each in events(ended.stdout)] == [("run_finished", "finished")]


@pytest.mark.real
def test_a_run_that_failed_says_why_and_a_database_lists_its_own(folder: Path) -> None:
    run(folder, long="0.1")
    (folder / "bad.yaml").write_text("steps: {bad: {tool: [sh, -c, 'echo no such book >&2; exit 3']}}")
    failed = flow(folder, "run", "bad.yaml", "--url", "other.db")
    key = events(failed.stdout)[0]["run"]
    assert f"hangtight flow show {key} --url other.db" in failed.stderr
    shown = flow(folder, "show", key, "--url", "other.db").stdout
    assert "exit code 3" in shown[shown.index("why it ended:") :]
    assert f"hangtight flow resume {key} --url other.db" in shown
    assert list(listed(folder, "other.db")) == [key]
    assert len(json.loads(flow(folder, "ls", "--json").stdout)) == 2


@pytest.mark.real
def test_an_input_that_is_missing_is_asked_for_in_words_to_type(folder: Path) -> None:
    ended = flow(folder, "run", "notes.yaml", "-i", "who=me", "--url", "memory")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--input long=TEXT" in ended.stderr


def around(folder: Path) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": SOURCES, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    environment.pop("HANGTIGHT_JOURNAL", None)
    return environment


class AWorker:
    """`hangtight flow worker`, and what it tells."""

    def __init__(self, folder: Path, url: str) -> None:
        self.told: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hangtight", "flow", "worker", "--url", url],
            cwd=folder, env=around(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.told.extend(json.loads(line) for line in lines)

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        self.process.send_signal(how)
        code = self.process.wait(30)
        self._reading.join(10)
        return code


def listed(folder: Path, url: str) -> dict[str, str | None]:
    return {each["id"]: each["outcome"] for each in json.loads(flow(folder, "ls", "--json", "--url", url).stdout)}


def submitted(folder: Path, url: str, name: str) -> str:
    return run(folder, "--submit", "--url", url, "--workspace", name, long="6").stdout.strip()


def wait_for(worker: AWorker, kind: str, step: str) -> None:
    deadline = time.monotonic() + 40
    while not any(each["type"] == kind and each.get("step") == step for each in worker.told):
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


@pytest.mark.real
def test_two_workers_on_postgresql_and_one_is_killed_every_run_finishes_once(folder: Path, postgres: Postgres) -> None:
    url = postgres.new_database()
    keys = [submitted(folder, url, f"out{at}") for at in range(HALF)]
    assert listed(folder, url) == dict.fromkeys(keys)
    workers = [AWorker(folder, url)]
    try:
        wait_for(workers[0], "step_started", "wait")
        workers.append(AWorker(folder, url))
        keys.append(submitted(folder, url, f"out{HALF}"))
        workers[0].end()
        deadline = time.monotonic() + 80
        while set(listed(folder, url).values()) != {"finished"}:
            assert time.monotonic() < deadline, listed(folder, url)
        assert workers[1].end(signal.SIGTERM) == 0
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
    ends = [each["run"] for worker in workers for each in worker.told if each["type"] == "run_finished"]
    assert sorted(ends) == sorted(keys)
    assert any(each["type"] == "run_resumed" for each in workers[1].told)
    assert (folder / "byes").read_text().count("bye") == len(keys)
