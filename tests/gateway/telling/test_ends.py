"""What is told of a generation that has ended, to who looks only afterwards: all that was told while it happened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hangtight.testing.lab import Lab
from tests.gateway.kit import Served
from tests.gateway.watching import Asked, Listening, until

pytestmark = pytest.mark.real
SETTINGS = """\
heartbeat: 1
limits: {{cancel: 1}}
modes:
  brisk: {{total: 2, extend_to: 20}}
models:
  "first*": {{proxy: "{url}", fallback: ["second,tokens=2"]}}
  "*": {{proxy: "{url}"}}
"""


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), SETTINGS.format(url=lab.url), "--drain", "0.2") as served:
        yield served


def end_of(served: Served, model: str) -> dict[str, Any]:
    """How the last request for this model ended, once it has."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [each for each in served.get("/hangtight/generations")["finished"] if each["asked"] == model]
        return bool(found)

    until(there)
    return found[0]


def test_by_how_much_the_text_has_moved_the_deadline_is_told_as_it_was_while_it_happened(served: Served) -> None:
    model = "coder,healthy-code,rate=60"
    with Listening(served) as heard, Asked(served, model, x_hangtight_mode="brisk") as asked:
        heard.until("extended")
        asked.leave()
        [live] = heard.until("ended")
        moves = heard.named("extended", "shortened")
    told = end_of(served, model)
    assert told["extended"] == live["extended"] > 1
    assert told["extended"] == pytest.approx(sum(each["after"] - each["before"] for each in moves), abs=0.01)
    assert served.get(f"/hangtight/generations/{told['id']}")["extended"] == told["extended"]


def test_what_its_server_did_is_told_as_soon_as_it_is_seen_which_may_be_after_the_end(served: Served) -> None:
    model = "hangs,tokens=4,mute=2"
    with Asked(served, model, x_hangtight_idle="0.3") as asked:
        asked.ended()
    until(lambda: end_of(served, model)["at_server"])
    assert (end_of(served, model)["outcome"], end_of(served, model)["at_server"]["found"]) == ("timeout", "stopped")


def test_one_that_goes_on_at_first_and_stops_at_last_is_told_to_have_stopped(served: Served) -> None:
    model = "stubborn,tokens=100,rate=40,ignores-cancel"
    seen: list[str] = []

    def has_stopped() -> bool:
        told = end_of(served, model)["at_server"]
        seen.extend([told["found"]] if told else [])
        return "stopped" in seen

    with Asked(served, model, x_hangtight_total="0.5") as asked:
        asked.ended()
    until(has_stopped)
    assert seen[0] == "running"


def test_a_fallback_tells_in_whose_place_it_stands_and_claims_nothing_of_what_happened_to_that_one(
    served: Served,
) -> None:
    model = "first,silent"
    with Listening(served) as heard, Asked(served, model, x_hangtight_first_token="0.4") as asked:
        asked.ended()
        heard.until("looked")
    told = end_of(served, model)
    assert (told["model"], told["outcome"]) == ("second,tokens=2", "finished")
    assert told["attempts"] == [{"model": model, "fault": "timeout", "limit": "first_token"}]
    assert (told["extended"], told["at_server"]) == (0.0, None)


def test_a_budget_that_was_spent_is_the_reason_of_an_end_before_anything_was_sent(served: Served) -> None:
    with Asked(served, "never-asked", x_hangtight_budget="remaining=0&run=late") as asked:
        asked.ended()
    told = end_of(served, "never-asked")
    assert (told["outcome"], told["error"], told["extended"], told["at_server"]) == ("failed", "BudgetSpent", 0.0, None)


def test_health_tells_of_a_model_how_its_last_one_ended(served: Served) -> None:
    """Also where another model has answered in its place."""
    with Asked(served, "firstborn,silent", x_hangtight_first_token="0.4") as asked:
        asked.ended()
    models = served.get("/health")["models"]
    last, other = models["firstborn,silent"]["last_end"], models["second,tokens=2"]["last_end"]
    assert (last["outcome"], last["limit"], last["error"]) == ("timeout", "first_token", "")
    assert 0 <= last["ago"] < 20
    assert models["firstborn,silent"]["last_progress"] is None
    assert (other["outcome"], other["limit"]) == ("finished", None)


def test_no_word_of_a_refusal_is_told(served: Served) -> None:
    with Asked(served, "first,status=500") as asked:
        asked.ended()
    told = end_of(served, "first,status=500")
    assert [(each["fault"], each["limit"]) for each in told["attempts"]] == [("server", None)]
    assert "a secret prompt" not in json.dumps(told)
