"""The lab as a server that is started, put to sleep, woken and stopped: each of its options, seen from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hangtight.cli import lab as command
from hangtight.testing.lab import Lab, text_of
from hangtight.testing.lab import __main__ as module
from hangtight.testing.lab import lab as inside
from hangtight.testing.lab.manners import GROUPS, Ending, Loading, Manners, MannersError, Sleeping, option
from hangtight.testing.lab.raw import Raw

COMMAND = [sys.executable, "-m", "hangtight.testing.lab", "--port", "0"]
OPENAI = "/v1/chat/completions"
FAST = "m,rate=10000,tokens=3"
NEVER = "3600"
PATIENCE = 30
PAUSE = 0.01
"""Between two looks at a server that will be seen to change; nothing is measured with it."""

pytestmark = pytest.mark.real


class Served:
    """A server of the lab in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.url = ""
        self.before: list[str] = []

    def line(self) -> str:
        """The next line of its log."""
        assert self.process.stdout
        return self.process.stdout.readline().decode().rstrip("\n")

    def until_it_listens(self) -> Served:
        """Read the log to the line with the URL; what stood before it is kept."""
        while not self.url:
            line = self.line()
            assert line, f"ended with {self.process.wait(PATIENCE)}"
            if "http" in line:
                self.url = line.partition("http")[2].partition(";")[0].join(("http", ""))
                self.line()  # how to try it
            else:
                self.before.append(line)
        return self

    def get(self, path: str) -> tuple[int, Any]:
        with Raw(self.url).get(path) as raw:
            body = raw.whole()
            return raw.status, json.loads(body)

    def post(self, path: str, **body: Any) -> int:
        with Raw(self.url).ask(path, **body) as raw:
            raw.whole()
            return raw.status

    def ask(self, model: str = FAST) -> int:
        return self.post(OPENAI, model=model, messages=[])

    def told(self) -> dict[str, Any]:
        """What it tells of itself."""
        found: dict[str, Any] = self.get("/lab/process")[1]
        return found

    def when(self, holds: Callable[[], bool]) -> None:
        for _ in range(round(PATIENCE / PAUSE)):
            if holds():
                return
            threading.Event().wait(PAUSE)
        pytest.fail(f"this never came: {self.told()}")


@contextmanager
def started(*options: str) -> Iterator[Served]:
    """A server with these options; the test reads its log. All that it started is killed with it."""
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    server = Served(process)
    with process:
        try:
            yield server
        finally:
            process.kill()
            for line in server.before:
                if line.startswith("child "):
                    with suppress(ProcessLookupError):
                        os.kill(int(line.removeprefix("child ")), getattr(signal, "SIGKILL", signal.SIGTERM))


@contextmanager
def served(*options: str) -> Iterator[Served]:
    with started(*options) as server:
        yield server.until_it_listens()


def ended(*options: str) -> tuple[str, int]:
    """Run one that ends by itself: its log and its exit status."""
    with started(*options) as server:
        out, _ = server.process.communicate(timeout=PATIENCE)
        return out.decode(), server.process.returncode


# Loading


def test_a_server_that_loads_listens_at_once_and_says_503_as_llama_cpp_does() -> None:
    with served("--load-time", NEVER) as server:
        error = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}
        assert server.get("/health") == (503, error)
        with Raw(server.url).ask(OPENAI, model=FAST, messages=[]) as raw:
            assert json.loads(raw.whole()) == error
            assert raw.status == 503
        assert server.post("/sleep") == 503
        assert server.post("/api/chat", model=FAST, messages=[]) == 503
        assert server.get("/v1/models")[0] == 200
        assert server.told()["state"] == "loading"


def test_a_server_that_shows_its_load_counts_to_a_hundred_and_is_ready() -> None:
    with served("--load-time", "0.5", "--load-progress") as server:
        assert server.before == []  # the port comes first
        assert [server.line() for _ in range(10)] == [f"load {percent} %" for percent in range(10, 110, 10)]
        assert server.get("/health") == (200, {"status": "ok"})
        assert server.ask() == 200


