"""Files as trees with lines; and every way in which a file as a whole cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hangtight.rules.errors import SettingsErrors
from hangtight.rules.reading import Tree, parse, read
from tests.rules.kit import Place

YAML = """\
# a comment
limits:
  idle: 45
  total: null
models:
  "qwen3:1.7b": {limits: {idle: 90},
                 fallback: [a,
                            b]}
base: &base
  first: 1
  second: 2
other:
  <<: *base
  second: 3
"""
TOML = """\
# a comment
heartbeat = 5
[limits]
idle = 45
[models."qwen3:1.7b"]
limits = {idle = 90}
text = '''
not_a_key = 3
'''
[modes]
fast.total = 30
"""
JSON = '{\n\t"limits": {\n\t\t"idle": 45},\n\t"text": "\\ud83d\\ude00"}'


def problem(text: str, kind: str | None = None) -> tuple[int, str]:
    with pytest.raises(SettingsErrors) as caught:
        parse(text, "f", kind)
    found = caught.value.problems[0]
    return found.line, str(found)


def test_each_value_of_yaml_knows_its_line() -> None:
    tree = parse(YAML, "f.yaml", "yaml")
    assert tree.line("limits", "idle") == 3
    assert tree.line("models", "qwen3:1.7b", "limits", "idle") == 6
    assert tree.line("models", "qwen3:1.7b", "fallback", 1) == 8
    assert tree.place("limits", "total") == "f.yaml:4"


def test_what_is_not_written_has_the_line_of_what_is_around_it() -> None:
    assert parse(YAML, "f", "yaml").line("limits", "cold") == 2
    assert Tree("f").place("limits") == "f"


def test_merged_keys_are_there_and_nearer_ones_win() -> None:
    tree = parse(YAML, "f", "yaml")
    assert tree.data["other"] == {"first": 1, "second": 3}
    assert tree.line("other", "first") == 10
    assert tree.line("other", "second") == 14
    assert parse("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}", "f", "yaml").data["c"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("0o17", 15), ("0x1F", 31), ("1_000", 1000), ("-2", -2), ("1.5", 1.5), ("1e3", 1000.0),
        ("true", True), ("~", None), ("", None), ("off", "off"), ("no", "no"), ("2020-01-01", "2020-01-01"),
        ("'1'", "1"), ("!!str 1", "1"), ("!!int x", "x"), ("!thing 3", "3"), ("[1, a]", [1, "a"]), ("12:30", "12:30"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse(f"a: {text}", "f", "yaml").data["a"]
    assert (found, type(found)) == (value, type(value))


def test_halves_of_characters_are_put_together() -> None:
    tree = parse(r'a: "\ud83d\ude00 \ud83d"', "f", "yaml")
    assert tree.data["a"] == "\N{GRINNING FACE} \N{REPLACEMENT CHARACTER}"


def test_numbers_that_are_none_are_floats_that_somebody_else_refuses() -> None:
    assert str(parse("a: .nan", "f", "yaml").data["a"]) == "nan"
    assert parse("a: -.inf", "f", "yaml").data["a"] == float("-inf")
    assert isinstance(parse(f"a: {'9' * 5000}", "f", "yaml").data["a"], str)


def test_each_value_of_toml_knows_its_line() -> None:
    tree = parse(TOML, "f", "toml")
    assert tree.line("heartbeat") == 2
    assert tree.line("limits", "idle") == 4
    assert tree.line("models", "qwen3:1.7b", "limits", "idle") == 6
    assert tree.line("modes", "fast", "total") == 11


def test_each_value_of_json_knows_its_line_and_tabs_do_no_harm() -> None:
    tree = parse(JSON, "f", "json")
    assert tree.line("limits", "idle") == 3
    assert tree.data["text"] == "\N{GRINNING FACE}"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (YAML, "yaml"), (TOML, "toml"), (JSON, "json"), ("", "yaml"), ("# only\n", "yaml"), ("{a: 1}", "yaml"),
        ("a = 1", "toml"), ("[a]\nb = 1", "toml"), ("a: 1", "yaml"), ("# c\n\na:\n  b: 1\n", "yaml"),
    ],
)  # fmt: skip
def test_the_kind_is_told_by_the_content(text: str, kind: str) -> None:
    assert parse(text, "f").kind == kind


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "{}"])
@pytest.mark.parametrize("kind", [None, "yaml"])
def test_an_empty_file_sets_nothing(text: str, kind: str | None) -> None:
    assert parse(text, "f", kind).data == {}


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("a: [1\nb: 2\n", "yaml", 2),
        ("a: 1\n  b: 2\n", "yaml", 2),
        ("a:\n\t- b", "yaml", 2),
        ("a: 1\n---\nb: 2\n", "yaml", 2),
        ("a: *nobody", "yaml", 1),
        ("- a\n- b", "yaml", 1),
        ("only words", "yaml", 1),
        ("a: \x00", "yaml", 0),
        ("a: 1\nb = 2", None, 0),
        ("a = 1\nb =\n", None, 2),
        ("a = 1\na = 2\n", "toml", 2),
        ("[1, 2]", "json", 1),
        ('{"a": 1,\n b}', "json", 2),
        ('{"a": 1,\n "a": 2}', "json", 2),
        ('{"a": ' + "9" * 5000 + "}", "json", 0),
        ("[" * 5000 + "]" * 5000, "json", 0),
        ("a = " + "[" * 5000 + "]" * 5000, "toml", 0),
        ("[" * 5000, "yaml", 1),
        ("&a [*a]", "yaml", 1),
        ("a: &a {b: *a}", "yaml", 1),
        ("a: &a {<<: *a}", "yaml", 1),
        ("a: 1\nb: {c: 1}\na: 2\n", "yaml", 3),
        ("? [a, b]\n: 1\n", "yaml", 1),
        ("a: {<<: 3}", "yaml", 1),
    ],
)
def test_bad_syntax_ends_with_file_and_line(text: str, kind: str | None, line: int) -> None:
    found, told = problem(text, kind)
    assert told.startswith(f"f:{line}: " if line else "f")
    assert found == line or not line


def test_aliases_of_aliases_are_stopped_before_they_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert problem("\n".join(lines))[0] > 0


def test_two_keys_that_stand_twice_are_both_told() -> None:
    with pytest.raises(SettingsErrors) as caught:
        parse("a: 1\na: 2\nb: {c: 1, c: 2}\n", "f", "yaml")
    assert [(each.line, each.key) for each in caught.value.problems] == [(2, "a"), (3, "b.c")]


def unreadable(path: Path) -> str:
    with pytest.raises(SettingsErrors) as caught:
        read(path, "shown")
    return str(caught.value)


def test_a_file_with_a_mark_of_its_byte_order_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(path, "a").data == {"a": 1}


def test_a_file_that_is_not_utf_8_says_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\nb: \xe9\n")
    assert unreadable(path).startswith("shown:2: ")
    path.write_text("a: 1", encoding="utf-16")
    assert unreadable(path).startswith("shown:1: ")


def test_a_long_file_a_folder_a_pipe_and_nothing_at_all_are_told(tmp_path: Path) -> None:
    long = tmp_path / "long.yaml"
    long.write_bytes(b"a: 1\n" * 2_000_000)
    assert unreadable(long)
    assert unreadable(tmp_path)
    assert unreadable(tmp_path / "nothing.yaml")
    assert unreadable(tmp_path / ("x" * 5000))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert unreadable(tmp_path / "pipe")


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "a.yaml"
    path.write_text("a: 1")
    monkeypatch.setattr(Path, "open", refused)
    assert "Permission denied" in unreadable(path)


@pytest.mark.parametrize("kind", ["folder", "fifo", "device"])
def test_what_is_no_plain_file_is_told_once(place: Place, kind: str) -> None:
    path = place.folder / "odd.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    (problem,) = place.problems("odd.yaml")
    assert str(problem) == "odd.yaml: this is no plain file; it must be a settings file"


def test_a_tree_that_is_too_deep_is_told_in_our_own_words(place: Place) -> None:
    place.write("hangtight.yaml", "a: " + "[" * 100 + "]" * 100)
    (problem,) = place.problems()
    assert "max_depth" not in str(problem)
    assert "at most 40 levels deep" in str(problem)
