"""The rules file of a project, in whichever of three syntaxes it is written."""

from __future__ import annotations

import pytest

from tests.rules.kit import Place, values

YAML = """\
language: python
budgets: {fast: 20, deep: 100, review: 90}
models:
  fast: [qwen3:1.7b, tiny]
  deep: qwen3-coder
  qwen3-coder: {limits: {idle: 33}, temperature: 0.2}
priorities: {generate: critical, plan: low}
limits: {idle: 50}
"""
TOML = """\
language = "python"
budgets = {fast = 20, deep = 100, review = 90}
[models]
fast = ["qwen3:1.7b", "tiny"]
deep = "qwen3-coder"
qwen3-coder.limits.idle = 33
[priorities]
generate = "critical"
plan = "low"
[limits]
idle = 50
"""
JSON = """\
{"language": "python",
 "budgets": {"fast": 20, "deep": 100, "review": 90},
 "models": {"fast": ["qwen3:1.7b", "tiny"], "deep": "qwen3-coder",
            "qwen3-coder": {"limits": {"idle": 33}}},
 "priorities": {"generate": "critical", "plan": "low"},
 "limits": {"idle": 50}}
"""


@pytest.mark.parametrize("text", [YAML, TOML, JSON], ids=["yaml", "toml", "json"])
def test_the_three_syntaxes_say_the_same(place: Place, text: str) -> None:
    place.write(".qwencoderules", text)
    settings = place.load()
    totals = {mode: values(settings, mode)["total"].value for mode in settings.modes}
    assert totals == {"fast": 20, "deep": 100, "search": 60, "review": 90}
    assert settings.fallback("fast", "qwen3:1.7b") == ("tiny",)
    assert settings.modes["deep"].models == ("qwen3-coder",)
    assert settings.priorities == {"generate": "critical", "plan": "low"}
    assert settings.models["qwen3-coder"].layers[0].values == {"idle": 33}
    assert values(settings)["total"].source == ".qwencoderules:2"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (YAML, "budgets: {deep: 240}  in .qwencoderules"),
        (TOML, "budgets.deep = 240  in .qwencoderules"),
        (JSON, '{"budgets": {"deep": 240}}  in .qwencoderules'),
    ],
    ids=["yaml", "toml", "json"],
)
def test_the_line_to_change_is_in_the_syntax_of_the_file(place: Place, text: str, line: str) -> None:
    place.write(".qwencoderules", text)
    assert values(place.load())["total"].change.format(name="total", value=240) == line


def test_a_budget_may_be_extended_to_twice_as_long(place: Place) -> None:
    place.write(".qwencoderules", "budgets: {deep: 100, fast: null}")
    settings = place.load()
    assert values(settings, "deep")["extend_to"].value == 200
    assert values(settings, "fast")["extend_to"].value is None


@pytest.mark.parametrize(
    ("rules", "config", "mode"),
    [
        (None, "", None),
        (None, "default_mode: fast", "fast"),
        ("", "", "deep"),
        ("style: loud", "", "deep"),
        ("default_mode: search", "default_mode: fast", "search"),
        ("default_mode: null", "default_mode: fast", None),
        ("", "default_mode: fast", "fast"),
        ("", "default_mode: null", None),
        ("default_mode: own", "modes: {own: 3}", "own"),
    ],
)
def test_a_project_with_rules_has_a_default_mode(
    place: Place, rules: str | None, config: str, mode: str | None
) -> None:
    place.write("hangtight.yaml", config)
    if rules is not None:
        place.write(".qwencoderules", rules)
    assert place.load().default_mode == mode


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("style: loud\ntests: {always: true}\nx: [1, 2]", None),
        ("budget: {fast: 3}", "budgets"),
        ("limit: {idle: 3}", "limits"),
        ("stepTimeout: 3", "step_timeout"),
        ("models: {qwen3: {limit: {idle: 3}}}", "limits"),
        ("models: {deap: [a]}", "deep"),
        ("models: {other: [a]}", None),
        ("models: {qwen3: {temperature: 3}}", None),
    ],
)
def test_other_keys_are_left_alone_but_a_near_miss_is_told(place: Place, text: str, near: str | None) -> None:
    place.write(".qwencoderules", text)
    remarks = place.load().remarks
    assert len(remarks) == (near is not None)
    assert near is None or remarks[0].endswith(f"did you mean {near}?")


@pytest.mark.parametrize("text", ["models: qwen3", "models: [a]", "priorities: [speed]", "preferred_models: x"])
def test_what_others_may_have_meant_is_left_alone_and_told(place: Place, text: str) -> None:
    place.write(".qwencoderules", text)
    assert len(place.load().remarks) == 1


def test_rules_do_not_say_where_the_journal_or_a_server_is(place: Place) -> None:
    place.write(".qwencoderules", "journal: postgresql://elsewhere/j\nmodels: {a: {proxy: http://elsewhere}}")
    settings = place.load()
    assert (settings.journal, settings.proxy("a")) == (None, None)
    assert any("journal" in remark for remark in settings.remarks)


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("budgets: {fast: 0}", 1, "budgets.fast"),
        ("budgets: 30", 1, "budgets"),
        ("x: 1\nmodels:\n  fast: [1]", 3, "models.fast"),
        ("preferred_models: {fast: 3}", 1, "preferred_models.fast"),
        ("limits: {idel: 3}", 1, "limits.idel"),
        ("priorities: {a: 3}", 1, "priorities.a"),
        ("default_mode: own", 1, "default_mode"),
    ],
)
def test_what_is_ours_must_be_right(place: Place, text: str, line: int, key: str) -> None:
    place.write(".qwencoderules", text)
    (problem,) = place.problems()
    assert (problem.file, problem.line, problem.key) == (".qwencoderules", line, key)


CONFIG_BELOW = """\
limits: {load: 1, cold: 2}
models: {m: {limits: {load: 3}, reasons: true, fallback: [c]}}
modes: {fast: {total: 9, models: [c]}}
step_timeout: 5
priorities: {a: low, b: low}
"""
RULES_ABOVE = """\
limits: {cold: 4}
models: {m: {limits: {load: 6}, fallback: [r]}}
preferred_models: {fast: [r]}
budgets: {fast: 7}
step_timeout: 8
priorities: {a: high}
"""


def test_the_rules_stand_above_the_config_within_each_rank(place: Place) -> None:
    place.write("hangtight.yaml", CONFIG_BELOW)
    place.write(".qwencoderules", RULES_ABOVE)
    settings = place.load()
    found = values(settings, "fast")
    assert (found["load"].value, found["cold"].value, found["total"].value) == (6, 4, 7)
    assert values(settings, "fast", in_step=True)["total"].value == 8
    assert (settings.reasons("m"), settings.fallback("fast", "m")) == (True, ("r",))
    assert settings.modes["fast"].models == ("r",)
    assert settings.priorities == {"a": "high", "b": "low"}
    assert settings.places["step_timeout"] == ".qwencoderules:5"