def test_the_503_tells_how_far_the_load_is() -> None:
    with served("--load-time", NEVER, "--load-progress") as server:
        assert server.get("/health")[1]["error"]["percent"] == 0


def test_a_late_port_opens_after_the_load() -> None:
    with served("--load-time", "0.05", "--load-progress", "--late-port") as server:
        assert server.before[-1] == "load 100 %"
        assert server.get("/health")[0] == 200


@pytest.mark.skipif(sys.platform == "win32", reason="ends by Ctrl-C there")
def test_a_server_that_has_not_opened_its_port_yet_hears_a_signal() -> None:
    with started("--load-time", "10", "--load-progress", "--late-port") as server:
        assert server.line() == "load 10 %"
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0


def test_a_server_whose_log_nobody_reads_any_more_goes_on() -> None:
    with served("--load-time", "0.2", "--load-progress") as server:
        assert server.process.stdout
        server.process.stdout.close()
        server.when(lambda: server.get("/health")[0] == 200)


# Sleeping


def test_a_server_falls_asleep_says_503_and_wakes_up_as_vllm_does() -> None:
    with served("--sleep-time", "0.05", "--wake-time", "0.05") as server:
        assert server.get("/is_sleeping") == (200, {"is_sleeping": False})
        assert server.ask() == 200
        assert server.post("/sleep?level=2") == 200
        assert server.get("/is_sleeping") == (200, {"is_sleeping": True})
        assert server.ask() == 503
        assert server.get("/health")[0] == 200
        assert server.post("/wake_up") == 200
        assert server.post("/collective_rpc", method="reload_weights") == 200
        assert server.post("/reset_prefix_cache") == 200
        assert server.ask() == 200
        told = server.told()
        assert (told["state"], told["slept"], told["woken"], told["levels"]) == ("ready", 1, 1, [2])
        assert told["calls"] == ["reload_weights", "reset_prefix_cache"]


def test_a_sleep_takes_its_time_and_the_apis_say_503_meanwhile() -> None:
    with served("--sleep-time", NEVER) as server, Raw(server.url).ask("/sleep") as sleeping:
        server.when(lambda: server.told()["state"] == "falling asleep")
        assert server.ask() == 503
        assert server.get("/is_sleeping")[1] == {"is_sleeping": False}
        assert sleeping.is_quiet()


def test_a_wake_takes_its_time_and_the_apis_say_503_meanwhile() -> None:
    with served("--wake-time", NEVER) as server:
        server.post("/sleep")
        with Raw(server.url).ask("/wake_up") as waking:
            server.when(lambda: server.told()["state"] == "waking")
            assert server.ask() == 503
            assert waking.is_quiet()


def test_who_leaves_does_not_stop_the_sleep() -> None:
    with served("--sleep-time", "0.2") as server:
        with Raw(server.url).ask("/sleep"):
            server.when(lambda: server.told()["state"] != "ready")
        server.when(lambda: server.get("/is_sleeping")[1] == {"is_sleeping": True})


def test_a_sleep_that_fails_leaves_it_awake() -> None:
    with served("--sleep-fails") as server:
        assert server.post("/sleep") == 500
        assert server.ask() == 200
        assert (server.told()["slept"], server.told()["sleeps_failed"]) == (0, 1)


def test_a_wake_that_fails_leaves_it_asleep() -> None:
    with served("--wake-fails") as server:
        server.post("/sleep")
        assert server.post("/wake_up") == 500
        assert server.ask() == 503
        assert (server.told()["woken"], server.told()["wakes_failed"]) == (0, 1)


def test_a_sleep_while_a_request_is_open_is_told() -> None:
    with served() as server:
        server.post("/sleep")
        server.post("/wake_up")
        with Raw(server.url).ask(OPENAI, model="m,mute=1", stream=True, messages=[]) as raw:
            raw.until(b"data:")
            server.post("/sleep")
            assert (server.told()["slept"], server.told()["slept_busy"]) == (2, 1)


# The same without a process of its own


