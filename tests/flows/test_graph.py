"""The order of steps: needs come first, and a circle is found, whatever the graph."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.errors import SettingsError
from hangtight.flows import Flow, generate
from hangtight.flows.definition.graph import circle, ordered
from tests.flows.kit import acyclic


@given(acyclic())
def test_any_graph_without_a_circle_is_ordered_so_that_needs_come_first(needs: dict[str, list[str]]) -> None:
    order = list(Flow("any", [generate(name, "x", after=wanted) for name, wanted in needs.items()]).steps)
    assert sorted(order) == sorted(needs)
    assert all(order.index(need) < order.index(name) for name, wanted in needs.items() for need in wanted)


@given(acyclic(), st.data())
def test_any_graph_with_a_circle_is_refused_and_the_circle_is_shown(
    needs: dict[str, list[str]], data: st.DataObject
) -> None:
    around = data.draw(st.lists(st.sampled_from(list(needs)), min_size=1, unique=True))
    for name, need in zip(around, [*around[1:], around[0]], strict=True):
        needs[name] = [*needs[name], need]
    shown = circle(needs)
    assert shown[0] == shown[-1]
    assert all(need in needs[name] for name, need in pairwise(shown))
    with pytest.raises(SettingsError, match="circle"):
        Flow("any", [generate(name, "x", after=wanted) for name, wanted in needs.items()])


def test_what_is_free_stays_as_it_was_written() -> None:
    assert ordered({"b": [], "d": ["c"], "c": [], "a": ["d"]}) == ["b", "c", "d", "a"]
    assert circle({"b": [], "a": ["b"]}) == []


def test_a_long_chain_and_a_thousand_steps_side_by_side_are_ordered() -> None:
    chain = {str(number): [str(number + 1)] for number in range(5_000)} | {"5000": []}
    assert ordered(chain)[:2] == ["5000", "4999"]
    assert len(ordered({str(number): [] for number in range(5_000)})) == 5_000
