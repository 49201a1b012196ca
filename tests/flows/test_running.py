"""Runs on virtual time: what runs when, how long, and how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.errors import SettingsError
from hangtight.flows import EventType, Flow, Kind, Step, generate, tool
from hangtight.testing.scripted import Hang, ScriptedModel, Tokens
from tests.flows.models import CODER, FOREVER, Told, ran


def does(function: Any, **settings: Any) -> Step:
    return Step(function.__name__, Kind.PYTHON, function=function, **settings)


def sleeps(name: str, seconds: float, **settings: Any) -> Step:
    """A step that takes so long and puts out its name."""

    async def work() -> str:
        await asyncio.sleep(seconds)
        return name

    return Step(name, Kind.PYTHON, function=work, **settings)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def go(flow: Flow, scripts: Any = None, **given: Any) -> Told:
        return ran(monkeypatch, tmp_path, flow, scripts, **given)

    return go


def test_steps_whose_needs_are_there_run_side_by_side(run: Any) -> None:
    flow = Flow("f", [sleeps("a", 10), sleeps("b", 10), sleeps("c", 5, after=("a", "b")), sleeps("d", 3, after=("a",))])
    told = run(flow)
    assert told.result.finished
    assert told.result.outputs == {name: name for name in "abcd"}
    assert told.result.elapsed == pytest.approx(15, abs=0.2)


def test_what_a_step_puts_out_stands_in_the_prompt_of_the_next_and_in_its_file(run: Any, tmp_path: Path) -> None:
    flow = Flow(
        "f",
        [
            generate("plan", "Plan ${input.idea}", model=CODER, system="Be brief."),
            generate("write", "Do it: ${plan}", model="b"),
        ],
    )
    told = run(flow, {CODER: ["1. ", 2.0, "Begin"], "b": ["done"]}, idea="a game")
    assert told.result.outputs == {"plan": "1. Begin", "write": "done"}
    assert [asked["messages"][-1]["content"] for asked in told.models.asked] == ["Plan a game", "Do it: 1. Begin"]
    assert told.models.asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.md", "write.md"]
    assert (tmp_path / "plan.md").read_text() == "1. Begin"


def test_of_a_model_that_goes_silent_the_text_so_far_is_kept_with_the_reason(run: Any, tmp_path: Path) -> None:
    told = run(Flow("f", [generate("code", "x", model=CODER)]), {CODER: ["def ", 1.0, "main", FOREVER]})
    assert told.result.outcome == "timeout"
    assert told.result.step == "code"
    assert isinstance(told.result.cause, hangtight.IdleTimeout)
    assert "stuck - no output for 45s" in told.result.error
    assert told.result.elapsed == pytest.approx(46, abs=0.5)
    assert (tmp_path / "code.md.partial").read_text() == "def main"
    assert "stuck" in (tmp_path / "code.md.error").read_text()
    assert not (tmp_path / "code.md").exists()


def test_a_timeout_of_a_step_is_a_total_and_no_mode(run: Any) -> None:
    """45 s of silence are borne, although 0.2 x 100 would be less."""
    scripts = {CODER: ["a", 40.0, "b", FOREVER]}
    told = run(Flow("f", [generate("code", "x", model=CODER, timeout=100)]), scripts)
    assert isinstance(told.result.cause, hangtight.IdleTimeout)
    assert told.result.elapsed == pytest.approx(85, abs=0.5)
    talks = {CODER: ["a", 10.0] * 60}
    told = run(Flow("f", [generate("code", "x", model=CODER, timeout=100)]), talks)
    assert isinstance(told.result.cause, hangtight.TotalTimeout)
    assert "timed out (100s total)" in told.result.error
    assert told.result.elapsed == pytest.approx(100, abs=0.1)


def test_only_a_limit_of_the_run_cuts_silence_to_a_share_of_what_remains(run: Any) -> None:
    flow = Flow("f", [generate("code", "x", model=CODER)])
    told = run(flow, {CODER: ["a", FOREVER]}, total=100)
    assert told.result.elapsed == pytest.approx(20, abs=0.5)
    told = run(flow, {CODER: ["a", FOREVER]}, total=1000)
    assert told.result.elapsed == pytest.approx(45, abs=0.5)


def test_a_mode_that_a_step_names_sets_its_total_and_the_engines_only_cuts(run: Any) -> None:
    talks = {CODER: ["a b c ", 5.0] * 200}
    told = run(Flow("f", [generate("code", "x", model=CODER, mode="fast", limits={"extend_to": 30})]), talks)
    assert told.result.elapsed == pytest.approx(30, abs=0.5)
    told = run(Flow("f", [generate("code", "x", model=CODER, mode="deep")]), talks, engine={"timeout": 40})
    assert told.result.elapsed == pytest.approx(40, abs=0.5)


def test_a_fallback_takes_over_also_in_the_middle_and_the_file_has_its_text_alone(run: Any, tmp_path: Path) -> None:
    flow = Flow("f", [generate("code", "x", model=CODER, fallback=["light"])])
    told = run(flow, {CODER: ["half an ", 1.0, "ans", FOREVER], "light": ["a whole one"]})
    assert told.result.outputs == {"code": "a whole one"}
    assert (tmp_path / "code.md").read_text() == "a whole one"
    assert not list(tmp_path.glob("*.partial"))
    assert told.of(EventType.STEP_FINISHED)[0].told["model"] == "light"


def test_a_step_is_done_again_after_a_failure_that_is_worth_it(run: Any, tmp_path: Path) -> None:
    flow = Flow("f", [generate("code", "x", model=CODER, retries=2)])
    told = run(flow, {CODER: [[503], [503], ["good"]]})
    assert told.result.outputs == {"code": "good"}
    assert [event.told["attempt"] for event in told.of(EventType.RETRIED)] == [1, 2]
    assert told.of(EventType.STEP_FINISHED)[0].told["attempt"] == 3
    assert not list(tmp_path.glob("*.error"))


def test_what_the_server_refuses_is_not_asked_again(run: Any) -> None:
    told = run(Flow("f", [generate("code", "x", model=CODER, retries=2)]), {CODER: [400]})
    assert told.result.outcome == "failed"
    assert len(told.models.asked) == 1


def test_retries_stay_within_the_time_of_the_step(run: Any) -> None:
    flow = Flow("f", [generate("code", "x", model=CODER, retries=9, timeout=100)])
    told = run(flow, {CODER: [["a", FOREVER] for _ in range(9)]})
    assert told.result.elapsed <= 100.1
    assert len(told.models.asked) == 3


def test_a_function_that_does_not_end_is_left_at_its_time(run: Any) -> None:
    told = run(Flow("f", [sleeps("code", 1e5, timeout=60)]))
    assert told.result.outcome == "timeout"
    assert told.result.elapsed == pytest.approx(60, abs=0.1)
    assert "step code timed out (60s total)" in told.result.error
    assert told.result.cause is not None
    assert told.result.cause.elapsed == pytest.approx(60, abs=0.1)


def test_a_function_that_heeds_no_cancellation_is_left_behind_and_that_is_told(run: Any) -> None:
    async def deaf() -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                continue

    told = run(Flow("f", [does(deaf, timeout=10)]))
    assert told.result.elapsed == pytest.approx(10, abs=0.1)
    assert told.of(EventType.TIMED_OUT)[0].told["left_running"] is True


def test_calls_of_models_in_a_function_take_the_time_of_its_step(run: Any) -> None:
    async def asks() -> str:
        async for _ in hangtight.watch(ScriptedModel(Tokens(5000)), model=CODER):
            pass
        return ""

    told = run(Flow("f", [does(asks, timeout=700, source="f.yaml:7")]))
    assert told.result.elapsed == pytest.approx(700, abs=0.1)
    late = told.result.cause
    assert isinstance(late, hangtight.TotalTimeout)
    assert (late.source, late.limit) == ("f.yaml:7", "total")


def test_a_call_in_a_step_may_be_shorter_and_never_longer(run: Any) -> None:
    def asking(**limits: Any) -> Flow:
        async def asks() -> None:
            async for _ in hangtight.watch(ScriptedModel(Tokens(1), Hang()), **limits):
                pass

        return Flow("f", [does(asks, timeout=60)])

    assert run(asking(idle=7)).result.elapsed == pytest.approx(8, abs=0.1)
    assert run(asking(idle=600, total=700)).result.elapsed == pytest.approx(60, abs=0.1)


def test_a_run_with_a_total_ends_at_it_and_keeps_what_has_ended(run: Any) -> None:
    flow = Flow("f", [sleeps("a", 20), sleeps("b", 500, after=("a",)), sleeps("c", 1, after=("b",))])
    told = run(flow, total=120)
    assert (told.result.outcome, told.result.error) == ("timeout", "[Budget exhausted] Task incomplete.")
    assert told.result.outputs == {"a": "a"}
    assert told.result.step == "b"
    assert told.result.elapsed == pytest.approx(120, abs=0.2)
    assert [event.step for event in told.of(EventType.STEP_STARTED)] == ["a", "b"]


def test_what_is_kept_for_a_later_step_is_not_taken_by_an_earlier_one(run: Any) -> None:
    told = run(Flow("f", [sleeps("a", 500), sleeps("b", 1, after=("a",), minimum=40)]), total=100)
    assert told.result.elapsed == pytest.approx(60, abs=0.2)


def test_a_step_that_fails_ends_the_run_and_the_others_are_stopped(run: Any) -> None:
    def wrong() -> None:
        raise ValueError("no")

    flow = Flow("f", [does(wrong), sleeps("long", 1000)])
    told = run(flow)
    assert told.result.outcome == "failed"
    assert told.result.error.startswith("ValueError: no (after ")
    assert told.result.elapsed < 1.5
    assert {event.step: event.told["outcome"] for event in told.of(EventType.STEP_FINISHED)} == {
        "wrong": "failed",
        "long": "cancelled",
    }


def test_cancelled_it_stops_within_a_second_whatever_its_steps_do(run: Any) -> None:
    async def deaf() -> None:
        for _ in range(5):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                continue

    async def cancel(engine: Any, run_id: str) -> None:
        await asyncio.sleep(30)
        assert await engine.cancel(run_id)

    flow = Flow("f", [sleeps("long", 1000), does(deaf)])
    told = run(flow, during=cancel)
    assert told.result.outcome == "cancelled"
    assert 30 <= told.result.elapsed < 31
    assert told.kinds[-1] is EventType.RUN_FINISHED
    assert told.events[-1].told["outcome"] == "cancelled"


def test_who_cancels_the_caller_gets_the_cancellation_back(run: Any, monkeypatch: Any) -> None:
    async def limited(engine: Any, run_id: str) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await engine.arun(Flow("other", [sleeps("long", 1000)]))

    assert run(Flow("f", [sleeps("a", 10)]), during=limited).result.finished


def test_a_tool_is_refused_its_inputs_before_anything_begins(run: Any) -> None:
    flow = Flow("f", [tool("say", "echo ${input.name}")])
    with pytest.raises(SettingsError, match=r"input\.name"):
        run(flow)
    with pytest.raises(SettingsError, match="nam"):
        run(flow, name="x", nam="y")


def test_the_journal_knows_the_run_and_the_step_of_each_call(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.acceptance.kit import project, read

    flow = Flow("f", [generate("plan", "x", model=CODER), generate("write", "${plan}", model="b")])
    with project(tmp_path, monkeypatch):
        run(flow, {CODER: ["a"], "b": ["b"]}, run_id="my-run")
        told = {row.step: (row.run, row.model) for row in read().calls()}
    assert told == {"plan": ("my-run", CODER), "write": ("my-run", "b")}
