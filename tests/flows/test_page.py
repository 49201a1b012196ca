"""The page about flows and its examples: each flow on it can be read, and each example runs against the lab."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hangtight.flows import Engine, EventType, load
from hangtight.flows.definition.checks import OF_A_STEP
from hangtight.flows.definition.reading import KINDS, OF_STEPS
from hangtight.testing.lab import Lab
from tests.flows.kit import problems_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "flows.md").read_text(encoding="utf-8")
FLOWS = ROOT / "examples" / "flows"
FILES = re.findall(r"^```yml\n(?=# (\S+)\n)(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_each_flow_on_the_page_can_be_read(tmp_path: Path) -> None:
    assert FILES
    for name, text in FILES:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        assert load(path).steps


def test_the_page_knows_every_key_of_a_step_and_every_event() -> None:
    assert {"generate", "tool", "python", "timeout", "output"} < set(OF_STEPS)
    assert [key for key in (*OF_STEPS, *KINDS) if f"`{key}`" not in PAGE and f"`{key}:" not in PAGE] == []
    assert [kind for kind in EventType if f"`{kind}`" not in PAGE] == []
    assert len(OF_A_STEP) == 17, "a new setting of a step belongs on the page"


def test_the_errors_on_the_page_are_those_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ((name, text),) = FILES
    wrong = text.replace("${planner}", "${planer}").replace("1800", "0")
    Path(name).write_text(wrong, encoding="utf-8")
    told = "\n".join(map(str, problems_of(Path(name))))
    assert f"```text\n{told}\n```" in PAGE


@pytest.mark.real
def test_the_quarkus_flow_runs_to_its_end_against_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab() as lab, Engine(tmp_path) as engine:
        monkeypatch.setenv("OLLAMA_HOST", lab.url)
        result = engine.run(FLOWS / "quarkus.yaml", idea="a list of books")
    assert (result.outcome, result.error) == ("finished", "")
    assert (tmp_path / "plan.md").read_text(encoding="utf-8") == result.outputs["planner"]
    assert (tmp_path / "application.md").read_text(encoding="utf-8") == result.outputs["coder"]


EXAMPLES = ["review.py"]


def test_every_example_is_run_here() -> None:
    assert [path.name for path in FLOWS.glob("*.py")] == EXAMPLES


@pytest.mark.real
def test_a_flow_in_python_runs_as_its_first_lines_say() -> None:
    ended = subprocess.run(
        [sys.executable, str(FLOWS / "review.py")], capture_output=True, text=True, check=False, env=os.environ
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    shown = ended.stdout.splitlines()
    assert any(line.startswith("Still waiting on qwen3:1.7b") for line in shown)
    assert shown[-1] == "finished: {'idea': 'a list of books', 'style': 'short', 'words': 12, 'counted': 12}"


def test_the_flow_of_the_example_is_found_by_the_name_on_its_first_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert list(load(f"{FLOWS / 'review.py'}:flow").steps) == ["plan", "outline", "write", "count", "report"]
    monkeypatch.delitem(sys.modules, "review")
