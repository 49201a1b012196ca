"""Variables of the process and of `.env`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hangtight.core.limits import AUTO
from hangtight.rules.dotenv import parse_dotenv
from hangtight.rules.errors import SettingsErrors
from hangtight.rules.keys import KEYS
from hangtight.rules.loading import check
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


@pytest.mark.parametrize(
    "text", ["x", "0", "-1", "nan", "inf", "true", "1e999", "60x", "s", "1e9h", "2e9", "1 2", "9" * 500]
)
@pytest.mark.parametrize("key", ["HANGTIGHT_IDLE", "HANGTIGHT_STEP_TIMEOUT"])
def test_a_text_that_is_no_limit_is_refused(place: Place, key: str, text: str) -> None:
    place.environment[key] = text
    (problem,) = place.problems()
    assert (problem.file, problem.line, problem.key, problem.found) == ("the environment", 0, key, text)


@pytest.mark.parametrize("text", ["auto", "-1", "x"])
def test_a_text_that_is_no_heartbeat_is_refused(place: Place, text: str) -> None:
    place.environment["HANGTIGHT_HEARTBEAT"] = text
    assert [problem.key for problem in place.problems()] == ["HANGTIGHT_HEARTBEAT"]


@pytest.mark.parametrize("text", ["auto", "-1", "x", "30s"])
def test_what_others_wrote_for_themselves_is_left_alone_and_told(place: Place, text: str) -> None:
    place.environment["OLLAMA_HEARTBEAT_INTERVAL"] = text
    settings = place.load()
    assert settings.below == ()
    (remark,) = settings.remarks
    assert remark.startswith(f'the environment: OLLAMA_HEARTBEAT_INTERVAL = "{text}" is of no use')


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20m", 1200), (" 1H ", 3600), ("0.5m", 30)])
def test_a_length_may_have_a_unit_as_in_the_options_of_a_command(place: Place, text: str, seconds: float) -> None:
    place.environment |= dict.fromkeys(["HANGTIGHT_IDLE", "HANGTIGHT_HEARTBEAT", "HANGTIGHT_STEP_TIMEOUT"], text)
    settings = place.load()
    assert [dict(layer.values) for layer in settings.below] == [{"idle": seconds}, {"heartbeat": seconds}]
    assert settings.step is not None
    assert dict(settings.step.values) == {"total": seconds}


@pytest.mark.parametrize("word", ["off", " OFF ", "none", "No", "false", "0"])
def test_all_words_for_no_journal_are_understood(place: Place, word: str) -> None:
    place.environment["HANGTIGHT_JOURNAL"] = word
    assert place.load().journal == "off"


@pytest.mark.parametrize("address", ["http://x", "sqlite://", "/", ".", "://"])
def test_an_address_that_is_no_journal_is_told_and_ends_nothing(place: Place, address: str) -> None:
    place.environment["HANGTIGHT_JOURNAL"] = address
    (remark,) = place.load().remarks
    assert "HANGTIGHT_JOURNAL" in remark


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
    assert "did you mean" not in remarks[1]


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


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        ("HANGTIGHT_IDLE=3".encode("utf-16"), "UTF-8"),
        ("HANGTIGHT_IDLE=3".encode("utf-16-le"), "UTF-8"),
        (b"A=1\n" * 70_000, "too long"),
    ],
    ids=["missing", "utf-16", "without its mark", "long"],
)
def test_a_dotenv_that_was_named_has_to_be_readable(place: Place, content: bytes | None, told: str) -> None:
    if content is not None:
        place.write(".env", content)
    with pytest.raises(SettingsErrors, match=told):
        check(Path(".env"), folder=place.folder, home=place.home)


def test_a_folder_that_was_named_is_no_dotenv(place: Place) -> None:
    (place.folder / ".env").mkdir()
    with pytest.raises(SettingsErrors, match="no plain file"):
        check(Path(".env"), folder=place.folder, home=place.home)
    assert place.load().below == ()


def test_a_line_that_only_looks_like_one_of_ours_is_told(place: Place) -> None:
    lines = ["HANGTIGHT_IDLE: 3", "# HANGTIGHT_IDLE 3", "A=$HANGTIGHT_IDLE", "hangtight_total=9", "HANGTIGHT_TOTAL=9"]
    place.write(".env", "\n".join(lines))
    settings = check(Path(".env"), folder=place.folder, home=place.home)
    assert [dict(layer.values) for layer in settings.below] == [{"total": 9}]
    assert settings.remarks == (
        ".env:1: HANGTIGHT_IDLE is written here, but not set: it needs HANGTIGHT_IDLE=value",
        ".env:4: hangtight_total is written here, but not set: it needs HANGTIGHT_TOTAL=value",
    )
