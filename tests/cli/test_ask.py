"""`hangtight ask` seen from outside: the real command in a pipe and on a terminal, against real misbehaving servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hangtight
from hangtight.core.telling import WHY
from hangtight.testing.lab import Lab, text_of

if sys.platform != "win32":
    import fcntl
    import pty
    import struct
    import termios

pytestmark = pytest.mark.real

HANGTIGHT = [sys.executable, "-m", "hangtight", "ask"]
SOURCES = str(Path(hangtight.__file__).parents[1])
OURS = ("OLLAMA_HOST", "OPENAI_BASE_URL", "OPENAI_API_KEY", "NO_COLOR", "TERM")
QUICK = "tokens=5,rate=200"
GREY = "\x1b[2m"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    return kept | {"PYTHONPATH": SOURCES, "TERM": "xterm-256color"} | more


def ask(folder: Path, *words: str, stdin: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(
        [*HANGTIGHT, *words], capture_output=True, text=True, check=False, cwd=folder, env=environment(**more), **given
    )


def said_by(model: str) -> str:
    return text_of(model)


@pytest.mark.parametrize("end", ["", "/v1"])
def test_in_a_pipe_there_is_the_answer_and_nothing_else(end: str, lab: Lab, tmp_path: Path) -> None:
    model = f"pipe{end.replace('/', '')},{QUICK}"
    ended = ask(tmp_path, "Why?", "--url", lab.url + end, "--model", model)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == said_by(model) + "\n"
    assert lab.settled(model).finished == 1
    assert list(tmp_path.iterdir()) == []


def test_the_server_and_its_model_are_found_by_themselves(lab: Lab, tmp_path: Path) -> None:
    lab.reset()
    ended = ask(tmp_path, "Why", "not?", OLLAMA_HOST=lab.url)
    assert (ended.returncode, ended.stdout) == (0, said_by("qwen3-coder") + "\n")


def test_a_model_that_goes_silent_ends_in_three_lines_and_124(lab: Lab, tmp_path: Path) -> None:
    model = "mistral-7b,mute=3,rate=200"
    ended = ask(tmp_path, "Why?", "--url", lab.url, "--model", model, "--idle", "0.3")
    assert ended.returncode == 124
    assert ended.stdout == said_by("tokens=3") + "\n"
    what, source, change = ended.stderr.splitlines()
    assert what.startswith(f"IdleTimeout: {model} stuck - no output for 0.3s (3 tokens in ")
    assert source == "idle = 0.3 comes from the call"
    assert change.partition(WHY)[0] == "to wait longer:  hangtight ask --idle 0.6 ..."
    assert lab.when(model, lambda counts: counts.cancelled == 1).wasted == 0


def test_as_json_the_end_is_one_object(lab: Lab, tmp_path: Path) -> None:
    ended = ask(tmp_path, "Why?", "--url", f"{lab.url}/v1", "--model", f"whole,{QUICK},reasoning=2", "--json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr, told["error"]) == (0, "", None)
    assert (told["outcome"], told["finish_reason"], told["tokens"]) == ("finished", "stop", 7)
    assert told["answer"] == said_by("tokens=5")
    assert told["reasoning"]
    assert told["url"] == f"{lab.url}/v1"
    assert 0 < told["first_token"] <= told["elapsed"]
    assert told["tokens_per_second"] > 0
    assert told["limits"]["idle"] == 45


def test_as_json_a_timeout_is_told_in_full(lab: Lab, tmp_path: Path) -> None:
    words = ("Why?", "--url", lab.url, "--model", "json,mute=3,rate=200", "--idle", "0.3", "--json")
    ended = ask(tmp_path, *words)
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["outcome"], told["answer"]) == (124, "timeout", said_by("tokens=3"))
    assert (told["error"]["type"], told["error"]["limit"], told["error"]["waited"]) == ("IdleTimeout", "idle", 0.3)
    assert told["error"]["message"] in ended.stderr


def test_as_json_also_nothing_found_is_an_object(tmp_path: Path) -> None:
    ended = ask(tmp_path, "Why?", "--url", "http://127.0.0.1:1", "--json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["answer"], told["error"]["type"]) == (1, "", "BackendError")


def test_where_nobody_listens_the_error_says_so_and_what_to_do(tmp_path: Path) -> None:
    ended = ask(tmp_path, "Why?", "--url", "http://127.0.0.1:1")
    assert (ended.returncode, ended.stdout) == (1, "")
    what, change = ended.stderr.splitlines()
    assert "http://127.0.0.1:1: nothing there" in what
    assert "--url" in change


def test_a_server_that_refuses_is_quoted_with_the_models_that_it_has(lab: Lab, tmp_path: Path) -> None:
    ended = ask(tmp_path, "Why?", "--url", lab.url, "--model", "status=404")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "refused with 404: this model refuses" in ended.stderr
    assert "qwen3:1.7b" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_stream_that_breaks_off_keeps_what_came(lab: Lab, tmp_path: Path) -> None:
    ended = ask(tmp_path, "Why?", "--url", lab.url, "--model", "disconnect=3,rate=200")
    assert (ended.returncode, ended.stdout) == (1, said_by("tokens=3") + "\n")
    assert "ended after 3 tokens" in ended.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["Why?", "--url", "ftp://host"], "--url"),
        (["Why?", "--idle", "0"], "--idle"),
        (["Why?", "--mode", "slow", "--url", "{lab}"], "mode"),
        ([], "needs a question"),
        (["  "], "needs a question"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake_of_usage(words: list[str], says: str, lab: Lab, tmp_path: Path) -> None:
    ended = ask(tmp_path, *(word.replace("{lab}", lab.url) for word in words), stdin="")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("words", [[], ["-"], ["Sum up:", "-"]])
def test_a_long_prompt_comes_through_a_pipe(words: list[str], lab: Lab, tmp_path: Path) -> None:
    model = f"piped{len(words)},{QUICK}"
    ended = ask(tmp_path, *words, "--url", lab.url, "--model", model, stdin="word ü " * 20_000)
    assert (ended.returncode, ended.stdout) == (0, said_by(QUICK) + "\n")


def test_heartbeats_are_on_stderr_only_where_asked_for(lab: Lab, tmp_path: Path) -> None:
    words = ("Why?", "--url", lab.url, "--model", f"beats,prefill=0.5,{QUICK}")
    assert ask(tmp_path, *words).stderr == ""
    assert ask(tmp_path, *words, "--heartbeat", "0.2").stderr.startswith("Still waiting on beats")


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_it_cleanly_and_the_request_with_it(number: int, code: int, lab: Lab, tmp_path: Path) -> None:
    model = f"stopped-{number},tokens=9000,rate=100"
    command = [*HANGTIGHT, "Why?", "--url", lab.url, "--model", model]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, cwd=tmp_path, env=environment()) as asking:
        lab.when(model, lambda counts: counts.tokens > 5)
        asking.send_signal(number)
        out, err = asking.communicate()
    assert (asking.returncode, err) == (code, b"")
    assert out.endswith(b"\n")
    assert lab.settled(model).cancelled == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_a_reader_that_leaves_ends_it_and_the_request_with_it(lab: Lab, tmp_path: Path) -> None:
    model = "unread,tokens=9000,rate=100"
    command = [*HANGTIGHT, "Why?", "--url", lab.url, "--model", model]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment()
    ) as asking:
        assert asking.stdout is not None
        assert asking.stderr is not None
        asking.stdout.read(10)
        asking.stdout.close()
        assert asking.stderr.read() == b""
    assert asking.returncode == 141
    assert lab.settled(model).cancelled == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device to write to")
def test_an_answer_that_cannot_be_written_is_said_so(lab: Lab, tmp_path: Path) -> None:
    command = [*HANGTIGHT, "Why?", "--url", lab.url, "--model", QUICK]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path, env=environment()
        )
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
    assert "No space left" in ended.stderr


# -- on a terminal -------------------------------------------------------------------------------------------------


def on_a_terminal(folder: Path, *words: str, **more: str) -> tuple[int, str]:
    """The exit code, and all that was written to a terminal of 60 columns."""
    screen, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
    with subprocess.Popen(
        [*HANGTIGHT, *words], stdin=inside, stdout=inside, stderr=inside, cwd=folder, env=environment(**more)
    ) as asking:
        os.close(inside)
        written = b""
        try:
            while piece := os.read(screen, 65536):
                written += piece
        except OSError:  # how Linux says that nobody has the other end open any more
            pass
        os.close(screen)
    return asking.returncode, written.decode().replace("\r\n", "\n")


needs_a_terminal = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")


@needs_a_terminal
def test_on_a_terminal_a_line_tells_how_it_stands_and_a_receipt_ends_it(lab: Lab, tmp_path: Path) -> None:
    lab.reset()
    code, written = on_a_terminal(tmp_path, "Why?", OLLAMA_HOST=lab.url)
    model, _, rest = written.partition("\n")
    assert (code, model) == (0, f"qwen3-coder at {lab.url}")
    assert "streaming · " in rest
    assert "rings in " in rest
    assert "20 tokens in " in rest.splitlines()[-1]
    assert "\x1b" not in rest[rest.rindex("\n20 tokens in ") :]


@needs_a_terminal
def test_on_a_terminal_reasoning_is_dim_and_apart_from_the_answer(lab: Lab, tmp_path: Path) -> None:
    words = ("Why?", "--url", lab.url, "--model", f"{QUICK},reasoning=3")
    _, written = on_a_terminal(tmp_path, *words)
    thoughts, _, answer = written.partition("\x1b[22m\n\n")
    assert GREY in thoughts
    assert answer
    _, plain = on_a_terminal(tmp_path, *words, NO_COLOR="1")
    assert GREY not in plain
    assert "(thinking) " in plain


@needs_a_terminal
def test_a_dumb_terminal_gets_no_line_and_no_escapes(lab: Lab, tmp_path: Path) -> None:
    code, written = on_a_terminal(tmp_path, "Why?", "--url", lab.url, "--model", QUICK, TERM="dumb")
    assert code == 0
    assert "\x1b" not in written
    assert written.startswith(said_by(QUICK) + "\n5 tokens in ")


@needs_a_terminal
def test_on_a_terminal_a_timeout_leaves_the_answer_and_the_three_lines(lab: Lab, tmp_path: Path) -> None:
    words = ("Why?", "--url", lab.url, "--model", "m,mute=3,rate=200", "--idle", "0.5")
    start = time.monotonic()
    code, written = on_a_terminal(tmp_path, *words)
    assert code == 124
    assert time.monotonic() - start < 30
    assert "\x1b" not in written[written.index("IdleTimeout: ") :]
    assert len(written[written.index("IdleTimeout: ") :].splitlines()) == 3
