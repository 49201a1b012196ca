"""Other models and settings for one run: what an option may say, and that limits stay with their step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hangtight.errors import SettingsError
from hangtight.flows import Flow, generate, tool
from hangtight.flows.definition.overriding import changes_in, models_in, overridden
from hangtight.rules.errors import SettingsErrors

FLOW = Flow(
    "shop",
    [
        generate("planner", "Plan.", timeout=300, model="big"),
        generate("coder", "${planner}", timeout=1800, limits={"idle": 90}, model="big"),
        tool("check", "true", after=["coder"]),
    ],
)


def test_a_model_that_is_replaced_by_an_option_keeps_the_limits_of_its_step() -> None:
    flow = overridden(FLOW, models_in(["coder=qwen3:1.7b", "planner=a=b"]))
    assert {name: made.model for name, made in flow.steps.items()} == {
        "planner": "a=b", "coder": "qwen3:1.7b", "check": None,
    }  # fmt: skip
    assert (flow.steps["coder"].timeout, flow.steps["coder"].limits) == (1800, {"idle": 90})
    assert overridden(FLOW) == FLOW


def test_a_model_that_is_replaced_by_a_file_keeps_them_too(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("coder: qwen3:1.7b\nplanner: small\n")
    assert models_in([f"@{path}", "planner=smaller"]) == {"coder": "qwen3:1.7b", "planner": "smaller"}
    path.write_text("coder: qwen3:1.7b\nplanner: 3\n")
    with pytest.raises(SettingsErrors) as refused:
        models_in([f"@{path}"])
    assert [(problem.line, problem.key) for problem in refused.value.problems] == [(2, "planner")]


@pytest.mark.parametrize(
    ("word", "step", "name", "value"),
    [
        ("coder.total=900", "coder", "timeout", 900),
        ("coder.timeout=20m", "coder", "timeout", 1200),
        ("coder.total=none", "coder", "timeout", None),
        ("coder.limits.total=900", "coder", "timeout", 900),
        ("coder.first_token=30", "coder", "limits", {"idle": 90, "first_token": 30}),
        ("coder.idle=off", "coder", "limits", {"idle": None}),
        ("coder.model=qwen3:1.7b", "coder", "model", "qwen3:1.7b"),
        ("coder.mode=off", "coder", "mode", "off"),
        ("coder.fallback=a, b", "coder", "fallback", ("a", "b")),
        ("coder.fallback=", "coder", "fallback", ()),
        ("coder.retries=2", "coder", "retries", 2),
        ("coder.weight=0.5", "coder", "weight", 0.5),
        ("coder.critical=true", "coder", "critical", True),
        ("coder.minimum=60", "coder", "minimum", 60),
        ("check.total=5", "check", "timeout", 5),
    ],
)
def test_a_setting_of_a_step(word: str, step: str, name: str, value: Any) -> None:
    flow = overridden(FLOW, changes=changes_in([word]))
    assert getattr(flow.steps[step], name) == value
    assert [made for made in flow.steps.values() if made.name != step] == [
        made for made in FLOW.steps.values() if made.name != step
    ]


def test_a_setting_of_the_whole_run() -> None:
    flow = overridden(FLOW, changes=changes_in(["total=1h", "timeout=60", "heartbeat=0"]))
    assert (flow.total, flow.timeout, flow.heartbeat) == (3600, 60, None)


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("coder.total=soon", "a number of seconds"),
        ("coder.total=0", "more than 0"),
        ("codr.total=9", "did you mean coder"),
        ("coder.totl=9", "did you mean total"),
        ("coder.output=x", "one of timeout"),
        ("coder.retries=1.5", "whole number"),
        ("check.model=m", "no use for it"),
        ("totl=9", "did you mean total"),
        ("total=nan", "finite"),
    ],
)
def test_what_cannot_be_set_is_refused_by_the_name_that_was_given(word: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as refused:
        overridden(FLOW, changes=changes_in([word]))
    assert refused.value.name == word.partition("=")[0]


@pytest.mark.parametrize("word", ["coder", "=x", "coder="])
def test_a_model_without_its_step_is_refused(word: str) -> None:
    with pytest.raises(SettingsError, match="--model"):
        models_in([word])
    with pytest.raises(SettingsError, match="--set"):
        changes_in(["coder"])


def test_a_model_for_a_step_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match="did you mean coder"):
        overridden(FLOW, {"codr": "m"})
    with pytest.raises(SettingsError, match="no use for it"):
        overridden(FLOW, {"check": "m"})
