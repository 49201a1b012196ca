"""What a call teaches, at which level it is asked for, and how much the numbers bear."""

from __future__ import annotations

import random
import threading
import time
from math import ceil, inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.core import pace
from hangtight.core.pace import Learned, Learner, Observation, Paces, Predicted
from hangtight.core.pace_samples import ENDED, KILLED, SURVIVED, WAITED, WINDOW, Sample, Window, samples_of
from hangtight.core.phases import Outcome

FLOORS = {"first_token": 5.0, "idle": 3.0, "total": 10.0}


def call(  # noqa: PLR0917
    elapsed: float = 60.0,
    outcome: str = "finished",
    limit: str = "",
    first: float | None = 8.0,
    gap: float | None = 4.0,
    tokens: int = 99,
    waited: float | None = None,
    model: str = "qwen3-coder",
    mode: str = "deep",
    prompt: int = 500,
) -> Observation:
    return Observation(model, mode, prompt, first, gap, elapsed, tokens, outcome, limit, waited)


# -- what one call teaches ------------------------------------------------------------------------------------------

Taught = tuple[Sample | None, Sample | None, Sample | None]

F, G, T = (8.0, ENDED), (4.0, ENDED), (60.0, ENDED)
CUT_G, CUT_T = (4.0, SURVIVED), (60.0, WAITED)
BEFORE_THE_FIRST = (60.0, WAITED), None, CUT_T
NOTHING = None, None, None

ANSWERED = [
    ("finished", "", (F, G, T)),
    ("unfinished", "", (F, G, T)),
    ("looping", "", (F, CUT_G, None)),
    ("truncated", "", (F, CUT_G, CUT_T)),
    ("failed", "", (F, CUT_G, CUT_T)),
    ("left", "", (F, CUT_G, CUT_T)),
    ("cancelled", "", (F, CUT_G, CUT_T)),
    ("a word of a later version", "", (F, CUT_G, CUT_T)),
    ("timeout", "total", (F, CUT_G, (60.0, KILLED))),
    ("timeout", "idle", (F, (45.0, KILLED), CUT_T)),
    ("timeout", "thinking", (F, (45.0, KILLED), CUT_T)),
    ("timeout", "unstreamed", (F, CUT_G, CUT_T)),
    ("timeout", "first_token", (F, CUT_G, CUT_T)),
    ("timeout", "queue", NOTHING),
    ("timeout", "load", NOTHING),
]

SILENT = [
    ("finished", "", (None, None, T)),
    ("unfinished", "", (None, None, T)),
    ("looping", "", ((60.0, WAITED), None, None)),
    ("truncated", "", BEFORE_THE_FIRST),
    ("failed", "", BEFORE_THE_FIRST),
    ("left", "", BEFORE_THE_FIRST),
    ("cancelled", "", BEFORE_THE_FIRST),
    ("timeout", "first_token", ((45.0, KILLED), None, CUT_T)),
    ("timeout", "thinking", ((45.0, KILLED), None, CUT_T)),
    ("timeout", "total", ((60.0, WAITED), None, (60.0, KILLED))),
    ("timeout", "unstreamed", BEFORE_THE_FIRST),
    ("timeout", "idle", BEFORE_THE_FIRST),
    ("timeout", "queue", NOTHING),
    ("timeout", "load", NOTHING),
]

SILENCES = ("idle", "thinking", "first_token")


@pytest.mark.parametrize(("outcome", "limit", "taught"), ANSWERED)
def test_what_a_call_teaches_that_had_begun_to_answer(outcome: str, limit: str, taught: Taught) -> None:
    assert samples_of(call(outcome=outcome, limit=limit, waited=45.0 if limit in SILENCES else None)) == taught


