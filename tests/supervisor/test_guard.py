"""Nothing survives us, not even our `kill -9`: real owners with real children, killed at the worst moments."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from hangtight.supervisor import guard as program
from hangtight.supervisor import guarding
from hangtight.supervisor.family import start_of
from hangtight.supervisor.guarding import Guard
from hangtight.supervisor.orphans import end_all, guards_done, left_over
from hangtight.supervisor.spawning import spawn
from hangtight.supervisor.stopping import How, stopped
from tests.supervisor.kit import FORKS, IGNORES_SIGTERM, SLEEPS, Heard, is_gone, listed, python, run, soon, until

pytestmark = pytest.mark.real

OWNER = """
import asyncio, sys
from pathlib import Path
from hangtight.supervisor.guarding import Guard
from hangtight.supervisor.orphans import Leftover, Record
from hangtight.supervisor.spawning import spawn
from tests.supervisor import kit

async def main():
    folder, tells, scripts = Path(sys.argv[1]), sys.argv[2] == "tells", sys.argv[3:]
    guard = Guard(0.3)
    guard.start()
    if not tells:
        guard.tell = lambda *args: None
    record = Record(folder, guard.pid)
    heard = [kit.Heard() for _ in scripts]
    pids = [guard.pid]
    for n, (script, hear) in enumerate(zip(scripts, heard)):
        process = await spawn(kit.python(script), on_output=hear, guard=guard, stop_seconds=0.3)
        record.note(Leftover(f"m{n}", process.pid, process.started, process.pid, "d", 5800 + n, process.mark))
        pids.append(process.pid)
        if script == kit.FORKS:
            pids += await hear.children()
        elif script == kit.IGNORES_SIGTERM:
            await kit.until(lambda: "deaf" in hear)
    (folder / "pids").write_text(" ".join(map(str, pids)) + "\\n")
    await asyncio.sleep(600)

