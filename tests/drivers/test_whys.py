"""The door in an error: the command that shows all that happened, or how to have it kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import hangtight
from hangtight.core.telling import WHY
from hangtight.drivers import whys
from hangtight.drivers.standing import STANDING, usual_journal
from hangtight.journal.reading import Reading
from hangtight.testing import jumping
from hangtight.testing.scripted import ScriptedModel, Silence, Tokens


def late() -> str:
    """The last line of the error of a call that went silent."""

    async def reads() -> None:
        async for _ in hangtight.watch(ScriptedModel(Tokens(3), Silence(100.0))):
            pass

    with pytest.raises(hangtight.IdleTimeout) as caught:
        jumping(reads())
    return str(caught.value).splitlines()[-1].partition(WHY)[2]


def spent() -> str:
    """The last note of a call that was not begun."""
    with hangtight.budget(1e-3) as task, pytest.raises(hangtight.BudgetSpent) as caught:
        while task.remaining() > 0:
            pass
        list(hangtight.watch(iter("abc")))
    return str(caught.value.__notes__[-1]).partition(WHY)[2]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("HANGTIGHT_JOURNAL")
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "journal.db")


@pytest.mark.parametrize("error", [late, spent])
def test_where_a_journal_is_kept_an_error_names_the_command_and_the_command_finds_it(
    error: Callable[[], str], journal: str
) -> None:
    hangtight.configure(journal=journal)
    told = error()
    assert told.startswith("hangtight log ")
    keeping = STANDING.recorder()
    assert keeping is not None
    keeping.close()
    key = told.removeprefix("hangtight log ").removesuffix(f" --journal {journal}")
    assert Reading(journal).find(key) is not None


@pytest.mark.parametrize("error", [late, spent])
def test_where_none_is_kept_it_says_how_to_keep_one(error: Callable[[], str], journal: str) -> None:
    assert error() == "no journal is kept; hangtight.configure() keeps one"


@pytest.mark.parametrize("error", [late, spent])
def test_where_somebody_wants_none_it_says_where(error: Callable[[], str], journal: str, tmp_path: Path) -> None:
    (tmp_path / "hangtight.yaml").write_text("heartbeat: 15\njournal: off\n", encoding="utf-8")
    hangtight.configure("hangtight.yaml")
    assert error() == "no journal is kept, journal = off comes from hangtight.yaml:2"


def test_a_run_is_shown_with_all_its_generations(journal: str) -> None:
    assert whys.why_of_run("nightly").startswith("no journal is kept")
    hangtight.configure(journal=journal)
    assert whys.why_of_run("nightly") == f"hangtight log --run nightly --journal {journal}"


@pytest.mark.parametrize(("named", "others", "shown"), [
    (False, False, ""), (True, False, " --journal {url}"), (False, True, " --journal {url}"),
])  # fmt: skip
def test_the_journal_is_named_where_the_command_would_look_into_another_one(
    named: bool, others: bool, shown: str, journal: str, tmp_path: Path
) -> None:
    (tmp_path / "hangtight.yaml").write_text(f"journal: {journal}\n")
    hangtight.configure("hangtight.yaml" if named else None)
    STANDING.answers_others = others
    assert whys.command_of("7f3a21bc", journal) == f"hangtight log 7f3a21bc{shown.format(url=journal)}"
    assert whys.command_of("7f3a21bc", usual_journal()) == "hangtight log 7f3a21bc", "there it looks by itself"


def test_a_password_is_not_in_an_error(journal: str) -> None:
    STANDING.answers_others = True
    told = whys.command_of("7f3a21bc", "postgresql://me:secret@db.example/journal")
    assert told == "hangtight log 7f3a21bc --journal postgresql://...@db.example/journal"


def test_a_journal_below_the_folder_of_the_gateway_is_named_as_a_whole(journal: str, tmp_path: Path) -> None:
    STANDING.answers_others = True
    assert whys.command_of("7f3a21bc", "a b.db") == f"hangtight log 7f3a21bc --journal '{tmp_path}/a b.db'"


def test_a_line_without_a_door_stays_as_it_is() -> None:
    assert whys.with_why("to wait longer:  x", "") == "to wait longer:  x"