def test_what_is_asleep_or_awake_already_stays_so() -> None:
    with Lab(manners=Manners(sleeping=Sleeping(sleep_time=0.01))) as lab:
        statuses = [posted(lab, path) for path in ("/wake_up", "/sleep", "/sleep", "/wake_up", "/wake_up")]
        assert statuses == [200] * 5
        assert (process_of(lab)["slept"], process_of(lab)["woken"]) == (1, 1)


@pytest.mark.parametrize(("path", "body"), [("/sleep?level=3", {}), ("/sleep?level=deep", {}), ("/collective_rpc", {})])
def test_what_no_server_understands_is_refused(path: str, body: dict[str, Any]) -> None:
    with Lab() as lab:
        assert posted(lab, path, **body) == 400
        assert process_of(lab)["levels"] == []


def test_a_reset_wakes_it_and_forgets_what_was_counted() -> None:
    with Lab() as lab:
        posted(lab, "/sleep")
        lab.reset()
        assert (process_of(lab)["state"], process_of(lab)["slept"]) == ("ready", 0)


def test_a_reset_loads_again() -> None:
    with Lab(manners=Manners(loading=Loading(load_time=3600.0))) as lab:
        lab.reset()
        assert process_of(lab)["state"] == "loading"


def test_a_request_that_came_too_early_is_counted_as_asked_and_no_more() -> None:
    with Lab(manners=Manners(loading=Loading(load_time=3600.0))) as lab:
        assert posted(lab, OPENAI, model=FAST, messages=[]) == 503
        counts = lab.settled(FAST)
        assert (counts.asked, counts.finished, counts.cancelled) == (1, 0, 0)


def posted(lab: Lab, path: str, **body: Any) -> int:
    with Raw(lab.url).ask(path, **body) as raw:
        raw.whole()
        return raw.status


def process_of(lab: Lab) -> dict[str, Any]:
    with Raw(lab.url).get("/lab/process") as raw:
        found: dict[str, Any] = json.loads(raw.whole())
        return found


# Hanging


def test_a_server_hangs_after_some_answers_and_looks_well() -> None:
    with served("--hangs-after", "2") as server:
        assert [server.ask(), server.ask("other,rate=10000,tokens=1")] == [200, 200]
        with Raw(server.url).ask(OPENAI, model=FAST, messages=[]) as raw:
            server.when(lambda: server.get("/lab/counts")[1][FAST]["open"] == 1)
            assert server.get("/health") == (200, {"status": "ok"})
            assert raw.is_quiet()
        server.when(lambda: server.get("/lab/counts")[1][FAST]["cancelled"] == 1)


def test_a_closed_health_is_silent_and_the_apis_go_on() -> None:
    with served("--closes-health", "0") as server, Raw(server.url).get("/health") as health:
        assert server.ask() == 200
        assert server.ask() == 200
        assert health.is_quiet()


def test_a_health_that_closes_later_answers_until_then() -> None:
    with served("--closes-health", NEVER) as server:
        assert server.get("/health")[0] == 200


# Ending


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM that could be ignored")
def test_a_server_that_ignores_sigterm_goes_on_answering() -> None:
    with served("--ignore-sigterm") as server:
        server.process.terminate()
        assert server.ask() == 200
        assert server.ask() == 200
        assert server.process.poll() is None
        server.process.kill()
        assert server.process.wait(PATIENCE) == -signal.SIGKILL


def test_a_server_ends_by_itself_and_cuts_who_is_connected() -> None:
    with served("--exit-after", "0.3", "--exit-code", "7") as server:
        with pytest.raises(ConnectionError), Raw(server.url) as raw:
            raw.ask(OPENAI, model="m,mute=0", stream=True, messages=[]).rest()
        assert server.process.wait(PATIENCE) == 7


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--exit-after", "0"], 1),
        (["--exit-code", "3"], 3),
        (["--exit-code", "0"], 0),
        (["--exit-after", "0.01", "--load-time", NEVER, "--late-port"], 1),
    ],
)
def test_a_server_can_end_before_it_listens(options: list[str], status: int) -> None:
    assert ended(*options) == ("", status)


# Beside its work


