"""What runs is on disk, and only what still runs, is still ours and has nobody else is found again."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from hangtight.supervisor.family import start_of
from hangtight.supervisor.orphans import Leftover, Record, digest_of, end_all, left_over
from hangtight.supervisor.stopping import How
from tests.supervisor.kit import IGNORES_SIGTERM, SLEEPS, python, run

pytestmark = pytest.mark.real


def started(script: str = SLEEPS) -> tuple[subprocess.Popen[bytes], Leftover]:
    process = subprocess.Popen(python(script), start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if script == IGNORES_SIGTERM:
        process.stdout.readline()
    process.stdout.close()
    return process, Leftover("m", process.pid, start_of(process.pid), process.pid, "digest", 5800)


def of_another_life(folder: Path, *processes: Leftover, **told: object) -> Path:
    """A record as a supervisor wrote it that does not live any more."""
    record = Record(folder)
    for process in processes:
        record.note(process)
    path = folder / "processes-1.json"
    whole = json.loads(record.path.read_text()) | {"owner": [os.getpid(), "an earlier time"]} | told
    path.write_text(json.dumps(whole))
    record.path.unlink()
    return path


def test_what_still_runs_is_found_with_all_that_was_said_of_it(tmp_path: Path) -> None:
    process, told = started()
    ended, of_ended = started()
    ended.kill()
    ended.wait()
    of_another_life(tmp_path, told, of_ended)
    assert left_over(tmp_path) == [told]
    process.kill()
    process.wait()
    assert left_over(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_all_are_ended_and_how_that_went_is_said(tmp_path: Path) -> None:
    (quick, a), (deaf, b) = started(), started(IGNORES_SIGTERM)
    of_another_life(tmp_path, a, b)
    ended = run(end_all(left_over(tmp_path), seconds=0.2))
    assert [(one.pid, how.how) for one, how in ended] == [(a.pid, How.GONE), (b.pid, How.KILLED)]
    assert [quick.wait(), deaf.wait()] == [-15, -9]


def test_an_id_that_belongs_to_somebody_else_by_now_is_not_left_over(tmp_path: Path) -> None:
    process, told = started()
    other = Leftover("m", told.pid, "12345", told.group, "digest")
    of_another_life(tmp_path, other)
    assert left_over(tmp_path) == []
    process.kill()
    process.wait()


def test_what_has_another_owner_that_lives_is_not_left_over(tmp_path: Path) -> None:
    process, told = started()
    of_another_life(tmp_path, told)
    assert left_over(tmp_path) == [told]
    mine = Record(tmp_path)
    mine.note(told)  # adopted
    assert left_over(tmp_path) == []
    mine.forget(told.pid)
    assert left_over(tmp_path) == [told]
    mine.close()
    assert not mine.path.exists()
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    "told",
    [{"boot": "another"}, {"processes": [{"what": 1}]}, {"processes": 3}, {"owner": None, "processes": []}],
    ids=["before the boot", "another version", "nonsense", "empty"],
)
def test_a_record_that_means_nothing_now_is_thrown_away(tmp_path: Path, told: dict[str, object]) -> None:
    process, of_process = started()
    path = of_another_life(tmp_path, of_process, **told)
    assert left_over(tmp_path) == []
    assert not path.exists()
    process.kill()
    process.wait()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\x00"])
def test_a_broken_record_is_no_reason_not_to_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "processes-1.json").write_bytes(content)
    assert left_over(tmp_path) == []
    assert left_over(tmp_path / "nowhere") == []


def test_the_record_is_written_as_a_whole_and_for_us_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(tmp_path / "state")
    record.note(Leftover("m", 1, "2", 1, "d"))
    assert stat.S_IMODE(record.path.stat().st_mode) == 0o600
    before = record.path.read_bytes()

    def full(told: object, file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(OSError, match="No space"):
        record.note(Leftover("n", 3, "4", 3, "d"))
    assert record.path.read_bytes() == before


def test_the_digest_is_of_command_and_environment() -> None:
    assert digest_of(["a", "b"], {"X": "1", "Y": "2"}) == digest_of(("a", "b"), {"Y": "2", "X": "1"})
    assert digest_of(["a", "b"], {}) != digest_of(["a b"], {})
    assert digest_of(["a"], {"X": "1"}) != digest_of(["a"], {"X": "2"})
