"""`hangtight run` seen from outside: the real command, real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hangtight.core.telling import WHY

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
    assert change.partition(WHY)[0] == "to wait longer:  hangtight run --idle 0.6 -- ..."


def test_a_process_that_repeats_itself_is_ended_and_the_line_to_change_works() -> None:
    # As slow as a model: a pipe brings what is printed at once in few pieces, and those are looked at now and then.
    says = "import time\nfor _ in range(60): print('I will now open the file again.', flush=True); time.sleep(0.01)"
    command = ("--", sys.executable, "-c", says)
    ended = run("--mode", "fast", "--model", "m", *command)
    assert ended.returncode == 124
    what, source, change, kept = ended.stderr.splitlines()
    assert what.startswith("Looping: m stuck - repeats itself: the same 32 characters, ")
    assert source == "intent = on (mode fast sets the total)"
    assert change.partition(WHY)[0] == "to let it go on:  hangtight run --no-intent -- ..."
    assert kept == "worth keeping:  the first 32 characters on stdout"
    let_go_on = run("--mode", "fast", "--no-intent", *command)
    assert (let_go_on.returncode, let_go_on.stderr) == (0, "")
    assert let_go_on.stdout.startswith(ended.stdout)


def test_a_process_whose_output_is_getting_on_has_more_time_where_somebody_gives_it() -> None:
    code = "; sleep 0.1; ".join(f"printf 'def f{n}(a, b):\n    return a[{n}] + b.c{n}\n\n'" for n in range(12))
    words = ("--total", "0.6", "--", "sh", "-c", code)
    assert run(*words).returncode == 124
    assert run("--extend-to", "30", *words).returncode == 0


def test_a_process_that_ends_by_itself_keeps_its_exit_code() -> None:
    assert run("--", "true").returncode == 0
    ended = run("--", "sh", "-c", "echo the reason >&2; exit 3")
    assert ended.returncode == 3
    assert ended.stderr.startswith("the reason\n")
