"""The generation guard in a fine-tuning run: each line and value of the mission, on the files of real runs.

The runs are scaled: evaluations every few steps, limits of some tenths of a second. The words are theirs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hangtight.training import blocks
from hangtight.training.eval_settings import EvalSettings
from hangtight.training.status import Tally

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "tests" / "acceptance" / "training_run.py"
LIMIT = 0.4  # seconds, for their 60
STEPS, EVERY = 100, 20  # for their 2,600 and 200
JQ = "{step: .current_step, loss: .loss}"


def config(folder: Path, **more: Any) -> None:
    told = {"eval_timeout_seconds": LIMIT, "eval_steps": EVERY, "max_new_tokens": 5, "learning_rate": 2e-5}
    (folder / "config.json").write_text(json.dumps(told | more))


def environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}


def begun(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """The run, its output in training_output.log; what it said before stays."""
    with (folder / "training_output.log").open("ab") as log:
        command = [sys.executable, str(PROGRAM), str(folder), *words]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment())


def said(folder: Path) -> list[str]:
    return (folder / "training_output.log").read_text(encoding="utf-8").splitlines()


def status(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "status" / "training_status.json").read_text(encoding="utf-8"))
    return told


def curve(path: Path) -> list[tuple[int, float]]:
    return [(told["step"], told["loss"]) for told in json.loads(path.read_text())["log_history"] if "loss" in told]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run whose examples are slow, loop for ever and raise; and one without the guard to compare."""
    folder = tmp_path_factory.mktemp("run")
    config(folder)
    guarded = begun(folder, str(STEPS), "--save", "50")
    assert guarded.wait(120) == 0, "\n".join(said(folder))
    plain = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), str(STEPS), "--plain"],
        check=True,
        env=environment(),
        capture_output=True,
    )
    assert plain.returncode == 0
    return folder


pytestmark = pytest.mark.real


@pytest.mark.torch
def test_training_goes_on_past_every_pathological_example_to_its_last_step(run: Path) -> None:
    assert status(run)["current_step"] == STEPS
    assert status(run)["doing"] == "finished"
    evaluated = [line for line in said(run) if line.startswith("🔍")]
    assert evaluated == [f"🔍 FULL EVAL - Step {step}" for step in range(EVERY, STEPS + 1, EVERY)]


@pytest.mark.torch
def test_a_timeout_names_its_step_and_skips_the_output_for_this_example(run: Path) -> None:
    lines = said(run)
    timeouts = [place for place, line in enumerate(lines) if "TIMEOUT: Model" in line]
    assert [lines[place] for place in timeouts] == [
        f"⚠️  TIMEOUT: Model generation exceeded {LIMIT}s at step {step}" for step in (2 * EVERY, 4 * EVERY)
    ]
    for place in timeouts:
        assert lines[place + 1] == "   Skipping model output for this example"
        assert re.fullmatch(r"🤖 MODEL \(\d tokens, stopped\): .*", lines[place + 2])
        assert re.fullmatch(r"📉 LOSS ON THIS EXAMPLE: \d\.\d{4}", lines[place + 3]), "the loss is still computed"


@pytest.mark.torch
def test_grep_finds_the_timeouts_in_the_log(run: Path) -> None:
    found = subprocess.run(
        ["grep", "-i", "timeout", str(run / "training_output.log")], capture_output=True, text=True, check=True
    )
    assert len(found.stdout.splitlines()) == 2


@pytest.mark.torch
def test_jq_reads_the_step_and_the_loss_of_the_status_file(run: Path) -> None:
    path = run / "status" / "training_status.json"
    if shutil.which("jq"):
        shown = json.loads(subprocess.run(["jq", JQ, str(path)], capture_output=True, check=True).stdout)
    else:
        told = status(run)
        shown = {"step": told["current_step"], "loss": told["loss"]}
    assert shown["step"] == STEPS
    assert shown["loss"] == curve(run / "trained.json")[-1][1]


@pytest.mark.torch
def test_an_error_that_is_not_ours_is_told_and_stops_nothing(run: Path) -> None:
    assert f"⚠️  Generation error at step {5 * EVERY}: a kernel that is not there" in said(run)


@pytest.mark.torch
def test_a_cheap_line_comes_every_ten_steps_and_generates_nothing(run: Path) -> None:
    lines = [line for line in said(run) if line.startswith("Step ")]
    assert [line.split()[1] for line in lines] == [f"{step}/{STEPS}" for step in range(10, STEPS + 1, 10)]
    assert all(re.search(r" \| loss \d\.\d{4} \| .* elapsed \| eta ", line) for line in lines)


