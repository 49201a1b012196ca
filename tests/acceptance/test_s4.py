"""S4: model servers that sleep and wake within their own clocks, and what is done where they do not.

First what the file says, then every line of the log with their own numbers, in virtual time. Then the same with real
servers behind `hangtight serve`, ten or fifteen times shorter; and with their very numbers for who has a minute.
"""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from hangtight.core.process.facts import PutAway, Rest, Why
from hangtight.core.process.orders import Tell
from hangtight.core.process.phases import Phase
from hangtight.rules.settings import NOTHING
from hangtight.supervisor.fleet import Fleet
from hangtight.supervisor.server import terms_of
from tests.acceptance.swapped import TOGETHER, Swapped, lab, told_of
from tests.cli.kit import command
from tests.core.process.world import Script, World, ready
from tests.gateway.kit import PATIENCE
from tests.rules.kit import Place
from tests.rules.kit import place as empty_place

BIG = "gpt-oss-20b"
HOUSE = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return empty_place(tmp_path)


# -- what the file says: their unit tests -------------------------------------------------------------------------


def written(place: Place, of_all: str = "", own: str = "") -> tuple[float, float]:
    """The limits of sleep and wake of a model, by a file that says this about all models and this about it."""
    place.write("hangtight.yaml", f"{of_all}\nmodels:\n  {BIG}:\n    cmd: serve ${{PORT}}\n{own}")
    running = place.load().running(BIG)
    assert running is not None
    return running.sleep, running.wake


GLOBAL = "cmdSleepTimeout: 120\ncmdWakeTimeout: 90"
OWN = "    cmdSleepTimeout: 180\n    cmdWakeTimeout: 100\n"


def test_nothing_configured_60_60(place: Place) -> None:
    assert written(place) == (60, 60)


def test_global(place: Place) -> None:
    assert written(place, GLOBAL) == (120, 90)


def test_model(place: Place) -> None:
    assert written(place, own=OWN) == (180, 100)


def test_model_before_global_before_60(place: Place) -> None:
    assert written(place, GLOBAL, OWN) == (180, 100)
    assert written(place, GLOBAL, "    cmdSleepTimeout: 180\n") == (180, 90)
    assert written(place, "cmdSleepTimeout: 120", "    cmdWakeTimeout: 100\n") == (120, 100)
    assert written(place, "cmdSleepTimeout: 120") == (120, 60)


def test_parsed_at_both_levels_in_seconds_and_parts_of_them(place: Place) -> None:
    assert written(place, "cmdSleepTimeout: 2.5", "    cmdWakeTimeout: 0.5\n") == (2.5, 0.5)


def test_may_be_omitted(place: Place) -> None:
    written(place, own="    cmdSleep: sleep-it\n    cmdWake: wake-it\n")
    assert place.load().remarks == ()


@pytest.mark.parametrize("key", ["cmdSleepTimeout", "cmdWakeTimeout"])
@pytest.mark.parametrize("number", ["0", "-5"])
def test_0_and_negative_refused_with_file_line_and_key(place: Place, key: str, number: str) -> None:
    place.write("hangtight.yaml", f"{key}: {number}\nmodels:\n  m:\n    cmd: serve ${{PORT}}\n    {key}: {number}\n")
    assert [(each.file, each.line, each.key) for each in place.problems()] == [
        ("hangtight.yaml", 1, key),
        ("hangtight.yaml", 5, f"models.m.{key}"),
    ]


@pytest.mark.real
def test_0_and_negative_refused_by_the_command(tmp_path: Path) -> None:
    text = f"cmdSleepTimeout: 0\nmodels:\n  {BIG}:\n    cmd: serve ${{PORT}}\n    cmdWakeTimeout: -5\n"
    (tmp_path / "hangtight.yaml").write_text(text)
    checked = command(tmp_path, "check", "hangtight.yaml")
    served = command(tmp_path, "serve", "--config", "hangtight.yaml", "--port", "0")
    assert (checked.returncode, served.returncode) == (2, 2)
    for said in (checked.stdout + checked.stderr, served.stderr):
        assert "hangtight.yaml:1: cmdSleepTimeout = 0 cannot be used" in said
        assert f"hangtight.yaml:5: models.{BIG}.cmdWakeTimeout = -5 cannot be used" in said


