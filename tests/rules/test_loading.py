"""All settings at once, and all that is wrong with them at once."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from hangtight.errors import HangtightError, SettingsError
from hangtight.rules.errors import Problem, SettingsErrors
from hangtight.rules.loading import check, load
from tests.rules.kit import Place, values

BROKEN = {
    "hangtight.yaml": "limits: {idle: -1, totl: 3}\nmodes: {fast: x}\ndefault_mode: nobody",
    ".qwencoderules": "budgets: {deep: 0}\npriorities: {plan: soon}",
    ".env": "HANGTIGHT_TOTAL=long",
}


def test_all_that_is_wrong_in_all_places_is_told_at_once(place: Place) -> None:
    for name, text in BROKEN.items():
        place.write(name, text)
    place.environment["HANGTIGHT_IDLE"] = "short"
    told = [(each.file, each.line, each.key) for each in place.problems()]
    assert sorted(told) == [
        (".env", 1, "HANGTIGHT_TOTAL"),
        (".qwencoderules", 1, "budgets.deep"),
        (".qwencoderules", 2, "priorities.plan"),
        ("hangtight.yaml", 1, "limits.idle"),
        ("hangtight.yaml", 1, "limits.totl"),
        ("hangtight.yaml", 2, "modes.fast"),
        ("hangtight.yaml", 3, "default_mode"),
        ("the environment", 0, "HANGTIGHT_IDLE"),
    ]


def test_a_file_that_cannot_be_read_does_not_hide_what_is_wrong_in_another(place: Place) -> None:
    place.write("hangtight.yaml", "a: [")
    place.write(".qwencoderules", "budgets: {deep: 0}")
    assert sorted(each.file for each in place.problems()) == [".qwencoderules", "hangtight.yaml"]


def test_what_is_wrong_pickles_and_is_an_error_of_ours() -> None:
    error = SettingsErrors([Problem("f", 3, "limits.idle", -1, "more"), Problem("g", 0, "", "is a folder", "a file")])
    again = pickle.loads(pickle.dumps(error))
    assert issubclass(SettingsErrors, SettingsError)
    assert issubclass(SettingsErrors, ValueError)
    assert (str(again), again.problems) == (str(error), error.problems)
    assert (again.name, again.found, again.wanted) == ("limits.idle", -1, "more")
    assert str(error) == "f:3: limits.idle = -1 cannot be used: it must be more\ng: is a folder; it must be a file"


def run(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout


LOAD = "from pathlib import Path; from hangtight.rules.{room} import {name}; import sys\n"


def test_the_environment_alone_needs_nothing_installed() -> None:
    script = LOAD.format(room="following", name="following") + (
        "told = {'HANGTIGHT_IDLE': '3'}\n"
        "following(config=None, environment=told, folder=Path(), home=Path(), search=False).settings(0)\n"
        "print(*(set(sys.modules) & {'pydantic', 'ruamel', 'ruamel.yaml', 'hangtight.rules.schema'}))"
    )
    assert run(script).split() == []


def test_where_the_readers_are_not_installed_the_line_to_type_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("heartbeat: 3")
    for missing in ("pydantic", "ruamel.yaml"):
        script = LOAD.format(room="loading", name="load") + (
            f"sys.modules[{missing!r}] = None\n"
            f"folder = Path({str(tmp_path)!r})\n"
            "try: load(config='a.yaml', environment={}, folder=folder, home=folder, search=False)\n"
            "except Exception as error: print(type(error).__name__, error)"
        )
        told = run(script)
        assert told.startswith(HangtightError.__name__ + " ")
        assert "pip install 'hangtight[cli]'" in told


def test_without_a_search_no_file_is_touched(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("touched")

    for name in ("stat", "open", "is_file", "exists"):
        monkeypatch.setattr(Path, name, refused)
    place.environment["HANGTIGHT_TOTAL"] = "3"
    assert values(place.load(search=False))["total"].value == 3


@pytest.mark.parametrize(
    ("name", "text", "remarks"),
    [
        ("hangtight.yaml", "logRequests: true", 1),
        ("config.yaml", "models: {a: {ttl: 3}}", 1),
        (".qwencoderules", "style: loud", 0),
        ("my.qwencoderules", "style: loud", 0),
        (".env", "HANGTIGHT_IDLE=3\nHANGTIGHT_IDEL=3\nOTHER=1", 1),
    ],
)
def test_one_file_alone_may_be_checked(place: Place, name: str, text: str, remarks: int) -> None:
    place.write(name, text)
    settings = check(Path(name), folder=place.folder, home=place.home)
    assert settings.files == (name,)
    assert len(settings.remarks) == remarks


def test_a_file_that_is_checked_says_what_is_wrong_with_it(place: Place) -> None:
    for name, text in BROKEN.items():
        place.write(name, text)
        with pytest.raises(SettingsErrors):
            check(Path(name), folder=place.folder, home=place.home)
    with pytest.raises(SettingsErrors):
        check(Path("nowhere.yaml"), folder=place.folder, home=place.home)


def test_the_file_of_the_design_is_understood(place: Place) -> None:
    place.write(
        "hangtight.yaml",
        """\
limits: {first_token: 60, idle: 45, total: 600}        # a number, null, or auto (learned)
heartbeat: 15
modes:
  fast:   {total: 30,  models: [qwen3:1.7b]}
  deep:   {total: 120, models: [qwen3-coder, qwen3:1.7b]}    # the order is the fallback
  search: {total: 60}
cmdSleepTimeout: 60
models:
  qwen3-coder:
    proxy: http://127.0.0.1:11434          # a server that runs already, or cmd: to have it run
    limits: {idle: 90}
""",
    )
    settings = load(config=None, environment={}, folder=place.folder, home=place.home, search=True)
    found = values(settings, model="qwen3-coder")
    assert (found["idle"].value, found["idle"].source) == (90, "hangtight.yaml:11")
    assert found["idle"].change.format(name="idle", value=180) == (
        "models: {qwen3-coder: {limits: {idle: 180}}}  in hangtight.yaml"
    )
    assert settings.fallback("deep", "qwen3-coder") == ("qwen3:1.7b",)
    assert settings.default_mode is None
    assert settings.remarks == ()
    assert settings.places["cmdSleepTimeout"] == "hangtight.yaml:7"
