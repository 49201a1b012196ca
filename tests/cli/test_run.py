"""`hangtight run` seen from outside: the real command, real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.real

HANGTIGHT = [sys.executable, "-m", "hangtight"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HANGTIGHT, "run", *words], capture_output=True, text=True, check=False, env=os.environ)


def test_a_process_that_goes_silent_is_ended_with_the_text_so_far_passed_on() -> None:
    ended = run("--idle", "0.3", "--model", "mistral-7b", "--", "sh", "-c", "echo hello; sleep 600")
    assert ended.returncode == 124
    assert ended.stdout == "hello\n"
    what, source, change = ended.stderr.splitlines()
    assert what.startswith("IdleTimeout: mistral-7b stuck - no output for 0.3s")
    assert source == "idle = 0.3 comes from the call"
    assert change == "to wait longer:  hangtight run --idle 0.6 -- ..."


def test_a_process_that_ends_by_itself_keeps_its_exit_code() -> None:
    assert run("--", "true").returncode == 0
    ended = run("--", "sh", "-c", "echo the reason >&2; exit 3")
    assert ended.returncode == 3
    assert ended.stderr.startswith("the reason\n")
