"""The closed loop: limits are learned from calls that were ended by the limits learned before."""

from __future__ import annotations

import random
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Iterator
from math import exp, inf
from typing import NamedTuple

import pytest

from hangtight.core.limits import Limit
from hangtight.core.pace import FALSE_KILLS, Learner, Observation, Paces
from hangtight.core.phases import Outcome

CALLS = 5_000
DEFAULT = 600.0
SIGMA = 0.6
TRUE = 10 * exp(2.326 * SIGMA)
"""What 99 % of the healthy calls below stay within."""

Draw = Callable[[random.Random, int], float]


class Survivors:
    """The naive learner: the 99 % quantile of the last 1,000 calls that ended well."""

    def __init__(self) -> None:
        self.latest: deque[float] = deque()
        self.ranked: list[float] = []

    def observe(self, seen: Observation) -> None:
        if seen.outcome == Outcome.FINISHED:
            self.latest.append(seen.elapsed)
            insort(self.ranked, seen.elapsed)
            if len(self.latest) > 1000:
                self.ranked.remove(self.latest.popleft())

    def limit(self) -> float:
        return self.ranked[int(0.99 * len(self.ranked))] if len(self.ranked) >= 100 else DEFAULT


class Ours:
    def __init__(self) -> None:
        self.paces: Learner = Paces()
        self.observe = self.paces.observe

    def limit(self) -> float:
        learned = self.paces.learned("total", "m", "deep", 500, {})
        return DEFAULT if learned is None else learned.value


class Loop(NamedTuple):
    """What came of a closed loop."""

    false_kills: float
    """The share of healthy calls that were ended."""
    limit: float
    highest: float
    """The highest limit that was ever learned."""
    late: float
    """The share of false kills in the last 1,000 calls."""


