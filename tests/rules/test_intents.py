"""`intent` and `extend_to` in the files and in the environment: who wins, where it stands, what is refused."""

from __future__ import annotations

import json
from itertools import product

import pytest

from hangtight.core.intents import OFF, ON, RUNGS, Intent
from hangtight.errors import SettingsError
from hangtight.rules.schema import json_schema
from tests.rules.kit import Place, values

PLACES = ("{}", "modes: {{deep: {}}}", "models: {{a: {}}}")


def somewhere(said: str, place: str) -> str:
    return place.format(f"intent: {said}" if place == "{}" else f"{{intent: {said}}}")


@pytest.mark.parametrize("file", ["hangtight.yaml", ".qwencoderules"])
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("true", ON),
        ("false", OFF),
        ("False", OFF),
        ("{}", ON),
        ("{shorten: true}", Intent(shorten=True)),
        ("{ladder: []}", Intent(ladder=())),
        ("{ladder: [notify, cut], shorten: false}", Intent(ladder=("notify", "cut"))),
    ],
)
def test_it_may_be_true_false_or_keys_and_values_and_knows_its_line(
    place: Place, file: str, where: str, text: str, intent: Intent
) -> None:
    place.write(file, f"# first\n{somewhere(text, where)}")
    settings = place.load()
    assert settings.intent("deep", "a") == (intent, f"{file}:2")
    assert settings.remarks == ()


@pytest.mark.parametrize("text", ["", "null"])
@pytest.mark.parametrize("where", PLACES)
def test_a_section_with_every_line_commented_out_says_nothing(place: Place, where: str, text: str) -> None:
    place.write("hangtight.yaml", somewhere(text, where))
    assert place.load().intent("deep", "a") is None


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize(
    ("text", "key"),
    [
        *((text, "intent") for text in ("1", "0", "on", "off", "yes", "'true'", "[]", "[notify]", "3.5")),
        *((f"{{shorten: {text}}}", "intent.shorten") for text in ("1", "on", "null", "{}")),
        *(
            (f"{{ladder: {text}}}", "intent.ladder")
            for text in ("cut", "null", "[shout]", "[cut, ask]", "[1]", "{a: 1}")
        ),
        *((f"{{ladder: {text}}}", "intent.ladder") for text in ("[cut, cut]", "[[cut]]", "true")),
    ],
)
def test_what_cannot_be_meant_is_refused_with_file_line_and_key(place: Place, where: str, text: str, key: str) -> None:
    place.write("hangtight.yaml", f"# first\n{somewhere(text, where)}")
    (problem,) = place.problems()
    assert (problem.file, problem.line) == ("hangtight.yaml", 2)
    assert problem.key.endswith(key)
    assert "None" not in problem.wanted
    assert "True" not in problem.wanted


def test_a_word_that_is_no_rung_has_its_own_line(place: Place) -> None:
    place.write("hangtight.yaml", "intent:\n  shorten: true\n  ladder: [notfy]\n")
    (problem,) = place.problems()
    assert str(problem) == (
        'hangtight.yaml:3: intent.ladder = ["notfy"] cannot be used: it must be a list of notify, ask, fallback, cut: '
        "some of them, in this order"
    )


@pytest.mark.parametrize("where", PLACES)
def test_a_key_that_is_not_known_is_told_with_the_nearest(place: Place, where: str) -> None:
    place.write("hangtight.yaml", somewhere("{ladders: [cut]}", where))
    (problem,) = place.problems()
    assert problem.key.endswith("intent.ladders")
    assert problem.wanted.endswith("did you mean ladder?")


# -- who wins ---------------------------------------------------------------------------------------------------------


def test_a_mode_wins_over_a_model_and_that_over_all_and_places_are_not_merged(place: Place) -> None:
    place.write(
        "hangtight.yaml",
        "intent: {shorten: true}\n"
        "modes:\n deep: {intent: {ladder: [notify]}}\n"
        "models:\n a: {intent: false}\n 'b*': {intent: true}\n 'bc': {reasons: true}\n",
    )
    settings = place.load()
    assert settings.intent("deep", "a") == (Intent(ladder=("notify",)), "hangtight.yaml:3")
    assert settings.intent("fast", "a") == settings.intent(None, "a") == (OFF, "hangtight.yaml:5")
    assert settings.intent(None, "bc") == (ON, "hangtight.yaml:6")
    assert settings.intent("fast", "c") == (Intent(shorten=True), "hangtight.yaml:1")
    with pytest.raises(SettingsError, match="did you mean deep"):
        settings.intent("deap", "a")