# -- their numbers and lines, in virtual time ---------------------------------------------------------------------

SWAP = PutAway(Rest.SLEEP, Why.SWAP)
SLEEPER = "    cmdSleep: sleep-it\n    cmdWake: wake-it\n"


def world_of(place: Place, of_all: str = "", own: str = "", **script: float | str) -> World:
    """A model that is ready, with the clocks that this file gives it."""
    written(place, of_all, SLEEPER + own)
    running = place.load().running(BIG)
    assert running is not None
    return ready(terms_of(running), Script(**script))  # type: ignore[arg-type]


def slept(world: World) -> None:
    """Another model needs its place: it goes to sleep, or is stopped."""
    world.tell(SWAP)
    world.run(world.now + 1000)
    assert world.process.rests


def asleep(world: World) -> World:
    slept(world)
    assert world.process.phase is Phase.ASLEEP
    world.orders.clear()
    return world


def woken(world: World) -> None:
    """A request comes."""
    world.want()
    world.run(world.now + 100)
    assert world.process.phase is Phase.READY
    assert world.process.running == 1, "it is let in"


def log_of(world: World, folder: Path) -> bytes:
    """What is written down of it, byte by byte; the same goes to stdout."""
    printed: list[bytes] = []

    async def main() -> bytes:
        fleet = Fleet(NOTHING, folder, output=printed.append)
        for order in world.orders:
            if isinstance(order, Tell):
                fleet.say(world.model, order.level, order.words)
        return fleet.log(None)

    log = asyncio.run(main())
    assert b"".join(printed) == log
    return log


def test_the_lines_of_a_sleep_and_a_wake_to_the_byte(place: Place, tmp_path: Path) -> None:
    world = world_of(place, GLOBAL, sleep=15.2, wake=2.1)
    slept(world)
    woken(world)
    assert log_of(world, tmp_path) == (
        b"[INFO]  <gpt-oss-20b> Executing cmdSleep (timeout: 120s)\n"
        b"[INFO]  <gpt-oss-20b> Model sleep completed in 15.2s\n"
        b"[INFO]  <gpt-oss-20b> Executing cmdWake (timeout: 90s)\n"
        b"[INFO]  <gpt-oss-20b> Model wake completed in 2.1s\n"
    )


def test_a_sleep_that_takes_15_with_limit_10_falls_back_to_stop(place: Place, tmp_path: Path) -> None:
    world = world_of(place, own="    cmdSleepTimeout: 10\n", sleep=15)
    slept(world)
    assert world.process.phase is Phase.STOPPED
    assert log_of(world, tmp_path).startswith(
        b"[INFO]  <gpt-oss-20b> Executing cmdSleep (timeout: 10s)\n"
        b"[ERROR] <gpt-oss-20b> cmdSleep timed out after 10s, falling back to Stop()\n"
    )
    assert world.errors == ["sleep command timed out after 10s"]


def test_a_sleep_that_takes_15_with_limit_20_sleeps(place: Place, tmp_path: Path) -> None:
    world = world_of(place, own="    cmdSleepTimeout: 20\n", sleep=15)
    slept(world)
    assert world.process.phase is Phase.ASLEEP
    assert log_of(world, tmp_path) == (
        b"[INFO]  <gpt-oss-20b> Executing cmdSleep (timeout: 20s)\n"
        b"[INFO]  <gpt-oss-20b> Model sleep completed in 15.0s\n"
    )


def test_a_wake_that_takes_45_with_limit_30_restarts(place: Place, tmp_path: Path) -> None:
    world = asleep(world_of(place, own="    cmdWakeTimeout: 30\n", wake=45))
    woken(world)
    assert log_of(world, tmp_path).startswith(
        b"[INFO]  <gpt-oss-20b> Executing cmdWake (timeout: 30s)\n"
        b"[ERROR] <gpt-oss-20b> cmdWake timed out after 30s, restarting process\n"
    )
    assert world.errors == ["wake command timed out after 30s"]
    assert world.kinds()[-5:] == ["Stop", "Start", "Probe", "ProbeNoMore", "Open"]


