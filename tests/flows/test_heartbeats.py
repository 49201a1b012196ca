"""Signs of life: while a generation runs in a step, silent or streaming, and never after its end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.drivers.standing import STANDING
from hangtight.errors import SettingsError
from hangtight.flows import Engine, Event, EventType, Flow, Kind, Step, generate
from hangtight.flows.interval import usual_heartbeat, usual_timeout
from hangtight.testing import jumping
from hangtight.testing.lab.healthy import said_of_code
from hangtight.testing.scripted import ScriptedModel, Silence, Tokens
from tests.flows.models import CODER, FOREVER, ran

BEAT = EventType.HEARTBEAT


@pytest.fixture(autouse=True)
def _a_process_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("OLLAMA_HEARTBEAT_INTERVAL", "HANGTIGHT_HEARTBEAT", "HANGTIGHT_STEP_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    STANDING.reset()
    yield
    STANDING.reset()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def go(flow: Flow, scripts: Any = None, **given: Any) -> Any:
        return ran(monkeypatch, tmp_path, flow, scripts, **given)

    return go


CODE = Flow("f", [generate("code", "x", model=CODER)])


def test_they_go_out_each_15_s_silent_or_streaming_and_end_with_the_call(run: Any) -> None:
    told = run(CODE, {CODER: [40.0, *["a", 3.0] * 10]})
    assert told.elapsed(BEAT) == [15, 30, 45, 60]
    assert [event.payload for event in told.of(BEAT)][2] == "Still waiting on qwen3-coder:latest... 45s elapsed"
    assert told.events[-1].type is EventType.RUN_FINISHED


def test_they_end_when_the_call_times_out(run: Any) -> None:
    told = run(CODE, {CODER: ["a", FOREVER]})
    assert told.elapsed(BEAT) == [15, 30, 45]


def test_a_step_without_a_generation_has_none(run: Any) -> None:
    async def slow() -> None:
        await asyncio.sleep(100)

    assert run(Flow("f", [Step("slow", Kind.PYTHON, function=slow, model=CODER)])).of(BEAT) == []


def test_a_generation_in_a_function_has_them_for_as_long_as_it_runs(run: Any) -> None:
    async def asks() -> None:
        await asyncio.sleep(100)
        async for _ in hangtight.watch(ScriptedModel(Silence(20), Tokens(15)), model=CODER):
            pass
        await asyncio.sleep(100)

    told = run(Flow("f", [Step("asks", Kind.PYTHON, function=asks)]))
    assert told.elapsed(BEAT) == [15, 30]
    assert told.of(BEAT)[0].payload == f"Still waiting on {CODER}... 15s elapsed"


def test_two_steps_have_their_own(run: Any) -> None:
    flow = Flow("f", [generate("a", "x", model="a"), generate("b", "y", model="b", after=["a"])])
    told = run(flow, {"a": [20.0, "a"], "b": [33.0, "b"]})
    assert told.elapsed(BEAT, "a") == [15]
    assert told.elapsed(BEAT, "b") == [15, 30]


def test_with_another_model_in_the_middle_the_time_is_that_of_the_whole_call(run: Any) -> None:
    flow = Flow("f", [generate("code", "x", model=CODER, fallback=["light"])])
    told = run(flow, {CODER: ["a", FOREVER], "light": [20.0, "b"]})
    assert told.elapsed(BEAT) == [15, 30, 45, 60]
    assert told.of(BEAT)[-1].told["model"] == "light"


def test_progress_is_told_four_times_a_second_at_most(run: Any) -> None:
    told = run(CODE, {CODER: ["a", 0.01] * 500})
    assert 15 <= len(told.of(EventType.PROGRESS)) <= 21
    assert told.of(EventType.PROGRESS)[-1].told["tokens"] <= 500


def test_a_deadline_that_the_text_has_moved_is_told(run: Any) -> None:
    flow = Flow("f", [generate("code", "Write code.", model=CODER, mode="fast")])
    told = run(flow, {CODER: [piece for index in range(200) for piece in (said_of_code(index), 0.2)]})
    assert told.result.finished
    moved = told.of(EventType.EXTENDED)
    assert moved
    assert moved[0].told["after"] > moved[0].told["before"]


# -- the interval ---------------------------------------------------------------------------------------------


def beats(run: Any, flow: Flow = CODE, **engine: Any) -> list[float]:
    found: list[float] = run(flow, {CODER: [40.0, "a"]}, engine=engine).elapsed(BEAT)
    return found


def test_the_argument_ranks_above_the_flow_and_the_flow_above_the_environment(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HEARTBEAT_INTERVAL", "20")
    slow = Flow("f", CODE.steps.values(), heartbeat=25)
    assert beats(run) == [20, 40]
    assert beats(run, slow) == [25]
    assert beats(run, slow, heartbeat=12) == [12, 24, 36]
    assert beats(run, slow, heartbeat=0) == []
    monkeypatch.setenv("HANGTIGHT_HEARTBEAT", "30")
    assert beats(run) == [30]


def test_dot_env_counts_and_the_environment_itself_ranks_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert usual_heartbeat() == 15
    (tmp_path / ".env").write_text("OLLAMA_HEARTBEAT_INTERVAL=20\n")
    assert usual_heartbeat() == 20
    monkeypatch.setenv("OLLAMA_HEARTBEAT_INTERVAL", "0")
    assert usual_heartbeat() is None
    monkeypatch.setenv("HANGTIGHT_HEARTBEAT", "soon")
    with pytest.raises(SettingsError):
        usual_heartbeat()


def test_the_timeout_of_steps_comes_from_the_settings_where_the_engine_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert usual_timeout() == 300
    monkeypatch.setenv("HANGTIGHT_STEP_TIMEOUT", "90")
    STANDING.reset()
    assert usual_timeout() == 90


# -- listeners ------------------------------------------------------------------------------------------------


async def nothing() -> None:
    await asyncio.sleep(0)


QUICK = Flow("f", [Step("quick", Kind.PYTHON, function=nothing)])


def test_a_listener_that_fails_is_complained_about_and_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Event] = []

    def fails(event: Event) -> None:
        raise ValueError("no")

    async def fails_too(event: Event) -> None:
        raise ValueError("neither")

    async def main() -> None:
        engine = Engine(tmp_path, on_event=fails)
        engine.listen(fails_too)
        engine.listen(seen.append)
        assert (await engine.arun(QUICK)).finished

    with caplog.at_level(logging.WARNING, "hangtight.flows"):
        asyncio.run(main())
    assert len(seen) == 4
    assert {"no", "neither"} <= {record.getMessage().rpartition(": ")[2] for record in caplog.records}


def test_an_async_listener_gets_all_events_in_their_order(tmp_path: Path) -> None:
    seen: list[EventType] = []

    async def listen(event: Event) -> None:
        await asyncio.sleep(0.01)
        seen.append(event.type)

    assert jumping(Engine(tmp_path, on_event=listen).arun(QUICK)).finished
    assert seen == [
        EventType.RUN_STARTED,
        EventType.STEP_STARTED,
        EventType.STEP_FINISHED,
        EventType.RUN_FINISHED,
    ]


def test_a_slow_listener_does_not_hold_the_run_up(tmp_path: Path) -> None:
    gate = threading.Event()
    began = time.monotonic()
    with Engine(tmp_path, on_event=lambda event: gate.wait(20)) as engine:
        result = engine.run(QUICK)
    took = time.monotonic() - began
    gate.set()
    assert result.finished
    assert result.elapsed < 10
    assert took < 19  # less than one event that is waited for


def test_a_generation_that_never_ends_beats_until_its_run_is_over(run: Any) -> None:
    async def asks() -> None:
        async for _ in hangtight.watch(ScriptedModel(Tokens(1000, every=10)), model=CODER):
            pass

    told = run(Flow("f", [Step("asks", Kind.PYTHON, function=asks)]), total=100)
    assert told.elapsed(BEAT) == [15, 30, 45, 60, 75, 90]
    assert told.result.outcome == "timeout"
