"""`hangtight log`: a table of all, the time line of one, and nothing in either that was not meant for people."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from hangtight.cli import history, journals
from hangtight.cli.printing import Cell, Column, cut, table
from hangtight.drivers import clock
from hangtight.journal import words
from hangtight.journal.entries import Begun, Ended, Happened, Happening
from hangtight.journal.reading import Decision, Reading
from hangtight.journal.recording import Recorder
from hangtight.testing.lab import Lab
from tests.cli.kit import DAY, EVIL, HUNG, LOST, OLD, SECRET, SOURCES, STOOD_IN, command, journal, visible
from tests.gateway.kit import Served, all_at


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return journal(tmp_path_factory.mktemp("journal"))


def log(url: str, *words: str, zone: str = "UTC") -> subprocess.CompletedProcess[str]:
    return command(Path(url).parent, "log", "--journal", url, *words, TZ=zone)


# -- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_table_has_the_newest_first(url: str) -> None:
    told = log(url)
    _, *lines = told.stdout.splitlines()
    assert (told.returncode, told.stderr) == (0, "")
    ids = [next(word for word in line.split() if word in {key[:8] for key in (HUNG, LOST, OLD)}) for line in lines]
    assert ids == [LOST[:8], STOOD_IN[:8], HUNG[:8], OLD[:8]]
    assert "running or lost" in lines[0]
    assert "timeout idle" in lines[2]
    assert "…" not in told.stdout
    assert visible(told.stdout)


LONG = "mistral-7b-instruct-v0.3-that-somebody-has-tuned-for-many-days-and-nights"


@pytest.fixture(scope="module")
def of_long_names(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A journal with a generation of a model, and a run of a flow, whose names are long."""
    url = str(tmp_path_factory.mktemp("long") / "journal.db")
    recorder = Recorder(url, wall=clock.wall, keep=None)
    recorder.put(Begun(HUNG, HUNG, clock.wall(), None, model=LONG, run=LONG))
    recorder.put(Ended(HUNG, 3.0, "finished", 10, 0.5, 0.2))
    recorder.put(Happened(LONG, clock.wall(), Happening.RUN_STARTED, flow=LONG))
    assert recorder.close(10.0)
    return url


@pytest.mark.real
@pytest.mark.parametrize("words", [("log",), ("stats", "--by", "model"), ("flow", "ls"), ("flow", "show", LONG)])
def test_in_a_pipe_a_name_is_found_however_long_it_is(words: tuple[str, ...], of_long_names: str) -> None:
    told = command(Path(of_long_names).parent, *words, "--journal", of_long_names)
    assert LONG in told.stdout, told.stdout + told.stderr


@pytest.mark.real
def test_of_an_error_of_a_gateway_both_journals_lead_to_its_story(tmp_path: Path) -> None:
    asks = tmp_path / "elsewhere"
    asks.mkdir()
    with Lab() as lab, Served(tmp_path, "limits: {idle: 0.5}\n" + all_at(lab.url)) as served:
        model = "mute-one,mute=3,rate=200"
        told = command(asks, "ask", "Why", "--url", served.url, "--model", model, keeps=True)
    kept = f"{tmp_path}/journal.db"
    line = re.search(r"why: hangtight (log ([0-9a-f]{8}) --journal (\S+))$", told.stderr.rstrip())
    assert line is not None, told.stderr
    assert line[3] == kept
    there = command(asks, *shlex.split(line[1]), keeps=True)
    assert "timeout: idle" in there.stdout, there.stderr
    (row,) = json.loads(command(asks, "log", "--json", keeps=True).stdout)
    assert line[2] in row["error"], "and what asked knows under which name it is known there"


@pytest.mark.parametrize("key", [HUNG[:8], "0" * 8])
def test_an_id_that_is_not_there_may_be_in_the_journal_of_a_gateway_that_runs(
    key: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "kept_by_a_gateway", lambda: "/else where/journal.db")
    assert history._elsewhere(key, url).endswith(f":  hangtight log {key} --journal '/else where/journal.db'")
    monkeypatch.setattr(history, "kept_by_a_gateway", lambda: url)
    assert history._elsewhere(key, url) == ""
    monkeypatch.setattr(history, "kept_by_a_gateway", lambda: "")
    assert history._elsewhere(key, None) == ""


@pytest.mark.real
def test_what_is_wanted_is_chosen_by_time_run_and_model(url: str) -> None:
    def keys(*words: str) -> list[str]:
        return [row["id"] for row in json.loads(log(url, "--json", *words).stdout)]

    assert keys() == [LOST, STOOD_IN, HUNG, OLD]
    assert keys("--since", "2d") == [LOST, STOOD_IN, HUNG]
    assert keys("--since", "30s") == [LOST, STOOD_IN]
    assert keys("--run", "nightly", "--model", "qwen3-coder") == [HUNG]
    assert keys("--model", "qwen3-coder", "--limit", "1") == [HUNG]


