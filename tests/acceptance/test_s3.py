"""S3: steps with limits of their own, heartbeats while a model works, and every event in a database.

First what holds for any call; then, in a flow, the thirteen tests of their workflow engine, by their names.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.drivers.portal import Portal
from hangtight.drivers.standing import STANDING
from hangtight.flows import Engine, EventType, Flow, Kind, Step, generate, load, tool
from hangtight.journal.reading import Decision
from hangtight.testing import jumping
from hangtight.testing.lab import Lab
from hangtight.testing.scripted import Hang, ScriptedModel, Silence, Thoughts, Tokens
from tests.acceptance.kit import project, read
from tests.flows.models import FOREVER, Told, ran
from tests.lateness import lateness

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


def test_the_timeout_of_a_call_includes_the_elapsed_time() -> None:
    async def main() -> None:
        with pytest.raises(hangtight.GenerationTimeout) as caught:
            async for _ in hangtight.watch(ScriptedModel(Tokens(10), Hang()), model=CODER):
                pass
        assert caught.value.elapsed == 55
        assert "55s" in str(caught.value)

    jumping(main())


@pytest.mark.real
def test_the_error_of_a_request_includes_the_elapsed_time_and_stands_in_the_log(
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


# -- the thirteen, in a flow ----------------------------------------------------------------------------------

QUARKUS = Path(__file__).parents[2] / "examples" / "flows" / "quarkus.yaml"
TALKS = ["word ", 10.0] * 400
"""A model that never stops: what ends it is a total."""
RUN = Callable[..., Told]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RUN:
    """Runs a flow on virtual time, against scripted models."""
    monkeypatch.chdir(tmp_path)

    def go(flow: Any, scripts: Any, **given: Any) -> Told:
        return ran(monkeypatch, tmp_path / "work", flow, scripts, **given)

    return go


def one(**settings: Any) -> Flow:
    return Flow("one", [generate("coder", "Write it.", model=CODER, **settings)])


def beats(told: Told) -> list[float]:
    return told.elapsed(EventType.HEARTBEAT)


def test_step_timeout_overrides_engine_timeout(run: RUN) -> None:
    assert run(one(timeout=1800), {CODER: TALKS}, engine={"timeout": 60}).result.elapsed == pytest.approx(1800, abs=1)
    assert run(one(timeout=30), {CODER: TALKS}, engine={"timeout": 60}).result.elapsed == pytest.approx(30, abs=1)


def test_step_without_timeout_uses_engine_timeout(run: RUN) -> None:
    assert run(one(), {CODER: TALKS}, engine={"timeout": 700}).result.elapsed == pytest.approx(700, abs=1)
    assert run(one(), {CODER: TALKS}).result.elapsed == pytest.approx(300, abs=1)


def test_quarkus_flow_has_different_timeouts(run: RUN) -> None:
    flow = load(QUARKUS)
    assert {name: (step.timeout, step.model) for name, step in flow.steps.items()} == {
        "planner": (300, "qwen3-coder:latest"),
        "coder": (1800, "qwen3-coder:latest"),
    }
    told = run(QUARKUS, {CODER: [["a plan"], TALKS]}, idea="a list of books")
    assert told.result.step == "coder"
    assert "timed out (1800s total)" in told.result.error
    assert told.result.outputs == {"planner": "a plan"}


def test_model_overrides_keep_timeouts(run: RUN, monkeypatch: pytest.MonkeyPatch) -> None:
    told = run(QUARKUS, {CODER: ["a plan"], "tiny": TALKS}, models={"coder": "tiny"}, idea="x")
    assert "tiny request timed out (1800s total)" in told.result.error
    told = run(
        QUARKUS, {CODER: ["a plan"], "tiny": TALKS}, models={"coder": "tiny"}, changes={"coder.total": 900}, idea="x"
    )
    assert "tiny request timed out (900s total)" in told.result.error


def test_heartbeat_event_type_exists() -> None:
    assert EventType("LLM_HEARTBEAT") is EventType.HEARTBEAT
    assert str(EventType.HEARTBEAT) == "LLM_HEARTBEAT"


@pytest.mark.parametrize("script", [[40.0, "word"], ["word ", 4.0] * 10])
def test_heartbeat_emitted_during_generation(run: RUN, script: list[Any]) -> None:
    """Silent or streaming."""
    assert beats(run(one(), {CODER: script})) == [15, 30]


def test_heartbeat_includes_elapsed_time(run: RUN) -> None:
    told = run(one(), {CODER: ["a ", 40.0, "b ", 40.0]}).of(EventType.HEARTBEAT)
    assert told[2].payload == "Still waiting on qwen3-coder:latest... 45s elapsed"
    assert told[2].told["elapsed"] == pytest.approx(45, abs=0.1)


def test_heartbeat_interval_zero_disables(run: RUN, monkeypatch: pytest.MonkeyPatch) -> None:
    assert beats(run(one(), {CODER: [40.0, "a"]}, engine={"heartbeat": 0})) == []
    monkeypatch.setenv(INTERVAL, "0")
    assert beats(run(one(), {CODER: [40.0, "a"]})) == []


def test_engine_passes_heartbeat_interval(run: RUN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the calls inside too: the journal has the same."""
    with project(tmp_path, monkeypatch):
        assert beats(run(one(), {CODER: [40.0, "a"]}, engine={"heartbeat": 12})) == [12, 24, 36]
        (row,) = read().calls()
        told = read().find(row.id)
    assert told is not None
    assert [round(decision.after) for decision in told.decisions if decision.kind == "heartbeat"] == [12, 24, 36]


