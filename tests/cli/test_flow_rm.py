"""`hangtight flow rm`: runs, with their texts, are gone from every place, and nothing else is."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, table, text

from hangtight.flows.durable.databases import opened
from hangtight.flows.port import RunSpec
from hangtight.flows.removing import remove_files
from tests.cli.kit import command
from tests.flows.databases import postgres, url

__all__ = ["postgres", "url"]
pytestmark = pytest.mark.real
SECRET = "a list of very secret books"
FLOW = """
steps:
  hello: {tool: "echo hello ${input.who}"}
  wait: {tool: "sleep ${input.long}", after: [hello], output: notes/waited.txt}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes.yaml").write_text(FLOW)
    return tmp_path


def flow(folder: Path, *words: str, url: str = "") -> subprocess.CompletedProcess[str]:
    return command(folder, "flow", *words, *(("--url", url) if url else ()), keeps=True)


def done(folder: Path, *words: str, url: str = "", long: str = "0", where: str = "out") -> str:
    """The id of a run that has ended."""
    given = ("-i", f"who={SECRET}", "-i", f"long={long}", "--workspace", where)
    ended = flow(folder, "run", "notes.yaml", *given, *words, url=url)
    return str(json.loads(ended.stdout.splitlines()[0])["run"])


def listed(folder: Path, url: str = "") -> set[str]:
    return {each["id"] for each in json.loads(flow(folder, "ls", "--json", url=url).stdout)}


def places_of(url: str, run: str) -> set[str]:
    """The tables that still have something of it."""
    engine = opened(url)
    try:
        asked = inspect(engine)
        schemas = [None, *({"dbos"} & set(asked.get_schema_names()))]
        tables = [(schema, name) for schema in schemas for name in asked.get_table_names(schema=schema)]
        with engine.connect() as connection:
            return {
                name
                for schema, name in tables
                for row in connection.execute(select(text("*")).select_from(table(name, schema=schema)))
                if any(run in str(value) or SECRET in str(value) for value in row)
            }
    finally:
        engine.dispose()


def test_all_that_was_kept_of_a_run_is_gone_and_the_other_one_stays(folder: Path, url: str) -> None:
    gone = done(folder, url=url, where="one")
    assert len(places_of(url, gone)) >= 3
    ended = flow(folder, "rm", gone[:8], url=url)
    assert (ended.returncode, ended.stdout) == (0, "1 run is removed\n")
    assert places_of(url, gone) == set()
    assert (folder / "one" / "hello.txt").exists()
    kept = done(folder, url=url, where="two")
    assert listed(folder, url) == {kept}
    again = flow(folder, "rm", gone, kept, url=url)
    assert again.returncode == 1
    assert gone in again.stderr
    assert listed(folder, url) == set()


def test_its_words_are_in_no_file_any_more(folder: Path) -> None:
    gone, kept = done(folder, where="one"), done(folder, "--url", "memory", where="two")
    ended = flow(folder, "rm", gone)
    assert ended.returncode == 0
    for file in (folder / "data").rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file.name
            if "journal" not in file.name:
                assert gone.encode() not in file.read_bytes(), file.name
    with sqlite3.connect(next((folder / "data").rglob("journal.db"))) as journal:
        for table, column in (("runs", "id"), ("run_steps", "run"), ("run_events", "run")):
            assert {run for (run,) in journal.execute(f"SELECT {column} FROM {table}")} == {kept}
    assert flow(folder, "rm", kept).returncode == 0
    assert listed(folder) == set()


def test_only_its_own_files_are_removed_and_only_with_files(folder: Path) -> None:
    gone = done(folder)
    (folder / "out" / "mine.txt").write_text("mine")
    assert flow(folder, "rm", gone, "--files").returncode == 0
    assert sorted(path.name for path in (folder / "out").rglob("*") if path.is_file()) == ["mine.txt"]
    old, new = done(folder), done(folder)
    assert flow(folder, "rm", old, "--files").returncode == 0
    assert listed(folder) == {new}


@pytest.mark.parametrize("own", [True, False])
def test_a_folder_goes_as_a_whole_only_where_it_was_made_for_this_run(tmp_path: Path, own: bool) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    told = RunSpec(id="books", flow="f", source="", workspace=str(folder), definition={"steps": {"a": {}}})
    remove_files(told, time.time(), tmp_path if own else tmp_path / "elsewhere")
    assert folder.exists() is not own


def test_what_was_written_after_its_end_stays(folder: Path) -> None:
    gone = done(folder)
    later = time.time() + 60
    os.utime(folder / "out" / "hello.txt", (later, later))
    assert flow(folder, "rm", gone, "--files").returncode == 0
    assert (folder / "out" / "hello.txt").exists()
    assert not (folder / "out" / "notes").exists()


def test_those_that_are_old_are_removed_and_one_that_waits_is_not(folder: Path) -> None:
    done(folder)
    waits = done_later(folder)
    assert flow(folder, "rm", "--older-than", "1h").stdout == "0 runs are removed\n"
    refused = flow(folder, "rm", waits)
    assert (refused.returncode, "flow cancel" in refused.stderr) == (1, True)
    assert flow(folder, "rm", "--older-than", "0.01s").stdout == "1 run is removed\n"
    assert listed(folder) == {waits}
    assert flow(folder, "cancel", waits).returncode == 0
    assert flow(folder, "rm", waits).returncode == 0
    assert listed(folder) == set()


def done_later(folder: Path) -> str:
    """One that is left to workers, of which there are none."""
    given = ("-i", f"who={SECRET}", "-i", "long=0", "--workspace", "later", "--submit")
    return flow(folder, "run", "notes.yaml", *given).stdout.strip()


@pytest.mark.parametrize("words", [(), ("--older-than", "soon"), ("--older-than", "2026-01-01"), ("x", "--url", " ")])
def test_a_command_that_is_wrong_removes_nothing(folder: Path, words: tuple[str, ...]) -> None:
    ended = flow(folder, "rm", *words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr
