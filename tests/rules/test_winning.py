"""Values that can never win are told, and no others."""

from __future__ import annotations

import pytest

from tests.rules.kit import Place


@pytest.mark.parametrize(
    ("rules", "config", "lines"),
    [
        (None, "limits: {first_token: 60, idle: 45, total: 600}", []),
        (None, "limits:\n total: 600\ndefault_mode: deep", ["2: total can"]),
        (None, "limits:\n total: 600\ndefault_mode: own\nmodes: {own: {idle: 3}}", []),
        (None, "limits:\n idle: 24\ndefault_mode: deep", []),
        (None, "limits:\n idle: 25\ndefault_mode: deep", ["2: idle holds"]),
        (None, "limits:\n idle: 15\n load: 3\ndefault_mode: own\nmodes: {own: {idle: 3}}", []),
        (None, "modes:\n fast:\n  total: 30\n  idle: 45", ["4: idle holds"]),
        (None, "modes:\n fast:\n  total: 30\n  idle: 6", []),
        (None, "modes: {fast: {total: 300, idle: 45}}", []),
        (None, "modes: {fast: {idle: auto, total: auto}}\ndefault_mode: fast", []),
        (None, "models:\n m:\n  limits:\n   total: 9\ndefault_mode: fast", ["4: total can"]),
        (None, "models:\n m:\n  limits:\n   total: 9\n   load: 9", []),
        (None, "models:\n '*':\n  limits: {load: 9}\nlimits:\n load: 3", ["5: load can"]),
        (None, "models: {'a*': {limits: {load: 9}}}\nlimits: {load: 3}", []),
        (None, "step_timeout: 3\nlimits: {total: 4}", []),
        (None, "limits: {idle: 60}\nmodes: {own: {first_token: 9}}", []),
        ("default_mode: null\nlimits: {idle: 60}", "limits:\n first_token: 20", ["2: first_token holds"]),
        ("default_mode: null\nlimits: {load: 60}", "limits:\n load: 20", ["2: load can"]),
        ("budgets: {deep: 60}", "modes:\n deep: 50", ["2: total can"]),
    ],
)
def test_a_value_that_no_call_can_get_is_told(place: Place, rules: str | None, config: str, lines: list[str]) -> None:
    place.write("hangtight.yaml", config)
    if rules is not None:
        place.write(".qwencoderules", rules)
    told = []
    for remark in place.load().remarks:
        line, name, _, _, verb, *_ = remark.removeprefix("hangtight.yaml:").split()
        told.append(f"{line} {name} {verb}")
    assert told == lines


def test_a_remark_says_what_holds_instead_and_from_where(place: Place) -> None:
    place.write("hangtight.yaml", "limits: {total: 600}\ndefault_mode: deep\nmodes: {deep: 90}")
    assert place.load().remarks == (
        "hangtight.yaml:1: total = 600 can never win: in mode deep it is 90 (hangtight.yaml:3)",
    )


def test_a_variable_of_the_moment_is_no_reason_for_a_remark(place: Place) -> None:
    place.write("hangtight.yaml", "limits: {total: 600}")
    place.environment |= {"HANGTIGHT_TOTAL": "3", "HANGTIGHT_MODE": "fast"}
    assert place.load().remarks == ()


@pytest.mark.parametrize("text", ["models: {a: {fallback: [b, a]}}", "models: {a: {ttl: 3}}"])
def test_what_does_nothing_is_told(place: Place, text: str) -> None:
    place.write("hangtight.yaml", text)
    assert len(place.load().remarks) == 1


def test_models_preferred_for_a_mode_that_is_none_are_told(place: Place) -> None:
    place.write(".qwencoderules", "preferred_models: {deap: [a], deep: [b]}")
    assert len(place.load().remarks) == 1