def test_environment_variable_respected(run: RUN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"{INTERVAL}=25\n")
    assert beats(run(one(), {CODER: [40.0, "a"]})) == [25]
    monkeypatch.setenv(INTERVAL, "20")
    assert beats(run(one(), {CODER: [40.0, "a"]})) == [20, 40]


def test_default_heartbeat_interval_is_15(run: RUN) -> None:
    assert beats(run(one(), {CODER: [40.0, "a"]})) == [15, 30]


def test_timeout_errors_include_elapsed_time(run: RUN, tmp_path: Path) -> None:
    told = run(one(), {CODER: ["a", FOREVER]})
    assert isinstance(told.result.cause, hangtight.IdleTimeout)
    assert told.result.cause.elapsed == pytest.approx(45, abs=0.1)
    assert "in 45s so far" in told.result.error
    assert "in 45s so far" in (tmp_path / "work" / "coder.md.error").read_text()
    assert told.elapsed(EventType.TIMED_OUT) == [45]


def test_request_errors_include_elapsed_time(run: RUN) -> None:
    told = run(one(), {CODER: [5.0, 500]})
    assert isinstance(told.result.cause, hangtight.BackendError)
    assert told.result.cause.elapsed == pytest.approx(5, abs=0.1)
    assert "(after 5s)" in told.result.error
    assert told.elapsed(EventType.STEP_FINISHED) == [5]


# -- and what follows from it ---------------------------------------------------------------------------------


def test_a_flow_without_a_time_setting_runs_as_before(run: RUN) -> None:
    """Two models that each need four minutes: neither a mode nor a budget is around them."""
    flow = Flow("old", [generate("plan", "x", model="a"), generate("code", "${plan}", model="b")])
    told = run(flow, {"a": ["a ", 40.0] * 6, "b": ["b ", 40.0] * 6})
    assert told.result.finished
    assert told.result.elapsed == pytest.approx(480, abs=1)


async def _hangs() -> None:
    await asyncio.sleep(60)


async def _heeds_nothing() -> None:
    for _ in range(2):
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            continue


def _blocks() -> None:
    time.sleep(8)


def _short(seconds: float) -> Callable[[], Any]:
    async def work() -> None:
        await asyncio.sleep(seconds)

    return work


def _chain(*last: Step) -> Flow:
    """Steps of half a second one after the other, and what comes at the end of them; five in all."""
    before = [
        Step(f"s{n}", Kind.PYTHON, function=_short(0.5), after=(f"s{n - 1}",) if n else ())
        for n in range(5 - len(last))
    ]
    return Flow("five", [*before, *last])


DEAF = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
FIVE = {
    "the last one hangs": _chain(Step("last", Kind.PYTHON, function=_hangs, after=("s3",))),
    "the last one heeds nothing": _chain(Step("last", Kind.PYTHON, function=_heeds_nothing, after=("s3",))),
    "the last one blocks, critical": _chain(Step("last", Kind.PYTHON, function=_blocks, after=("s3",), critical=True)),
    "a tool heeds no signal, beside a model that talks on": _chain(
        tool("deaf", DEAF, after=["s2"]), generate("talks", "x", model="tokens=1000,rate=20", after=["s2"])
    ),
}


@pytest.mark.real
@pytest.mark.parametrize("what", FIVE)
def test_a_budget_of_3_s_over_five_steps_ends_like_a_bare_timer_beside_it(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def took(work: Any) -> float:
        began = asyncio.get_running_loop().time()
        await work
        return asyncio.get_running_loop().time() - began

    async def main(engine: Engine) -> tuple[float, float, str]:
        ran = engine.arun(FIVE[what], total=3)
        run = asyncio.ensure_future(ran)
        bare, whole = await asyncio.gather(took(asyncio.sleep(3)), took(run))
        return bare, whole, run.result().outcome

    with Lab() as lab, Engine(tmp_path) as engine:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{lab.url}/v1")
        with lateness() as late:
            bare, whole, outcome = Portal().call(main(engine))
    assert outcome == "timeout"
    assert abs(whole - bare) < 0.05 + 3 * late.seconds
    assert whole / bare < 1.02 + late.seconds
