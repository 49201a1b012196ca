"""Variables of the process and of `.env`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hangtight.core.limits import AUTO
from hangtight.rules.environment import parse_dotenv
from hangtight.rules.keys import KEYS
from tests.rules.kit import Place, values


@pytest.mark.parametrize(
    ("key", "text", "name", "value"),
    [
        ("HANGTIGHT_FIRST_TOKEN", "90", "first_token", 90),
        ("HANGTIGHT_IDLE", " 7.5 ", "idle", 7.5),
        ("HANGTIGHT_TOTAL", "none", "total", None),
        ("HANGTIGHT_TOTAL", "OFF", "total", None),
        ("HANGTIGHT_HEARTBEAT", "5", "heartbeat", 5),
        ("HANGTIGHT_HEARTBEAT", "0", "heartbeat", None),
        ("HANGTIGHT_HEARTBEAT", "off", "heartbeat", None),
        ("OLLAMA_HEARTBEAT_INTERVAL", "15", "heartbeat", 15),
        ("OLLAMA_HEARTBEAT_INTERVAL", "0", "heartbeat", None),
    ],
)
def test_a_variable_takes_effect_and_says_its_name(
    place: Place, key: str, text: str, name: str, value: float | None
) -> None:
    place.environment[key] = text
    found = values(place.load(search=False))[name]
    assert (found.value, found.source) == (value, key)
    assert found.change.format(name=name, value=90) == f"{key}=90"


def test_auto_may_be_said_for_what_can_be_learned(place: Place) -> None:
    place.environment |= {"HANGTIGHT_IDLE": "auto", "HANGTIGHT_TOTAL": "Auto"}
    assert [dict(layer.values) for layer in place.load().below] == [{"idle": AUTO}, {"total": AUTO}]


@pytest.mark.parametrize("text", ["x", "0", "-1", "nan", "inf", "true", "1e999", "60s", "1 2", "9" * 500])
@pytest.mark.parametrize("key", ["HANGTIGHT_IDLE", "HANGTIGHT_STEP_TIMEOUT"])
def test_a_text_that_is_no_limit_is_refused(place: Place, key: str, text: str) -> None:
    place.environment[key] = text
    (problem,) = place.problems()
    assert (problem.file, problem.line, problem.key, problem.found) == ("the environment", 0, key, text)


@pytest.mark.parametrize("text", ["auto", "-1", "x"])
@pytest.mark.parametrize("key", ["HANGTIGHT_HEARTBEAT", "OLLAMA_HEARTBEAT_INTERVAL"])
def test_a_text_that_is_no_heartbeat_is_refused(place: Place, key: str, text: str) -> None:
    place.environment[key] = text
    assert [problem.key for problem in place.problems()] == [key]


@pytest.mark.parametrize("key", KEYS)
def test_an_empty_variable_is_not_set(place: Place, key: str) -> None:
    place.environment[key] = " "
    settings = place.load()
    assert (settings.below, settings.default_mode, settings.step, settings.journal) == ((), None, None, None)


def test_what_was_meant_for_us_stands_above_what_we_understand(place: Place) -> None:
    place.environment |= {"OLLAMA_HEARTBEAT_INTERVAL": "1", "HANGTIGHT_HEARTBEAT": "2"}
    assert values(place.load())["heartbeat"].value == 2


def test_both_numbers_of_the_environment_hold_as_they_stand(place: Place) -> None:
    place.environment |= {"HANGTIGHT_IDLE": "60", "HANGTIGHT_FIRST_TOKEN": "20"}
    assert values(place.load())["first_token"].value == 20


def test_the_mode_of_the_environment_must_be_one(place: Place) -> None:
    place.environment["HANGTIGHT_MODE"] = "deap"
    (problem,) = place.problems()
    assert problem.key == "HANGTIGHT_MODE"
    assert "did you mean deep" in problem.wanted
    place.write("hangtight.yaml", "modes: {deap: 3}")
    assert place.load().default_mode == "deap"


def test_the_mode_of_a_file_can_be_switched_off(place: Place) -> None:
    place.write("hangtight.yaml", "default_mode: fast")
    place.environment["HANGTIGHT_MODE"] = "none"
    assert place.load().default_mode is None


def test_a_variable_that_nobody_knows_is_told_with_the_nearest(place: Place) -> None:
    place.environment |= {"HANGTIGHT_IDEL": "3", "HANGTIGHT_XYZ": "3", "OLLAMA_HOST": "x"}
    remarks = place.load().remarks
    assert len(remarks) == 2
    assert "did you mean HANGTIGHT_IDLE?" in remarks[0]


DOTENV = """\
# HANGTIGHT_TOTAL=1
export HANGTIGHT_IDLE = 33   # half a minute
HANGTIGHT_MODE="fast" # quick
HANGTIGHT_JOURNAL='a # b'
OLLAMA_HEARTBEAT_INTERVAL=1
OLLAMA_HEARTBEAT_INTERVAL=2
OPENAI_API_KEY=secret
HANGTIGHT_TOTAL=
HANGTIGHT_CONFIG="a\\"b"
not an assignment
HANGTIGHT_FIRST_TOKEN=#5
"""


def test_a_dotenv_is_read_as_people_write_it() -> None:
    told = {each.key: (each.text, each.line) for each in parse_dotenv(DOTENV, ".env")}
    assert told == {
        "HANGTIGHT_IDLE": ("33", 2),
        "HANGTIGHT_MODE": ("fast", 3),
        "HANGTIGHT_JOURNAL": ("a # b", 4),
        "OLLAMA_HEARTBEAT_INTERVAL": ("2", 6),
        "HANGTIGHT_CONFIG": ('a"b', 9),
    }


def test_the_process_stands_above_the_dotenv(place: Place) -> None:
    place.write(".env", "HANGTIGHT_IDLE=1\nHANGTIGHT_TOTAL=2\nHANGTIGHT_STEP_TIMEOUT=3\nHANGTIGHT_JOURNAL=a")
    place.environment |= {"HANGTIGHT_IDLE": "4", "HANGTIGHT_STEP_TIMEOUT": "none", "HANGTIGHT_JOURNAL": "off"}
    settings = place.load()
    found = values(settings)
    assert (found["idle"].value, found["total"].value, found["total"].source) == (4, 2, ".env:2")
    assert found["total"].change.format(value=5) == "HANGTIGHT_TOTAL=5  in .env"
    assert (settings.step, settings.journal) == (None, "off")
    assert settings.places["journal"] == "HANGTIGHT_JOURNAL"


def test_a_bad_value_in_a_dotenv_has_its_line_also_where_it_is_overruled(place: Place) -> None:
    place.write(".env", "\nHANGTIGHT_IDLE=x")
    place.environment["HANGTIGHT_IDLE"] = "3"
    (problem,) = place.problems()
    assert str(problem).startswith(".env:2: HANGTIGHT_IDLE = ")


def test_a_dotenv_that_is_no_text_says_nothing(place: Place) -> None:
    (place.folder / ".env").mkdir()
    assert place.load().below == ()
    (place.folder / ".env").rmdir()
    place.write(".env", b"\xff\xfe\x00HANGTIGHT_TOTAL=1\nHANGTIGHT_IDLE=3\n")
    assert values(place.load())["idle"].value == 3


@pytest.mark.skipif(sys.platform == "win32", reason="names of variables are upper case there")
def test_names_in_lower_case_are_not_ours(place: Place) -> None:
    place.environment["hangtight_idle"] = "3"
    assert place.load().below == ()


def test_a_dotenv_that_may_not_be_read_says_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    place.write(".env", "HANGTIGHT_IDLE=3")
    monkeypatch.setattr(Path, "open", refused)
    assert place.load().below == ()
