"""Questions to the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hangtight.journal.reading import Ambiguous, JournalError, Reading, Receipt
from hangtight.journal.recording import Recorder
from tests.journal.kit import NOW, begun, ended, put, whole

Make = Callable[..., Recorder]


def test_a_journal_that_is_not_there_is_empty_and_is_not_made(url: str) -> None:
    reading = Reading(url)
    assert not reading.exists
    assert reading.find("aa") is None
    assert reading.calls() == []
    assert reading.stats(by="model") == []
    assert reading.receipt() == Receipt(0, 0, 0, 0.0)
    assert not reading.exists
    assert "://" in url or not Path(url).exists()


def test_a_generation_is_found_by_how_its_id_begins(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, whole("7f3a00000001", NOW) + whole("7f3a00000002", NOW + 1) + whole("8000000000ff"))
    assert recorder.flush(20)
    reading = Reading(url)
    assert reading.exists
    for prefix in ("8", " 80 ", "8000000000FF"):
        found = reading.find(prefix)
        assert found is not None
        assert found.row.id == "8000000000ff"
    for nothing in ("9", "7f3b", "%", "_", "", "7f3a000000011"):
        assert reading.find(nothing) is None
    with pytest.raises(Ambiguous) as raised:
        reading.find("7f3a")
    assert raised.value.prefix == "7f3a"
    assert raised.value.ids == ("7f3a00000002", "7f3a00000001")


def test_a_whole_id_is_never_ambiguous(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, whole("ab") + whole("abc"))
    assert recorder.flush(20)
    found = Reading(url).find("ab")
    assert found is not None
    assert found.row.id == "ab"


def test_the_other_attempts_of_a_call_are_told_with_it(url: str, make: Make) -> None:
    recorder = make(url)
    for at, key in enumerate(("aa", "bb", "cc")):
        put(recorder, [begun(key, NOW + at, call="aa", model=f"m{at}"), ended(key, 1.0, "failed")])
    put(recorder, whole("dd"))
    assert recorder.flush(20)
    found = Reading(url).find("bb")
    assert found is not None
    assert [row.id for row in found.others] == ["aa", "cc"]
    assert [row.model for row in found.others] == ["m0", "m2"]


def test_calls_are_the_newest_of_those_that_are_wanted(url: str, make: Make) -> None:
    recorder = make(url)
    for at in range(10):
        put(recorder, whole(f"a{at}", NOW + at, run=f"r{at % 2}", model=f"m{at % 3}"))
    assert recorder.flush(20)
    reading = Reading(url)

    def ids(**wanted: object) -> list[str]:
        return [row.id for row in reading.calls(**wanted)]  # type: ignore[arg-type]

    assert ids(limit=3) == ["a9", "a8", "a7"]
    assert ids(since=NOW + 7) == ["a9", "a8", "a7"]
    assert ids(run="r1") == ["a9", "a7", "a5", "a3", "a1"]
    assert ids(run="r0", model="m0") == ["a6", "a0"]
    assert ids(model="nobody") == []


def test_a_journal_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(JournalError):
        Reading("mysql://server/journal")
    novel = tmp_path / "journal.db"
    novel.write_text("my novel " * 1000)
    with pytest.raises(JournalError):
        Reading(str(novel)).calls()
    empty = tmp_path / "empty.db"
    empty.touch()
    assert not Reading(str(empty)).exists


@pytest.mark.real
def test_a_server_that_is_not_there_says_so_without_the_password() -> None:
    with pytest.raises(JournalError) as raised:
        Reading("postgresql://me:secret@127.0.0.1:1/journal").calls()
    assert "secret" not in str(raised.value)