@pytest.mark.parametrize(("outcome", "limit", "taught"), SILENT)
def test_what_a_call_teaches_that_said_nothing(outcome: str, limit: str, taught: Taught) -> None:
    waited = 45.0 if limit in SILENCES else None
    assert samples_of(call(outcome=outcome, limit=limit, first=None, gap=None, tokens=0, waited=waited)) == taught


def test_every_outcome_stands_in_both_tables() -> None:
    assert {row[0] for row in ANSWERED} >= set(Outcome)
    assert {row[0] for row in SILENT} == set(Outcome)


@pytest.mark.parametrize(
    ("seen", "gap"),
    [
        (call(gap=None), None),
        (call(outcome="left", gap=None), (0.0, SURVIVED)),
        (call(outcome="left", gap=None, tokens=1), (52.0, WAITED)),
        (call(outcome="timeout", limit="total", gap=None, tokens=1), (52.0, WAITED)),
        (call(outcome="timeout", limit="idle", gap=None, tokens=1), (52.0, KILLED)),
        (call(outcome="timeout", limit="idle"), (4.0, KILLED)),  # it was silent for longer, nobody knows how long
        (call(outcome="timeout", limit="idle", waited=2.0), (4.0, KILLED)),
    ],
)
def test_the_silence_at_the_end_is_told_where_it_can_be(seen: Observation, gap: Sample | None) -> None:
    assert samples_of(seen)[1] == gap


def test_a_first_token_that_was_waited_for_without_a_number_has_the_whole_call() -> None:
    assert samples_of(call(outcome="timeout", limit="first_token", first=None))[0] == (60.0, KILLED)


@pytest.mark.parametrize("broken", [nan, inf, -1.0])
def test_a_damaged_row_teaches_nothing(broken: float) -> None:
    assert samples_of(call(elapsed=broken, first=broken, gap=broken)) == NOTHING


# -- what a window bears --------------------------------------------------------------------------------------------


def window_of(samples: list[Sample]) -> Window:
    window = Window()
    for sample in samples:
        window.add(sample)
    window.tell()
    return window


def kaplan_meier(samples: list[Sample], share: float) -> float | None:
    """The textbook, one sample at a time, with one more that never ends."""
    still, at_risk = 1.0, len(samples) + 1
    for length, fate in sorted(samples):
        if fate == ENDED:
            still *= (at_risk - 1) / at_risk
            if still <= share + 1e-9:
                return length
        at_risk -= 1
    return None


lengths = st.integers(0, 40).map(lambda quarter: quarter / 4)
waits = st.tuples(lengths, st.sampled_from([ENDED, ENDED, ENDED, SURVIVED, WAITED, KILLED]))
windows = st.lists(waits, max_size=250).map(lambda samples: [(0.0, ENDED), *samples])


@given(windows)
def test_the_quantiles_are_those_of_the_textbook(samples: list[Sample]) -> None:
    table = window_of(samples).table
    longest = max(length for length, fate in samples if fate <= SURVIVED)
    limit, usual, least = (kaplan_meier(samples, share) for share in (0.01, 0.5, 0.99))
    assert table.limit == (1.5 * longest if limit is None else limit)
    assert table.usual == (max(samples)[0] if usual is None else usual)
    assert table.least == (0.0 if least is None else least)


@given(windows, lengths, st.sampled_from([WAITED, KILLED]))
def test_a_call_that_was_ended_never_brings_the_limit_down(samples: list[Sample], at: float, fate: int) -> None:
    before, after = window_of(samples).table.limit, window_of([*samples, (at, fate)]).table.limit
    assert before is not None
    assert after is not None
    assert after >= before


@given(windows)
def test_no_limit_is_beyond_the_longest_wait_that_ended_with_its_margin(samples: list[Sample]) -> None:
    limit = window_of(samples).table.limit
    assert limit is not None
    assert limit <= 1.5 * max(length for length, fate in samples if fate <= SURVIVED)


