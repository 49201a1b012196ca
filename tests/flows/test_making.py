"""Flows in Python: what a function gets, what a step may say, and what is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

import hangtight.flows
from hangtight.core.limits import AUTO, UNSET
from hangtight.errors import SettingsError
from hangtight.flows import EventType, Flow, Kind, Step, generate, step, tool
from hangtight.flows.definition.parameters import arguments
from hangtight.flows.definition.steps import filled, inputs_of, step_of


@step(timeout=300, model="qwen3-coder:latest")
def planner(idea: str, model: str) -> str:
    return f"{model} plans {idea}"


@step
async def coder(planner: str, workspace: Any, tries: int = 3) -> str:
    return planner * tries


def plain(coder: str) -> None: ...


def test_a_function_under_step_stays_what_it_was() -> None:
    assert planner("a shop", model="m") == "m plans a shop"
    assert asyncio.run(coder("x", None, tries=2)) == "xx"


def test_parameters_named_like_steps_are_needs_and_the_others_are_inputs() -> None:
    flow = Flow("shop", [plain, coder, planner], total=3600)
    assert list(flow.steps) == ["planner", "coder", "plain"]
    assert flow.steps["coder"].needs == ("planner",)
    assert flow.inputs == ("idea",)
    assert inputs_of(flow.steps.values()) == {"idea": True, "tries": False}
    assert (flow.steps["planner"].timeout, flow.steps["coder"].timeout, flow.total) == (300, UNSET, 3600)
    assert flow.steps["planner"].source.startswith("test_making.py:")


def test_a_function_is_called_with_what_it_asks_for_and_no_more() -> None:
    def function(read_me: str, model: str, idea: str = "none") -> None: ...

    given = {"model": "m", "workspace": "w"}
    assert arguments(function, {"read-me": "r", "other": 1}, {"more": 2}, given) == {"read_me": "r", "model": "m"}
    assert arguments(function, {}, {"idea": "i", "model": "an input"}, given) == {"idea": "i", "model": "m"}


def test_a_step_with_a_dash_is_a_parameter_with_an_underscore() -> None:
    @step(name="sum-up")
    def sum_up(read_me: str, sum_up: str = "") -> None: ...

    flow = Flow("x", [generate("read-me", "Write ${input.what}"), sum_up])
    assert flow.steps["sum-up"].needs == ("read-me",)
    assert flow.inputs == ("what",)


def test_total_among_the_limits_is_the_timeout_of_the_step() -> None:
    made = generate("a", "x", limits={"total": 90, "idle": "auto", "first_token": None})
    assert (made.timeout, made.limits) == (90, {"idle": AUTO, "first_token": None})
    with pytest.raises(SettingsError, match="given once"):
        generate("a", "x", limits={"total": 90}, timeout=80)


def test_another_model_keeps_everything_else_of_its_step() -> None:
    flow = Flow("x", [generate("a", "x", timeout=1800, limits={"idle": 90}, model="big", retries=2)])
    small = flow.with_step("a", model="small").steps["a"]
    assert (small.model, small.timeout, small.limits, small.retries) == ("small", 1800, {"idle": 90}, 2)


def test_places_are_filled_and_two_signs_are_one() -> None:
    known = {"plan": "${input.idea}", "input.idea": "a shop"}
    assert filled("${plan} for ${input.idea}, $${plan} $HOME ${1}", known.__getitem__) == (
        "${input.idea} for a shop, ${plan} $HOME ${1}"
    )
    assert generate("a", "say $${plan} and ${input.idea}").needs == ()


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": 2e9}, "timeout"),
        ({"timeout": "300"}, "timeout"),
        ({"limits": {"idel": 3}}, "limits.idel"),
        ({"limits": {"idle": -3}}, "idle"),
        ({"limits": {"total": "auto"}}, "total"),
        ({"weight": 0}, "weight"),
        ({"weight": 1e9}, "weight"),
        ({"critical": 1}, "critical"),
        ({"minimum": -1}, "minimum"),
        ({"retries": 1.5}, "retries"),
        ({"retries": -1}, "retries"),
        ({"after": [3]}, "after"),
        ({"fallback": [""]}, "fallback"),
        ({"model": 3}, "model"),
        ({"mode": " "}, "mode"),
        ({"isolate": True}, "a.isolate"),
        ({"output": "../plan.md"}, "output"),
        ({"output": "/plan.md"}, "output"),
        ({"output": "c:\\plan.md"}, "output"),
        ({"output": "c:plan.md"}, "output"),
        ({"output": "."}, "output"),
        ({"output": "plan.partial"}, "output"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_with_its_name(said: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        generate("a", "x", **said)
    assert refused.value.name == name


@pytest.mark.parametrize("name", ["", "1a", "a b", "input", "model", "workspace", "a" * 65, "a.b"])
def test_a_name_that_would_mean_something_else_is_refused(name: str) -> None:
    with pytest.raises(SettingsError):
        generate(name, "x")


def test_a_setting_that_would_do_nothing_is_refused() -> None:
    useless: tuple[dict[str, Any], ...] = (
        {"model": "m"},
        {"mode": "deep"},
        {"limits": {"idle": 3}},
        {"system": "x"},
        {"fallback": ("m",)},
    )
    for said in useless:
        with pytest.raises(SettingsError, match="no use for it"):
            Step("a", Kind.TOOL, command=("true",), **said)
    for kind in Kind:
        with pytest.raises(SettingsError):
            Step("a", kind)


def test_a_command_is_cut_into_words_before_its_places_are_filled() -> None:
    made = tool("a", "grep -n 'two words' ${input.file}")
    assert made.command == ("grep", "-n", "two words", "${input.file}")
    assert tool("a", ["printf", "", "#"]).command == ("printf", "", "#")
    with pytest.raises(SettingsError, match="quot"):
        tool("a", "echo 'open")


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([], "one step or more"),
        ([generate("a", "x"), generate("a", "y")], "two of it"),
        ([generate("a", "${b}")], "one of a"),
        ([generate("coder", "${codr}")], "did you mean coder"),
        ([generate("a", "${input}")], "input.idea"),
        ([generate("a", "x", output="o.md"), generate("b", "x", output="o.md")], "a file of its own"),
        ([generate("a", "x", output="B.md"), generate("b", "x")], "step b writes"),
        ([generate("a", "x"), generate("A", "x")], "step a writes"),
        (["a"], "a step, or a function"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_flow_that_cannot_be_meant_is_refused(steps: list[Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        Flow("x", steps)


def test_a_parameter_that_has_no_name_for_others_is_refused() -> None:
    def function(a: str, /) -> None: ...

    with pytest.raises(SettingsError, match="by its name"):
        Flow("x", [function])


def test_one_function_makes_the_same_step_each_time() -> None:
    assert step_of(planner) is step_of(planner)
    assert step_of(plain) == step_of(plain)


def test_the_heartbeat_has_the_name_that_was_agreed() -> None:
    assert EventType.HEARTBEAT.value == "LLM_HEARTBEAT"


def test_the_room_is_loaded_when_it_is_used_and_python_flows_need_no_reader_of_files() -> None:
    script = (
        "import sys, hangtight; assert 'hangtight.flows' not in sys.modules\n"
        "from hangtight.flows import Flow, generate, step\n"
        "Flow('x', [generate('a', 'x')]); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert not {"ruamel", "ruamel.yaml", "pydantic", "sqlalchemy", "dbos"} & set(loaded)
    assert set(hangtight.flows.__all__) <= set(dir(hangtight.flows))
    with pytest.raises(AttributeError):
        _ = hangtight.flows.stepp
