"""What the gateway remembers from one request to the next, and counts of those that it turns away."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hangtight.testing.lab import Lab
from tests.gateway.kit import PATIENCE, Served, all_at
from tests.gateway.rude import CHAT, Caller, asked, saying
from tests.journal.kit import soon

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def chat(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}]}


def refused(served: Served, reason: str) -> float:
    """How many were turned away for this reason."""
    with urllib.request.urlopen(f"{served.url}/metrics", timeout=PATIENCE) as page:
        lines = page.read().decode().splitlines()
    wanted = f'hangtight_refused_total{{reason="{reason}"}} '
    return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


def test_a_server_that_refuses_to_stream_is_asked_for_a_stream_once(lab: Lab, tmp_path: Path) -> None:
    with Served(tmp_path, all_at(lab.url)) as served:
        for _ in range(3):
            assert served.ask("POST", CHAT, chat("m,refuses-stream,tokens=2"))[0] == 200
    assert lab.settled("m,refuses-stream,tokens=2").asked == 4


def test_who_finds_no_slot_and_who_meets_an_open_circuit_is_counted(lab: Lab, tmp_path: Path) -> None:
    settings = (
        f"circuit: {{in_a_row: 1}}\nmodels:\n  busy: {{proxy: '{lab.url}', concurrencyLimit: 1, "
        f"useModelName: 'busy,silent'}}\n  ill: {{proxy: '{lab.url}', useModelName: 'ill,status=500'}}\n"
    )
    with Served(tmp_path, settings) as served:
        with Caller(served.url) as caller:
            caller.say(asked(CHAT, saying("busy", stream=True)))
            assert soon(lambda: lab.counts("busy,silent").asked == 1)
            assert served.ask("POST", CHAT, chat("busy"))[0] == 429
        assert refused(served, "too_many_requests") == 1
        assert served.ask("POST", CHAT, chat("ill"))[0] == 500
        assert refused(served, "circuit_open") == 0
        assert served.ask("POST", CHAT, chat("ill"))[0] == 503
        assert refused(served, "circuit_open") == 1