@pytest.mark.skipif(sys.platform == "win32", reason="no sessions")
def test_children_outlive_the_server_and_one_has_left_its_group() -> None:
    with served("--children", "2") as server:
        first, second = (int(line.removeprefix("child ")) for line in server.before)
        assert os.getsid(first) == first
        assert os.getpgid(second) == os.getpgid(server.process.pid)
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0
        for child in (first, second):
            os.kill(child, 0)


def test_rubbish_comes_without_end_and_the_server_answers_all_the_same() -> None:
    with served("--rubbish") as server:
        assert server.ask() == 200
        assert server.process.stdout
        rubbish = server.process.stdout.read(200_000)
        assert b"\n" not in rubbish
        with pytest.raises(UnicodeDecodeError):
            rubbish.decode()


def test_a_log_is_filled_before_anything_else() -> None:
    with served("--chatty", "0.5") as server:
        assert sum(len(line) + 1 for line in server.before) == 500_000
        assert server.ask() == 200


# Models and options


def test_one_model_is_listed_and_any_is_answered() -> None:
    with served("--model", "gpt-oss-20b") as server:
        with Raw(server.url).ask(OPENAI, model=FAST, messages=[]) as raw:
            said = json.loads(raw.whole())["choices"][0]["message"]["content"]
        assert said == text_of("m,tokens=3")
        assert [model["id"] for model in server.get("/v1/models")[1]["data"]] == ["gpt-oss-20b"]
        assert [model["name"] for model in server.get("/api/tags")[1]["models"]] == ["gpt-oss-20b"]


def test_the_command_has_the_same_options_and_defaults_as_the_module() -> None:
    known = {known.option_strings[0]: known.default for known in module.parser()._actions}
    click: Any = typer.main.get_command(command.app)
    shown = {param.opts[0]: param.default for param in click.commands["serve"].params}
    assert {name for name in known if name != "-h"} == set(shown) - {"--help"}
    assert {name: shown[name] for name in shown if shown[name] is not None} == {
        name: default for name, default in known.items() if name in shown and default is not None
    }
    fields_too = {option(known.name) for group in GROUPS.values() for known in fields(group)}
    assert fields_too == set(shown) - {"--host", "--port", "--model", "--help"}
    assert (command.HOST, command.PORT) == (inside.HOST, inside.PORT)


def test_the_command_passes_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[Manners] = []

    def be_server(*_: object, manners: Manners, **__: object) -> int:
        passed.append(manners)
        return 5

    monkeypatch.setattr("hangtight.testing.lab.process.be_server", be_server)
    words = ["serve", "--load-time", "2.5", "--late-port", "--exit-code", "4", "--children", "1"]
    assert CliRunner().invoke(command.app, words).exit_code == 5
    (manners,) = passed
    assert manners.loading == Loading(load_time=2.5, late_port=True)
    assert (manners.ending, manners.company.children) == (Ending(exit_code=4), 1)


@pytest.mark.parametrize(
    "words",
    [
        ["--load-time", "-1"],
        ["--sleep-time", "nan"],
        ["--exit-after", "inf"],
        ["--exit-code", "256"],
        ["--children", "65"],
        ["--host", "0.0.0.0"],
        ["--sing"],
    ],
)
def test_options_that_make_no_sense_are_refused_by_both(words: list[str]) -> None:
    assert CliRunner().invoke(command.app, ["serve", *words]).exit_code == 2
    with pytest.raises(SystemExit) as refused:
        module.main(words)
    assert refused.value.code == 2


def test_a_server_of_the_command_does_as_it_is_told() -> None:
    words = [sys.executable, "-m", "hangtight", "lab", "serve", "--port", "0", "--load-time", NEVER]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            server = Served(process).until_it_listens()
            assert server.get("/health")[0] == 503
        finally:
            process.kill()


def test_the_help_shows_the_options_in_groups() -> None:
    shown = CliRunner().invoke(command.app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    groups = [line.removesuffix(":") for line in shown.splitlines() if line.endswith(":") and line[0] != " "]
    assert groups[:6] == ["Options", command.LOADS, command.SLEEPS, command.HANGS, command.ENDS, command.BESIDE]


def test_a_message_names_the_option() -> None:
    with pytest.raises(MannersError, match="--load-time"):
        Manners.of({"load_time": -1.0, "port": 3})
