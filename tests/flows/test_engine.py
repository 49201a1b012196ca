"""The engine in real time: threads, processes, tools, the deadline to 50 ms; and what it gives a run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.errors import SettingsError
from hangtight.flows import Engine, Event, EventType, Flow, Kind, Step, generate, tool
from hangtight.flows.port import Ended, Hold, InMemory, RunSpec, Steps, Work
from hangtight.testing.lab import Lab
from tests.flows import isolated_steps as there

pytestmark = pytest.mark.real
SLACK = 0.05


def does(function: Callable[..., Any], **settings: Any) -> Step:
    return Step(function.__name__, Kind.PYTHON, function=function, **settings)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "work") as engine:
        yield engine


# -- tools ----------------------------------------------------------------------------------------------------


def test_the_output_of_a_tool_is_what_it_writes_in_the_folder_of_the_run(engine: Engine) -> None:
    flow = Flow("f", [tool("say", ["printf", "%s", "${input.a}"]), tool("where", "pwd", after=["say"])])
    result = engine.run(flow, a="$(id) ${x}; 'b'")
    assert result.outputs == {"say": "$(id) ${x}; 'b'", "where": f"{engine.workspace}\n"}


def test_a_tool_that_fails_says_why_with_the_elapsed_time(engine: Engine) -> None:
    script = "import sys; print('half'); sys.stderr.write('no such thing'); sys.exit(3)"
    result = engine.run(Flow("f", [Step("bad", Kind.TOOL, command=(sys.executable, "-c", script))]))
    assert (result.outcome, result.step) == ("failed", "bad")
    assert "exit code 3 after" in result.error
    assert "no such thing" in result.error
    assert (engine.workspace / "bad.txt.partial").read_text() == "half\n"
    assert "no such thing" in (engine.workspace / "bad.txt.error").read_text()


def test_a_tool_is_ended_with_all_that_it_started_when_its_time_is_over(engine: Engine, tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/pid; echo begun; wait"
    result = engine.run(Flow("f", [tool("slow", ["sh", "-c", script], timeout=1)]))
    assert "step slow timed out (1s total)" in result.error
    assert 1 <= result.elapsed < 20  # how late it may be is held beside a bare timer, below
    assert (engine.workspace / "slow.txt.partial").read_text() == "begun\n"
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_tool_that_heeds_no_signal_is_killed_and_holds_nobody_up(tmp_path: Path) -> None:
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done"
    with Engine(tmp_path) as engine:
        result = engine.run(Flow("f", [tool("deaf", ["sh", "-c", script], timeout=1)]))
        assert result.elapsed < 20
    assert gone(int((tmp_path / "pid").read_text()))


def gone(pid: int) -> bool:
    """Within a few seconds this process runs no more."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


# -- functions ------------------------------------------------------------------------------------------------


def test_a_plain_function_runs_in_a_thread_and_one_that_blocks_is_left_behind(engine: Engine) -> None:
    release = threading.Event()
    names: list[str] = []

    def blocks() -> None:
        names.append(threading.current_thread().name)
        release.wait(30)

    events: list[Event] = []
    engine.listen(events.append)
    result = engine.run(Flow("f", [does(blocks, timeout=0.5)]))
    release.set()
    assert names == ["hangtight-step"]
    assert 0.5 <= result.elapsed < 15
    (late,) = [event for event in events if event.type is EventType.TIMED_OUT]
    assert late.told["limit"] == "total"


def test_one_that_is_isolated_runs_in_another_process(engine: Engine) -> None:
    flow = Flow("f", [does(there.who, isolate=True), does(there.double, isolate=True)])
    outputs = engine.run(flow, number=21).outputs
    assert outputs["who"] != os.getpid()
    assert outputs["double"] == 42


def test_the_error_of_one_that_is_isolated_is_the_same_error(engine: Engine) -> None:
    result = engine.run(Flow("f", [does(there.fails, isolate=True)]))
    assert isinstance(result.cause, KeyError)
    assert result.error.startswith("KeyError: 'missing' (after ")


