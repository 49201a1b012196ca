"""Which files are read, and which are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangtight.rules.finding import Where, candidates, find
from tests.rules.kit import Place, values


def idle(place: Place, config: str | None = None) -> float | None:
    return values(place.load(config))["idle"].value


def limits(number: int) -> str:
    return f"limits: {{idle: {number}}}"


def test_the_file_that_was_named_goes_before_the_variable_the_folder_and_the_home(place: Place) -> None:
    place.write("../.config/hangtight/hangtight.yaml", limits(1))
    assert idle(place) == 1
    place.write("hangtight.yaml", limits(2))
    assert idle(place) == 2
    place.write(".env", "HANGTIGHT_CONFIG=dotenv.yaml")
    place.write("dotenv.yaml", limits(3))
    assert idle(place) == 3
    place.write("variable.yaml", limits(4))
    place.environment["HANGTIGHT_CONFIG"] = "variable.yaml"
    assert idle(place) == 4
    place.write("named.yaml", limits(5))
    assert idle(place, "named.yaml") == 5
    assert place.load("named.yaml").files == ("named.yaml",)


def test_files_are_shown_as_people_know_them(place: Place, tmp_path: Path) -> None:
    place.write("../.config/hangtight/hangtight.yaml", limits(1))
    assert place.load().files == (str(Path("~/.config/hangtight/hangtight.yaml")),)
    place.write("deep/er.yaml", limits(1))
    assert place.load("deep/er.yaml").files == (str(Path("deep/er.yaml")),)
    (tmp_path / "far.yaml").write_text(limits(1))
    assert place.load(str(tmp_path / "far.yaml")).files == (str(tmp_path / "far.yaml"),)
    place.write("../tilde.yaml", limits(9))
    assert idle(place, "~/tilde.yaml") == 9


@pytest.mark.parametrize(
    ("platform", "environment", "where"),
    [
        ("linux", {}, ".config/hangtight/hangtight.yaml"),
        ("linux", {"XDG_CONFIG_HOME": "relative"}, ".config/hangtight/hangtight.yaml"),
        ("darwin", {}, "Library/Application Support/hangtight/hangtight.yaml"),
        ("win32", {}, "AppData/Roaming/hangtight/hangtight.yaml"),
    ],
)
def test_the_folder_of_the_user_is_that_of_the_platform(
    place: Place, platform: str, environment: dict[str, str], where: str
) -> None:
    found = list(Where(place.folder, place.home, environment, platform).configs())
    assert found[:2] == [place.folder / "hangtight.yaml", place.home / where]


def test_the_folder_of_the_user_may_be_moved(place: Place, tmp_path: Path) -> None:
    for platform, key in (("linux", "XDG_CONFIG_HOME"), ("darwin", "XDG_CONFIG_HOME"), ("win32", "APPDATA")):
        found = list(Where(place.folder, place.home, {key: str(tmp_path)}, platform).configs())
        assert found[-1] == tmp_path / "hangtight" / "hangtight.yaml"


@pytest.mark.parametrize("named", ["missing.yaml", "", "\0"])
def test_a_file_that_was_named_and_is_not_there_is_told(place: Place, named: str) -> None:
    problems = place.problems(named)
    assert bool(problems) == bool(named)


def test_a_broken_link_in_the_home_is_not_there(place: Place) -> None:
    (place.folder / "hangtight.yaml").symlink_to(place.folder / "nowhere")
    assert place.load().files == ()


def test_rules_are_found_upwards_to_the_home_and_no_farther(place: Place) -> None:
    inner = place.folder / "a" / "b"
    inner.mkdir(parents=True)
    where = Where(inner, place.home, {})
    (place.home.parent / ".qwencoderules").write_text("heartbeat: 1")
    assert find(where, None) == ()
    (place.home / ".qwencoderules").write_text("heartbeat: 2")
    assert [each.path.parent for each in find(where, None)] == [place.home]
    (place.folder / ".qwencoderules").write_text("heartbeat: 3")
    assert [each.path.parent for each in find(where, None)] == [place.folder]


def test_outside_of_the_home_rules_are_found_to_the_root(place: Place, tmp_path: Path) -> None:
    where = Where(tmp_path, place.home, {})
    assert Path(tmp_path.anchor) / ".qwencoderules" in list(where.rules())


def test_the_rules_go_before_the_config(place: Place) -> None:
    place.write("hangtight.yaml", limits(1))
    place.write("../.qwencoderules", "default_mode: null\n" + limits(2))
    assert idle(place) == 2


def test_without_a_search_only_what_was_named_is_read(place: Place) -> None:
    place.write("hangtight.yaml", limits(1))
    place.write(".qwencoderules", "default_mode: null\n")
    place.write(".env", "HANGTIGHT_TOTAL=7")
    place.write("named.yaml", limits(3))
    assert place.load(search=False).files == ()
    assert place.load(search=False).below == ()
    named = place.load("named.yaml", search=False)
    assert named.files == (".qwencoderules", "named.yaml")
    assert values(named)["total"].value == 7
    place.environment["HANGTIGHT_CONFIG"] = "named.yaml"
    assert place.load(search=False).files == named.files


def test_rules_may_be_named_as_the_config(place: Place) -> None:
    place.write("sub/.qwencoderules", "budgets: {fast: 9}\nunknown: 3")
    assert values(place.load("sub/.qwencoderules"), "fast")["total"].value == 9
    place.write(".qwencoderules", "budgets: {fast: 8}")
    assert place.load(".qwencoderules").files == (".qwencoderules",)


def test_all_places_are_watched_there_or_not(place: Place) -> None:
    watched = candidates(Where(place.folder, place.home, {}), None)
    for name in ("hangtight.yaml", ".env", ".qwencoderules", "../.qwencoderules"):
        assert (place.folder / name).resolve() in [path.resolve() for path in watched]
    assert place.folder / "x.yaml" in candidates(Where(place.folder, place.home, {}), "x.yaml")
