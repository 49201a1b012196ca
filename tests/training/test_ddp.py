"""A training on two ranks, of which one shows examples that are slow or never end, and the other waits for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.rank_starting import ENOUGH, together

pytestmark = [pytest.mark.torch, pytest.mark.real, pytest.mark.timeout(2 * ENOUGH)]


def test_a_training_on_two_ranks_goes_on_past_examples_that_one_of_them_cannot_finish(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    said = together("tests.training.ddp_worker", str(tmp_path))
    first, second = (json.loads(lines[-1]) for lines in said)
    assert [(each["ranks"], each["step"]) for each in (first, second)] == [(2, 12), (2, 12)]
    assert first["same"]
    assert first["curve"], "a run whose losses nobody saw says nothing"
    assert first["weights"] == second["weights"], "the ranks have stayed together"
    shown, silent = ([line for line in lines if "FULL EVAL" in line or "TIMEOUT" in line] for lines in said)
    assert shown == [
        "🔍 FULL EVAL - Step 4",
        "⚠️  TIMEOUT: Model generation exceeded 0.4s at step 4",
        "🔍 FULL EVAL - Step 8",
        "🔍 FULL EVAL - Step 12",
        "⚠️  TIMEOUT: Model generation exceeded 0.4s at step 12",
    ]
    assert silent == []
    status = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
    assert (status["current_step"], status["doing"], status["timeouts"]["count"]) == (12, "finished", 2)
