"""What a step has started ends with its run: after `kill -9`, before another attempt, and where it left its group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hangtight.flows import Engine, Flow, tool
from hangtight.flows.run import lifeline, processes
from tests.flows.lives import soon

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform == "win32", reason="there are no groups there"),
    pytest.mark.timeout(240),
]
in_proc = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc here")


def runs(pid: int) -> bool:
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(told.strip()) and told.strip()[0] not in "ZX"


def pids(path: Path) -> list[int]:
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Any]:
    """A program that runs this flow in a process of its own, which is killed at the end."""
    living: list[subprocess.Popen[bytes]] = []

    def begin(step: str, **inputs: str) -> subprocess.Popen[bytes]:
        lines = [
            "from pathlib import Path",
            "from hangtight.flows import Engine, Flow, Kind, Step, tool",
            "from tests.flows import isolated_steps as there",
            f"Engine({str(tmp_path / 'work')!r}).run(Flow('f', [{step}]), run_id='r', **{inputs!r})",
        ]
        living.append(subprocess.Popen([sys.executable, "-c", "\n".join(lines)]))
        return living[-1]

    yield begin
    for process in living:
        process.kill()
        process.wait()


def test_after_kill_9_the_command_of_a_step_is_ended_with_all_that_it_started(life: Any, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    running = life(f"tool('slow', ['sh', '-c', 'sleep 300 & echo $$ $! > {note}; wait'])")
    assert soon(lambda: len(pids(note)) == 2)
    running.send_signal(signal.SIGKILL)
    assert soon(lambda: not any(map(runs, pids(note))))


def test_after_kill_9_a_function_in_a_process_of_its_own_is_ended_too(life: Any, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    running = life("Step('hangs', Kind.PYTHON, function=there.hangs, isolate=True)", note=str(note))
    assert soon(lambda: len(pids(note)) == 2)
    running.send_signal(signal.SIGKILL)
    assert soon(lambda: not any(map(runs, pids(note))))


@in_proc
def test_before_a_step_is_done_again_what_an_earlier_life_has_left_is_ended(life: Any, tmp_path: Path) -> None:
    """Also where whoever listens was killed, too."""
    note = tmp_path / "pids"
    script = f"trap '' TERM; echo $$ >> {note}; while [ ! -e {tmp_path}/open ]; do sleep 0.1; done"
    running = life(f"tool('slow', ['sh', '-c', {script!r}])")
    assert soon(lambda: pids(note))
    found = subprocess.run(["pgrep", "-P", str(running.pid), "-f", "lifeline"], capture_output=True, check=True).stdout
    subprocess.run(["kill", "-9", *found.decode().split(), str(running.pid)], check=True)
    running.wait()
    assert runs(pids(note)[0])
    again = life(f"tool('slow', ['sh', '-c', {script!r}])")
    assert soon(lambda: len(pids(note)) == 2)
    assert not runs(pids(note)[0])
    (tmp_path / "open").touch()
    assert again.wait(20) == 0


@in_proc
def test_a_command_that_leaves_its_group_does_not_outlive_its_time(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {note}; exec sleep 300' & wait"
    with Engine(tmp_path) as engine:
        assert engine.run(Flow("f", [tool("slow", ["sh", "-c", script], timeout=1)])).outcome == "timeout"
    assert soon(lambda: not runs(pids(note)[0]))


def test_what_a_command_that_ends_well_leaves_in_the_background_goes_on(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"setsid sleep 300 > {tmp_path}/out 2>&1 & echo $! > {note}"
    with Engine(tmp_path) as engine:
        assert engine.run(Flow("f", [tool("starts", ["sh", "-c", script])])).finished
    (pid,) = pids(note)
    assert runs(pid)
    subprocess.run(["kill", "-9", str(pid)], check=True)


def test_where_the_one_that_listens_was_killed_another_one_is_told_all(tmp_path: Path) -> None:
    line = processes.Lifeline()
    slept = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        line.tell("mark.one", slept.pid)
        first = line._process
        assert first is not None
        first.kill()
        first.wait()
        line.tell("mark.two", 999999)
        assert line._process is not first
        line.close()
        assert slept.wait(20) == -signal.SIGTERM
    finally:
        slept.kill()
        slept.wait()


@in_proc
def test_who_was_killed_before_he_could_tell_the_group_has_told_the_mark(tmp_path: Path) -> None:
    """Between the start of a process and the line about it there is a moment."""
    line = processes.Lifeline()
    line.tell("mark.told-before")
    slept = subprocess.Popen(["sleep", "300"], env={**os.environ, lifeline.MARK: "mark.told-before"})
    try:
        line.close()
        assert slept.wait(20) == -signal.SIGKILL
    finally:
        slept.kill()
        slept.wait()


def test_a_mark_is_that_of_one_step_of_one_run_in_one_folder() -> None:
    told = [(Path("a"), "r", "s"), (Path("b"), "r", "s"), (Path("a"), "q", "s"), (Path("a"), "r", "t")]
    assert len({processes.mark_of(*each) for each in told}) == 4
    assert processes.mark_of(Path("a"), "\ud800", "s")
    assert not list(lifeline.bearing("nobody has this one"))
