"""Flows in files: what a file means, and all that is wrong with one at once, with its lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hangtight.core.limits import AUTO, UNSET
from hangtight.errors import SettingsError
from hangtight.flows import Flow, Kind, generate, load, step, tool
from hangtight.flows.definition.as_data import definition, flow_of, from_definition
from hangtight.flows.definition.reading import read_tree
from hangtight.flows.definition.steps import Step
from hangtight.flows.port import RunSpec
from hangtight.rules.errors import SettingsErrors
from hangtight.rules.reading import parse
from tests.flows.kit import Written, acyclic, problems_of, written

__all__ = ["written"]

QUARKUS = Path(__file__).resolve().parents[2] / "examples" / "flows" / "quarkus.yaml"

WHOLE = """\
flow: shop
total: 3600
timeout: 600
heartbeat: 0
steps:
  write:
    generate: |
      Write this:
      ${plan}
    system: You write ${input.language}.
    model: qwen3-coder:latest
    mode: deep
    fallback: [qwen3:1.7b]
    limits: {idle: 90, first_token: auto, total: 1800}
    critical: true
    minimum: 60
    retries: 2
    output: src/shop.py
  plan:
    generate: Plan ${input.idea}
    timeout: null
    weight: 2
  check:
    tool: python -m compileall 'src dir'
    after: write
"""
SHOP = [
    generate(
        "write",
        "Write this:\n${plan}\n",
        system="You write ${input.language}.",
        model="qwen3-coder:latest",
        mode="deep",
        fallback=["qwen3:1.7b"],
        limits={"idle": 90, "first_token": "auto", "total": 1800},
        critical=True,
        minimum=60,
        retries=2,
        output="src/shop.py",
    ),
    generate("plan", "Plan ${input.idea}", timeout=None, weight=2),
    tool("check", ["python", "-m", "compileall", "src dir"], after=["write"]),
]


def test_a_flow_from_a_file_is_the_same_flow_made_in_python(written: Written) -> None:
    flow = load(written(WHOLE, "flows/any.yaml"))
    assert flow == Flow("shop", SHOP, total=3600, timeout=600, heartbeat=0)
    assert list(flow.steps) == ["plan", "write", "check"]
    assert flow.inputs == ("idea", "language")
    assert flow.source == str(Path("flows/any.yaml"))
    assert flow.steps["plan"].source == f"{flow.source}:19"
    assert flow.steps["write"].limits["first_token"] is AUTO


def test_a_flow_without_a_time_setting_and_without_a_name(written: Written) -> None:
    flow = load(str(written("steps: {plan: {generate: Plan it.}}", "notes.yaml")))
    assert flow == Flow("notes", [generate("plan", "Plan it.")])
    assert (flow.total, flow.timeout, flow.heartbeat) == (None, UNSET, UNSET)


def test_the_quarkus_flow_has_a_limit_for_each_step() -> None:
    flow = load(QUARKUS)
    planner, coder = flow.steps["planner"], flow.steps["coder"]
    assert (planner.timeout, coder.timeout) == (300, 1800)
    assert planner.model == coder.model == "qwen3-coder:latest"


WRONG = """\
flow: shop
totl: 3600
timeout: 0
steps:
  planner:
    generate: Plan it.
    tool: "true"
    timeout: soon
  coder:
    generate: Write ${planer} in ${input}.
    idle: 90
    limits: {idel: 90, idle: -1}
    after: [planner, nobody]
  1st: {generate: x}
  input: {generate: x}
  empty: {timeout: 3}
  text: Write it.
  run:
    tool: "echo 'open"
    model: qwen3
  odd: {python: nowhere:function, retries: many}
  a: {generate: "${b}"}
  b: {generate: "${c}"}
  c: {generate: x, after: a}
  me: {generate: x, after: [me]}