def test_a_wake_that_takes_45_with_limit_60_wakes(place: Place, tmp_path: Path) -> None:
    world = asleep(world_of(place, own="    cmdWakeTimeout: 60\n", wake=45))
    woken(world)
    assert log_of(world, tmp_path) == (
        b"[INFO]  <gpt-oss-20b> Executing cmdWake (timeout: 60s)\n[INFO]  <gpt-oss-20b> Model wake completed in 45.0s\n"
    )


def test_global_30_against_model_90(place: Place, tmp_path: Path) -> None:
    of_all = world_of(place, "cmdSleepTimeout: 30", sleep=60)
    slept(of_all)
    assert of_all.process.phase is Phase.STOPPED
    assert b"cmdSleep timed out after 30s, falling back to Stop()\n" in log_of(of_all, tmp_path)

    own = world_of(place, "cmdSleepTimeout: 30", "    cmdSleepTimeout: 90\n", sleep=60)
    slept(own)
    assert own.process.phase is Phase.ASLEEP
    assert b"Executing cmdSleep (timeout: 90s)\n" in log_of(own, tmp_path)


def test_a_sleep_that_fails_is_logged_with_its_why_and_stops(place: Place, tmp_path: Path) -> None:
    world = world_of(place, sleep_fails="exit code 22")
    slept(world)
    assert world.process.phase is Phase.STOPPED
    assert log_of(world, tmp_path).startswith(
        b"[INFO]  <gpt-oss-20b> Executing cmdSleep (timeout: 60s)\n"
        b"[ERROR] <gpt-oss-20b> cmdSleep failed, falling back to Stop(): exit code 22\n"
    )


def test_a_wake_that_fails_is_logged_with_its_why_and_restarts(place: Place, tmp_path: Path) -> None:
    world = asleep(world_of(place, wake_fails="exit code 22"))
    woken(world)
    assert b"[ERROR] <gpt-oss-20b> cmdWake failed, restarting process: exit code 22\n" in log_of(world, tmp_path)
    assert "Start" in world.kinds()


# -- with real servers --------------------------------------------------------------------------------------------

SLOW_SLEEP = ("--sleep-time", "3")
SLOW_WAKE = ("--wake-time", "3")


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swapped]:
    """A sleep and a wake that take 3 s, with less time than that, and with more."""
    models = {
        "sleep-10": lab(*SLOW_SLEEP, cmdSleepTimeout=2),
        "sleep-20": lab(*SLOW_SLEEP, cmdSleepTimeout=20),
        "wake-30": lab(*SLOW_WAKE, cmdSleepTimeout=20, cmdWakeTimeout=2),
        "wake-60": lab(*SLOW_WAKE, cmdSleepTimeout=20),
        "global-30": lab(*SLOW_SLEEP),
        "model-90": lab(*SLOW_SLEEP, cmdSleepTimeout=20),
        "no-sleep": lab("--sleep-fails"),
        "no-wake": lab("--wake-fails", cmdSleepTimeout=20),
        "m": lab("--sleep-time", "1", cmdSleepTimeout=20),
    }
    folder = tmp_path_factory.mktemp("swapped")
    with Swapped(folder, models, groups=TOGETHER, cmdSleepTimeout=2, cmdWakeTimeout=20) as swapped:
        yield swapped


def up(swapped: Swapped, *models: str) -> None:
    for model in models:
        assert swapped.put(model, "wake")["ok"]


