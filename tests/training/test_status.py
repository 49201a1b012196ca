"""The status file of a training run: whole at any time, JSON whatever the loss is, and never the end of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from hangtight.core.time import Instant
from hangtight.training.status import Doing, Session, StatusFile, Tally, facts, plainly

KEYS = {"current_step", "total_steps", "loss", "eval", "timeouts", "elapsed", "eta", "doing"}

READER = """
import json, sys
seen = 0
print("ready", flush=True)
while True:
    with open(sys.argv[1], encoding="utf-8") as file:
        told = json.load(file)
    assert len(told["eval"]["text"]) == told["current_step"] * 50, told["current_step"]
    seen += 1
    if told["doing"] == "finished":
        break
print(seen)
"""


def at(seconds: float) -> Instant:
    return Instant(seconds)


def written(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_json)
    return told


def _no_json(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_a_monitor_finds_every_key_in_a_folder_that_was_not_there(tmp_path: Path) -> None:
    path = tmp_path / "status" / "training_status.json"
    tally = Tally(evaluations=20, timeouts=1, loss=0.7942, eval={"step": 200, "verdict": "finished"})
    session = Session(at(100), first_step=0, total_steps=2600)
    StatusFile(path, print).write(Doing.TRAINING, facts(tally, session, 210, at(310)))
    told = written(path)
    assert set(told) >= KEYS
    assert (told["current_step"], told["loss"]) == (210, 0.7942)
    assert told["timeouts"] == {"count": 1, "rate": 0.05}
    assert told["elapsed"] == 210
    assert told["eta"] == 2390
    assert told["doing"] == "training"


@pytest.mark.parametrize("loss", [nan, inf, -inf])
def test_a_loss_that_is_no_number_is_null(tmp_path: Path, loss: float) -> None:
    path = tmp_path / "status.json"
    tally = Tally(loss=loss, eval={"loss": loss, "gap": [loss]})
    StatusFile(path, print).write(Doing.TRAINING, facts(tally, Session(at(0), 0, 10), 1, at(1)))
    assert written(path)["loss"] is None
    assert written(path)["eval"] == {"loss": None, "gap": [None]}


def test_a_hang_is_told_over_the_facts_that_were_known(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status = StatusFile(path, print)
    status.write(Doing.EVALUATING, {"current_step": 2500})
    status.write(Doing.HUNG)
    assert (written(path)["doing"], written(path)["current_step"]) == ("hung", 2500)


def test_since_when_it_does_what_it_does_stays_while_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status = StatusFile(path, print)
    status.write(Doing.EVALUATING, {})
    since = written(path)["since"]
    status.write(Doing.EVALUATING, {})
    assert written(path)["since"] == since


@pytest.mark.real
def test_another_process_that_reads_in_a_loop_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status = StatusFile(path, print)

    def write(step: int, doing: Doing = Doing.TRAINING) -> None:
        status.write(doing, {"current_step": step, "eval": {"text": "x" * 50 * step}})

    write(1)
    with subprocess.Popen([sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for step in range(1500):
            write(step % 400)
        write(1, Doing.FINISHED)
        seen = reader.stdout.read()
        assert reader.wait(30) == 0
    assert int(seen) > 1
    assert os.listdir(tmp_path) == ["status.json"], "nothing is left beside it"


def test_a_place_that_cannot_be_written_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("a file where the folder should be")
    told: list[str] = []
    status = StatusFile(tmp_path / "status" / "training_status.json", told.append)
    for step in range(3):
        status.write(Doing.TRAINING, {"current_step": step})
    assert len(told) == 1
    assert "Training goes on" in told[0]


def test_a_full_disk_leaves_the_last_whole_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    told: list[str] = []
    status = StatusFile(path, told.append)
    status.write(Doing.TRAINING, {"current_step": 1})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        status.write(Doing.TRAINING, {"current_step": 2})
        status.write(Doing.TRAINING, {"current_step": 3})
    assert written(path)["current_step"] == 1
    assert os.listdir(tmp_path) == ["status.json"]
    assert len(told) == 1
    status.write(Doing.TRAINING, {"current_step": 4})
    assert written(path)["current_step"] == 4


def test_elapsed_time_goes_on_where_a_checkpoint_left_it_and_the_eta_is_of_this_session_alone() -> None:
    session = Session(at(1000), first_step=2490, total_steps=2600, elapsed_before=500)
    assert session.elapsed(at(1010)) == 510
    assert session.eta(2500, at(1010)) == 100
    assert session.eta(2490, at(1001)) is None


def test_the_pace_is_that_since_it_was_asked_last() -> None:
    session = Session(at(0), 0, 100)
    assert session.pace(10, at(5)) == 2
    assert session.pace(20, at(6)) == 10
    assert session.pace(20, at(6)) is None


def test_what_a_checkpoint_kept_comes_back_and_what_another_version_wrote_is_left_alone() -> None:
    kept = Tally(turn=4, evaluations=3, timeouts=1, eval={"step": 600}).kept(elapsed=12.5)
    tally = Tally.of(json.loads(json.dumps(kept | {"of_another_version": 1})))
    assert tally == Tally(turn=4, evaluations=3, timeouts=1, elapsed=12.5, eval={"step": 600})


def test_a_tenth_that_times_out_is_no_news_and_more_than_that_is_told_after_ten_evaluations_and_every_ten() -> None:
    assert not Tally(evaluations=9, timeouts=9).needs_a_look()
    assert not Tally(evaluations=10, timeouts=1).needs_a_look()
    assert Tally(evaluations=10, timeouts=2).needs_a_look()
    assert not Tally(evaluations=11, timeouts=3, warned_at=10).needs_a_look()
    assert Tally(evaluations=20, timeouts=3, warned_at=10).needs_a_look()
    assert not Tally(evaluations=100, timeouts=5, warned_at=10).needs_a_look()


def test_what_is_no_json_is_said_in_words() -> None:
    assert plainly({1: (Path("a"), True, None, 2)}) == {"1": ["a", True, None, 2]}