"""


def test_all_that_is_wrong_is_told_at_once_with_its_line(written: Written) -> None:
    told = {(problem.line, problem.key): str(problem) for problem in problems_of(written(WRONG))}
    assert list(told) == [
        (2, "totl"),
        (3, "timeout"),
        (5, "steps.planner"),
        (8, "steps.planner.timeout"),
        (10, "steps.coder.generate"),
        (11, "steps.coder.idle"),
        (12, "steps.coder.limits.idel"),
        (12, "steps.coder.limits.idle"),
        (13, "steps.coder.after"),
        (14, "steps.1st"),
        (15, "steps.input"),
        (16, "steps.empty"),
        (17, "steps.text"),
        (19, "steps.run.tool"),
        (21, "steps.odd.retries"),
        (21, "steps.odd.python"),
        (22, "steps.a"),
        (25, "steps.me"),
    ]
    assert "did you mean total?" in told[2, "totl"]
    assert "did you mean limits.idle?" in told[11, "steps.coder.idle"]
    assert "did you mean idle?" in told[12, "steps.coder.limits.idel"]
    assert "a -> b -> c -> a" in told[22, "steps.a"]
    assert told[8, "steps.planner.timeout"].startswith('flow.yaml:8: steps.planner.timeout = "soon" cannot be used')
    assert "null" in told[8, "steps.planner.timeout"]


def test_a_place_that_names_no_step_says_which_was_meant(written: Written) -> None:
    (problem,) = problems_of(written("steps:\n  planner: {generate: x}\n  coder:\n    generate: ${planer.title}\n"))
    assert (problem.line, problem.found) == (4, "${planer.title}")
    assert "did you mean planner?" in problem.wanted
    assert "input.NAME" in problem.wanted


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("", 0, "steps"),
        ("steps:\n", 1, "steps"),
        ("flow: x\nsteps: [a]\n", 2, "steps"),
        ("flow: 3\nsteps: {a: {generate: x}}\n", 1, "flow"),
        ("steps:\n  a:\n    tool: ls\n    model: m\n", 4, "steps.a.model"),
        ("steps:\n  b:\n    generate: x\n    limits: {total: 3}\n    timeout: 9\n", 5, "steps.b.timeout"),
        ("steps:\n  a: {generate: x, output: o}\n  b: {generate: x, output: o}\n", 3, "steps.b.output"),
        ("steps:\n  a: {generate: x}\n  a: {generate: x}\n", 3, "steps.a"),
        ("steps:\n  a: {python: 'json:nothing'}\n", 2, "steps.a.python"),
        ("steps:\n  a: {python: 'missing.py:nothing'}\n", 2, "steps.a.python"),
        ("steps:\n  a: {python: nothing}\n", 2, "steps.a.python"),
        ("steps:\n  a: {generate: ''}\n", 2, "steps.a.generate"),
        ("steps: {a: {generate: x, source: y}}\n", 1, "steps.a.source"),
        ("steps:\n  a: {generate: x, limits: 3}\n", 2, "steps.a.limits"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_stands_in_the_line_that_is_to_blame(
    written: Written, text: str, line: int, key: str
) -> None:
    (problem,) = problems_of(written(text))
    assert (problem.line, problem.key) == (line, key)


@pytest.mark.parametrize("text", ["steps: [", "- a", "\0"])
def test_what_is_no_yaml_is_refused_as_a_whole(written: Written, text: str) -> None:
    assert problems_of(written(text))


def test_a_file_that_is_not_there_is_told_by_its_name() -> None:
    with pytest.raises(SettingsErrors, match=r"nowhere\.yaml"):
        load("nowhere.yaml")


def test_what_is_for_later_is_allowed_and_told(written: Written, caplog: pytest.LogCaptureFixture) -> None:
    path = written("progress: true\nsteps:\n  a:\n    generate: x\n    progress: true\n")
    with caplog.at_level(logging.WARNING, "hangtight.flows"):
        assert load(path) == Flow("flow", [generate("a", "x")])
    assert [record.message.partition(": ")[0] for record in caplog.records] == ["flow.yaml:1", "flow.yaml:5"]


# -- functions --------------------------------------------------------------------------------------------------------

TASKS = """\
from hangtight.flows import Flow, step

def tidy(plan, style="plain"): ...

@step(timeout=9, model="small", limits={"idle": 3})
def write(tidy): ...

