"""Segments that say nothing new are counted; healthy text practically never has three of them in a row."""

from __future__ import annotations

import pytest

from hangtight.intent.findings import Act, Channel, Finding, Rule
from hangtight.intent.novelty import HOLD_AT, SEGMENT, Novelty

LIST = "river stone paper window garden winter bridge letter copper morning shadow market forest silver engine"
WORDS = LIST.split()


def sentence(number: int) -> str:
    """A sentence of its own: words in an order that does not come again soon."""
    drawn = [WORDS[(number * 7 + at * at * (number % 11 + 1) + number // 3) % len(WORDS)] for at in range(9)]
    return f"The {' '.join(drawn)} near item{chr(97 + number % 26)}{chr(97 + number // 26 % 26)}. "


def found(text: str, channel: Channel = Channel.ANSWER, patience: float = 1.0) -> list[Finding]:
    novelty, findings = Novelty(), []
    for at in range(0, len(text), SEGMENT):
        novelty.feed(text[at : at + SEGMENT])
        finding = novelty.finding(min(len(text), at + SEGMENT), channel, patience)
        if finding is not None:
            findings.append(finding)
    return findings


LONG = "".join(map(sentence, range(80)))
"""Some 6,000 characters, longer than what the exact rule can see."""


def test_the_same_long_passage_again_is_held_after_three_segments() -> None:
    first = found(LONG * 3)[0]
    assert (first.act, first.rule, first.copies) == (Act.HOLD, Rule.NOVELTY, HOLD_AT)
    assert first.offset <= len(LONG) + (HOLD_AT + 2) * SEGMENT


@pytest.mark.parametrize("channel", Channel)
def test_however_long_it_lasts_it_is_a_suspicion(channel: Channel) -> None:
    assert {finding.act for finding in found(LONG * 9, channel)} == {Act.HOLD}


def test_patience_asks_for_more() -> None:
    assert not found(LONG * 2, Channel.REASONING, patience=100)


def test_a_new_name_makes_a_segment_fresh() -> None:
    pieces = [LONG[at : at + 400] for at in range(0, 6_000, 400)]
    named = "".join(
        f"{piece} And then Marg{'aeiou'[at % 5]}r{'lmnst'[at // 5]}th came. " for at, piece in enumerate(pieces)
    )
    assert found(LONG + named) == []


def test_a_bare_number_is_no_news() -> None:
    again = "".join(f"{LONG[at : at + 300]}{at} " for at in range(0, 6_000, 300))
    assert found(LONG + LONG + again)


def test_it_sees_through_case_of_segments_that_begin_elsewhere() -> None:
    for shift in (1, 100, 333, 511):
        assert found("x" * shift + " " + LONG * 3)


def test_a_fresh_segment_ends_the_count() -> None:
    novelty = Novelty()
    text = LONG * 2
    for at in range(0, len(text) - SEGMENT, SEGMENT):
        novelty.feed(text[at : at + SEGMENT])
    assert novelty.stale >= HOLD_AT
    novelty.feed("Quite another matter: photosynthesis turns sunlight into sugar. ".ljust(SEGMENT, "."))
    assert novelty.stale == 0


def test_scripts_without_spaces_are_read_by_the_character() -> None:
    healthy = "".join(
        chr(0x4E00 + (n * 7919 + n * n * 31) % 3000) + ("，" if n % 11 == 0 else "") for n in range(6_000)
    )
    assert found(healthy) == []
    assert found(healthy[:4_000] * 3)


@pytest.mark.parametrize(
    "row",
    [
        lambda n: f"{n},{n * 7919 % 104729},{n * n * 31 % 9973 / 7:.3f},name\n",
        lambda n: f'  {{"id": {n}, "price": {n * 7919 % 1000 / 100}, "left": {n * 31 % 17}}},\n',
        lambda n: f"2026-11-21 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02} INFO job {n} took {n * n * 31 % 337} ms\n",
        lambda n: f"L{n * 7919 % 611}.{n % 10},{n * 31 % 499} ",
        lambda n: f"def {WORDS[n % 15]}_{WORDS[n // 15 % 15]}_{chr(97 + n // 225)}(value):\n    return value * {n}\n\n",
    ],
    ids=["csv", "json", "log", "path", "code"],
)
def test_healthy_rows_are_never_stale(row: object) -> None:
    assert callable(row)
    assert found("".join(row(n) for n in range(2_000)), Channel.REASONING) == []


def test_a_very_long_healthy_text_does_not_fill_the_memory() -> None:
    novelty = Novelty()
    words = (
        f"{WORDS[n * 7919 % 15]}{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676 % 26)}"
        for n in range(40_000)
    )
    text = " ".join(words)
    for at in range(0, len(text), SEGMENT):
        novelty.feed(text[at : at + SEGMENT])
        assert novelty.stale == 0


def test_no_text_is_too_odd_for_it() -> None:
    for odd in ("", "a" * 5_000, "\ud800" * 2_000, "漢" * 3_000, "🙂" * 2_000, "= " * 3_000, "\0" * 1_000):
        found(odd)
