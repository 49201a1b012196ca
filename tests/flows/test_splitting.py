"""Plans as models write them, and pieces joined to a whole. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.errors import BackendError
from hangtight.flows.run.splitting import IN_THE_WAY, OUTSIDE, TOO_MANY, Piece, Plan, Split, content_of, joined, plan_in

SECTIONS, FILES = Split("sections"), Split("files")


@pytest.mark.parametrize(
    "answer",
    [
        '["One", "Two", "Three"]',
        'Sure, here it is [as asked]:\n```json\n["One", "Two", "Three"]\n```\nShall I begin?',
        '{"sections": [{"title": "One", "description": "what"}, {"title": "Two"}, {"title": "Three"}]}',
        "1. One\n2. **Two**\n   - a detail\n3) `Three`\n",
        "Here it is:\n\n- One\n  - a detail\n- Two\n- Three\n\nThat is all.",
        "# One\n## Two\n## Three",
        "One\n\nTwo\nThree\n",
        "* One\n* Two\n* one\n* Three",
    ],
)
def test_a_plan_of_sections_is_read_however_it_is_written(answer: str) -> None:
    assert plan_in(answer, SECTIONS).names == ("One", "Two", "Three")


@pytest.mark.parametrize(
    "answer",
    [
        '["src/a.py", "README.md"]',
        '{"files": [{"path": "src/a.py", "purpose": "reads"}, {"path": "./README.md"}]}',
        '{"src/a.py": "reads", "README.md": "tells"}',
        "These are the files:\n\n1. `src/a.py` - reads\n2. **README.md**: tells\n\nI hope this is fine.",
        "```\nsrc/a.py\nREADME.md\n```",
        "- src/\n  - src/a.py (reads)\n- README.md",
    ],
)
def test_a_plan_of_files_is_read_however_it_is_written(answer: str) -> None:
    assert plan_in(answer, FILES).names == ("src/a.py", "README.md")


def test_what_a_plan_says_of_a_piece_is_kept() -> None:
    told = plan_in('[{"path": "a.py", "about": "reads\\nall"}]', FILES)
    assert told.pieces == (Piece("a.py", "reads all"),)
    assert plan_in("- a.py - reads all", FILES).pieces == told.pieces
    assert Plan.of(told.plain) == told


@pytest.mark.parametrize("name", ["../b.py", "/etc/passwd", "a/../../b", "C:/b", "a\\\\b", "b.partial", "folder/"])
def test_a_file_outside_of_the_folder_is_left_out_and_told(name: str) -> None:
    told = plan_in(f'["a.py", "{name}"]', FILES)
    assert told.names == ("a.py",)
    assert list(told.left_out.values()) == [OUTSIDE]
    with pytest.raises(BackendError, match="no plan of files"):
        plan_in(f'["{name}"]', FILES)


def test_a_file_that_would_be_a_folder_is_left_out_and_told() -> None:
    told = plan_in('["src", "src/a.py"]', FILES)
    assert (told.names, told.left_out) == (("src/a.py",), {"src": IN_THE_WAY})


def test_of_a_list_that_was_cut_off_what_can_be_read_is_the_plan_and_never_its_keys() -> None:
    assert plan_in('[\n  "One",\n  "Two",', SECTIONS).names == ("One", "Two")
    assert plan_in('[\n  "a.py",\n  "b.py"', FILES).names == ("a.py", "b.py")
    for split in (SECTIONS, FILES):
        with pytest.raises(BackendError, match="no plan"):
            plan_in('[{"path": "a.py", "about": "reads"}, {"path": "b.py", "ab', split)


def test_a_plan_is_bounded_and_what_is_too_much_is_told() -> None:
    told = plan_in("\n".join(f"{at}. S{at}" for at in range(9)), Split("sections", most=3))
    assert told.names == ("S0", "S1", "S2")
    assert told.left_out == {f"S{at}": TOO_MANY for at in range(3, 9)}


@pytest.mark.parametrize("answer", ["", " \n", "[]", "{}", "```\n```"])
def test_an_answer_that_lists_nothing_is_no_plan(answer: str) -> None:
    with pytest.raises(BackendError, match="no plan of files"):
        plan_in(answer, FILES)


@given(st.text() | st.text(alphabet='[]{}",:\\n -1.a/'), st.sampled_from(["sections", "files"]))
def test_whatever_a_model_says_a_plan_is_bounded_and_safe(answer: str, by: str) -> None:
    try:
        told = plan_in(answer, Split(by, most=5))
    except BackendError:
        return
    assert 1 <= len(told.pieces) <= 5
    assert all(name and "\n" not in name for name in told.names)
    if by == "files":
        assert not any(name.startswith("/") or ".." in name.split("/") or "\\" in name for name in told.names)
    assert Plan.of(told.plain) == told


@pytest.mark.parametrize("answer", ["[" * 50_000, "[" * 400 + "1," * 25_000, "{" * 50_000])
def test_an_answer_that_nests_without_end_holds_nobody_up_and_is_no_plan(answer: str) -> None:
    with pytest.raises(BackendError, match="no plan of files"):
        plan_in(answer, FILES)


def test_a_fence_around_a_file_is_none_of_it() -> None:
    assert content_of("```python\na = 1\n```", "a.py") == "a = 1\n"
    assert content_of("Here it is:\n\n```python\na = 1\n```\nDone.", "a.py") == "a = 1\n"
    assert content_of("a = 1\n", "a.py") == "a = 1\n"
    page = "# Use\n\n```sh\nls\n```\n"
    assert content_of(page, "README.md") == page
    assert content_of(f"````md\n{page}````", "README.md") == page


def test_pieces_are_joined_in_the_order_of_the_plan_and_what_is_missing_is_marked() -> None:
    plan = Plan((Piece("One"), Piece("Two"), Piece("Three")), {"Four": TOO_MANY})
    text = joined(SECTIONS, plan, {0: "# One\n\n", 1: "# Tw", 2: "# Three"}, {1: "stuck"})
    marks = (
        "[Two is missing: stuck]\n\n# Three\n\n[Four was planned and is missing: more pieces than the step may have]"
    )
    assert text == f"# One\n\n# Tw\n\n{marks}\n"
    files = Plan((Piece("a.py"), Piece("b.md")))
    assert joined(FILES, files, {0: "a = 1\n"}, {}) == "## a.py\n\n```\na = 1\n```\n"
    assert joined(FILES, files, {1: "```\nx\n```"}, {0: "stuck"}) == (
        "## a.py\n\n[a.py is missing: stuck]\n\n## b.md\n\n````\n```\nx\n```\n````\n"
    )
