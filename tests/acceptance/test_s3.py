"""S3, as far as it needs no workflow: heartbeats set by the environment, and every event in a database.

The flow itself, its steps and its SSE events stand in later tests of this file.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.drivers.standing import STANDING
from hangtight.journal.reading import Decision
from hangtight.testing import jumping
from hangtight.testing.lab import Lab
from hangtight.testing.scripted import Hang, ScriptedModel, Silence, Thoughts, Tokens
from tests.acceptance.kit import project, read

CODER = "qwen3-coder:latest"
INTERVAL = "OLLAMA_HEARTBEAT_INTERVAL"


@pytest.fixture(autouse=True)
def _a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in (INTERVAL, "HANGTIGHT_HEARTBEAT"):
        monkeypatch.delenv(name, raising=False)
    STANDING.reset()
    yield
    STANDING.reset()


def beats_of(*steps: Any, **limits: Any) -> list[float]:
    """When a listener was told that the generation still runs."""

    async def main() -> list[float]:
        told: list[float] = []
        watched = hangtight.watch(
            ScriptedModel(*steps), model=CODER, on_heartbeat=lambda beat: told.append(beat.elapsed), **limits
        )
        try:
            async for _ in watched:
                pass
        except hangtight.GenerationTimeout:
            pass
        await asyncio.sleep(1000)
        return told

    return jumping(main())


def test_the_default_is_15_and_heartbeats_go_out_silent_or_streaming() -> None:
    assert beats_of(Silence(40), Tokens(30)) == [15, 30, 45, 60]


def test_they_stop_when_the_call_ends_however_it_ends() -> None:
    assert beats_of(Tokens(20), Hang()) == [15, 30, 45, 60]
    assert beats_of(Tokens(1)) == []


@pytest.mark.parametrize(("text", "beats"), [("20", [20, 40, 60]), ("0", []), ("", [15, 30, 45, 60])])
def test_the_environment_variable_is_respected_and_0_turns_it_off(
    text: str, beats: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(INTERVAL, text)
    assert beats_of(Silence(40), Tokens(30)) == beats


def test_so_is_dot_env_and_the_environment_itself_ranks_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project(tmp_path, monkeypatch, env=f"# theirs\n{INTERVAL}=20\nOTHER=1\n"):
        assert beats_of(Silence(40), Tokens(30)) == [20, 40, 60]
    monkeypatch.setenv(INTERVAL, "35")
    with project(tmp_path, monkeypatch):
        assert beats_of(Silence(40), Tokens(30)) == [35, 70]


def test_what_the_call_says_ranks_above_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERVAL, "20")
    assert beats_of(Silence(40), Tokens(30), heartbeat=30) == [30, 60]
    assert beats_of(Silence(40), Tokens(30), heartbeat=0) == []


def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *steps: Any, **limits: Any) -> list[Decision]:
    """What the journal tells of one generation that nobody listened to."""

    async def main() -> None:
        try:
            async for _ in hangtight.watch(ScriptedModel(*steps), model=CODER, **limits):
                pass
        except hangtight.GenerationTimeout:
            pass

    with project(tmp_path, monkeypatch):
        jumping(main())
        (row,) = read().calls()
        told = read().find(row.id)
    assert told is not None
    return list(told.decisions)


def test_every_event_is_in_the_database_with_the_time_at_which_it_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions = logged(tmp_path, monkeypatch, Silence(40), Tokens(10), Hang())
    assert [(decision.kind, round(decision.after)) for decision in decisions] == [
        *[("heartbeat", at) for at in (15, 30, 45, 60, 75, 90)],
        ("rang", 95),
        ("cancel sent", 95),
        ("cancel confirmed", 95),
    ]


def test_a_heartbeat_in_the_log_is_the_event_of_their_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beats = logged(tmp_path, monkeypatch, Silence(50), Tokens(1))
    told = beats[2].told
    assert told["type"] == "LLM_HEARTBEAT"
    assert told["payload"] == f"Still waiting on {CODER}... 45s elapsed"
    assert (told["phase"], told["elapsed"], told["tokens"]) == ("waiting", 45, 0)


def test_a_generation_that_reasons_is_logged_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beats = logged(tmp_path, monkeypatch, Thoughts(20), Tokens(1))
    assert [beat.told["phase"] for beat in beats] == ["thinking"]


def test_timeout_errors_include_the_elapsed_time() -> None:
    async def main() -> None:
        with pytest.raises(hangtight.GenerationTimeout) as caught:
            async for _ in hangtight.watch(ScriptedModel(Tokens(10), Hang()), model=CODER):
                pass
        assert caught.value.elapsed == 55
        assert "55s" in str(caught.value)

    jumping(main())


@pytest.mark.real
def test_request_errors_include_the_elapsed_time_and_stand_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab() as lab, project(tmp_path, monkeypatch):
        with pytest.raises(hangtight.BackendError) as caught:
            hangtight.generate("Why?", url=lab.url, model="status=500")
        assert caught.value.elapsed > 0
        (row,) = read().calls()
    assert (row.outcome, row.error) == ("failed", "BackendError 500")
    assert row.elapsed is not None
    assert row.elapsed > 0


def test_a_step_has_the_limit_of_the_environment_and_a_model_in_its_place_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HANGTIGHT_STEP_TIMEOUT", "300")

    async def main(model: str) -> float:
        late = pytest.raises(hangtight.TotalTimeout)
        with hangtight.budget(5000) as task, task.step("planner"), late as caught:
            async for _ in hangtight.watch(ScriptedModel(Tokens(5000)), model=model):
                pass
        assert "HANGTIGHT_STEP_TIMEOUT" in caught.value.source
        return float(caught.value.waited)

    assert jumping(main(CODER)) == jumping(main("another")) == 300
