"""The words about time: they are what the product promises, so they are held to the letter."""

from __future__ import annotations

from typing import Any

import pytest

from hangtight.cli.telling import receipt, status_line
from hangtight.core.heartbeat import Snapshot
from hangtight.core.limits import Limit
from hangtight.core.phases import Phase

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


@pytest.mark.parametrize("width", range(19, 120))
def test_where_the_line_is_too_wide_whole_parts_are_left_out(width: int) -> None:
    whole = status_line(at(silence=80.0, in_contact=True, elapsed=125.2), 200).split(" · ")
    parts = status_line(at(silence=80.0, in_contact=True, elapsed=125.2), width).split(" · ")
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


def test_the_receipt_says_that_an_answer_reached_its_length() -> None:
    assert "length" in receipt(5, 1.0, "length")