@pytest.mark.real
def test_a_sleep_that_takes_too_long_is_stopped_and_who_asked_for_it_is_told(swapped: Swapped) -> None:
    up(swapped, "sleep-10")
    server = psutil.Process(swapped.seen("sleep-10")["pid"])
    asked = swapped.command("sleep", "sleep-10")
    assert asked.returncode == 1
    assert "sleep command timed out after 2s" in asked.stdout
    assert not server.is_running()
    assert not swapped.commands(), "the command is gone, too"
    assert swapped.seen("sleep-10")["phase"] == "stopped"
    assert swapped.seen("sleep-10")["why"] == "sleep command timed out after 2s"
    assert swapped.log("sleep-10")[2:] == [
        "[INFO]  <sleep-10> Executing cmdSleep (timeout: 2s)",
        "[ERROR] <sleep-10> cmdSleep timed out after 2s, falling back to Stop()",
        "[INFO]  <sleep-10> Stopping process (timeout: 10s)",
        "[INFO]  <sleep-10> Process stopped in #s",
    ]
    assert len(list(swapped.says("sleep-10"))) == 3, "it starts again when it is wanted"


@pytest.mark.real
def test_the_same_sleep_with_time_enough_sleeps(swapped: Swapped) -> None:
    up(swapped, "sleep-20")
    asked = swapped.command("sleep", "sleep-20")
    assert (asked.returncode, swapped.seen("sleep-20")["phase"]) == (0, "asleep")
    told = swapped.of_the_server("sleep-20")
    assert (told["state"], told["slept"], told["pid"]) == ("asleep", 1, swapped.seen("sleep-20")["pid"])
    assert swapped.log("sleep-20")[2:] == [
        "[INFO]  <sleep-20> Executing cmdSleep (timeout: 20s)",
        "[INFO]  <sleep-20> Model sleep completed in #s",
    ]


@pytest.mark.real
def test_a_wake_that_takes_too_long_is_a_restart_and_the_request_that_waits_is_answered(swapped: Swapped) -> None:
    up(swapped, "wake-30")
    server = psutil.Process(swapped.seen("wake-30")["pid"])
    assert swapped.put("wake-30", "sleep")["ok"]
    assert len(list(swapped.says("wake-30"))) == 3
    assert not server.is_running()
    assert swapped.seen("wake-30")["pid"] != server.pid
    assert swapped.log("wake-30")[4:] == [
        "[INFO]  <wake-30> Executing cmdWake (timeout: 2s)",
        "[ERROR] <wake-30> cmdWake timed out after 2s, restarting process",
        "[INFO]  <wake-30> Stopping process (timeout: 10s)",
        "[INFO]  <wake-30> Process stopped in #s",
        "[INFO]  <wake-30> Executing cmd (timeout: 120s)",
        "[INFO]  <wake-30> Model start completed in #s",
    ]


@pytest.mark.real
def test_who_asked_for_a_wake_is_told_that_it_was_a_restart(swapped: Swapped) -> None:
    up(swapped, "wake-30")
    assert swapped.put("wake-30", "sleep")["ok"]
    asked = swapped.command("wake", "wake-30")
    assert asked.returncode == 1
    assert "wake command timed out after 2s" in asked.stdout
    assert swapped.seen("wake-30")["phase"] == "ready"


@pytest.mark.real
def test_the_same_wake_with_time_enough_wakes(swapped: Swapped) -> None:
    up(swapped, "wake-60")
    server = swapped.seen("wake-60")["pid"]
    assert swapped.put("wake-60", "sleep")["ok"]
    assert len(list(swapped.says("wake-60"))) == 3
    assert (swapped.seen("wake-60")["pid"], swapped.of_the_server("wake-60")["woken"]) == (server, 1)
    assert swapped.log("wake-60")[4:] == [
        "[INFO]  <wake-60> Executing cmdWake (timeout: 20s)",
        "[INFO]  <wake-60> Model wake completed in #s",
    ]


@pytest.mark.real
def test_the_limit_of_all_against_that_of_a_model(swapped: Swapped) -> None:
    up(swapped, "global-30", "model-90")
    with ThreadPoolExecutor() as both:
        of_all, own = both.map(lambda model: swapped.put(model, "sleep"), ("global-30", "model-90"))
    assert (of_all["ok"], of_all["phase"], of_all["why"]) == (False, "stopped", "sleep command timed out after 2s")
    assert (own["ok"], own["phase"]) == (True, "asleep")
    assert "[INFO]  <global-30> Executing cmdSleep (timeout: 2s)" in swapped.log("global-30")
    assert "[INFO]  <model-90> Executing cmdSleep (timeout: 20s)" in swapped.log("model-90")


