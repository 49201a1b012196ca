"""The words that people see of a training run, to the byte."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest

from hangtight.training.blocks import (
    FullEval,
    Spoken,
    block,
    bounded,
    exceeded,
    fast_line,
    length,
    looped,
    many_timeouts,
    not_begun,
    went_silent,
)

SHOWN = FullEval(
    step=200,
    prompt="[example]",
    golden="[expected answer]",
    golden_tokens=57,
    spoken=Spoken(text="[generated answer]", tokens=61, match=True),
    loss=0.7942,
    val_loss=0.8123,
)

FULL = """\
🔍 FULL EVAL - Step 200
📝 PROMPT: [example]
✅ GOLDEN (57 tokens): [expected answer]
🤖 MODEL (61 tokens): [generated answer]
✅ MATCH
📉 LOSS ON THIS EXAMPLE: 0.7942
📊 Loss Comparison: Train=0.7942 | Val=0.8123 | Gap=+0.0181 ✅"""

STOPPED = """\
🔍 FULL EVAL - Step 2500
📝 PROMPT: [example]
✅ GOLDEN (57 tokens): [expected answer]
⚠️  TIMEOUT: Model generation exceeded 60s at step 2500
   Skipping model output for this example
🤖 MODEL (37 tokens, stopped): partial text
📉 LOSS ON THIS EXAMPLE: 0.7942"""


def test_a_full_evaluation_is_the_block_of_the_contract() -> None:
    assert block(SHOWN) == FULL


def test_a_stopped_answer_has_its_warning_before_it_and_is_neither_a_match_nor_none() -> None:
    spoken = Spoken(text="partial text", tokens=37, stopped=exceeded(60, 2500))
    assert block(replace(SHOWN, step=2500, spoken=spoken, val_loss=None)) == STOPPED


def test_an_error_stands_where_the_answer_would_and_the_loss_is_shown() -> None:
    lines = block(replace(SHOWN, step=2500, spoken=None, error="out of memory")).splitlines()
    assert lines[3] == "⚠️  Generation error at step 2500: out of memory"
    assert lines[4] == "📉 LOSS ON THIS EXAMPLE: 0.7942"


def test_another_answer_is_no_match() -> None:
    spoken = Spoken(text="something else", tokens=2)
    assert block(replace(SHOWN, spoken=spoken)).splitlines()[4] == "❌ NO MATCH"


def test_without_a_validation_sample_nothing_is_compared() -> None:
    assert "Loss Comparison" not in block(replace(SHOWN, val_loss=None))


@pytest.mark.parametrize(("val_loss", "sign"), [(0.8, "✅"), (1.4, "⚠️"), (0.1, "✅"), (nan, "⚠️")])
def test_a_wide_gap_has_a_warning_sign_and_one_that_is_no_number_too(val_loss: float, sign: str) -> None:
    assert block(replace(SHOWN, val_loss=val_loss)).endswith(f" {sign}")


def test_how_wide_a_gap_may_be_can_be_set() -> None:
    assert block(SHOWN, widest_gap=0.01).endswith("Gap=+0.0181 ⚠️")


def test_a_loss_that_could_not_be_had_is_said_to_be_unknown() -> None:
    shown = block(replace(SHOWN, loss=None))
    assert shown.splitlines()[-1] == "📉 LOSS ON THIS EXAMPLE: n/a"


def test_a_prompt_of_many_lines_is_shown_whole_and_a_very_long_one_by_its_two_ends() -> None:
    assert "📝 PROMPT: one\ntwo\nthree\n✅" in block(replace(SHOWN, prompt="one\ntwo\nthree"))
    shown = block(replace(SHOWN, prompt="begin" + "." * 1000 + "end?!"), longest_prompt=10)
    assert "📝 PROMPT: begin ... (1000 characters left out) ... end?!\n" in shown
    assert bounded("abc", 3) == "abc"


def test_the_fast_line_says_where_the_run_is() -> None:
    line = fast_line(210, 2600, loss=0.7942, pace=3.1, elapsed=125, eta=720)
    assert line == "Step 210/2600 | loss 0.7942 | 3.1 it/s | 2m 5s elapsed | eta 12m"


def test_the_fast_line_leaves_out_what_is_not_known() -> None:
    assert fast_line(10, 0, loss=None, pace=None, elapsed=3, eta=None) == "Step 10 | 3s elapsed"


def test_a_slow_step_is_told_in_seconds() -> None:
    assert " | 4.0 s/it | " in fast_line(10, 20, loss=nan, pace=0.25, elapsed=40, eta=40)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (59.6, "1m"), (125, "2m 5s"), (3600, "1h"), (3660, "1h 1m"), (90_000, "25h")],
)
def test_a_length_is_read_at_a_glance(seconds: float, said: str) -> None:
    assert length(seconds) == said


@pytest.mark.parametrize("line", [exceeded(0.5, 3), went_silent(10, 3), looped(3), not_begun(3), many_timeouts(2, 10)])
def test_each_line_about_a_broken_limit_is_found_by_grep(line: str) -> None:
    assert "timeout" in line.lower()


def test_a_limit_of_half_a_second_is_not_rounded_away() -> None:
    assert exceeded(0.25, 3) == "⚠️  TIMEOUT: Model generation exceeded 0.25s at step 3"


def test_too_many_timeouts_are_told_with_what_to_look_at_and_that_training_completes() -> None:
    said = many_timeouts(3, 10)
    assert "3 of 10 evaluations timed out (30 %; 1 to 5 % is normal)" in said
    assert "The model or the data need a look. Training will still complete." in said
