"""What is put down is there afterwards, once, in order, and without a word of the model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from hangtight.core.attempts import Attempt, Fault
from hangtight.core.heartbeat import Heartbeat, Snapshot
from hangtight.core.limits import Limit
from hangtight.core.orders import Broken
from hangtight.core.pace import Observation
from hangtight.core.phases import Phase
from hangtight.core.time import Seconds
from hangtight.errors import GenerationTimeout
from hangtight.journal.entries import Dropped, Kind, Named, Noted
from hangtight.journal.reading import Reading, Told
from hangtight.journal.recording import Recorder
from hangtight.journal.writing import Writer
from tests.journal.kit import NOW, RESOLVED, Wall, begun, count, ended, put, whole

Make = Callable[..., Recorder]
BEAT = Heartbeat(
    Snapshot(
        phase=Phase.STREAMING, elapsed=15.0, tokens=4, silence=1.0, in_contact=False, first_token=2.0,
        nearest=Limit.IDLE, rings_in=inf,
    )
)  # fmt: skip


def told(url: str, key: str) -> Told:
    found = Reading(url).find(key)
    assert found is not None
    return found


@pytest.mark.parametrize("apart", [False, True], ids=["in one transaction", "each in its own"])
def test_a_generation_is_there_from_its_beginning_to_its_end(url: str, make: Make, apart: bool) -> None:
    recorder = make(url)
    key = recorder.new_id()
    for entry in (
        begun(key, run="r1", step="plan", host="127.0.0.1:11434", prompt_tokens=70, left=50.0, model=""),
        Noted(key, 1.5, Kind.LOADING),
        Named(key, 2.0, "mistral", "127.0.0.1:8080", RESOLVED),
        Noted(key, 15.0, Kind.HEARTBEAT, BEAT),
        Noted(key, 60.0, Kind.RANG, Broken(Limit.IDLE, Seconds(20.0))),
        Noted(key, 60.0, Kind.CANCEL_CONFIRMED, 0.25),
        ended(
            key, 60.25, "timeout", tokens=7, longest_gap=1.0, limit="idle", waited=20.0, source="the call",
            prompt_tokens=71, answer_tokens=8, error="no output",
        ),
    ):  # fmt: skip
        recorder.put(entry)
        assert not apart or recorder.flush(10)
    assert recorder.flush(10)
    found = told(url, key)
    row = found.row
    assert (row.id, row.call, row.started, row.ended) == (key, key, NOW, NOW + 60.25)
    assert (row.model, row.mode, row.run, row.step, row.host) == ("mistral", "deep", "r1", "plan", "127.0.0.1:8080")
    assert (row.prompt_tokens, row.counted_prompt, row.counted_answer, row.tokens) == (70, 71, 8, 7)
    assert (row.first_token, row.longest_gap, row.elapsed, row.outcome) == (0.5, 1.0, 60.25, "timeout")
    assert (row.broken_limit, row.waited, row.source, row.error) == ("idle", 20.0, "the call", "no output")
    assert row.budget_left == 50.0
    assert row.limits["idle"] == {"value": 20.0, "source": "the call"}
    assert row.limits["clocks"]["first_token"] == 105.0
    assert [(each.after, each.kind) for each in found.decisions] == [
        (1.5, "loading"), (15.0, "heartbeat"), (60.0, "rang"), (60.0, "cancel confirmed"),
    ]  # fmt: skip
    assert found.decisions[1].told | {"phase": "streaming", "rings_in": None} == found.decisions[1].told
    assert found.decisions[2].told == {"limit": "idle", "waited": 20.0}
    assert (recorder.trouble, recorder.lost) == (None, 0)


def test_one_that_still_runs_has_no_outcome_and_its_verdict_comes_once(url: str, make: Make) -> None:
    recorder = make(url)
    recorder.put(begun("aa"))
    assert recorder.flush(10)
    assert (told(url, "aa").row.outcome, told(url, "aa").row.ended) == (None, None)
    put(recorder, [ended("aa", 4.0, "left"), ended("aa", 5.0, "finished"), Named("aa", 6.0, "late", "")])
    assert recorder.flush(10)
    recorder.put(ended("aa", 9.0, "failed"))
    assert recorder.flush(10)
    row = told(url, "aa").row
    assert (row.outcome, row.elapsed, row.model) == ("left", 4.0, "qwen3")


@pytest.mark.parametrize("apart", [False, True])
def test_a_record_that_somebody_else_keeps_is_dropped_with_its_decisions(url: str, make: Make, apart: bool) -> None:
    recorder = make(url)
    put(recorder, [begun("aa"), Noted("aa", 1.0, Kind.LOADING), *whole("bb")])
    assert not apart or recorder.flush(10)
    put(recorder, [ended("aa"), Dropped("aa")])
    assert recorder.flush(10)
    assert Reading(url).find("aa") is None
    assert count(url) == 1


@dataclass(frozen=True)
class Odd:
    partial: str
    error: Exception
    number: float


def test_no_text_of_a_model_is_written_and_nothing_that_a_database_refuses(url: str, make: Make) -> None:
    late = GenerationTimeout("stuck")
    late.partial = "secret words"
    recorder = make(url)
    put(
        recorder,
        [
            begun("aa", model="nul\0 half \ud800", prompt_tokens=2**70),
            Noted("aa", 1.0, Kind.REMARK, Odd("secret words", late, nan)),
            Noted("aa", 2.0, Kind.FALLBACK, Attempt("m", Fault.TIMEOUT, "timed out", 3.0, "idle", 4)),
            Noted("aa", 3.0, Kind.REMARK, object()),
            ended("aa", tokens=-1, error="x" * 9_000),
        ],
    )
    assert recorder.flush(10)
    found = told(url, "aa")
    assert found.decisions[0].told == {"error": "GenerationTimeout", "number": None}
    assert found.decisions[1].told["reason"] == "timed out"
    assert "secret" not in str(found)
    assert (found.row.tokens, len(found.row.error)) == (0, 500)
    assert recorder.lost == 0


def test_an_entry_that_can_never_be_written_is_dropped_alone(url: str, make: Make) -> None:
    recorder = make(url)
    broken: Any = "neither a number nor a time"
    put(recorder, [*whole("aa"), begun("bb", at=broken), Noted("aa", broken, Kind.READY), *whole("cc")])
    recorder.put(broken)
    assert recorder.flush(10)
    assert [row.id for row in Reading(url).calls()] == ["aa", "cc"]
    assert (recorder.lost, recorder.trouble) == (2, None)


def test_a_batch_whose_commit_was_not_heard_of_is_there_once(
    url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, unheard = Writer._commit, [True, True]

    def commits_and_says_no(writer: Writer, batch: Any) -> None:
        commit(writer, batch)
        if unheard:
            unheard.pop()
            raise OperationalError("COMMIT", {}, Exception("connection lost"))

    monkeypatch.setattr(Writer, "_commit", commits_and_says_no)
    recorder = make(url)
    put(recorder, whole("aa") + whole("bb"))
    assert recorder.flush(10)
    assert not unheard
    assert count(url) == 2
    assert [len(told(url, key).decisions) for key in ("aa", "bb")] == [1, 1]
    assert (recorder.trouble, recorder.lost) == (None, 0)


class Learning:
    def __init__(self) -> None:
        self.filled: list[list[Observation]] = []
        self.seen: list[Observation] = []

    def fill(self, observations: Any) -> None:
        self.filled.append(list(observations))

    def observe(self, observation: Observation) -> None:
        self.seen.append(observation)
        raise RuntimeError("a learner that fails is no reason not to record")


def test_whoever_learns_is_filled_once_oldest_first_and_then_told_of_each_end(url: str, make: Make) -> None:
    before = make(url)
    put(before, whole("aa", NOW + 1, after=2.0) + whole("bb", NOW, after=1.0) + [begun("cc")])
    assert before.flush(10)
    learning = Learning()
    recorder = make(url, paces=learning)
    recorder.start()
    assert recorder.flush(10)
    assert [[each.elapsed for each in filled] for filled in learning.filled] == [[1.0, 2.0]]
    put(
        recorder,
        [begun("dd", prompt_tokens=9), Named("dd", 1.0, "other", ""), ended("dd", 4.0, "timeout", limit="idle")],
    )
    put(recorder, [begun("ee"), ended("ee"), Dropped("ee")])
    assert recorder.flush(10)
    assert learning.seen == [Observation("other", "deep", 9, 0.5, None, 4.0, 10, "timeout", "idle")]
    assert len(learning.filled) == 1


def test_whoever_learns_later_is_told_the_past_then_and_each_end_once(url: str, make: Make) -> None:
    before = make(url)
    put(before, whole("aa", NOW, after=1.0))
    assert before.flush(10)
    learning = Learning()
    recorder = make(url, paces=learning, history=False)
    put(recorder, whole("bb", NOW + 1, after=2.0))
    assert recorder.flush(10)
    assert (learning.filled, learning.seen) == ([], [])
    for _ in range(3):
        recorder.want_history()
    assert recorder.flush(10)
    assert [[each.elapsed for each in filled] for filled in learning.filled] == [[1.0, 2.0]]
    put(recorder, whole("cc", NOW + 2, after=3.0))
    assert recorder.flush(10)
    assert [each.elapsed for each in learning.seen] == [3.0]
    assert len(learning.filled) == 1


def test_ids_are_twelve_hexadecimal_characters_and_differ() -> None:
    ids = {Recorder.new_id() for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(len(key) == 12 and int(key, 16) >= 0 for key in ids)


def test_nothing_is_opened_before_the_first_entry_and_nothing_after_the_end(url: str, make: Make) -> None:
    recorder = make(url)
    assert recorder.flush(0.1)
    assert not Reading(url).exists
    put(recorder, whole("aa"))
    assert recorder.close(10)
    put(recorder, whole("bb"))
    assert not recorder.flush(0.1)
    assert [row.id for row in Reading(url).calls()] == ["aa"]
    assert recorder.lost == 3


@pytest.mark.parametrize("url", ["mysql://server/journal", "http://"])
def test_an_address_that_cannot_be_a_journal_is_told_and_delays_nobody(url: str, wall: Wall, make: Make) -> None:
    recorder = make(url)
    put(recorder, whole("aa"))
    assert not recorder.flush(10)
    assert recorder.trouble
    put(recorder, whole("bb"))
    assert not recorder.flush(10)
    assert recorder.lost == 6
    assert not recorder.close(10)


@pytest.mark.real
def test_the_hot_path_needs_the_standard_library_only_and_says_what_the_rest_lacks() -> None:
    script = """
import sys, time
sys.modules["sqlalchemy"] = None
from hangtight.journal.recording import Recorder
recorder = Recorder("nowhere/journal.db", wall=time.time)
for entry in "abc": recorder.put(entry)
print(recorder.flush(10), recorder.trouble is not None, recorder.lost)
"""
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["False", "True", "3"]
