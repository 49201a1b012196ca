"""Whatever becomes of the database: no caller notices, what can be kept is kept, and what is lost is counted."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hangtight.journal import recording, writing
from hangtight.journal.entries import Dropped, Kind, Named, Noted
from hangtight.journal.reading import JournalError, Reading
from hangtight.journal.recording import Recorder
from hangtight.journal.rollups import Upkeep
from hangtight.journal.store import BUSY, Store
from tests.journal.kit import NOW, asked, begun, count, ended, keep_up, put, soon, whole
from tests.journal.postgres import Postgres

Make = Callable[..., Recorder]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "LAST_RETRY", 0.25)
    monkeypatch.setattr(writing, "FIRST_UPKEEP", 0.0)


def prepared(path: Path) -> str:
    store = Store(str(path))
    store.prepare()
    store.close()
    return str(path)


def in_trouble(recorder: Recorder) -> bool:
    return soon(lambda: recorder.trouble is not None)


def test_a_locked_database_is_waited_for_and_told_once(
    path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hangtight.journal")
    recorder = make(str(path))
    put(recorder, whole("aa"))
    assert recorder.flush(10)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    put(recorder, whole("bb"))
    assert in_trouble(recorder)
    before = time.perf_counter()
    put(recorder, whole("cc"))
    assert not recorder.flush(0.05)
    assert time.perf_counter() - before < 5
    assert not recorder.flush(1.5)
    other.execute("ROLLBACK")
    other.close()
    assert recorder.flush(10)
    assert (count(str(path)), recorder.trouble, recorder.lost) == (3, None, 0)
    assert [record.name for record in caplog.records] == ["hangtight.journal"] * 2


def test_a_lock_is_known_before_a_command_has_waited_for_its_journal(path: Path, make: Make) -> None:
    keep_up(prepared(path), 0.0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    recorder = make(str(path))
    put(recorder, whole("aa"))
    assert soon(lambda: recorder._line.at_work.locked())
    before = time.perf_counter()
    assert in_trouble(recorder)
    assert BUSY <= 300
    assert time.perf_counter() - before < 10
    other.execute("ROLLBACK")
    other.close()
    assert recorder.close(10)
    assert count(str(path)) == 1


@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_database_that_was_taken_away_is_made_anew(tmp_path: Path, make: Make, whole_folder: bool) -> None:
    path = tmp_path / "data" / "journal.db"
    recorder = make(str(path))
    put(recorder, whole("aa"))
    assert recorder.flush(10)
    if whole_folder:
        shutil.rmtree(path.parent)
    else:
        path.unlink()
    put(recorder, whole("bb"))
    assert recorder.flush(10)
    assert [row.id for row in Reading(str(path)).calls()] == ["bb"]
    assert (recorder.trouble, recorder.lost) == (None, 0)


def test_what_is_under_way_when_the_database_is_taken_away_is_in_the_next(path: Path, make: Make) -> None:
    recorder = make(str(path))
    put(recorder, [begun("aa"), begun("bb"), begun("cc"), begun("dd"), *whole("ee")])
    put(recorder, [Named("aa", 1.0, "late", ""), Dropped("dd")])
    assert recorder.flush(10)
    recorder.put(ended("cc"))
    assert recorder.flush(10)
    path.unlink()
    put(recorder, [Noted("aa", 2.0, Kind.READY), ended("aa", 5.0, "timeout", limit="idle")])
    assert recorder.flush(10)
    rows = {row.id: (row.model, row.started, row.ended, row.outcome) for row in Reading(str(path)).calls()}
    assert rows == {"aa": ("late", NOW, NOW + 5.0, "timeout"), "bb": ("qwen3", NOW, None, None)}
    told = Reading(str(path)).find("aa")
    assert told is not None
    assert [each.kind for each in told.decisions] == ["ready"]


def test_of_those_under_way_only_so_many_are_remembered(
    path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MOST_UNDER_WAY", 2)
    recorder = make(str(path))
    put(recorder, [begun("aa"), begun("bb"), begun("cc")])
    assert recorder.flush(10)
    path.unlink()
    recorder.put(begun("dd"))
    assert recorder.flush(10)
    assert sorted(row.id for row in Reading(str(path)).calls()) == ["bb", "cc", "dd"]


def test_the_database_of_another_program_is_left_as_it_is(path: Path, make: Make) -> None:
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE days (name TEXT)")
    theirs.close()
    before = path.read_bytes()
    recorder = make(str(path))
    put(recorder, whole("aa"))
    assert not recorder.flush(10)
    assert "'days'" in str(recorder.trouble)
    assert path.read_bytes() == before
    with pytest.raises(JournalError, match="'days'") as refused:
        Reading(str(path)).calls()
    assert str(path) in str(refused.value)
    assert str(path) in str(recorder.trouble)


def test_another_programs_own_migrations_are_none_of_ours(url: str, make: Make) -> None:
    store = Store(url)
    if store.path is not None:
        store.path.parent.mkdir()
        store.path.touch()
    with store.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('beef')")
    recorder = make(url)
    put(recorder, whole("aa"))
    assert recorder.flush(10), recorder.trouble
    theirs = asked(url, lambda connection: connection.exec_driver_sql("SELECT * FROM alembic_version").scalar())
    assert (theirs, count(url)) == ("beef", 1)


def test_a_file_that_is_no_database_is_left_as_it_is(path: Path, make: Make) -> None:
    path.write_text("my novel, and nothing else. " * 200)
    recorder = make(str(path))
    put(recorder, whole("aa"))
    assert in_trouble(recorder)
    assert not recorder.close(5)
    assert path.read_text() == "my novel, and nothing else. " * 200


def test_a_folder_that_cannot_be_made_is_trouble_until_it_can(tmp_path: Path, make: Make) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    recorder = make(str(tmp_path / "data" / "journal.db"))
    put(recorder, whole("aa"))
    assert in_trouble(recorder)
    (tmp_path / "data").unlink()
    assert recorder.flush(10)
    assert recorder.trouble is None


def test_only_the_newest_entries_wait_and_the_others_are_counted(
    path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MOST_WAITING", 10)
    path.mkdir()
    recorder = make(str(path))
    put(recorder, whole("aa"))
    assert in_trouble(recorder)
    put(recorder, [begun(f"{at:012x}") for at in range(30)])
    assert soon(lambda: recorder.lost == 23)
    path.rmdir()
    assert recorder.flush(10)
    assert [row.id for row in Reading(str(path)).calls()] == [f"{at:012x}" for at in range(20, 30)]
    assert recorder.lost == 23


def test_while_the_database_hangs_what_waits_stays_within_bounds(
    path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MOST_WAITING", 10)
    recorder = make(str(path))
    put(recorder, whole("aa"))
    assert recorder.flush(10)
    with recorder._line.at_work:
        put(recorder, whole("bb"))
        assert soon(lambda: recorder._line.queue.empty())
        put(recorder, [begun(f"{at:012x}") for at in range(30)])
        assert recorder.lost == 20
    assert recorder.flush(10)
    assert count(str(path)) == 12


def test_a_full_disk_is_waited_for(path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = make(str(path))
    put(recorder, whole("aa"))
    assert recorder.flush(10)
    full = [True]
    connect = sqlite3.connect

    def on_a_full_disk(*arguments: object, **settings: object) -> sqlite3.Connection:
        opened = connect(*arguments, **settings)  # type: ignore[call-overload]
        if full:
            opened.execute("PRAGMA max_page_count = 1")
        return opened  # type: ignore[no-any-return]

    monkeypatch.setattr(sqlite3, "connect", on_a_full_disk)
    path.unlink()
    put(recorder, whole("bb") + whole("cc"))
    assert in_trouble(recorder)
    full.clear()
    assert recorder.flush(10)
    assert (count(str(path)), recorder.trouble, recorder.lost) == (2, None, 0)


def test_sums_that_fail_do_not_stop_the_recording(
    url: str, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> bool:
        raise RuntimeError("no sums today")

    monkeypatch.setattr(Upkeep, "step", fails)
    recorder = make(url)
    put(recorder, whole("aa"))
    assert recorder.flush(10)
    assert soon(lambda: bool(caplog.records))
    put(recorder, whole("bb"))
    assert recorder.flush(10)
    assert (count(url), recorder.trouble, recorder.lost) == (2, None, 0)


@pytest.mark.real
@pytest.mark.parametrize("down", [0.5, pytest.param(5.0, marks=pytest.mark.slow)])
def test_a_server_that_is_stopped_and_comes_back_has_missed_nothing(
    postgres: Postgres, make: Make, down: float
) -> None:
    url = postgres.new_database()
    recorder = make(url)
    put(recorder, whole("aa"))
    assert recorder.flush(10)
    postgres.stop()
    try:
        put(recorder, whole("bb"))
        assert in_trouble(recorder)
        assert not recorder.flush(down)
        put(recorder, whole("cc"))
    finally:
        postgres.start()
    assert recorder.flush(15)
    assert (count(url), recorder.trouble, recorder.lost) == (3, None, 0)


@pytest.mark.real
def test_no_password_is_told(make: Make) -> None:
    recorder = make("postgresql://me:secret@127.0.0.1:1/journal")
    put(recorder, whole("aa"))
    assert in_trouble(recorder)
    assert "secret" not in str(recorder.trouble)


def test_the_folder_and_the_file_are_the_users_own(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "data" / "journal.db"
    recorder = make(str(path))
    put(recorder, whole("aa"))
    assert recorder.flush(10)
    if os.name == "posix":
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    keep_up(str(path), 0.0)
