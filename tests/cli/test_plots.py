"""Bars, sparklines, ribbons: numbers in, text out, and never a cell too many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from hangtight.cli import ribbon, topping
from hangtight.cli.plots import HEIGHTS, IN_ASCII, amount, share, spark, track
from hangtight.cli.printing import PLAIN, RED, Cell, Column, folded, painted, table
from hangtight.cli.stats_plots import plots
from hangtight.journal.entries import Kind
from hangtight.journal.reading import Decision, Receipt, Row, Stat, Told
from tests.cli.kit import EVIL, visible


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 10, "░░░░"), (5, 10, "██░░"), (10, 10, "████"), (99, 10, "████"), (-3, 10, "░░░░"), (3, None, "░░░░")],
)
def test_a_share_is_as_full_as_it_is_gone(part: float, whole: float | None, text: str) -> None:
    assert share(part, whole, 4) == text


@pytest.mark.parametrize(("number", "text"), [(0, ""), (1, "█"), (50, "██"), (100, "████"), (-1, "")])
def test_a_small_amount_is_seen_and_none_is_not(number: float, text: str) -> None:
    assert amount(number, 100, 4) == text


def test_a_sparkline_begins_at_zero_and_shows_the_last() -> None:
    assert spark([9, 0, 5, 10], 3) == "▁▅█"
    assert spark([10.0, 10.1], 8) == "██"
    assert (spark([], 8), spark([0.0], 8), spark([1.0], 0)) == ("", "▁", "")


@given(st.lists(st.floats(0, 1e9)), st.integers(0, 50))
def test_a_sparkline_has_no_cell_too_many(values: list[float], cells: int) -> None:
    line = spark(values, cells)
    assert len(line) == min(len(values), cells)
    assert set(line) <= set(HEIGHTS)


def test_a_line_of_time_has_strokes_one_over_the_other_and_marks_on_top() -> None:
    assert track(10, [(0, 10, "━"), (5, 10, "╌")], [(2.5, "╸"), (10, "✗")], 8) == "━━╸━╌╌╌✗"
    assert track(0, [(0, 0, "━")], [], 8) == ""


def test_in_ascii_each_sign_keeps_its_width() -> None:
    signs = "".join((*HEIGHTS, "█░━╌╸…·▲▼✗✓▸", *ribbon.NAMES))
    assert signs.translate(IN_ASCII).isascii()
    assert len(signs.translate(IN_ASCII)) == len(signs)


def test_each_kind_of_sign_has_its_colour() -> None:
    assert painted("━━✗", {"✗": RED}) == f"━━{RED}✗{PLAIN}"


# -- lines that fit ---------------------------------------------------------------------------------------------------


def test_a_long_line_is_broken_between_words_and_a_long_word_anywhere() -> None:
    assert folded("one two  three", 9, 2) == ["one two", "  three"]
    assert folded("abcdefgh", 4) == ["abcd", "efgh"]
    assert folded("", 10) == [""]


@given(st.text(alphabet="ab 通é", max_size=60), st.integers(4, 30), st.integers(0, 2))
def test_no_broken_line_is_too_wide_and_no_word_is_lost(text: str, room: int, indent: int) -> None:
    lines = folded(text, room, indent)
    assert all(cell_len(line) <= room for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_where_narrow_is_not_enough_the_least_of_all_columns_go() -> None:
    columns = (Column("id"), Column("name", least=4), Column("first", drops=1), Column("second", drops=2))
    rows = [[Cell("1234"), Cell("x" * 30), Cell("12345"), Cell("123456")]]
    assert table(columns, rows, room=20, colours=False)[0].split() == ["id", "name", "first"]
    assert table(columns, rows, room=12, colours=False)[0].split() == ["id", "name"]
    assert all(len(line) <= 12 for line in table(columns, rows, room=12, colours=False))


# -- top --------------------------------------------------------------------------------------------------------------


def stands(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{number:012x}", "model": EVIL + "通义千问" * 9, "phase": "streaming", "doing": "coding",
        "elapsed": 500.0, "tokens": 31_200, "silence": 42.0, "in_contact": True,
        "nearest": {"limit": "idle", "rings_in": 3.0},
    } | more  # fmt: skip


@pytest.mark.parametrize("room", [37, 57, 77, 97, 117])
def test_whatever_the_width_the_table_of_top_fits_and_says_when_what_rings(room: int) -> None:
    first = {"limit": "first_token", "rings_in": 1003.0}
    told = {"generations": [stands(1), stands(2, phase="loading", doing="", position=3, nearest=first)]}
    lines = topping.lines(told, "http://127.0.0.1:8383", room=room, colours=False)
    assert all(cell_len(line) <= room for line in lines)
    assert visible("\n".join(lines))
    assert "3.0 s" in lines[3]
    assert "1003 s" in lines[4]


def test_the_bar_of_top_is_the_time_of_the_nearest_alarm() -> None:
    def bar(**more: Any) -> str:
        line = topping.lines({"generations": [stands(1, **more)]}, "", room=120, colours=False)[-1]
        return "".join(char for char in line if char in "█░")

    assert bar(silence=0.0, nearest={"limit": "idle", "rings_in": 45.0}) == "░" * 16
    assert bar(silence=30.0, nearest={"limit": "idle", "rings_in": 10.0}) == "█" * 12 + "░" * 4
    assert bar(elapsed=50.0, nearest={"limit": "total", "rings_in": 50.0}) == "█" * 8 + "░" * 8
    assert bar(nearest=None) == ""


def test_where_there_are_too_few_rows_those_that_ring_first_are_shown() -> None:
    found = [stands(at, nearest={"limit": "idle", "rings_in": float((at * 7) % 10 + 1)}) for at in range(10)]
    lines = topping.lines({"generations": found}, "", room=120, colours=False, rows=7)
    assert len(lines) == 7
    assert [round(topping._alarm(each)[1] or 0) for each in topping._most_urgent(found, 3)] == [1, 2, 3]
    assert lines[-1] == "and 7 more, whose alarms are further away"


# -- log and stats ----------------------------------------------------------------------------------------------------


def row(**more: Any) -> Row:
    plain: dict[str, Any] = {
        "id": "1", "call": "1", "started": 0.0, "ended": 40.0, "model": "m", "mode": "", "run": "", "step": "",
        "host": "", "prompt_tokens": 0, "counted_prompt": None, "counted_answer": None, "tokens": 100,
        "first_token": 10.0, "longest_gap": 1.0, "elapsed": 40.0, "outcome": "finished", "broken_limit": "",
        "waited": None, "source": "", "error": "", "budget_left": None, "limits": {},
    }  # fmt: skip
    return Row(**plain | more)


def told(*decisions: Decision, **more: Any) -> Told:
    return Told(row(**more), decisions, ())


def test_a_ribbon_shows_each_phase_and_what_moved_its_deadline() -> None:
    line, *legend = ribbon.ribbon(
        told(
            Decision(0.0, Kind.QUEUED, 1),
            Decision(8.0, Kind.ADMITTED, 8.0),
            Decision(20.0, Kind.HEARTBEAT, {"phase": "thinking"}),
            Decision(25.0, Kind.EXTENDED, {}),
            Decision(40.0, Kind.RANG, {"limit": "idle", "waited": 10.0}),
        ),
        47,
        colours=False,
    )
    assert (line[:3], line[-4:]) == ("0s ", " 40s")
    assert list(dict.fromkeys(line[3:-4])) == list("·░▓╸━▲╌✗")
    assert cell_len(line) == 47
    assert legend[0].startswith("· queued  ░ before the first token")


ODD: list[Any] = [None, "x", {"waited": "x"}, {"waited": float("nan")}, {"phase": 3}, []]


@pytest.mark.parametrize("said", ODD, ids=repr)
@pytest.mark.parametrize("kind", [*Kind, "of a later version"])
@pytest.mark.parametrize("end", [None, 0.0, float("inf"), -3.0, 40.0])
def test_whatever_stands_in_a_journal_a_ribbon_fits_or_is_left_out(said: Any, kind: str, end: float | None) -> None:
    after = (-1.0, 5.0, 1e300, float("nan"))
    lines = ribbon.ribbon(told(*(Decision(at, kind, said) for at in after), elapsed=end), 60, colours=False)
    assert all(cell_len(line) <= 60 for line in lines)


def stat(**more: Any) -> Stat:
    plain: dict[str, Any] = {
        "key": "m", "count": 7, "outcomes": {"timeout": 2, "looping": 3, "finished": 2}, "timeouts": {"total": 2},
        "tokens": 1, "elapsed_sum": 1.0, "first_token": None, "longest_gap": None, "elapsed": None,
        "tokens_per_second": None, "would_have_died": 0, "hangs": 0, "hang_seconds": 0.0,
    }  # fmt: skip
    return Stat(**plain | more)


def sections(lines: list[str]) -> Iterator[list[str]]:
    yield from (part.split("\n") for part in "\n".join(lines).strip("\n").split("\n\n"))


@pytest.mark.parametrize("room", [40, 80, 200])
def test_the_plots_of_stats_fit_and_show_what_was_saved_the_pace_and_what_rang(room: int) -> None:
    rows = [row(model=EVIL, tokens=30), row(model=EVIL, tokens=60), row(outcome="timeout"), row(model="通义千问" * 20)]
    lines = plots([stat()], Receipt(4, 1, 2, 90.0), rows, "model", room=room, colours=False)
    assert all(cell_len(line) <= room for line in lines)
    assert visible("\n".join(lines))
    saved, pace, rang = sections(lines)
    assert saved[-1].endswith("1 of 4, 25 %")
    assert len([line for line in pace if "█" in line]) == 2
    assert "█▅" in "".join(pace), "the newest is on the right"
    assert [line.split()[:2] for line in rang if "█" in line] == [["looping", "3"], ["total", "2"]]


def test_where_there_is_nothing_to_show_no_plot_is() -> None:
    assert plots([], Receipt(0, 0, 0, 0.0), [], None, room=80, colours=True) == []