@pytest.mark.real
def test_times_in_json_carry_their_zone(url: str) -> None:
    row = json.loads(log(url, "--json", "--limit", "1", zone="Asia/Kolkata").stdout)[0]
    began = datetime.fromisoformat(row["started"])
    assert (row["id"], row["model"], row["started"][-6:], row["ended"]) == (LOST, EVIL, "+05:30", None)
    assert 0 < clock.wall() - began.timestamp() < 600


@pytest.mark.real
def test_what_nothing_is_like_is_said_so(url: str) -> None:
    told = log(url, "--model", "nobody\x1b[31m", "--json")
    assert (told.returncode, json.loads(told.stdout)) == (0, [])
    assert "nothing in the journal" in told.stderr


# -- the time line ----------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_time_line_of_one_has_a_line_for_each_decision(url: str) -> None:
    told = log(url, HUNG)
    lines = told.stdout.splitlines()
    assert (told.returncode, told.stderr) == (0, "")
    assert lines[0].startswith(f"{HUNG}  qwen3-coder at 127.0.0.1:11434  20")
    assert lines[1] == "mode deep, run nightly, step generate, a prompt of about 500 tokens, 64s left of its budget"
    told_words = [line.split(maxsplit=1) for line in lines[3:10]]
    assert told_words == [
        [
            "+0.0s",
            "armed: first_token 60 (follows idle=60 (hangtight.yaml:14)) + 60 for a load + 10 for the prompt, "
            "idle 60 (hangtight.yaml:14), total 600 (default)",
        ],
        ["+0.1s", "loading"],
        ["+15.0s", "heartbeat: streaming, 312 tokens, pings, no content for 8s, idle rings in 37s"],
        ["+78.2s", "rang: idle, after 45s"],
        ["+78.2s", "cancel sent"],
        ["+78.2s", "cancel confirmed after 0.02s"],
        [
            "+78.2s",
            "timeout: idle after 45s (hangtight.yaml:14), 312 tokens, first token after 3.1s, longest gap 45s",
        ],
    ]
    assert "other attempts" in lines[11]
    assert STOOD_IN[:8] in lines[13]


@pytest.mark.real
def test_a_fallback_is_told_without_the_words_of_any_server(url: str) -> None:
    told = log(url, STOOD_IN)
    assert "fallback: in place of qwen3-coder, which failed after 78.2s (idle)" in told.stdout
    assert SECRET not in told.stdout
    whole = log(url, STOOD_IN, "--json")
    assert SECRET not in whole.stdout
    found = json.loads(whole.stdout)
    assert [each["kind"] for each in found["decisions"]] == ["fallback"]
    assert [each["id"] for each in found["attempts"]] == [HUNG]


@pytest.mark.real
def test_the_beginning_of_an_id_is_enough_where_it_is_only_one(url: str) -> None:
    assert log(url, LOST[:3]).returncode == 0
    several = log(url, "7f3a")
    assert (several.returncode, several.stdout) == (2, "")
    assert HUNG in several.stderr
    assert STOOD_IN in several.stderr


@pytest.mark.real
@pytest.mark.parametrize("wanted", ["ffff", "zz", "%", "' or 1=1 --", "\x1b[31m", "é" * 500, ""])
def test_an_id_that_nobody_has_is_said_so(wanted: str, url: str) -> None:
    told = log(url, "--", wanted)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("hangtight: nothing is known of")
    assert visible(told.stderr)


@pytest.mark.real
def test_what_has_no_end_says_that_it_runs_or_was_killed(url: str) -> None:
    told = log(url, LOST)
    assert "running" in told.stdout.splitlines()[-1]
    assert visible(told.stdout)


ODD: list[Any] = [None, 3, "text", [], {}, {"now": 3}, {"waited": "x", "limit": None}, {"elapsed": None}, True]


@pytest.mark.parametrize("kind", [*words.WORDS, "of a later version"])
@pytest.mark.parametrize("told", ODD, ids=repr)
def test_a_decision_that_is_not_as_we_write_it_is_still_told(kind: str, told: Any) -> None:
    assert words.in_words(Decision(1.0, kind, told)).startswith(kind)


FIRST = {"first_token": {"value": 3}}


@pytest.mark.parametrize(
    "limits", [{}, {"clocks": None}, {"idle": 3}, {"idle": {}}, {**FIRST, "clocks": {"first_token": "x"}}]
)
def test_limits_that_are_not_as_we_write_them_are_still_told(limits: Any) -> None:
    assert words.armed(limits)


# -- no journal, or none that can be read -----------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("words", [["log"], ["stats"], ["log", "--json"], ["stats", "--json", "--by", "model"]])
def test_where_no_journal_is_it_says_how_to_keep_one_and_makes_none(words: list[str], tmp_path: Path) -> None:
    told = command(tmp_path, *words, keeps=True)
    assert told.returncode == 0
    assert "HANGTIGHT_JOURNAL" in told.stderr
    assert "hangtight.configure" in told.stderr
    assert list(tmp_path.iterdir()) == []
    assert "--json" not in words or json.loads(told.stdout) is not None
    assert command(tmp_path, *words).returncode == 0  # switched off