@pytest.mark.parametrize("count", [1, 98, 99, 100, 199, 200, 1000])
def test_without_censoring_it_is_the_rank_of_n_plus_one(count: int) -> None:
    ranked = [float(number) for number in range(1, count + 1)]
    rank = ceil(0.99 * (count + 1) - 1e-9)
    assert window_of([(length, ENDED) for length in ranked]).table.limit == (
        ranked[rank - 1] if rank <= count else 1.5 * ranked[-1]
    )


def test_a_window_forgets_what_is_old_whatever_became_of_it() -> None:
    window = window_of([(900.0, ENDED), (950.0, KILLED)] + [(1.0, ENDED), (2.0, WAITED)] * (WINDOW // 2))
    assert window.table == window_of([(1.0, ENDED), (2.0, WAITED)] * (WINDOW // 2)).table
    assert window.table.samples == WINDOW // 2


def test_a_server_that_refuses_in_a_loop_does_not_wash_away_what_is_known() -> None:
    window = window_of([(0.001, WAITED)] + [(5.0, ENDED)] * 100 + [(0.001, WAITED)] * 5000)
    assert window.table.samples == 100


def test_a_window_of_nothing_but_ended_calls_says_nothing() -> None:
    window = window_of([(1.0, ENDED)] + [(2.0, KILLED)] * WINDOW)
    assert window.table.samples == 0
    assert window.table.limit is None
    assert window.table.shaken


# -- levels ---------------------------------------------------------------------------------------------------------


def taught(*groups: tuple[int, Observation]) -> Paces:
    paces = Paces()
    paces.fill(seen for count, seen in groups for _ in range(count))
    return paces


def total(paces: Paces, model: str = "qwen3-coder", mode: str = "deep", prompt: int = 500) -> Learned | None:
    return paces.learned("total", model, mode, prompt, FLOORS)


@pytest.mark.parametrize(
    ("known", "asked", "level"),
    [
        ({}, ("qwen3-coder", "deep", 500), "qwen3-coder, deep, prompts up to 1,024 tokens"),
        ({"prompt": 0}, ("qwen3-coder", "deep", 0), "qwen3-coder, deep, prompts of unknown length"),
        ({"prompt": 1}, ("qwen3-coder", "deep", 256), "qwen3-coder, deep, prompts up to 256 tokens"),
        ({"prompt": 4097}, ("qwen3-coder", "deep", 16384), "qwen3-coder, deep, prompts up to 16,384 tokens"),
        ({"prompt": 65537}, ("qwen3-coder", "deep", 10**9), "qwen3-coder, deep, prompts of more than 65,536 tokens"),
        ({}, ("qwen3-coder", "deep", 0), "qwen3-coder, deep"),
        ({}, ("qwen3-coder", "deep", 257), "qwen3-coder, deep, prompts up to 1,024 tokens"),
        ({}, ("qwen3-coder", "deep", 256), "qwen3-coder, deep"),
        ({}, ("qwen3-coder", "fast", 500), "qwen3-coder, all modes"),
        ({"mode": ""}, ("qwen3-coder", "", 0), "qwen3-coder, no mode"),
        ({}, ("mistral", "deep", 500), "all models, deep"),
        ({"mode": ""}, ("mistral", "", 500), "all models, no mode"),
        ({}, ("mistral", "fast", 500), "all models"),
        ({"model": ""}, ("", "deep", 500), "all models, deep"),
    ],
)
def test_the_nearest_level_that_knows_enough_speaks(known: dict, asked: tuple[str, str, int], level: str) -> None:  # type: ignore[type-arg]
    told = total(taught((100, call(**known))), *asked)
    pooled = level.startswith("all models")
    assert told == Learned(90.0 if pooled else 60.0, 100, level, pooled)


def test_a_level_says_nothing_before_it_has_its_samples() -> None:
    assert total(taught((99, call()))) is None
    assert total(taught((100, call()))) is not None
    few = taught((20, call()))
    assert few.learned("total", "qwen3-coder", "deep", 500, FLOORS, samples=20) == Learned(
        90.0, 20, "qwen3-coder, deep, prompts up to 1,024 tokens", False
    )


def test_calls_that_were_ended_are_no_samples_of_how_long_calls_take() -> None:
    assert total(taught((99, call()), (50, call(outcome="left")))) is None


def test_a_level_that_knows_enough_of_one_thing_leaves_another_to_wider_levels() -> None:
    paces = taught((100, call(gap=None)), (100, call(model="mistral", gap=6.0)))
    idle = paces.learned("idle", "qwen3-coder", "deep", 500, FLOORS)
    assert idle == Learned(9.0, 100, "all models, deep", True)
    first = paces.learned("first_token", "qwen3-coder", "deep", 500, FLOORS)
    assert first == Learned(8.0, 100, "qwen3-coder, deep, prompts up to 1,024 tokens", False)


@pytest.mark.parametrize(("limit", "floor"), FLOORS.items())
def test_nothing_is_learned_that_is_under_its_floor(limit: str, floor: float) -> None:
    paces = taught((100, call(elapsed=0.3, first=0.1, gap=0.01)))
    told = paces.learned(limit, "qwen3-coder", "deep", 500, FLOORS)
    assert told is not None
    assert told.value == floor
    bare = paces.learned(limit, "qwen3-coder", "deep", 500, {})
    assert bare is not None
    assert 0 < bare.value < floor


def test_a_limit_that_cannot_be_learned_is_refused() -> None:
    with pytest.raises(KeyError):
        Paces().learned("queue", "qwen3-coder", "deep", 500, FLOORS)


def test_when_half_of_the_latest_calls_were_ended_by_the_limit_nothing_is_said_until_that_is_over() -> None:
    paces = taught((200, call()))
    for _ in range(10):
        assert total(paces) is not None
        paces.observe(call(60.0, "timeout", "total"))
    assert total(paces) is None
    assert paces.learned("idle", "qwen3-coder", "deep", 500, FLOORS) is not None
    for _ in range(30):
        paces.observe(call())
    assert total(paces) is not None


def test_a_wider_level_that_does_not_fit_is_given_up_for_the_calls_that_it_kills() -> None:
    paces = taught((300, call(first=1.0)))
    for _ in range(10):
        told = paces.learned("first_token", "qwen3-coder", "deep", 60_000, FLOORS)
        assert told is not None
        assert told.level == "qwen3-coder, deep"
        paces.observe(call(5.0, "timeout", "first_token", first=None, gap=None, tokens=0, waited=5.0, prompt=60_000))
    assert paces.learned("first_token", "qwen3-coder", "deep", 60_000, FLOORS) is None


# -- prediction -----------------------------------------------------------------------------------------------------


def test_a_call_is_predicted_to_take_what_half_of_them_take() -> None:
    paces = taught(*((1, call(elapsed=float(number))) for number in range(1, 200)))
    level = "qwen3-coder, deep, prompts up to 1,024 tokens"
    assert paces.predicted("qwen3-coder", "deep", 500) == Predicted(100.0, 2.0, 199, level)
    assert paces.predicted("mistral", "deep", 500) == Predicted(150.0, 2.0, 199, "all models, deep", pooled=True)
    assert paces.predicted("qwen3-coder", "deep", 500, samples=200) is None
    assert Paces().predicted("qwen3-coder", "deep", 500) is None


def test_calls_that_were_ended_make_the_prediction_longer() -> None:
    halves = [(100, call(elapsed=10.0)), (60, call(elapsed=20.0)), (90, call(15.0, "timeout", "total"))]
    told = taught(*halves).predicted("qwen3-coder", "deep", 500)
    assert told is not None
    assert told.seconds == 20.0


def test_where_most_are_ended_before_their_time_it_takes_at_least_the_longest() -> None:
    told = taught((100, call(elapsed=10.0)), (300, call(30.0, "left"))).predicted("qwen3-coder", "deep", 500)
    assert told is not None
    assert told.seconds == 30.0


# -- the house --------------------------------------------------------------------------------------------------------


def test_the_version_grows_when_a_table_is_told_anew() -> None:
    paces: Learner = Paces()
    paces.observe(call())
    first = paces.version
    assert first > 0
    paces.observe(call(outcome="timeout", limit="queue"))
    assert paces.version == first
    paces.fill([call()])
    assert paces.version > first


def test_observing_and_filling_teach_the_same() -> None:
    rng = random.Random(3)
    seen = [call(elapsed=rng.lognormvariate(3, 0.5)) for _ in range(400)]
    filled, observed = Paces(), Paces()
    filled.fill(seen)
    for each in seen:
        observed.observe(each)
    assert total(filled) == total(observed)


def test_names_without_end_do_not_fill_the_memory_and_those_in_use_stay() -> None:
    paces = taught((100, call()))
    for number in range(2000):
        paces.observe(call(model=f"tokens={number}"))
        if number % 50 == 0:
            paces.observe(call())
    assert len(paces._levels) <= pace.LEVELS
    told = total(paces)
    assert told is not None
    assert not told.pooled


def test_a_reader_in_another_thread_always_finds_a_whole_answer() -> None:
    paces = taught((200, call(elapsed=10.0)))
    over, wrong = threading.Event(), []

    def read() -> None:
        while not over.is_set():
            told = total(paces)
            if told is None or not 10.0 <= told.value <= 20.0:
                wrong.append(told)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1500):
        paces.observe(call(elapsed=10.0 + number % 10))
    over.set()
    for reader in readers:
        reader.join()
    assert not wrong


def test_learning_and_asking_cost_little() -> None:
    """Bounds that a busy machine keeps too; alone it is some 40 µs and 2 µs."""
    rng = random.Random(5)
    seen = [call(rng.lognormvariate(3, 0.5), *rng.choice([("finished", "")] * 49 + [("timeout", "total")]))
            for _ in range(4000)]  # fmt: skip
    paces = Paces()
    began = time.process_time()
    for each in seen:
        paces.observe(each)
    observed = (time.process_time() - began) / len(seen)
    began = time.process_time()
    for _ in range(4000):
        total(paces)
    assert observed < 1e-3
    assert (time.process_time() - began) / 4000 < 1e-4


# -- the stated rate, where nobody is ended -------------------------------------------------------------------------


def false_kills(lengths: list[float]) -> float:
    """The share of calls that the limit learned just before them would have ended, had it been obeyed."""
    paces, late, asked = Paces(), 0, 0
    for length in lengths:
        told = paces.learned("total", "qwen3-coder", "deep", 500, {})
        if told is not None:
            asked += 1
            late += length > told.value
        paces.observe(call(elapsed=length))
    return late / asked


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tail", ["lognormal", "pareto"])
def test_one_healthy_call_in_a_hundred_at_most_is_longer_than_the_limit(tail: str, seed: int) -> None:
    rng = random.Random(seed)
    lengths = [rng.lognormvariate(3, 1) if tail == "lognormal" else rng.paretovariate(1.2) for _ in range(20_000)]
    share = false_kills(lengths)
    # 20,000 draws know a share of 1 % to a fourteenth part: two of those are chance.
    assert share <= 0.01 * (1 + 2 / 14)


def test_when_the_pace_halves_the_window_adapts() -> None:
    rng = random.Random(2)
    lengths = [rng.lognormvariate(3, 0.5) * (1 if number < 2000 else 2) for number in range(8000)]
    assert false_kills(lengths[:2000]) <= 0.0125
    paces = Paces()
    paces.fill(call(elapsed=length) for length in lengths)
    told = total(paces)
    assert told is not None
    assert told.value == pytest.approx(2 * 64.3, rel=0.25)
