"""Who must go before another model may come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.core.process.facts import Rest
from hangtight.core.process.phases import Phase
from hangtight.core.process.swapping import Eviction, Group, Grouping, Standing, by_member, evictions
from hangtight.core.time import Instant

READY, BUSY = Standing(Phase.READY), Standing(Phase.READY, running=1)
AWAY = (Phase.STOPPED, Phase.ASLEEP, Phase.FAILED)
CODE = Group(name="code", members=("big", "small"))
TOGETHER = Group(name="together", swap=False, exclusive=False, members=("ear", "mouth"))
FOR_GOOD = Group(name="for good", persistent=True, swap=False, exclusive=False, members=("embedder",))
GROUPS = by_member((CODE, TOGETHER, FOR_GOOD))


def who_goes(wanted: str, *up: str) -> set[str]:
    return {one.model for one in evictions(wanted, dict.fromkeys(up, READY), GROUPS)}


def test_one_member_of_a_group_runs_at_a_time() -> None:
    assert who_goes("big", "small") == {"small"}


def test_members_of_a_group_that_does_not_swap_run_side_by_side() -> None:
    assert who_goes("ear", "mouth") == set()


def test_an_exclusive_group_unloads_the_others_and_not_the_persistent_ones() -> None:
    assert who_goes("big", "ear", "mouth", "embedder") == {"ear", "mouth"}


def test_a_group_that_is_not_exclusive_leaves_the_others_alone() -> None:
    assert who_goes("ear", "big", "embedder") == set()


def test_models_in_no_group_swap_with_each_other_and_with_every_group() -> None:
    assert who_goes("one", "two", "big", "ear", "embedder") == {"two", "big", "ear"}
    assert {one.model for one in evictions("one", {"one": Standing(Phase.STOPPED), "two": READY}, {})} == {"two"}


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.WAKING, Phase.READY])
def test_for_one_that_is_up_or_on_its_way_nobody_goes(phase: Phase) -> None:
    assert evictions("big", {"big": Standing(phase), "small": READY}, GROUPS) == ()


@pytest.mark.parametrize("phase", AWAY)
def test_who_is_away_is_not_in_the_way(phase: Phase) -> None:
    assert evictions("big", {"small": Standing(phase, can_sleep=True)}, GROUPS) == ()


def test_what_outlived_its_kill_is_in_the_way() -> None:
    left = Standing(Phase.FAILED, can_sleep=True, lingers=True)
    assert evictions("big", {"small": left}, GROUPS) == (Eviction("small", Rest.STOP),)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in AWAY])
def test_whoever_is_not_away_yet_is_waited_for_and_sleeps_where_it_can(phase: Phase) -> None:
    how = Rest.STOP if phase is Phase.STOPPING else Rest.SLEEP
    assert evictions("big", {"small": Standing(phase, can_sleep=True)}, GROUPS) == (Eviction("small", how),)
    assert evictions("big", {"small": Standing(phase)}, GROUPS) == (Eviction("small", Rest.STOP),)


def test_the_idle_go_first_and_of_them_who_was_used_longest_ago() -> None:
    up = {
        "busy": Standing(Phase.READY, running=2, last_used=Instant(1)),
        "new": Standing(Phase.READY, last_used=Instant(9)),
        "old": Standing(Phase.READY, last_used=Instant(2)),
    }
    assert [one.model for one in evictions("one", up, {})] == ["old", "new", "busy"]


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20),
    st.lists(st.builds(Group, name=st.sampled_from("xyz"), swap=st.booleans(), exclusive=st.booleans()), max_size=3),
    st.data(),
)
def test_after_the_evictions_nobody_has_to_go(wants: list[str], groups: list[Group], data: st.DataObject) -> None:
    unique = {group.name: group for group in groups}
    of: dict[str, Grouping] = {model: unique[data.draw(st.sampled_from(sorted(unique)))] for model in "abcd" if unique}
    up: dict[str, Standing] = {}
    for wanted in wants:
        for one in evictions(wanted, up, of):
            assert one.model != wanted
            del up[one.model]
        assert evictions(wanted, up, of) == ()
        up[wanted] = READY
        assert evictions(wanted, up, of) == ()
