"""A journal of any age: an old one is brought up to date, a newer one is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text

from hangtight.journal import tables
from hangtight.journal.migrating import SCRIPTS, migrate
from hangtight.journal.reading import JournalError, Reading
from hangtight.journal.recording import Recorder
from hangtight.journal.store import Store, version_of
from tests.journal.kit import NOW, asked, child, keep_up, put, said, whole

Make = Callable[..., Recorder]

OLD_ROW = """
INSERT INTO generations (id, call, started, ended, model, mode, run, step, host, prompt_tokens, tokens, first_token,
    elapsed, outcome, broken_limit, source, error, limits)
VALUES ('01d', '01d', 1800000000.0, 1800000040.0, 'old', '', '', '', '', 0, 5, 1.0, 40.0, 'finished', '', '', '', '{}')
"""


def old(url: str, version: str = "0001") -> None:
    """A journal as this version made it, with one generation in it."""
    store = Store(url)
    if store.path is not None:
        store.path.parent.mkdir(exist_ok=True)
        store.path.touch()
    with store.engine.begin() as connection:
        migrate(connection, version)
        connection.execute(text(OLD_ROW))
    store.close()


def shape(connection: Connection) -> dict[str, Any]:
    """All that a database says about its tables."""
    inspector = inspect(connection)
    shapes: dict[str, Any] = {}
    for table in inspector.get_table_names():
        columns = [
            (each["name"], str(each["type"]), each["nullable"], each["default"], each.get("autoincrement"))
            for each in inspector.get_columns(table)
        ]
        indexes = [
            (each["name"], each["column_names"], each["unique"], sorted(map(str, each["dialect_options"].values())))
            for each in inspector.get_indexes(table)
        ]
        primary = inspector.get_pk_constraint(table)["constrained_columns"]
        shapes[table] = (columns, sorted(indexes, key=str), primary)
    return shapes


def test_a_migrated_journal_is_like_one_that_was_made(tmp_path: Path, url: str, request: pytest.FixtureRequest) -> None:
    made = str(tmp_path / "other" / "made.db")
    if "://" in url:
        made = request.getfixturevalue("postgres").new_database()
    Store(made).prepare()
    old(url, "head")
    assert asked(url, shape) == asked(made, shape)
    assert asked(url, version_of) == asked(made, version_of) == tables.VERSIONS[-1]


def test_every_migration_is_known_by_its_version() -> None:
    steps = {path.name[1:5] for path in (SCRIPTS / "versions").glob("v*.py")}
    assert steps == set(tables.VERSIONS)


def test_an_old_journal_is_brought_up_to_date_and_keeps_what_it_has(url: str, make: Make) -> None:
    old(url)
    recorder = make(url)
    put(recorder, whole("aa", NOW + 1))
    assert recorder.flush(20), recorder.trouble
    assert asked(url, version_of) == tables.VERSIONS[-1]
    assert [row.id for row in Reading(url).calls()] == ["aa", "01d"]
    keep_up(url, NOW + 7200)
    assert [(stat.key, stat.count) for stat in Reading(url).stats(by="model")] == [("old", 1), ("qwen3", 1)]


def test_an_old_journal_can_be_read_as_it_is(url: str) -> None:
    old(url)
    reading = Reading(url)
    found = reading.find("01")
    assert found is not None
    assert found.row.outcome == "finished"
    assert reading.receipt().would_have_died == 1
    assert reading.receipt(NOW + 1).answers == 0
    assert asked(url, version_of) == "0001"


@pytest.mark.parametrize("found", ["0004", "ffff"])
def test_a_newer_journal_is_refused_and_not_touched(url: str, make: Make, found: str) -> None:
    Store(url).prepare()
    asked(url, lambda connection: connection.execute(tables.version.update().values(version_num=found)))
    recorder = make(url)
    put(recorder, whole("aa"))
    assert not recorder.flush(20)
    assert recorder.trouble
    assert recorder.lost == 3
    with pytest.raises(JournalError):
        Reading(url).calls()
    assert asked(url, version_of) == found


def test_a_migration_that_fails_has_not_happened(url: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    old(url)
    monkeypatch.setattr(tables, "VERSIONS", ("0001", "0002", "0003", "0004"))
    before = asked(url, shape)
    store = Store(url)

    def migrates_and_dies(connection: Connection) -> None:
        migrate(connection)
        raise OSError("killed")

    monkeypatch.setattr("hangtight.journal.migrating.migrate", migrates_and_dies)
    with pytest.raises(OSError, match="killed"):
        store.prepare()
    assert asked(url, shape) == before
    assert asked(url, version_of) == "0001"


@pytest.mark.real
def test_several_processes_migrate_one_journal_once(url: str) -> None:
    old(url)
    script = """
recorder = Recorder(sys.argv[1], wall=time.time)
put(recorder, whole(sys.argv[2]))
print(recorder.flush(30), recorder.trouble, recorder.lost)
"""
    processes = [child(script, url, letter) for letter in "abc"]
    assert [said(process) for process in processes] == ["True None 0"] * 3
    assert len(Reading(url).calls()) == 4


@pytest.mark.real
def test_alembic_is_loaded_only_when_a_migration_is_due(url: str) -> None:
    script = """
recorder = Recorder(sys.argv[1], wall=time.time)
put(recorder, whole(sys.argv[2]))
assert recorder.flush(30), recorder.trouble
from hangtight.journal.reading import Reading
Reading(sys.argv[1]).stats()
print("alembic" in sys.modules)
"""
    assert [said(child(script, url, key)) for key in ("aa", "bb")] == ["False", "False"]
