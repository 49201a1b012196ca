"""S0, S1 and S3 for whoever is not Python: the same promises through `hangtight serve`, with real clients.

The numbers are the user's, a hundred times shorter: 0.45 s for 45, 6 s for 600.
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from hangtight.journal.reading import Reading
from hangtight.testing.lab import Lab
from tests.gateway.kit import PATIENCE, Served

pytestmark = pytest.mark.real
ASKED: Any = [{"role": "user", "content": "build me a complex script that processes images"}]
SCALED = """
limits: {{first_token: 0.45, idle: 0.45, total: 6, cold: 0.6}}
heartbeat: 0.15
modes:
  deep: {{total: 1.2, models: ["heavy,mute=0", "light,tokens=5"]}}
models:
  "*":
    proxy: {lab}
  "heavy,mute=0":
    proxy: {lab}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), SCALED.format(lab=lab.url)) as served:
        yield served


def ask(served: Served, model: str, **headers: str) -> Iterator[str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with openai.OpenAI(base_url=served.openai, api_key="any", timeout=PATIENCE) as client:
        for chunk in client.chat.completions.create(model=model, messages=ASKED, stream=True, extra_headers=sent):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


def test_s0_scenario_1_a_load_of_35_and_then_tokens_succeeds(served: Served) -> None:
    assert len(list(ask(served, "scenario-1,load=0.7,tokens=5"))) == 5


def test_s0_scenario_2_tokens_for_180_succeed(served: Served) -> None:
    assert len(list(ask(served, "scenario-2,tokens=18,rate=10"))) == 18


def test_s0_scenario_3_tokens_and_then_nothing_is_a_timeout_with_the_text_so_far_in_hand(served: Served) -> None:
    said: list[str] = []
    with pytest.raises(openai.APIError, match=r"stuck - no output for 0\.5s") as raised:
        said.extend(ask(served, "scenario-3,tokens=9,mute=5"))
    assert len(said) == 5
    body: Any = raised.value.body
    assert (body["code"], body["tokens"]) == ("idle", 5)


def test_s0_not_streaming_is_streamed_underneath_so_that_the_same_limits_hold(served: Served, lab: Lab) -> None:
    with openai.OpenAI(base_url=served.openai, api_key="any", timeout=PATIENCE) as client:
        whole = client.chat.completions.create(model="whole,tokens=18,rate=10", messages=ASKED)
        assert len((whole.choices[0].message.content or "").split()) == 18
        with pytest.raises(openai.InternalServerError, match="stuck - no output"):
            client.chat.completions.create(model="whole,tokens=9,mute=5", messages=ASKED)
    assert lab.settled("whole,tokens=9,mute=5").asked == 1


def test_s1_on_a_timeout_it_falls_back_to_a_lighter_model_by_itself(served: Served, lab: Lab) -> None:
    status, body, headers = served.ask(
        "POST", "/v1/chat/completions", {"model": "heavy,mute=0", "messages": ASKED}, X_Hangtight_Mode="deep"
    )
    assert status == 200
    assert len(body["choices"][0]["message"]["content"].split()) == 5
    assert headers["x-hangtight-model"] == "light,tokens=5"
    assert lab.settled("heavy,mute=0").cancelled == 1


def test_s1_a_task_whose_budget_is_spent_ends_with_their_words_and_asks_nobody(served: Served, lab: Lab) -> None:
    status, body, _ = served.ask(
        "POST",
        "/v1/chat/completions",
        {"model": "spent,tokens=3", "messages": ASKED},
        X_Hangtight_Budget="remaining=0&run=task",
    )
    assert status == 504
    assert body["error"]["message"].startswith("[Budget exhausted] Task incomplete.")
    assert lab.counts("spent,tokens=3").asked == 0


def test_s1_in_a_budget_a_call_has_what_remains(served: Served) -> None:
    with pytest.raises(openai.APIError) as raised:
        list(ask(served, "remaining,mute=0", X_Hangtight_Budget="remaining=0.5&run=task"))
    body: Any = raised.value.body
    assert body["limit"] == "total"
    assert body["waited"] <= 0.5
    assert "budget" in body["source"]


def test_s1_what_the_text_says_moves_the_deadline(served: Served) -> None:
    """Code goes on past a total of 1.2 s in the mode, and what was extended is in the journal."""
    said = list(ask(served, "healthy-code,tokens=70,rate=40", X_Hangtight_Mode="deep"))
    assert len(said) == 70


def test_s3_heartbeats_go_out_in_their_words_while_a_generation_runs_and_end_with_it(served: Served) -> None:
    lines: list[bytes] = []
    listening = urllib.request.urlopen(
        f"{served.url}/hangtight/events?model=beating,tokens=9,rate=10", timeout=PATIENCE
    )

    def listen() -> None:
        for line in listening:
            lines.append(line)
            if line.startswith(b"event: ended"):
                return

    listener = threading.Thread(target=listen)
    listener.start()
    assert len(list(ask(served, "beating,tokens=9,rate=10", X_Hangtight_Run="r"))) == 9
    listener.join(PATIENCE)
    listening.close()
    at = lines.index(b"event: LLM_HEARTBEAT\n")
    beat = json.loads(lines[at + 1].removeprefix(b"data: "))
    assert beat["type"] == "LLM_HEARTBEAT"
    assert beat["payload"].startswith("Still waiting on beating,tokens=9,rate=10... 0s elapsed")


def test_s3_every_event_is_in_a_database_and_errors_carry_the_elapsed_time(served: Served) -> None:
    _, body, headers = served.ask("POST", "/v1/chat/completions", {"model": "kept,mute=0", "messages": ASKED})
    assert body["error"]["elapsed"] > 0.4
    found = _journaled(served.journal, headers["x-hangtight-id"])
    assert (found.outcome, found.broken_limit) == ("timeout", "first_token")


def _journaled(path: Path, key: str) -> Any:
    for _ in range(200):
        told = Reading(str(path)).find(key)
        if told is not None and told.row.outcome:
            return told.row
        threading.Event().wait(0.05)
    raise AssertionError(f"{key} is not in the journal")