@pytest.mark.real
def test_a_sleep_that_fails_stops_and_what_the_command_said_is_in_the_log(swapped: Swapped) -> None:
    up(swapped, "no-sleep")
    asked = swapped.command("sleep", "no-sleep")
    assert (asked.returncode, swapped.seen("no-sleep")["phase"]) == (1, "stopped")
    assert "sleep command failed: exit code 1" in asked.stdout
    (line,) = (line for line in swapped.log("no-sleep") if line.startswith("[ERROR]"))
    assert line.startswith("[ERROR] <no-sleep> cmdSleep failed, falling back to Stop(): exit code 1")
    assert "it answered HTTP/1.1 500" in swapped.ask("GET", "/logs")[1]


@pytest.mark.real
def test_a_wake_that_fails_restarts_and_answers(swapped: Swapped) -> None:
    up(swapped, "no-wake")
    assert swapped.put("no-wake", "sleep")["ok"]
    assert len(list(swapped.says("no-wake"))) == 3
    (line,) = (line for line in swapped.log("no-wake") if line.startswith("[ERROR]"))
    assert line.startswith("[ERROR] <no-wake> cmdWake failed, restarting process: exit code 1")


@pytest.mark.real
def test_the_lines_of_a_model_that_slept_and_woke_are_in_the_log_and_in_its_stream(swapped: Swapped) -> None:
    up(swapped, "m")
    came: list[bytes] = []
    with urllib.request.urlopen(f"{swapped.url}/logs/stream/m?no-history", timeout=PATIENCE) as stream:
        assert swapped.put("m", "sleep")["ok"]
        assert swapped.put("m", "wake")["ok"]
        for line in stream:
            came.append(line)
            if b"Model wake completed" in line:
                break
    expected = [
        "[INFO]  <m> Executing cmdSleep (timeout: 20s)",
        "[INFO]  <m> Model sleep completed in #s",
        "[INFO]  <m> Executing cmdWake (timeout: 20s)",
        "[INFO]  <m> Model wake completed in #s",
    ]
    assert told_of(b"".join(came).decode(), "m") == expected
    assert swapped.log("m")[-4:] == expected


@pytest.mark.real
def test_who_follows_the_log_does_not_hold_up_the_end_and_hears_all_until_then(tmp_path: Path) -> None:
    with Swapped(tmp_path, {"m": lab()}) as swapped:
        up(swapped, "m")
        stream = urllib.request.urlopen(f"{swapped.url}/logs/stream", timeout=PATIENCE)
    with stream:
        assert "[INFO]  <m> Model start completed in #s" in told_of(stream.read().decode(), "m")


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(150)
def test_their_very_numbers(tmp_path: Path) -> None:
    """15 s against 10 and 20, 45 s against 30 and 60, 30 for all against 90: all at the same time."""
    models = {
        "sleep-10": lab("--sleep-time", "15", cmdSleepTimeout=10),
        "sleep-20": lab("--sleep-time", "15", cmdSleepTimeout=20),
        "wake-30": lab("--wake-time", "45", cmdWakeTimeout=30),
        "wake-60": lab("--wake-time", "45", cmdWakeTimeout=60),
        "global-30": lab("--sleep-time", "40"),
        "model-90": lab("--sleep-time", "40", cmdSleepTimeout=90),
    }
    with (
        Swapped(tmp_path, models, groups=TOGETHER, cmdSleepTimeout=30) as swapped,
        ThreadPoolExecutor(len(models)) as everybody,
    ):
        up(swapped, *models)
        for model in ("wake-30", "wake-60"):
            assert swapped.put(model, "sleep")["ok"]
        done = {name: "wake" if name.startswith("wake") else "sleep" for name in models}
        asked = dict(zip(models, everybody.map(lambda name: swapped.command(done[name], name), models), strict=True))
        assert {name: each.returncode for name, each in asked.items()} == {
            "sleep-10": 1, "sleep-20": 0, "wake-30": 1, "wake-60": 0, "global-30": 1, "model-90": 0,
        }  # fmt: skip
        assert "sleep command timed out after 10s" in asked["sleep-10"].stdout
        assert "wake command timed out after 30s" in asked["wake-30"].stdout
        log = swapped.log(*models)
        assert "[ERROR] <sleep-10> cmdSleep timed out after 10s, falling back to Stop()" in log
        assert "[ERROR] <wake-30> cmdWake timed out after 30s, restarting process" in log
        assert "[ERROR] <global-30> cmdSleep timed out after 30s, falling back to Stop()" in log
        assert "[INFO]  <sleep-20> Model sleep completed in #s" in log
        assert "[INFO]  <wake-60> Model wake completed in #s" in log
        assert "[INFO]  <model-90> Model sleep completed in #s" in log