asyncio.run(main())
"""


def owner(folder: Path, *scripts: str, tells: bool = True) -> tuple[subprocess.Popen[bytes], int, list[int]]:
    """A small supervisor, its guard, and all that it started."""
    paths = os.pathsep.join([str(Path(program.__file__).parents[2]), str(Path(__file__).parents[2])])
    command = [*python(OWNER), str(folder), "tells" if tells else "silent", *scripts]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths})
    guard, *others = listed(folder / "pids")
    return process, guard, others


def test_nothing_survives_our_kill_9(tmp_path: Path) -> None:
    process, guard, others = owner(tmp_path, SLEEPS, SLEEPS, IGNORES_SIGTERM, FORKS, SLEEPS)
    assert len(others) == 5 + 3
    process.kill()
    process.wait()
    assert soon(lambda: all(is_gone(pid) for pid in others))
    assert soon(lambda: is_gone(guard))
    assert left_over(tmp_path) == []
    assert list(tmp_path.glob("processes-*")) == []


def test_nothing_survives_either_that_the_guard_was_not_told_of_yet(tmp_path: Path) -> None:
    process, guard, others = owner(tmp_path, SLEEPS, FORKS, tells=False)
    process.kill()
    process.wait()
    assert soon(lambda: all(is_gone(pid) for pid in others))
    assert soon(lambda: is_gone(guard))


def test_where_the_guard_was_killed_too_the_next_start_finds_what_is_left_and_ends_it(tmp_path: Path) -> None:
    process, guard, others = owner(tmp_path, SLEEPS, FORKS)
    assert left_over(tmp_path) == []  # its owner lives
    os.kill(guard, signal.SIGKILL)
    process.kill()
    process.wait()
    assert soon(lambda: is_gone(guard))
    assert run(guards_done(tmp_path, 5))
    found = left_over(tmp_path)
    assert [(one.model, one.pid, one.port) for one in found] == [("m0", others[0], 5800), ("m1", others[1], 5801)]
    ended = run(end_all(found, seconds=5))
    assert [how.how for _, how in ended] == [How.GONE, How.GONE]
    assert soon(lambda: all(is_gone(pid) for pid in others))
    assert left_over(tmp_path) == []


def test_the_next_start_can_wait_for_a_guard_that_is_still_at_work(tmp_path: Path) -> None:
    process, guard, others = owner(tmp_path, IGNORES_SIGTERM)
    os.kill(guard, signal.SIGSTOP)
    process.kill()
    process.wait()
    assert not run(guards_done(tmp_path, 0.1))
    assert [one.pid for one in left_over(tmp_path)] == others
    os.kill(guard, signal.SIGCONT)
    assert run(guards_done(tmp_path, 10))
    assert all(is_gone(pid) for pid in others)


def test_the_guard_is_not_impressed_by_the_signals_that_end_us(tmp_path: Path) -> None:
    process, guard, others = owner(tmp_path, SLEEPS)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guard, number)
    assert os.getsid(guard) == guard
    assert not is_gone(guard)
    process.kill()
    process.wait()
    assert soon(lambda: all(is_gone(pid) for pid in [guard, *others]))


def test_a_guard_that_was_killed_is_replaced_and_told_all() -> None:
    async def scene() -> None:
        guard = Guard(0.3)
        guard.start()
        first = await spawn(python(SLEEPS), guard=guard, stop_seconds=0.3)
        old = guard.pid
        os.kill(old, signal.SIGKILL)
        await until(lambda: guard.pid == 0)
        second = await spawn(python(SLEEPS), guard=guard, stop_seconds=0.3)
        assert guard.pid not in {0, old}
        await guard.close()  # with both of them up: its last deed
        assert first.is_gone()
        assert second.is_gone()
        for process in (first, second):
            assert await process.exited() == "killed by SIGTERM"
            process.close()

    run(scene())


@pytest.mark.parametrize("opens", [True, False], ids=["the kernel tells", "we look"])
def test_a_guard_that_was_killed_is_replaced_at_once_though_nothing_is_told_to_it(
    opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not opens:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.setattr(guarding, "LOOK", 0.05)

    async def scene() -> None:
        guard, told = Guard(0.3), list[int]()
        guard.start()
        kept = asyncio.create_task(guard.kept_alive(told.append))
        first = await spawn(python(SLEEPS), guard=guard, stop_seconds=0.3)
        old = guard.pid
        os.kill(old, signal.SIGKILL)
        await until(lambda: bool(told))
        assert told == [guard.pid]
        assert guard.pid not in {0, old}
        kept.cancel()
        await guard.close()  # the new one knows what the old one knew
        assert first.is_gone()
        first.close()

    run(scene())


def test_the_guard_does_not_hit_an_id_that_was_given_to_somebody_else() -> None:
    other = subprocess.Popen(python(SLEEPS), start_new_session=True)
    guard = subprocess.Popen([*GUARD, "nobody", "15", "0"], stdin=subprocess.PIPE)
    guard.communicate(f"+ {other.pid} 12345 15 0\n".encode(), timeout=10)
    assert other.poll() is None
    other.terminate()
    assert other.wait() == -signal.SIGTERM


def test_the_guard_leaves_alone_what_it_was_told_is_gone_and_lines_that_it_does_not_know() -> None:
    other = subprocess.Popen(python(SLEEPS), start_new_session=True)
    guard = subprocess.Popen([*GUARD, "nobody", "15", "0"], stdin=subprocess.PIPE)
    lines = f"+ {other.pid} {start_of(other.pid)} 15 0\nhello\n- {other.pid}\n- 1\n+ 77"
    guard.communicate(lines.encode(), timeout=10)
    assert guard.returncode == 0
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_supervisor_inside_of_another_ones_process_keeps_its_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(program.OWNER, "outer.1")

    async def scene() -> None:
        guard = Guard(0.3)
        guard.start()
        assert program.OWNER not in psutil.Process(guard.pid).environ()
        heard = Heard()
        process = await spawn(["/bin/sh", "-c", f"echo ${program.OWNER}"], on_output=heard, guard=guard)
        await process.exited()
        await process.said()
        assert heard.text.strip() == process.mark
        assert (await stopped(process)).how is How.GONE
        process.close()
        await guard.close()

    run(scene())


def test_the_guard_is_small_and_loads_nothing_but_the_interpreter() -> None:
    command = [GUARD[0], "-X", "importtime", *GUARD[1:], "nobody", "15", "0"]
    told = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True).stderr
    loaded = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    assert "os" in loaded
    assert not {"typing", "subprocess", "signal", "enum", "asyncio", "hangtight"} & loaded
    guard = subprocess.Popen([*GUARD, "nobody", "15", "0"], stdin=subprocess.PIPE)
    assert soon(lambda: psutil.Process(guard.pid).memory_info().rss > 0)
    assert psutil.Process(guard.pid).memory_info().rss < 16 << 20
    guard.communicate(timeout=10)


GUARD = [python("")[0], "-I", "-S", program.__file__]
