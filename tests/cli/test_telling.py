"""The words about time: they are what the product promises, so they are held to the letter."""

from __future__ import annotations

from typing import Any

import pytest

from hangtight.cli.telling import Move, moved, receipt, status_line, worth_keeping
from hangtight.core.heartbeat import Snapshot
from hangtight.core.limits import Limit
from hangtight.core.phases import Phase
from hangtight.core.words import at_work
from hangtight.errors import Looping
from hangtight.intent.findings import Act, Channel, Finding, Rule

BEGUN: dict[str, Any] = {
    "phase": Phase.STREAMING,
    "elapsed": 45.2,
    "tokens": 901,
    "silence": 0.2,
    "in_contact": False,
    "first_token": 3.1,
    "nearest": Limit.IDLE,
    "rings_in": 44.4,
}


def at(**changed: Any) -> Snapshot:
    return Snapshot(**BEGUN | changed)


def test_a_stream_says_its_phase_its_pace_and_what_rings_when() -> None:
    line = "streaming · 45 s · first token 3.1 s · 21.5 tokens/s · idle rings in 44 s"
    assert status_line(at(), 80) == line


def test_before_the_first_token_there_is_no_pace() -> None:
    waiting = {"phase": Phase.WAITING, "tokens": 0, "first_token": None, "nearest": Limit.FIRST_TOKEN, "elapsed": 12.0}
    line = "waiting for the first token · 12 s · first token rings in 33 s"
    assert status_line(at(**waiting, rings_in=33.0), 80) == line
    assert status_line(at(**waiting, rings_in=33.0), 80, 0.44).startswith("reading the prompt, 44 % · 12 s")
    assert status_line(at(**waiting | {"phase": Phase.LOADING}), 80).startswith("loading the model · ")


def test_pings_are_told_from_content() -> None:
    pinging = at(silence=80.0, in_contact=True, elapsed=125.2)
    assert "pings, no content for 80 s" in status_line(pinging, 120)
    assert "21.4 tokens/s" in status_line(pinging, 120)  # the silence is not the model's pace


def test_what_the_model_is_at_stands_beside_its_phase() -> None:
    assert status_line(at(doing="coding"), 120).startswith("streaming · coding · 45 s · ")
    assert status_line(at(doing="drift"), 120).startswith("streaming · may be stuck (drift) · 45 s · ")
    assert (at_work(""), at_work("stuck"), at_work("concluding")) == ("", "may be stuck", "concluding")


def test_a_deadline_that_moved_is_told_as_long_as_it_stands_elsewhere() -> None:
    assert "deadline" not in status_line(at(doing="coding", total=120.0), 120, total=120.0)
    assert " · deadline 120 s -> 132 s · idle rings" in status_line(at(doing="coding", total=132.0), 120, total=120.0)
    assert " · deadline 120 s -> 97.3 s · " in status_line(at(doing="stale", total=97.26), 130, total=120.0)
    assert moved(at(total=None), None) is moved(at(total=None), 5.0) is moved(at(total=5.0), None) is None


@pytest.mark.parametrize("width", range(19, 140))
def test_where_the_line_is_too_wide_whole_parts_are_left_out(width: int) -> None:
    stands = at(silence=80.0, in_contact=True, elapsed=125.2, doing="coding", total=132.0)
    whole = status_line(stands, 200, total=120.0).split(" · ")
    parts = status_line(stands, width, total=120.0).split(" · ")
    assert len(whole) == 8
    assert [part for part in whole if part in parts] == parts
    assert len(" · ".join(parts)) <= width


@pytest.mark.parametrize(
    ("tokens", "elapsed", "line"),
    [
        (214, 181.0, "214 tokens in 181 s. A 30 s timeout would have killed this at 17 %."),
        (12, 3.4, "12 tokens in 3.4 s."),
        (1, 30.0, "1 token in 30 s."),
        (0, 12.34, "0 tokens in 12 s."),
    ],
)
def test_the_receipt_says_what_a_usual_timeout_would_have_done(tokens: int, elapsed: float, line: str) -> None:
    assert receipt(tokens, elapsed) == line


@pytest.mark.parametrize(
    ("move", "told"),
    [
        (Move(120.0, 192.0, "coding"), " (extended 120 -> 192 s: it was coding)"),
        (Move(120.0, 180.0, ""), " (extended 120 -> 180 s)"),
        (Move(120.0, 180.0, "drift"), " (extended 120 -> 180 s)"),
        (Move(120.0, 90.0, "coding"), ""),
    ],
)
def test_the_receipt_says_that_a_deadline_was_moved_up(move: Move, told: str) -> None:
    line = f"214 tokens in 181 s{told}. A 30 s timeout would have killed this at 17 %."
    assert receipt(214, 181.0, move=move) == line


def looping(partial: str, useful: str, channel: Channel = Channel.ANSWER) -> Looping:
    error = Looping("...")
    error.partial, error.useful = partial, useful
    error.loop = Finding(act=Act.CUT, rule=Rule.EXACT, channel=channel, offset=2048, start=1000, period=33, copies=30)
    return error


def test_of_a_loop_it_is_said_how_much_is_worth_keeping() -> None:
    told = "worth keeping:  the first 1,033 of the 2,048 characters on stdout\n"
    assert worth_keeping(looping("x" * 2048, "x" * 1033), "on stdout") == told
    told = "worth keeping:  all 5 characters on stdout\n"
    assert worth_keeping(looping("whole", "whole", Channel.REASONING), "on stdout") == told


def test_where_nobody_kept_the_text_the_loop_says_how_much_is_worth_keeping() -> None:
    assert worth_keeping(looping("", ""), "on stdout") == "worth keeping:  the first 1,033 characters on stdout\n"
    assert worth_keeping(looping("", "", Channel.REASONING), "on stdout") == ""


def test_the_receipt_says_that_an_answer_reached_its_length() -> None:
    assert "length" in receipt(5, 1.0, "length")
