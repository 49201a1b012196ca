"""`hangtight top`, and `hangtight ask` through a gateway: the real commands, a real gateway, the lab behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hangtight.cli.topping import lines
from hangtight.testing.lab import Lab, text_of
from tests.cli.kit import EVIL, SOURCES, command, visible
from tests.gateway.kit import PATIENCE, Served, all_at
from tests.gateway.watching import Asked, until

URL = "http://127.0.0.1:8383"
STANDS: dict[str, Any] = {
    "id": "7f3a21bc0d11", "model": "qwen3-coder", "phase": "streaming", "doing": "coding", "elapsed": 45.2,
    "tokens": 312, "silence": 2.1, "in_contact": False, "nearest": {"limit": "first_token", "rings_in": 42.9},
    "position": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = f"apiKeys: [sesame]\nlimits: {{cancel: 2}}\n{all_at(lab.url)}"
    with Served(tmp_path_factory.mktemp("served"), settings, "--drain", "0.2") as served:
        yield served


def told(*generations: dict[str, Any]) -> dict[str, Any]:
    return {"generations": list(generations), "finished": [], "draining": False}


# -- the table -------------------------------------------------------------------------------------------------------


def test_the_table_has_a_line_for_each_request() -> None:
    waits = {**STANDS, "id": "0123456789ab", "phase": "queued", "doing": "", "position": 3, "nearest": None}
    head, blank, titles, first, second = lines(told(STANDS, waits), URL, room=120, colours=False)
    assert (head, blank) == (f"{URL}: 2 in flight, 1 of them in the queue", "")
    assert titles.split() == ["id", "model", "phase", "elapsed", "tokens", "silence", "next", "alarm", "place"]
    assert first.split("  ")[0] == "7f3a21bc"
    assert "streaming, coding" in first
    assert "first token in 43 s" in first
    assert second.endswith("3")
    assert "none" in second


def test_a_model_that_only_pings_is_seen_to_and_an_alarm_that_is_near_stands_out() -> None:
    pings = {**STANDS, "in_contact": True, "silence": 41.0, "nearest": {"limit": "idle", "rings_in": 4.0}}
    plain = lines(told(pings), URL, room=120, colours=False)[-1]
    assert "pings only 41 s" in plain
    assert "\x1b[31midle in 4.0 s" in lines(told(pings), URL, room=120, colours=True)[-1]


@pytest.mark.parametrize(("phase", "contact", "says"), [
    ("streaming", False, "silent 12 s"), ("thinking", False, "silent 12 s"), ("streaming", True, "pings only 12 s"),
    ("waiting", False, "waiting"), ("waiting", True, "waiting, pings"), ("loading", False, "loading"),
])  # fmt: skip
@pytest.mark.parametrize("room", [77, 120])
def test_a_model_that_has_begun_and_gives_nothing_does_not_look_like_one_that_gets_on(
    phase: str, contact: bool, says: str, room: int
) -> None:
    mute = {**STANDS, "phase": phase, "doing": "", "silence": 12.0, "in_contact": contact}
    healthy, hung = lines(told(STANDS, mute), URL, room=room, colours=False)[-2:]
    assert "streaming, coding" in healthy
    assert hung.split("  ")[2] == says or f"  {says}  " in hung
    yellow = f"\x1b[33m{says}" in lines(told(mute), URL, room=room, colours=True)[-1]
    assert yellow is (contact or phase in ("streaming", "thinking"))


def test_at_80_columns_the_bar_and_the_id_give_way_before_a_name_or_a_state_is_cut() -> None:
    long = {**STANDS, "model": "qwen2.5-coder:14b-instruc", "silence": 12.0, "in_contact": True}
    *_, line = lines(told(long), URL, room=77, colours=False)
    assert line.startswith("qwen2.5-coder:14b-instruc  pings only 12 s  ")
    assert "first token in 43 s" in line


def test_it_fits_into_80_columns_and_a_name_cannot_move_the_cursor() -> None:
    evil = {**STANDS, "model": EVIL * 20, "phase": EVIL}
    shown = lines(told(STANDS, evil), URL, room=80, colours=False)
    assert all(len(line) <= 80 for line in shown)
    assert visible("\n".join(shown))


def test_where_nothing_is_in_flight_it_says_so() -> None:
    assert lines(told(), URL, room=80, colours=False) == [f"{URL}: nothing in flight"]


def test_what_a_stranger_tells_is_no_reason_to_fall_over() -> None:
    odd = {"id": None, "elapsed": "soon", "nearest": "idle", "tokens": None}
    assert len(lines(told(odd, {}), URL, room=80, colours=False)) == 5


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_in_a_pipe_it_is_printed_once(served: Served, tmp_path: Path) -> None:
    model = "qwen3-coder,tokens=9,mute=3"
    with Asked(served, model, authorization="Bearer sesame"):
        until(lambda: "3  " in top(served, tmp_path).stdout)
        ended = top(served, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{served.url}: 1 in flight\n")
    assert model in ended.stdout, "in a pipe nothing is cut"


def top(served: Served, folder: Path, *words: str, key: str = "sesame") -> subprocess.CompletedProcess[str]:
    return command(folder, "top", "--url", served.url, *words, HANGTIGHT_API_KEY=key)


@pytest.mark.real
def test_as_json_it_is_what_the_gateway_tells(served: Served, tmp_path: Path) -> None:
    found = json.loads(command(tmp_path, "top", "--url", f"{served.openai}/", "--key", "sesame", "--json").stdout)
    assert (found["draining"], found["generations"]) == (False, [])


@pytest.mark.real
@pytest.mark.parametrize(("key", "says"), [("", "it wants a key"), ("wrong", "the key is not one of its keys")])
def test_a_gateway_with_keys_says_how_to_show_one(served: Served, tmp_path: Path, key: str, says: str) -> None:
    ended = top(served, tmp_path, key=key)
    what, how = ended.stderr.splitlines()
    assert (ended.returncode, what) == (1, f"hangtight: {served.url}: {says}")
    assert how == f"to show one:  HANGTIGHT_API_KEY=... hangtight top --url {served.url}"


@pytest.mark.real
def test_where_no_gateway_answers_three_lines_say_what_to_do(lab: Lab, tmp_path: Path) -> None:
    ended = command(tmp_path, "top", "--url", "http://127.0.0.1:1")
    assert (ended.returncode, ended.stderr.splitlines()) == (
        1,
        [
            "hangtight: no gateway at http://127.0.0.1:1: nothing there",
            "to start one:  hangtight serve",
            "to ask another:  hangtight top --url http://HOST:PORT",
        ],
    )
    ended = command(tmp_path, "top", "--url", lab.url)
    assert "what answers there is no gateway (HTTP 404)" in ended.stderr
    assert command(tmp_path, "top", "--url", "ftp://there").returncode == 2


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of Unix")
def test_on_a_terminal_it_is_drawn_until_ctrl_c(served: Served, tmp_path: Path) -> None:
    import pty

    screen, inside = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": SOURCES, "TERM": "xterm-256color", "HANGTIGHT_API_KEY": "sesame"}
    words = [sys.executable, "-m", "hangtight", "top", "--url", served.url]
    with subprocess.Popen(words, stdin=inside, stdout=inside, stderr=inside, cwd=tmp_path, env=environment) as showing:
        os.close(inside)
        try:
            written = b""
            while written.count(b"nothing in flight") < 2:
                written += os.read(screen, 65536)
            showing.send_signal(signal.SIGINT)
            while piece := os.read(screen, 65536):
                written += piece
        except OSError:  # how Linux says that nobody has the other end open any more
            pass
        finally:
            with suppress(subprocess.TimeoutExpired):
                showing.wait(PATIENCE)
            showing.kill()
        os.close(screen)
    assert showing.returncode == 0
    assert written.endswith(b"\x1b[?25h") or b"\x1b[?25h" in written, "the cursor is shown again"
    assert b"Traceback" not in written


# -- ask, through a gateway ------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("end", ["", "/v1"])
def test_a_question_through_a_gateway_is_answered(served: Served, tmp_path: Path, end: str) -> None:
    model = "through,tokens=5,rate=200"
    ended = command(
        tmp_path, "ask", "Why?", "--url", served.url + end, "--model", model, OPENAI_API_KEY="sesame"
    )  # fmt: skip
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", text_of(model) + "\n")


@pytest.mark.real
def test_a_question_without_a_key_says_how_to_show_one(served: Served, tmp_path: Path) -> None:
    ended = command(tmp_path, "ask", "Why?", "--url", served.url, "--model", "any")
    assert ended.returncode == 1
    assert "OPENAI_API_KEY=... hangtight ask" in ended.stderr


@pytest.mark.real
@pytest.mark.parametrize("keys", ["", "apiKeys: [sesame]\n"])
def test_the_model_is_chosen_from_the_list_of_the_gateway(lab: Lab, tmp_path: Path, keys: str) -> None:
    settings = f'{keys}models:\n  first: {{proxy: "{lab.url}", useModelName: "tokens=3,rate=200"}}\n'
    (tmp_path / "asks").mkdir()
    with Served(tmp_path, settings) as served:
        ended = command(tmp_path / "asks", "ask", "Why?", "--url", served.url, OPENAI_API_KEY="sesame" if keys else "")
        [told] = served.ask("GET", "/hangtight/generations", authorization="Bearer sesame")[1]["finished"]
    assert (ended.returncode, ended.stdout) == (0, text_of("tokens=3") + "\n")
    assert (told["asked"], told["path"], told["outcome"]) == ("first", "/v1/chat/completions", "finished")


@pytest.mark.real
def test_a_limit_of_the_command_ends_what_runs_in_the_gateway(served: Served, lab: Lab, tmp_path: Path) -> None:
    model = "mistral-7b,mute=3,rate=200"
    ended = command(
        tmp_path, "ask", "Why?", "--url", served.url, "--model", model, "--idle", "0.3", OPENAI_API_KEY="sesame"
    )
    assert ended.returncode == 124
    assert ended.stderr.startswith(f"IdleTimeout: {model} stuck - no output for 0.3s (3 tokens in ")
    assert lab.settled(model).cancelled == 1
