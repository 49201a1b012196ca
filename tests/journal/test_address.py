"""What the journal's address means; and that no part of a password is ever shown, or becomes the name of a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hangtight.journal.address import NO_PATH
from hangtight.journal.reading import JournalError, Reading
from hangtight.journal.recording import Recorder
from hangtight.journal.store import Refused, Store, in_short, path_of, shown_address
from tests.journal.kit import put, whole


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:pw@host:5432/db?password=pw&sslmode=x", "postgresql://...@host:5432/db"),
        ("postgresql://host/db?user=me@home&password=p@w", "postgresql://..."),
        ("postgresql://host:5432/db?password=pw", "postgresql://host:5432/db"),
        ("postgresql://[::1]:5432/db", "postgresql://[::1]:5432/db"),
        ("postgresql://[::1]/db", "postgresql://[::1]/db"),
        ("POSTGRESQL://u:p@w@host/db", "POSTGRESQL://...@host/db"),
        ("postgresql://u:p?w@host/db", "postgresql://..."),
        ("postgresql://u:p/w@host/db", "postgresql://...@host/db"),
        ("postgresql://u:pw", "postgresql://..."),
        ("host=h user=u password=pw", "..."),
        ("/data/journal.db", "/data/journal.db"),
        ("sqlite:////home/me@work/journal.db", "sqlite:////home/me@work/journal.db"),
    ],
)
def test_an_address_is_shown_without_its_password_and_its_query(url: str, shown: str) -> None:
    assert shown_address(url) == shown


NO_PATHS = [
    "postgres:/u:secret@h/d", "PostgreSQL:u:secret@h/d", "mysql:/u:secret@h/d", "mariadb/u:secret@h/d",
    "postgresql+psycopg:u:secret@h", "postgresql//u:secret@h/d", "host=h user=u", "HOST = h", "user=u password=secret",
    "dbname=d PASSWORD = secret", "sqlite:///password=secret",
]  # fmt: skip


@pytest.mark.parametrize("folder", ["", "/work/project/"])
@pytest.mark.parametrize("url", NO_PATHS)
def test_an_address_that_lacks_something_does_not_become_a_file(
    url: str, folder: str, tmp_path: Path, make: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings put the folder before whatever looks like a path."""
    monkeypatch.chdir(tmp_path)
    url = url if url.startswith("sqlite") else folder + url
    recorder = make(url)
    put(recorder, whole("aa"))
    assert not recorder.flush(10)
    with pytest.raises(JournalError) as refused:
        Reading(url)
    for told in (str(recorder.trouble), str(refused.value), shown_address(url)):
        assert "secret" not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    ["postgres.db", "postgres/journal.db", "/var/lib/postgresql/16/j.db", "my-host=1.db", "a@b:c/j.db", "C:\\j.db"],
)
def test_a_path_may_have_the_name_of_a_server_in_it(path: str) -> None:
    assert not NO_PATH.search(path)
    assert path_of(path) == Path(path)
    assert shown_address(path) == path


def test_the_scheme_is_compared_without_case(tmp_path: Path) -> None:
    assert Store(f"SQLite:///{tmp_path}/j.db").path == tmp_path / "j.db"
    assert Store("PostgreSQL://h/d").engine.dialect.name == "postgresql"
    with pytest.raises(Refused):
        Store("MySQL://u:secret@h/d")


def test_an_at_in_a_password_is_told_without_what_follows_it() -> None:
    with pytest.raises(Refused) as refused:
        Store("postgresql://u:se@cret@h/d")
    assert "%40" in str(refused.value)
    assert "cret" not in str(refused.value)
    assert "cret" not in in_short(Exception("failed to resolve host 'cret': [Errno -2] Name or service not known"))


def kinds(folder: Path) -> dict[str, Path]:
    (folder / "file").write_text("")
    os.mkfifo(folder / "pipe")
    return {
        "a folder": folder,
        "a pipe": folder / "pipe",
        "a device": Path("/dev/null"),
        "below a file": folder / "file" / "journal.db",
        "too long": folder / ("x" * 300),
        "a NUL": folder / "x\0y",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX only")
@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a device", "below a file", "too long", "a NUL"])
def test_what_cannot_be_a_journal_is_no_empty_one(kind: str, tmp_path: Path) -> None:
    with pytest.raises(JournalError):
        Reading(str(kinds(tmp_path)[kind])).calls()
