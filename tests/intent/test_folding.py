"""Text that repeats but for numbers that count is suspicious; real numbers in the same places are not."""

from __future__ import annotations

import pytest

from hangtight.intent.findings import Act, Channel, Finding, Rule
from hangtight.intent.folding import Folding

SEGMENT = 512


def found(text: str, patience: float = 1.0) -> list[Finding]:
    folding, findings = Folding(), []
    for at in range(0, len(text), SEGMENT):
        folding.feed(text[at : at + SEGMENT])
        finding = folding.finding(min(len(text), at + SEGMENT), Channel.ANSWER, patience)
        if finding is not None:
            findings.append(finding)
    return findings


def drift(copies: int) -> str:
    return "".join(f"Step {n} : reading line {n} of {7 * n + 40} . " for n in range(1, copies + 1))


PROSE = "The reader opens the file and looks for what it was asked to find. Nothing of it is counted here. " * 3


def test_a_sentence_that_only_counts_is_held_within_some_copies() -> None:
    first = found(drift(60))[0]
    assert (first.act, first.rule) == (Act.HOLD, Rule.COUNTER)
    assert first.offset <= 2 * SEGMENT
    assert first.period in range(32, 37)
    assert first.start <= 5


@pytest.mark.parametrize("copies", [40, 41, 100, 399])
def test_the_copies_are_counted_exactly_also_beyond_what_is_remembered(copies: int) -> None:
    text = PROSE + drift(copies) + "x"
    folding = Folding()
    for at in range(0, len(text), SEGMENT):
        folding.feed(text[at : at + SEGMENT])
    assert folding.run is not None
    assert folding.run.copies == copies
    assert abs(folding.run.start - len(PROSE)) <= 3


def test_it_is_over_when_the_text_goes_on_otherwise() -> None:
    text = drift(60)
    folding = Folding()
    for at in range(0, len(text), SEGMENT):
        folding.feed(text[at : at + SEGMENT])
    assert folding.run is not None
    folding.feed(PROSE)
    assert folding.run is None
    assert not found(text + PROSE * 10)[-1].offset > len(text) + SEGMENT


def test_it_is_over_when_a_slot_no_longer_steps() -> None:
    noisy = "".join(f"Step {n} : reading line {n} of {n * n % 97} . " for n in range(1, 200))
    assert found(noisy) == []


def test_a_number_that_is_cut_by_a_segment_is_read_whole() -> None:
    for shift in range(40):
        text = "x" * shift + " " + "".join(f"Now row {n} of 900100 is read again. " for n in range(1000, 1100))
        assert found(text), shift
        assert found(text)[-1].copies in range(97, 101)


def test_quoted_names_that_count_are_slots_too() -> None:
    assert found("".join(f'I open "file_{n}.py" and close it again. ' for n in range(60)))


def test_quoted_names_that_are_names_are_not() -> None:
    names = [f"{first}{second}" for first in ("table", "chair", "river", "stone") for second in "abcdefghijklmno"]
    assert not found("".join(f'I open "{name}_{n}.py" and close it again. ' for n, name in enumerate(names)))


def test_a_long_copy_with_many_numbers_is_found() -> None:
    row = "| " + " | ".join("{n}" for _ in range(16)) + " | end of the row |\n"
    assert found("".join(row.replace("{n}", str(n)) for n in range(60)))


@pytest.mark.parametrize(
    "row",
    [
        lambda n: f"{n},{n * 7919 % 104729},{n * n * 31 % 9973 / 7:.3f},name\n",
        lambda n: f'  {{"id": {n}, "price": {n * 7919 % 1000 / 100}, "left": {n * 31 % 17}}},\n',
        lambda n: f"2026-11-21 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02} INFO job {n} took {n * n * 31 % 337} ms\n",
        lambda n: f"| {n} | city {n * 7919 % 977} | {n * n * 13 % 991} km |\n",
        lambda n: f"L{n * 7919 % 611}.{n % 10},{n * 31 % 499} ",
    ],
    ids=["csv", "json", "log", "table", "path"],
)
def test_healthy_rows_with_real_values_are_left_alone(row: object) -> None:
    assert callable(row)
    assert found("".join(row(n) for n in range(400))) == []


def test_counting_without_a_word_needs_more_of_it() -> None:
    numbers = ", ".join(map(str, range(10_000, 10_600)))
    first = found(numbers)[0]
    assert first.offset > 2_000


def test_what_repeats_exactly_is_left_to_the_rule_for_it() -> None:
    assert found("Step 1 : reading line 1 of 47 . " * 100) == []


def test_patience_asks_for_more_copies() -> None:
    assert found(drift(30))
    assert not found(drift(30), patience=10)


def test_no_text_is_too_odd_for_it() -> None:
    for odd in (
        "",
        "1" * 5_000,
        "\0001\0002" * 600,
        "\ud8001 " * 900,
        "漢字1、" * 900,
        "١٢٣ " * 900,
        ("1" * 400 + " ") * 9,
    ):
        found(odd)


def test_characters_are_counted_not_bytes() -> None:
    text = "".join(f"第{n}步：读取第{n}行的内容，然后继续下一步。" for n in range(100, 300))
    last = found(text)[-1]
    assert last.start <= 2
    assert last.period == len("第100步：读取第100行的内容，然后继续下一步。")