def test_one_that_is_isolated_is_ended_with_all_that_it_started(engine: Engine, tmp_path: Path) -> None:
    result = engine.run(Flow("f", [does(there.hangs, isolate=True, timeout=3)]), note=str(tmp_path / "pids"))
    assert "timed out (3s total)" in result.error
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_what_cannot_be_found_by_another_process_is_refused(engine: Engine) -> None:
    def local() -> None:
        """Nobody else can import it."""

    result = engine.run(Flow("f", [does(local, isolate=True)]))
    assert isinstance(result.cause, SettingsError)


def test_a_generation_in_a_thread_beats_too(engine: Engine) -> None:
    events: list[Event] = []
    engine.heartbeat = 0.2
    engine.listen(events.append)
    with Lab() as lab:

        def asks() -> str:
            return hangtight.generate("?", url=lab.url, model="tokens=10,rate=10")

        result = engine.run(Flow("f", [does(asks)]))
    assert result.finished
    beats = [event for event in events if event.type is EventType.HEARTBEAT]
    assert 2 <= len(beats) <= 1 + result.elapsed / engine.heartbeat
    assert beats[0].payload == "Still waiting on tokens=10,rate=10... 0s elapsed"


def test_what_json_cannot_write_is_refused(engine: Engine) -> None:
    def odd() -> object:
        return object()

    assert isinstance(engine.run(Flow("f", [does(odd)])).cause, SettingsError)


# -- the deadline of a run ------------------------------------------------------------------------------------


async def hangs() -> None:
    await asyncio.sleep(60)


async def deaf() -> None:
    for _ in range(3):
        try:
            await asyncio.sleep(3)
        except asyncio.CancelledError:
            continue


def blocks() -> None:
    time.sleep(6)


def at_once() -> str:
    return "x"


HANGS = {
    "one of them hangs": [does(at_once), does(hangs, after=["at_once"])],
    "one heeds no cancellation": [does(at_once), does(deaf, after=["at_once"])],
    "one blocks": [does(at_once), does(blocks, after=["at_once"])],
    "a tool heeds no signal": [tool("deaf", ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])],
    "all of them at once": [
        does(hangs),
        does(deaf),
        does(blocks),
        tool("tool", ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]),
        generate("talks", "x", model="tokens=1000,rate=20"),
    ],
}


