"""The two databases on which every test of durable runs is held."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journal.conftest import postgres as postgres  # noqa: PLC0414 - a fixture is used by its name
from tests.journal.postgres import Postgres


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a store that does not exist yet."""
    if request.param == "sqlite":
        return str(tmp_path / "data" / "runs.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()
