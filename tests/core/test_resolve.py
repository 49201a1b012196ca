"""Resolution as a table: what each place says and what is known, and the limits, sources and clocks they become."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.core.layers import MODES, Layer, Rank, Situation, mode_layer
from hangtight.core.limits import AUTO, Limit, Limits
from hangtight.core.pace import Learned
from hangtight.core.phases import Phase
from hangtight.core.resolve import inside, keeping_free, resolve
from hangtight.core.time import FOREVER
from hangtight.core.timers import TotalFrom
from hangtight.errors import SettingsError

WARM = Situation(warm=True)
COLD = Situation(warm=None)
ABSENT = Situation(warm=False)
FAST, DEEP, SEARCH = (mode_layer(name) for name in ("fast", "deep", "search"))


def call(**values: float | None) -> Layer:
    return Layer(Rank.CALL, "the call", values)


def step(**values: float | None) -> Layer:
    return Layer(Rank.STEP, "step coder", values)


def run(**values: float | None) -> Layer:
    return Layer(Rank.RUN, "run 7f3a", values)


def mode(**values: float | None) -> Layer:
    return Layer(Rank.MODE, "modes.deep at hangtight.yaml:7", values)


def model(**values: float | None) -> Layer:
    return Layer(Rank.MODEL, "hangtight.yaml:14", values)


def environment(**values: float | None) -> Layer:
    return Layer(Rank.ENVIRONMENT, "HANGTIGHT_IDLE", values)


def file(**values: float | None) -> Layer:
    return Layer(Rank.FILE, "hangtight.yaml:3", values)


def left(remaining: float, **known: Any) -> Situation:
    return Situation(remaining=remaining, **{"warm": True, **known})


@dataclass(frozen=True)
class Case:
    told: str
    layers: tuple[Layer, ...] = ()
    known: Situation = WARM
    limits: dict[str, float | None] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    clocks: dict[str, Any] = field(default_factory=dict)


def of_s1(told: str, layers: tuple[Layer, ...], known: Situation, *three: float) -> Case:
    first_token, idle, total = three
    return Case(told, layers, known, {"first_token": first_token, "idle": idle, "total": total})


CASES = (
    # The table of S1, and S0's numbers where there is neither mode nor budget.
    of_s1("deep with 45 s left", (DEEP,), left(45), 13.5, 9, 45),
    of_s1("fast alone", (FAST,), WARM, 9, 6, 30),
    of_s1("search alone", (SEARCH,), WARM, 18, 12, 60),
    of_s1("deep alone", (DEEP,), WARM, 30, 15, 120),
    of_s1("fast with 100 s left", (FAST,), left(100), 9, 6, 30),
    of_s1("neither mode nor budget", (), WARM, 45, 45, 600),
    of_s1("a budget without a mode", (), left(45), 13.5, 9, 45),
    of_s1("a budget with more than anybody needs", (), left(1000), 30, 15, 600),
    # What is not given follows what is.
    Case("idle=60 covers the first token", (call(idle=60),), WARM,
         {"first_token": 60, "idle": 60, "total": 600}, {"first_token": "follows idle=60 (the call)"}),
    Case("a shorter idle takes nothing from the first token", (call(idle=20),), WARM, {"first_token": 45, "idle": 20}),
    Case("no idle is no first_token either", (call(idle=None),), WARM, {"first_token": None},
         {"first_token": "follows idle=none (the call)"}, {"first_token": inf, "idle": inf}),
    Case("first_token in the same place stands", (call(idle=60, first_token=50),), WARM, {"first_token": 50}),
    Case("first_token in a higher place stands", (call(first_token=50), file(idle=60)), WARM, {"first_token": 50}),
    Case("first_token in a lower place follows", (call(idle=60), file(first_token=50)), WARM, {"first_token": 60}),
    Case("a longer one in a lower place stands", (call(idle=60), file(first_token=90)), WARM, {"first_token": 90}),
    Case("it follows the nearer of two calls", (call(idle=60), call(first_token=50)), WARM, {"first_token": 60}),
    Case("total=1200 is 1200", (call(total=1200),), WARM, {"total": 1200, "extend_to": 1200},
         {"total": "the call"}, {"total": 1200, "total_from": TotalFrom.CALL}),
    Case("extend_to follows a total from a file", (file(total=900),), WARM, {"extend_to": 900},
         {"extend_to": "follows total=900 (hangtight.yaml:3)"}),
    # A call's total is never extended, unless the same place says so.
    Case("a mode extends its own total", (DEEP,), WARM, {"extend_to": 240}, {"extend_to": "mode deep"}),
    Case("a mode does not extend the total of the call", (call(total=100), DEEP), WARM,
         {"total": 100, "extend_to": 100}),
    Case("the call may extend its own", (call(total=100, extend_to=150), DEEP), WARM, {"extend_to": 150}),
    Case("a farther call does not extend the nearer", (call(total=100), call(extend_to=500)), WARM, {"extend_to": 100}),
    Case("a file does not extend the call", (call(total=100), file(extend_to=500)), WARM, {"extend_to": 100}),
    Case("extended without limit, where that is said", (call(total=100, extend_to=None),), WARM,
         {"total": 100, "extend_to": None}),
    Case("no total is no extend_to", (call(total=None), DEEP), WARM, {"total": None, "extend_to": None},
         {}, {"total": inf}),
    # Who wins.
    Case("call over all", (file(idle=1), environment(idle=2), model(idle=3), run(idle=5), step(idle=6), call(idle=7)),
         WARM, {"idle": 7}, {"idle": "the call"}),
    Case("step over run", (run(idle=5), step(idle=6), model(idle=3)), WARM, {"idle": 6}, {"idle": "step coder"}),
    Case("run over mode", (mode(idle=4), run(idle=5)), WARM, {"idle": 5}, {"idle": "run 7f3a"}),
    Case("mode over model", (model(total=90), DEEP), WARM, {"total": 120}, {"total": "mode deep"}),
    Case("model over environment", (environment(idle=2), model(idle=3)), WARM, {"idle": 3},
         {"idle": "hangtight.yaml:14"}),
    Case("environment over file", (file(idle=1), environment(idle=2)), WARM, {"idle": 2}, {"idle": "HANGTIGHT_IDLE"}),
    Case("file over default", (file(idle=1),), WARM, {"idle": 1, "total": 600},
         {"idle": "hangtight.yaml:3", "total": "default"}),
    Case("the nearer of two calls", (call(idle=7), call(idle=8, total=50)), WARM, {"idle": 7, "total": 50}),
    Case("None wins like a number", (call(total=None), file(total=100)), WARM, {"total": None}),
    # A mode scales what the call did not give.
    Case("a file's numbers are scaled", (DEEP, file(first_token=60, idle=40)), WARM, {"first_token": 36, "idle": 24},
         {"idle": "mode deep"}),
    Case("and stay where they are short enough", (DEEP, file(first_token=20, idle=10)), WARM,
         {"first_token": 20, "idle": 10}, {"idle": "hangtight.yaml:3"}),
    Case("the call's are not", (call(idle=20, first_token=25), FAST), WARM, {"first_token": 25, "idle": 20}),
    Case("nor what follows them", (call(idle=60), FAST), WARM, {"first_token": 60, "idle": 60, "total": 30}),
    Case("a mode scales to the call's total", (call(total=50), DEEP), WARM,
         {"first_token": 15, "idle": 10, "total": 50}),
    Case("a mode without a total has the default's", (mode(),), WARM, {"first_token": 30, "idle": 15, "total": 600}),
    Case("a mode without any total scales nothing", (call(total=None), DEEP), WARM, {"first_token": 30, "idle": 15}),
    # A parent cuts everything.
    Case("the call's too", (call(idle=20, first_token=25, total=300),), left(45),
         {"first_token": 13.5, "idle": 9, "total": 45, "extend_to": 45}, {"idle": "the budget: 45s remain"}),
    Case("thinking only by what remains", (DEEP,), left(100),
         {"thinking": 100, "load": 100, "queue": 100, "cancel": 5}),
    Case("no limit becomes what remains", (call(total=None, load=None),), left(45), {"total": 45, "load": 45}),
    Case("an extension too", (DEEP,), left(150), {"total": 120, "extend_to": 150}, {"total": "mode deep"}),
    Case("a parent has a name", (), left(7.5, parent="the request"), {"total": 7.5},
         {"total": "the request: 7.5s remain"}),
    Case("and is the ceiling", (DEEP,), left(100, warm=None), {"total": 100}, {}, {"ceiling": 100, "total": 100}),
    # Cold, warm, absent.
    Case("warm: nothing is allowed", (), WARM, {}, {},
         {"first_token": 45, "cold": 0, "late": 0, "total_from": TotalFrom.CALL}),
    Case("not to be known: 60 more, and total may start late", (), COLD, {"first_token": 45}, {},
         {"first_token": 105, "cold": 60, "late": 60, "total_from": TotalFrom.FIRST_PROGRESS}),
    Case("absent: total from ready on", (), ABSENT, {}, {},
         {"first_token": 45, "cold": 0, "total_from": TotalFrom.READY}),
    Case("cold=20", (file(cold=20),), COLD, {}, {}, {"first_token": 65, "cold": 20, "late": 20}),
    Case("cold=None is off", (call(cold=None),), COLD, {}, {}, {"first_token": 45, "total_from": TotalFrom.CALL}),
    Case("the call's first_token gets none, its total starts late all the same", (call(first_token=30),), COLD, {}, {},
         {"first_token": 30, "cold": 0, "late": 60, "total_from": TotalFrom.FIRST_PROGRESS}),
    Case("a first_token that only follows does", (call(idle=60),), COLD, {}, {}, {"first_token": 120, "idle": 60}),
    Case("the call's total starts with the call", (call(total=120),), COLD, {}, {},
         {"total_from": TotalFrom.CALL, "first_token": 105}),
    Case("also for an absent model", (call(total=120),), ABSENT, {}, {}, {"total_from": TotalFrom.CALL}),
    Case("a mode's number does", (FAST,), COLD, {"first_token": 9}, {},
         {"first_token": 69, "total_from": TotalFrom.FIRST_PROGRESS}),
    Case("a share of a budget too", (DEEP,), left(45, warm=None), {"first_token": 13.5}, {},
         {"first_token": 73.5, "cold": 60, "total": 45, "total_from": TotalFrom.CALL, "ceiling": 45}),
    Case("but not what the call gave", (call(first_token=30),), left(45, warm=None), {"first_token": 13.5}, {},
         {"first_token": 13.5, "cold": 0}),
    Case("what a budget leaves alone does", (DEEP,), left(500, warm=None), {"first_token": 30}, {},
         {"first_token": 90, "total_from": TotalFrom.FIRST_PROGRESS, "ceiling": 500}),
    # A long prompt.
    Case("nearby: 50 tokens each second", (), Situation(warm=True, prompt_tokens=1000), {"first_token": 45}, {},
         {"first_token": 65, "cold": 0}),
    Case("far: 500", (), Situation(warm=True, prompt_tokens=1000, nearby=False), {}, {}, {"first_token": 47}),
    Case("at the model's own pace, once known", (), Situation(warm=True, prompt_tokens=1000, pace=10), {}, {},
         {"first_token": 145}),
    Case("to half of total at most", (), Situation(warm=True, prompt_tokens=10**6), {}, {}, {"first_token": 300}),
    Case("which never lowers", (file(first_token=400),), Situation(warm=True, prompt_tokens=10**6), {}, {},
         {"first_token": 400}),
    Case("nor does half of a mode", (FAST, file(first_token=9)), Situation(warm=True, prompt_tokens=10**6), {}, {},
         {"first_token": 15}),
    Case("without total as long as it takes", (call(total=None),), Situation(warm=True, prompt_tokens=10**6), {}, {},
         {"first_token": 45 + 20_000}),
    Case("cold on top", (), Situation(prompt_tokens=10**6), {}, {}, {"first_token": 360, "cold": 60}),
    Case("not for the call's own number", (call(first_token=30),), Situation(prompt_tokens=10**6), {}, {},
         {"first_token": 30}),
    # The rest goes through.
    Case("every other limit", (call(queue=1, load=2, thinking=3, unstreamed=4, cancel=5, heartbeat=0),), WARM,
         {"heartbeat": None}, {},
         {"queue": 1, "load": 2, "thinking": 3, "unstreamed": 4, "cancel": 5, "heartbeat": inf}),
    Case("a request that reasons", (), Situation(reasons=True), {}, {}, {"reasons": True, "thinking": 300}),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.told)
def test_limits_sources_and_clocks(case: Case) -> None:
    resolved = resolve(case.layers, case.known)
    assert {name: getattr(resolved.limits, name) for name in case.limits} == pytest.approx(case.limits)
    assert {name: resolved.values[name].source for name in case.sources} == case.sources
    for name, value in case.clocks.items():
        assert getattr(resolved.clocks, name) == (value if isinstance(value, TotalFrom) else pytest.approx(value)), name


def test_nothing_said_is_the_defaults_for_a_model_of_which_nothing_is_known() -> None:
    resolved = resolve(())
    assert resolved.limits == Limits()
    assert not resolved.absent
    assert resolved.clocks.total_from is TotalFrom.FIRST_PROGRESS
    assert {value.source for value in resolved.values.values()} == {"default"}


def test_a_model_that_is_known_to_be_absent_starts_in_load() -> None:
    assert resolve((), ABSENT).absent


def test_the_values_say_what_the_limits_say() -> None:
    for case in CASES:
        resolved = resolve(case.layers, case.known)
        said = {name: value.value for name, value in resolved.values.items()}
        assert said == {name: getattr(resolved.limits, name) for name in said} | (
            {"heartbeat": 0} if said["heartbeat"] == 0 else {}
        )


def test_the_line_to_change_is_that_of_the_place_that_said_it() -> None:
    line = "models: {{m: {{limits: {{{name}: {value}}}}}}}"
    resolved = resolve([Layer(Rank.MODEL, "hangtight.yaml:14", {"idle": 90}, line)], WARM)
    assert resolved.values["idle"].change == resolved.values["first_token"].change == line
    assert resolved.values["total"].change == ""


def test_a_bad_number_in_any_place_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="idle = -1"):
        resolve([file(idle=-1)])
    with pytest.raises(SettingsError, match="remaining = 0"):
        resolve((), left(0))


def test_a_mode_that_does_not_exist_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        mode_layer("slow")


numbers = st.one_of(st.none(), st.floats(0.1, 1000))
places = st.builds(
    lambda rank, values: Layer(rank, rank.name, values),
    st.sampled_from(Rank),
    st.dictionaries(st.sampled_from(("first_token", "idle", "total", "extend_to", "thinking", "cold")), numbers),
)
situations = st.builds(
    Situation,
    remaining=st.one_of(st.none(), st.floats(0.1, 1000)),
    prompt_tokens=st.integers(0, 10**6),
    nearby=st.booleans(),
    pace=st.one_of(st.none(), st.floats(1, 1000)),
    warm=st.sampled_from((True, False, None)),
)


@given(st.lists(places, max_size=5), st.sampled_from((None, *MODES)), situations)
def test_whatever_is_said_nothing_outlives_a_parent_and_no_call_its_own_total(
    layers: list[Layer], named: str | None, known: Situation
) -> None:
    layers = layers + ([mode_layer(named)] if named else [])
    resolved = resolve(layers, known)
    limits, values, clocks = resolved.limits, resolved.values, resolved.clocks
    if known.remaining is not None:
        bounded = (limits.first_token, limits.idle, limits.total, limits.extend_to, limits.thinking, limits.load)
        assert all(limit is not None and limit <= known.remaining for limit in bounded)
        assert clocks.ceiling == known.remaining
    if values["total"].rank is Rank.CALL:
        assert clocks.total_from is TotalFrom.CALL
        if values["extend_to"].source != values["total"].source and known.remaining is None:
            assert values["extend_to"].above <= values["total"].above
    assert clocks.first_token - clocks.cold >= (limits.first_token or 0) - 1e-9
    assert clocks.cold <= (limits.cold or 0)
    assert known.warm is None or not clocks.cold


# -- what the clients ask of it ---------------------------------------------------------------------------------------


def cutting(**values: float | None) -> Layer:
    return Layer(Rank.CALL, "timeout=20 of the client library", values, "timeout={value}", cuts=True)


def test_what_cuts_only_ever_shortens() -> None:
    resolved = resolve([call(idle=10, first_token=None), cutting(idle=20, first_token=20, thinking=None)], WARM)
    assert (resolved.limits.idle, resolved.limits.first_token, resolved.limits.thinking) == (10, 20, 300)
    assert resolved.values["first_token"].source == "timeout=20 of the client library"
    assert resolved.values["idle"].source == "the call"


def test_what_was_cut_gets_no_allowance() -> None:
    assert float(resolve([cutting(first_token=20)], COLD).clocks.first_token) == 20


def test_a_later_attempt_has_what_the_ones_before_left_and_its_other_limits() -> None:
    resolved = resolve([call(total=100)], Situation(left=40, warm=True))
    clocks = resolved.clocks
    assert [float(length) for length in (clocks.ceiling, clocks.first_token, clocks.idle)] == [40, 45, 45]


def test_with_a_mode_what_is_left_is_shared_out_anew() -> None:
    resolved = resolve([DEEP], Situation(left=30, warm=True))
    assert (resolved.limits.first_token, resolved.limits.idle, resolved.limits.total) == (9, 6, 30)
    assert resolved.values["total"].source == "the attempts before: 30s remain"
    shorter = resolve([DEEP], Situation(left=30, remaining=10, warm=True))
    assert shorter.limits.total == 10


def test_what_generates_nothing_has_a_total_only_if_somebody_gave_one() -> None:
    foreign = Situation(generates=False)
    usual = resolve([file(total=50)], foreign).clocks
    assert [float(length) for length in (usual.total, usual.unstreamed)] == [inf, 600]
    given = resolve([call(total=50, unstreamed=5)], foreign).clocks
    assert [float(length) for length in (given.total, given.unstreamed)] == [50, 5]


# -- auto -----------------------------------------------------------------------------------------------------

SEEN = {"idle": Learned(7.5, 1204, "qwen3-coder, deep", False)}


def test_a_limit_that_is_auto_is_what_was_learned_and_says_from_how_many_calls() -> None:
    value = resolve([Layer(Rank.FILE, "hangtight.yaml:3", {"idle": AUTO})], WARM, SEEN).values["idle"]
    assert value.value == 7.5
    assert value.source == "auto at hangtight.yaml:3, learned from 1,204 calls (qwen3-coder, deep)"


def test_where_nothing_is_learned_the_next_place_is_asked() -> None:
    layers = [Layer(Rank.MODEL, "m", {"idle": AUTO, "total": AUTO}), Layer(Rank.FILE, "f", {"idle": 20})]
    values = resolve(layers, WARM).values
    assert (values["idle"].value, values["idle"].source) == (20, "f")
    assert (values["total"].value, values["total"].source) == (600, "default")


def test_a_limit_that_the_call_wants_learned_was_given_by_nobody_in_person() -> None:
    seen = {"first_token": Learned(20.0, 100, "all models", True)}
    clocks = resolve([Layer(Rank.CALL, "the call", {"first_token": AUTO})], COLD, seen).clocks
    assert clocks.first_token == pytest.approx(80)


def test_a_place_that_only_cuts_cuts_nothing_by_auto() -> None:
    cut = Layer(Rank.CALL, "x", {"idle": AUTO, "total": 50}, cuts=True)
    limits = resolve([cut], WARM, SEEN).limits
    assert (limits.idle, limits.total) == (45, 50)


def test_where_exactly_a_number_stands_beats_the_name_of_its_place() -> None:
    layer = Layer(Rank.FILE, "hangtight.yaml", {"idle": 5, "total": 9}, sources={"idle": "hangtight.yaml:4"})
    values = resolve([layer], WARM).values
    assert (values["idle"].source, values["total"].source) == ("hangtight.yaml:4", "hangtight.yaml")
    cut = Layer(Rank.CALL, "x", {"idle": 2}, sources={"idle": "x:1"}, cuts=True)
    assert resolve([cut], WARM).values["idle"].source == "x:1"


# -- inside a parent ------------------------------------------------------------------------------------------

left_over = st.sampled_from((0.5, 3.0, 10.0, 44.0, 45.0, 60.0, 130.0, 700.0, 5000.0))


@given(st.lists(places, max_size=5), st.sampled_from((None, *MODES)), situations, left_over)
def test_what_is_cut_from_one_resolution_is_what_another_one_would_give(
    layers: list[Layer], named: str | None, known: Situation, remaining: float
) -> None:
    layers = layers + ([mode_layer(named)] if named else [])
    known = replace(known, remaining=None, left=None)
    whole = resolve(layers, replace(known, remaining=inf))
    full = resolve(layers, replace(known, remaining=remaining))
    quick = inside(whole, known, remaining, lambda: full)
    for name in ("total", "first_token", "idle", "thinking", "queue", "load", "unstreamed", "cold", "late", "ceiling"):
        assert getattr(quick.clocks, name) == pytest.approx(getattr(full.clocks, name)), name
    assert (quick.clocks.total_from, quick.clocks.reasons) == (full.clocks.total_from, full.clocks.reasons)
    assert (quick.limits, quick.values, quick.absent) == (full.limits, full.values, full.absent)


@given(st.lists(places, max_size=5), st.sampled_from((None, *MODES)), situations, left_over)
def test_a_child_never_outlives_its_parent(
    layers: list[Layer], named: str | None, known: Situation, remaining: float
) -> None:
    layers = layers + ([mode_layer(named)] if named else [])
    resolved = resolve(layers, replace(known, remaining=remaining))
    assert resolved.clocks.ceiling <= remaining
    limits = resolved.limits
    for name in ("total", "first_token", "idle", "thinking", "load", "unstreamed", "extend_to"):
        value = getattr(limits, name)
        assert value is not None, name
        assert value <= remaining, name


# -- time kept free -------------------------------------------------------------------------------------------


def kept_free(most: float, known: Situation = COLD, **values: float | None) -> Any:
    return keeping_free(resolve([call(**values)] if values else [], known), most, "kept for m", "total={value}")


def test_what_is_kept_for_a_lighter_model_ends_silence_before_the_first_token_allowances_included() -> None:
    resolved = kept_free(80)
    assert (resolved.clocks.first_token, resolved.clocks.cold, resolved.clocks.load) == (80, 35, 80)
    assert resolved.clocks.idle == 45, "who has begun to talk is left alone"
    assert resolved.limits.first_token == 80
    assert resolved.values["first_token"].source == resolved.values["load"].source == "kept for m"
    assert resolved.values["idle"].source == "default"


def test_where_it_is_more_than_anybody_waits_nothing_changes() -> None:
    resolved = kept_free(400)
    assert resolved.clocks.first_token == 105
    assert resolved.values["first_token"].source == "default"


def test_a_long_load_is_cut_where_the_first_token_is_not() -> None:
    resolved = kept_free(200)
    assert (resolved.clocks.first_token, resolved.clocks.load) == (105, 200)
    assert resolved.values["first_token"].source == "default"


def test_a_request_that_reasons_is_cut_before_its_first_delta_only() -> None:
    resolved = kept_free(80, replace(COLD, reasons=True))
    assert resolved.clocks.silence(Phase.WAITING) == (Limit.FIRST_TOKEN, 80)
    assert resolved.clocks.silence(Phase.THINKING) == (Limit.THINKING, 300)
    assert resolved.values["first_token"].value == 80


def test_nobody_listens_means_no_heartbeat_to_wake_for() -> None:
    resolved = resolve([], WARM)
    assert resolved.clocks.heartbeat == pytest.approx(15)
    assert resolved.unheard().clocks.heartbeat == FOREVER
    assert resolved.unheard().limits == resolved.limits


def test_auto_says_so() -> None:
    assert repr(AUTO) == "auto"