@pytest.mark.parametrize("what", HANGS)
def test_a_run_of_one_second_ends_like_a_bare_timer_beside_it(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab() as lab, Engine(tmp_path) as engine:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{lab.url}/v1")

        async def took(work: Any) -> tuple[float, Any]:
            began = asyncio.get_running_loop().time()
            result = await work
            return asyncio.get_running_loop().time() - began, result

        async def main() -> Any:
            ticking = asyncio.create_task(lateness())
            run = engine.arun(Flow("f", HANGS[what]), total=1)
            try:
                return await asyncio.gather(took(asyncio.sleep(1)), took(run))
            finally:
                ticking.cancel()

        late = [0.0]

        async def lateness() -> None:
            """By how much the machine itself is late: others may want it, too."""
            while True:
                before = time.monotonic()
                await asyncio.to_thread(time.sleep, 0.005)
                late[0] = max(late[0], time.monotonic() - before - 0.005)

        (bare, _), (run, result) = engine_loop(main())
    assert result.error == "[Budget exhausted] Task incomplete."
    assert run - bare < SLACK + 3 * late[0]


def engine_loop(main: Any) -> Any:
    """On a loop that waits for nothing that was left behind."""
    from hangtight.drivers.portal import Portal

    return Portal().call(main)


# -- what a run is given --------------------------------------------------------------------------------------


class Recorded(InMemory):
    """A store that has the outputs of an earlier life, and the spec of this one."""

    def __init__(self, **outputs: Any) -> None:
        super().__init__()
        self.kept = outputs
        self.specs: list[RunSpec] = []

    async def run(self, spec: RunSpec, body: Any) -> Ended:
        self.specs.append(spec)
        ended: Ended = await body(spec, Recording(self.kept))
        return ended

    async def outputs(self, run: str) -> dict[str, Any]:
        return self.kept


class Recording(Steps):
    resumed = True
    hold = Hold()

    def __init__(self, outputs: dict[str, Any]) -> None:
        self.outputs = outputs

    async def __call__(self, name: str, work: Work) -> Any:
        return self.outputs[name] if name in self.outputs else await work()


def test_a_step_that_has_finished_in_another_life_is_not_done_again(tmp_path: Path) -> None:
    done: list[str] = []
    events: list[Event] = []

    def first() -> str:
        done.append("first")
        return "new"

    def second(first: str) -> str:
        done.append("second")
        return first

    engine = Engine(tmp_path, on_event=events.append, store=Recorded(first="old"))
    result = asyncio.run(engine.arun(Flow("f", [does(first), does(second)]), total=30))
    assert done == ["second"]
    assert result.outputs == {"first": "old", "second": "old"}
    assert events[0].type is EventType.RUN_RESUMED


def test_a_run_that_is_taken_up_keeps_its_deadline(tmp_path: Path) -> None:
    flow = Flow("f", [does(hangs)])
    engine = Engine(tmp_path)
    spec, _ = engine.prepared(flow, total=100, inputs={})
    from dataclasses import replace

    late = replace(spec, began=spec.began - 99.5, deadline=spec.began + 0.5)
    now = time.time()

    async def main() -> Ended:
        return await engine.body(late, Recording({}))

    ended = asyncio.run(main())
    assert ended.outcome == "timeout"
    assert 100 - 0.01 <= ended.elapsed < 100 + time.time() - now
    over = replace(spec, began=spec.began - 200, deadline=spec.began - 100)
    ended = asyncio.run(engine.body(over, Recording({})))
    assert (ended.outcome, ended.error) == ("timeout", "[Budget exhausted] Task incomplete.")


def test_a_spec_is_plain_json_and_tells_the_whole_run(tmp_path: Path) -> None:
    import json
    from dataclasses import asdict

    store = Recorded(who=1, double=2)
    engine = Engine(tmp_path, heartbeat=0, timeout=70, store=store)
    flow = Flow("f", [does(there.who), does(there.double, model="m")])
    asyncio.run(engine.arun(flow, total=60, models={"double": "n"}, changes={"who.timeout": 5}, run_id="r7", number=4))
    (spec,) = store.specs
    told = json.loads(json.dumps(asdict(spec)))
    assert told["definition"]["steps"]["double"]["model"] == "m"
    assert (told["models"], told["changes"]) == ({"double": "n"}, {"who.timeout": 5})
    assert (told["heartbeat"], told["timeout"], told["inputs"]) == (None, 70, {"number": 4})
    assert told["deadline"] - told["began"] == 60
    assert RunSpec(**told) == spec
    elsewhere = Engine(tmp_path)
    assert asyncio.run(elsewhere.body(spec, Recording({"who": 1}))).outcome == "finished"


def test_minimums_that_do_not_fit_are_refused_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="minimums"):
        Engine(tmp_path).run(Flow("f", [does(at_once, minimum=20)]), total=10)


def test_an_engine_runs_one_flow_after_the_other_and_side_by_side(engine: Engine) -> None:
    flow = Flow("f", [does(at_once)])
    assert engine.run(flow).finished
    assert engine.run(flow).finished

    async def main() -> list[bool]:
        flows = [Flow("f", [Step(f"at{number}", Kind.PYTHON, function=at_once)]) for number in range(20)]
        return [result.finished for result in await asyncio.gather(*map(engine.arun, flows))]

    assert all(asyncio.run(main()))


def test_ctrl_c_cancels_the_run_and_what_it_started(tmp_path: Path) -> None:
    script = (
        "from hangtight.flows import Engine, Flow, tool\n"
        f"Engine({str(tmp_path)!r}).run(Flow('f', [tool('slow', ['sh', '-c', 'echo $$ > pid; exec sleep 300'])]))\n"
    )
    import subprocess

    running = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, start_new_session=True)
    try:
        for _ in range(1000):
            if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
                break
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    finally:
        running.kill()
    assert b"KeyboardInterrupt" in said
    assert gone(int((tmp_path / "pid").read_text()))
    assert (tmp_path / "slow.txt.error").exists()
