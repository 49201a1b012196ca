"""Steps that meet what is not usual: folders that cannot be written, loops that are held, texts that are too much."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hangtight.errors import SettingsError
from hangtight.flows import Engine, Event, EventType, Flow, Kind, Step, generate, tool
from hangtight.flows.run import workspace
from hangtight.flows.run.claims import FOLDER, claimed_in_turn
from tests.flows.lives import soon
from tests.flows.models import CODER, Told, ran

real = pytest.mark.real


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def go(flow: Flow, scripts: Any = None, **given: Any) -> Told:
        return ran(monkeypatch, tmp_path, flow, scripts, **given)

    return go


def does(function: Any, **settings: Any) -> Step:
    return Step(function.__name__, Kind.PYTHON, function=function, **settings)


# -- files ----------------------------------------------------------------------------------------------------


def test_no_model_is_asked_for_what_cannot_be_written(run: Any, tmp_path: Path) -> None:
    (tmp_path / "plan.md").mkdir()
    told = run(Flow("f", [generate("plan", "Plan it", model=CODER)]), {CODER: ["text"]})
    assert told.result.outcome == "failed"
    assert str(tmp_path / "plan.md") in told.result.error
    assert not told.models.asked


def test_a_disk_that_is_full_ends_the_step_at_once_and_names_the_file(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = workspace.Draft._put

    def full(self: workspace.Draft, text: str, how: str) -> None:
        if text:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.partial))
        put(self, text, how)

    monkeypatch.setattr(workspace.Draft, "_put", full)
    told = run(Flow("f", [generate("plan", "Plan it", model=CODER)]), {CODER: ["a", 10.0, "b", 10.0, "c"]})
    assert told.result.outcome == "failed"
    assert "plan.md.partial" in told.result.error
    assert told.result.elapsed < 2


def test_half_a_character_breaks_no_step(run: Any, tmp_path: Path) -> None:
    def broken() -> dict[str, str]:
        return {"a\ud800": "b\udc00", "whole": "\ud83d\ude00"}

    flow = Flow("f", [generate("plan", "Plan ${input.idea}", model=CODER), does(broken, after=("plan",))])
    told = run(flow, {CODER: ["so \ud83d", "\ude00 and \ud800"]}, idea="\udcff")
    assert told.result.outputs == {
        "plan": "so \U0001f600 and \ufffd",
        "broken": {"a\ufffd": "b\ufffd", "whole": "\U0001f600"},
    }
    assert told.models.asked[0]["messages"][-1]["content"] == "Plan \ufffd"
    assert (tmp_path / "plan.md").read_text(encoding="utf-8") == "so \U0001f600 and \ufffd"


# -- two runs -------------------------------------------------------------------------------------------------


@real
def test_two_runs_that_would_write_the_same_files_are_not_done_at_once(tmp_path: Path) -> None:
    begun, release = threading.Event(), threading.Event()

    def waits() -> str:
        begun.set()
        release.wait(30)
        return "done"

    flow, other = Flow("f", [does(waits)]), Flow("g", [tool("else", "echo hello")])

    async def main() -> None:
        async with Engine(tmp_path) as engine, Engine(tmp_path) as second:
            first = asyncio.create_task(engine.arun(flow, run_id="books"))
            await asyncio.to_thread(begun.wait, 20)
            with pytest.raises(SettingsError, match=r"run books, which writes waits\."):
                await second.arun(flow)
            assert (await second.arun(other)).finished
            spec, wanted = second.prepared(flow, inputs={})

            async def in_turn() -> bool:
                async with claimed_in_turn(spec, wanted):
                    return first.done()

            later = asyncio.create_task(in_turn())
            await asyncio.sleep(0.05)
            assert not later.done()
            release.set()
            assert (await first).finished
            assert await later
            assert (await second.arun(flow)).finished

    asyncio.run(main())
    assert not (tmp_path / FOLDER).exists()


@real
def test_a_run_that_was_killed_holds_no_files(tmp_path: Path) -> None:
    script = (
        "from hangtight.flows import Engine, Flow, tool\n"
        f"Engine({str(tmp_path)!r}).run(Flow('f', [tool('slow', 'sleep 300')]))\n"
    )
    running = subprocess.Popen([sys.executable, "-c", script])
    try:
        assert soon(lambda: (tmp_path / "slow.txt.partial").exists())
        with Engine(tmp_path) as engine:
            with pytest.raises(SettingsError):
                engine.run(Flow("f", [tool("slow", "echo fast")]))
            running.kill()
            running.wait()
            assert engine.run(Flow("f", [tool("slow", "echo fast")])).finished
    finally:
        running.kill()
        running.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slow.txt"]


# -- time -----------------------------------------------------------------------------------------------------


@real
def test_a_function_that_held_the_loop_beyond_its_time_has_timed_out(tmp_path: Path) -> None:
    async def blocks() -> str:
        time.sleep(1.0)  # noqa: ASYNC251 - that is what it does wrong
        return "late"

    events: list[Event] = []
    with Engine(tmp_path, on_event=events.append) as engine:
        result = engine.run(Flow("f", [does(blocks, timeout=0.3)]))
    assert result.outcome == "timeout"
    assert "blocks timed out (0.3s total)" in result.error
    assert EventType.TIMED_OUT in [event.type for event in events]
    assert [path.name for path in tmp_path.iterdir()] == ["blocks.txt.error"]


@real
def test_what_a_tool_says_without_end_holds_nobody_else_up(tmp_path: Path) -> None:
    late: list[float] = []
    machine: list[float] = []

    async def beside() -> None:
        while True:
            at = time.monotonic()
            await asyncio.sleep(0.01)
            late.append(time.monotonic() - at - 0.01)

    async def at_the_machine() -> None:
        while True:
            at = time.monotonic()
            await asyncio.to_thread(time.sleep, 0.01)
            machine.append(time.monotonic() - at - 0.01)

    async def main() -> int:
        beating, bare = asyncio.create_task(beside()), asyncio.create_task(at_the_machine())
        async with Engine(tmp_path) as engine:
            result = await engine.arun(Flow("f", [tool("much", "head -c 60000000 /dev/zero")]))
        beating.cancel()
        bare.cancel()
        assert result.finished
        return len(result.outputs["much"])

    began = time.monotonic()
    assert asyncio.run(main()) == 60_000_000 == (tmp_path / "much.txt").stat().st_size
    took = time.monotonic() - began
    assert max(late) < took / 4 + 2 * max(machine)


# -- texts ----------------------------------------------------------------------------------------------------


@real
def test_a_text_that_is_too_long_for_a_command_is_told_with_what_to_write_instead(tmp_path: Path) -> None:
    with Engine(tmp_path) as engine:
        result = engine.run(Flow("f", [does(many), tool("show", "echo ${many}")]))
        assert (result.outcome, result.step) == ("failed", "show")
        assert "${many.file}" in result.error
        assert engine.run(Flow("f", [does(many), tool("show", "wc -c ${many.file}")])).outputs["show"].startswith("5")
        result = engine.run(Flow("f", [tool("show", "echo ${input.a}")]), a="x" * 5_000_000)
        assert "a shorter command" in result.error
        assert len(result.error) < 500


def many() -> str:
    return "x" * 5_000_000


@real
def test_what_a_command_has_said_ends_with_its_line_where_it_is_used(tmp_path: Path) -> None:
    flow = Flow("f", [tool("version", ["printf", "a b\n\n"]), tool("tell", ["printf", "<%s>", "${version}"])])
    with Engine(tmp_path) as engine:
        outputs = engine.run(flow).outputs
    assert outputs == {"version": "a b\n\n", "tell": "<a b>"}
    assert (tmp_path / "version.txt").read_text() == "a b\n\n"
