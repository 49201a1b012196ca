"""A server that is put away: who was at it is answered by its next life. With real processes."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.kit import Served
from tests.supervisor.fleets import free_ports, quick

pytestmark = pytest.mark.real
BODY: Any = {"model": "m", "messages": []}


def test_who_was_cut_off_by_the_drain_clock_is_answered_by_the_next_life(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    file = {
        "models": {"m": quick(f"once={asked}", drainTimeout=0.2, unloadTimeout=1)},
        "startPort": free_ports(2),
        "limits": {"first_token": 15, "cancel": 0.5},
    }
    own = {"XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)}
    with Served(tmp_path, json.dumps(file), "--drain", "1", **own) as served, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(served.ask, "POST", "/v1/chat/completions", BODY)
        while not asked.exists():
            time.sleep(0.02)
        served.ask("POST", "/hangtight/models/m/stop")
        status, told, _ = asking.result()
        assert status == 200, told
        assert told["choices"][0]["message"]["content"]
        log = served.ask("GET", "/logs")[1]
        assert "drain timed out after 0.2s, cutting off 1 request" in log
        assert log.count("Executing cmd (") == 2
