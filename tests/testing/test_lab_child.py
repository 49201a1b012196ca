"""The model as a process, and the lab as a command, each seen from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from hangtight.cli.lab import app
from hangtight.testing.lab.child import Child, ChildError, signal_named
from hangtight.testing.lab.raw import Raw
from hangtight.testing.lab.words import text_of

COMMAND = [sys.executable, "-c", "from hangtight.cli.lab import app; app()"]
PATIENCE = 30

pytestmark = pytest.mark.real


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process of the lab; whatever the test leaves of it is killed."""
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def child(*arguments: str) -> tuple[str, str, int]:
    """Run one to its end: what it said, what it complained about, how it ended."""
    with started("child", "--rate", "10000", *arguments) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return out, err, process.returncode


def read(process: subprocess.Popen[str], length: int) -> str:
    assert process.stdout
    return process.stdout.read(length)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    return process.stderr.readline()


def test_a_child_says_its_tokens_and_ends_well() -> None:
    assert child("--tokens", "5") == (text_of("m,tokens=5"), "", 0)


def test_a_child_that_shows_its_load_writes_it_to_stderr() -> None:
    out, err, code = child("--tokens", "1", "--load", "0.01", "--load-progress", "--stderr", "hello")
    assert (out, code) == (text_of("m,tokens=1"), 0)
    assert err.splitlines()[:2] == ["hello", "load_tensors: 20 %"]
    assert err.splitlines()[-1] == "load_tensors: 100 %"


def test_a_child_dies_after_some_tokens_with_its_exit_code() -> None:
    assert child("--die-after", "3", "--exit-code", "7") == (text_of("m,tokens=3"), "", 7)


@pytest.mark.parametrize("name", ["KILL", "SIGSEGV", "sigterm"])
@pytest.mark.skipif(sys.platform == "win32", reason="no signals to die by")
def test_a_child_dies_by_a_signal_on_its_own(name: str) -> None:
    out, _, code = child("--die-after", "2", "--signal", name)
    assert out == text_of("m,tokens=2")
    assert code == -signal_named(name)


def test_a_mute_child_says_its_tokens_at_once_and_hangs() -> None:
    with started("child", "--rate", "10000", "--mute-after", "4") as process:
        expected = text_of("m,tokens=4")
        assert read(process, len(expected)) == expected
        assert process.poll() is None


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM that could be ignored")
def test_a_child_that_ignores_term_has_to_be_killed() -> None:
    with started("child", "--rate", "1000", "--tokens", "1000000", "--ignore-term") as process:
        read(process, 1)
        process.terminate()
        assert len(read(process, 2000)) == 2000  # far more than it can have said before the signal came
        process.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL


def test_a_grandchild_outlives_the_child_and_holds_its_output_open() -> None:
    with started("child", "--rate", "10000", "--tokens", "1", "--grandchild") as process:
        grandchild = int(line_of(process).removeprefix("grandchild "))
        try:
            assert process.wait(PATIENCE) == 0
        finally:
            os.kill(grandchild, getattr(signal, "SIGKILL", signal.SIGTERM))  # also fails where there is none
        assert process.stdout
        assert process.stdout.read() == text_of("m,tokens=1")  # ends only now that the last holder is gone


@pytest.mark.parametrize(
    "arguments",
    [
        ["child", "--signal", "SIGNOTHING"],
        ["child", "--mute-after", "1", "--exit-code", "3"],
        ["child", "--rate", "nan"],
        ["child", "--load", "inf"],
        ["child", "--tokens", "-1"],
        ["serve", "--host", "0.0.0.0"],
        ["serve", "--host", "example.com"],
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_child_cannot_be_told_nonsense() -> None:
    for nonsense in (Child, lambda **_: Child(rate=0.0), lambda **_: Child(rate=float("inf"))):
        with pytest.raises(ChildError):
            nonsense(load=-1.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.skipif(sys.platform == "win32", reason="ends by Ctrl-C there")
def test_the_command_serves_until_a_signal_and_ends_well(number: signal.Signals) -> None:
    with started("serve", "--port", "0") as process:
        assert process.stdout
        url = next(word for word in process.stdout.readline().split() if word.startswith("http")).rstrip(";")
        assert "curl" in process.stdout.readline()
        with Raw(url).ask("/v1/chat/completions", model="m,mute=0", stream=True) as raw:
            raw.until(b"assistant")
            process.send_signal(number)
            with pytest.raises(ConnectionResetError):
                raw.rest()
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_an_error_in_one_line() -> None:
    with started("serve", "--port", "0") as process:
        assert process.stdout
        port = process.stdout.readline().split(";")[0].rpartition(":")[2]
        refused = CliRunner().invoke(app, ["serve", "--port", port])
        assert refused.exit_code == 1
        assert refused.output.count("\n") == 1


def test_the_help_of_serve_names_every_item() -> None:
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    assert "ignores-cancel" in shown
    assert "prefill-progress=always" in shown
