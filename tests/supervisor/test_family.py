"""Which processes belong together, and that an id which the system gave to somebody else is never hit."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import psutil
import pytest

from hangtight.supervisor.family import Family
from hangtight.supervisor.guard import Seen, of_group, seen, seen_by_ps, seen_in_proc, start_of
from tests.supervisor.kit import SLEEPS, is_gone, python, run, soon

pytestmark = pytest.mark.real
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def group(*members: tuple[int, str], of: int = 100, session: int = 100) -> dict[int, Seen]:
    return {pid: Seen(pid, 1, of, session, started) for pid, started in members}


def test_a_group_is_ours_by_the_start_of_its_leader() -> None:
    assert of_group(group((100, "7"), (101, "8")), 100, "7") == {100, 101}
    assert of_group(group((100, "9"), (101, "9")), 100, "7") == set()


def test_a_group_without_its_leader_is_still_his_but_not_one_of_another_session() -> None:
    assert of_group(group((101, "8")), 100, "7") == {101}
    assert of_group(group((101, "8"), session=50), 100, "7") == set()


def test_an_id_that_was_given_away_again_is_not_hit() -> None:
    other = subprocess.Popen(python(SLEEPS), start_new_session=True)
    try:
        family = Family(other.pid, "12345")
        assert family.remaining() == []
        family.kill()
        assert Family(other.pid, start_of(other.pid)).remaining() == [other.pid]
    finally:
        other.terminate()
        assert other.wait() == -signal.SIGTERM  # not SIGKILL


def test_of_an_earlier_life_only_who_bears_the_mark_counts_where_the_leader_has_gone() -> None:
    command = ["/bin/sh", "-c", "sleep 600 & echo $!; wait"]
    leader = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, env={"HANGTIGHT_OWNER": "me.1"})
    assert leader.stdout is not None
    with leader.stdout:
        child = int(leader.stdout.readline())
    started = start_of(leader.pid)
    os.kill(leader.pid, signal.SIGKILL)
    leader.wait()
    assert Family(leader.pid, started).remaining() == [child]
    assert Family(leader.pid, started, "me.2", continuous=False).remaining() == []
    marked = Family(leader.pid, started, "me.1", continuous=False)
    assert marked.remaining() == [child]
    marked.kill()
    assert soon(lambda: is_gone(child))


@linux
def test_who_has_ended_and_waits_to_be_reaped_is_not_seen() -> None:
    process = subprocess.Popen(["true"])
    assert soon(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    assert process.pid not in seen()
    assert start_of(process.pid) == ""
    process.wait()


@linux
def test_a_name_with_spaces_and_parentheses_does_not_confuse() -> None:
    script = f"open('/proc/self/comm', 'w').write(') Z 1 (x'); print('named', flush=True); {SLEEPS}"
    process = subprocess.Popen(python(script), stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
    found = seen()[process.pid]
    assert (found.parent, found.group) == (os.getpid(), os.getpgrp())
    process.kill()
    process.wait()


def test_ps_sees_the_same_where_there_is_no_proc() -> None:
    process = subprocess.Popen(python(SLEEPS), start_new_session=True)
    by_ps = seen_by_ps()[process.pid]
    assert (by_ps.parent, by_ps.group, by_ps.session) == (os.getpid(), process.pid, process.pid)
    assert len(by_ps.started.split("_")) == 5
    if sys.platform == "linux":
        assert seen_in_proc()[process.pid].group == process.pid
    process.kill()
    process.wait()
    assert process.pid not in seen_by_ps("-p", str(process.pid))


@pytest.mark.parametrize("opens", [True, False], ids=["the kernel tells", "looking"])
def test_the_end_of_a_process_that_is_not_our_child_is_noticed(opens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not opens:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.setattr("hangtight.supervisor.family.LOOK", 0.01)
    process = subprocess.Popen(python(SLEEPS), start_new_session=True)

    async def scene() -> None:
        waits = asyncio.create_task(Family(process.pid, start_of(process.pid)).exited())
        await asyncio.sleep(0.05)
        assert not waits.done()
        assert await Family(process.pid, "12345").exited() == "ended"  # that one has long gone
        process.kill()
        assert await waits == "ended"

    run(scene())
    process.wait()
    assert run(Family(process.pid, "12345").exited()) == "ended"
