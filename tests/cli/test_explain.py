"""`hangtight explain`: every value, its source and what it overruled."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from hangtight.cli import explaining
from hangtight.cli.explaining import Call
from hangtight.core.telling import Door
from hangtight.drivers.given import given as given_by
from hangtight.drivers.standing import configure
from hangtight.drivers.terms import terms_of
from hangtight.journal.entries import Begun, Ended
from hangtight.journal.recording import Recorder
from tests.cli.kit import RESOLVED, command, visible

YAML = """\
limits: {idle: 90, total: 700}
heartbeat: 10
modes:
  deep: {total: 200, models: [qwen3-coder, "qwen3:1.7b"]}
  slow: 3600
models:
  qwen3-coder: {limits: {idle: 20}, reasons: true}
priorities: {plan: high}
logRequests: true
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hangtight.yaml").write_text(YAML)
    return tmp_path


def limits(folder: Path, *words: str, **variables: str) -> Any:
    told = command(folder, "explain", "--json", *words, keeps=False, stdin="", **variables)
    assert (told.returncode, told.stderr) == (0, "")
    return json.loads(told.stdout)


# -- explain ----------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_each_limit_has_its_value_its_source_and_what_it_overruled(folder: Path) -> None:
    told = limits(folder, HANGTIGHT_TOTAL="800")
    assert told["limits"]["total"] == {
        "value": 800,
        "source": "HANGTIGHT_TOTAL",
        "overruled": [{"value": 700, "source": "hangtight.yaml:1"}, {"value": 600, "source": "default"}],
    }
    assert told["limits"]["first_token"]["source"] == "follows idle=90 (hangtight.yaml:1)"
    assert (told["mode"], told["model"], told["files"]) == (None, None, ["hangtight.yaml"])
    assert any("logRequests" in remark for remark in told["remarks"])
    assert told["priorities"] == {"plan": "high"}
    assert set(told["limits"]) > {"first_token", "idle", "total", "heartbeat", "cold", "cancel"}


@pytest.mark.real
def test_mode_model_budget_and_prompt_change_what_holds(folder: Path) -> None:
    told = limits(folder, "--mode", "deep", "--model", "qwen3-coder", "--budget", "2m", "--prompt", "2000")
    assert told["limits"]["total"]["value"] == 120
    assert told["limits"]["total"]["overruled"][0] == {"value": 200, "source": "hangtight.yaml:4"}
    assert told["limits"]["idle"]["value"] == 20
    assert (told["mode"], told["model"], told["fallback"]) == ("deep", "qwen3-coder", ["qwen3:1.7b"])
    assert any("2,000 tokens" in line for line in told["allowances"])
    assert any("thinking" in line for line in told["allowances"])


@pytest.mark.real
def test_a_step_has_the_limit_of_steps(folder: Path) -> None:
    total = limits(folder, "--step", "plan", HANGTIGHT_STEP_TIMEOUT="40")["limits"]["total"]
    assert (total["value"], total["source"]) == (40, "HANGTIGHT_STEP_TIMEOUT")
    assert limits(folder, HANGTIGHT_STEP_TIMEOUT="40")["limits"]["total"]["value"] == 700


