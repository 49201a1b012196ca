"""Roll-ups say what the single rows said, whoever makes them and whenever; and what is too old goes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from hangtight.journal import rollups, writing
from hangtight.journal.reading import Reading, Receipt, Stat
from hangtight.journal.recording import Recorder
from hangtight.journal.rollups import HOUR, Upkeep
from hangtight.journal.tables import decisions, generations, hours
from hangtight.journal.tally import Tally, bucket
from tests.journal.kit import NOW, Wall, asked, begun, count, ended, keep_up, put, several, soon, whole

Make = Callable[..., Recorder]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FIRST_UPKEEP", 0.0)


SPAN = 30 * HOUR
SINCE = (None, 0.0, NOW, NOW + 1.0, NOW + HOUR, NOW + 20.5 * HOUR, NOW + 26 * HOUR, NOW + SPAN)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "ROLLED_AT_ONCE", 40)
    monkeypatch.setattr(rollups, "DELETED_AT_ONCE", 40)


def everything(url: str) -> list[list[Stat]]:
    reading = Reading(url)
    asked_by: list[Any] = [None, "model", "mode", "step"]
    found = [reading.stats(since, by) for since in SINCE for by in asked_by]
    return [sorted((rounded(stat) for stat in stats), key=lambda stat: stat.key) for stats in found]


def rounded(stat: Stat) -> Stat:
    """The order in which sums are made shows in their last digits."""
    return replace(stat, elapsed_sum=round(stat.elapsed_sum, 6), hang_seconds=round(stat.hang_seconds, 6))


def number(url: str, *conditions: Any) -> int:
    query = select(func.count()).select_from(generations).where(*conditions)
    return int(asked(url, lambda connection: connection.execute(query).scalar()))


@pytest.fixture
def filled(url: str, make: Make) -> str:
    recorder = make(url)
    put(recorder, several(400, 1, NOW + 0.25, SPAN))
    assert recorder.flush(20)
    return url


def test_sums_equal_what_they_are_made_of_at_every_hour(filled: str) -> None:
    raw = everything(filled)
    assert raw[0][0].count == number(filled, generations.c.outcome.is_not(None))
    for hour in (0, 1, 2, 3, 20, 24, 31):
        keep_up(filled, NOW + hour * HOUR + 1)
        assert everything(filled) == raw
    assert number(filled, generations.c.rolled) == raw[0][0].count


def test_only_complete_hours_are_summed_up(filled: str) -> None:
    keep_up(filled, NOW + 26.9 * HOUR)
    hour = rollups.begin_of(HOUR, NOW + 26.9 * HOUR)
    assert number(filled, generations.c.rolled, generations.c.started >= hour) == 0
    missing = number(
        filled, generations.c.rolled.is_(False), generations.c.outcome.is_not(None), generations.c.started < hour
    )
    assert missing == 0


def test_what_ends_after_its_hour_was_summed_up_is_added(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, [*whole("aa", NOW), begun("bb", NOW + 1)])
    assert recorder.flush(20)
    keep_up(url, NOW + 2 * HOUR)
    recorder.put(ended("bb", 2 * HOUR, "timeout", limit="total"))
    assert recorder.flush(20)
    before = everything(url)
    assert before[0][0].count == 2
    keep_up(url, NOW + 3 * HOUR)
    assert everything(url) == before
    assert number(url, generations.c.rolled) == 2


@pytest.mark.real
def test_several_that_sum_up_at_once_count_nothing_twice(filled: str) -> None:
    raw = everything(filled)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(keep_up, filled, NOW + 2 * SPAN) for _ in range(4)]:
            done.result(50)
    assert everything(filled) == raw


def test_what_is_older_than_it_may_be_goes_and_its_sums_stay(filled: str) -> None:
    raw = Reading(filled).stats()
    late = NOW + 2 * SPAN
    keep_up(filled, late, keep=late - (NOW + 15 * HOUR))
    assert number(filled, generations.c.started < NOW + 15 * HOUR) == 0
    assert number(filled, generations.c.started >= NOW + 15 * HOUR) == 200
    assert [rounded(stat) for stat in Reading(filled).stats()] == [rounded(stat) for stat in raw]


def test_the_writer_itself_sums_up_and_deletes_once_an_hour(
    url: str, make: Make, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "BETWEEN_UPKEEP", 0.001)
    recorder = make(url, keep=5.0 * HOUR)
    put(recorder, several(200, 2, NOW - 10 * HOUR, 10 * HOUR) + whole("aa", NOW - 10 * HOUR))
    assert recorder.flush(20)
    assert soon(lambda: count(url) == 100)
    notes = select(func.count()).select_from(decisions)
    assert asked(url, lambda connection: connection.execute(notes).scalar()) == 0
    wall.at += 1800
    put(recorder, whole("bb", NOW - 10 * HOUR))
    assert recorder.flush(20)
    put(recorder, whole("cc"))
    assert recorder.flush(20)
    assert Reading(url).find("bb") is not None
    wall.at += 1801
    put(recorder, whole("dd"))
    assert recorder.flush(20)
    assert soon(lambda: Reading(url).find("bb") is None)
    assert Reading(url).find("cc") is not None


def test_without_a_length_all_is_kept(url: str, make: Make) -> None:
    recorder = make(url, keep=None)
    put(recorder, several(100, 3, NOW - 999 * HOUR, HOUR))
    assert recorder.flush(20)
    ready = select(func.count()).select_from(hours)
    assert soon(lambda: asked(url, lambda connection: connection.execute(ready).scalar()) > 0)
    assert soon(lambda: number(url, generations.c.rolled.is_(False), generations.c.outcome.is_not(None)) == 0)
    assert count(url) == 100


def test_a_stat_is_what_one_would_count_by_hand(url: str, make: Make) -> None:
    recorder = make(url)
    put(recorder, whole("aa", after=29.0) + whole("bb", after=31.0) + whole("cc", after=120.0))
    put(recorder, [begun("dd"), ended("dd", 60.0, "timeout", limit="idle", waited=45.0, first_token=4.0)])
    put(recorder, [begun("ee", mode="fast"), ended("ee", 600.0, "timeout", limit="total", waited=600.0)])
    put(recorder, [begun("ff"), ended("ff", 1.0, "failed", first_token=None), begun("gg")])
    assert recorder.flush(20)
    (stat,) = Reading(url).stats()
    assert stat.count == 6
    assert stat.outcomes == {"finished": 3, "timeout": 2, "failed": 1}
    assert stat.timeouts == {"idle": 1, "total": 1}
    assert (stat.would_have_died, stat.hangs, stat.hang_seconds) == (2, 1, 45.0)
    assert stat.tokens == 60
    assert stat.elapsed_sum == pytest.approx(841.0)
    assert stat.elapsed is not None
    assert stat.first_token is not None
    assert (stat.elapsed.samples, stat.first_token.samples) == (3, 5)
    found = (stat.elapsed.p50, stat.elapsed.p99, stat.first_token.p50, stat.first_token.p95)
    assert found == pytest.approx((31.0, 120.0, 0.5, 4.0), rel=0.05)
    assert stat.tokens_per_second is not None
    assert stat.tokens_per_second.p50 == pytest.approx(10 / 30.5, rel=0.05)
    assert stat.longest_gap is None
    assert Reading(url).receipt() == Receipt(3, 2, 1, 45.0)
    assert [(each.key, each.count) for each in Reading(url).stats(by="mode")] == [("deep", 5), ("fast", 1)]


def test_a_bucket_is_five_per_cent_wide_and_nothing_is_too_small_for_one() -> None:
    for value in (1e-9, 0.0, 0.01, 1.0, 45.0, 86_400.0):
        tally = Tally()
        tally.histograms["elapsed"][bucket(value)] += 1
        quantiles = tally.quantiles("elapsed")
        assert quantiles is not None
        assert quantiles.p50 == pytest.approx(max(value, 1e-4), rel=0.026)


def test_a_writer_leaves_upkeep_to_others_at_first(
    url: str, make: Make, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "FIRST_UPKEEP", 5.0)
    began: list[float] = []

    def noted(now: float, keep: float | None) -> Upkeep:
        began.append(now)
        return Upkeep(now, keep)

    monkeypatch.setattr(writing, "Upkeep", noted)
    recorder = make(url)
    for at in (NOW, NOW + 4.9, NOW + 5.0):
        wall.at = at
        put(recorder, whole(f"a{at:.0f}"))
        assert recorder.flush(20)
    assert soon(lambda: began == [NOW + 5.0])
