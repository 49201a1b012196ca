"""What every command does with settings and journal: files hold, trouble hurts nobody, tests touch nothing of yours."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hangtight.cli.asking import Whom, _by_the_settings, _fallback
from hangtight.drivers.standing import STANDING, configure, journal_of
from hangtight.testing.lab import Lab, text_of
from tests.cli.kit import command, journal, on_a_terminal


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.mark.real
def test_run_keeps_to_the_settings_and_its_timeout_is_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("models: {m: {limits: {idle: 0.3}}}\n")
    words = ("run", "--config", "other.yaml", "--model", "m", "--", sys.executable, "-c")
    told = command(tmp_path, *words, "import time; print(1, flush=True); time.sleep(60)", keeps=True)
    assert told.returncode == 124
    _, source, change = told.stderr.splitlines()
    assert source == "idle = 0.3 comes from other.yaml:1"
    found = re.search(r"why: hangtight log ([0-9a-f]{8})$", change)
    assert found is not None
    line = command(tmp_path, "log", found[1], keeps=True).stdout
    assert "rang: idle, after 0.3s" in line
    assert "idle 0.3 (other.yaml:1)" in line


@pytest.mark.real
def test_run_and_ask_take_the_modes_of_the_settings(tmp_path: Path, lab: Lab) -> None:
    (tmp_path / "hangtight.yaml").write_text("modes: {slow: 3600}\n")
    assert command(tmp_path, "run", "--mode", "slow", "--", sys.executable, "-c", "").returncode == 0
    words = ("Why?", "--url", lab.url, "--model", "tokens=2,rate=400", "--mode")
    assert command(tmp_path, "ask", *words, "slow").returncode == 0
    refused = command(tmp_path, "ask", *words, "slwo")
    assert refused.returncode == 2
    assert "did you mean slow?" in refused.stderr


@pytest.mark.real
def test_ask_takes_model_server_and_fallback_from_the_settings(tmp_path: Path, lab: Lab) -> None:
    heavy, light = "status=500", "tokens=3,rate=400"
    (tmp_path / "hangtight.yaml").write_text(
        f"modes: {{deep: {{models: ['{heavy}', '{light}']}}}}\nmodels: {{'*': {{proxy: '{lab.url}'}}}}\n"
    )
    told = command(tmp_path, "ask", "Why?", "--mode", "deep", OLLAMA_HOST="127.0.0.1:1", OPENAI_API_KEY="secret")
    assert (told.returncode, told.stdout) == (0, text_of(light) + "\n")
    assert told.stderr.startswith(f"hangtight: {heavy} failed after")


@pytest.mark.real
@pytest.mark.parametrize(
    "words", [["run", "--", "true"], ["ask", "hi"], ["explain"], ["log"], ["stats"]], ids=lambda w: w[0]
)
def test_all_that_is_wrong_with_the_settings_is_told_and_nothing_is_done(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "hangtight.yaml").write_text("limits: {idle: -1, totl: 4}\n")
    told = command(tmp_path, *words)
    assert (told.returncode, told.stdout) == (2, "")
    assert "hangtight.yaml:1: limits.idle" in told.stderr
    assert "hangtight.yaml:1: limits.totl" in told.stderr


@pytest.mark.real
def test_without_a_journal_the_database_library_is_not_loaded(tmp_path: Path) -> None:
    script = (
        "import sys; from hangtight.cli.running import run_command\n"
        "code = run_command([sys.executable, '-c', ''], None, None, {})\n"
        "print(code, *sorted(name for name in sys.modules if name in ('sqlalchemy', 'alembic', 'pydantic')))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert told.stdout.split() == ["0"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
@pytest.mark.parametrize(
    "journal", ["/proc/nowhere/journal.db", "postgresql://127.0.0.1:1/d", "mysql://h/d", "nonsense://:::"]
)
def test_a_journal_in_trouble_changes_nothing_that_run_says(journal: str, tmp_path: Path) -> None:
    told = command(tmp_path, "run", "--", sys.executable, "-c", "print('hello')", keeps=True, HANGTIGHT_JOURNAL=journal)
    assert (told.returncode, told.stdout, told.stderr) == (0, "hello\n", "")


def test_who_is_asked_is_what_was_said_and_then_what_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hangtight.yaml").write_text(
        "modes: {deep: {models: [a, b, c]}}\nmodels: {a: {proxy: 'http://h:1'}, c: {proxy: 'http://h:2'}}\n"
    )
    monkeypatch.chdir(tmp_path)
    configure()
    assert _by_the_settings(Whom(None, None), None) == Whom(None, None)
    preferred = _by_the_settings(Whom(None, None), "deep")
    assert (preferred.model, preferred.proxy) == ("a", "http://h:1")
    assert _fallback(preferred, "a", "deep") == ("b",)  # the other server has c
    named = _by_the_settings(Whom("a", "http://mine"), "deep")
    assert (named.model, named.proxy) == ("a", None)
    assert _fallback(named, "a", "deep") == ("b", "c")
    assert _fallback(named, "", "deep") == ()


needs_a_terminal = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")


@pytest.mark.real
@needs_a_terminal
def test_on_a_terminal_a_journal_in_trouble_is_one_line_at_the_end(tmp_path: Path) -> None:
    words = ("run", "--", sys.executable, "-c", "print('hello')")
    code, written = on_a_terminal(tmp_path, *words, HANGTIGHT_JOURNAL="mysql://u:secret@h/d")
    hello, trouble = written.splitlines()
    assert (code, hello) == (0, "hello")
    assert trouble.startswith("hangtight: the journal")
    assert "secret" not in written


@pytest.mark.real
@needs_a_terminal
def test_a_journal_that_somebody_else_holds_is_told_and_costs_little(tmp_path: Path) -> None:
    url = journal(tmp_path)
    other = sqlite3.connect(url, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    _, written = on_a_terminal(tmp_path, "run", "--", sys.executable, "-c", "", HANGTIGHT_JOURNAL=url)
    other.execute("ROLLBACK")
    other.close()
    assert written.startswith("hangtight: the journal")
    assert len(written.splitlines()) == 1


@pytest.mark.real
@needs_a_terminal
def test_on_a_terminal_there_are_colours_unless_nobody_wants_them(tmp_path: Path) -> None:
    words = ("log", "--journal", journal(tmp_path))
    assert "\x1b[31mtimeout idle" in on_a_terminal(tmp_path, *words)[1]
    assert "\x1b" not in on_a_terminal(tmp_path, *words, NO_COLOR="1")[1]
    assert "\x1b" not in on_a_terminal(tmp_path, *words, TERM="dumb")[1]


# -- the tests themselves ---------------------------------------------------------------------------------------------


def test_no_test_touches_the_folders_of_whoever_runs_it() -> None:
    assert os.environ["HANGTIGHT_JOURNAL"] == "off"
    assert not STANDING._keeps
    assert journal_of(configure(), None, keeps=True) is None
