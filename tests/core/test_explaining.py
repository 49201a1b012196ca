"""Why each limit is what it is: who won, who was overruled, and what comes on top."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.core.explaining import Explained, Said, allowances, explained, lines_of, number
from hangtight.core.layers import Layer, Rank, Situation, mode_layer
from hangtight.core.limits import AUTO, NAMES
from hangtight.core.pace import Learned
from hangtight.core.resolve import resolve

FILE = Layer(Rank.FILE, "hangtight.yaml", {"idle": 60.0, "total": 700.0}, sources={"idle": "hangtight.yaml:2"})
MODEL = Layer(Rank.MODEL, "models.qwen3", {"idle": 90.0})
LEARNED = {"first_token": Learned(12.5, 1204, "qwen3, deep", False)}


def told(*layers: Layer, learned: dict[str, Learned] | None = None, **known: Any) -> dict[str, Explained]:
    resolved = resolve(layers, Situation(**known), learned or {})
    return {each.name: each for each in explained(layers, resolved, learned or {})}


def test_the_highest_place_wins_and_the_others_are_named_in_their_order() -> None:
    idle = told(FILE, MODEL)["idle"]
    assert (idle.value, idle.source) == (90, "models.qwen3")
    assert idle.overruled == (Said(60, "hangtight.yaml:2"), Said(45, "default"))


def test_a_default_that_stands_overruled_nobody() -> None:
    assert told()["idle"] == Explained("idle", 45, "default", ())
    assert [each.name for each in explained((), resolve(()))] == list(NAMES)


def test_what_follows_another_limit_is_not_what_its_own_place_says() -> None:
    first = told(Layer(Rank.CALL, "the call", {"idle": 60}))["first_token"]
    assert (first.value, first.source) == (60, "follows idle=60 (the call)")
    assert first.overruled == (Said(45, "default"),)


def test_a_share_of_the_total_says_so_and_overrules_what_was_written() -> None:
    idle = told(mode_layer("fast"), FILE)["idle"]
    assert (idle.value, idle.source, idle.share) == (6, "mode fast", 0.2)
    assert idle.overruled[0] == Said(60, "hangtight.yaml:2")
    assert told(mode_layer("deep"))["idle"].share == 0  # the number of modes, not a share
    assert told(Layer(Rank.CALL, "the call", {"total": None}))["idle"].share == 0


def test_what_a_budget_cuts_was_overruled_by_it() -> None:
    total = told(FILE, remaining=20.0)["total"]
    assert (total.value, total.source) == (20, "the budget: 20s remain")
    assert total.overruled == (Said(700, "hangtight.yaml"), Said(600, "default"))


def test_a_header_that_only_cuts_is_no_place_that_can_be_overruled() -> None:
    cut = Layer(Rank.CALL, "a header", {"idle": 9.0}, cuts=True)
    idle = told(cut, FILE)["idle"]
    assert (idle.value, idle.source) == (9, "a header")
    assert idle.overruled == (Said(60, "hangtight.yaml:2"), Said(45, "default"))


AUTOMATIC = Layer(Rank.FILE, "hangtight.yaml:1", {"first_token": AUTO})


def test_a_limit_that_is_learned_says_from_what() -> None:
    first = told(AUTOMATIC, learned=LEARNED)["first_token"]
    assert (first.value, first.auto, first.learned) == (12.5, True, LEARNED["first_token"])
    assert first.source == "auto at hangtight.yaml:1, learned from 1,204 calls (qwen3, deep)"
    assert first.overruled == (Said(45, "default"),)


def test_auto_without_history_is_overruled_by_the_next_place() -> None:
    below = Layer(Rank.FILE, "other.yaml:1", {"first_token": 70})
    first = told(AUTOMATIC, below)["first_token"]
    assert (first.value, first.source, first.auto, first.learned) == (70, "other.yaml:1", True, None)
    assert first.overruled == (Said(AUTO, "hangtight.yaml:1"), Said(45, "default"))


def test_auto_below_a_number_is_not_auto() -> None:
    first = told(Layer(Rank.CALL, "the call", {"first_token": 5}), AUTOMATIC, learned=LEARNED)["first_token"]
    assert (first.value, first.auto, first.learned) == (5, False, None)
    assert first.overruled == (Said(AUTO, "hangtight.yaml:1"), Said(45, "default"))


@pytest.mark.parametrize(("value", "text"), [(AUTO, "auto"), (None, "none"), (45.0, "45"), (2592000.0, "2592000")])
def test_a_number_is_written_as_people_write_it(value: Any, text: str) -> None:
    assert number(value) == text
    assert str(Said(value, "here")) == f"{text} (here)"


ALLOWED: list[tuple[list[Layer], dict[str, Any], list[str]]] = [
    ([], {}, ["first_token gets 60 s more", "total starts with the first piece, at most 60 s late"]),
    ([], {"warm": True}, []),
    ([], {"warm": False}, ["total starts when the model is loaded"]),
    ([], {"warm": True, "prompt_tokens": 2000}, ["first_token gets 40 s more to read a prompt of 2,000 tokens"]),
    ([], {"warm": True, "reasons": True}, ["thinking (300) takes the place of first_token"]),
    ([Layer(Rank.FILE, "f", {"total": None, "first_token": None})], {}, ["first_token gets 60 s more"]),
    ([Layer(Rank.CALL, "c", {"total": 90, "first_token": 9})], {"prompt_tokens": 2000}, []),
    ([], {"warm": True, "remaining": 40.0}, ["nothing outlives the budget: 40 s remain"]),
]


@pytest.mark.parametrize(("layers", "known", "lines"), ALLOWED)
def test_what_is_on_top_is_told_in_sentences(layers: list[Layer], known: dict[str, Any], lines: list[str]) -> None:
    situation = Situation(**known)
    said = allowances(resolve(layers, situation), situation)
    assert len(said) == len(lines)
    assert all(sentence.startswith(line) for sentence, line in zip(said, lines, strict=True))


SETTING = st.one_of(st.none(), st.floats(1, 1000), st.just(AUTO))
LAYER = st.builds(
    lambda rank, values: Layer(rank, f"place of {rank.name}", values),
    st.sampled_from(list(Rank)[1:]),
    st.dictionaries(st.sampled_from(["first_token", "idle", "total"]), SETTING),
)


@given(st.lists(LAYER, max_size=6), st.sampled_from([None, 5.0, 5000.0]), st.booleans())
def test_each_place_is_told_once_as_the_winner_or_as_overruled(
    layers: list[Layer], remaining: float | None, knows: bool
) -> None:
    learned = LEARNED if knows else {}
    for name, each in told(*layers, learned=learned, remaining=remaining).items():
        places = sum(name in layer.values for layer in layers) + 1
        assert len(each.overruled) in (places, places - 1)
        if len(each.overruled) == places:  # nobody said what holds
            assert Said(each.value, each.source) not in each.overruled or each.auto


def test_as_lines_each_limit_has_its_source_and_below_it_what_it_overruled() -> None:
    limits = told(mode_layer("fast"), FILE)
    shown = list(lines_of([limits["idle"], limits["total"], told()["first_token"]]))
    assert [line.split() for line in shown] == [
        ["limit", "value", "from"],
        ["idle", "6", "20", "%", "of", "total", "(mode", "fast)"],
        ["over", "60", "(hangtight.yaml:2),", "45", "(default)"],
        ["total", "30", "mode", "fast"],
        ["over", "700", "(hangtight.yaml),", "600", "(default)"],
        ["first_token", "45", "default"],
    ]
    assert len({line.index(word) for line, word in zip(shown[:2], ("from", "20 %"), strict=True)}) == 1