# -- with traffic -------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_a_request_during_sleep_waits_and_is_answered_after_the_wake(swapped: Swapped) -> None:
    up(swapped, "m")
    before = len(swapped.log("m"))
    with ThreadPoolExecutor() as other:
        putting = other.submit(swapped.put, "m", "sleep")
        swapped.until("m", "sleeping")
        assert len(list(swapped.says("m"))) == 3
        told = putting.result(PATIENCE)
    assert told["ok"], "it did sleep, if not for long"
    assert swapped.log("m")[before:] == [
        "[INFO]  <m> Executing cmdSleep (timeout: 20s)",
        "[INFO]  <m> Model sleep completed in #s",
        "[INFO]  <m> Executing cmdWake (timeout: 20s)",
        "[INFO]  <m> Model wake completed in #s",
    ]
    assert swapped.of_the_server("m")["slept_busy"] == 0, "nothing was inside when it fell asleep"


@pytest.mark.real
def test_who_stops_a_model_that_is_wanted_meanwhile_is_told_that_it_stopped(tmp_path: Path) -> None:
    with Swapped(tmp_path, {"m": lab("--ignore-sigterm", unloadTimeout=2)}) as swapped, ThreadPoolExecutor() as other:
        up(swapped, "m")
        server = psutil.Process(swapped.seen("m")["pid"])
        stopping = other.submit(swapped.put, "m", "stop")
        swapped.until("m", "stopping")
        assert len(list(swapped.says("m"))) == 3, "it is started again for who came meanwhile"
        assert stopping.result(PATIENCE)["ok"]
        assert not server.is_running()


@pytest.mark.real
def test_a_request_in_flight_is_not_killed_by_a_swap(tmp_path: Path) -> None:
    models = {"first": lab(says="tokens=30,rate=10"), "second": lab()}
    with Swapped(tmp_path, models) as swapped, ThreadPoolExecutor() as other:
        up(swapped, "first")
        words = swapped.says("first")
        said = [next(words)]
        asked = other.submit(lambda: list(swapped.says("second")))
        swapped.until("first", "draining")
        said.extend(words)
        assert len(said) == 30
        assert len(asked.result(PATIENCE)) == 3
        assert swapped.log("first", "second")[2:] == [
            "[INFO]  <first> Waiting for 1 request before sleep: swap (timeout: 300s)",
            "[INFO]  <first> Executing cmdSleep (timeout: 60s)",
            "[INFO]  <first> Model sleep completed in #s",
            "[INFO]  <second> Executing cmd (timeout: 120s)",
            "[INFO]  <second> Model start completed in #s",
        ]
        assert swapped.of_the_server("first")["slept_busy"] == 0


@pytest.mark.real
def test_requests_for_one_model_are_collated_the_server_is_started_once_for_20(tmp_path: Path) -> None:
    with Swapped(tmp_path, {"m": lab("--load-time", "1")}) as swapped, ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: list(swapped.says("m")), range(20)))
        assert [len(words) for words in answers] == [3] * 20
        assert swapped.log("m") == [
            "[INFO]  <m> Executing cmd (timeout: 120s)",
            "[INFO]  <m> Model start completed in #s",
        ]


