"""Processes are started in words that say what is wrong, heard within bounds, and named so that no other is meant."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hangtight.supervisor import spawning
from hangtight.supervisor.spawning import SpawnFailed, ended_in_words, spawn
from tests.supervisor import kit
from tests.supervisor.kit import FORKS, SLEEPS, Heard, is_gone, python, until

pytestmark = pytest.mark.real

T = TypeVar("T")
LOOP: Callable[[], asyncio.AbstractEventLoop] | None = None


@pytest.fixture(autouse=True, params=["asyncio", "uvloop"])
def _under_both_loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "uvloop":
        monkeypatch.setattr(sys.modules[__name__], "LOOP", pytest.importorskip("uvloop").new_event_loop)


def run(work: Coroutine[Any, Any, T]) -> T:
    return kit.run(work, LOOP)


async def whole(command: list[str], env: dict[str, str] | None = None, cwd: str | None = None) -> tuple[str, str]:
    heard = Heard()
    process = await spawn(command, env, on_output=heard, cwd=cwd)
    how = await process.exited()
    await process.said()
    process.close()
    return how, heard.text


def test_its_end_is_told_in_words() -> None:
    assert run(whole(python("import sys; sys.exit(3)"))) == ("exit code 3", "")
    assert run(whole(["/bin/sh", "-c", "kill -SEGV $$"])) == ("killed by SIGSEGV", "")
    assert ended_in_words(-99) == "killed by signal 99"
    assert ended_in_words(None) == "still runs"


def test_both_its_outputs_are_one_and_its_input_is_empty() -> None:
    assert run(whole(["/bin/sh", "-c", "cat; echo out; echo err >&2"])) == ("exit code 0", "out\nerr\n")


def test_its_environment_is_ours_with_what_was_given_on_top(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OURS", "ours")
    monkeypatch.setenv("BOTH", "ours")
    _, text = run(whole(["/bin/sh", "-c", "echo $OURS $BOTH $HANGTIGHT_OWNER; pwd"], {"BOTH": "given"}, str(tmp_path)))
    assert text.startswith(f"ours given {os.getpid()}-")
    assert text.endswith(f"{tmp_path}\n")


def test_a_command_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    plain, script, rubbish = tmp_path / "plain", tmp_path / "script", tmp_path / "rubbish"
    plain.write_text("")
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    rubbish.write_bytes(b"\x7fELF nonsense")
    rubbish.chmod(0o755)
    for command, cwd, why in [
        (["no-such-program-here"], None, "no-such-program-here: no such program on the PATH"),
        ([str(tmp_path / "absent")], None, "no such program"),
        ([str(plain)], None, "it is not executable"),
        ([str(tmp_path)], None, "it is a folder"),
        ([str(script)], None, "interpreter does not exist"),
        *([] if LOOP else [([str(rubbish)], None, "no program that this machine can run")]),  # uvloop has a shell try
        (["true"], str(tmp_path / "nowhere"), f"there is no folder {tmp_path}/nowhere"),
        (["true", "x" * 3_000_000], None, "too long"),
        (["true", "a\0b"], None, "there is a NUL"),
        ([], None, "without words"),
    ]:
        with pytest.raises(SpawnFailed, match=why):
            run(whole(command, cwd=cwd))


def test_it_has_a_group_of_its_own_and_a_start_time() -> None:
    async def scene() -> None:
        process = await spawn(python(SLEEPS))
        assert os.getpgid(process.pid) == os.getsid(process.pid) == process.pid
        assert process.started.isdigit()
        assert process.remaining() == [process.pid]
        assert process.returncode is None
        process.ask_to_end()
        assert await process.exited() == "killed by SIGTERM"
        assert process.is_gone()
        process.close()

    run(scene())


def test_a_flood_without_line_ends_is_held_back_and_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawning, "MOST_IN_A_TURN", 1 << 20)
    came = 0

    def count(data: bytes) -> None:
        nonlocal came
        came += len(data)

    async def scene() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        process = await spawn(python("import os\nwhile True: os.write(1, b'\\xff\\x00' * 32768)"), on_output=count)
        await until(lambda: came > 3 << 20)  # it goes on after each pause
        await asyncio.sleep(3 * spawning.TURN)
        assert came < 20 << 20
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
        process.kill()
        assert await process.exited() == "killed by SIGKILL"
        process.close()

    run(scene())


def test_a_burst_comes_whole_however_large_it_is() -> None:
    how, text = run(whole(python("import sys; sys.stdout.write('x' * (3 << 20))")))
    assert (how, len(text)) == ("exit code 0", 3 << 20)


def test_its_end_is_told_at_once_though_its_output_is_kept_open_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawning, "DRAIN", 0.1)

    async def scene() -> None:
        heard = Heard()
        process = await spawn(["/bin/sh", "-c", "sleep 600 & echo children $!"], on_output=heard)
        (left,) = await heard.children()
        assert await process.exited() == "exit code 0"
        await process.said()
        assert process.remaining() == [left]
        process.kill()
        await until(process.is_gone)
        assert is_gone(left)
        process.close()

    run(scene())


def test_all_that_it_started_is_known_also_who_left_the_group_or_threw_its_environment_away() -> None:
    async def scene() -> None:
        heard = Heard()
        process = await spawn(python(FORKS), on_output=heard)
        children = await heard.children()
        assert process.remaining() == sorted([process.pid, *children])
        os.kill(process.pid, 9)
        await process.exited()
        assert process.remaining() == sorted(children)  # the last one has nothing left that names it
        process.kill()
        await until(process.is_gone)
        assert all(is_gone(child) for child in children)
        process.close()

    run(scene())


def test_letting_go_of_a_process_that_runs_kills_it() -> None:
    async def scene() -> None:
        process = await spawn(python(SLEEPS))
        process.close()
        await until(process.is_gone)

    run(scene())


def test_a_process_that_closes_its_output_goes_on_and_its_end_is_told() -> None:
    async def scene() -> None:
        process = await spawn(["/bin/sh", "-c", "exec >&- 2>&-; sleep 0.1; exit 5"])
        assert await process.exited() == "exit code 5"
        await process.said()
        process.close()

    run(scene())
