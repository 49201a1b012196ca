"""`hangtight flow`: the real command with real steps; runs that are killed, cancelled, resumed and left to workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hangtight.cli.flowing import inputs_in
from hangtight.cli.runlines import told_about
from hangtight.cli.runs import lines
from hangtight.cli.trees import Tree
from hangtight.flows.definition.making import generate, tool
from hangtight.flows.definition.steps import Flow
from hangtight.flows.events import Event, EventType
from hangtight.testing.lab import Lab
from tests.cli.kit import EVIL, SOURCES, command, on_a_terminal, visible

FLOW = """
steps:
  hello: {tool: "echo hello ${input.who}"}
  wait: {tool: "sleep ${input.long}", after: [hello], timeout: 20}
  bye: {tool: [sh, -c, "echo bye >> ../byes; echo bye"], after: [wait]}
"""
MEMORY = ("--url", "memory")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes.yaml").write_text(FLOW)
    return tmp_path


def flow(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return command(folder, "flow", *words, keeps=True)


def run(folder: Path, *words: str, long: str = "0.1") -> subprocess.CompletedProcess[str]:
    return flow(folder, "run", "notes.yaml", "-i", "who=me", "-i", f"long={long}", "--workspace", "out", *words)


def events(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines()]


@contextmanager
def running(folder: Path, *words: str, long: str = "30") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run that is in its second step, and its id."""
    environment = {**os.environ, "PYTHONPATH": SOURCES, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    del environment["HANGTIGHT_JOURNAL"]
    words = ("flow", "run", "notes.yaml", "-i", "who=me", "-i", f"long={long}", "--workspace", "out", *words)
    with subprocess.Popen(
        [sys.executable, "-m", "hangtight", *words],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                told = json.loads(line)
                if told["type"] == "step_started" and told["step"] == "wait":
                    break
            yield process, told["run"]
        finally:
            process.kill()


# -- run --------------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_in_a_pipe_each_event_is_a_line_of_json(folder: Path) -> None:
    ended = run(folder, *MEMORY)
    assert (ended.returncode, ended.stderr) == (0, "")
    told = events(ended.stdout)
    assert [each["type"] for each in told] == [
        "run_started", *(["step_started", "step_finished"] * 3), "run_finished",
    ]  # fmt: skip
    assert told[-1]["outcome"] == "finished"
    assert {each["run"] for each in told} == {told[0]["run"]}
    assert (folder / "out" / "hello.txt").read_text() == "hello me\n"


@pytest.mark.real
def test_on_a_terminal_it_is_a_tree_with_bars(folder: Path) -> None:
    words = ("flow", "run", "notes.yaml", "-i", "who=me", "-i", "long=0.3", "--workspace", "out", *MEMORY)
    code, shown = on_a_terminal(folder, *words, PYTHONIOENCODING="utf-8")
    assert code == 0
    last = shown.rstrip().split("\x1b[2K")[-1]
    assert "3 of 3 steps" in last
    assert last.endswith("what was put out is in out")
    assert "finished" in last
    assert "└─ hello" in last
    assert "of 20 s" in last
    assert "▸" in shown


@pytest.mark.real
@pytest.mark.parametrize(
    ("words", "code", "outcome"),
    [(("--set", "wait.total=0.5"), 124, "timeout"), (("--total", "0.7"), 124, "timeout"), ((), 1, "failed")],
)
def test_the_exit_code_says_how_it_ended(folder: Path, words: tuple[str, ...], code: int, outcome: str) -> None:
    ended = run(folder, *MEMORY, *words, long="20" if words else "nonsense")
    assert (ended.returncode, events(ended.stdout)[-1]["outcome"]) == (code, outcome)
    assert "flow show" in ended.stderr


@pytest.mark.real
def test_ctrl_c_cancels_it_and_what_came_is_kept(folder: Path) -> None:
    with running(folder, *MEMORY) as (process, _):
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 130
    assert events(out)[-1]["outcome"] == "cancelled"
    assert (folder / "out" / "hello.txt").exists()


@pytest.mark.real
@pytest.mark.parametrize(
    "words",
    [
        ("nowhere.yaml",),
        ("notes.yaml", "-i", "who=me"),  # one is missing
        ("notes.yaml", "-i", "who=me", "-i", "long=1", "-i", "short=1"),
        ("notes.yaml", "-i", "who"),
        ("notes.yaml", "-i", "who=@nowhere", "-i", "long=1"),
        ("notes.yaml", "--set", "wait.totl=3", "-i", "who=me", "-i", "long=1"),
        ("notes.yaml", "--model", "nobody=x", "-i", "who=me", "-i", "long=1"),
        ("notes.yaml", "--total", "-3"),
        ("notes.yaml", "--submit", "-i", "who=me", "-i", "long=1"),
    ],
)
def test_a_command_that_is_wrong_exits_with_2_and_runs_nothing(folder: Path, words: tuple[str, ...]) -> None:
    ended = flow(folder, "run", *words, "--workspace", "out", *MEMORY)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr
    assert not (folder / "out").exists()


@pytest.mark.real
def test_a_model_is_asked_and_heartbeats_are_told_and_journalled_to_the_byte(folder: Path) -> None:
    (folder / "ask.yaml").write_text("steps: {plan: {generate: 'Plan ${input.idea}', model: a}}")
    (folder / "idea.md").write_text("@ a list of books")
    model = "load=1.5,tokens=4,rate=8"
    with Lab() as lab:
        (folder / "hangtight.yaml").write_text(f"models: {{'*': {{proxy: {lab.url}}}}}")
        words = ("ask.yaml", "-i", "idea=@idea.md", "--model", f"plan={model}", "--heartbeat", "1", *MEMORY)
        ended = flow(folder, "run", *words)
    assert ended.returncode == 0, ended.stderr
    told = events(ended.stdout)
    beat = next(each for each in told if each["type"] == "LLM_HEARTBEAT")
    assert beat["payload"] == f"Still waiting on {model}... 1s elapsed"
    shown = flow(folder, "show", told[0]["run"])
    assert f"plan  heartbeat  {beat['payload']}" in shown.stdout
    kept = json.loads(flow(folder, "show", told[0]["run"], "--json").stdout)
    assert [each["payload"] for each in kept["events"] if each["kind"] == "LLM_HEARTBEAT"][:1] == [beat["payload"]]
    assert (kept["steps"][0]["model"], kept["steps"][0]["tokens"]) == (model, 4)


def test_inputs_are_texts_or_files(tmp_path: Path) -> None:
    path = tmp_path / "idea.md"
    path.write_text("a list\n")
    assert inputs_in(["a=b=c", f"f=@{path}", "m=@@home", "e="]) == {"a": "b=c", "f": "a list\n", "m": "@home", "e": ""}


# -- a run that is known ----------------------------------------------------------------------------------------------


@pytest.mark.real
def test_a_run_that_was_killed_goes_on_behind_the_steps_that_it_has_finished(folder: Path) -> None:
    with running(folder, "--total", "100", long="1") as (process, key):
        process.kill()
        process.wait(20)
    listed = json.loads(flow(folder, "ls", "--json").stdout)
    assert [(each["id"], each["outcome"]) for each in listed] == [(key, None)]
    ended = flow(folder, "resume", key[:8])
    assert ended.returncode == 0, ended.stderr
    told = events(ended.stdout)
    assert [each["step"] for each in told if each["type"] == "step_started"] == ["wait", "bye"]
    assert (folder / "byes").read_text() == "bye\n"
    shown = flow(folder, "show", key).stdout
    assert "finished after" in shown
    assert shown.count("step started") >= 2
    again = flow(folder, "resume", key)
    assert (again.returncode, again.stdout) == (0, "")
    assert (folder / "byes").read_text() == "bye\n"


@pytest.mark.real
def test_a_run_is_cancelled_from_outside(folder: Path) -> None:
    with running(folder) as (process, key):
        ended = flow(folder, "cancel", key[:8])
        assert ended.returncode == 0, ended.stderr
        process.communicate(timeout=20)
        assert process.returncode == 130
    assert flow(folder, "cancel", key).returncode == 1
    assert "cancelled" in flow(folder, "ls").stdout


@pytest.mark.real
def test_a_run_is_left_to_a_worker(folder: Path) -> None:
    key = run(folder, "--submit").stdout.strip()
    environment = {**os.environ, "PYTHONPATH": SOURCES, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    with subprocess.Popen(
        [sys.executable, "-m", "hangtight", "flow", "worker"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as worker:  # fmt: skip
        assert worker.stdout is not None
        try:
            for line in worker.stdout:
                told = json.loads(line)
                if told["type"] == "run_finished":
                    break
            assert (told["run"], told["outcome"]) == (key, "finished")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 0
        finally:
            worker.kill()


@pytest.mark.real
def test_steps_are_summed_up_with_those_in_which_no_model_works(folder: Path) -> None:
    assert run(folder, *MEMORY).returncode == 0
    assert run(folder, *MEMORY, "--set", "wait.total=0.3", long="9").returncode == 124
    told = command(folder, "stats", "--by", "step", keeps=True)
    assert (told.returncode, told.stderr) == (0, "")
    row = next(line for line in told.stdout.splitlines() if line.startswith("  wait"))
    assert row.split()[1:3] == ["2", "1"]
    assert row.endswith("1 total")
    found = json.loads(command(folder, "stats", "--by", "step", "--json", keeps=True).stdout)["flows"]
    assert (found[0]["flow"], found[0]["step"]) == ("notes", "")


@pytest.mark.real
@pytest.mark.parametrize("words", [("show", "nobody"), ("resume", "nobody"), ("cancel", "nobody")])
def test_what_nobody_knows_is_said(folder: Path, words: tuple[str, ...]) -> None:
    ended = flow(folder, *words)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "nobody" in ended.stderr


@pytest.mark.real
@pytest.mark.parametrize("name", ["total", "flow", "run_id"])
def test_an_input_cannot_have_the_name_of_something_else(folder: Path, name: str) -> None:
    ended = run(folder, *MEMORY, "--input", f"{name}=5")
    assert ended.returncode == 2
    assert f"no input can be called {name}" in ended.stderr


@pytest.mark.real
def test_where_nothing_was_run_the_list_says_so(folder: Path) -> None:
    ended = flow(folder, "ls")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr
    assert json.loads(flow(folder, "ls", "--json").stdout) == []


# -- how it looks -----------------------------------------------------------------------------------------------------

SHOWN = Flow(
    "notes",
    [
        generate("plan", "Plan ${input.idea}"),
        generate("write", "Write ${plan}"),
        tool("check", ["true"], after=["plan"]),
        tool("pack", ["true"], after=["write", "check"]),
    ],
)


def event(kind: EventType, at: float, step: str = "", **told: Any) -> Event:
    return Event(kind, "7f3a", "notes", at, step, "", told)


def test_each_step_stands_below_the_last_that_it_waits_for() -> None:
    shown = Tree(SHOWN).lines(0.0, room=80, colours=False)
    assert [line.rstrip() for line in shown] == [
        "notes  0 of 4 steps  0.0 s",
        "└─ plan        ·",
        "   ├─ write    ·",
        "   └─ check    ·",
        "      └─ pack  ·",
    ]


def test_a_bar_fills_with_the_time_of_its_step() -> None:
    tree = Tree(SHOWN)
    tree.hear(event(EventType.RUN_STARTED, 100.0, left=60.0, elapsed=0.0))
    tree.hear(event(EventType.STEP_STARTED, 100.0, "plan", timeout=40.0, model="qwen3"))
    tree.hear(event(EventType.PROGRESS, 109.0, "plan", tokens=312, doing="coding"))
    head, plan, *_ = tree.lines(110.0, room=100, colours=False)
    assert head == "notes 7f3a  0 of 4 steps  10 s of 60 s"
    assert plan == "└─ plan        ▸ ████░░░░░░░░░░░░  10 s of 40 s · qwen3 · 312 tokens · coding"
    tree.hear(event(EventType.RETRIED, 111.0, "plan", attempt=1))
    assert "attempt 2" in tree.lines(111.0, room=100, colours=False)[1]
    tree.hear(event(EventType.STEP_FINISHED, 120.0, "plan", outcome="timeout", elapsed=20.0))
    tree.hear(event(EventType.RUN_FINISHED, 120.0, outcome="timeout", elapsed=20.0))
    head, plan, *_ = tree.lines(500.0, room=100, colours=False)
    assert head.endswith("20 s of 60 s  timeout")
    assert "✗ ████████░░░░░░░░  20 s of 40 s" in plan
    assert plan.endswith("timeout")


def test_how_far_the_run_is_stands_in_its_first_line_and_counts_down() -> None:
    tree = Tree(SHOWN)
    tree.hear(event(EventType.RUN_STARTED, 100.0, elapsed=0.0))
    far = {"percent": 25.4, "left": 30.0, "left_low": 20.0, "left_high": 60.0}
    tree.hear(event(EventType.PROGRESS, 110.0, "plan", tokens=312, **far))
    head, *_ = tree.lines(115.0, room=100, colours=False)
    assert head == "notes 7f3a  0 of 4 steps  15 s  ████░░░░░░░░░░░░  25 %, about 25 s left (15 to 55 s)"
    tree.hear(event(EventType.HEARTBEAT, 120.0, "plan", percent=30.0, left_low=0.0, left_high=300.0))
    assert tree.lines(120.0, room=100, colours=False)[0].endswith("30 %, at most 300 s left")


def test_of_a_run_that_has_not_finished_the_last_is_told_that_is_known_of_how_far_it_is() -> None:
    about = {"id": "7f3a", "flow": "notes", "began": 100.0, "percent": 48.4, "left_high": 60.0, "as_of": 112.5}
    assert "48 %, at most 60 s left, as of +12.5s" in list(told_about(about, None, room=100, colours=False))
    about |= {"outcome": "finished", "percent": 100.0}
    assert not [line for line in told_about(about, None, room=100, colours=False) if "%" in line]


def test_names_cannot_move_the_cursor_and_lines_fit() -> None:
    tree = Tree(SHOWN)
    tree.hear(event(EventType.STEP_STARTED, 1.0, "plan", timeout=40.0, model=EVIL * 20))
    shown = tree.lines(2.0, room=60, colours=False)
    assert visible("\n".join(shown))
    assert all(len(line) <= 60 for line in shown)
    row = {"id": EVIL, "flow": EVIL * 9, "began": 1.0, "outcome": EVIL, "elapsed": 1.0, "at_step": EVIL, "error": EVIL}
    listed = lines([row], room=80, colours=False)
    assert visible("\n".join(listed))


@pytest.mark.real
def test_a_heartbeat_of_the_environment_that_cannot_be_meant_is_told(folder: Path) -> None:
    words = ("flow", "run", "notes.yaml", "-i", "who=me", "-i", "long=0", *MEMORY)
    told = command(folder, *words, OLLAMA_HEARTBEAT_INTERVAL="-1")
    assert told.returncode == 0
    assert "OLLAMA_HEARTBEAT_INTERVAL" in told.stderr
    assert command(folder, *words, "--heartbeat", "3", OLLAMA_HEARTBEAT_INTERVAL="-1").stderr == ""
