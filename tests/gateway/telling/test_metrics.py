"""What a scrape of `/metrics` finds: the right numbers under names that nobody can multiply."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given as holds_for
from hypothesis import strategies as some
from prometheus_client.openmetrics import parser as newer
from prometheus_client.parser import text_string_to_metric_families as older

import hangtight
from hangtight.core.circuit import State
from hangtight.core.limits import Limit, Limits
from hangtight.dialects.reading import Usage
from hangtight.drivers.session import Session
from hangtight.gateway.telling.labels import BUCKETS, OTHER, Labels
from hangtight.gateway.telling.metrics import MOST_MODELS, MOST_OTHERS, MOST_TOKENS, Metrics
from hangtight.testing import jumping
from hangtight.testing.scripted import Hang, ScriptedModel, Silence, Tokens

ROUTE = "/v1/chat/completions"
Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


def played(*steps: Any, **limits: Any) -> Session:
    """A real session that went through this, on a clock that jumps."""

    async def main() -> Session:
        watching = hangtight.watch(ScriptedModel(*steps), model="m", **{"cold": None, **limits})
        with suppress(hangtight.HangtightError):
            async for _ in watching:
                pass
        assert watching._session is not None
        return watching._session

    return jumping(main())


def scraped(metrics: Metrics) -> Numbers:
    page = metrics.render()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in older(page.body.decode())
        for sample in family.samples
    }


def number(metrics: Metrics, name: str, **labels: str) -> float | None:
    return scraped(metrics).get((f"hangtight_{name}", frozenset(labels.items())))


def counted(session: Session) -> Metrics:
    metrics = Metrics(["m"])
    of = metrics.of("m")
    of.began()
    of.ended(session, ROUTE)
    return metrics


# -- one generation -------------------------------------------------------------------------------------------


def test_a_generation_that_ends_well_is_told_with_its_first_token_its_gap_and_its_length() -> None:
    metrics = counted(played(Silence(7), Tokens(3, every=1), Silence(16), Tokens(2, every=1), idle=45))
    assert number(metrics, "generations_total", model="m", route=ROUTE, outcome="finished") == 1
    assert number(metrics, "tokens_total", model="m") == 5
    for name, seconds in (("first_token", 8), ("gap", 17), ("generation", 28)):
        assert number(metrics, f"{name}_seconds_sum", model="m") == pytest.approx(seconds)
        assert number(metrics, f"{name}_seconds_count", model="m") == 1
    assert number(metrics, "first_token_seconds_bucket", model="m", le="5.0") == 0
    assert number(metrics, "first_token_seconds_bucket", model="m", le="10.0") == 1
    assert number(metrics, "gap_seconds_bucket", model="m", le="15.0") == 0
    assert number(metrics, "gap_seconds_bucket", model="m", le="20.0") == 1


@pytest.mark.parametrize(
    ("steps", "limits", "broken"),
    [
        ((Hang(),), {"first_token": 30}, Limit.FIRST_TOKEN),
        ((Tokens(4), Hang()), {"idle": 20}, Limit.IDLE),
        ((Tokens(400),), {"total": 60}, Limit.TOTAL),
    ],
)
def test_a_timeout_is_counted_under_its_limit_and_no_other(
    steps: tuple[Any, ...], limits: dict[str, Any], broken: Limit
) -> None:
    metrics = counted(played(*steps, intent=False, **limits))
    assert number(metrics, "generations_total", model="m", route=ROUTE, outcome="timeout") == 1
    for limit in Limit:
        assert number(metrics, "timeouts_total", model="m", limit=limit.value) == (limit is broken)


def test_without_a_token_there_is_neither_a_first_one_nor_a_gap() -> None:
    metrics = counted(played(Hang(), first_token=30))
    assert number(metrics, "first_token_seconds_count", model="m") == 0
    assert number(metrics, "gap_seconds_count", model="m") == 0
    assert number(metrics, "generation_seconds_sum", model="m") == pytest.approx(30)


def test_one_token_has_no_gap() -> None:
    assert number(counted(played(Tokens(1))), "gap_seconds_count", model="m") == 0


@pytest.mark.parametrize(
    ("usage", "prompt", "answer"),
    [(Usage(12, 34), 12, 34), (Usage(None, 7), 0, 7), (Usage(10**400, None), MOST_TOKENS, 0)],
)
def test_what_a_server_counted_is_added_as_far_as_it_makes_sense(usage: Usage, prompt: int, answer: int) -> None:
    session = played(Tokens(1))
    session.usage = usage
    metrics = counted(session)
    assert number(metrics, "usage_tokens_total", model="m", part="prompt") == prompt
    assert number(metrics, "usage_tokens_total", model="m", part="answer") == answer


def test_every_limit_is_there_from_the_start_so_that_its_first_increase_is_seen() -> None:
    metrics = Metrics(["m"])
    metrics.of("m")
    for limit in Limit:
        assert number(metrics, "timeouts_total", model="m", limit=limit.value) == 0


def test_the_default_limits_are_borders_of_buckets() -> None:
    lengths = {getattr(Limits(), name) for name in ("first_token", "idle", "total", "load", "thinking")}
    assert lengths <= set(BUCKETS)
    assert list(BUCKETS) == sorted(BUCKETS)


# -- what stands, and what is decided -------------------------------------------------------------------------


def test_what_began_is_in_flight_until_it_ends() -> None:
    metrics, session = Metrics(["m"]), played(Tokens(1))
    of = metrics.of("m")
    of.began()
    of.began()
    assert number(metrics, "in_flight", model="m") == 2
    of.ended(session, ROUTE)
    assert number(metrics, "in_flight", model="m") == 1


def test_a_model_that_becomes_known_meanwhile_leaves_nothing_in_flight() -> None:
    metrics, session = Metrics(), played(Tokens(1))
    of = metrics.of("m")
    of.began()
    metrics.knows(["m"])
    metrics.of("m").began()
    of.ended(session, ROUTE)
    assert number(metrics, "in_flight", model=OTHER) == 0
    assert number(metrics, "in_flight", model="m") == 1


def test_the_circuit_is_in_one_state_at_a_time_and_its_openings_are_counted() -> None:
    metrics = Metrics(["m"])
    for state in (State.CLOSED, State.OPEN, State.OPEN, State.PROBING, State.OPEN, State.CLOSED):
        metrics.of("m").circuit(state)
    stands = {state: number(metrics, "circuit", model="m", state=state.value) for state in State}
    assert stands == {State.CLOSED: 1, State.OPEN: 0, State.PROBING: 0}
    assert number(metrics, "circuit_opened_total", model="m") == 2


def test_where_there_is_no_circuit_any_more_it_is_in_no_state() -> None:
    metrics = Metrics(["m"])
    for state in (State.OPEN, None, None):
        metrics.of("m").circuit(state)
    assert number(metrics, "circuit", model="m", state="open") == 0
    metrics.of("m").circuit(State.OPEN)
    assert number(metrics, "circuit", model="m", state="open") == 1


def test_decisions_are_counted_by_what_they_were() -> None:
    metrics = Metrics(["m"])
    of = metrics.of("m")
    of.heartbeat("comment")
    of.heartbeat("comment")
    of.heartbeat("ping")
    of.extended()
    of.shortened()
    of.fell_back()
    of.left_running()
    of.queued(3)
    of.queue_time(2.5)
    metrics.refused("key")
    assert number(metrics, "heartbeats_total", model="m", kind="comment") == 2
    assert number(metrics, "heartbeats_total", model="m", kind="ping") == 1
    assert number(metrics, "deadline_moves_total", model="m", direction="extended") == 1
    assert number(metrics, "deadline_moves_total", model="m", direction="shortened") == 1
    assert number(metrics, "fallbacks_total", model="m") == 1
    assert number(metrics, "left_running_total", model="m") == 1
    assert number(metrics, "queue_waiting", model="m") == 3
    assert number(metrics, "queue_seconds_sum", model="m") == 2.5
    assert number(metrics, "refused_total", reason="key") == 1


# -- what a stranger can do ------------------------------------------------------------------------------------


def test_a_name_that_is_not_known_gets_no_label_of_its_own() -> None:
    metrics, session = Metrics(["m"]), played(Tokens(1))
    for made_up in range(1000):
        of = metrics.of(f"made-up-{made_up}")
        of.began()
        of.ended(session, ROUTE)
    assert {dict(labels).get("model", OTHER) for _, labels in scraped(metrics)} == {OTHER}
    assert number(metrics, "generations_total", model=OTHER, route=ROUTE, outcome="finished") == 1000


def test_an_upstream_that_lists_very_many_models_has_room_for_some() -> None:
    metrics = Metrics(["mine"])
    metrics.knows(f"model-{count}" for count in range(10 * MOST_MODELS))
    for count in range(10 * MOST_MODELS):
        metrics.of(f"model-{count}").fell_back()
    metrics.of("mine").fell_back()
    models = {dict(labels)["model"] for name, labels in scraped(metrics) if name == "hangtight_fallbacks_total"}
    assert len(models) == MOST_MODELS + 1
    assert {"mine", OTHER} <= models


def test_routes_reasons_and_kinds_are_bounded_too() -> None:
    metrics, session = Metrics(["m"]), played(Tokens(1))
    of = metrics.of("m")
    for count in range(10 * MOST_OTHERS):
        metrics.refused(f"reason-{count}")
        of.heartbeat(f"kind-{count}")
        of.ended(session, f"/route/{count}")
    for name in ("refused_total", "heartbeats_total", "generations_total"):
        assert sum(found == f"hangtight_{name}" for found, _ in scraped(metrics)) == MOST_OTHERS + 1


@holds_for(some.lists(some.text()), some.lists(some.text()))
def test_there_are_never_more_values_than_allowed_and_one_that_was_given_stays(
    names: list[str], others: list[str]
) -> None:
    labels = Labels(5)
    given = {name: labels.add(name) for name in names}
    for other in others:
        labels.add(other)
    assert len(set(given.values()) - {OTHER}) <= 5
    for name, label in given.items():
        assert label in (name, OTHER)
        assert label == OTHER or labels.of(name) == label


@holds_for(some.text(some.characters(codec="utf-8"), min_size=1))
def test_any_name_comes_through_as_it_is(name: str) -> None:
    metrics = Metrics([name])
    metrics.of(name).fell_back()
    models = {dict(labels)["model"] for found, labels in scraped(metrics) if found == "hangtight_fallbacks_total"}
    assert models <= {name, OTHER}


# -- the page --------------------------------------------------------------------------------------------------


def test_the_page_is_read_by_both_parsers_and_says_what_each_number_is() -> None:
    metrics = counted(played(Tokens(3)))
    plain = metrics.render("text/html, */*")
    assert plain.content_type == "text/plain; version=0.0.4; charset=utf-8"
    fresh = metrics.render("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3")
    assert fresh.content_type.startswith("application/openmetrics-text")
    families = [*newer.text_string_to_metric_families(fresh.body.decode())]  # type: ignore[no-untyped-call]
    assert {"hangtight_first_token_seconds", "hangtight_timeouts", "hangtight_build"} <= {one.name for one in families}
    assert all(family.documentation for family in families)


def test_the_process_and_the_build_are_on_the_page() -> None:
    metrics = Metrics()
    assert number(metrics, "build_info", version=hangtight.__version__) == 1
    if sys.platform == "linux":
        found = scraped(metrics)
        assert found["process_resident_memory_bytes", frozenset()] > 0
        assert ("process_cpu_seconds_total", frozenset()) in found


def test_two_gateways_in_one_process_do_not_meet() -> None:
    one, other = Metrics(["m"]), Metrics(["m"])
    one.of("m").began()
    other.of("m")
    assert number(one, "in_flight", model="m") == 1
    assert number(other, "in_flight", model="m") == 0


def test_where_the_package_is_missing_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(hangtight.HangtightError, match=r"pip install 'hangtight\[gateway\]'"):
        Metrics()