@pytest.mark.real
@pytest.mark.parametrize("command_name", ["log", "stats"])
@pytest.mark.parametrize(
    "what", ["garbage", "mysql://u:secret@h/d", "nonsense://:::", "postgresql://u:secret@127.0.0.1:1/d"]
)
def test_a_journal_that_cannot_be_read_is_one_line_and_1(command_name: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"\x00\x01not a database" * 200)
    told = command(tmp_path, command_name, "--journal", what)
    assert (told.returncode, told.stdout, len(told.stderr.splitlines())) == (1, "", 1)
    assert "secret" not in told.stderr


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="folders of POSIX")
@pytest.mark.parametrize("command_name", ["log", "stats"])
@pytest.mark.parametrize("what", [".", "file/journal.db", "x" * 300, "/dev/null", "postgres:/u:secret@h/d"])
def test_a_place_that_cannot_hold_a_journal_is_one_line_and_1(command_name: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = command(tmp_path, command_name, "--journal", what)
    assert (told.returncode, told.stdout, len(told.stderr.splitlines())) == (1, "", 1)
    assert "Traceback" not in told.stderr
    assert "secret" not in told.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.real
@pytest.mark.parametrize("limits", ["{", "3", "null", "[]", '{"clocks": 3, "idle": []}'])
def test_rows_that_nobody_of_ours_wrote_are_no_traceback(limits: str, tmp_path: Path) -> None:
    url = journal(tmp_path)
    with sqlite3.connect(url) as database:
        database.execute("UPDATE generations SET limits = ?, started = 1e308, tokens = -5", (limits,))
    database.close()
    for asked in ((), ("--json",), (HUNG,), (HUNG, "--json")):
        told = log(url, *asked)
        assert told.returncode in (0, 1)
        assert "Traceback" not in told.stderr


@pytest.mark.real
@pytest.mark.parametrize("since", ["-1h", "1e9d", "", "nan", "30", "0001-01-01", "2026-13-01", "١h", "\x1b[2J"])
def test_a_time_that_cannot_be_meant_is_a_mistake_of_usage(since: str, url: str) -> None:
    told = log(url, f"--since={since}")
    assert (told.returncode, told.stdout) == (2, "")
    assert "--since" in told.stderr
    assert visible(told.stderr)


@pytest.mark.parametrize(
    "text", ["99999999999999999999d", "9999-12-31T23:59:59", "2026-11-21", "2026-11-21T08:30+02:00", "0s"]
)
def test_a_time_is_an_age_or_a_date(text: str) -> None:
    found = journals.since(text)
    assert found is not None
    assert 0 <= found < 1e12
    ago = journals.since("2h")
    assert ago is not None
    assert 7190 < clock.wall() - ago < 7210


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="shells of POSIX")
@pytest.mark.parametrize(("end", "code"), [("| head -0; echo ${PIPESTATUS[0]}", 141), (">/dev/full; echo $?", 1)])
def test_a_stdout_that_takes_nothing_ends_it_quietly(end: str, code: int, url: str) -> None:
    line = f"{sys.executable} -m hangtight log --json --journal {url} {end}"
    told = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": SOURCES}
    )
    assert "Traceback" not in told.stderr
    assert told.stdout.strip() in (str(code), "0" if code == 141 else str(code))  # a pipe may take it all first


# -- on a terminal ----------------------------------------------------------------------------------------------------


def test_a_table_has_colours_only_where_they_are_wanted(url: str) -> None:
    rows = Reading(url).calls()
    plain = history.as_table(rows, room=80, colours=False)
    coloured = history.as_table(rows, room=80, colours=True)
    assert "\x1b" not in "".join(plain)
    assert "\x1b[31mtimeout idle\x1b[0m" in "".join(coloured)


@pytest.mark.parametrize("room", [40, 60, 79, 80, 200])
def test_a_table_gives_way_where_it_is_too_wide(room: int) -> None:
    columns = (Column("name", least=4), Column("other", least=10), Column("count", right=True))
    rows = [[Cell("モデル" * 20), Cell("x" * 90), Cell("12")], [Cell(""), Cell("\x1b[2J"), Cell("")]]
    lines = table(columns, rows, room=room, colours=False)
    assert all(cell_len(line) <= room for line in lines)
    assert lines[1].endswith("   12")
    assert visible("\n".join(lines))


@pytest.mark.parametrize(("room", "text"), [(5, "abcde"), (4, "abc…"), (1, "…"), (0, "")])
def test_what_does_not_fit_is_cut_and_shows_it(room: int, text: str) -> None:
    assert cut("abcde", room) == text


def test_the_time_of_day_is_told_for_today_and_the_day_for_what_was_before() -> None:
    today = journals.midnight()
    assert 0 <= clock.wall() - today < DAY + 7200
    assert journals.began(today + 3661, today) == "01:01:01"
    assert journals.began(today - 60, today).endswith("23:59")
    assert journals.began(today - 400 * DAY, today).startswith("20")
    assert journals.began(1e300, today) == "?"
