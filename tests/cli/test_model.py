"""`hangtight model`: the real command, a real gateway, and the lab's servers run by it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from hangtight.cli.modelling import lines
from tests.cli.kit import EVIL, SOURCES, command, visible
from tests.gateway.kit import Served
from tests.gateway.watching import Asked, Listening, until
from tests.supervisor.fleets import free_ports

pytestmark = pytest.mark.real
NAMES = ["plain", "sleeper", "org/late", "poor", "broken"]
ASK = "import sys, urllib.request as u; u.urlopen(sys.argv[1], b'')"


def lab(*options: str, **more: Any) -> dict[str, Any]:
    """One of the lab's servers, as a model of the settings."""
    command = [sys.executable, "-m", "hangtight.testing.lab", "--port", "${PORT}", *options]
    return {"cmd": shlex.join(command), "env": [f"PYTHONPATH={SOURCES}"], **more}


def asking(path: str) -> str:
    return shlex.join([sys.executable, "-c", ASK]) + " http://127.0.0.1:${PORT}" + path


SLEEPS = {"cmdSleep": asking("/sleep?level=1"), "cmdWake": asking("/wake_up")}
MODELS = {
    "plain": lab(aliases=["simple"]),
    "sleeper": lab(**SLEEPS),
    "org/late": lab("--sleep-time", "20", **SLEEPS, cmdSleepTimeout=0.5),
    "poor": lab("--wake-fails", **SLEEPS),
    "broken": {"cmd": f"{sys.executable} -c pass", "proxy": "http://127.0.0.1:1"},
}
SETTINGS = {
    "apiKeys": ["sesame"],
    "groups": {"all": {"swap": False, "members": NAMES}},
    "limits": {"cancel": 1},
    "models": MODELS,
    "startPort": free_ports(len(NAMES)),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """No key of a test is in its environment, and what it runs ends with it."""
    folder = tmp_path_factory.mktemp("served")
    with Served(folder, json.dumps(SETTINGS), "--drain", "0.2", XDG_DATA_HOME=str(folder / "data")) as served:
        yield served
        left = psutil.Process(served.process.pid).children(recursive=True)
    _, alive = psutil.wait_procs(left, timeout=10)
    assert alive == []


def model(served: Served, folder: Path, *words: str, key: str = "sesame") -> subprocess.CompletedProcess[str]:
    return command(folder, "model", *words, "--url", served.url, HANGTIGHT_API_KEY=key)


def standing(served: Served, name: str) -> dict[str, Any]:
    """As the gateway tells it."""
    _, told, _ = served.ask("GET", "/hangtight/models", authorization="Bearer sesame")
    (found,) = [each for each in told["models"] if each["model"] == name]
    return dict(found)


# -- what it does -----------------------------------------------------------------------------------------------------


def test_a_model_is_woken_and_stopped_and_each_waits_for_the_end(served: Served, tmp_path: Path) -> None:
    ended = model(served, tmp_path, "wake", "simple")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("simple is ready after ")
    pid = standing(served, "plain")["pid"]
    assert psutil.pid_exists(pid)
    ended = model(served, tmp_path, "stop", "plain")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("plain has stopped after ")
    assert standing(served, "plain")["phase"] == "stopped"
    assert not psutil.pid_exists(pid)


def test_what_is_so_already_is_done_at_once(served: Served, tmp_path: Path) -> None:
    assert model(served, tmp_path, "stop", "plain").returncode == 0
    assert model(served, tmp_path, "stop", "plain").stdout.startswith("plain has stopped")


def test_a_model_is_put_to_sleep_and_woken(served: Served, tmp_path: Path) -> None:
    assert model(served, tmp_path, "wake", "sleeper").returncode == 0
    pid = standing(served, "sleeper")["pid"]
    ended = model(served, tmp_path, "sleep", "sleeper")
    assert (ended.returncode, ended.stdout.partition(" after ")[0]) == (0, "sleeper sleeps")
    assert standing(served, "sleeper")["phase"] == "asleep"
    assert model(served, tmp_path, "wake", "sleeper").returncode == 0
    assert standing(served, "sleeper")["pid"] == pid


def test_a_sleep_that_times_out_is_a_stop_and_exits_with_1(served: Served, tmp_path: Path) -> None:
    assert model(served, tmp_path, "wake", "org/late").returncode == 0
    ended = model(served, tmp_path, "sleep", "org/late")
    assert ended.returncode == 1
    assert ended.stdout.startswith("org/late is stopped now: sleep command timed out after 0.5s")


def test_a_wake_that_fails_is_a_restart_and_exits_with_1(served: Served, tmp_path: Path) -> None:
    assert model(served, tmp_path, "wake", "poor").returncode == 0
    pid = standing(served, "poor")["pid"]
    assert model(served, tmp_path, "sleep", "poor").returncode == 0
    ended = model(served, tmp_path, "wake", "poor", "--json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["ok"], told["phase"], told["model"]) == (1, False, "ready", "poor")
    assert told["why"].startswith("wake command failed: ")
    assert standing(served, "poor")["pid"] != pid


def test_a_model_that_cannot_sleep_is_left_as_it_is(served: Served, tmp_path: Path) -> None:
    assert model(served, tmp_path, "wake", "plain").returncode == 0
    ended = model(served, tmp_path, "sleep", "plain")
    assert ended.returncode == 1
    assert "cmdSleep" in ended.stdout
    assert standing(served, "plain")["phase"] == "ready"


def test_a_model_that_does_not_start_says_why(served: Served, tmp_path: Path) -> None:
    ended = model(served, tmp_path, "wake", "broken")
    assert ended.returncode == 1
    assert ended.stdout.startswith("broken is ")
    assert "exited" in ended.stdout


def test_a_stop_waits_for_the_requests_in_flight(served: Served, tmp_path: Path) -> None:
    assert model(served, tmp_path, "wake", "plain").returncode == 0
    with Asked(served, "plain", authorization="Bearer sesame") as asked:
        until(lambda: asked.status == 200)
        assert model(served, tmp_path, "stop", "plain").returncode == 0
        assert b"[DONE]" in asked.ended()


def test_what_becomes_of_a_model_is_told_to_whoever_listens_and_counted(served: Served, tmp_path: Path) -> None:
    key = {"authorization": "Bearer sesame"}
    assert model(served, tmp_path, "stop", "plain").returncode == 0
    with Listening(served, "?model=plain", **key) as heard:
        assert model(served, tmp_path, "wake", "plain").returncode == 0
        phases = [told["phase"] for told in heard.until("model", count=2)]
    assert phases == ["starting", "ready"]
    _, page, _ = served.ask("GET", "/metrics", **key)
    assert 'hangtight_model_phase{model="plain",phase="ready"} 1.0' in page
    _, health, _ = served.ask("GET", "/health", **key)
    assert health["models"]["plain"]["phase"] == "ready"


# -- what it shows ----------------------------------------------------------------------------------------------------


def test_the_list_has_a_line_for_each_model(served: Served, tmp_path: Path) -> None:
    ended = model(served, tmp_path, "ls")
    assert (ended.returncode, ended.stderr) == (0, "")
    titles, *rows = ended.stdout.splitlines()
    assert titles.split() == ["model", "phase", "for", "requests", "next", "clock", "pid", "why"]
    assert [row.split()[0] for row in rows] == NAMES


def test_as_json_it_is_what_the_gateway_tells(served: Served, tmp_path: Path) -> None:
    told = json.loads(model(served, tmp_path, "ls", "--json").stdout)
    assert [each["model"] for each in told["models"]] == NAMES
    assert {"phase", "for", "requests", "clock", "rings_in", "pid", "why"} <= told["models"][0].keys()


def test_it_fits_into_80_columns_and_a_name_cannot_move_the_cursor() -> None:
    evil = {"model": EVIL * 20, "phase": EVIL, "why": EVIL, "for": 3.2, "clock": EVIL, "rings_in": 4.0}
    shown = lines([evil, {}], room=80, colours=False)
    assert all(len(line) <= 80 for line in shown)
    assert visible("\n".join(shown))


# -- what stands in its way -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["wake", "nobody"], ["stop", "nobody", "--json"]])
def test_a_model_that_is_not_run_is_no_model(served: Served, tmp_path: Path, words: list[str]) -> None:
    ended = model(served, tmp_path, *words)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "'nobody' is not run here" in ended.stderr
    assert "hangtight model ls" in ended.stderr


@pytest.mark.parametrize("words", [["ls"], ["wake", "plain"]])
def test_who_has_no_key_does_nothing(served: Served, tmp_path: Path, words: list[str]) -> None:
    ended = model(served, tmp_path, *words, key="wrong")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "key" in ended.stderr
    assert "wrong" not in ended.stderr


@pytest.mark.parametrize("words", [["ls"], ["ls", "--json"], ["sleep", "plain"]])
def test_without_a_gateway_it_says_how_to_start_one(tmp_path: Path, words: list[str]) -> None:
    ended = command(tmp_path, "model", *words, "--url", "http://127.0.0.1:1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "hangtight serve" in ended.stderr


class _Stranger(BaseHTTPRequestHandler):
    """Some other server."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """It says nothing."""


@pytest.mark.parametrize("words", [["ls"], ["wake", "plain"]])
def test_what_is_no_gateway_is_told_apart(tmp_path: Path, words: list[str]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Stranger) as stranger:
        thread = threading.Thread(target=stranger.serve_forever, daemon=True)
        thread.start()
        ended = command(tmp_path, "model", *words, "--url", f"http://127.0.0.1:{stranger.server_port}")
        stranger.shutdown()
        thread.join()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Traceback" not in ended.stderr


class _Stopped(_Stranger):
    """A gateway that ends while somebody waits."""

    def do_POST(self) -> None:
        self.close_connection = True


def test_a_gateway_that_is_stopped_meanwhile_is_told_as_that(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Stopped) as stopped:
        thread = threading.Thread(target=stopped.serve_forever, daemon=True)
        thread.start()
        ended = command(tmp_path, "model", "sleep", "plain", "--url", f"http://127.0.0.1:{stopped.server_port}")
        stopped.shutdown()
        thread.join()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "the gateway was stopped meanwhile" in ended.stderr


def test_a_gateway_that_runs_nothing_says_so(tmp_path: Path) -> None:
    with Served(tmp_path, "models: {a: {proxy: 'http://127.0.0.1:1'}}\n") as served:
        ended = command(tmp_path, "model", "ls", "--url", served.url)
        assert (ended.returncode, ended.stdout) == (0, "")
        assert "no model is run there" in ended.stderr
        assert json.loads(command(tmp_path, "model", "ls", "--json", "--url", served.url).stdout) == {"models": []}


def test_ctrl_c_ends_the_wait_and_the_model_goes_on(served: Served, tmp_path: Path) -> None:
    assert model(served, tmp_path, "stop", "org/late").returncode == 0
    words = [sys.executable, "-m", "hangtight", "model", "wake", "org/late", "--url", served.url]
    told = {**os.environ, "PYTHONPATH": SOURCES, "HANGTIGHT_API_KEY": "sesame", "HOME": str(tmp_path)}
    with subprocess.Popen(words, env=told, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as waiting:
        until(lambda: standing(served, "org/late")["phase"] != "stopped")
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=20)
    if waiting.returncode:  # else it was ready before
        assert (waiting.returncode, "it goes on" in said) == (130, True)
    until(lambda: standing(served, "org/late")["phase"] == "ready")


@pytest.mark.parametrize("words", [[], ["ls"], ["sleep"], ["wake"], ["stop"]])
def test_help_says_what_it_does_with_an_example(tmp_path: Path, words: list[str]) -> None:
    ended = command(tmp_path, "model", *words, "--help")
    assert ended.returncode == 0
    assert "Example: hangtight model " in ended.stdout or not words


@pytest.mark.parametrize("words", [["wake"], ["dance", "plain"], ["ls", "plain"], ["wake", "a", "--url", "::"]])
def test_a_wrong_command_exits_with_2(tmp_path: Path, words: list[str]) -> None:
    assert command(tmp_path, "model", *words).returncode == 2