@pytest.mark.real
def test_a_caller_that_gives_up_leaves_the_load_running(tmp_path: Path) -> None:
    with Swapped(tmp_path, {"m": lab("--load-time", "3")}) as swapped:
        status, told, _ = swapped.ask(
            "POST", "/v1/chat/completions", {"model": "m", "messages": []}, X_Hangtight_Total="0.5"
        )
        assert status == 504, told
        assert swapped.seen("m")["phase"] == "starting"
        swapped.until("m", "ready")
        assert len(list(swapped.says("m"))) == 3
        assert swapped.log("m") == [
            "[INFO]  <m> Executing cmd (timeout: 120s)",
            "[INFO]  <m> Model start completed in #s",
        ]


@pytest.mark.real
def test_a_caller_that_gives_up_leaves_the_wake_running(swapped: Swapped) -> None:
    up(swapped, "wake-60")
    assert swapped.put("wake-60", "sleep")["ok"]
    before = swapped.of_the_server("wake-60")["woken"]
    asked = {"model": "wake-60", "messages": []}
    assert swapped.ask("POST", "/v1/chat/completions", asked, X_Hangtight_Total="0.5")[0] == 504
    assert swapped.seen("wake-60")["phase"] == "waking"
    swapped.until("wake-60", "ready")
    assert swapped.of_the_server("wake-60")["woken"] == before + 1


# -- what is around it --------------------------------------------------------------------------------------------


def test_make_test_dev_is_the_fast_part_and_make_test_all_is_all() -> None:
    told = (HOUSE / "Makefile").read_text()
    dev, everything = (re.search(rf"^{name}:.*\n\t(.*)", told, re.MULTILINE) for name in ("test-dev", "test-all"))
    assert dev is not None
    assert everything is not None
    assert "not slow" in dev[1]
    assert "not real" in dev[1]
    assert "slow" not in everything[1]


def test_config_example_yaml_has_the_block_of_all_and_a_large_model_and_is_loaded(place: Place) -> None:
    settings = place.load(str(HOUSE / "config.example.yaml"))
    assert settings.remarks == (), "nothing in it is not done yet"
    large = settings.running(BIG)
    assert large is not None
    assert (large.sleep, large.wake, large.sleeps) == (180, 180, True)
    others = [each for each in settings.runs.values() if each.sleeps and each is not large]
    assert others
    for each in others:
        assert (each.sleep, each.wake) == (60, 60)
        assert each.sources["cmdSleepTimeout"] != large.sources["cmdSleepTimeout"] != "default"


@pytest.mark.real
def test_config_example_yaml_is_fine_for_the_command_which_says_where_each_number_stands(tmp_path: Path) -> None:
    file = str(HOUSE / "config.example.yaml")
    assert command(tmp_path, "check", file).returncode == 0
    explained = command(tmp_path, "explain", "--config", file, "--model", BIG).stdout
    for key in ("cmdSleepTimeout", "cmdWakeTimeout"):
        assert re.search(rf"{key} +180 .*config\.example\.yaml:\d+", explained), explained


def test_the_recommended_values_are_documented() -> None:
    told = (HOUSE / "docs" / "configuration.md").read_text()
    for size, sleep, wake in (("under 7B", 30, 30), ("7B to 20B", 60, 60), ("over 20B", 120, 90)):
        assert re.search(rf"^\| *{size} *\| *{sleep} *\| *{wake} *\|$", told, re.MULTILINE), size
    assert re.search(rf"180 .*{BIG}", told)
    assert re.search(r"[Ll]evel 1\b.*[Ll]evel 2\b", told, re.DOTALL)
    assert {"0.1 to 6 s", "0.8 to 2.6 s"} <= set(re.findall(r"[\d.]+ to [\d.]+ s\b", told))


def test_the_fields_and_their_order_are_documented() -> None:
    told = (HOUSE / "docs" / "configuration.md").read_text()
    for key in ("cmdSleepTimeout", "cmdWakeTimeout"):
        assert re.search(rf"^\| `{key}` \|.*\| 60 \|", told, re.MULTILINE), key
    for key in ("cmdSleep", "cmdWake"):
        assert f"| `models.NAME.{key}` |" in told
    assert "config.example.yaml" in told