def closed_loop(learner: Survivors | Ours, draw: Draw, seed: int = 0, hangs: float = 0.0) -> Loop:
    rng = random.Random(seed)
    false: list[bool] = []
    highest = 0.0
    for number in range(CALLS):
        limit = learner.limit()
        highest = max(highest, limit if number >= CALLS // 10 else 0.0)
        takes = draw(rng, number)
        hung = rng.random() < hangs
        if not hung:
            false.append(takes > limit)
        learner.observe(ended_within(limit, inf if hung else takes))
    return Loop(sum(false) / len(false), learner.limit(), highest, sum(false[-1000:]) / 1000)


def ended_within(limit: float, takes: float) -> Observation:
    if takes <= limit:
        return Observation("m", "deep", 500, 0.5, 0.2, takes, 99, Outcome.FINISHED, "")
    return Observation("m", "deep", 500, 0.5, 0.2, limit, 99, Outcome.TIMEOUT, Limit.TOTAL)


def lognormal(rng: random.Random, number: int) -> float:
    return 10 * rng.lognormvariate(0, SIGMA)


def heavy_tail(rng: random.Random, number: int) -> float:
    return 5 * rng.paretovariate(1.5)


def slower_from_the_middle_on(rng: random.Random, number: int) -> float:
    return lognormal(rng, number) * (2 if number >= CALLS // 2 else 1)


def faster_from_the_middle_on(rng: random.Random, number: int) -> float:
    return lognormal(rng, number) / (2 if number >= CALLS // 2 else 1)


def test_a_learner_fed_only_with_survivors_spirals() -> None:
    loop = closed_loop(Survivors(), lognormal)
    assert loop.false_kills > 5 * FALSE_KILLS
    assert loop.late > loop.false_kills  # and it gets worse
    assert loop.limit < 0.6 * TRUE


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("draw", [lognormal, heavy_tail, faster_from_the_middle_on])
def test_ours_keeps_its_rate_in_the_same_loop(draw: Draw, seed: int) -> None:
    assert closed_loop(Ours(), draw, seed).false_kills <= FALSE_KILLS


def test_ours_ends_near_the_true_limit() -> None:
    assert TRUE * 0.75 <= closed_loop(Ours(), lognormal).limit <= TRUE * 2


@pytest.mark.parametrize("seed", range(4))
def test_a_pace_that_halves_is_followed_although_the_limit_hides_it(seed: int) -> None:
    loop = closed_loop(Ours(), slower_from_the_middle_on, seed)
    assert loop.false_kills <= 1.5 * FALSE_KILLS  # the shift itself costs some
    assert loop.late <= 1.5 * FALSE_KILLS  # of 1,000 calls alone
    assert loop.limit >= 2 * TRUE * 0.75


def test_a_pace_that_doubles_brings_the_limit_down_again() -> None:
    assert closed_loop(Ours(), faster_from_the_middle_on).limit <= TRUE


@pytest.mark.parametrize("hangs", [0.01, 0.05])
def test_hangs_are_ended_and_do_not_drag_the_limit_up(hangs: float) -> None:
    loop = closed_loop(Ours(), lognormal, hangs=hangs)
    assert loop.false_kills <= FALSE_KILLS
    longest = 10 * exp(4 * SIGMA)  # hardly any healthy call of these takes longer
    assert loop.highest <= 1.5 * longest


def test_when_everything_hangs_the_defaults_come_back_and_go_when_it_is_over() -> None:
    ours = Ours()
    rng = random.Random(1)
    for number in range(500):
        ours.observe(ended_within(ours.limit(), lognormal(rng, number)))
    before = ours.limit()
    assert before < DEFAULT
    spent = []
    for _ in range(50):
        spent.append(ours.limit())
        ours.observe(ended_within(ours.limit(), inf))
    assert spent.count(DEFAULT) >= 35
    for number in range(100):
        ours.observe(ended_within(ours.limit(), lognormal(rng, number)))
    assert before <= ours.limit() < DEFAULT


# -- all three limits at once, on calls made of pieces -----------------------------------------------------------


def silences(rng: random.Random) -> Iterator[float]:
    """Before each piece of one answer."""
    yield 2 * rng.lognormvariate(0, 0.5)
    for _ in range(rng.randint(2, 30)):
        yield 0.5 * rng.lognormvariate(0, 0.7)


def watched(answer: Iterator[float], limits: dict[str, float], patience: float) -> Observation:
    """The answer under these limits, read by somebody who leaves after `patience`."""
    elapsed, tokens, first, longest = 0.0, 0, None, None
    for silence in answer:
        name = Limit.FIRST_TOKEN if first is None else Limit.IDLE
        left, allowed = limits["total"] - elapsed, limits[name]
        broken = min((left, Limit.TOTAL), (allowed, name), (patience - elapsed, None), key=lambda pair: pair[0])
        if silence > broken[0]:
            outcome = Outcome.LEFT if broken[1] is None else Outcome.TIMEOUT
            waited = broken[0] if broken[1] is name else None
            spent = elapsed + broken[0]
            return Observation("m", "", 0, first, longest, spent, tokens, outcome, broken[1] or "", waited)
        elapsed, tokens = elapsed + silence, tokens + 1
        if first is None:
            first = silence
        else:
            longest = max(longest or 0.0, silence)
    return Observation("m", "", 0, first, longest, elapsed, tokens, Outcome.FINISHED, "")


@pytest.mark.parametrize("impatient", [0.0, 0.2], ids=["patient", "one in five leaves early"])
def test_each_of_three_learned_limits_keeps_its_own_rate(impatient: float) -> None:
    rng, paces = random.Random(7), Paces()
    broken: Counter[str] = Counter()
    for _ in range(CALLS):
        asked = {name: paces.learned(name, "m", "", 0, {}) for name in ("first_token", "idle", "total")}
        limits = {name: DEFAULT if learned is None else learned.value for name, learned in asked.items()}
        patience = rng.expovariate(1 / 5) if rng.random() < impatient else inf
        seen = watched(silences(rng), limits, patience)
        broken[seen.limit] += 1
        paces.observe(seen)
    assert set(broken) == {"", "first_token", "idle", "total"}
    assert all(broken[name] <= FALSE_KILLS * CALLS for name in ("first_token", "idle", "total"))
