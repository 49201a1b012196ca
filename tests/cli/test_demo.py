"""`hangtight demo`: the real command, with a gateway and the lab as processes; what it says is what came of it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from hangtight.cli import demo
from hangtight.cli.called import as_called
from hangtight.cli.tour import _to_try
from hangtight.cli.tour_asking import Answer
from hangtight.cli.tour_faces import folded, standing
from hangtight.cli.tour_scenes import SCENES, _of
from hangtight.cli.tour_stage import Scale, settings_text
from hangtight.drivers.standing import configure
from tests.cli.kit import EVIL, SOURCES, command, visible

PATIENCE = 40.0  # seconds: a bound for what hangs, never a measurement
QUICK = ("--port", "0", "--speed", "2", "--no-stay")
STAYS = re.compile(r"It stays up")
FOLDER = re.compile(r"(\S+)/hangtight\.yaml$", re.MULTILINE)
ADDRESS = re.compile(r"A gateway at (\S+),")
READ_ON = re.compile(r"^    \S+ -m hangtight (log --journal \S+ [0-9a-f]{8})$", re.MULTILINE)
WHY = re.compile(r"why: hangtight (log ([0-9a-f]{8}) --journal (\S+))")


def until(holds: Any) -> None:
    """Wait until this holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": SOURCES, "HOME": str(folder), "TMPDIR": str(folder), "TERM": "xterm-256color"}


class Staying:
    """A demo that stays up, its output in a file."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.out = folder / "out.txt"
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hangtight", "demo", "--port", "0", "--speed", "2", *words],
                stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=environment(folder),
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self.out.read_text(encoding="utf-8")

    def started(self) -> list[psutil.Process]:
        """All that it has started, and what they have."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture
def staying(tmp_path: Path) -> Iterator[Staying]:
    """One that has been through the scene with the model that is started."""
    staying = Staying(tmp_path, "--scene", "1")
    try:
        until(lambda: STAYS.search(staying.said) or staying.process.poll() is not None)
        yield staying
    finally:
        staying.kill()


# -- what is said ----------------------------------------------------------------------------------------------------


def test_the_scenes_on_the_command_line_are_those_that_there_are() -> None:
    assert len(SCENES) == demo.SCENES


@pytest.mark.parametrize("speed", [demo.SLOWEST, 1.0, demo.FASTEST])
def test_the_settings_of_the_demo_are_fine_at_each_speed_and_scaled(speed: float, tmp_path: Path) -> None:
    file = tmp_path / "hangtight.yaml"
    file.write_text(settings_text(Scale(speed), "http://127.0.0.1:8399", 8400), encoding="utf-8")
    said = configure(str(file), journal="off")
    assert said.remarks == ()
    assert Scale(speed).real(Scale(speed).here(45)) == pytest.approx(45, rel=0.01)


def test_a_heartbeat_is_a_line_and_a_name_cannot_move_the_cursor() -> None:
    told = {"model": "phi-4", "phase": "streaming", "doing": "coding", "elapsed": 3.0, "tokens": 12}
    near = {**told, "nearest": {"limit": "first_token", "rings_in": 1.2}}
    assert standing(near) == "phi-4 · streaming · coding · 3.0 s · 12 tokens · first token rings in 1.2 s"
    assert visible(standing({"model": EVIL, "phase": EVIL}))


def test_a_scene_that_did_not_come_out_says_so_and_shows_what_the_client_was_told() -> None:
    refused = Answer("phi-4", status=503, error={"message": "one\ntwo\nthree"})
    outcome = _of(False, "all is well", refused)
    assert "did not come out as it should" in outcome.words
    assert outcome.error == ("one", "two", "three")


def test_what_one_may_type_fits_into_80_columns_and_means_the_same_on_two_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _as(monkeypatch, tmp_path, ".venv/bin/hangtight")
    stage: Any = SimpleNamespace(url="http://127.0.0.1:65535", folder=Path("/tmp/hangtight-demo-abcdefgh"))
    lines = _to_try(stage)
    assert max(map(len, lines)) < 80
    assert sum("    .venv/bin/hangtight " in line for line in lines) == 2, "as it was called"
    at = next(number for number, line in enumerate(lines) if "curl -N" in line)
    words = shlex.split("\n".join(lines[at : at + 4]))
    assert json.loads(words[-1])["messages"] == [{"role": "user", "content": "Hi"}]
    client = lines.index("  a client:")
    compile("\n".join(line[4:] for line in lines[client + 1 : client + 5]), "the demo", "exec")


