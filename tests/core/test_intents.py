"""The setting `intent`: what may be written, and where it holds unasked."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from hangtight.core.explaining import intended
from hangtight.core.intents import OFF, ON, RUNGS, Intent, meant, total_said
from hangtight.core.layers import Layer, Rank, Resolved, Situation, mode_layer
from hangtight.core.limits import AUTO
from hangtight.core.resolve import resolve
from hangtight.errors import SettingsError


@pytest.mark.parametrize(
    ("written", "intent"),
    [
        (True, Intent()),
        (False, Intent(on=False)),
        ({}, Intent()),
        ({"shorten": True}, Intent(shorten=True)),
        ({"ladder": []}, Intent(ladder=())),
        ({"ladder": ["notify"]}, Intent(ladder=("notify",))),
        ({"ladder": ("ask", "cut")}, Intent(ladder=("ask", "cut"))),
        (Intent(shorten=True, ladder=("cut",)), Intent(shorten=True, ladder=("cut",))),
    ],
)
def test_it_is_true_false_a_mapping_or_made_already(written: Any, intent: Intent) -> None:
    assert Intent.of(written) == intent
    assert hash(Intent.of(written)) == hash(intent)


@pytest.mark.parametrize(
    "written",
    [
        None, 1, 0, "on", "", [], ["notify"], {"on": True}, {"shorten": 1}, {"shorten": None}, {"ladder": None},
        {"ladder": "cut"}, {"ladder": ["shout"]}, {"ladder": ["cut", "notify"]}, {"ladder": ["cut", "cut"]},
        {"ladder": [[]]}, {"ladder": {"cut": True}}, {1: 2},
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_under_its_name(written: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        Intent.of(written)
    assert refused.value.name == "intent"
    assert refused.value.wanted


def test_one_that_is_made_by_hand_is_checked_like_one_that_was_written() -> None:
    with pytest.raises(SettingsError, match="notify, ask, fallback, cut"):
        Intent(ladder=("cut", "ask"))
    with pytest.raises(SettingsError, match="shorten"):
        Intent(shorten=1)  # type: ignore[arg-type]
    assert hash(Intent(ladder=["cut"])) == hash(Intent(ladder=("cut",)))  # type: ignore[arg-type]


def test_it_pickles_and_cannot_be_changed() -> None:
    intent = Intent(shorten=True, ladder=("notify",))
    assert pickle.loads(pickle.dumps(intent)) == intent
    with pytest.raises(FrozenInstanceError):
        intent.shorten = False  # type: ignore[misc]


def total(*layers: Layer, remaining: float | None = None) -> Resolved:
    return resolve(layers, Situation(remaining=remaining))


DEEP = mode_layer("deep")
FILE = Layer(Rank.FILE, "hangtight.yaml:1", {"total": 300.0})
CALL = Layer(Rank.CALL, "the call", {"total": 100.0})
STEP = Layer(Rank.STEP, "step_timeout", {"total": 100.0})


@pytest.mark.parametrize(
    ("layers", "on"),
    [
        ((DEEP,), True),
        ((DEEP, FILE), True),
        ((FILE,), False),
        ((), False),
        ((CALL, DEEP), False),
        ((STEP, DEEP), False),
        ((Layer(Rank.CALL, "header", {"total": 5.0}, cuts=True), DEEP), True),
        ((Layer(Rank.MODE, "mode deep", {"total": AUTO}), FILE), True),
        ((Layer(Rank.MODE, "mode deep", {"idle": 5.0}), FILE), False),
    ],
)
def test_unasked_it_is_on_where_a_mode_sets_the_total(layers: tuple[Layer, ...], on: bool) -> None:
    why = "mode deep sets the total" if on else "no mode sets the total"
    assert meant(None, layers, "deep") == (ON if on else OFF, why)


def test_what_somebody_said_holds_with_a_mode_and_without() -> None:
    for said in ((OFF, "hangtight.yaml:3"), (Intent(shorten=True), "HANGTIGHT_INTENT")):
        assert meant(said, [DEEP], "deep") == said
        assert meant(said, [], None) == said


@pytest.mark.parametrize(
    ("intent", "resolved", "told"),
    [
        (OFF, total(DEEP), "intent: off (here)"),
        (ON, total(DEEP), "intent: on (here), extends total 120 -> 240"),
        (ON, total(DEEP, remaining=150), "intent: on (here), extends total 120 -> 150"),
        (ON, total(DEEP, remaining=45), "intent: on (here), extends nothing"),
        (ON, total(CALL, DEEP), "intent: on (here), extends nothing"),
        (ON, total(Layer(Rank.MODE, "m", {"total": None})), "intent: on (here), extends nothing"),
        (ON, total(Layer(Rank.MODE, "m", {"total": 9.0, "extend_to": None})),
         "intent: on (here), extends total 9 -> none"),
        (Intent(shorten=True, ladder=("notify", "cut")), total(DEEP),
         "intent: on (here), extends total 120 -> 240, halves what remains where the model is stuck, "
         "a loop: notify, then cut"),
        (Intent(ladder=()), total(DEEP), "intent: on (here), extends total 120 -> 240, a loop: nothing is done"),
    ],
)  # fmt: skip
def test_it_is_told_in_a_line(intent: Intent, resolved: Resolved, told: str) -> None:
    assert intended((intent, "here"), resolved) == told


def test_the_rungs_stand_in_the_order_in_which_they_are_tried() -> None:
    assert RUNGS == ("notify", "ask", "fallback", "cut")
    assert (ON.on, ON.shorten, ON.ladder) == (True, False, RUNGS)


def test_the_total_of_the_highest_place_is_the_one_that_is_said() -> None:
    found = total_said([FILE, Layer(Rank.MODE, "mode own", {"total": 7.0}, sources={"total": "hangtight.yaml:9"})])
    assert (found.value, found.rank, found.source) == (7.0, Rank.MODE, "hangtight.yaml:9")
    assert total_said([]).rank is Rank.DEFAULT
