"""The command where its standard streams are closed, full or gone, and under signals that are to be ignored."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform == "win32", reason="shells and signals of POSIX")]

RUN = f"{sys.executable} -m hangtight run"
SLOW = f"{sys.executable} -m hangtight lab child --load 0.6 --load-progress --tokens 3 --rate 100"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2>/dev/null"])
def test_a_stderr_that_takes_nothing_ends_no_healthy_model(stderr: str) -> None:
    done = shell(f"{RUN} -- {SLOW} {stderr}")
    assert (done.returncode, len(done.stdout.split())) == (0, 3)


@pytest.mark.parametrize(("command", "code"), [("sh -c 'exit 3'", 3), ("no-such-program", 127), ("sleep 60", 124)])
def test_exit_codes_survive_a_closed_stderr(command: str, code: int) -> None:
    assert shell(f"{RUN} --first-token 0.3 -- {command} 2>&-").returncode == code


def test_a_stdout_that_takes_nothing_is_told_in_one_line() -> None:
    for closed in (">&-", ">/dev/full"):
        done = shell(f"{RUN} -- echo hello {closed}")
        assert done.returncode == 1
        assert done.stderr.startswith("hangtight: the output cannot be written")
        assert len(done.stderr.splitlines()) == 1


def test_with_all_streams_closed_the_bytes_of_a_child_are_no_signals_to_us() -> None:
    done = shell(f"{RUN} --idle 9 -- sh -c 'printf \"\\017\" >&2; exit 5' <&- >&- 2>&-")
    assert done.returncode == 5


def test_a_signal_that_was_ignored_before_us_stays_ignored() -> None:
    line = f"trap '' HUP; {RUN} -- sh -c 'kill -HUP $PPID; sleep 0.3; echo done'"
    assert shell(line).stdout == "done\n"


def test_what_cannot_be_run_is_told_in_one_line() -> None:
    done = shell(f"{RUN} -- /etc/passwd/x")
    assert (done.returncode, done.stderr) == (126, "hangtight: /etc/passwd/x: cannot be run: Not a directory\n")


def test_a_reader_that_leaves_is_no_error_to_tell_of() -> None:
    done = shell(f"{RUN} -- sh -c 'while true; do echo line; done' | head -1")
    assert (done.stdout, done.stderr) == ("line\n", "")