def _as(monkeypatch: pytest.MonkeyPatch, folder: Path, path: str) -> Path:
    """Called by this path, from this folder, with nothing on the PATH."""
    script = folder / path
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", str(folder / "empty"))
    return script


def test_a_command_is_printed_as_it_was_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = _as(monkeypatch, tmp_path, "a b/.venv/bin/hangtight")
    assert as_called() == "'a b/.venv/bin/hangtight'"
    monkeypatch.chdir(tmp_path / "a b")
    assert as_called() == ".venv/bin/hangtight"
    monkeypatch.setenv("PATH", str(script.parent))
    assert as_called() == "hangtight", "that is this one"
    other = _as(monkeypatch, tmp_path, "other/hangtight")
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", str(other.parent))
    assert as_called() == "'a b/.venv/bin/hangtight'", "that is another one"
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "hangtight" / "__main__.py")])
    assert as_called() == f"{sys.executable} -m hangtight"


def test_a_line_is_folded_between_words_and_an_address_never() -> None:
    url = "http://127.0.0.1:8383/a-long-way/to-the-end"
    assert folded(f"Look on at {url} now", 20) == ["Look on at", f"  {url}", "  now"]


# -- the tour --------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_each_scene_comes_out_as_it_should_and_in_a_pipe_they_are_plain_lines(tmp_path: Path) -> None:
    ended = command(tmp_path, "demo", *QUICK, TMPDIR=str(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    assert visible(ended.stdout), "nothing is drawn, and there are no colours"
    for number, scene in enumerate(SCENES, 1):
        assert f"\n{number}  {scene.title}\n  {scene.line}\n" in ended.stdout
    assert ended.stdout.count("\n  => ") == len(SCENES)
    assert "qwen3-coder: loading the model" in ended.stdout
    assert "deepseek-r1: deadline 2 s -> 4 s, coding" in ended.stdout
    assert "    mistral-7b stuck - no output for 0.8s (24 tokens in" in ended.stdout
    assert "its server was told to stop, and has stopped" in ended.stdout
    assert "    phi-4 stuck - repeats itself" in ended.stdout
    assert "qwen3-4b answered in what was left" in ended.stdout
    assert "[Budget exhausted] Task incomplete." in ended.stdout
    assert "hangtight log" not in ended.stdout
    assert "--journal" not in ended.stdout, "the folder is gone afterwards"
    assert list(tmp_path.glob("hangtight-demo-*")) == []


@pytest.mark.real
def test_as_json_a_scene_is_an_object_on_a_line_whatever_settings_its_reader_has(tmp_path: Path) -> None:
    (tmp_path / "hangtight.yaml").write_text("limits: {idle: 300}\n")
    (tmp_path / ".qwencoderules").write_text("budgets: {deep: 1}\n")
    ended = command(tmp_path, "demo", *QUICK, "--scene", "3", "--json", HANGTIGHT_IDLE="200", HANGTIGHT_MODE="deep")
    (told,) = [json.loads(line) for line in ended.stdout.splitlines()]
    assert (ended.returncode, told["scene"], told["title"], told["held"]) == (0, 3, "A hang is caught", True)
    assert told["error"][0].startswith("mistral-7b stuck - no output for 0.8s (24 tokens in ")
    assert re.fullmatch("[0-9a-f]{12}", told["ids"][0])
    assert "One second here is 60 s of a real machine" in ended.stderr


@pytest.mark.real
def test_a_port_that_is_taken_is_told_with_the_line_to_type(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = command(tmp_path, "demo", "--port", str(port))
    what, how = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert what.startswith(f"hangtight: cannot listen on 127.0.0.1:{port}: another program has this port")
    assert how == f"to take any free one:  {sys.executable} -m hangtight demo --port 0"


# -- its end ---------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_and_at_the_end_nothing_is_left(staying: Staying, number: signal.Signals) -> None:
    url, folder = ADDRESS.search(staying.said), FOLDER.search(staying.said)
    assert url is not None
    assert folder is not None
    assert f"{url[1]}/ui" in staying.said
    top = command(Path(folder[1]).parent, "top", "--url", url[1], "--once")
    assert "in flight" in top.stdout, top.stderr
    started = staying.started()
    names = [" ".join(each.cmdline()) for each in started]
    assert sum("hangtight serve" in name for name in names) == 1, names
    assert sum("lab serve" in name for name in names) == 2, "the lab, and the server of the model that is run"

    staying.process.send_signal(number)

    assert staying.process.wait(PATIENCE) == 0
    assert staying.said.endswith("\nended, and with it all that it had started\n")
    assert [each for each in started if each.is_running()] == []
    assert not Path(folder[1]).exists()


@pytest.mark.real
def test_while_it_stays_up_the_line_below_an_error_leads_to_its_journal(tmp_path: Path) -> None:
    staying = Staying(tmp_path, "--scene", "3")
    try:
        until(lambda: STAYS.search(staying.said) or staying.process.poll() is not None)
        found = READ_ON.search(staying.said)
        assert found is not None, staying.said
        error = WHY.search(staying.said)
        assert error is not None, "the error is as it is, and its line leads there, too"
        for words in (found[1], error[1]):
            told = command(tmp_path, *shlex.split(words))
            assert (told.returncode, "mistral-7b" in told.stdout) == (0, True), told.stderr
    finally:
        staying.process.terminate()
        staying.process.wait(PATIENCE)


@pytest.mark.real
def test_after_a_kill_nothing_is_left_either(staying: Staying) -> None:
    started = staying.started()
    staying.process.kill()
    staying.process.wait(PATIENCE)
    until(lambda: not [each for each in started if each.is_running()])


@pytest.mark.real
def test_a_gateway_that_ends_in_the_middle_ends_the_demo(staying: Staying) -> None:
    (gateway,) = [each for each in staying.started() if "hangtight serve" in " ".join(each.cmdline())]
    gateway.kill()
    assert staying.process.wait(PATIENCE) == 1
    assert "hangtight: the gateway of the demo has ended\n" in staying.said


# -- on a terminal ---------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_on_a_terminal_of_80_columns_a_line_is_drawn_anew_and_nothing_is_torn(tmp_path: Path) -> None:
    place = ["tmux", "-S", str(tmp_path / "screen")]
    told = environment(tmp_path) | {"TMUX": "", "TMPDIR": "/tmp"}  # where a path fits into a line, as it mostly does
    words = [sys.executable, "-m", "hangtight", "demo", "--port", "0", "--speed", "2", "--scene", "3"]
    seen: list[str] = []

    def screen() -> str:
        looking = [*place, "capture-pane", "-p", "-J"]  # what is to be typed may be wrapped, and is one line
        shown = subprocess.run(looking, capture_output=True, text=True, check=True, env=told).stdout
        seen.append("\n".join(line.rstrip() for line in shown.splitlines()))
        return seen[-1]

    subprocess.run(
        [*place, "new-session", "-d", "-x", "80", "-y", "50", f"{shlex.join(words)}; cat"], check=True, env=told
    )
    try:
        until(lambda: STAYS.search(screen()))
        subprocess.run([*place, "send-keys", "C-c"], check=True, env=told)
        until(lambda: "ended, and with it all that it had started" in screen())
    finally:
        subprocess.run([*place, "kill-server"], check=False, env=told)
    assert any(re.search(r"mistral-7b · streaming · .* · idle rings in", shown) for shown in seen), "the live line"
    assert re.search(r"^A gateway at \S+, and models that misbehave behind it\.$", seen[-1], re.MULTILINE)
    assert re.search(r"^Look on:  http://\S+/ui$", seen[-1], re.MULTILINE)
    scene = seen[-1][seen[-1].index("3  A hang is caught") : seen[-1].index("It stays up")]
    assert " · " not in scene, "the live line is gone in the end"
    assert "  => Caught after 45 s of pings" in scene
    assert all(line.startswith("  ") for line in scene.splitlines()[1:] if line)
