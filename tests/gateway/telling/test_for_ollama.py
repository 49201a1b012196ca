"""What Ollama's own command asks of the gateway beside its models."""

from __future__ import annotations

from pathlib import Path

import ollama
import pytest

from hangtight.testing.lab import Lab
from tests.gateway.kit import Served, all_at
from tests.gateway.watching import Asked, in_flight, until

pytestmark = pytest.mark.real
SLOW = "slow,tokens=900,rate=20"


def test_ollamas_command_finds_somebody_and_what_is_known_to_be_in_memory(tmp_path: Path) -> None:
    with Lab() as lab, Served(tmp_path, all_at(lab.url), "--drain", "0.2") as served:
        assert served.ask("HEAD", "/")[:2] == (200, "")
        assert served.ask("GET", "/")[:2] == (200, "hangtight is running")
        assert served.ask("POST", "/", {})[0] == 405
        with ollama.Client(host=served.url) as client:
            assert client.ps().models == []
            with Asked(served, SLOW):
                until(lambda: in_flight(served, SLOW)["tokens"] > 0)
                assert [each.model for each in client.ps().models] == [SLOW]
        assert served.get("/api/ps")["served_by"] == "hangtight"
