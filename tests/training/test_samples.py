"""The examples that are shown while a model trains."""

from __future__ import annotations

from typing import Any

import pytest

from hangtight.errors import SettingsError
from hangtight.training.samples import Rotation, Sample, sample_of

ASKED = {"role": "user", "content": "2 + 2?"}
TOLD = {"role": "assistant", "content": "4"}


@pytest.mark.parametrize(
    "raw",
    [
        ("2 + 2?", "4"),
        ["2 + 2?", "4"],
        {"prompt": "2 + 2?", "completion": "4"},
        {"prompt": "2 + 2?", "golden": "4", "id": 7},
        {"prompt": "2 + 2?", "answer": "4"},
        Sample("2 + 2?", "4"),
    ],
)
def test_an_example_may_look_like_any_data_set(raw: Any) -> None:
    assert sample_of(raw) == Sample("2 + 2?", "4")


@pytest.mark.parametrize("raw", [{"messages": [ASKED, TOLD]}, [ASKED, TOLD], {"prompt": [ASKED], "completion": [TOLD]}])
def test_a_conversation_is_an_example_whose_last_words_are_expected(raw: Any) -> None:
    sample = sample_of(raw)
    assert (list(sample.prompt), sample.golden) == ([ASKED], "4")
    assert sample.shown == "user: 2 + 2?"


@pytest.mark.parametrize(
    "raw",
    ["text", ("one",), {"prompt": "?"}, {"messages": [ASKED]}, {"messages": []}, (1, 2), {"prompt": 1, "answer": "4"}],
)
def test_what_is_no_example_is_refused_with_what_one_looks_like(raw: Any) -> None:
    with pytest.raises(SettingsError, match="golden"):
        sample_of(raw)


@pytest.mark.parametrize("samples", [[], 7, [("one",)]])
def test_examples_that_cannot_be_meant_are_refused_before_the_training(samples: Any) -> None:
    with pytest.raises(SettingsError):
        Rotation(samples)


def test_another_example_each_time_and_then_from_the_start() -> None:
    rotation = Rotation([("a", "1"), ("b", "2"), ("c", "3")])
    assert [rotation.at(turn).prompt for turn in range(5)] == ["a", "b", "c", "a", "b"]


def test_with_a_seed_each_round_has_all_of_them_in_an_order_of_its_own_that_can_be_had_again() -> None:
    samples = [(str(number), "") for number in range(20)]
    order = [str(Rotation(samples, seed=1).at(turn).prompt) for turn in range(40)]
    assert sorted(order[:20]) == sorted(order[20:]) == sorted(prompt for prompt, _ in samples)
    assert order[:20] != order[20:]
    assert order == [Rotation(samples, seed=1).at(turn).prompt for turn in range(40)]
    assert order != [Rotation(samples, seed=2).at(turn).prompt for turn in range(40)]


def test_a_function_is_asked_for_its_turn() -> None:
    assert Rotation(lambda turn: (f"number {turn}", "")).at(3).prompt == "number 3"
