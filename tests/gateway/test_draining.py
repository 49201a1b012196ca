"""While a gateway drains: what runs may end, who looks is told, and what is new is sent away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hangtight.testing.lab import Lab
from tests.gateway.kit import PATIENCE, Served, all_at
from tests.gateway.watching import Asked, in_flight, until

pytestmark = pytest.mark.real
SLOW = "slow,tokens=900,rate=20"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def test_while_it_drains_everybody_may_look_and_nobody_may_begin(lab: Lab, tmp_path: Path) -> None:
    with Served(tmp_path, all_at(lab.url), "--drain", "60") as served, Asked(served, SLOW):
        until(lambda: in_flight(served, SLOW)["tokens"] > 0)
        served.process.send_signal(signal.SIGTERM)
        until(lambda: served.ask("GET", "/ready")[0] == 503)
        assert (served.get("/health")["draining"], in_flight(served, SLOW)["model"]) == (True, SLOW)
        assert served.ask("GET", "/metrics")[0] == served.ask("GET", "/v1/models")[0] == 200
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/hangtight/events"), ("GET", "/unload")):
            status, told, headers = served.ask(method, path, {"model": "m", "messages": []})
            assert (status, told["error"]["code"], headers["retry-after"]) == (503, "draining", "5")
        assert served.ask("DELETE", f"/hangtight/generations/{in_flight(served, SLOW)['id']}")[0] == 200
        assert served.process.wait(PATIENCE) == 0
