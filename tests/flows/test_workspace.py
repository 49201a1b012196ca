"""Files of a run: whole or not there, inside their folder, and what is left of a step that failed."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.errors import SettingsError
from hangtight.flows.definition.steps import Kind, Step
from hangtight.flows.run.workspace import Workspace

PLAN = Step("plan", Kind.GENERATE, prompt="x")


def work() -> None:
    """Stands for a function."""


def test_text_is_markdown_from_a_model_and_json_is_json(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    count = Step("count", Kind.PYTHON, function=work)
    assert workspace.keep(PLAN, "hello") == "plan.md"
    assert workspace.keep(count, {"n": [1]}) == "count.json"
    assert workspace.keep(count, "one") == "count.txt"
    assert workspace.keep(count, None) == ""
    assert json.loads((tmp_path / "count.json").read_text()) == {"n": [1]}


def test_a_step_may_name_its_file_also_in_a_folder(tmp_path: Path) -> None:
    Workspace(tmp_path / "new").keep(Step("a", Kind.GENERATE, prompt="x", output="src/main.py"), "pass\n")
    assert (tmp_path / "new/src/main.py").read_text() == "pass\n"


def test_a_file_that_leads_out_of_the_folder_is_refused_also_over_a_link(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)
    for name in ("../out.md", "link/out.md", "/etc/out.md"):
        with pytest.raises(SettingsError):
            Workspace(inside).write(name, "x")


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    workspace.write("a.md", "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match=r"No space left on device.*a\.md"):
        workspace.write("a.md", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.md"]
    assert (tmp_path / "a.md").read_text() == "old"


def test_half_a_character_is_written_as_the_sign_for_what_is_unknown(tmp_path: Path) -> None:
    Workspace(tmp_path).write("a.md", "half \ud800 whole \ud83d\ude00")
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == "half \ufffd whole \U0001f600"


def test_a_text_of_many_pieces_is_moved_into_its_place_and_written_anew_where_it_is_gone(tmp_path: Path) -> None:
    for cleaned in (False, True):
        draft = Workspace(tmp_path).draft(PLAN)
        draft.begin()
        pieces = ["a", "b", "ä"]
        draft.add(pieces[:1])
        if cleaned:
            draft.partial.unlink()
        draft.finish(draft.close(pieces))
        assert (tmp_path / "plan.md").read_text(encoding="utf-8") == "abä"
        assert [path.name for path in tmp_path.iterdir()] == ["plan.md"]


def test_a_place_that_cannot_be_written_is_found_before_the_step_begins(tmp_path: Path) -> None:
    (tmp_path / "plan.md").mkdir()
    with pytest.raises(IsADirectoryError, match=r"plan\.md"):
        Workspace(tmp_path).draft(PLAN).begin()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Workspace(tmp_path / "file").draft(PLAN).begin()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "plan.md"]


def test_of_a_step_that_wrote_nothing_only_the_reason_is_kept(tmp_path: Path) -> None:
    draft = Workspace(tmp_path).draft(PLAN)
    draft.begin()
    draft.failed("refused")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.md.error"]


def test_a_draft_is_partial_until_it_is_whole(tmp_path: Path) -> None:
    draft = Workspace(tmp_path).draft(PLAN)
    draft.update("one ")
    draft.update("one two")
    assert (tmp_path / "plan.md.partial").read_text() == "one two"
    assert not (tmp_path / "plan.md").exists()
    draft.finish("one two three")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.md"]


def test_of_a_step_that_failed_the_text_stays_and_the_reason_until_it_ends_well(tmp_path: Path) -> None:
    draft = Workspace(tmp_path).draft(PLAN)
    draft.update("half")
    draft.failed("IdleTimeout: ...")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.md.error", "plan.md.partial"]
    again = Workspace(tmp_path).draft(PLAN)
    again.begin()
    again.finish("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.md"]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=12))
def test_the_partial_file_is_always_the_text_so_far(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """Also where another model begins anew."""
    draft = Workspace(tmp_path_factory.mktemp("w")).draft(PLAN)
    for text in texts:
        draft.update(text)
        if text:
            assert draft.partial.read_bytes().decode() == text


def test_a_draft_of_a_run_that_somebody_else_may_do_now_is_left_alone(tmp_path: Path) -> None:
    ours = True
    draft = Workspace(tmp_path, lambda: ours).draft(PLAN)
    draft.begin()
    draft.update("one")
    ours = False
    draft.update("one two")
    assert not draft.add(["else"])
    assert draft.partial.read_text() == "one"
    ours = True
    draft.update("one two three")
    assert draft.partial.read_text() == "one two three", "nothing is lost by that"
