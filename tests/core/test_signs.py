"""When a waiting client hears from us: by arithmetic on instants."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.core.signs import Signs, span_of
from hangtight.core.time import FOREVER, NEVER, Instant, Seconds

EVERY_15 = Seconds(15.0)


def at(seconds: float) -> Instant:
    return Instant(seconds)


def heard_by(signs: Signs, until: float, writes: tuple[float, ...] = ()) -> list[float]:
    """The instants of the signs, as a driver sends them that moves its alarm for nobody."""
    heard, alarm = [], signs.alarm_at(at(0.0))
    while alarm <= until:
        wrote_at = max((at(when) for when in writes if when <= alarm), default=None)
        if signs.wake(alarm, wrote_at):
            heard.append(float(alarm))
        alarm = signs.alarm_at(alarm)
    return heard


# -- the span -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read_timeout", "proxy_silence", "says_nothing", "span"),
    [
        (None, 50, True, 25.0),
        (None, None, True, 25.0),
        (600, None, False, 595.0),
        (600, 50, False, 45.0),
        (20, 50, False, 15.0),
        (10, 50, False, 5.0),
        (9, 50, False, 4.5),
        (None, 2, True, 1.0),
        (None, None, False, FOREVER),
    ],
)
def test_a_client_may_hear_nothing_for_a_span_that_ends_before_the_least_patient_on_the_way(
    read_timeout: float | None, proxy_silence: float | None, says_nothing: bool, span: float
) -> None:
    assert span_of(read_timeout, proxy_silence, says_nothing=says_nothing) == span


@given(st.floats(0.01, 10_000), st.none() | st.floats(0.01, 10_000), st.booleans())
def test_no_span_reaches_anybodys_patience(timeout: float, silence: float | None, says_nothing: bool) -> None:
    span = span_of(timeout, silence, says_nothing=says_nothing)
    assert 0 < span < min(timeout, silence or FOREVER)


# -- the signs ------------------------------------------------------------------------------------------------


def test_a_silent_first_token_gets_through_a_proxy_that_waits_two_seconds() -> None:
    signs = Signs(span_of(None, 2, says_nothing=True), EVERY_15, at(0.0))
    assert heard_by(signs, 10.0) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]


def test_the_first_one_comes_late_and_the_others_at_the_heartbeat() -> None:
    assert heard_by(Signs(Seconds(45.0), EVERY_15, at(0.0)), 100.0) == [45.0, 60.0, 75.0, 90.0]


def test_the_span_is_the_longest_between_two_signs_whatever_the_heartbeat() -> None:
    assert heard_by(Signs(Seconds(25.0), FOREVER, at(0.0)), 80.0) == [25.0, 50.0, 75.0]


def test_whatever_goes_out_begins_the_silence_anew() -> None:
    signs = Signs(Seconds(45.0), EVERY_15, at(0.0))
    assert signs.next_at == at(45.0)
    signs.sent(at(3.0))
    assert signs.next_at == at(18.0)
    signs.sent(at(10.0))
    assert not signs.wake(at(24.0))
    assert signs.wake(at(25.0))
    assert signs.next_at == at(40.0)


def test_an_older_instant_is_no_news() -> None:
    signs = Signs(Seconds(45.0), EVERY_15, at(0.0))
    signs.sent(at(20.0))
    assert not signs.wake(at(30.0), wrote_at=at(5.0))
    assert signs.next_at == at(35.0)


def test_content_that_flows_needs_no_signs() -> None:
    tokens = tuple(quarter / 4 for quarter in range(4, 400))
    assert heard_by(Signs(Seconds(45.0), EVERY_15, at(0.0)), 112.0, tokens) == []


def test_the_alarm_is_never_later_than_a_sign_that_the_next_bytes_would_ask_for() -> None:
    signs = Signs(Seconds(45.0), EVERY_15, at(0.0))
    assert signs.alarm_at(at(0.0)) == at(15.0)
    assert signs.alarm_at(at(40.0)) == at(45.0)


def test_where_nobody_minds_silence_and_nobody_wants_heartbeats_there_is_no_alarm() -> None:
    signs = Signs(FOREVER, FOREVER, at(0.0))
    assert signs.alarm_at(at(0.0)) == NEVER
    signs.sent(at(5.0))
    assert signs.next_at == NEVER


def test_where_nobody_minds_the_first_silence_a_later_one_is_filled_all_the_same() -> None:
    assert heard_by(Signs(FOREVER, EVERY_15, at(0.0)), 60.0, (20.0,)) == [35.0, 50.0]


quarters = st.sampled_from([Seconds(length) for length in (0.25, 1.0, 4.5, 15.0, 45.0)])


@given(quarters, quarters | st.just(FOREVER), st.lists(st.integers(0, 800).map(lambda quarter: quarter / 4)))
def test_no_client_waits_longer_than_its_span_and_no_sign_comes_before_its_time(
    span: Seconds, heartbeat: Seconds, writes: list[float]
) -> None:
    signs = heard_by(Signs(span, heartbeat, at(0.0)), 200.0, tuple(writes))
    heard = sorted({0.0, 200.0, *writes, *signs})
    silences = [(later - earlier, later) for earlier, later in pairwise(heard)]
    assert all(silence <= span for silence, _ in silences)
    assert all(silence >= min(span, heartbeat) for silence, end in silences if end in signs)