def test_a_call_without_a_mode_has_the_intent_of_the_default_one(place: Place) -> None:
    place.write("hangtight.yaml", "default_mode: deep\nmodes: {deep: {intent: false}}")
    assert place.load().intent(None, "m") == (OFF, "hangtight.yaml:2")


def test_where_nobody_says_anything_nothing_is_said(place: Place) -> None:
    place.write("hangtight.yaml", "limits: {total: 60}\nmodes: {deep: {total: 60}}\nmodels: {a: {reasons: true}}")
    assert [place.load().intent(mode, "a") for mode in (None, "deep", "fast")] == [None, None, None]


@pytest.mark.parametrize("where", PLACES)
def test_the_rules_of_a_project_stand_above_the_settings_file(place: Place, where: str) -> None:
    place.write("hangtight.yaml", somewhere("true", where))
    place.write(".qwencoderules", somewhere("false", where))
    assert place.load().intent("deep", "a") == (OFF, ".qwencoderules:1")


def test_the_environment_stands_above_the_files_and_below_modes_and_models(place: Place) -> None:
    place.write("hangtight.yaml", "intent: true\nmodes: {deep: {intent: true}}\nmodels: {a: {intent: true}}")
    place.write(".env", "HANGTIGHT_INTENT=off")
    assert place.load().intent(None, "m") == (OFF, ".env:1")
    place.environment["HANGTIGHT_INTENT"] = "on"
    settings = place.load()
    assert settings.intent(None, "m") == (ON, "HANGTIGHT_INTENT")
    assert settings.intent("deep", "m") == (ON, "hangtight.yaml:2")
    assert settings.intent("fast", "a") == (ON, "hangtight.yaml:3")
    assert settings.places["intent"] == "HANGTIGHT_INTENT"


@pytest.mark.parametrize(
    ("words", "intent"), [(("1", " On ", "TRUE", "yes"), ON), (("0", "off", "False", "no", "none"), OFF)]
)
def test_all_words_for_yes_and_no_are_understood_in_a_variable(
    place: Place, words: tuple[str, ...], intent: Intent
) -> None:
    for word in words:
        place.environment["HANGTIGHT_INTENT"] = word
        assert place.load(search=False).intent(None, "m") == (intent, "HANGTIGHT_INTENT")


@pytest.mark.parametrize("word", ["2", "maybe", "notify", "{}", "null"])
def test_a_word_that_is_neither_is_refused(place: Place, word: str) -> None:
    place.environment["HANGTIGHT_INTENT"] = word
    (problem,) = place.problems()
    assert (problem.key, problem.found, problem.wanted) == ("HANGTIGHT_INTENT", word, "on or off")


# -- extend_to --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "config", "mode", "told"),
    [
        (None, "", "deep", (240, "mode deep")),
        (None, "modes: {deep: 200}", "deep", (400, "2 x total (hangtight.yaml:1)")),
        (None, "modes: {deep: {total: 200}}", "deep", (400, "2 x total (hangtight.yaml:1)")),
        (None, "modes: {own: 7}", "own", (14, "2 x total (hangtight.yaml:1)")),
        (None, "modes: {own: null}\nlimits: {extend_to: 700}", "own", (700, "hangtight.yaml:2")),
        (None, "modes: {own: {total: null}}", "own", (None, "2 x total (hangtight.yaml:1)")),
        (None, "modes: {deep: {total: 200, extend_to: 210}}", "deep", (210, "hangtight.yaml:1")),
        (None, "modes: {deep: {total: 200, extend_to: null}}", "deep", (None, "hangtight.yaml:1")),
        (None, "modes: {deep: {total: 200, extend_to: 200}}", "deep", (200, "hangtight.yaml:1")),
        (None, "modes: {deep: {extend_to: 130}}", "deep", (130, "hangtight.yaml:1")),
        (None, "modes: {deep: {models: [a]}}", "deep", (240, "mode deep")),
        (None, "modes: {deep: {total: auto}}", "deep", (240, "mode deep")),
        (None, "models: {m: {limits: {total: 9, extend_to: 10}}}", None, (10, "hangtight.yaml:1")),
        (None, "limits: {extend_to: null}", None, (None, "hangtight.yaml:1")),
        ("budgets: {deep: 100}", "", "deep", (200, "2 x total (.qwencoderules:1)")),
        ("budgets: {deep: 100}", "modes: {deep: {total: 50, extend_to: 60}}", "deep",
         (200, "2 x total (.qwencoderules:1)")),
        ("budgets: {deep: 100}\nmodes: {deep: {extend_to: 130}}", "", "deep", (130, ".qwencoderules:2")),
        ("modes: {deep: {extend_to: 130}}", "modes: {deep: 100}", "deep", (130, ".qwencoderules:1")),
    ],
)  # fmt: skip
def test_a_new_total_of_a_mode_may_be_moved_to_twice_as_long_unless_its_file_says_otherwise(
    place: Place, rules: str | None, config: str, mode: str | None, told: tuple[float | None, str]
) -> None:
    place.write("hangtight.yaml", config)
    if rules is not None:
        place.write(".qwencoderules", rules)
    found = values(place.load(), mode)["extend_to"]
    assert (found.value, found.source) == told


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("hangtight.yaml", "modes: {deep: {total: 50}}", "modes: {deep: {extend_to: 300}}  in hangtight.yaml"),
        ("hangtight.yaml", "modes: {deep: {total: 50, extend_to: 60}}",
         "modes: {deep: {extend_to: 300}}  in hangtight.yaml"),
        (".qwencoderules", "budgets: {deep: 50}", "modes: {deep: {extend_to: 300}}  in .qwencoderules"),
        ("hangtight.yaml", "limits: {extend_to: 60}", "limits: {extend_to: 300}  in hangtight.yaml"),
    ],
)  # fmt: skip
def test_the_line_to_change_is_true_when_it_is_typed(place: Place, file: str, text: str, line: str) -> None:
    place.write(file, text)
    mode = None if "limits" in text else "deep"
    change = values(place.load(), mode)["extend_to"].change.format(name="extend_to", value=300)
    assert change == line
    place.write(file, change.partition("  in ")[0])
    assert values(place.load(), mode)["extend_to"].value == 300


