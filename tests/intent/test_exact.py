"""The exact-period tracker, held against a search that looks at every period."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangtight.intent.exact import LETTERS, LONGEST, SIGNS, UNBROKEN, WINDOW, Exact, Run, primitive, thresholds

STEP = Exact.STEP
WORDS = "The model says this. And then it says that; so on, and so forth\n"
ALPHABETS = {
    "words": WORDS,
    "two letters": "ab",
    "code": "if (x) { return f[x]; }\n\t",
    "chinese": "我们正在讨论这个问题，然后继续。",
    "emoji": "\U0001f600\U0001f601\U0001f602 ok",
    "digits": "0123456789 ",
}
quick = settings(max_examples=40, deadline=None, derandomize=True)


def made(alphabet: str, length: int, seed: int) -> str:
    return "".join(random.Random(f"{alphabet} {length} {seed}").choices(alphabet, k=length))


def steps(text: str) -> Iterator[tuple[int, Exact]]:
    """The tracker after each piece."""
    exact = Exact()
    for at in range(0, len(text), STEP):
        exact.feed(text[at : at + STEP])
        yield min(at + STEP, len(text)), exact


def first(text: str) -> tuple[int, Run] | None:
    """How much had been read at the first verdict, and the verdict."""
    return next(((read, run) for read, exact in steps(text) if (run := exact.verdict())), None)


def start_of_run(text: str, period: int) -> int:
    """The smallest index from which the text has this period."""
    low, high = 0, len(text) - period
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if text[middle:-period] == text[middle + period :] else (middle + 1, high)
    return low


def enough(length: int, period: int, unit: str) -> bool:
    return any(length // period >= least and length >= long for least, long in thresholds(unit))


def is_true(run: Run, text: str) -> bool:
    """The run stands at the end of the text as it is described, begins where it should, and is evidence."""
    stands, copied = text[run.start : -run.period], text[run.start + run.period :]
    lost = run.start - start_of_run(text, run.period)
    first_of_it = lost == 0 if run.period <= 2_700 else 0 <= lost < run.period
    exact = stands == copied and first_of_it and primitive(run.unit) == run.period
    blank = text[run.start :].isspace() and len(text) - run.start >= 300
    proved = exact and enough(len(text) - run.start, run.period, run.unit)
    return run.end == len(text) and (proved or blank) and (blank or text.startswith(run.unit, run.start))


def long_due(text: str) -> int | None:
    """A period that the end of this text has so long that it must be known, found by a look at every period."""
    known: list[tuple[int, int]] = []
    for period in range(1, min(LONGEST, len(text) // 3) + 1):
        multiple = any(period % shorter == 0 and length >= period + shorter for shorter, length in known)
        if multiple or text[-240:] != text[-240 - period : -period]:
            continue
        length = len(text) - start_of_run(text, period)
        known.append((period, length))
        if enough(length - max(period, 600), period, text[-period:]):
            return period
    return None


def check(text: str, every: int = 6) -> None:
    """No verdict without evidence, and the first no later than one copy or 600 characters after it.

    After the first one nothing is late: a loop inside a longer loop was seen in its first copy.
    """
    seen = False
    for count, (read, exact) in enumerate(steps(text)):
        run = exact.verdict()
        seen = seen or run is not None
        assert run is None or is_true(run, text[:read])
        assert seen or count % every or long_due(text[:read]) is None, f"no verdict at {read}"


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("period", [1, 2, 3, 7, 60, 79, 80, 81, 100, 127, 128, 129, 200, 255, 256, 257, 383, 512])
def test_a_loop_is_found_with_its_period_and_its_start(alphabet: str, period: int) -> None:
    unit = made(ALPHABETS[alphabet], period, 1)
    period = primitive(unit)
    text = made(WORDS, 700, period) + unit * (6_000 // len(unit) + 2)
    found = first(text)
    assert found is not None
    read, run = found
    assert (run.period, run.start) == (period, start_of_run(text, period))
    assert run.unit == text[run.start : run.start + period]
    least, long = thresholds(unit)[-1]
    assert read <= run.start + max(least * period, long) + max(period, 600)


@pytest.mark.parametrize("period", [1, 5, 64, 97, 150, 300, 700, 1_023, 1_025, 1_500, 2_049, 2_400, 3_001, 4_096])
@pytest.mark.parametrize("before", [0, 1, 333, 5_000, 9_000])
def test_a_unit_with_letters_is_found_soon_after_three_copies(period: int, before: int) -> None:
    unit = "x" + made(WORDS, period - 1, 2)
    text = made(WORDS, before, 3) + unit * (900 // period + 5)
    found = first(text)
    assert found is not None
    read, run = found
    assert (run.period, run.start) == (period, start_of_run(text, period))
    assert read <= run.start + max(3 * period, 600) + 2 * STEP
    assert run.copies >= 3


@given(
    before=st.integers(0, 9_000),
    period=st.integers(1, LONGEST),
    alphabet=st.sampled_from(sorted(ALPHABETS)),
    seed=st.integers(0, 3),
)
@quick
def test_any_loop_is_found_in_time(before: int, period: int, alphabet: str, seed: int) -> None:
    unit = made(ALPHABETS[alphabet], period, seed)
    period = primitive(unit)
    least, long = thresholds(unit)[0]
    text = made(WORDS, before, seed) + unit * ((max(least * period, long) + max(period, 600)) // len(unit) + 2)
    found = first(text)
    assert found is not None
    read, run = found
    assert run.period == period
    assert start_of_run(text, period) <= run.start <= start_of_run(text, period) + period
    assert read <= start_of_run(text, period) + max(least * period, long) + max(period, 600)


parts = st.lists(
    st.tuples(st.sampled_from(["a", "ab", "b", "xy ", "12 ", "word ", "\n", "我", "words, "]), st.integers(1, 400)),
    min_size=1,
    max_size=4,
)


@given(parts=parts, copies=st.integers(1, 12), before=st.integers(0, 700))
@quick
def test_units_made_of_shorter_loops_are_judged_as_a_search_through_every_period_does(
    parts: list[tuple[str, int]], copies: int, before: int
) -> None:
    unit = "".join(part * times for part, times in parts)[:3_000]
    check(made(WORDS, before, 4) + (unit * copies)[:9_000] + made(WORDS, 300, 5))


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=6))
@quick
def test_loops_that_begin_in_loops_are_judged_so_too(loops: list[tuple[int, int, int]]) -> None:
    text = "".join(made("ab", period, seed) * times for period, times, seed in loops)
    check((text * 3)[:9_000])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(100, 300)), min_size=1, max_size=40))
@quick
def test_runs_as_long_as_what_is_looked_for_do_not_hide_the_loop_they_are_in(runs: list[tuple[str, int]]) -> None:
    check(("".join(letter * times for letter, times in runs) * 4)[:12_000])


@pytest.mark.parametrize("word", [(0, 1), (0, 1, 0), (0, 0, 1), (0, 1, 1, 0, 1)])
def test_text_that_resembles_itself_everywhere_is_judged_so_too(word: tuple[int, ...]) -> None:
    units = (made(WORDS, 300, 6), made(WORDS, 290, 6) + "!")
    text = "".join(units[part] for part in word * 12)
    check(text[:14_000])


@pytest.mark.parametrize("period", [64, 128, 200, 256, 300, 512, 700, 1_024, 2_000])
def test_copies_that_differ_in_one_character_are_no_loop(period: int) -> None:
    unit, changes = made(WORDS, period, 7), made("0123456789", 20_000 // period, 8)
    text = "".join(unit[: period // 2] + change + unit[period // 2 + 1 :] for change in changes)
    for read, exact in steps(text):
        run = exact.verdict()
        assert run is None or is_true(run, text[:read])


@pytest.mark.parametrize("period", [64, 150, 256, 300, 400, 512, 700, 1_024, 1_500, 2_400, 4_000])
def test_a_loop_is_found_in_time_though_copies_that_differ_stand_before_it(period: int) -> None:
    unit = made(WORDS, period, 7)
    places = [copy * 97 % period for copy in range(9_000 // period)]
    before = "".join(unit[:at] + chr(256 + at) + unit[at + 1 :] for at in places)
    text = before + "." + unit * (2_500 // period + 4)
    assert first(before) is None
    found = first(text)
    assert found is not None
    read, run = found
    assert is_true(run, text[:read])
    assert read <= start_of_run(text, period) + max(3 * period, 600) + max(period, 600)


def test_a_short_loop_is_found_in_time_though_it_was_interrupted_again_and_again() -> None:
    check("ab" * 35 + "Qb" + "ab" * 278 + "1b" + "ab" * 318 + "aa" + "ab" * 399 + "aQ" + "ab" * 1_366, every=1)


def test_two_copies_are_a_run_and_no_evidence() -> None:
    text = made(WORDS, 2_000, 9)
    *_, (_, exact) = steps(text * 2)
    assert exact.run == Run(2_000, 0, 4_000, text)
    assert exact.run.copies == 2
    assert exact.verdict() is None


def test_a_run_is_over_when_something_else_comes() -> None:
    text = "again and again " * 100
    *_, (_, exact) = steps(text[: 12 * STEP])
    assert exact.verdict() is not None
    exact.feed(made(WORDS, STEP, 10))
    assert exact.run is None
    assert exact.verdict() is None


def test_a_short_last_piece_counts() -> None:
    assert first(made(WORDS, 200, 11) * 3) is not None
    assert first(made(WORDS, 200, 11) * 3 + "?") is None


def test_an_empty_piece_changes_nothing() -> None:
    *_, (_, exact) = steps("again and again " * 100)
    run = exact.run
    exact.feed("")
    assert exact.run == run is not None


def test_how_much_is_evidence_depends_on_what_the_unit_holds() -> None:
    assert thresholds("a 1") == thresholds("我") == LETTERS
    assert thresholds("| 1 | 2 |\n") == SIGNS
    assert thresholds("-=") == thresholds("\U0001f600") == UNBROKEN


@pytest.mark.parametrize(("unit", "long"), [("-", 4_096), ("0 ", 1_200), (" ", 300), ("na", 480), ("\n\t", 300)])
def test_a_verdict_comes_at_its_length_and_not_before(unit: str, long: int) -> None:
    found = first(made(WORDS, 1_000, 12) + "." + unit * (5_000 // len(unit)))
    assert found is not None
    read, run = found
    assert long <= read - run.start < long + 3 * STEP
    assert (run.period, run.start) == (len(unit), 1_001)


def test_white_space_needs_no_period() -> None:
    text = "the end." + made(" \n\t", 600, 13)
    found = first(text)
    assert found is not None
    read, run = found
    assert (run.start, run.period, run.unit) == (8, 1, text[read - 1])
    assert read - 8 < 300 + STEP
    assert first("a line" + made(" \n\t", 299, 14) + "another" + made(" ", 290, 15) + ".") is None


def test_patience_multiplies_the_thresholds() -> None:
    last, exact = 0, Exact()
    for last in range(STEP, 10_000, STEP):
        exact.feed(("and so on " * 40)[last % 10 : last % 10 + STEP])
        if exact.verdict(3.0) is not None:
            break
    assert 3 * 480 <= last < 3 * 600 + STEP


def test_what_is_kept_does_not_grow() -> None:
    exact = Exact()
    for _ in range(200):
        exact.feed(made(WORDS, STEP, 16))
        kept = [getattr(exact, name) for name in Exact.__slots__]
        assert sum(len(value) for value in kept if isinstance(value, str)) <= WINDOW
