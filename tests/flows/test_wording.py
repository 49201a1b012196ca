"""The line to change is true when it is typed: where the run, the flow or the step was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hangtight.flows import Engine, Flow, generate
from hangtight.flows.definition.steps import Kind, Step
from hangtight.flows.run.wording import COMMAND, HTTP, PYTHON
from tests.flows.kit import Written, written
from tests.flows.models import CODER, FOREVER, ran

__all__ = ["written"]
SILENT = {CODER: ["a", FOREVER]}
PLAIN = Flow("f", [generate("code", "x", model=CODER)])


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def of(flow: Any, words: Any = None, **given: Any) -> str:
        if words is not None:
            monkeypatch.setattr("hangtight.flows.engine.PYTHON", words)
        error = ran(monkeypatch, tmp_path, flow, SILENT, **given).result.error
        return next(row for row in error.splitlines() if row.startswith("to wait longer:")).partition("   ")[0][17:]

    return of


@pytest.mark.parametrize(
    ("words", "total", "change"),
    [
        (COMMAND, "--total 40", "--set total=40"),
        (PYTHON, "total=40", 'changes: "total": 40'),
        (HTTP, "?total=40", "?set=total=40"),
    ],
)
def test_a_total_is_longer_where_it_was_given(line: Any, words: Any, total: str, change: str) -> None:
    assert line(PLAIN, words, total=20) == total
    assert line(PLAIN, words, changes={"total": 20}) == change


def test_a_total_of_a_file_is_told_with_its_line_and_one_in_python_is_not_yaml(line: Any, written: Written) -> None:
    path = written(f"flow: f\ntotal: 20\nsteps:\n  code: {{generate: x, model: '{CODER}'}}\n", "a{b}.yaml")
    assert line(path).startswith("total: 40  at a{b}.yaml:2")
    assert line(PLAIN.changed(total=20)) == "Flow(total=40)"


def test_a_timeout_is_longer_where_the_step_was_written(line: Any, written: Written) -> None:
    path = written(f"steps:\n  code: {{generate: x, model: '{CODER}', timeout: 9}}\n")
    assert line(path) == "timeout: 18  for step code"
    assert line(path, COMMAND, changes={"code.total": 8}) == "--set code.total=16"
    assert line(Flow("f", [generate("code", "x", model=CODER, timeout=9)])) == "timeout=18  for step code"
    assert line(Flow("{f}", [generate("code", "x", model=CODER)], timeout=9)) == "Flow(timeout=18)"


def test_a_silence_may_be_longer_where_the_step_was_written(line: Any, written: Written) -> None:
    path = written(f"steps:\n  code: {{generate: x, model: '{CODER}'}}\n")
    assert line(path) == "idle: 90  for step code"
    assert line(path, COMMAND, changes={"code.idle": 8}) == "--set code.idle=16"
    assert line(PLAIN) == "idle=90  for step code"


def test_the_engine_tells_the_heartbeat_and_the_timeout_that_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (Engine(tmp_path).heartbeat, Engine(tmp_path).timeout) == (15, 300)
    monkeypatch.setenv("OLLAMA_HEARTBEAT_INTERVAL", "7")
    assert Engine(tmp_path).heartbeat == 7
    assert Engine(tmp_path, heartbeat=None).heartbeat is None


def test_a_command_that_is_late_tells_the_same_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def sleeps() -> None:
        import asyncio

        await asyncio.sleep(FOREVER)

    flow = Flow("f", [Step("nap", Kind.PYTHON, function=sleeps, timeout=2)])
    assert "timeout=4  for step nap" in ran(monkeypatch, tmp_path, flow).result.error
    assert "--set nap.total=6" in ran_by_command(monkeypatch, tmp_path, flow).result.error


def ran_by_command(monkeypatch: pytest.MonkeyPatch, folder: Path, flow: Flow) -> Any:
    monkeypatch.setattr("hangtight.flows.engine.PYTHON", COMMAND)
    return ran(monkeypatch, folder, flow, changes={"nap.total": 3})
