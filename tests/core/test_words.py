"""Words for lengths, and for what a model is at."""

from __future__ import annotations

import pytest

from hangtight.core.words import at_work, seconds


@pytest.mark.parametrize(("length", "said"), [(0.04, "0.0 s"), (3.14, "3.1 s"), (9.9, "9.9 s"), (12.4, "12 s")])
def test_tenths_are_told_where_they_say_something(length: float, said: str) -> None:
    assert seconds(length) == said


@pytest.mark.parametrize(
    ("doing", "said"),
    [
        ("", ""),
        ("coding", "coding"),
        ("stuck", "may be stuck"),
        ("the same 33 characters", "may be stuck (the same 33 characters)"),
    ],
)
def test_a_suspicion_is_told_as_one(doing: str, said: str) -> None:
    assert at_work(doing) == said
