"""Each example runs as its first lines say, and shows what it is there to show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SAID = "island mirror letter stone desert"
FRAMEWORKS = ["with_langchain.py", "with_pydantic_ai.py", "with_openai_agents.py"]
SERVICES = ("OPENAI_", "LANGCHAIN_", "LANGSMITH_", "LOGFIRE_", "OTEL_")

STAYS_HERE = """
import os, runpy, sys

def look(event, told):
    if event == "socket.connect" and isinstance(told[1], tuple):
        host = told[1][0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = told[0]
    else:
        return
    if host not in (None, "localhost", "127.0.0.1", "::1"):
        os.write(2, f"{event}: {host}".encode())
        os._exit(3)

sys.addaudithook(look)
runpy.run_path(sys.argv[1], run_name="__main__")
"""
"""Runs a script that may speak to this machine alone; whoever asks for another ends it, in whatever thread."""


def shown_by(name: str, *words: str) -> str:
    """What the example printed; it has to end well."""
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *words], capture_output=True, text=True, check=False, env=os.environ
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout


def test_every_example_is_run_here() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in here] == []


@pytest.mark.parametrize("name", ["watch_openai.py", "watch_ollama.py"])
def test_a_stream_that_goes_silent_is_ended_with_its_text_kept(name: str) -> None:
    shown = shown_by(name)
    assert SAID in shown
    assert "IdleTimeout: " in shown
    assert "stuck" in shown
    assert "idle = 1 comes from the call" in shown
    assert "12 tokens" in shown.splitlines()[-1]


def test_heartbeats_come_during_the_load_and_during_the_hang() -> None:
    shown = shown_by("watch_openai.py")
    before, after = shown.split(SAID)
    assert "Still waiting on mistral-7b" in before
    assert "Still waiting on mistral-7b" in after


def test_a_process_is_waited_for_read_to_its_death_and_ended_when_it_hangs() -> None:
    shown = shown_by("child_process.py")
    assert "finished: 12 words" in shown
    assert "BackendError: " in shown
    assert "exit code 3" in shown
    assert "out of memory" in shown
    assert "IdleTimeout: " in shown


def test_a_process_of_ones_own_is_watched_too() -> None:
    assert "finished: 2 words" in shown_by("child_process.py", sys.executable, "-c", "print('hello there')")


def test_a_tool_and_a_person_are_not_silence() -> None:
    shown = shown_by("agent_pause.py")
    assert shown.count(SAID) == 2
    assert "the tool took" in shown
    assert "the person took" in shown
    assert shown.splitlines()[-1].startswith("finished: ")


def test_the_steps_of_an_agent_share_one_deadline_and_it_ends_with_what_it_has() -> None:
    shown = shown_by("agent.py").splitlines()
    assert shown[0].strip() == SAID
    assert shown[1] == "[Budget exhausted] Task incomplete."
    assert '{"event": "step", "name": "plan", "share": 0.3}' in shown
    assert shown[-1] == '{"event": "response", "text": "[Budget exhausted] Task incomplete."}'


def test_a_deadline_moves_for_a_model_that_gets_on_and_a_loop_ends_with_what_is_worth_keeping() -> None:
    shown = shown_by("intent.py").splitlines()
    moves = [line for line in shown if "deadline" in line]
    assert moves[0].endswith("deadline 120 s -> 132 s: coding")
    assert shown[len(moves)] == "finished after 180 s, with 360 tokens"
    assert shown[len(moves) + 1].startswith("Looping: ")
    assert shown[-2].startswith("kept 33 of ")
    assert shown[-1].strip() == "I will now open the file again ."


def shown_at_home(script: Path) -> subprocess.CompletedProcess[str]:
    """What became of a script that may not leave this machine, with no service set in its environment."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(SERVICES)}
    command = [sys.executable, "-c", STAYS_HERE, str(script)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=plain)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_answers_keeps_the_text_of_a_hang_and_falls_back_and_speaks_to_nobody_else(name: str) -> None:
    ended = shown_at_home(EXAMPLES / name)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    answer, hang = ended.stdout.split("IdleTimeout: ")
    assert SAID in answer
    assert "idle = 1 comes from the client" in hang
    kept, fallen_back = hang.partition("kept: ")[2].split("\n", 1)
    assert len(kept.split()) == 12
    assert SAID in fallen_back
    assert "qwen3:1.7b" in fallen_back.splitlines()[-1]


@pytest.mark.parametrize(
    "way_out", ["socket.create_connection(('192.0.2.1', 9), 1)", "socket.getaddrinfo('a.test', 9)"]
)
def test_a_script_that_would_speak_to_somebody_else_is_ended_at_once(way_out: str, tmp_path: Path) -> None:
    script = tmp_path / "leaves.py"
    script.write_text(f"import socket\n{way_out}\n", encoding="utf-8")
    assert shown_at_home(script).returncode == 3


def test_the_gateway_mounted_in_an_app_lets_a_slow_load_live_and_catches_a_hang() -> None:
    shown = shown_by("gateway.py")
    assert "mistral-7b,load=2,tokens=5: island mirror letter stone desert" in shown
    assert "stuck - no output for 1s (5 tokens" in shown
    assert "idle = 1 comes from hangtight.yaml:1" in shown


@pytest.mark.torch
def test_a_training_loop_of_plain_pytorch_goes_on_past_a_generation_that_never_ends() -> None:
    shown = shown_by("training_loop.py").splitlines()
    assert "step 10: 20 tokens, finished" in shown
    assert any(line.startswith("step 20: ") and line.endswith(" tokens were kept") for line in shown)
    assert any(line.startswith("TotalTimeout: ") and "timed out" in line for line in shown)
    assert shown[-2:] == ["step 30: 20 tokens, finished", "training is complete"]


@pytest.mark.torch
def test_a_lightning_module_goes_on_past_a_generation_that_never_ends() -> None:
    first, second, third, last = shown_by("lightning_loop.py").splitlines()
    assert (first, third) == ("example 1: 20 tokens, finished", "example 3: 20 tokens, finished")
    assert second.startswith("example 2: ")
    assert second.endswith(" tokens, timed out")
    assert last.startswith("training is complete: val_loss ")
