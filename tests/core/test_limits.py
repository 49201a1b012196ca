"""What may be written for a limit, and what a limit becomes inside a parent."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from decimal import Decimal
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.core.limits import NAMES, UNSET, Limits, checked, length
from hangtight.core.time import FOREVER, Instant, Seconds, after, between, counted, plain, spoken
from hangtight.errors import SettingsError

NONSENSE: list[Any] = [
    -1,
    -0.001,
    nan,
    inf,
    -inf,
    True,
    False,
    "45",
    "",
    b"1",
    [45],
    Decimal(45),
    45j,
    object(),
    10**400,
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: type(value).__name__)
def test_nonsense_is_refused_with_the_name_of_the_setting(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"^{name} = ") as caught:
        Limits(**{name: value})
    assert caught.value.name == name


@pytest.mark.parametrize("name", [name for name in NAMES if name != "heartbeat"])
@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
def test_zero_is_neither_at_once_nor_off(name: str, zero: float) -> None:
    with pytest.raises(SettingsError, match="more than 0 seconds, or None for no limit"):
        Limits(**{name: zero})


@pytest.mark.parametrize("off", [0, 0.0, None])
def test_only_the_heartbeat_may_be_zero_which_is_off(off: float | None) -> None:
    assert Limits(heartbeat=off).heartbeat is None


@pytest.mark.parametrize("name", NAMES)
def test_none_is_no_limit(name: str) -> None:
    assert getattr(Limits(**{name: None}), name) is None
    assert checked(name, None) is None
    assert length(None) == FOREVER


@pytest.mark.parametrize("value", [1, 0.5, 10**9, 1e-3])
def test_a_positive_number_is_what_it_is(value: float) -> None:
    assert checked("idle", value) == value
    assert length(value) == value


def test_the_defaults_are_the_time_contract() -> None:
    limits = Limits()
    assert {name: getattr(limits, name) for name in NAMES} == {
        "first_token": 45,
        "idle": 45,
        "total": 600,
        "extend_to": 600,
        "heartbeat": 15,
        "queue": 300,
        "load": 300,
        "thinking": 300,
        "unstreamed": 300,
        "cancel": 5,
        "cold": 60,
    }


def test_extend_to_follows_total_unless_it_is_given() -> None:
    assert Limits(total=120).extend_to == 120
    assert Limits(total=None).extend_to is None
    assert Limits(total=120, extend_to=240).extend_to == 240
    assert Limits(total=120, extend_to=None).extend_to is None, "given as no limit"


# -- inside a parent ------------------------------------------------------------------------------------------


def test_within_is_the_rule_of_budgets() -> None:
    inside = Limits(first_token=30, idle=15, total=120).within(45)
    assert (inside.first_token, inside.idle, inside.total, inside.extend_to) == (13.5, 9.0, 45, 45)
    assert (inside.thinking, inside.queue, inside.load, inside.unstreamed) == (45, 45, 45, 45)
    assert (inside.cancel, inside.heartbeat, inside.cold) == (5, 15, 60)


def test_more_than_enough_cuts_nothing_but_the_rule_still_holds() -> None:
    inside = Limits(first_token=30, idle=15, total=30, extend_to=60).within(100)
    assert (inside.first_token, inside.idle, inside.total, inside.extend_to, inside.thinking) == (9, 6, 30, 60, 100)


def test_no_limit_inside_a_parent_is_the_parents() -> None:
    inside = Limits(first_token=None, idle=None, total=None, thinking=None).within(100)
    assert (inside.first_token, inside.idle, inside.total, inside.extend_to) == (30, 20, 100, 100)
    assert inside.thinking == 100


def test_a_parent_without_a_limit_changes_nothing() -> None:
    limits = Limits(total=120)
    assert limits.within(None) is limits
    assert limits.scaled_to(None) is limits


@pytest.mark.parametrize("value", [0, -1, nan, inf, True, "45"])
def test_what_remains_must_be_a_length(value: Any) -> None:
    with pytest.raises(SettingsError, match="remaining = "):
        Limits().within(value)


lengths = st.one_of(st.none(), st.floats(0.01, 10_000))


@given(first_token=lengths, idle=lengths, total=lengths, thinking=lengths, remaining=st.floats(0.01, 10_000))
def test_inside_a_parent_limits_only_ever_get_shorter(remaining: float, **limits: float | None) -> None:
    outside = Limits(**limits)
    inside = outside.within(remaining)
    for name in ("first_token", "idle", "total", "extend_to", "queue", "load", "thinking", "unstreamed"):
        assert getattr(inside, name) <= min(remaining, length(getattr(outside, name)))
    assert inside.within(remaining).total == inside.total


# -- for people, and on the way to other processes ------------------------------------------------------------


def test_the_repr_shows_three_numbers_and_whatever_differs() -> None:
    assert repr(Limits()) == "Limits(first_token=45, idle=45, total=600)"
    assert repr(Limits(total=120)) == "Limits(first_token=45, idle=45, total=120)"
    shown = repr(Limits(total=120, extend_to=240, heartbeat=0))
    assert shown == "Limits(first_token=45, idle=45, total=120, extend_to=240, heartbeat=None)"
    assert repr(Limits(first_token=30, idle=15, total=120).within(45)).startswith(
        "Limits(first_token=13.5, idle=9.0, total=45"
    )
    assert repr(UNSET) == "unset"


def test_limits_are_values() -> None:
    limits = Limits(total=None, idle=7)
    assert pickle.loads(pickle.dumps(limits)) == copy.deepcopy(limits) == limits
    assert hash(limits) == hash(copy.copy(limits))
    assert eval(repr(limits)) == limits
    with pytest.raises(FrozenInstanceError):
        limits.idle = 9  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET


def test_a_length_ends_where_it_ends_and_is_never_negative() -> None:
    assert after(Instant(10.0), Seconds(5.0)) == Instant(15.0)
    assert between(Instant(10.0), Instant(12.5)) == 2.5
    assert between(Instant(12.5), Instant(10.0)) == 0.0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(45, "45s"), (45.0, "45s"), (0.4, "0.4s"), (78.24, "78.2s"), (44.96, "45s"), (0.05, "0.05s"), (0.023, "0.02s"),
     (0, "0s"), (600, "600s"), (2_592_000, "2592000s"), (1_234_567.8, "1234567.8s")],
)  # fmt: skip
def test_a_length_is_said_as_short_as_it_can_be(seconds: float, said: str) -> None:
    assert spoken(seconds) == said


def test_numbers_are_written_without_exponents_and_leftovers_of_arithmetic() -> None:
    assert [plain(number) for number in (90, 1_209_600, 0.3 * 41, 0.1)] == ["90", "1209600", "12.3", "0.1"]
    assert [counted(tokens) for tokens in (0, 1, 2)] == ["0 tokens", "1 token", "2 tokens"]
