"""What may be said about a cancelled request after a row of looks, and what may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.gateway.looking.evidence import Evidence, Found, Look, Range

STOPPED, RUNNING, UNKNOWN = Found.STOPPED, Found.RUNNING, Found.UNKNOWN


def counted(busy: int, waiting: int | None = 0, *, work: float | None = None) -> Look:
    return Look("counts", busy, waiting, work=work)


def slots(*tasks: int, of: int = 8, waiting: int | None = 0) -> Look:
    full = len(tasks) == of
    return Look("slots", len(tasks), waiting, full, frozenset(tasks))


def verdict(*looks: Look, ours: int | list[int] = 0, alone: bool = True) -> Found:
    evidence = Evidence()
    counts = ours if isinstance(ours, list) else [ours] * len(looks)
    for look, count in zip(looks, counts, strict=True):
        evidence.add(look, Range(count, count))
    return evidence.verdict(alone=alone)


@pytest.mark.parametrize(
    ("looks", "ours", "found"),
    [
        ([counted(0)], 0, STOPPED),
        ([counted(1), counted(1), counted(0)], 0, STOPPED),
        ([counted(1), counted(1)], 0, RUNNING),
        ([counted(3), counted(2), counted(2)], 2, STOPPED),
        ([counted(3), counted(3)], 2, RUNNING),
        # In its queue it is not stopped either.
        ([counted(1, 1), counted(1, 1)], 1, RUNNING),
        ([counted(1, 0), counted(1, 0)], 1, STOPPED),
        # One look may have missed a request of ours that was on its way: the next one must agree.
        ([counted(1)], 1, UNKNOWN),
        ([counted(2), counted(1), counted(2)], 1, UNKNOWN),
        # It does not say how many wait, and ours may be among them.
        ([counted(1, None), counted(1, None)], 1, UNKNOWN),
        ([counted(0, None)], 0, UNKNOWN),
    ],
)
def test_what_a_row_of_numbers_shows(looks: list[Look], ours: int, found: Found) -> None:
    assert verdict(*looks, ours=ours) is found


@pytest.mark.parametrize(
    ("looks", "ours", "found"),
    [
        ([slots(7), slots(7)], 0, RUNNING),
        # What came after the cancel is somebody else's, however busy it keeps the server.
        ([slots(7), slots(8, 9)], 0, STOPPED),
        ([slots(7), slots(7, 8)], 0, RUNNING),
        ([slots(6, 7), slots(6, 7)], 1, RUNNING),
        ([slots(6, 7), slots(6), slots(6)], 1, STOPPED),
        # It may be the cancelled one that goes on, or an older one of ours.
        ([slots(6, 7), slots(6, 8), slots(6, 8)], 1, UNKNOWN),
        # Where all slots work, one in the queue has no number yet.
        ([slots(6, 7, of=2, waiting=None), slots(8, 9, of=2, waiting=None)], 3, UNKNOWN),
        ([slots(6, 7, of=2, waiting=2), slots(6, 7, of=2, waiting=2)], 3, UNKNOWN),
        ([slots(6, 7, of=2, waiting=1), slots(6, 7, of=2, waiting=1)], 3, STOPPED),
        # Some of ours may not even have come as far as the queue.
        ([slots(6, 7, of=2), slots(6, 7, of=2)], 5, UNKNOWN),
    ],
)
def test_what_numbered_tasks_show(looks: list[Look], ours: int, found: Found) -> None:
    assert verdict(*looks, ours=ours) is found


def test_a_number_that_nothing_brings_up_to_date_is_no_work() -> None:
    assert verdict(counted(1, work=100), counted(1, work=100), counted(1, work=100)) is UNKNOWN
    assert verdict(counted(1, work=100), counted(1, work=150), counted(1, work=150)) is UNKNOWN
    assert verdict(counted(1, work=100), counted(1, work=150), counted(1, work=200)) is RUNNING
    assert verdict(counted(1, work=100)) is UNKNOWN


def test_a_server_that_others_use_is_not_said_to_go_on() -> None:
    assert verdict(counted(1), counted(1), alone=False) is UNKNOWN
    assert verdict(slots(7), slots(7), alone=False) is UNKNOWN
    assert verdict(slots(7), slots(8), alone=False) is STOPPED


def test_a_server_that_no_longer_answers_is_not_said_to_go_on() -> None:
    evidence = Evidence()
    assert evidence.verdict(alone=True) is UNKNOWN
    evidence.add(counted(1), Range(0, 0))
    evidence.missed()
    assert evidence.verdict(alone=True) is UNKNOWN
    evidence.add(counted(1), Range(0, 0))
    assert evidence.verdict(alone=True) is RUNNING


def test_requests_of_ours_that_come_or_go_during_a_look_prove_nothing() -> None:
    evidence = Evidence()
    for _ in range(5):
        evidence.add(counted(2), Range(1, 2))
    assert evidence.verdict(alone=True) is UNKNOWN


ranges = st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda pair: Range(min(pair), max(pair)))
numbers = st.integers(0, 5)
queues = st.none() | numbers
counts = st.builds(Look, st.just("?"), numbers, queues, st.booleans(), work=st.none() | st.floats(0, 5))
tasks = st.frozensets(st.integers(0, 9), max_size=5)
numbered = st.builds(lambda held, queue, full: Look("?", len(held), queue, full, held), tasks, queues, st.booleans())


@given(st.lists(st.tuples(counts | numbered, ranges), max_size=8), st.booleans())
def test_going_on_is_said_only_of_more_than_what_is_ours_and_stopped_stays_stopped(
    looks: list[tuple[Look, Range]], alone: bool
) -> None:
    evidence = Evidence()
    stopped = False
    for look, ours in looks:
        evidence.add(look, ours)
        found = evidence.verdict(alone=alone)
        assert found is STOPPED or not stopped
        stopped = found is STOPPED
        if found is RUNNING:
            assert alone
            assert look.present > ours.most


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8))
def test_a_request_that_goes_on_is_never_said_to_have_stopped_while_all_of_ours_are_counted(
    others: list[tuple[int, int]],
) -> None:
    evidence = Evidence()
    for busy, waiting in others:
        evidence.add(counted(busy + 1, waiting), Range(busy + waiting, busy + waiting))
        assert not evidence.stopped


@given(st.lists(numbers, min_size=2, max_size=8))
def test_a_request_that_has_stopped_is_seen_to_have_once_two_looks_agree(ours: list[int]) -> None:
    assert verdict(*(counted(count) for count in ours), ours=ours) is STOPPED
