"""`hangtight stats`: the receipt to the letter, then a table that fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hangtight.cli import summing
from hangtight.journal.reading import Receipt, Stat
from hangtight.journal.tally import Quantiles
from hangtight.journal.words import receipt_line
from tests.cli.kit import command, journal, visible


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return journal(tmp_path_factory.mktemp("journal"))


@pytest.mark.parametrize(
    ("receipt", "line"),
    [
        (
            Receipt(214, 19, 3, 135.0),
            "Today: 214 answers, 19 of which a 30 s timeout would have killed; 3 hangs ended after 45 s on average.",
        ),
        (Receipt(1, 1, 1, 45.0), "Today: 1 answer, which a 30 s timeout would have killed; 1 hang ended after 45 s."),
        (Receipt(1204, 0, 0, 0.0), "Today: 1,204 answers, none of which a 30 s timeout would have killed."),
        (Receipt(0, 0, 0, 0.0), "Today: 0 answers."),
        (Receipt(0, 0, 1, 4.0), "Today: 0 answers; 1 hang ended after 4.0 s."),
    ],
)
def test_the_receipt_says_what_was_saved(receipt: Receipt, line: str) -> None:
    assert receipt_line(receipt, "Today") == line


@pytest.mark.parametrize(
    ("found", "text"),
    [(None, "-"), (Quantiles(0.04, 1.26, 12.4, 9), "0.04/1.3/12"), (Quantiles(120.0, 340.0, 600.0, 9), "120/340/600")],
)
def test_three_quantiles_are_one_span(found: Quantiles | None, text: str) -> None:
    assert summing.span(found) == text


@pytest.mark.real
def test_the_receipt_comes_first_and_then_the_table(url: str) -> None:
    told = command(Path(url).parent, "stats", "--journal", url, "--since", "1d", "--by", "model")
    head, blank, *lines = told.stdout.splitlines()
    assert (told.returncode, told.stderr, blank) == (0, "", "")
    assert head.startswith("Since 20")
    assert head.endswith("1 answer, which a 30 s timeout would have killed; 1 hang ended after 45 s.")
    assert [line.split()[:2] for line in lines[2:]] == [["qwen3-coder", "1"], ["timeouts:", "1"], ["qwen3:1.7b", "1"]]
    assert all(len(line) <= 80 for line in lines)
    assert visible(told.stdout)


def test_a_loop_that_was_ended_stands_beside_the_timeouts() -> None:
    stat = Stat(
        key="", count=7, outcomes={"timeout": 2, "looping": 3, "finished": 2}, timeouts={"total": 2}, tokens=1,
        elapsed_sum=1.0, first_token=None, longest_gap=None, elapsed=None, tokens_per_second=None, would_have_died=0,
        hangs=0, hang_seconds=0.0,
    )  # fmt: skip
    assert summing.as_table([stat], None, room=80, colours=False)[-1] == "  timeouts: 3 looping, 2 total"


@pytest.mark.real
def test_without_a_time_it_is_today_and_all_that_there_is(url: str) -> None:
    told = command(Path(url).parent, "stats", "--journal", url)
    assert told.stdout.startswith("Today: ")
    [line] = [line for line in told.stdout.splitlines() if line.startswith("all ")]
    assert line.split()[1] == "3"


@pytest.mark.real
@pytest.mark.parametrize(("by", "keys"), [("model", {"qwen3-coder", "qwen3:1.7b"}), ("step", {"", "generate"})])
def test_as_json_there_is_all_of_it(by: str, keys: set[str], url: str) -> None:
    told = json.loads(command(Path(url).parent, "stats", "--journal", url, "--by", by, "--json").stdout)
    assert {stat["key"] for stat in told["stats"]} == keys
    assert set(told["receipt"]) == {"since", "answers", "would_have_died", "hangs", "hang_seconds"}
    assert all(set(stat["first_token"]) == {"p50", "p95", "p99", "samples"} for stat in told["stats"])


@pytest.mark.real
def test_what_cannot_be_told_apart_by_is_a_mistake_of_usage(url: str) -> None:
    assert command(Path(url).parent, "stats", "--journal", url, "--by", "moon").returncode == 2
