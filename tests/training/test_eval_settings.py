"""What the `config.json` of a training run says to us: read, refused, or told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hangtight.errors import SettingsError
from hangtight.training.eval_settings import KEYS, EvalSettings, settings_from

RUN = {"eval_timeout_seconds": 60, "eval_steps": 200, "learning_rate": 2e-5, "model_name": "mistral-7b"}


def settings(folder: Path, config: Any, **more: Any) -> tuple[EvalSettings, list[str]]:
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    told: list[str] = []
    return settings_from(path, tell=told.append, **more), told


def test_the_defaults_are_those_of_the_contract() -> None:
    plain = EvalSettings()
    assert (plain.eval_timeout_seconds, plain.eval_steps, plain.logging_steps) == (60, 200, 10)
    assert plain.max_new_tokens == 512
    assert plain.status_file == "status/training_status.json"


def test_the_file_of_the_run_is_read_and_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    found, told = settings(tmp_path, RUN | {"eval_timeout_seconds": 7.5, "logging_steps": 25})
    assert (found.eval_timeout_seconds, found.eval_steps, found.logging_steps) == (7.5, 200, 25)
    assert told == []


def test_null_is_no_limit_and_never(tmp_path: Path) -> None:
    found, _ = settings(tmp_path, {"eval_timeout_seconds": None, "eval_steps": None})
    assert (found.eval_timeout_seconds, found.eval_steps) == (None, None)


def test_what_the_program_says_wins_over_the_file(tmp_path: Path) -> None:
    assert settings(tmp_path, RUN, eval_steps=5)[0].eval_steps == 5


WRONG = [
    *[("eval_timeout_seconds", value) for value in (0, -1, True, "60", 1e12, [60])],
    *[("eval_steps", value) for value in (0, -200, 0.5, False, "200")],
    *[("logging_steps", value) for value in (0, 2.5)],
    *[("max_new_tokens", value) for value in (0, None)],
    ("eval_idle_seconds", 0),
    ("eval_isolate", "yes"),
    ("eval_seed", 1.5),
    ("eval_generation", ["greedy"]),
    ("status_file", ""),
    ("longest_prompt", 0),
    ("widest_gap", -1),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_value_that_cannot_be_meant_is_refused_with_its_file_and_key(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(tmp_path, RUN | {key: value})
    assert str(tmp_path / "config.json") in str(refused.value)
    assert key in str(refused.value)
    with pytest.raises(SettingsError, match=key):
        EvalSettings(**{key: value})


def test_every_key_of_the_file_is_refused_somewhere_here() -> None:
    assert {key for key, _ in WRONG} == set(KEYS)


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="eval_timeout_seconds"):
        settings(tmp_path, '{"eval_timeout_seconds": NaN}')


@pytest.mark.parametrize("slip", ["eval_timeout", "eval_timeout_second", "evalTimeoutSeconds", "eval-timeout-seconds"])
def test_a_key_that_is_nearly_ours_is_told_with_the_one_that_was_meant(tmp_path: Path, slip: str) -> None:
    found, told = settings(tmp_path, {slip: 5})
    assert found.eval_timeout_seconds == 60
    assert len(told) == 1
    assert slip in told[0]
    assert "did you mean eval_timeout_seconds?" in told[0]


def test_a_key_of_ours_in_a_place_that_nobody_reads_is_told(tmp_path: Path) -> None:
    _, told = settings(tmp_path, {"training": {"eval_timeout_seconds": 5}})
    assert len(told) == 1
    assert "training.eval_timeout_seconds is not read" in told[0]


def test_the_keys_of_others_are_no_slips(tmp_path: Path) -> None:
    assert settings(tmp_path, {"save_steps": 500}, foreign=["save_steps"])[1] == []


@pytest.mark.parametrize("text", ["", "[1]", "{", '"60"'])
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"config\.json"):
        settings(tmp_path, text)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.json"):
        settings_from(tmp_path / "nowhere.json", tell=print)


def test_a_setting_that_is_none_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="eval_steps"):
        settings(tmp_path, {}, eval_every=5)
