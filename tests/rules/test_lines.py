"""The line to change is true when it is typed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.rules.lines import NAME, line_to_change
from hangtight.rules.reading import parse

NAMES = st.one_of(
    st.sampled_from(
        ["qwen3:1.7b", "a b", "{x}", "null", "on", "1.5", "a: b", "#a", '"', "'", "*", "é", "a\nb", "~", "-"]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
)


def typed(line: str, kind: str) -> Any:
    text, _, file = line.rpartition("  in ")
    assert file == "a{b}.yaml"
    return parse(text, "f", kind).data


@pytest.mark.parametrize("kind", ["yaml", "toml", "json"])
@given(path=st.lists(NAMES, max_size=3))
def test_what_is_shown_sets_what_it_says(kind: str, path: list[str]) -> None:
    line = line_to_change(kind, "a{b}.yaml", path).format(name="idle", value="90")
    wanted: Any = {"idle": 90}
    for part in reversed(path):
        wanted = {part: wanted}
    assert typed(line, kind) == wanted


@pytest.mark.parametrize("kind", ["yaml", "toml", "json"])
@given(name=NAMES.filter(lambda name: name != NAME))
def test_a_key_that_is_not_the_name_of_the_limit_is_shown_as_it_is(kind: str, name: str) -> None:
    line = line_to_change(kind, "a{b}.yaml", ["budgets"], name).format(name="total", flag="total", value="90")
    assert typed(line, kind) == {"budgets": {name: 90}}
