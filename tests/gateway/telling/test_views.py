"""What the gateway says about itself: health, lists of models, what is in flight, and what ends it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest

from hangtight import __version__
from hangtight.gateway.telling.summing import stats_of
from hangtight.testing.lab import Lab
from tests.cli.kit import journal
from tests.gateway.kit import PATIENCE, Served, all_at
from tests.gateway.watching import Asked, in_flight, until

pytestmark = pytest.mark.real

MODELS = """\
includeAliasesInList: true
limits: {{idle: 30, cancel: 2}}
circuit: {{in_a_row: 2}}
models:
  qwen3-coder: {{proxy: "{url}", aliases: [coder], useModelName: "coder,tokens=4", limits: {{idle: 20}}}}
  org/small: {{proxy: "{url}", useModelName: "small,tokens=4"}}
  hidden: {{proxy: "{url}", useModelName: "hidden,tokens=4", unlisted: true}}
  one-slot: {{proxy: "{url}", useModelName: "one,tokens=9,mute=2", concurrencyLimit: 1, queue: 5}}
  slow: {{proxy: "{url}", useModelName: "slow,tokens=9,mute=2"}}
  mute: {{proxy: "{url}", useModelName: "silent,mute=0"}}
  stubborn: {{proxy: "{url}", useModelName: "stubborn,tokens=900,rate=20,ignores-cancel"}}