@pytest.mark.torch
def test_the_block_of_a_full_evaluation_is_theirs_line_by_line(run: Path) -> None:
    lines = said(run)
    block = lines[lines.index(f"🔍 FULL EVAL - Step {EVERY}") :][:7]
    wanted = (
        r"🔍 FULL EVAL - Step 20",
        r"📝 PROMPT: w10 w20 w30",
        r"✅ GOLDEN \(2 tokens\): w40 w50",
        r"🤖 MODEL \(5 tokens\): \S+ \S+ \S+ \S+ \S+",
        r"❌ NO MATCH",
        r"📉 LOSS ON THIS EXAMPLE: (\d\.\d{4})",
        r"📊 Loss Comparison: Train=(\d\.\d{4}) \| Val=(\d\.\d{4}) \| Gap=([+-]\d\.\d{4}) ✅",
    )
    found = [re.fullmatch(pattern, line) for pattern, line in zip(wanted, block, strict=True)]
    assert all(found), block
    assert found[5] is not None
    assert found[6] is not None
    train, val, gap = found[6].groups()
    assert train == found[5].group(1)
    assert float(gap) == pytest.approx(float(val) - float(train), abs=2e-4)


@pytest.mark.torch
def test_checkpoints_and_losses_are_those_of_a_run_without_the_guard(run: Path) -> None:
    assert {path.name for path in (run / "out").glob("checkpoint-*")} >= {"checkpoint-50", "checkpoint-100"}
    guarded = curve(run / "trained.json")
    assert len(guarded) == STEPS // 10
    assert guarded == curve(run / "plain.json")


def test_their_words_with_their_numbers() -> None:
    spoken = blocks.Spoken(text="[generated answer]", tokens=61, match=True)
    shown = blocks.FullEval(
        step=200,
        prompt="[example]",
        golden="[expected answer]",
        golden_tokens=57,
        spoken=spoken,
        loss=0.7942,
        val_loss=0.8123,
    )
    assert blocks.block(shown).splitlines() == [
        "🔍 FULL EVAL - Step 200",
        "📝 PROMPT: [example]",
        "✅ GOLDEN (57 tokens): [expected answer]",
        "🤖 MODEL (61 tokens): [generated answer]",
        "✅ MATCH",
        "📉 LOSS ON THIS EXAMPLE: 0.7942",
        "📊 Loss Comparison: Train=0.7942 | Val=0.8123 | Gap=+0.0181 ✅",
    ]
    assert blocks.exceeded(60, 2500) == "⚠️  TIMEOUT: Model generation exceeded 60s at step 2500"
    assert blocks.SKIPPING == "   Skipping model output for this example"
    assert blocks.failed(2500, "<error>") == "⚠️  Generation error at step 2500: <error>"


def test_their_numbers_are_the_defaults() -> None:
    settings = EvalSettings()
    assert settings.eval_timeout_seconds == 60
    assert (settings.logging_steps, settings.eval_steps, settings.max_new_tokens) == (10, 200, 512)
    assert settings.status_file == "status/training_status.json"


def test_one_to_five_in_a_hundred_is_normal_and_more_than_ten_needs_a_look() -> None:
    assert not Tally(evaluations=100, timeouts=5).needs_a_look()
    assert not Tally(evaluations=100, timeouts=10).needs_a_look()
    assert Tally(evaluations=100, timeouts=11).needs_a_look()
    told = blocks.many_timeouts(11, 100)
    assert "The model or the data need a look. Training will still complete." in told


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_of_2600_steps_that_is_killed_before_step_2500_and_resumed_completes(tmp_path: Path) -> None:
    config(tmp_path, eval_steps=100)
    first = begun(tmp_path, "2600", "--save", "470")
    while first.poll() is None and not _reached(tmp_path, 2400):
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    assert first.wait(30) == -signal.SIGKILL
    before = status(tmp_path)
    assert 2400 <= before["current_step"] < 2500
    assert begun(tmp_path, "2600", "--save", "470", "--resume").wait(500) == 0, said(tmp_path)[-20:]
    after = status(tmp_path)
    assert (after["current_step"], after["doing"]) == (2600, "finished")
    assert after["evaluations"] == 26, "those behind the checkpoint of step 2350 are done again, none is left out"
    assert after["timeouts"]["count"] == 10
    assert after["elapsed"] > before["elapsed"] / 2
    lines = said(tmp_path)
    assert "🔍 FULL EVAL - Step 2500" in lines
    assert any("The model or the data need a look" in line for line in lines)


def _reached(folder: Path, step: int) -> bool:
    try:
        return bool(status(folder)["current_step"] >= step)
    except FileNotFoundError:
        return False