@pytest.mark.parametrize("text", ["0", "-1", "true", "auto", "60s", "2e9"])
def test_an_extension_that_is_no_length_is_refused(place: Place, text: str) -> None:
    for around, key in (
        ("limits", "limits"),
        ("modes: {deep", "modes.deep"),
        ("models: {a: {limits", "models.a.limits"),
    ):
        line = f"{around}: {{extend_to: {text}}}" + "}" * around.count("{")
        place.write("hangtight.yaml", line)
        (problem,) = place.problems()
        assert (problem.line, problem.key) == (1, f"{key}.extend_to")
        assert "null" in problem.wanted


@pytest.mark.parametrize(
    ("text", "remarks"),
    [
        ("limits: {total: 60, extend_to: 60}", []),
        ("limits: {total: 60, extend_to: 90}", []),
        ("limits: {total: 60, extend_to: null}", []),
        ("limits: {total: 60, extend_to: 50}", ["50 extends nothing: total is 60 (hangtight.yaml:1)"]),
        ("modes: {deep: {extend_to: 100}}", ["100 extends nothing: total is 120 (mode deep)"]),
        ("limits: {extend_to: 700}\ndefault_mode: deep", ["700 can never win: in mode deep it is 240 (mode deep)"]),
        ("modes: {deep: 100, own: {total: 5}}", []),
    ],
)  # fmt: skip
def test_an_extension_that_does_nothing_is_told(place: Place, text: str, remarks: list[str]) -> None:
    place.write("hangtight.yaml", text)
    assert list(place.load().remarks) == [f"hangtight.yaml:1: extend_to = {remark}" for remark in remarks]


# -- the schema -------------------------------------------------------------------------------------------------------

LADDERS = [[rung for rung, taken in zip(RUNGS, which, strict=True) if taken] for which in product((0, 1), repeat=4)]


@pytest.mark.parametrize(
    ("said", "fine"),
    [
        (True, True),
        (False, True),
        (None, True),
        ({}, True),
        ({"shorten": True}, True),
        ({"shorten": None}, False),
        ({"shorten": 1}, False),
        (1, False),
        ("on", False),
        ([], False),
        ({"on": True}, False),
        *(({"ladder": ladder}, True) for ladder in LADDERS),
        ({"ladder": None}, False),
        ({"ladder": "cut"}, False),
        ({"ladder": ["cut", "ask"]}, False),
        ({"ladder": ["ask", "ask"]}, False),
        ({"ladder": ["shout"]}, False),
    ],
)
def test_editors_and_the_reader_are_of_one_opinion(place: Place, said: object, fine: bool) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    for data in ({"intent": said}, {"modes": {"deep": {"intent": said}}}, {"models": {"m": {"intent": said}}}):
        assert validator.is_valid(data) == fine
        place.write("hangtight.yaml", json.dumps(data))
        assert (place.problems() == ()) == fine
