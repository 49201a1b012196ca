"""A fresh folder for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rules import kit


@pytest.fixture
def place(tmp_path: Path) -> kit.Place:
    return kit.place(tmp_path)
