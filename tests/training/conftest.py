"""What several of these tests stand on."""

from __future__ import annotations

import pytest

from hangtight.training import vigil


@pytest.fixture
def gently(monkeypatch: pytest.MonkeyPatch) -> None:
    """The criterion is given time to be asked: on a busy machine one token takes longer than its usual grace."""
    monkeypatch.setattr(vigil, "LEAST", vigil.MOST)
