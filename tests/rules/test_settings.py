"""Settings as the rest of the house asks them."""

from __future__ import annotations

import pickle
import timeit
from collections.abc import Callable

import pytest

from hangtight.core.layers import MODES, Layer, Rank, mode_layer
from hangtight.errors import SettingsError
from hangtight.rules.journals import standing_beside
from hangtight.rules.settings import FLOORS, KEEP, MOST_REMEMBERED, NOTHING, Mode, Model, Settings
from tests.rules.kit import Place, values

STEP = Layer(Rank.STEP, "step_timeout", {"total": 300.0})
BELOW = Layer(Rank.FILE, "f", {"idle": 1.0})


def model(name: str, idle: float) -> Model:
    return Model(name, (Layer(Rank.MODEL, name, {"idle": idle}),))


def test_nothing_holds_the_modes_as_shipped_and_nothing_else() -> None:
    assert {name: NOTHING.layers(name, "") for name in MODES} == {name: (mode_layer(name),) for name in MODES}
    assert NOTHING.layers(None, "qwen3", in_step=True) == ()
    assert (NOTHING.keep, NOTHING.learning.samples, NOTHING.learning.floors) == (KEEP, 100, FLOORS)
    assert NOTHING.fallback("fast", "qwen3") == ()


def test_the_layers_come_highest_first() -> None:
    settings = Settings(step=STEP, models={"m": model("m", 2)}, below=(BELOW,))
    ranks = [layer.rank for layer in settings.layers("deep", "m", in_step=True)]
    assert ranks == [Rank.STEP, Rank.MODE, Rank.MODEL, Rank.FILE]
    assert Rank.STEP not in [layer.rank for layer in settings.layers("deep", "m", in_step=False)]


def test_a_call_without_a_mode_has_the_default_one() -> None:
    settings = Settings(default_mode="fast")
    assert settings.layers(None, "m") == settings.layers("fast", "m")
    assert values(settings)["total"].value == 30


def test_a_mode_that_nobody_knows_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean search"):
        NOTHING.layers("serach", "m")


def test_a_model_is_found_by_its_name_first_and_then_by_patterns_in_their_order() -> None:
    models = {each.name: each for each in (model("*", 3), model("qwen*", 2), model("qwen3", 1), model("mistral", 4))}
    settings = Settings(models=models)
    assert [each.name for each in settings.matching("qwen3")] == ["qwen3", "*", "qwen*"]
    assert [each.name for each in settings.matching("qwen2")] == ["*", "qwen*"]
    assert [each.name for each in settings.matching("mistral")] == ["mistral", "*"]
    assert values(settings, model="qwen3")["idle"].value == 1
    assert values(settings, model="other")["idle"].value == 3


def test_a_name_with_brackets_is_only_a_name() -> None:
    settings = Settings(models={"a[12]": model("a[12]", 1)})
    assert settings.matching("a1") == ()
    assert settings.matching("a[12]")


def test_the_fallback_of_a_model_goes_before_that_of_its_mode() -> None:
    models = {
        "a": Model("a", fallback=("x", "a", "y")),
        "b": Model("b", fallback=()),
        "c*": Model("c*", fallback=("c1", "c2")),
        "d": Model("d"),
    }
    settings = Settings(models=models, modes={"fast": Mode("fast", (), ("a", "b", "d", "e"))})
    assert settings.fallback("fast", "a") == ("x", "y")
    assert settings.fallback("fast", "b") == ()
    assert settings.fallback(None, "c1") == ("c2",)
    assert settings.fallback("fast", "d") == ("e",)
    assert settings.fallback("fast", "e") == settings.fallback("fast", "unknown") == settings.fallback(None, "d") == ()


def test_names_made_up_by_a_program_do_not_fill_the_memory() -> None:
    settings = Settings()
    for number in range(MOST_REMEMBERED * 2):
        settings.layers(None, str(number))
    assert len(settings._layers) <= MOST_REMEMBERED


def test_settings_pickle_and_cannot_be_changed(place: Place) -> None:
    place.write("hangtight.yaml", "limits: {idle: auto}\nmodels: {a*: {reasons: true}}")
    settings = pickle.loads(pickle.dumps(place.load()))
    assert settings.reasons("ab") is True
    with pytest.raises(AttributeError):
        settings.keep = 3


def test_the_path_of_a_journal_is_meant_from_where_it_is_written(place: Place) -> None:
    assert standing_beside("j.db", place.folder) == str(place.folder / "j.db")
    assert standing_beside("/j.db", place.folder) == "/j.db"
    assert not str(standing_beside("~/j.db", place.folder)).endswith("~/j.db")
    for said in (None, "off", "postgresql://localhost/j"):
        assert standing_beside(said, place.folder) == said


def test_what_was_asked_before_is_told_at_once_however_many_patterns_there_are() -> None:
    models = {f"{number}*": Model(f"{number}*", proxy="http://h") for number in range(3000)}
    settings = Settings(models=models)
    asked: list[Callable[[], object]] = [
        lambda: settings.matching("m"),
        lambda: settings.fallback(None, "m"),
        lambda: settings.proxy("m"),
        lambda: settings.reasons("m"),
    ]
    for ask in asked:
        ask()
        assert min(timeit.repeat(ask, number=1000, repeat=5)) / 1000 < 5e-6  # 1 is the goal; a machine may be busy
    for number in range(3 * MOST_REMEMBERED):
        assert settings.proxy(f"x{number}") is None
        settings.fallback(None, f"x{number}")
    for remembered in (settings._matches, settings._fallbacks, settings._facts):
        assert len(remembered) <= MOST_REMEMBERED
