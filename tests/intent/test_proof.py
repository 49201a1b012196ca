"""The proof in seconds: healthy text of the standard library is left alone, and every loop is caught in time.

The whole of it, over more text and every period, is `python -m benchmarks.intent`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from benchmarks.intent import baselines, greedy, made
from benchmarks.intent.brute import Passage, is_loop, is_primitive, needed, passages, runs
from benchmarks.intent.corpus import KINDS, Text, programs, some
from benchmarks.intent.judge import catch, heard, judged
from benchmarks.intent.loops import ALPHABETS, LATE, Loop, drifting, nearly, noisy, plain, without_letters
from hangtight.intent.findings import Act, Channel

EACH = 80_000
"""Characters of each kind."""
NAMED = {kind.name: kind for kind in KINDS}
EVERYWHERE = (
    "standard library",
    "its tests",
    "logs, generated",
    "CSV of characters",
    "JSON of syntax trees",
    "Markdown tables",
    "CJK, generated",
    "disassembly",
    "diffs",
    "numbers",
    "emoji",
)
"""What any Python can make or has."""
PERIODS = (1, 2, 3, 7, 25, 64, 79, 80, 81, 100, 127, 128, 129, 199, 200, 201, 256, 511, 600, 777, 1_024, 1_500, 2_400)


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_healthy_text_is_never_cut_where_there_is_no_loop(kind: str) -> None:
    texts = some(NAMED[kind], EACH)
    if not texts:
        pytest.skip("this Python came without its tests")
    for name, text in texts:
        verdict = judged(text)
        assert not verdict.outside, (name, verdict.outside)
        assert not verdict.wrong, (name, verdict.wrong)
        assert not verdict.missed, (name, verdict.missed)


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_a_loop_of_any_period_is_cut_in_time_and_described_as_it_is(alphabet: str) -> None:
    for loop in plain(PERIODS, [alphabet]):
        found = catch(loop)
        assert found.caught, (loop.name, found)
        assert found.period, loop.name
        assert found.start, loop.name
        assert found.kept, loop.name


def test_a_unit_without_letters_needs_more_and_with_one_character_too_few_is_left_alone() -> None:
    for loop in without_letters():
        if loop.due is None:
            assert not judged(loop.text).cuts, loop.name
        else:
            assert catch(loop).caught, loop.name


def test_what_is_nearly_a_loop_is_left_alone() -> None:
    near = [*nearly((1, 20, 90, 250, 700)), *noisy((5, 40, 160, 900), every=1), *drifting((10, 60, 200))]
    for loop in near:
        assert not judged(loop.text).cuts, loop.name


def test_where_copies_differ_now_and_then_the_brute_force_says_what_is_owed() -> None:
    owed = 0
    for loop in noisy((50, 150, 400, 1_000), every=5):
        verdict = judged(loop.text)
        owed += verdict.owed
        assert not verdict.outside + verdict.wrong + verdict.missed, loop.name
    assert owed


def test_a_drifting_counter_is_held() -> None:
    for loop in drifting((40, 60, 90, 120)):
        assert any(finding.act is Act.HOLD for finding in heard(loop.text)), loop.name


def test_a_model_that_takes_the_likeliest_character_circles_and_is_caught() -> None:
    trained_on = "".join(text for _, text in some(NAMED["standard library"], 20_000))
    model = greedy.Model(trained_on[:15_000], order=6)
    for beginning in greedy.BEGINNINGS[:3]:
        verdict = judged(model.write(beginning, 6_000))
        assert verdict.owed
        assert not verdict.outside + verdict.wrong + verdict.missed, beginning


@pytest.mark.parametrize("channel", [Channel.ANSWER, Channel.REASONING, Channel.TOOL])
def test_how_the_text_was_cut_into_pieces_does_not_matter(channel: Channel) -> None:
    texts = [text[:8_000] for name in ("standard library", "emoji", "numbers") for _, text in some(NAMED[name], 1)]
    texts += [loop.text for loop in (*plain((3, 130), ["words", "CJK"]), *drifting((60,)))]
    for text in texts:
        whole = heard(text, channel, len(text))
        for piece in (1, 5, 127, 128, 129, 1_000):
            assert heard(text, channel, piece) == whole


def test_another_process_finds_the_same() -> None:
    script = (
        "from benchmarks.intent.judge import heard\n"
        "from benchmarks.intent.loops import drifting, plain\n"
        "print([heard(loop.text) for loop in (*plain((7, 300), ['words', 'emoji']), *drifting((60,)))])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


# -- the proof itself is held against something slower ------------------------------------------------------------


def slow_runs(text: str) -> list[Passage]:
    found = set()
    for period in range(1, len(text) // 3 + 1):
        at = period
        while at < len(text):
            end = at
            while end < len(text) and text[end] == text[end - period]:
                end += 1
            start = at - period
            if end - start >= max(480, 3 * period) and is_primitive(text[start : start + period]):
                found.add(Passage(start, end, period))
            at = end + 1
    return sorted(found)


@pytest.mark.parametrize("seed", range(4))
def test_the_brute_force_finds_what_the_definition_says(seed: int) -> None:
    chance = random.Random(seed)
    letters, text = "ab" if seed % 2 else "abcdefgh -", ""
    while len(text) < 1_200:
        if chance.random() < 0.5:
            text += "".join(chance.choices(letters, k=chance.randint(1, 200)))
        unit = "".join(chance.choices(letters, k=chance.choice((1, 2, 3, 10, 50, 150, 210))))
        text += (unit * 900)[: chance.randint(1, 900)]
    assert runs(text) == slow_runs(text)


@pytest.mark.parametrize(
    ("unit", "least"),
    [
        ("a", 480),
        ("ab " * 33 + "c", 600),
        ("x" + "1" * 299, 900),
        ("- ", 1_200),
        ("-", 4_096),
        ("1" * 700 + "2", 5_608),
        ("\n", 300),
    ],
)
def test_the_brute_force_goes_by_the_thresholds(unit: str, least: int) -> None:
    assert needed(unit) == least
    text = "<" + (unit * least)[:least] + ">"
    assert any(is_loop(text, loop.start, loop.end, loop.period or 1) for loop in passages(text))
    assert not passages(text[:-2] + ">")


@pytest.mark.parametrize("rule", baselines.RULES)
def test_the_rules_of_others_catch_what_they_were_made_for(rule: str) -> None:
    assert baselines.RULES[rule]("I will try that again. " * 150) is not None
    assert baselines.RULES[rule](next(made.chinese())[1][:20_000]) is None


def test_the_corpus_is_the_same_each_time_and_no_text_is_there_twice() -> None:
    one, other = some(NAMED["standard library"], EACH), some(NAMED["standard library"], EACH)
    assert one == other
    assert len({text for _, text in one}) == len(one)
    assert isinstance(one[0], Text)
    assert programs()


def test_loops_are_what_they_say() -> None:
    for loop in plain((1, 5, 60, 333, 1_999)):
        known = Passage(loop.start, len(loop.text), loop.period)
        assert known in passages(loop.text), loop.name
        assert isinstance(loop, Loop)
        assert loop.due is not None
        assert len(loop.text) >= loop.due + max(loop.period, LATE)