flow = Flow("tasks", [write, tidy, step(name="plan")(lambda idea: idea)])
broken = 3
"""


@pytest.fixture
def tasks(written: Written) -> Iterator[Written]:
    import sys

    written(TASKS, "sub/some_tasks.py")
    before = set(sys.modules), list(sys.path)
    yield written
    sys.path[:] = before[1]
    for name in set(sys.modules) - before[0]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["some_tasks:tidy", "some_tasks.py:tidy"])
def test_functions_are_found_beside_the_file_and_wait_for_what_they_name(tasks: Written, name: str) -> None:
    flow = load(tasks(f"steps: {{b: {{python: '{name}', isolate: process}}, plan: {{generate: x}}}}", "sub/x.yaml"))
    made = flow.steps["b"]
    assert (made.needs, made.isolate, made.called) == (("plan",), True, name)
    assert from_definition(json.loads(json.dumps(definition(flow)))) == flow


def test_a_file_says_more_than_a_decorator(tasks: Written) -> None:
    text = "steps: {tidy: {generate: x}, write: {python: some_tasks:write, limits: {total: 20}}}"
    made = load(tasks(text, "sub/x.yaml")).steps["write"]
    assert (made.timeout, made.limits, made.model) == (20, {"idle": 3}, "small")


@pytest.mark.parametrize("name", ["sub/some_tasks.py:flow", "some_tasks:flow"])
def test_a_flow_in_python_is_found_by_its_name(tasks: Written, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name.startswith("some"):
        monkeypatch.chdir("sub")
    flow = load(name)
    assert (flow.name, flow.source, list(flow.steps)) == ("tasks", name, ["plan", "tidy", "write"])
    assert definition(flow) is None, "nobody else finds a lambda by its name"
    assert flow_of(RunSpec(id="1", flow="tasks", source=name)) == flow
    with pytest.raises(SettingsError, match="Flow"):
        load(name.replace(":flow", ":broken"))


def test_a_circle_through_the_parameters_of_a_function_is_found(tasks: Written) -> None:
    text = "steps:\n  plan: {generate: '${tidy}'}\n  tidy: {python: some_tasks:tidy}\n"
    (problem,) = problems_of(tasks(text, "sub/x.yaml"))
    assert problem.found == "plan -> tidy -> plan"


def test_a_module_that_fails_is_told_with_why(tasks: Written) -> None:
    tasks("raise OSError('no disk')", "sub/failing_tasks.py")
    (problem,) = problems_of(tasks("steps: {a: {python: failing_tasks:f}}", "sub/x.yaml"))
    assert "OSError: no disk" in problem.wanted


def test_the_flow_of_a_run_is_the_one_that_it_began_with_and_its_own_models(written: Written) -> None:
    path = written(WHOLE)
    kept = json.loads(json.dumps(definition(load(path))))
    spec = RunSpec(id="1", flow="shop", source=str(path), definition=kept, models={"plan": "m"}, changes={"total": 9})
    path.write_text("steps: {}")
    flow = flow_of(spec)
    assert (flow.steps["plan"].model, flow.total, flow.steps["write"].timeout) == ("m", 9, 1800)
    assert flow.steps["plan"].source == "flow.yaml:19"
    with pytest.raises(SettingsError, match="found by no other process"):
        flow_of(RunSpec(id="1", flow="shop", source=""))


# -- laws -------------------------------------------------------------------------------------------------------------

seconds = st.one_of(st.none(), st.floats(0.001, 1e9), st.integers(1, 10**9))
texts = st.text("ab #:{}'\"\n\té\u2028$", min_size=1, max_size=12).filter(str.strip)


def a_function(idea: str = "") -> None: ...


@st.composite
def said(draw: st.DrawFn, needs: list[str]) -> dict[str, Any]:
    """One step, as a file has it."""
    kind = draw(st.sampled_from(Kind))
    own: dict[str, st.SearchStrategy[Any]] = {
        "timeout": seconds, "weight": st.floats(0.1, 9), "critical": st.booleans(), "minimum": st.integers(0, 9),
        "retries": st.integers(0, 9),
    }  # fmt: skip
    if kind is not Kind.TOOL:
        limits = {"idle": seconds | st.just("auto"), "thinking": seconds, "cold": seconds}
        own |= {"model": texts, "mode": texts}
        own |= {"limits": st.fixed_dictionaries({}, optional=limits)}
    if kind is Kind.GENERATE:
        own |= {"system": texts, "fallback": st.lists(texts, unique=True)}
    work: dict[Kind, st.SearchStrategy[Any]] = {
        Kind.GENERATE: texts.map(lambda text: text + "".join(f" ${{{need}.x}}" for need in needs) + " ${input.a-b}"),
        Kind.TOOL: st.lists(texts, min_size=1).map(lambda words: [*words, *(f"${{{n}}}" for n in needs)]),
        Kind.PYTHON: st.just(f"{__name__}:a_function"),
    }  # fmt: skip
    told: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=own))
    return {kind.value: draw(work[kind]), **told, **({"after": needs} if kind is Kind.PYTHON else {})}


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    steps = {name: draw(said(needs)) for name, needs in draw(acyclic()).items()}
    times = {"total": seconds, "timeout": seconds, "heartbeat": seconds | st.just(0)}
    return {"flow": "any", **draw(st.fixed_dictionaries({}, optional=times)), "steps": steps}


def in_python(data: dict[str, Any]) -> Flow:
    """The same, as somebody would write it in Python."""
    steps: list[Step] = []
    for name, section in data["steps"].items():
        told = dict(section)
        if "generate" in told:
            steps.append(generate(name, told.pop("generate"), **told))
        elif "tool" in told:
            steps.append(tool(name, told.pop("tool"), **told))
        else:
            del told["python"]
            made = Step(name, Kind.PYTHON, function=a_function, **told)
            steps.append(made)
    return Flow(data["flow"], steps, **{key: data[key] for key in ("total", "timeout", "heartbeat") if key in data})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(files())
def test_any_flow_is_the_same_from_yaml_in_python_and_back_from_its_definition(data: dict[str, Any]) -> None:
    import sys

    sys.modules.setdefault(__name__, sys.modules[a_function.__module__])
    text = json.dumps(data, indent=1)  # JSON is YAML, and what is written is what is read
    flow = read_tree(parse(text, "any.yaml", "yaml"), Path(), "other").flow
    assert flow == in_python(data)
    assert list(flow.steps) == list(in_python(data).steps)
    again = from_definition(json.loads(json.dumps(definition(flow))))
    assert again == flow
    assert (again.source, list(again.steps)) == (flow.source, list(flow.steps))
    assert [step.source for step in again.steps.values()] == [step.source for step in flow.steps.values()]
    assert definition(again) == definition(flow)


def test_a_decorated_function_of_a_module_can_travel() -> None:
    made = step(timeout=3)(a_function)
    try:
        flow = Flow("x", [made])
        assert from_definition(json.loads(json.dumps(definition(flow)))) == flow
    finally:
        del made.__dict__["__hangtight_step__"]
