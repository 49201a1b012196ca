"""S1, the rules file: budgets by mode, preferred models by mode, priorities; read from `.qwencoderules`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.core.time import Instant
from hangtight.drivers import clock
from hangtight.drivers.standing import STANDING
from hangtight.testing.lab import Lab
from tests.acceptance.kit import project
from tests.acceptance.test_s1 import FOREVER, HEAVY, LIGHT, TALKS, client, played, text_of, timed, warm
from tests.scripted_api import ScriptedApi

RULES = """
budgets: {fast: 20, deep: 100, search: 60}
models: {fast: [qwen3:1.7b], deep: [qwen3-coder, "qwen3:1.7b"]}
priorities: {generate: critical, polish: low}
default_mode: deep
style: {indent: 4}
"""


def total_of(api: ScriptedApi, **settings: Any) -> float:
    async def main() -> float:
        asked = client(api, **settings)
        await warm(asked)
        api.scripts = {LIGHT: ["def ", 3.0] * 1000}
        took, late = await timed(text_of(asked, LIGHT))
        assert late.limit == "total"
        return took

    return played(main)


@pytest.mark.parametrize(("mode", "total"), [("fast", 20), ("deep", 100), ("search", 60), (None, 100)])
def test_the_rules_of_the_project_set_the_budget_of_a_mode(
    mode: str | None, total: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project(tmp_path, monkeypatch, qwencoderules=RULES):
        assert total_of(ScriptedApi({LIGHT: TALKS}), mode=mode) == total


def test_a_project_with_rules_that_name_no_mode_is_in_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with project(tmp_path, monkeypatch, qwencoderules='{"priorities": {"plan": "high"}}'):
        assert total_of(ScriptedApi({LIGHT: TALKS})) == 120


def test_without_rules_and_without_a_mode_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with project(tmp_path, monkeypatch):
        assert total_of(ScriptedApi({LIGHT: TALKS})) == 600


def test_the_models_of_a_mode_stand_in_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[tuple[str, float]]:
        api = ScriptedApi({HEAVY: [FOREVER], LIGHT: TALKS})
        asked = client(api, first_token=30)
        assert await text_of(asked) == "def process(): ..."
        return api.asked

    with project(tmp_path, monkeypatch, qwencoderules=RULES):
        assert played(main) == [(HEAVY, 0), (LIGHT, 30)]


@pytest.mark.real
def test_a_question_without_a_model_goes_to_the_one_that_the_mode_prefers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab() as lab:
        rules = "models: {fast: ['light,tokens=3,rate=400'], deep: ['heavy,status=503', 'light,tokens=3,rate=400']}"
        with project(tmp_path, monkeypatch, qwencoderules=rules):
            answer = hangtight.stream("Why?", mode="fast", url=lab.url)
            assert "".join(answer)
            assert answer.model == "light,tokens=3,rate=400"
            answer = hangtight.stream("Why?", url=lab.url)
            assert "".join(answer)
            assert [attempt.model for attempt in answer.attempts] == ["heavy,status=503"]


def test_priorities_say_who_is_critical_where_the_budget_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ["analyze", "plan", "generate"]
    with project(tmp_path, monkeypatch, qwencoderules=RULES), hangtight.budget(120, steps=steps) as task:
        assert [round(task.allotted(step)) for step in steps] == [36, 36, 48]


def test_a_file_that_is_edited_is_picked_up_and_a_broken_edit_keeps_what_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with project(tmp_path, monkeypatch, hangtight_yaml="limits: {idle: 7}"):
        now = [float(clock.now())]
        monkeypatch.setattr(clock, "now", lambda: Instant(now[0]))

        def idle() -> tuple[float | None, str]:
            now[0] += 2
            STANDING.settings()
            assert STANDING._following is not None
            assert STANDING._following.settle()
            value = hangtight.watch(["a"])._terms.resolved(None, False).values["idle"]
            return value.value, value.source

        assert idle() == (7, "hangtight.yaml:1")
        (tmp_path / "hangtight.yaml").write_text("heartbeat: 3\nlimits: {idle: 70}")
        assert idle() == (70, "hangtight.yaml:2")
        (tmp_path / "hangtight.yaml").write_text("limits: {idle: soon}")
        assert idle() == (70, "hangtight.yaml:2")
        assert "hangtight.yaml:1" in caplog.text
        assert "soon" in (STANDING.trouble or "")


def test_the_error_names_the_line_of_the_file_and_what_to_write_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> hangtight.GenerationTimeout:
        api = ScriptedApi({LIGHT: TALKS})
        await warm(client(api))
        api.scripts = {LIGHT: ["def ", FOREVER]}
        _, late = await timed(text_of(client(api), LIGHT))
        return late

    config = "limits:\n  idle: 30\nmodels:\n  'qwen3:*':\n    limits: {idle: 90}\n"
    with project(tmp_path, monkeypatch, hangtight_yaml=config):
        late = played(main)
    assert (late.limit, late.waited, late.source) == ("idle", 90, "hangtight.yaml:5")
    assert "idle: 180" in str(late)
    assert "hangtight log " in str(late)