"""


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), MODELS.format(url=lab.url), "--drain", "0.2") as served:
        yield served


def settled(served: Served, model: str, tokens: int) -> dict[str, Any]:
    """The request for this model, with as many tokens as it ever gets."""
    until(lambda: in_flight(served, model)["tokens"] == tokens)
    return in_flight(served, model)


# -- lists -----------------------------------------------------------------------------------------------------------


def test_the_list_of_models_has_aliases_and_leaves_out_what_is_unlisted(served: Served) -> None:
    with openai.OpenAI(base_url=served.openai, api_key="any") as asking:
        names = [model.id for model in asking.models.list()]
        assert names[:3] == ["qwen3-coder", "coder", "org/small"]
        assert "hidden" not in names
        assert asking.models.retrieve("hidden").id == "hidden"
        assert asking.models.retrieve("org/small").object == "model"
        with pytest.raises(openai.NotFoundError, match="there is no model 'nobody' here"):
            asking.models.retrieve("nobody")


def test_an_ollama_client_finds_the_same_models(served: Served) -> None:
    with ollama.Client(host=served.url) as asking:
        names = [model.model for model in asking.list().models]
    assert names[:3] == ["qwen3-coder", "coder", "org/small"]
    assert served.get("/api/version") == {"version": __version__}


# -- health ----------------------------------------------------------------------------------------------------------


def test_health_tells_of_each_model_what_runs_and_since_when_nothing_came(served: Served) -> None:
    assert served.get("/health")["models"]["mute"] == {
        "last_progress": None, "running_without_progress_since": None, "running_without_progress_for": None,
        "last_end": None, "running": 0, "waiting": 0, "circuit": None, "still_running_at_server": 0,
    }  # fmt: skip
    with Asked(served, "slow"):
        settled(served, "slow", 2)
        told = served.get("/health")
        found = told["models"]["slow"]
        assert (told["status"], told["draining"], found["running"], found["circuit"]) == ("ok", False, 1, "closed")
        assert found["last_progress"] == found["running_without_progress_since"]
        assert found["running_without_progress_for"] >= 0


def test_it_is_ready_as_long_as_one_model_can_be_asked(lab: Lab, tmp_path: Path) -> None:
    config = f'circuit: {{in_a_row: 1}}\nmodels:\n  bad: {{proxy: "{lab.url}", useModelName: "status=500"}}\n'
    with Served(tmp_path, config) as served:
        assert served.ask("GET", "/ready")[:2] == (200, {"status": "ready"})
        with Asked(served, "bad") as asked:
            asked.ended()
        status, told, headers = served.ask("GET", "/ready")
        assert (status, headers["retry-after"]) == (503, "5")
        assert told == {"status": "not ready", "why": "no model can be asked: its circuit is open"}
        assert served.ask("GET", "/health")[0] == 200


def test_without_any_model_it_runs_and_is_not_ready(tmp_path: Path) -> None:
    with Served(tmp_path, "models:\n  far: {proxy: 'http://127.0.0.1:9'}\n") as served:
        assert served.ask("GET", "/ready")[0] == 200
        (tmp_path / "hangtight.yaml").write_text("")
        until(lambda: served.ask("GET", "/ready")[0] == 503)
        assert served.ask("GET", "/ready")[1]["why"] == "no model is known"
        assert served.get("/health")["status"] == "ok"


def test_who_shows_no_key_learns_that_it_runs_and_nothing_more(lab: Lab, tmp_path: Path) -> None:
    with Served(tmp_path, f"apiKeys: [sesame]\n{all_at(lab.url)}") as served:
        assert served.get("/health") == {"status": "ok"}
        assert served.ask("GET", "/health", authorization="Bearer wrong")[1] == {"status": "ok"}
        assert "models" in served.ask("GET", "/health", authorization="Bearer sesame")[1]
        assert served.ask("GET", "/hangtight/generations")[0] == 401
        assert served.ask("GET", "/hangtight/generations", x_api_key="sesame")[0] == 200


# -- what is in flight -----------------------------------------------------------------------------------------------


def test_what_is_in_flight_is_told_with_its_clocks(served: Served, lab: Lab) -> None:
    headers = {"x_hangtight_run": "nightly", "x_hangtight_step": "plan", "x_hangtight_mode": "deep"}
    with Asked(served, "slow", **headers):
        found = settled(served, "slow", 2)
        assert (found["model"], found["server"]) == ("slow", lab.url.partition("//")[2])
        assert (found["path"], found["client"], found["streams"]) == ("/v1/chat/completions", "127.0.0.1", True)
        assert (found["run"], found["step"], found["mode"], found["phase"]) == ("nightly", "plan", "deep", "streaming")
        assert found["call"] in ("", found["id"])
        assert 0 < found["first_token"] <= found["elapsed"]
        assert (found["nearest"]["limit"], found["total"], found["left"]) == ("idle", 120.0, False)
        assert 0 < found["nearest"]["rings_in"] <= 24
        assert 0 < found["budget_left"] <= 120
        assert (found["expected"], found["position"], found["attempts"]) == (None, None, [])


def test_one_of_them_has_its_limits_and_where_they_come_from(served: Served) -> None:
    with Asked(served, "qwen3-coder", x_hangtight_total="77", x_hangtight_first_token="66") as asked:
        asked.ended()
    with Asked(served, "slow", x_hangtight_total="77"):
        found = settled(served, "slow", 2)
        limits = served.get(f"/hangtight/generations/{found['id'][:8]}")["limits"]
    assert limits["total"] == {
        "value": 77.0, "source": "X-Hangtight-Total", "overruled": [{"value": 600.0, "source": "default"}],
    }  # fmt: skip
    assert limits["idle"]["value"] == 30.0
    assert limits["idle"]["source"].startswith("hangtight.yaml:")


def test_who_waits_for_a_slot_is_told_of_with_the_place(served: Served) -> None:
    with Asked(served, "one-slot", x_hangtight_run="first"):
        settled(served, "one-slot", 2)
        with Asked(served, "one-slot", x_hangtight_run="second"):
            until(lambda: served.get("/health")["models"]["one-slot"]["waiting"] == 1)
            told = served.get("/hangtight/generations")["generations"]
            found = {each["run"]: (each["phase"], each["position"]) for each in told if each["model"] == "one-slot"}
    assert found == {"first": ("streaming", None), "second": ("queued", 1)}


def test_what_has_ended_is_kept_for_a_while(served: Served) -> None:
    with Asked(served, "mute", x_hangtight_first_token="0.2") as late, Asked(served, "coder") as good:
        assert late.ended()
        assert good.ended()
    until(lambda: not served.get("/hangtight/generations")["generations"])
    ends = {each["model"]: each for each in served.get("/hangtight/generations")["finished"][:2]}
    assert (late.status, good.status) == (504, 200)
    assert (ends["qwen3-coder"]["outcome"], ends["qwen3-coder"]["tokens"]) == ("finished", 4)
    assert (ends["mute"]["outcome"], ends["mute"]["limit"], ends["mute"]["waited"]) == ("timeout", "first_token", 0.2)
    assert ends["mute"]["source"] == "X-Hangtight-First-Token"
    told = json.dumps(served.get("/hangtight/generations"))
    assert "a secret prompt" not in told


# -- to end one ------------------------------------------------------------------------------------------------------


def test_to_delete_a_generation_ends_it_and_tells_what_its_server_did(served: Served, lab: Lab) -> None:
    with Asked(served, "slow") as asked:
        found = settled(served, "slow", 2)
        status, told, _ = served.ask("DELETE", f"/hangtight/generations/{found['id']}")
        said = asked.ended()
    assert (status, told["outcome"], told["tokens"], told["at_server"]["found"]) == (200, "cancelled", 2, "stopped")
    assert b'"code": "cancelled"' in said or b'"code":"cancelled"' in said
    assert b"[DONE]" not in said
    assert lab.settled("slow,tokens=9,mute=2").finished == 0
    status, told, _ = served.ask("DELETE", f"/hangtight/generations/{found['id']}")
    assert (status, told["error"]["code"]) == (404, "generation_ended")
    assert served.get(f"/hangtight/generations/{found['id']}")["outcome"] == "cancelled"


def test_one_that_waits_in_the_queue_can_be_deleted_and_no_server_is_looked_at(served: Served, lab: Lab) -> None:
    asked_before = lab.counts("one,tokens=9,mute=2").asked
    with Asked(served, "one-slot"):
        settled(served, "one-slot", 2)
        with Asked(served, "one-slot", x_hangtight_run="waits") as waits:
            until(lambda: served.get("/health")["models"]["one-slot"]["waiting"] == 1)
            told = served.get("/hangtight/generations")["generations"]
            [own] = [each["id"] for each in told if each["run"] == "waits"]
            status, told, _ = served.ask("DELETE", f"/hangtight/generations/{own}")
            assert (status, told["outcome"], told["at_server"]) == (200, "cancelled", None)
            waits.ended()
    assert waits.status == 499
    assert lab.counts("one,tokens=9,mute=2").asked == asked_before + 1


def test_a_server_that_goes_on_is_told_of_when_its_generation_is_deleted(served: Served) -> None:
    with Asked(served, "stubborn") as asked:
        until(lambda: in_flight(served, "stubborn")["tokens"] > 2)
        own = in_flight(served, "stubborn")["id"]
        status, told, _ = served.ask("DELETE", f"/hangtight/generations/{own}")
        asked.ended()
    assert (status, told["outcome"], told["at_server"]["found"]) == (200, "cancelled", "running")
    assert served.get("/health")["models"]["stubborn"]["still_running_at_server"] == 1


def test_what_nobody_knows_cannot_be_deleted(served: Served) -> None:
    status, told, _ = served.ask("DELETE", "/hangtight/generations/0123456789ab")
    assert (status, told["error"]["code"]) == (404, "generation_not_found")
    assert served.ask("GET", "/hangtight/generations/0123456789ab")[0] == 404


# -- the journal, and the rest ---------------------------------------------------------------------------------------


def test_the_journal_is_summed_up(served: Served) -> None:
    with Asked(served, "qwen3-coder") as asked:
        asked.ended()
    until(lambda: any(stat["key"] == "qwen3-coder" for stat in served.get("/hangtight/stats?by=model")["stats"]))
    told = served.get("/hangtight/stats?since=1h&by=model")
    assert told["by"] == "model"
    assert told["receipt"]["answers"] >= 1
    status, told, _ = served.ask("GET", "/hangtight/stats?since=yesterday")
    assert (status, told["error"]["code"]) == (400, "bad_query")
    assert served.ask("GET", "/hangtight/stats?by=colour")[0] == 400


def test_the_sum_is_the_one_that_the_command_prints(tmp_path: Path) -> None:
    from hangtight.cli.summing import as_object
    from hangtight.journal.reading import Reading

    url = journal(tmp_path)
    reading = Reading(url)
    assert stats_of(url, "1970-01-01", "model") == as_object(
        reading.stats(0.0, "model"), reading.receipt(0.0), stats_since(), "model"
    )
    assert stats_of(None, None, None)["stats"] == stats_of(str(tmp_path / "none.db"), None, None)["stats"] == []


def stats_since() -> float:
    from datetime import datetime

    return max(0.0, datetime.fromisoformat("1970-01-01").timestamp())


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/v1/models", "GET, HEAD"),
        ("POST", "/hangtight/generations/abcd", "GET, HEAD, DELETE"),
        ("PUT", "/hangtight/events", "GET"),
    ],
)
def test_a_known_path_with_another_method_says_which_it_has(
    served: Served, method: str, path: str, allowed: str
) -> None:
    status, told, headers = served.ask(method, path)
    assert (status, headers["allow"]) == (405, allowed)
    assert told["error"]["code"] == "method_not_allowed"


def test_an_unknown_path_of_ours_is_refused_in_plain_words(served: Served) -> None:
    for path in ("/hangtight/nothing", "/hangtight/generations/"):
        status, told, _ = served.ask("GET", path)
        assert (status, told["error"]["code"]) == (404, "not_found")
        assert "/hangtight/events" in told["error"]["message"]


def test_head_is_answered_like_get_without_a_body(served: Served) -> None:
    assert served.ask("HEAD", "/health")[:2] == (200, "")


def test_many_who_look_at_once_are_all_answered(served: Served) -> None:
    statuses: list[int] = []

    def look() -> None:
        statuses.extend(served.ask("GET", path)[0] for path in ("/health", "/hangtight/generations", "/metrics"))

    looks = [threading.Thread(target=look) for _ in range(8)]
    with Asked(served, "slow"):
        for each in looks:
            each.start()
        for each in looks:
            each.join(PATIENCE)
    assert statuses == [200] * 24
