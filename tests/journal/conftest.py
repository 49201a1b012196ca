"""The journal's tests run on both databases; PostgreSQL is started once, at the first test that needs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hangtight.journal.recording import Recorder
from tests.journal.kit import Wall
from tests.journal.postgres import Postgres, binaries


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    found = binaries()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL's binaries are not installed: the suite must run on both databases")
        pytest.skip("needs PostgreSQL's binaries (Debian: postgresql)")
    server = Postgres(found)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a journal that does not exist yet."""
    if request.param == "sqlite":
        return str(tmp_path / "data" / "journal.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def make(wall: Wall) -> Iterator[Callable[..., Recorder]]:
    """Recorders that are closed after the test."""
    made: list[Recorder] = []

    def recorder(url: str, **settings: object) -> Recorder:
        made.append(Recorder(url, **({"wall": wall} | settings)))  # type: ignore[arg-type]
        return made[-1]

    yield recorder
    for each in made:
        each.close()