@pytest.mark.real
def test_for_people_it_is_a_table_with_all_that_counts_below(folder: Path) -> None:
    told = command(folder, "explain", "--model", "qwen3-coder", "--mode", "deep", "--prompt", "9000")
    assert (told.returncode, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert lines[0] == "mode deep, model qwen3-coder"
    [idle] = [at for at, line in enumerate(lines) if line.startswith("idle ")]
    assert lines[idle].split() == ["idle", "20", "hangtight.yaml:7"]
    assert lines[idle + 1].strip() == "over 90 (hangtight.yaml:1), 45 (default)"
    for word in ("may have to load", "9,000 tokens", "qwen3:1.7b", "plan: high", "logRequests", "hangtight.yaml"):
        assert word in told.stdout
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.real
def test_the_clocks_of_a_server_that_we_run_are_told_with_their_places(tmp_path: Path) -> None:
    text = "cmdSleepTimeout: 30\nmodels:\n m: {cmd: 'a ${PORT}', cmdWakeTimeout: 90, load: 7}\n"
    (tmp_path / "hangtight.yaml").write_text(text)
    told = limits(tmp_path, "--model", "m")["server"]
    assert told["cmdSleepTimeout"] == {"value": 30, "source": "hangtight.yaml:1"}
    assert told["cmdWakeTimeout"] == {"value": 90, "source": "hangtight.yaml:3"}
    assert told["unloadTimeout"] == {"value": 10, "source": "default"}
    assert told["load.ceiling"] == {"value": 1800, "source": "hangtight.yaml:3"}
    shown = command(tmp_path, "explain", "--model", "m").stdout
    assert "cmdSleepTimeout 30 (hangtight.yaml:1)" in shown
    assert "ttl none (default)" in shown
    assert limits(tmp_path)["server"] is None


@pytest.mark.real
def test_a_share_of_the_total_is_told_as_one(folder: Path) -> None:
    told = command(folder, "explain", "--mode", "fast").stdout
    assert "20 % of total (mode fast)" in told


@pytest.mark.real
@pytest.mark.parametrize(
    "words",
    [
        ["--mode", "nobody"],
        ["--mode", "\x1b[31m"],
        ["--budget", "0"],
        ["--budget", "nan"],
        ["--prompt", "-1"],
        ["--config", ""],
        ["--config", "missing.yaml"],
        ["--config", "."],
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_a_mistake_of_usage(words: list[str], folder: Path) -> None:
    told = command(folder, "explain", *words)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr
    assert visible(told.stderr)


@pytest.mark.real
def test_names_that_a_terminal_would_obey_are_shown_not_obeyed(folder: Path) -> None:
    (folder / "hangtight.yaml").write_text(
        'modes: {"a\\e[31m\\n": {idle: 3, models: ["b\\e[2J\\x9b"]}}\npriorities: {"c\\u202e": low}\n'
    )
    words = ("explain", "--mode", "a\x1b[31m\n", "--model", "\x9b", "--step", "\x07")
    for told in (command(folder, *words), command(folder, *words, "--json")):
        assert told.returncode == 0
        assert visible(told.stdout)
    assert json.loads(told.stdout)["mode"] == "a\x1b[31m\n"


CALLS = [
    Call("", None, None, None, 0),
    Call("qwen3-coder", "deep", None, None, 0),
    Call("qwen3-coder", None, None, None, 5000),
    Call("other", "slow", None, None, 100),
]


@pytest.mark.parametrize("call", CALLS)
def test_it_tells_what_a_call_would_get(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    told = explaining.explanation(configure(), call)
    terms = terms_of(given_by({}, call.mode), door=Door("{name}"))
    values = terms.resolved(None, True, call.model).values
    assert {each.name: (each.value, each.source) for each in told.limits} == {
        name: (value.value, value.source) for name, value in values.items()
    }


@pytest.mark.real
def test_intent_has_a_line_and_how_far_it_may_go_a_row(folder: Path) -> None:
    lines = command(folder, "explain", "--mode", "deep").stdout.splitlines()
    assert "intent: on (mode deep sets the total), extends total 200 -> 400" in lines
    [row] = [line.split(maxsplit=2) for line in lines if line.startswith("extend_to ")]
    assert row == ["extend_to", "400", "2 x total (hangtight.yaml:4)"]
    told = limits(folder, "--mode", "deep", "--budget", "300")
    assert told["intent"] == {
        "on": True,
        "source": "mode deep sets the total",
        "shorten": False,
        "ladder": ["notify", "ask", "fallback", "cut"],
    }
    assert told["limits"]["extend_to"]["value"] == 300
    assert told["limits"]["extend_to"]["overruled"][0] == {"value": 400, "source": "2 x total (hangtight.yaml:4)"}


@pytest.mark.real
def test_intent_that_was_switched_off_says_where(folder: Path) -> None:
    told = limits(folder, "--model", "qwen3-coder", "--mode", "deep", HANGTIGHT_INTENT="off")["intent"]
    assert (told["on"], told["source"]) == (False, "HANGTIGHT_INTENT")
    (folder / "hangtight.yaml").write_text("modes:\n  deep:\n    intent: false\n")
    assert "intent: off (hangtight.yaml:3)" in command(folder, "explain", "--mode", "deep").stdout.splitlines()
    assert "intent: off (no mode sets the total)" in command(folder, "explain").stdout.splitlines()


def test_inside_a_budget_that_cuts_the_total_the_mode_has_set_it_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    told = explaining.explanation(configure(), Call("m", "deep", None, 45.0, 0)).intent
    assert told.told == "intent: on (mode deep sets the total), extends nothing"
    step = explaining.explanation(configure(), Call("m", "deep", "plan", None, 0)).intent
    assert step.intent.on, "no limit of steps is set here"


# -- what was learned -------------------------------------------------------------------------------------------------


def history(url: str, count: int) -> None:
    recorder = Recorder(url, wall=lambda: 1_800_000_000.0, keep=None)
    for at in range(count):
        key = f"{at:012x}"
        recorder.put(Begun(key, key, 1_799_990_000.0 + at, RESOLVED, model="m"))
        recorder.put(Ended(key, 20.0, "finished", 50, 6.0 + at / count, 4.0))
    assert recorder.close(10.0)


@pytest.mark.real
def test_what_is_learned_says_from_how_many_calls_and_which(tmp_path: Path) -> None:
    (tmp_path / "hangtight.yaml").write_text("limits: {first_token: auto}\njournal: j.db\n")
    history(str(tmp_path / "j.db"), 150)
    first = json.loads(command(tmp_path, "explain", "--model", "m", "--json", keeps=True).stdout)["limits"][
        "first_token"
    ]
    assert 6.5 < first["value"] < 9
    assert (first["samples"], first["level"]) == (150, "m, no mode, prompts of unknown length")
    assert first["source"] == f"auto at hangtight.yaml:1, learned from 150 calls ({first['level']})"


@pytest.mark.real
def test_auto_without_a_journal_says_so_and_makes_none(tmp_path: Path) -> None:
    (tmp_path / "hangtight.yaml").write_text("limits: {first_token: auto}\njournal: j.db\n")
    told = json.loads(command(tmp_path, "explain", "--json", keeps=True).stdout)
    assert (told["limits"]["first_token"]["samples"], told["limits"]["first_token"]["value"]) == (0, 45)
    assert any("j.db" in remark for remark in told["remarks"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hangtight.yaml"]


@pytest.mark.real
def test_a_journal_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:secret@127.0.0.1:{silent.getsockname()[1]}/d"
        (tmp_path / "hangtight.yaml").write_text(f"limits: {{idle: auto}}\njournal: {url}\n")
        told = command(tmp_path, "explain", "--json", keeps=True)
    remarks = json.loads(told.stdout)["remarks"]
    assert told.returncode == 0
    assert any("nothing is learned" in remark for remark in remarks)
    assert "secret" not in told.stdout


@pytest.mark.real
def test_all_files_that_count_are_named(folder: Path) -> None:
    (folder / ".env").write_text("HANGTIGHT_IDLE=7\n")
    (folder / ".qwencoderules").write_text("budgets: {deep: 99}\n")
    told = limits(folder)
    assert told["files"] == [".env", ".qwencoderules", "hangtight.yaml"]
    assert (told["mode"], told["limits"]["total"]["value"]) == ("deep", 99)
