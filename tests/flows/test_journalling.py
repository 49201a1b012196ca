"""What the journal is told of a run: no text of a model, of a tool or of a person is in it."""

from __future__ import annotations

from typing import Any

import pytest

from hangtight.flows import journalling
from hangtight.flows.events import Event, EventType
from hangtight.journal.entries import Happened

SECRET = "sk-0123456789"


class Kept:
    def __init__(self) -> None:
        self.entries: list[Happened] = []

    def put(self, entry: Happened) -> None:
        self.entries.append(entry)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    kept = Kept()
    monkeypatch.setattr(journalling, "recorder", lambda: kept)
    return kept


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (f"ValueError: {SECRET} is no plan (after 1.2s)", "ValueError after 1.2s"),
        (f"curl ended with exit code 3 (after 2s)\nit said last: {SECRET}", "exit code 3 after 2s"),
        (f"{SECRET} cannot be used", "failed"),
        ("[Budget exhausted] Task incomplete. (after 2s)", "[Budget exhausted] Task incomplete. (after 2s)"),
    ],
)
def test_of_a_failure_only_its_kind_is_kept(kept: Kept, error: str, told: str) -> None:
    journalling.keep(Event(EventType.STEP_FINISHED, "r", "f", 1.0, "a", error, {"outcome": "failed", "error": error}))
    (entry,) = kept.entries
    assert entry.told is not None
    assert (entry.payload, entry.told["error"], entry.told["outcome"]) == (told, told, "failed")


def test_what_rang_is_told_in_our_own_words(kept: Kept) -> None:
    told: dict[str, Any] = {"limit": "total", "error": "TotalTimeout: m timed out\ntotal = 3"}
    journalling.keep(Event(EventType.TIMED_OUT, "r", "f", 1.0, "a", "TotalTimeout: m timed out", told))
    assert kept.entries[0].told == told


def test_without_a_journal_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journalling, "recorder", lambda: None)
    journalling.keep(Event(EventType.RUN_STARTED, "r", "f", 1.0))
